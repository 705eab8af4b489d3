"""Candidate against truth, array by array: how far off, in units of what is allowed."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from ..conventions import Conventions, applies, expected
from ..truths.stages import layer_of, order, split
from ..truths.suite import Case

Array = Any
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


class Entry(NamedTuple):
    """One array: its case, name, place in the propagation, worst error, what is allowed.

    >>> Entry("a", "R_b_0", (11, 0, 0), 3.0, 1.0).units
    3.0
    """

    case: str
    name: str
    place: tuple[int, int, int]
    error: float
    allowed: float
    checked: bool = True

    @property
    def units(self) -> float:
        """The error in units of what is allowed."""
        return ratio(self.error, self.allowed)

    @property
    def wrong(self) -> bool:
        """NaN is wrong."""
        return self.checked and not self.error <= self.allowed

    @property
    def stage(self) -> str:
        """Kind of array."""
        return split(self.name)[0]

    @property
    def layer(self) -> int | None:
        """The layer that made it."""
        return layer_of(self.name)


class Outcome(NamedTuple):
    """What a candidate returned for a case, beside the case as it should be judged."""

    case: Case
    arrays: dict[str, Array]
    eps: float


def worst(x: Array, right: Array) -> float:
    """Return the largest |x - right|; equal infinities and NaN beside NaN agree.

    >>> worst(np.array([1.0, np.nan]), np.array([1.5, 2.0]))
    inf
    """
    with np.errstate(all="ignore"):
        error = np.abs(np.asarray(x, dtype=float) - right)
    same = (x == right) | (np.isnan(x) & np.isnan(right))
    error = np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf))
    return float(np.max(error, initial=0.0))


def ratio(error: float, allowed: float) -> float:
    """Return error / allowed; nothing is allowed where there is nothing to compute (L_J1, L = 1).

    >>> ratio(0.0, 0.0), ratio(1.0, 0.0)
    (0.0, inf)
    """
    return error / allowed if allowed else (0.0 if error == 0 else np.inf)


def outcomes(
    found: Iterable[tuple[Case, dict[str, Array], str]], how: Conventions
) -> list[Outcome]:
    """Pair results with cases as these conventions want them judged; empty results are left out."""
    return [
        Outcome(expected(case, how), arrays, EPS[dtype])
        for case, arrays, dtype in found
        if arrays and applies(case.problem, how, supplied=True)
    ]


def entries(outcome: Outcome) -> list[Entry]:
    """Compare every array of an outcome, in order of propagation.

    An array whose tolerance is a quarter of its own size is no evidence in this precision: it is
    listed as not checked.
    """
    (problem, right, tolerances), found = outcome.case, []
    for name, true in right.items():
        if name in outcome.arrays:
            allowed = tolerances[name].allowed(outcome.eps)
            checked = allowed <= tolerances[name].size / 4
            error = worst(outcome.arrays[name], true)
            place = order(name, problem.L)
            found.append(Entry(problem.id, name, place, error, allowed, checked))
    return sorted(found, key=lambda entry: entry.place)


def first_wrong(found: Iterable[Entry]) -> Entry | None:
    """Return the first wrong array in order of propagation; of several cases, the worst.

    >>> good, bad = Entry("a", "Y_0", (0, 0, 0), 0.0, 1.0), Entry("a", "Y_1", (0, 1, 0), 2.0, 1.0)
    >>> first_wrong([good, bad]).name
    'Y_1'
    """
    wrong = [entry for entry in found if entry.wrong]
    return min(wrong, key=lambda entry: (entry.place, -entry.units), default=None)
