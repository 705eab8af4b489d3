"""Candidate against truth, array by array: how far off, in units of what is allowed."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..truths.records import Array, Case, Problem
from ..truths.stages import Place, layer_of, order, split

EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


class Entry(NamedTuple):
    """One array: its case, name, place in the propagation, worst error, what is allowed."""

    case: str
    name: str
    place: Place
    error: float
    allowed: float
    checked: bool = True

    @property
    def units(self) -> float:
        """The error in units of what is allowed."""
        return ratio(self.error, self.allowed)

    @property
    def wrong(self) -> bool:
        """Whether the error is larger than allowed, or NaN."""
        return self.checked and not self.error <= self.allowed

    @property
    def stage(self) -> str:
        """Kind of array."""
        return split(self.name)[0]

    @property
    def layer(self) -> int | None:
        """The layer that made it; None for an array of the whole net."""
        return layer_of(self.name)

    @property
    def where(self) -> str:
        """Layer and stage, as a report says them."""
        return self.stage if self.layer is None else f"layer {self.layer}, {self.stage}"


@dataclass(frozen=True)
class Outcome:
    """What a candidate returned for a case, and the case as its conventions want it judged.

    `eps` belongs to the dtype that the results claim. `known` keeps what was found out about it.
    """

    case: Case
    arrays: dict[str, Array]
    eps: float
    known: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def problem(self) -> Problem:
        """The inputs."""
        return self.case.problem

    @cached_property
    def conditions(self) -> list[float]:
        """The condition number of each layer's W."""
        return [float(np.linalg.cond(W)) for W in self.problem.W]

    @cached_property
    def errors(self) -> dict[str, float]:
        """The worst error of each array that was returned and is expected."""
        names = [name for name in self.case.expected if name in self.arrays]
        return {name: worst(self.arrays[name], self.case.expected[name]) for name in names}

    @cached_property
    def entries(self) -> list[Entry]:
        """The arrays compared with the right ones, in order of propagation.

        An array whose tolerance is more than a quarter of its own size is no evidence in this
        precision: it is listed as not checked.
        """
        rows = []
        for name, error in self.errors.items():
            tolerance, place = self.case.tolerances[name], order(name, self.problem.L)
            allowed = tolerance.allowed(self.eps)
            checked = allowed <= tolerance.size / 4
            rows.append(Entry(self.problem.id, name, place, error, allowed, checked))
        return sorted(rows, key=lambda entry: entry.place)


def worst(x: Array, right: Array) -> float:
    """Return the largest |x - right|; equal infinities and NaN beside NaN agree.

    >>> worst(np.array([1.0, np.nan]), np.array([1.5, 2.0]))
    inf
    """
    with np.errstate(all="ignore"):
        error = np.abs(np.asarray(x, dtype=float) - right)
    largest = float(error.max(initial=0.0))
    if math.isfinite(largest):
        return largest
    same = (x == right) | (np.isnan(x) & np.isnan(right))
    error = np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf))
    return float(np.max(error, initial=0.0))


def ratio(error: float, allowed: float) -> float:
    """Return error / allowed; nothing is allowed where there is nothing to compute (L_J1, L = 1).

    >>> ratio(0.0, 0.0), ratio(1.0, 0.0)
    (0.0, inf)
    """
    return error / allowed if allowed else (0.0 if error == 0 else np.inf)


def first_wrong(found: Iterable[Entry]) -> Entry | None:
    """Return the first wrong array in order of propagation; of several cases, the worst.

    >>> good, bad = Entry("a", "Y_0", (0, 0, 0), 0.0, 1.0), Entry("a", "Y_1", (0, 1, 0), 2.0, 1.0)
    >>> first_wrong([good, bad]).name
    'Y_1'
    """
    wrong = [entry for entry in found if entry.wrong]
    return min(wrong, key=lambda entry: (entry.place, -entry.units), default=None)


def supplied_stages(results: Iterable[Outcome]) -> set[str]:
    """Return the stages of which a candidate returned any array."""
    return {split(name)[0] for outcome in results for name in outcome.arrays}
