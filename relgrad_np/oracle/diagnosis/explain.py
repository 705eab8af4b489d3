"""What is wrong, by name: the explanation that accounts for the longest stretch of the results.

A hypothesis is a set of undeclared conventions, a mistake of the catalogue, or both; `hypotheses`
executes it, and its results are compared with the candidate's in order of propagation. The one
that agrees longest is the diagnosis, of equal ones the simplest.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..conventions import CHOICES, Conventions
from ..mistakes.catalogue import mistakes
from ..truths.stages import STAGES, split
from .compare import Entry, Outcome, entries, first_wrong
from .hypotheses import END, Hypothesis, Place, agreement, disagreement, predict


class Finding(NamedTuple):
    """A hypothesis, how far it agrees (END: everywhere), its worst disagreement at the first error.

    `residual` in units of what is allowed; `runner_up`: the next best mistake and its residual.
    """

    hypothesis: Hypothesis
    until: Place
    residual: float
    runner_up: tuple[str, float] | None = None

    @property
    def explains_all(self) -> bool:
        """Nothing is left to explain."""
        return self.until == END


def explore(
    found: Sequence[Outcome], declared: Conventions, compared: dict[str, list[Entry]]
) -> Finding | None:
    """Return the best explanation of what is wrong, or None if nothing agrees past the first error.

    Mistakes alone, in all layers or in one; then undeclared conventions, with and without one.
    """
    first = first_wrong(itertools.chain.from_iterable(compared.values()))
    if first is None:
        return None
    probes = _probes(found, compared)
    possible = _possible(found, first.place)
    plain = [Hypothesis(mistake=name) for name in possible]
    best = _best(probes, found, declared, plain, first.place)
    if best is None or not best.explains_all:
        layers = _layers(found, compared)
        local = [Hypothesis(mistake=name, only=j) for name in possible for j in layers]
        best = _better(best, _best(probes, found, declared, local, first.place))
    if best is None or not best.explains_all:
        conv = _best(probes, found, declared, _combinations(declared), first.place)
        if conv is not None and not conv.explains_all:
            both = [conv.hypothesis._replace(mistake=name) for name in _possible(found, conv.until)]
            whole = _best(probes, found, declared, both, conv.until)
            conv = (
                whole
                if whole is not None and whole.explains_all
                else _partial(conv, probes, found, declared, first)
            )
        best = _better(best, conv)
    return _with_runner_up(best, found, declared, first) if best else None


UNITS = {"weights", "direction", "reduction"}


def _partial(
    conv: Finding,
    probes: Sequence[Outcome],
    found: Sequence[Outcome],
    declared: Conventions,
    first: Entry,
) -> Finding | None:
    """Return what conventions alone explain of the results, if not all: one, or several of form.

    Several of another kind, not all of whose consequences are there, are mistakes in disguise.
    """
    if len(conv.hypothesis.changes) == 1 or {k for k, _ in conv.hypothesis.changes} <= UNITS:
        return conv
    simple = [
        h
        for h in _combinations(declared)
        if len(h.changes) == 1 or {key for key, _ in h.changes} <= UNITS
    ]
    return _best(probes, found, declared, simple, first.place)


def _possible(found: Sequence[Outcome], place: Place) -> list[str]:
    """Return the mistakes that can show first at a place: of its stage, or of one not supplied."""
    supplied = {split(name)[0] for outcome in found for name in outcome.arrays}
    return [
        name
        for name, mistake in mistakes.items()
        if STAGES[mistake.stage].phase <= place[0]
        and (mistake.stage not in supplied or STAGES[mistake.stage].phase == place[0])
    ]


def _better(one: Finding | None, two: Finding | None) -> Finding | None:
    if one is None or two is None:
        return one or two
    ranks = [(f.until, -f.hypothesis.complexity) for f in (one, two)]
    return two if ranks[1] > ranks[0] else one


def _combinations(declared: Conventions) -> Iterator[Hypothesis]:
    """Yield every set of undeclared conventions, simple ones first."""
    made = []
    axes = [[(key, value) for value in CHOICES[key]] for key in CHOICES]
    for chosen in itertools.product(*axes):
        changes = tuple((k, v) for k, v in chosen if getattr(declared, k) != v)
        if changes:
            made.append(Hypothesis(changes))
            if any(k == "weights" for k, _ in changes):
                made.append(Hypothesis(changes, misread=True))
    yield from sorted(made, key=lambda h: (h.complexity, not h.misread))


def _probes(found: Sequence[Outcome], compared: dict[str, list[Entry]]) -> list[Outcome]:
    """Return a few cases that differ: some that are wrong, some that are right."""
    kinds: dict[Any, Outcome] = {}
    for outcome in sorted(found, key=lambda o: o.case.problem.D):
        p = outcome.case.problem
        wrong = any(entry.wrong for entry in compared[p.id])
        kinds.setdefault((wrong, min(p.L, 3), p.N > 1, bool(p.b[0].any())), outcome)
    return list(kinds.values())[:8]


def _layers(found: Sequence[Outcome], compared: dict[str, list[Entry]]) -> list[int]:
    first = first_wrong(itertools.chain.from_iterable(compared.values()))
    layers = {
        entry.layer
        for rows in compared.values()
        for entry in rows
        if first and entry.wrong and entry.place[0] == first.place[0] and entry.layer is not None
    }
    top = max(outcome.case.problem.L for outcome in found)
    return sorted(layers) if layers else list(range(top))


def _best(
    probes: Sequence[Outcome],
    found: Sequence[Outcome],
    declared: Conventions,
    hypotheses: Any,
    beyond: Place,
) -> Finding | None:
    """Return the hypothesis that agrees longest, and past `beyond`; simple ones first."""
    best: Finding | None = None
    ranked = []
    for h in hypotheses:
        until = _until(probes[:4], declared, h, beyond, beyond[0])
        if until > beyond:
            until = _until(probes, declared, h, beyond)
        if until > beyond:
            ranked.append((until, h))
    for until, h in sorted(ranked, key=lambda pair: (_descending(pair[0]), pair[1].complexity)):
        if best is not None and (until, -h.complexity) <= (best.until, -best.hypothesis.complexity):
            break
        full = _until(found, declared, h, beyond)
        if full > beyond:
            best = _better(best, Finding(h, full, 0.0))
    return best


def _until(
    found: Sequence[Outcome],
    declared: Conventions,
    h: Hypothesis,
    beyond: Place,
    phase: int = END[0],
) -> Place:
    """Return where a hypothesis first disagrees in any case; `beyond` or less ends the search."""
    until = END
    for outcome in found:
        until = min(until, agreement(outcome, declared, h, phase))
        if until <= beyond:
            break
    return until


def _descending(place: Place) -> Place:
    return (-place[0], -place[1], -place[2])


def _with_runner_up(
    best: Finding, found: Sequence[Outcome], declared: Conventions, first: Entry
) -> Finding:
    """Fill in the residual at the first error, and that of the next best mistake."""

    def residual(h: Hypothesis) -> float:
        total, seen = 0.0, 0
        for outcome in found:
            rows = entries(outcome)
            mine = next((e for e in rows if e.wrong), None)
            if mine is None or mine.stage != first.stage or seen >= 4:
                continue
            seen += 1
            predicted = predict(outcome, declared, h, STAGES[mine.stage].phase)
            total = max(total, disagreement(outcome, predicted, mine.name))
        return total

    base = best.hypothesis._replace(only=None)
    others = [
        (name, residual(base._replace(mistake=name)))
        for name in mistakes
        if name != base.mistake and mistakes[name].stage == first.stage
    ]
    runner_up = min(others, key=lambda pair: pair[1], default=None)
    return best._replace(residual=residual(best.hypothesis), runner_up=runner_up)
