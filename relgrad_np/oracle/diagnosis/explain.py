"""Every independent error of a candidate, each with its reason: a name, a condition, a relation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ..mistakes.catalogue import mistakes
from ..truths.stages import STAGES, Place, order, split
from .bounded import Bounded
from .claims import Explanation, Relation, Root
from .conditions import Compared, Condition, Entries, condition, of_entries
from .named import makes, named, shows
from .outcome import Outcome, first_wrong, supplied_stages
from .reads import supplied_inputs
from .roots import VALUES, by_stage, origins, without_roots, wrong_arrays
from .small import small
from .wrong import Wrong, hidden_layers, right_value

Relate = Callable[[Sequence[Wrong], Sequence[Outcome]], Relation | None]
"""Returns what arrays are in terms of the right ones, where no mistake by name says it."""
SAME_FORMULA = {"W_exp": ("b_exp", "C_exp"), "b_exp": ("C_exp",)}  # one makes all


def explain(
    results: Sequence[Outcome],
    relate: Relate,
    *,
    isolated: bool = False,
    autodiff: Collection[str] = (),
) -> Explanation:
    """Return what is wrong in itself, and why.

    `isolated`: each array was computed from true inputs. `autodiff`: see `wrong_arrays`.

    >>> explain([], lambda roots, results: None)
    Explanation(roots=(), follows={})
    """
    cases = [_wrong_once(outcome, isolated, frozenset(autodiff)) for outcome in results]
    if not any(wrong.root for case in cases for wrong in case):
        cases = [without_roots(case) for case in cases]
    stages = by_stage([wrong for case in cases for wrong in case])
    supplied, roots = supplied_stages(results), []
    while stages:
        stage = next(iter(stages))
        root = _root(stage, stages, results, cases, supplied, relate)
        roots.append(root)
        for name in (stage, *root.with_it, *root.perhaps):
            stages.pop(name, None)
    return Explanation(tuple(roots), _follows(cases))


def _wrong_once(outcome: Outcome, isolated: bool, autodiff: frozenset[str]) -> list[Wrong]:
    """Return the wrong arrays of a case; they are found once."""
    key = wrong_arrays, isolated, autodiff
    if key not in outcome.known:
        outcome.known[key] = wrong_arrays(outcome, isolated, autodiff)
    found: list[Wrong] = outcome.known[key]
    return found


def _root(
    stage: str,
    stages: dict[str, list[Wrong]],
    results: Sequence[Outcome],
    cases: Sequence[Sequence[Wrong]],
    supplied: set[str],
    relate: Relate,
) -> Root:
    wrong = stages[stage]
    compared = _compared(stage, results, cases)
    later = [name for name in stages if name != stage]
    mistake, only, with_it = _best_name(wrong, compared, stages, supplied)
    perhaps: tuple[str, ...] = ()
    found = entries = None
    if mistake is None:
        found = relate(wrong, results)
        if found is None:
            entries = of_entries([Entries(w.stage, w.off, _argument(w)) for w in wrong])
        through = {s for w in wrong for s in supplied_through(w)}
        perhaps = tuple(
            name
            for name in later
            if name in SAME_FORMULA.get(stage, ())
            or through & {s for w in stages[name] for s in supplied_through(w)}
        )
    else:  # where the mistake changes nothing, nothing is to be seen
        compared = [w for w in compared if w.root or shows(mistake, w)]
    where = condition([Compared(w.outcome, w.layer, w.root) for w in compared])
    first = _witness(wrong, where)
    layers = first.problem.L
    made_in, layer = stage, first.layer
    if mistake is not None:
        made_in, layer = _place(mistake, only, first)
    right, right_in, any_before = _before(first, wrong, results)
    return Root(
        first.entry, layers, made_in, layer, len(wrong), len(compared),
        mistake, where, entries, found, with_it, perhaps, right, right_in, any_before,
        tuple(s for s in STAGES if s in {t for w in wrong for t in supplied_through(w)}),
        _values(cases) if stage in ("Delta", "G_W", "G_b") else (),
        None if mistake else small(wrong),
    )  # fmt: skip


def supplied_through(w: Wrong) -> set[str]:
    """Return the stages that an array reads and that were not supplied."""
    return {split(name)[0] for name in w.through}


def _compared(
    stage: str, results: Sequence[Outcome], cases: Sequence[Sequence[Wrong]]
) -> list[Wrong]:
    """Return the arrays of a stage that were compared, right ones included.

    One that only follows is right in itself: its formula gives it, at the candidate's own inputs.
    One that is right although its inputs are wrong says nothing, and is left out.
    """
    found = []
    for outcome, case in zip(results, cases, strict=True):
        wrong, p = {w.name: w for w in case}, outcome.problem
        for entry in outcome.entries:
            if entry.stage != stage or not entry.checked:
                continue
            if entry.name in wrong:
                found.append(wrong[entry.name])
                continue
            near, _ = supplied_inputs(entry.name, frozenset(outcome.arrays), p.L, hidden_layers(p))
            if not any(name in wrong for name in near):
                base = right_value(outcome, entry.name)
                found.append(Wrong(outcome, entry, base, (), (), False))
    return found


def _argument(w: Wrong) -> Bounded | None:
    """Return y at each entry, where the array is a function of it."""
    name = f"Y_{w.layer}"
    if w.stage not in ("Z", "log_dsigma", "dlog_dsigma"):
        return None
    return w.inputs.get(name, w.outcome.case.expected[name])


def _best_name(
    wrong: list[Wrong], compared: list[Wrong], stages: dict[str, list[Wrong]], supplied: set[str]
) -> tuple[str | None, int | None, tuple[str, ...]]:
    """Return the mistake that makes these arrays, its layer, and the stages it makes wrong, too.

    Of several, the one that makes most stages wrong; then the one that would be seen least where
    nothing is wrong.
    """
    found = list(named(wrong, supplied))
    if not found:
        return None, None, ()
    scored = []
    for name, only in found:
        with_it = tuple(s for s in stages if s != wrong[0].stage and makes(name, stages[s], only))
        unseen = 0
        if len(found) > 1:
            unseen = sum(shows(name, w) for w in compared if not w.root)
        scored.append((-len(with_it), unseen, name, only, with_it))
    _, _, name, only, with_it = min(scored, key=lambda item: item[:2])
    return name, only, with_it


def _witness(wrong: Sequence[Wrong], where: Condition | None) -> Wrong:
    """Return the array that shows an error best: the first in order, of several the worst.

    For an error of the last layer it is one of a net that has others.
    """
    if where is not None and where.key.startswith("layer") and "last" in where.value:
        deep = [w for w in wrong if w.problem.L > 1]
        wrong = deep or wrong
    if wrong[0].stage == "Delta" and any(w.problem.L > 1 for w in wrong):
        wrong = [w for w in wrong if w.problem.L > 1]
    first = first_wrong([w.entry for w in wrong])
    return next(w for w in wrong if w.entry is first)


def _place(mistake: str, only: int | None, first: Wrong) -> tuple[str, int | None]:
    """Return stage and layer of a mistake: those of the first error, unless it is hidden there."""
    made = mistakes[mistake]
    if made.stage == first.stage:
        return made.stage, first.layer
    return made.stage, only if only is not None else made.first_layer(first.problem.L)


def _before(
    first: Wrong, wrong: Sequence[Wrong], results: Sequence[Outcome]
) -> tuple[tuple[str, ...], dict[str, tuple[int, ...]], bool]:
    """Return the stages before an error that were supplied and are right, and whether any was.

    What comes before it in a case comes before the first of its arrays there; in a case that has
    none, before the array that shows it best. Of a stage that is wrong elsewhere, as that of the
    error itself is, the layers before it are returned, too: those of the net that shows it best.
    """
    begins: dict[int, Place] = {}
    for w in wrong:
        begins[id(w.outcome)] = min(begins.get(id(w.outcome), w.entry.place), w.entry.place)
    right: dict[str, bool] = {}
    for outcome in results:
        L = outcome.problem.L
        usual = order(first.name, L) if (first.layer or 0) < L else first.entry.place
        for entry in outcome.entries:
            if entry.checked and entry.place < begins.get(id(outcome), usual):
                right[entry.stage] = right.get(entry.stage, True) and not entry.wrong
    bad = {entry.stage for outcome in results for entry in outcome.entries if entry.wrong}
    layers = {}
    for stage in bad & {s for s in right if STAGES[s].phase == STAGES[first.stage].phase}:
        layers[stage] = _layers_before(first, stage)
        if not layers[stage]:
            del right[stage], layers[stage]  # there is none before it
    stages = tuple(stage for stage in STAGES if right.get(stage))
    return stages, {s: layers[s] for s in stages if s in layers}, bool(right)


def _layers_before(first: Wrong, stage: str) -> tuple[int, ...]:
    """Return the layers of a stage that come before a wrong array in its case."""
    found = (e for e in first.outcome.entries if e.stage == stage and e.checked)
    before = (e.layer for e in found if e.place < first.entry.place)
    return tuple(sorted(layer for layer in before if layer is not None))


def _values(cases: Sequence[Sequence[Wrong]]) -> tuple[str, ...]:
    """Return the stages of values that are wrong in themselves."""
    bad = {w.stage for case in cases for w in case if w.root}
    return tuple(stage for stage in VALUES if stage in bad)


def _follows(cases: Sequence[Sequence[Wrong]]) -> dict[str, tuple[str, ...]]:
    """Return, for each stage with arrays that only follow, the stages that they follow from."""
    found: dict[str, set[str]] = {}
    for case in cases:
        made = origins(case)
        for w in case:
            if not w.root and made[w.name]:
                found.setdefault(w.stage, set()).update(split(name)[0] for name in made[w.name])
    return {
        stage: tuple(s for s in STAGES if s in found[stage]) for stage in STAGES if stage in found
    }
