"""Judge an implementation: is it right, and if not, what is wrong and where.

A candidate is run on the suite, or its files are read. Its results are converted to the default
conventions and compared stage by stage. Every error that does not follow from another is then
explained: by a convention that was not declared, which is tried first, a mistake of the catalogue,
a relation to the right array, a precision, or else by its place alone. What is right is said with
its power: how many of the catalogued mistakes would have shown.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

import numpy as np

from .behaviour import Observed, observe
from .candidate import Candidate, candidate
from .conventions import Conventions, applies
from .diagnosis.claims import Advice, Explanation, Root
from .diagnosis.compare import Found, not_checked, outcomes, together
from .diagnosis.explain import explain
from .diagnosis.inverse import inverse_note, only_ill_conditioned
from .diagnosis.outcome import EPS, Entry, Outcome, first_wrong
from .diagnosis.precision import Digits, diagnose
from .diagnosis.relations import relation
from .diagnosis.trial import Again, Trial, Trials, converted, related
from .diagnosis.wording import diagnosis, undeclared
from .mistakes.power import ENOUGH, lacking, share
from .report import Report
from .truths.chosen import chosen
from .truths.records import Case, Suite
from .truths.suite import small


def check(
    made: Any,
    suite: Suite | None = None,
    *,
    dtype: str = "float64",
    conventions: Conventions | None = None,
    name: str | None = None,
    where: dict[str, Any] | None = None,
    twice: bool = True,
) -> Report:
    """Check a candidate: a function of the problem, a mapping of parts, or a Candidate.

    `suite`: by default the small one of this package; `where` selects cases, as in
    where={"activation": "smooth_leaky_relu", "D": [2, 3]}; ValueError, with what there is, where no
    case fits. `dtype`: what the candidate is given.
    `twice`: call it a second time on each case, in reverse order, to see what it remembers.

    >>> report = check({"R_b": lambda Delta, Y, b: Delta.T @ (Y @ b + 1)})
    >>> print(report.verdict)
    FAIL: ... arrays of ... cases are wrong; layer 0, R_b: the term of log|det W| (+ b) is missing;
    the inputs were the true ones
    >>> check({"R_b": lambda Delta, Y, b: Delta.T @ (Y @ b + 1) + b}).passed
    True
    """
    if dtype not in EPS:
        raise ValueError(f"unknown dtype {dtype!r}; choose from {', '.join(EPS)}")
    who = candidate(made, name=name, conventions=conventions)
    suite = suite if suite is not None else small()
    suite, cases = _asked(suite, where, who.conventions)
    with np.errstate(all="ignore"):
        seen = observe(who, cases, dtype, twice)
    if _may_be_turned(who, seen):
        other = candidate(who, conventions=who.conventions._replace(weights="transposed"))
        report = check(other, suite, dtype=dtype, twice=twice)
        if any(entry.checked for entry in report.entries):
            return _turned(report, seen, who.conventions)
    report = judge(
        who.name, seen.steady, who.conventions,
        again=_again(who, suite, dtype, seen.found) if seen.unstable is None else _never,
        isolated=bool(who.parts), autodiff=who.by_autodiff,
    )  # fmt: skip
    report = report._replace(notes=(*report.notes, *who.notes))
    return behaved(report, seen, who.conventions)


def _asked(
    suite: Suite, where: dict[str, Any] | None, how: Conventions
) -> tuple[Suite, list[Case]]:
    """Return the suite that fits `where`, and its cases that are for these conventions.

    ValueError that says what there is, if there is no such case.
    """
    kept = chosen(suite, where)
    cases = [case for case in kept.cases if applies(case.problem, how)]
    if not cases:
        name = f"{suite.name} with the conventions {json.dumps(how.changes())}"
        left = tuple(case for case in suite.cases if applies(case.problem, how))
        chosen(Suite(name, left), where)
        raise ValueError(f"there is no case in {name}")
    return kept, cases


def _again(who: Candidate, suite: Suite, dtype: str, first: Found) -> Again:
    """Return how a candidate is run with other conventions; it must answer where it did before."""
    answered = {case.problem.id for case, arrays, _ in first if arrays}

    def again(how: Conventions, ids: Collection[str] | None) -> Found:
        other, found = candidate(who, conventions=how), []
        for case in suite.cases:
            name = case.problem.id
            if applies(case.problem, how) and (ids is None or name in ids):
                with np.errstate(all="ignore"):
                    call = other.call(case, dtype)
                if call.raised and name in answered:
                    raise RuntimeError(call.raised)
                found.append((case, call.arrays, dtype))
        return found

    return again


def _may_be_turned(who: Candidate, seen: Observed) -> bool:
    """Whether a candidate raises wherever C (D, c) is not square: it may want it as (c, D)."""
    answered = any(arrays for case, arrays, _ in seen.found if case.problem.c != case.problem.D)
    raised = any(b.kind == "raises" for b in seen.behaviours)
    how = who.conventions
    return how.context == "yes" and how.weights == "rows" and raised and not answered


def _turned(report: Report, seen: Observed, how: Conventions) -> Report:
    """Return the report on a candidate that runs with transposed weights only, to be declared."""
    rows = [entry for entry in report.entries if entry.checked]
    changes = {"weights": "transposed", **report.undeclared}
    advice = Advice(changes, True, sum(entry.wrong for entry in rows), len(rows))
    if report.advice is not None:
        advice = report.advice._replace(declare=changes)
    raised = tuple(f"without that declared, it {b.text}" for b in seen.behaviours[:1])
    return report._replace(
        kind=report.kind if report.roots else "convention", undeclared=changes, advice=advice,
        diagnosis=undeclared(advice, report.roots, how.changes()), conventions=how.changes(),
        notes=(*report.notes, *raised), power=None,
    )  # fmt: skip


def _never(how: Conventions, ids: Collection[str] | None) -> Found:
    """Run nothing again: with a candidate that differs from call to call nothing can be tried."""
    return []


def behaved(report: Report, seen: Observed, how: Conventions) -> Report:
    """Return the report with what the candidate does besides returning arrays.

    What differs from call to call ends a report, which is one on what comes before it: the rest is
    wrong in some calls only. What is raised or changed comes after what is wrong.
    """
    unstable = seen.unstable
    failing = [b for b in seen.behaviours if b.fails]
    texts = [b.text for b in seen.behaviours if b is not unstable]
    notes = (*report.notes, *(f"it {text}" for text in texts))
    if unstable is None:
        report = report._replace(notes=notes)
        if not failing or report.kind not in ("right", "too little", "nothing"):
            return report
        kind, text = failing[0].kind, f"it {failing[0].text}"
        return report._replace(kind="behaviour", mistake=kind, diagnosis=text)
    if report.first is not None:
        notes += (f"wrong before it: {report.diagnosis}",)
    results = outcomes(seen.found, how)
    return report._replace(
        kind="behaviour", mistake=unstable.kind, diagnosis=unstable.text, notes=notes, power=None,
        stage=unstable.stage, layer=unstable.layer,
        not_checked=not_checked(seen.found, results, how),
        entries=tuple(entry for outcome in results for entry in outcome.entries),
    )  # fmt: skip


def judge(
    name: str,
    found: Found,
    how: Conventions,
    *,
    again: Again | None = None,
    isolated: bool = False,
    autodiff: Collection[str] = (),
) -> Report:
    """Compare what was returned with what was expected, and explain what is wrong.

    `again` runs the candidate with other conventions; results in files are converted instead.
    `isolated`: the results are those of parts, each of which was given true inputs. `autodiff`:
    stages that were made by automatic differentiation of the candidate's log_prob.
    """
    results = outcomes(found, how)
    claimed = [name for name in EPS if any(o.eps == EPS[name] for o in results)]
    dtype = " and ".join(claimed) or "float64"
    rows = tuple(entry for outcome in results for entry in outcome.entries)
    note = inverse_note(results)
    report = Report(
        name, dtype, rows, "nothing", _nothing(found, rows), conventions=how.changes(),
        not_checked=not_checked(found, results, how), isolated=isolated,
    )  # fmt: skip
    if not any(entry.checked for entry in rows):
        return report
    report = report._replace(notes=(note,) if note else ())
    first = first_wrong(rows)
    if first is None:
        return _passed(report, results, how)
    if len(claimed) > 1:
        found, results, small_ones = _of_two_dtypes(found, results, how)
        report = report._replace(notes=report.notes + small_ones)
    layers = next(o.problem.L for o in results if o.problem.id == first.case)
    report = report._replace(first=first, layers=layers, stage=first.stage, layer=first.layer)
    if note and first.stage.startswith("R_W") and only_ill_conditioned(results):
        text = f"{first.where}: an inverse is formed inside the relative gradient"
        return report._replace(kind="mistake", diagnosis=text, mistake="R_W_through_inverse")
    digits = diagnose(results)
    if digits is not None and digits.proven:
        report = _imprecise(report, digits, first.where)
        kinds = {str(x.dtype) for outcome in results for x in outcome.arrays.values()}
        if kinds == {"float32"} and claimed == ["float64"]:
            text = f'{report.diagnosis}; it returns float32 arrays: dtype="float32" judges those'
            report = report._replace(diagnosis=text)
        return report
    quick, full = (
        partial(explain, relate=relate, isolated=isolated, autodiff=autodiff)
        for relate in (lambda roots, results: None, relation)
    )
    trials = Trials(
        results, how, again or converted(found, how), quick, full,
        from_files=again is None, isolated=isolated, autodiff=autodiff,
    )  # fmt: skip
    best = trials.best()
    if best is not None:
        best = best._replace(explanation=related(best.explanation, best.results, full))
        return _with_convention(report, best, trials.plain)
    plain = trials.plain if len(trials.plain.roots) <= 2 else related(trials.plain, results, full)
    if digits is not None and not all(map(_explained, plain.roots)):
        return _imprecise(report, digits, first.where)
    return _with_errors(report, plain)


def _nothing(found: Found, rows: Collection[Entry]) -> str:
    """Return why there is nothing to compare, where there is nothing."""
    if rows:
        return "nothing was checked: this precision leaves no digits in what was supplied"
    return f"nothing was checked: it returned no array for any of {len(found)} cases"


def _passed(report: Report, results: Sequence[Outcome], how: Conventions) -> Report:
    """Return the report on results that are all right: what that is worth."""
    power = share(results, how, report.isolated)
    if power.value >= ENOUGH:
        return report._replace(kind="right", diagnosis="everything is right", power=power)
    text = f"what was checked is right, but it is too little to say; supply {lacking(results)}"
    return report._replace(kind="too little", diagnosis=text, power=power)


def _of_two_dtypes(
    found: Found, results: list[Outcome], how: Conventions
) -> tuple[Found, list[Outcome], tuple[str, ...]]:
    """Return results in which formulas meet all their inputs; what is too small to show there."""
    joined = together(found)
    made = outcomes(joined, how)
    shown = sum(entry.wrong for outcome in made for entry in outcome.entries)
    more = sum(entry.wrong for outcome in results for entry in outcome.entries) - shown
    if not shown:
        return found, results, ()
    small = f"{more} arrays of float64 are wrong by less than float32 allows: they come after that"
    return joined, made, (small,) if more else ()


def _explained(root: Root) -> bool:
    return root.mistake is not None or root.relation is not None


def _imprecise(report: Report, digits: Digits, where: str) -> Report:
    text = f"{where}: {digits.words}, where {report.dtype} is claimed"
    return report._replace(kind="precision", diagnosis=text, mistake=digits.name)


def _with_errors(report: Report, found: Explanation) -> Report:
    """Return the report with every independent error."""
    root = found.roots[0]
    kind = "mistake" if root.mistake else "relation" if root.relation else "unknown"
    text = diagnosis(found.roots, isolated=report.isolated)
    return report._replace(
        kind=kind, diagnosis=text, mistake=root.mistake, stage=root.stage, layer=root.layer,
        first=root.first, layers=root.layers, roots=found.roots, follows=found.follows,
        explains_all=len(found.roots) == 1 and root.mistake is not None,
    )  # fmt: skip


def _with_convention(report: Report, best: Trial, plain: Explanation) -> Report:
    """Return the report with conventions to declare, and what is still wrong with them."""
    text = undeclared(best.advice, best.explanation.roots, report.conventions)
    roots, notes = best.explanation.roots, report.notes
    if len(plain.roots) == 1 and plain.roots[0].mistake and not roots:
        other = diagnosis(plain.roots, isolated=report.isolated)
        notes += (f"if that is not what was meant, it is a mistake: {other}",)
    if roots:
        report = _with_errors(report, best.explanation)
    return report._replace(
        kind=report.kind if roots else "convention", diagnosis=text, notes=notes,
        undeclared=dict(best.changes), advice=best.advice,
        explains_all=not roots or report.explains_all,
    )  # fmt: skip
