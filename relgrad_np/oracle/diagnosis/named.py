"""The mistake of the catalogue that makes an error, whatever else is wrong.

Its lines are executed at the candidate's own arrays, so that errors that come before do not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..mistakes.catalogue import mistakes
from ..mistakes.formulas import run
from ..truths.stages import STAGES
from .bounded import Bounded, C
from .own import evaluate
from .wrong import Wrong


def named(roots: Sequence[Wrong], supplied: set[str]) -> Iterator[tuple[str, int | None]]:
    """Yield the mistakes that explain all of these arrays, all of one stage: name, layer.

    Mistakes of the stage itself are tried, and those of stages that were not supplied. Where layers
    are not independent, for one in between was not supplied, mistakes in a single layer are tried,
    too.
    """
    roots = sorted(roots, key=lambda w: (w.problem.L, w.value.size))  # the cheapest first
    first = roots[0]
    through = any(w.through for w in roots)
    layers: list[int | None] = [None]
    if through:
        layers += list(range(min(w.problem.L for w in roots)))
    for only in layers:
        for name, mistake in mistakes.items():
            if mistake.of_context and not all(w.problem.c for w in roots):
                continue
            before = STAGES[mistake.stage].phase <= STAGES[first.stage].phase
            hidden = before and mistake.stage not in supplied
            if (hidden or mistake.stage == first.stage) and makes(name, roots, only):
                yield name, only


def makes(name: str, roots: Sequence[Wrong], only: int | None = None) -> bool:
    """Whether a mistake gives every one of these arrays, at the candidate's own inputs.

    >>> makes("R_b_without_b", [])
    True
    """
    return all(w.agrees(predicted(name, w, only)) for w in roots)


def predicted(name: str, w: Wrong, only: int | None = None) -> Bounded:
    """Return what a mistake gives for an array, at the candidate's own inputs."""
    lines = mistakes[name].lines
    with np.errstate(all="ignore"):
        if w.name == "X_back":  # a function of Z_back alone
            guess = np.asarray(run(w.problem, lines, only=only, wanted={"X_back"})["X_back"])
            size = w.outcome.case.tolerances["X_back"].allowed(1 / C)
            largest = np.max(np.abs(guess), initial=0.0) * max(w.outcome.conditions)
            return Bounded(guess, np.full(guess.shape, max(size, float(largest))))
        return evaluate(w.problem, w.bounded_inputs, [w.name], lines, only=only)[w.name]


def shows(name: str, w: Wrong) -> bool:
    """Whether a mistake changes an array at all."""
    guess = predicted(name, w)
    gap = np.abs(guess.value - w.base.value)
    return not bool(np.max(gap, initial=0.0) <= w.allowed)
