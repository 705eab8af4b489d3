"""Advice is tried before it is given: the candidate is run again, with conventions declared.

Files cannot be run again. Their arrays are converted anew, which is the same, unless their author
read W as transposed: then they are held against the right arrays for the transposed W.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..conventions import OF_BIAS, Conventions, restored, to_default
from ..truths.records import Array, Case, Problem, Tolerance
from ..truths.stages import STAGES, split
from .claims import Advice, Explanation
from .compare import Found, outcomes
from .outcome import Outcome, supplied_stages
from .own import evaluate
from .roots import by_stage, wrong_arrays
from .undeclared import probes, proposals, single_changes

Again = Callable[[Conventions, Collection[str] | None], Found]
"""Runs a candidate again with other conventions, on all cases or on those of these ids."""
Explain = Callable[[Sequence[Outcome]], Explanation]
"""Returns every independent error of results."""


OF_CASES = {"last_layer": ("activated",), "bias": ("none",)}  # these ask for cases of their own


class Trial(NamedTuple):
    """Conventions that were declared for it, what came out, and what is still wrong."""

    changes: Mapping[str, str]
    results: Sequence[Outcome]
    explanation: Explanation
    tried: bool = True

    @property
    def cost(self) -> float:
        """How much is assumed: conventions declared, and what is still wrong."""
        return len(self.changes) + self.explanation.cost

    @property
    def advice(self) -> Advice:
        """What to declare, and what remains."""
        rows = [e for o in self.results for e in o.entries if e.checked]
        return Advice(self.changes, self.tried, sum(e.wrong for e in rows), len(rows))


class Trials:
    """Everything that trials have in common: the candidate's results, and how to get new ones.

    `explain` finds errors and their names; `relate` also how wrong arrays relate to right ones,
    which takes longer.
    """

    def __init__(
        self,
        results: Sequence[Outcome],
        declared: Conventions,
        again: Again,
        explain: Explain,
        relate: Explain,
        *,
        from_files: bool = False,
        isolated: bool = False,
        autodiff: Collection[str] = (),
    ) -> None:
        self.results, self.declared = results, declared
        self.again, self.explain = again, explain
        self.from_files, self.isolated, self.autodiff = from_files, isolated, autodiff
        self.plain = explain(results)
        if len(self.plain.roots) <= 2:  # of many, most owe something to a convention
            self.plain = related(self.plain, results, relate)
        few = [o for o in probes(results) if o.problem.N > 1 and o.problem.D < 5]
        self.few = few[:3] or list(results[:3])

    def best(self) -> Trial | None:
        """Return the conventions to declare, or None if what is wrong is better explained without.

        Where both explain it equally well, conventions come first.
        """
        roots = self.plain.roots
        good = [trial for trial in self._proposed() if self._is_better(trial)]
        known = all(root.mistake or root.relation for root in roots)
        if not good and not (len(roots) == 1 and known):
            good = [trial for trial in self._found() if self._is_better(trial)]
        return min(good, key=lambda trial: trial.cost, default=None)

    def _is_better(self, trial: Trial) -> bool:
        tie = not trial.explanation.roots or not self.isolated
        return trial.cost < self.plain.cost or (trial.cost == self.plain.cost and tie)

    def _proposed(self) -> Iterator[Trial]:
        """Yield trials of what predictions propose; of parts, of each convention."""
        if self.isolated:
            for changes in single_changes(self.declared):
                yield from self._trial(changes)
            return
        for h in proposals(self.results, self.declared, int(self.plain.cost)):
            if h.misread and self.from_files:
                yield from self._misread(dict(h.changes))
            else:
                yield from self._trial(dict(h.changes))

    def _trial(self, changes: Mapping[str, str]) -> Iterator[Trial]:
        """Yield a trial on all cases, unless it is plain that these conventions explain nothing.

        Two conventions ask for cases of their own: they are tried in these, if the candidate acts
        on them in the others.
        """
        own = {key: x for key, x in changes.items() if x in OF_CASES.get(key, ())}
        if own and not self.isolated and not self._acts(**own):
            return
        found = self._run(changes, None)
        if found and not self._evades(changes, found) and self._may_be_better(changes, found):
            yield Trial(changes, found, self.explain(found))

    def _may_be_better(self, changes: Mapping[str, str], found: Sequence[Outcome]) -> bool:
        """Whether conventions can cost less than what is wrong without them."""
        if self.plain.cost - len(changes) < 1:
            return not any(entry.wrong for o in found for entry in o.entries)
        few = {outcome.problem.id for outcome in self.few}
        left = self._errors([o for o in found if o.problem.id in few])
        # one mistake can make several stages wrong: stages are compared with stages
        return len(changes) + left <= max(self.plain.cost, self._errors(self.few))

    def _run(self, changes: Mapping[str, str], ids: Collection[str] | None) -> list[Outcome]:
        how = self.declared._replace(**changes)
        try:
            return outcomes(self.again(how, ids), how)
        except Exception:  # whatever the candidate raises, it is no candidate of these conventions
            return []

    def _evades(self, changes: Mapping[str, str], found: Sequence[Outcome]) -> bool:
        """Whether an error is gone only because its stage is not compared any more.

        Who returns gradients of biases has biases.
        """
        compared = {e.stage for o in found for e in o.entries if e.checked}
        supplied = supplied_stages(self.results)
        if "bias" in changes and supplied & set(OF_BIAS):
            return True
        return any(root.first.stage not in compared for root in self.plain.roots)

    def _found(self) -> Iterator[Trial]:
        """Yield trials of conventions that, added one by one, leave fewer errors in a few cases."""
        for key, values in OF_CASES.items():
            if getattr(self.declared, key) not in values:
                yield from self._trial({key: values[0]})
        ids = {outcome.problem.id for outcome in self.few}
        changes: dict[str, str] = {}
        left = self._errors(self.few)
        for _ in range(3):
            options = []
            for change in single_changes(self.declared._replace(**changes)):
                if change.keys() & OF_CASES.keys() or change.keys() & changes.keys():
                    continue
                found = self._run({**changes, **change}, ids)
                if found and not self._evades(change, found):
                    options.append((self._errors(found), change))
            if not options or min(options, key=lambda o: o[0])[0] >= left:
                break
            left, change = min(options, key=lambda o: o[0])
            changes |= change
            yield from self._trial(dict(changes))

    def _acts(self, **change: Any) -> bool:
        """Whether fewer errors are left if right arrays are those of a convention, in all cases."""
        found = []
        for outcome in self.few:
            p = outcome.problem._replace(**change)
            if p.bias == "none":
                p = p._replace(b=tuple(0 * b for b in p.b))
            found.append(_with_truths_of(outcome, outcome.case._replace(problem=p)))
        return self._errors(found) < self._errors(self.few)

    def _errors(self, results: Sequence[Outcome]) -> int:
        """Return how many stages are wrong in themselves, those of expensive formulas left out."""
        found = []
        for outcome in results:
            kept = {
                name: x for name, x in outcome.arrays.items()
                if STAGES[split(name)[0]].phase < STAGES["W_exp"].phase
            }  # fmt: skip
            found += wrong_arrays(
                Outcome(outcome.case, kept, outcome.eps), self.isolated, self.autodiff
            )
        return len(by_stage(found))

    def _misread(self, changes: Mapping[str, str]) -> Iterator[Trial]:
        """Yield what comes out if W was read as transposed, as far as files can tell."""
        made = self._run(changes, None)
        ids = {outcome.problem.id for outcome in self.few}
        few = [_transposed(outcome) for outcome in made if outcome.problem.id in ids]
        if few and self._may_be_better(changes, few):
            found = [_transposed(outcome) for outcome in made]
            if self._may_be_better(changes, found):
                yield Trial(changes, found, self.explain(found), tried=False)


def related(found: Explanation, results: Sequence[Outcome], relate: Explain) -> Explanation:
    """Return errors with what their arrays are in terms of right ones, where no mistake says it."""
    return found if all(root.mistake for root in found.roots) else relate(results)


def _transposed(outcome: Outcome) -> Outcome:
    """Return an outcome beside the right arrays for the transposed W."""
    p = outcome.problem._replace(W=tuple(W.T for W in outcome.problem.W))
    return _with_truths_of(outcome, outcome.case._replace(problem=p))


def _with_truths_of(outcome: Outcome, case: Case) -> Outcome:
    """Return an outcome whose expected arrays are computed here; X_back is left out."""
    wanted = [name for name in case.expected if name != "X_back"]
    with np.errstate(all="ignore"):
        made = evaluate(case.problem, {}, wanted)
    sizes = {name: float(np.max(x.size, initial=0.0)) for name, x in made.items()}
    case = case._replace(
        expected={name: x.value for name, x in made.items()},
        tolerances={name: Tolerance(size, 0.0, size) for name, size in sizes.items()},
    )
    arrays = {name: x for name, x in outcome.arrays.items() if name != "X_back"}
    return Outcome(case, arrays, outcome.eps)


def converted(found: Found, declared: Conventions) -> Again:
    """Return how results in files are judged with other conventions: their arrays are converted.

    >>> converted([], Conventions())(Conventions(direction="descent"), None)
    []
    """

    def again(how: Conventions, ids: Collection[str] | None) -> Found:
        made = []
        for case, arrays, dtype in found:
            if ids is None or case.problem.id in ids:
                p = case.problem
                new = {key: _other(key, x, declared, how, p) for key, x in arrays.items()}
                made.append((case, new, dtype))
        return made

    return again


def _other(name: str, x: Array, declared: Conventions, how: Conventions, p: Problem) -> Array:
    """Return an array that was converted from declared conventions as others convert it."""
    x = x - (restored(name, x, declared, p) - x)
    x = to_default(name, x, declared._replace(reduction="mean"), p.N)
    if declared.reduction == "sum" and STAGES[split(name)[0]].summed:
        x = x * p.N
    return restored(name, to_default(name, x, how, p.N), how, p)
