"""A wrong array beside what its formula gives, and how far off that it may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..truths.records import Array, Problem
from .bounded import Bounded, C
from .outcome import Entry, Outcome, worst


@dataclass(frozen=True)
class Wrong:
    """A wrong array beside what its formula gives, `base`, at the candidate's own inputs.

    `sources`: the wrong arrays that it reads. `through`: inputs that were not supplied. `root`:
    whether it differs from `base`. `isolated`: it was given true inputs.
    """

    outcome: Outcome
    entry: Entry
    base: Bounded
    sources: tuple[str, ...]
    through: tuple[str, ...]
    root: bool
    isolated: bool = False

    @property
    def name(self) -> str:
        """The array's name."""
        return self.entry.name

    @property
    def stage(self) -> str:
        """Kind of array."""
        return self.entry.stage

    @property
    def layer(self) -> int | None:
        """The layer that made it."""
        return self.entry.layer

    @property
    def problem(self) -> Problem:
        """The inputs of its case."""
        return self.outcome.problem

    @property
    def value(self) -> Array:
        """What the candidate returned, in float64."""
        return np.asarray(self.outcome.arrays[self.name], dtype=float)

    @property
    def inputs(self) -> dict[str, Array]:
        """The arrays that its formula is evaluated at."""
        return inputs_of(self.outcome, self.isolated)

    @property
    def bounded_inputs(self) -> dict[str, Bounded]:
        """The same with their sizes."""
        return own_arrays(self.outcome, self.isolated)

    @cached_property
    def allowed(self) -> float:
        """How far a candidate that computes exactly this may be off `base`."""
        return allowed_beside(self.outcome, self.name, self.base)

    @cached_property
    def off(self) -> Array:
        """Which entries are wrong."""
        return off(self.value, self.base.value, self.allowed)

    def agrees(self, guess: Bounded) -> bool:
        """Whether the candidate returned this, up to what its own formula allows.

        A guess that allows nearly as much as the array is wrong by explains nothing.
        """
        allowed = allowed_beside(self.outcome, self.name, guess)
        gap = worst(self.value, guess.value)
        if guess is self.base:
            return gap <= allowed
        sharp = allowed <= max(4 * self.allowed, worst(self.value, self.base.value) / 4)
        return gap <= allowed and sharp


def off(x: Array, right: Array, allowed: float) -> Array:
    """Return which entries differ by more than allowed, or are NaN in one only.

    >>> off(np.array([1.0, 2.0, np.nan]), np.array([1.0, 2.5, np.nan]), 0.1)
    array([False,  True, False])
    """
    with np.errstate(all="ignore"):
        near = np.abs(x - right) <= allowed
    return ~(near | (x == right) | (np.isnan(x) & np.isnan(right)))


def allowed_beside(outcome: Outcome, name: str, guess: Bounded) -> float:
    """Return how far off an array may be that is computed as `guess` was: by 64 eps S of it.

    What a right array is allowed comes on top, for inputs that were rounded before they were
    returned.
    """
    finite = guess.size[np.isfinite(guess.size)]
    size = float(np.max(finite, initial=0.0))
    return C * outcome.eps * size + outcome.case.tolerances[name].allowed(outcome.eps)


def inputs_of(outcome: Outcome, isolated: bool) -> dict[str, Array]:
    """Return what formulas are evaluated at: a part's true inputs, else the candidate's arrays."""
    return outcome.case.expected if isolated else outcome.arrays


def own_arrays(outcome: Outcome, isolated: bool = False) -> dict[str, Bounded]:
    """Return the same with their sizes, which are made once."""
    key = own_arrays, isolated
    if key not in outcome.known:
        outcome.known[key] = {name: Bounded(x) for name, x in inputs_of(outcome, isolated).items()}
    found: dict[str, Bounded] = outcome.known[key]
    return found


def hidden_layers(problem: Problem) -> int:
    """Return how many layers have an activation."""
    return problem.L - (problem.last_layer == "affine")


def right_value(outcome: Outcome, name: str) -> Bounded:
    """Return the expected array; its size makes up its tolerance."""
    right = outcome.case.expected[name]
    size = outcome.case.tolerances[name].allowed(outcome.eps) / (C * outcome.eps)
    return Bounded(right, np.full(np.shape(right), size))


def clearly_wrong(arrays: Sequence[Wrong]) -> int:
    """Return how many entries are off by ten times what is allowed.

    >>> clearly_wrong([])
    0
    """
    count = 0
    for w in arrays:
        with np.errstate(all="ignore"):
            gap = np.abs(w.value - w.base.value)
        count += int(np.sum(w.off & ~(gap <= 10 * w.allowed)))
    return count
