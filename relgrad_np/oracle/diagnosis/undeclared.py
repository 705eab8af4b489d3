"""Conventions that a candidate may have without declaring them: what is worth a trial.

A set of conventions is executed, and what it predicts is compared with the candidate's results in
order of propagation. Those that agree past the first error are proposed, simple ones first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..conventions import ASKED, CHOICES, Conventions
from ..truths.stages import Place
from .hypotheses import END, Finding, Hypothesis, agreement
from .outcome import Outcome, first_wrong

# what changes the form of results, not which function they are of
FORM = {"weights", "direction", "reduction"}


def proposals(
    results: Sequence[Outcome], declared: Conventions, at_most: int = 6
) -> list[Hypothesis]:
    """Return sets of conventions that explain what is wrong, or more of it than none does.

    >>> proposals([], Conventions())
    []
    """
    wrong = [entry for outcome in results for entry in outcome.entries if entry.wrong]
    first = first_wrong(wrong)
    if first is None:
        return []
    search = Search(results, declared)
    possible = [h for h in _combinations(declared) if h.complexity <= at_most]
    if not any(entry.stage in ("L_p", "log_prob") for entry in wrong):
        possible = [h for h in possible if "base" not in dict(h.changes)]
    found = [search.best(possible, first.place)]
    if found[0] is not None and not found[0].explains_all:
        # several that are not of form only, and do not explain all, are mistakes in disguise
        found.append(search.best(filter(_plausible_alone, possible), first.place))
    made = [finding.hypothesis for finding in found if finding is not None]
    return list(dict.fromkeys(made))


def single_changes(declared: Conventions) -> Iterator[dict[str, str]]:
    """Yield each convention that is not declared, alone.

    >>> next(single_changes(Conventions()))
    {'weights': 'transposed'}
    """
    for key, values in CHOICES.items():
        for value in values if key not in ASKED else ():
            if getattr(declared, key) != value:
                yield {key: value}


class Search:
    """How long hypotheses agree with a candidate's results.

    A few cases that differ, `probes`, settle most hypotheses; the rest are run on all cases.
    """

    def __init__(self, results: Sequence[Outcome], declared: Conventions) -> None:
        self.results, self.declared, self.probes = results, declared, probes(results)

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
            if full > beyond and (best is None or full > best.until):
                best = finding._replace(until=full)
        return best


def _rank(finding: Finding) -> tuple[Place, float]:
    return finding.until, -finding.hypothesis.complexity


def probes(results: Sequence[Outcome]) -> list[Outcome]:
    """Return a few cases that differ: some that are wrong, some that are right.

    >>> probes([])
    []
    """
    kinds: dict[Any, Outcome] = {}
    for outcome in sorted(results, key=lambda outcome: outcome.problem.D):
        p = outcome.problem
        wrong = any(entry.wrong for entry in outcome.entries)
        kinds.setdefault((wrong, min(p.L, 3), p.N > 1, bool(p.b[0].any())), outcome)
    return list(kinds.values())[:8]


def _combinations(declared: Conventions) -> Iterator[Hypothesis]:
    """Yield every set of undeclared conventions, simple ones first."""
    made = []
    axes = [[(key, value) for value in CHOICES[key]] for key in CHOICES if key not in ASKED]
    for chosen in itertools.product(*axes):
        changes = tuple((k, v) for k, v in chosen if getattr(declared, k) != v)
        if changes:
            made.append(Hypothesis(changes))
            if any(k == "weights" for k, _ in changes):
                made.append(Hypothesis(changes, misread=True))
    yield from sorted(made, key=lambda h: (h.complexity, not h.misread))


def _plausible_alone(h: Hypothesis) -> bool:
    return len(h.changes) == 1 or {key for key, _ in h.changes} <= FORM
