"""Factors fitted within tolerances: which c make base + c term the array that a candidate has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .bounded import Bounded, C
from .numbers import numbers
from .wrong import Wrong, clearly_wrong


class Interval(NamedTuple):
    """The factors that fit an array: all between `low` and `high`, best `mid`."""

    low: float
    mid: float
    high: float


def fitted(w: Wrong, term: Bounded, start: Bounded) -> Interval | None:
    """Return the factors c with which start + c term is the array, in each entry; None if none."""
    with np.errstate(all="ignore"):
        gap = w.value - start.value
    if not np.isfinite(gap).all() or not np.isfinite(term.value).all() or not gap.size:
        return None
    at = np.unravel_index(np.argmax(np.abs(term.value)), np.shape(term.value))
    top = abs(float(term.value[at]))
    if top == 0:
        return None
    c = float(gap[at] / term.value[at])
    allowed = w.allowed + C * w.outcome.eps * abs(c) * float(np.max(term.size, initial=0.0))
    slack = allowed / top  # by so much the entry that gives c may be off
    if np.max(np.abs(gap - c * term.value) - slack * np.abs(term.value)) > allowed:
        return None
    return Interval(c - slack, c, c + slack)


def all_fitted(
    roots: Sequence[Wrong], added: Sequence[Bounded | None], *, alone: bool = False
) -> list[Interval]:
    """Return the factors that fit each array, or [] if one has none.

    `alone`: the term stands for the array, and is not added to the right one. More entries must be
    clearly wrong than there are unknowns.

    >>> all_fitted([], [])
    []
    """
    fits: list[Interval] = []
    for w, term in zip(roots, added, strict=True):
        start = Bounded(0 * w.base.value) if alone else w.base
        fit = None if term is None else fitted(w, term, start)
        if fit is None:
            return []
        fits.append(fit)
    return fits if clearly_wrong(roots) > 2 else []


def common(fits: Sequence[Interval]) -> float | None:
    """Return a factor that fits every array, or None: a round one if there is one.

    >>> common([Interval(1.9, 2.01, 2.1), Interval(1.99, 2.02, 2.2)])
    2.0
    """
    low, high = max(f.low for f in fits), min(f.high for f in fits)
    if low > high:
        return None
    for digits in range(1, 13):
        value = float(f"{(low + high) / 2:.{digits}g}")
        if low <= value <= high:
            return value
    return (low + high) / 2


def number(roots: Sequence[Wrong], fits: Sequence[Interval]) -> tuple[str, float | None] | None:
    """Return the factor that fits every array, in words and as a number, or None.

    It is a round constant, a number of the case such as 1/N or eta, or else any constant.
    """
    c = common(fits)
    if c is not None and float(f"{c:.3g}") == c:
        return f"{c:.12g}", c
    tables = [numbers(w.problem, w.layer or 0) for w in roots]
    for name in tables[0]:
        if all(name in table for table in tables):
            pairs = [(table[name], f) for table, f in zip(tables, fits, strict=True)]
            if all(f.low - 1e-13 * abs(x) <= x <= f.high + 1e-13 * abs(x) for x, f in pairs):
                return name, None
    return None if c is None else (f"{c:.12g}", c)
