"""Conventions that a candidate may have, executed: what it would return, how long that agrees."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..conventions import Conventions, restored, sources_of, to_default
from ..mistakes.formulas import run
from ..truths.records import Array
from ..truths.stages import STAGES, Place, order, split
from .outcome import Outcome, ratio, worst

END: Place = (99, 0, 0)  # behind every array
EXPENSIVE = {"W_exp", "b_exp", "C_exp", "X_back"}  # left out where others can settle it


class Hypothesis(NamedTuple):
    """What a candidate may do: undeclared conventions.

    `misread`: it computes with the transposed weights throughout (x @ W with W as it is given). C
    can be misread so where it is square.
    """

    changes: tuple[tuple[str, str], ...] = ()
    misread: bool = False

    @property
    def complexity(self) -> int:
        """How much it assumes."""
        return len(self.changes)


class Finding(NamedTuple):
    """A hypothesis, and the place at which it first disagrees with the candidate."""

    hypothesis: Hypothesis
    until: Place

    @property
    def explains_all(self) -> bool:
        """Whether nothing is left to explain."""
        return self.until == END


def predict(
    outcome: Outcome, declared: Conventions, h: Hypothesis, phase: int = END[0]
) -> dict[str, Array]:
    """Return the arrays that a candidate would return if the hypothesis were true.

    They are in the default conventions, as the outcome's arrays are. Arrays of later phases than
    `phase` are left out.
    """
    p, actual = outcome.problem, declared._replace(**dict(h.changes))
    if h.misread:
        p = p._replace(W=tuple(W.T for W in p.W))
        p = p._replace(C=tuple(C.T for C in p.C)) if p.c == p.D else p
    if actual.bias == "none":
        p = p._replace(b=tuple(0 * b for b in p.b))
    if "last_layer" in dict(h.changes):
        p = p._replace(last_layer=actual.last_layer)
    factor = 1.0
    if actual.reduction != declared.reduction:
        factor = p.N if actual.reduction == "sum" else 1 / p.N
    p = p._replace(eta=p.eta * factor)
    wanted = judged(outcome, phase)
    with np.errstate(all="ignore"):
        more = sources_of(actual.variant).values() if wanted & {"R_W", "R_b", "R_C"} else ()
        made = run(p, wanted=wanted | set(more))
    sources = {}
    if actual.variant != declared.variant or declared.variant != "output augmented":
        sources = sources_of(actual.variant)
    differs = Conventions(
        weights="transposed" if actual.weights != declared.weights or h.misread else "rows",
        direction="descent" if actual.direction != declared.direction else "ascent",
    )
    found = {}
    for name in outcome.arrays:
        stage, index = split(name)
        source = f"{sources[stage]}_{index}" if stage in sources else name
        if stage in wanted and source in made:
            kept = STAGES[stage].of_context and p.c != p.D  # else it had not the right shape
            form = differs._replace(weights="rows") if kept else differs
            x = to_default(name, made[source], form, p.N)
            x = x * factor if STAGES[stage].summed else x
            found[name] = restored(name, x, declared, p) - (restored(name, x, actual, p) - x)
    return found


def judged(outcome: Outcome, phase: int) -> set[str]:
    """Return the stages that settle a hypothesis: those supplied, up to a phase."""
    supplied = {split(name)[0] for name in outcome.arrays}
    supplied = {stage for stage in supplied if STAGES[stage].phase <= phase}
    return supplied - EXPENSIVE or supplied


def agreement(outcome: Outcome, declared: Conventions, h: Hypothesis, phase: int = END[0]) -> Place:
    """Return where a hypothesis first disagrees with a candidate, up to a phase; else END."""
    predicted, stages = predict(outcome, declared, h, phase), judged(outcome, phase)
    for name in outcome.errors:
        if split(name)[0] not in stages:
            continue
        if not disagreement(outcome, predicted, name) <= 1:
            return order(name, outcome.problem.L)
    return END


def disagreement(outcome: Outcome, predicted: dict[str, Array], name: str) -> float:
    """Return |candidate - predicted| of an array, in units of what a hypothesis is allowed.

    That is twice what a right result is allowed, more in proportion where the predicted values are
    larger than right ones.
    """
    tolerance = outcome.case.tolerances[name]
    allowed = tolerance.allowed(outcome.eps)
    if not allowed <= tolerance.size / 4:
        return 0.0
    if name not in predicted:
        return math.inf
    guess, true = predicted[name], outcome.case.expected[name]
    if outcome.errors[name] > allowed and worst(guess, true) <= allowed:
        return math.inf  # an explanation predicts an error where there is one
    largest = float(np.max(np.abs(guess[np.isfinite(guess)]), initial=0.0))
    scale = max(1.0, largest / tolerance.size) if tolerance.size else 1.0
    allowed = max(2 * allowed * scale, 128 * outcome.eps * largest)
    allowed *= max(outcome.conditions)  # other weights may be worse conditioned
    return ratio(worst(outcome.arrays[name], guess), allowed)
