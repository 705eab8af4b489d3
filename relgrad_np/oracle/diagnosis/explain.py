"""What is wrong, by name: the hypothesis that agrees with the candidate for longest.

A hypothesis is a set of undeclared conventions, a mistake of the catalogue, or both. It is
executed, and what it predicts is compared with the candidate's results in order of propagation. The
one that agrees longest is the diagnosis; of several, the simplest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from ..conventions import CHOICES, Conventions
from ..mistakes.catalogue import mistakes
from ..truths.stages import STAGES, Place, split
from .compare import Entry, Outcome, first_wrong, supplied_stages
from .hypotheses import END, Finding, Hypothesis, agreement, disagreement, predict

# what changes the form of results, not which function they are of
FORM = {"weights", "direction", "reduction"}


def explain(results: Sequence[Outcome], declared: Conventions) -> Finding | None:
    """Return the best explanation of what is wrong, or None if nothing agrees past the first error.

    Mistakes alone are tried first, in all layers and in one; then undeclared conventions, with a
    mistake and without.
    """
    first = first_wrong(entry for outcome in results for entry in outcome.entries)
    if first is None:
        return None
    search = Search(results, declared)
    possible = _possible(results, first.place)
    best = search.best((Hypothesis(mistake=name) for name in possible), first.place)
    if best is None or not best.explains_all:
        layers = _wrong_layers(results, first)
        local = [Hypothesis(mistake=name, only=k) for name in possible for k in layers]
        best = _better(best, search.best(local, first.place))
    if best is None or not best.explains_all:
        best = _better(best, _by_conventions(search, first.place))
    return _with_residuals(best, results, declared, first) if best else None


def explain_part(results: Sequence[Outcome], declared: Conventions, first: Entry) -> Finding | None:
    """Explain a part that was given true inputs, alone: stages do not depend on each other then."""
    alone = []
    for outcome in results:
        kept = {name: x for name, x in outcome.arrays.items() if split(name)[0] == first.stage}
        if kept:
            alone.append(replace(outcome, arrays=kept))
    return explain(alone, declared)


class Search:
    """How long hypotheses agree with a candidate's results.

    A few cases that differ, `probes`, settle most hypotheses; the rest are run on all cases.
    """

    def __init__(self, results: Sequence[Outcome], declared: Conventions) -> None:
        self.results, self.declared, self.probes = results, declared, _probes(results)

    def until(
        self, results: Sequence[Outcome], h: Hypothesis, beyond: Place, phase: int = END[0]
    ) -> Place:
        """Return where a hypothesis first disagrees in any case, or `beyond` or less."""
        until = END
        for outcome in results:
            until = min(until, agreement(outcome, self.declared, h, phase))
            if until <= beyond:
                break
        return until

    def best(self, hypotheses: Iterable[Hypothesis], beyond: Place) -> Finding | None:
        """Return the hypothesis that agrees longest, past `beyond`; of several, the simplest.

        The hypotheses come in order of complexity, so the first that explains all is it.
        """
        best: Finding | None = None
        ranked = []
        for h in hypotheses:
            until = self.until(self.probes[:4], h, beyond, beyond[0])
            if until > beyond:
                until = self.until(self.probes, h, beyond)
            if until == END == self.until(self.results, h, beyond):
                return Finding(h, END)
            if until > beyond:
                ranked.append(Finding(h, until))
        for finding in sorted(ranked, key=_rank, reverse=True):
            if best is not None and _rank(finding) <= _rank(best):
                break
            full = self.until(self.results, finding.hypothesis, beyond)
            if full > beyond:
                best = _better(best, finding._replace(until=full))
        return best


def _rank(finding: Finding) -> tuple[Place, float]:
    return finding.until, -finding.hypothesis.complexity


def _better(one: Finding | None, two: Finding | None) -> Finding | None:
    if one is None or two is None:
        return one or two
    return two if _rank(two) > _rank(one) else one


def _probes(results: Sequence[Outcome]) -> list[Outcome]:
    """Return a few cases that differ: some that are wrong, some that are right."""
    kinds: dict[Any, Outcome] = {}
    for outcome in sorted(results, key=lambda outcome: outcome.problem.D):
        p = outcome.problem
        wrong = any(entry.wrong for entry in outcome.entries)
        kinds.setdefault((wrong, min(p.L, 3), p.N > 1, bool(p.b[0].any())), outcome)
    return list(kinds.values())[:8]


def _possible(results: Sequence[Outcome], place: Place) -> list[str]:
    """Return the mistakes that can show first at a place: of its stage, or of one not supplied."""
    supplied = supplied_stages(results)
    return [
        name
        for name, mistake in mistakes.items()
        if STAGES[mistake.stage].phase <= place[0]
        and (mistake.stage not in supplied or STAGES[mistake.stage].phase == place[0])
    ]


def _wrong_layers(results: Sequence[Outcome], first: Entry) -> list[int]:
    """Return the layers in which the first stage that is wrong is so; for the whole net, all."""
    wrong = (entry for outcome in results for entry in outcome.entries if entry.wrong)
    layers = {
        entry.layer
        for entry in wrong
        if entry.place[0] == first.place[0] and entry.layer is not None
    }
    return sorted(layers) or list(range(max(outcome.problem.L for outcome in results)))


def _combinations(declared: Conventions) -> Iterator[Hypothesis]:
    """Yield every set of undeclared conventions, simple ones first."""
    made = []
    axes = [[(key, value) for value in CHOICES[key]] for key in CHOICES if key != "base"]
    for chosen in itertools.product(*axes):
        changes = tuple((k, v) for k, v in chosen if getattr(declared, k) != v)
        if changes:
            made.append(Hypothesis(changes))
            if any(k == "weights" for k, _ in changes):
                made.append(Hypothesis(changes, misread=True))
    yield from sorted(made, key=lambda h: (h.complexity, not h.misread))


def _by_conventions(search: Search, first: Place) -> Finding | None:
    """Return the best explanation by undeclared conventions, and a mistake behind them if need be.

    Where they do not explain all, several conventions that are not of form only are mistakes in
    disguise: not all of their consequences are there.
    """
    found = search.best(_combinations(search.declared), first)
    if found is None or found.explains_all:
        return found
    names = _possible(search.results, found.until)
    both = search.best((found.hypothesis._replace(mistake=n) for n in names), found.until)
    if both is not None and both.explains_all:
        return both
    if _plausible_alone(found.hypothesis):
        return found
    return search.best(filter(_plausible_alone, _combinations(search.declared)), first)


def _plausible_alone(h: Hypothesis) -> bool:
    return len(h.changes) == 1 or {key for key, _ in h.changes} <= FORM


def _with_residuals(
    best: Finding, results: Sequence[Outcome], declared: Conventions, first: Entry
) -> Finding:
    """Fill in the residual at the first error, and that of the next best mistake."""
    shown = []  # cases, at most four, that are wrong first in the stage that is wrong first
    for outcome in results:
        mine = next((entry for entry in outcome.entries if entry.wrong), None)
        if mine is not None and mine.stage == first.stage:
            shown.append((outcome, mine.name))
    phase = STAGES[first.stage].phase

    def residual(h: Hypothesis) -> float:
        found = (
            disagreement(outcome, predict(outcome, declared, h, phase), name)
            for outcome, name in shown[:4]
        )
        return max([0.0, *found])

    base = best.hypothesis._replace(only=None)
    others = [
        (name, residual(base._replace(mistake=name)))
        for name, mistake in mistakes.items()
        if name != base.mistake and mistake.stage == first.stage
    ]
    runner_up = min(others, key=lambda pair: pair[1], default=None)
    return best._replace(residual=residual(best.hypothesis), runner_up=runner_up)
