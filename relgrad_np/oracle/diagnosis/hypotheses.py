"""A hypothesis about a candidate, executed: what it would return, and where it disagrees."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..conventions import OF_VARIANT, Conventions, to_house
from ..mistakes.catalogue import mistakes
from ..mistakes.formulas import run
from ..truths.stages import STAGES, order, split
from .compare import Array, Outcome, ratio, worst

END = (99, 0, 0)
Place = tuple[int, int, int]


class Hypothesis(NamedTuple):
    """What a candidate may do: undeclared conventions, and a mistake, in one layer or in all.

    `misread`: it computes with the transposed weights throughout (x @ W on W as given).

    >>> Hypothesis(mistake="R_b_without_b").complexity
    1.0
    """

    changes: tuple[tuple[str, str], ...] = ()
    misread: bool = False
    mistake: str | None = None
    only: int | None = None

    @property
    def complexity(self) -> float:
        """How much it assumes."""
        return len(self.changes) + (self.mistake is not None) + 0.5 * (self.only is not None)


def predict(
    outcome: Outcome, declared: Conventions, h: Hypothesis, phase: int = END[0]
) -> dict[str, Array]:
    """Return the arrays that the hypothesis makes the candidate return, in the house's terms.

    Those of later phases than `phase` are left out.
    """
    p, actual = outcome.case.problem, declared._replace(**dict(h.changes))
    if h.misread:
        p = p._replace(W=tuple(W.T for W in p.W))
    if actual.bias == "none":
        p = p._replace(b=tuple(0 * b for b in p.b))
    if "last_layer" in dict(h.changes):
        p = p._replace(last_layer=actual.last_layer)
    odd = actual.reduction != declared.reduction
    factor = (p.N if actual.reduction == "sum" else 1 / p.N) if odd else 1.0
    p = p._replace(eta=p.eta * factor)
    lines = mistakes[h.mistake].lines if h.mistake else {}
    stages = {split(name)[0] for name in outcome.arrays}
    wanted = {stage for stage in stages if STAGES[stage].phase <= phase}
    if wanted & {"R_W", "R_b"}:
        wanted |= set(OF_VARIANT[actual.variant])
    with np.errstate(all="ignore"):
        made = run(p, lines, only=h.only, wanted=wanted)
    sources = {"R_W": "R_W", "R_b": "R_b"}
    if actual.variant != declared.variant or declared.variant != "output augmented":
        sources = dict(zip(("R_W", "R_b"), OF_VARIANT[actual.variant], strict=True))
    flips = Conventions(
        weights="transposed" if actual.weights != declared.weights or h.misread else "rows",
        direction="descent" if actual.direction != declared.direction else "ascent",
    )
    found = {}
    for name in outcome.arrays:
        stage, index = split(name)
        if stage not in wanted:
            continue
        source = name if stage not in sources else f"{sources[stage]}_{index}"
        if source in made:
            x = to_house(name, made[source], flips, p.N)
            found[name] = x * factor if STAGES[stage].summed else x
    return found


def agreement(outcome: Outcome, declared: Conventions, h: Hypothesis, phase: int = END[0]) -> Place:
    """Return where a hypothesis first disagrees with a candidate, up to a phase; else END.

    Twice what is allowed, and in proportion where the predicted values are larger than right ones.
    """
    case, L = outcome.case, outcome.case.problem.L
    predicted = predict(outcome, declared, h, phase)
    for name in case.expected:
        if name not in outcome.arrays or STAGES[split(name)[0]].phase > phase:
            continue
        if not disagreement(outcome, predicted, name) <= 1:
            return order(name, L)
    return END


def disagreement(outcome: Outcome, predicted: dict[str, Array], name: str) -> float:
    """Return |candidate - predicted| of an array, in units of what is allowed to be explained."""
    tolerance = outcome.case.tolerances[name]
    allowed = tolerance.allowed(outcome.eps)
    if not allowed <= tolerance.size / 4:
        return 0.0
    if name not in predicted:
        return math.inf
    guess, true = predicted[name], outcome.case.expected[name]
    if worst(outcome.arrays[name], true) > allowed and worst(guess, true) <= allowed:
        return math.inf  # an explanation predicts an error where there is one
    largest = float(np.max(np.abs(guess[np.isfinite(guess)]), initial=0.0))
    scale = max(1.0, largest / tolerance.size) if tolerance.size else 1.0
    allowed = max(2 * allowed * scale, 128 * outcome.eps * largest)
    allowed *= _condition(outcome)  # a mistaken line may go through an inverse
    return ratio(worst(outcome.arrays[name], guess), allowed)


def _condition(outcome: Outcome) -> float:
    return max(float(np.linalg.cond(W)) for W in outcome.case.problem.W)
