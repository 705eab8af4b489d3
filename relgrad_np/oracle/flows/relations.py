"""What a wrong number is: relations of it to the right one that explain every wrong row.

A relation is said only where it holds at every wrong row, within what the right values may be off
by, and only where it could have failed: it must lie far closer to what was returned than the right
value does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from .records import SINGLE, Array
from .regressions import Guess, regressions


class Told(NamedTuple):
    """A relation: its fixed name, its words, on which rows ("" for all), the size of an error."""

    relation: str
    text: str
    where: str = ""
    size: float | None = None


UNNAMED = Told("unnamed", "")
CLOSER = 0.02  # a relation's error, as a share of the error that it explains


def explains(guess: Guess, got: Array, right: Array, allowed: Array, rows: Array) -> bool:
    """Say whether a hypothesis gives what was returned at all of these rows.

    >>> got, right = np.array([2.0, 4.0]), np.array([1.0, 2.0])
    >>> explains(Guess("double", "", 2 * right), got, right, np.full(2, 1e-9), np.array([0, 1]))
    True
    """
    value, a = guess.value[rows], max(1.0, guess.scale) * allowed[rows]
    with np.errstate(all="ignore"):
        off, error = np.abs(got[rows] - value), np.abs(got[rows] - right[rows])
        near = off <= np.minimum(4 * a, np.maximum(CLOSER * error, a))
    return bool(near.all()) and float(np.median(a)) < CLOSER * float(np.median(error))


def of_log_det(
    got: Array, right: Array, allowed: Array, wrong: Array, D: int, J: Array, parts: Parts = ()
) -> Told:
    """Say what a wrong log|det J| is.

    `right`, `J`: by differences. `wrong`: which rows are. `parts`: of a composed flow, (name,
    log|det J| of that part at the same rows).

    >>> r = np.array([0.3, -1.2, 0.7])
    >>> J = np.exp(r)[:, None, None] * np.eye(1)
    >>> of_log_det(-r, r, np.full(3, 1e-9), np.ones(3, dtype=bool), 1, J).relation
    'sign'
    """
    rows = np.flatnonzero(wrong)
    if told := _by_its_size(got, right, rows):
        return told
    for guess in _guesses(got, right, D, J, parts, rows):
        if explains(guess, got, right, allowed, rows):
            return Told(guess.relation, guess.text)
    return UNNAMED


Parts = Iterable[tuple[str, Array]]
WHAT = "log|det J|"


def _guesses(
    got: Array, right: Array, D: int, J: Array, parts: Parts, rows: Array
) -> Iterable[Guess]:
    """Yield hypotheses on log|det J|, the specific ones first."""
    zero = np.zeros_like(right)
    yield Guess("missing", f"{WHAT} is missing: it is 0", zero)
    yield Guess("sign", f"{WHAT} has the wrong sign: it is that of the inverse", -right)
    parts = list(parts)
    for name, one in parts:
        if len(parts) > 1:
            yield Guess(f"misses part {name}", f"{WHAT} misses that of part {name!r}", right - one)
            text = f"{WHAT} has that of part {name!r} with the wrong sign"
            yield Guess(f"sign of part {name}", text, right - 2 * one)
            text = f"{WHAT} counts that of part {name!r} twice"
            yield Guess(f"part {name} twice", text, right + one)
            yield Guess(f"only part {name}", f"{WHAT} is that of part {name!r} alone", one)
    for k in range(2, len(parts)):
        before, name = sum(one for _, one in parts[:k]), parts[k][0]
        text = f"{WHAT} ends before part {name!r}: it misses it and those after it"
        yield Guess(f"ends before part {name}", text, zero + before)
    also = ": halved, or averaged over D" if D == 2 else ""
    yield Guess("half", f"{WHAT} is 1/2 times the right one{also}", right / 2)
    yield Guess("double", f"{WHAT} is 2 times the right one", 2 * right, 2)
    if D > 1:
        yield Guess("averaged over D", f"{WHAT} is averaged over the {D} dimensions", right / D)
        yield Guess("times D", f"{WHAT} is {D} times the right one, D = {D}", D * right, D)
    if np.isfinite(right).all():
        yield from _of_batch(right)
    with np.errstate(all="ignore"):
        det, diagonal = np.exp(right), np.log(np.abs(np.einsum("nii->ni", J)))
        yield Guess("no log", "|det J| is returned, without the logarithm", det, float(det.max()))
        yield Guess("log10", f"{WHAT} is in base 10", right / np.log(10))
        yield Guess("log2", f"{WHAT} is in base 2", right / np.log(2), 2)
        trace = np.einsum("nii->n", J)
        yield Guess("trace", "it is the trace of J", trace, float(np.abs(trace).max()))
        inner = np.log(np.abs(1 / np.diagonal(np.linalg.pinv(J), axis1=1, axis2=2)))
    finite = got[np.isfinite(got)]
    if len(finite) and max((got == finite.min()).sum(), (got == finite.max()).sum()) > 2:
        low, high = float(finite.min()), float(finite.max())
        text = f"{WHAT} is clipped to [{low:.6g}, {high:.6g}]"
        if low < high:
            yield Guess("clipped", text, np.clip(right, low, high))
    yield from _of_entries(right, D, diagonal, inner)
    yield from regressions(WHAT, got, right, rows)


def _of_batch(right: Array) -> Iterable[Guess]:
    """Yield what one number for the whole batch could be made of."""
    zero, N = np.zeros_like(right), len(right)
    if N < 2:
        return
    yield Guess("batch sum", f"{WHAT} is summed over the batch", zero + right.sum(), N)
    yield Guess("batch mean", f"{WHAT} is averaged over the batch", zero + right.mean())
    if (np.abs(right[1:] - right[0]) > 1e-6 * (1 + abs(right[0]))).all():
        yield Guess("first row", f"{WHAT} is that of the first row", zero + right[0])


def _of_entries(right: Array, D: int, diagonal: Array, inner: Array) -> Iterable[Guess]:
    """Yield hypotheses that treat the coordinates unlike one another."""
    if D < 2:
        return
    text = f"{WHAT} is that of J's diagonal: what is off it is left out"
    yield Guess("diagonal", text, diagonal.sum(axis=1))
    for k in range(min(D, 64)):
        which = "first" if k == 0 else "last" if k == D - 1 else f"{k}th"
        text, name = f"{WHAT} misses the {which} dimension (column {k})", f"misses dimension {k}"
        yield Guess(name, text, right - diagonal[:, k])
        yield Guess(name, text, right - inner[:, k])
    for k in range(min(D, 64)):
        text = f"{WHAT} counts dimension {k} twice"
        yield Guess(f"dimension {k} twice", text, right + diagonal[:, k])
        text = f"{WHAT} has dimension {k} with the wrong sign"
        yield Guess(f"sign of dimension {k}", text, right - 2 * diagonal[:, k])
    for k in range(1, min(D, 64)):
        first, last = diagonal[:, :k].sum(axis=1), diagonal[:, k:].sum(axis=1)
        text = f"{WHAT} has the dimensions from {k} on with the wrong sign"
        yield Guess("sign of a half", text, first - last)
        text = f"{WHAT} has the first {k} dimensions with the wrong sign"
        yield Guess("sign of a half", text, last - first)
        yield Guess("misses dimensions", f"{WHAT} misses the dimensions from {k} on", first)
        yield Guess("misses dimensions", f"{WHAT} misses the first {k} dimensions", last)


def _by_its_size(got: Array, right: Array, rows: Array) -> Told | None:
    """Say what the size of an error tells where no relation does."""
    error, size = np.abs(got[rows] - right[rows]), 1 + np.abs(right[rows])
    if not np.isfinite(got[rows]).all():
        return None
    relative = float(np.max(error / size))
    if relative < SINGLE["jacobian"]:
        text = f"{WHAT} is right to {relative:.0e} only: float32 digits, or an epsilon"
        return Told("float32 digits", text, size=relative)
    if relative < 2e-3:
        return Told("an epsilon", f"{WHAT} is right to {relative:.0e} only: an epsilon inside")
    return None


def off_by(error: Array) -> str:
    """Say how large errors are that nothing explains.

    >>> off_by(np.array([-0.3, -0.3])), off_by(np.array([0.1, -0.3]))
    ('off by about -0.3 everywhere', 'off by 0.1 to 0.3')
    """
    size = np.abs(error)
    if np.ptp(error) < 1e-3 * size.max():
        return f"off by about {np.median(error):.3g} everywhere"
    return f"off by {size.min():.3g} to {size.max():.3g}"


def only_where(x: Array, z: Array, sign: Array, wrong: Array) -> str:
    """Say on which rows something is wrong, if a simple condition tells them from the others.

    >>> x = np.array([[-2.0], [-1.0], [1.0], [2.0], [3.0]])
    >>> only_where(x, x, np.ones(5), x[:, 0] > 0)
    'only where x_0 > 0 (3 of 5 rows)'
    """
    n, N = int(wrong.sum()), len(wrong)
    if n in (0, N) or n < 2 or N - n < 2:
        return ""
    count = f"({n} of {N} rows)"
    for value, words in ((-1, "det J < 0"), (1, "det J > 0")):
        if np.array_equal(wrong, sign == value):
            return f"only where {words} {count}"
    tests: list[tuple[str, Array]] = []
    for name, at in (("x", x), ("z", z)):
        for i in range(at.shape[1]):
            tests += [(f"{name}_{i}", at[:, i]), (f"|{name}_{i}|", np.abs(at[:, i]))]
        tests += [(f"max |{name}_i|", np.abs(at).max(axis=1))]
        tests += [(f"min {name}_i", at.min(axis=1)), (f"max {name}_i", at.max(axis=1))]
    for name, v in tests:
        inside, outside = v[wrong], v[~wrong]
        if inside.min() > outside.max():
            return f"only where {name} > {_between(outside.max(), inside.min())} {count}"
        if inside.max() < outside.min():
            return f"only where {name} < {_between(inside.max(), outside.min())} {count}"
    return f"on {n} of {N} rows"


def _between(low: float, high: float) -> str:
    """Return the shortest number between two.

    >>> _between(-0.3, 0.2), _between(0.93, 1.04)
    ('0', '1')
    """
    if low < 0 < high:
        return "0"
    for digits in range(1, 17):
        middle = float(f"{(low + high) / 2:.{digits}g}")
        if low <= middle <= high:
            return f"{middle:g}"
    return f"{low:g}"
