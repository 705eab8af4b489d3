"""What a wrong number is by regression on the right one: a constant, a factor, steps of one size.

Each is worded for what it is. A number that is the same at every row has a slope of 0, and one that
is off by a constant has a slope of 1: neither is called a factor.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .records import Array


class Guess(NamedTuple):
    """A hypothesis: what would have been returned (N,), and the factor on the allowed error."""

    relation: str
    text: str
    value: Array
    scale: float = 1.0


def regressions(what: str, got: Array, right: Array, rows: Array) -> Iterable[Guess]:
    """Yield a constant, what misses x, a factor, and both, fitted to the wrong rows.

    >>> right = np.array([0.3, -1.2, 0.7, 0.1])
    >>> [g.text for g in regressions("f", 0 * right + 2, right, np.arange(4))][0]
    'f is 2 at every row and does not depend on x: a term that depends on x is missing'
    """
    r, g = right[rows], got[rows]
    if len(rows) < 3 or not np.isfinite(g).all():
        return
    if text := the_same_everywhere(got, right):
        yield Guess("does not depend on x", f"{what} {text}", 0 * right + got[0])
    yield constant(what, got, right, rows, "such as log|det W| of a matrix")
    if step := step_of(r - g):
        text = f"{what} is {_off_by_steps(step)}"
        yield Guess("steps", text, right - step * np.round((right - got) / step))
    if not float(np.ptp(r)) > 1e-3 * (1 + float(np.max(np.abs(r)))):
        return
    a = float((g @ r) / (r @ r))
    yield Guess("factor", f"{what} is {a:.6g} times the right one", a * right, abs(a))
    if len(rows) > 3:
        a, b = np.polyfit(r, g, 1)
        if min(abs(a), abs(a - 1)) > 1e-5:  # else it is a constant, or off by one
            text = f"{what} is {_times(a)}, {'plus' if b > 0 else 'minus'} {abs(b):.6g}"
            text += f": perhaps only the terms that depend on x {_are(a)}"
            yield Guess("factor and constant", text, a * right + b, abs(a))


def constant(what: str, got: Array, right: Array, rows: Array, such: str) -> Guess:
    """Return the guess that it is off by the same number at all of these rows."""
    shift = float(np.median((got - right)[rows]))
    text = f"{what} is off by the constant {shift:+.6g}{_known(shift)}"
    if len(rows) == len(right):
        text += f": a term that does not depend on x, {such}, is wrong or missing"
    return Guess("constant", text, right + shift)


def _times(a: float) -> str:
    """Return in words what is multiplied by a.

    >>> _times(-1.0), _times(0.5)
    ('minus the right one', '0.5 times the right one')
    """
    return "minus the right one" if abs(a + 1) < 1e-5 else f"{a:.6g} times the right one"


def _are(a: float) -> str:
    return "have the wrong sign" if abs(a + 1) < 1e-5 else f"are multiplied by {a:.6g}"


def the_same_everywhere(got: Array, right: Array) -> str:
    """Say what a constant misses that should depend on x; "" if it is none, or the right one is.

    >>> the_same_everywhere(np.full(3, 0.5), np.array([0.5, 1.5, 0.1]))
    'is 0.5 at every row and does not depend on x: a term that depends on x is missing'
    """
    with np.errstate(all="ignore"):
        size = 1 + float(np.max(np.abs(right)))
        if not np.ptp(got) <= 1e-9 * size or not np.ptp(right) > 1e-3 * size:
            return ""
    step = step_of(right - got)
    more = f" ({_off_by_steps(step)})" if step else ""
    start = f"is {float(got[0]):.6g} at every row and does not depend on x"
    return f"{start}: a term that depends on x is missing{more}"


def step_of(off: Array) -> float:
    """Return the step of which all errors are whole multiples, of two sizes at least; else 0.

    >>> float(step_of(np.array([0.0, -0.7, -1.4, -0.7])))
    0.7
    >>> step_of(np.array([0.3, -0.7, 1.1]))
    0.0
    """
    size = np.abs(off)
    if len(off) < 4 or not np.isfinite(off).all() or not size.max() > 0.02:
        return 0.0
    step = float(size[size > 1e-6 * size.max()].min())
    counts = off / step
    whole = bool(np.all(np.abs(counts - np.round(counts)) < 1e-5))
    few = len(set(np.round(counts))) >= 2 and size.max() < 1000 * step and step > 0.02
    return step if whole and few else 0.0


def _off_by_steps(step: float) -> str:
    return (
        f"off by whole multiples of {step:.6g} = log {np.exp(step):.6g}, which differ from row to "
        "row: slopes of a piecewise linear activation, such as leaky ReLU, are missing or wrong"
    )


def _known(shift: float) -> str:
    """Return what a constant is, if it is a known one.

    >>> _known(-2 * np.log(2 * np.pi)), _known(np.log(10)), _known(0.3)
    (' (4 times 1/2 log 2 pi)', ' (log 10)', '')
    """
    if not np.isfinite(shift):
        return ""
    units = [(np.log(2 * np.pi) / 2, "1/2 log 2 pi", 256), (np.log(2), "log 2", 256)]
    units += [(np.log(k), f"log {k}", 1) for k in range(3, 101)]
    for unit, words, most in units:
        n = int(np.clip(round(abs(shift) / unit), 1, most))
        if abs(abs(shift) - n * unit) < 1e-8 * (1 + n * unit):
            return f" ({n} times {words})" if n > 1 or most > 1 else f" ({words})"
    return ""
