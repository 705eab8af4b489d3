"""Judge an implementation: is it right, and if not, what is wrong and where.

A candidate is run on the suite, or its files are read. Its results are converted to the default
conventions and compared stage by stage. What is wrong is then explained: by a convention that was
not declared, a mistake of the catalogue, a precision, or else by its place alone. What is right is
said with its power: how many of the catalogued mistakes would have shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .behaviour import Observed, observe
from .candidate import candidate
from .conventions import Conventions, applies
from .diagnosis.compare import EPS, Entry, Found, Outcome, first_wrong, not_checked, outcomes
from .diagnosis.explain import explain, explain_part
from .diagnosis.inverse import inverse_note, only_ill_conditioned
from .diagnosis.precision import diagnose
from .diagnosis.wording import explained, unexplained
from .mistakes.catalogue import mistakes
from .mistakes.power import ENOUGH, lacking, share
from .report import Report
from .truths.records import Suite
from .truths.stages import STAGES
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
    where={"activation": "smooth_leaky_relu", "D": [2, 3]}. `dtype`: what the candidate is given.
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
    suite = suite.where(**where) if where else suite
    cases = [case for case in suite.cases if applies(case.problem, who.conventions)]
    with np.errstate(all="ignore"):
        seen = observe(who, cases, dtype, twice)
    report = judge(who.name, seen.found, who.conventions, isolated=bool(who.parts))
    return behaved(report._replace(notes=(*report.notes, *who.notes)), seen)


def behaved(report: Report, seen: Observed) -> Report:
    """Return the report with what the candidate does besides returning arrays.

    What differs from call to call comes before what is wrong: it is wrong in some calls only. What
    is raised or changed comes after it.
    """
    unstable, first = seen.unstable, report.first
    failing = [b for b in seen.behaviours if b.fails]
    texts = [b.text for b in seen.behaviours if b is not unstable]
    report = report._replace(notes=(*report.notes, *(f"it {text}" for text in texts)))
    if unstable is None:
        if not failing or report.kind not in ("right", "too little", "nothing"):
            return report
        kind, text = failing[0].kind, f"it {failing[0].text}"
        return report._replace(kind="behaviour", mistake=kind, diagnosis=text)
    if first is not None and first.place < unstable.place:
        report = report._replace(notes=(*report.notes, f"wrong before it: {report.diagnosis}"))
    return report._replace(
        kind="behaviour", mistake=unstable.kind, diagnosis=unstable.text, undeclared={},
        stage=unstable.stage, layer=unstable.layer,
    )  # fmt: skip


def judge(name: str, found: Found, how: Conventions, *, isolated: bool = False) -> Report:
    """Compare what was returned with what was expected, and explain what is wrong.

    `isolated`: the results are those of parts, each of which was given true inputs.
    """
    results = outcomes(found, how)
    claimed = [name for name in EPS if any(o.eps == EPS[name] for o in results)]
    dtype = " and ".join(claimed) or "float64"
    rows = tuple(entry for outcome in results for entry in outcome.entries)
    note = inverse_note(results)
    report = Report(
        name, dtype, rows, "nothing", "nothing was checked", conventions=how.changes(),
        not_checked=not_checked(found, results), isolated=isolated,
    )  # fmt: skip
    if not any(entry.checked for entry in rows):
        return report
    report = report._replace(notes=(note,) if note else ())
    first = first_wrong(rows)
    if first is None:
        return _passed(report, results, how)
    layers = next(o.problem.L for o in results if o.problem.id == first.case)
    report = report._replace(first=first, layers=layers, stage=first.stage, layer=first.layer)
    if note and first.stage.startswith("R_W") and only_ill_conditioned(results):
        text = f"{first.where}: an inverse is formed inside the relative gradient"
        return report._replace(kind="mistake", diagnosis=text, mistake="R_W_through_inverse")
    if isolated:
        finding = explain_part(results, how, first)
        report = report._replace(notes=report.notes + _other_parts(results, how, first))
    else:
        finding = explain(results, how)
    if finding is None or not finding.explains_all:
        form = diagnose(results)
        if form is not None:
            digits = f"the digits of {form} arithmetic, where {dtype} is claimed"
            text = f"{first.where}: {digits}; no formula is wrong"
            return report._replace(kind="precision", diagnosis=text, mistake=form)
    if finding is None:
        return report._replace(kind="unknown", diagnosis=unexplained(first, isolated))
    return explained(report, first, finding)


def _passed(report: Report, results: Sequence[Outcome], how: Conventions) -> Report:
    """Return the report on results that are all right: what that is worth."""
    power = share(results, how, report.isolated)
    if power.value >= ENOUGH:
        return report._replace(kind="right", diagnosis="everything is right", power=power)
    text = f"what was checked is right, but it is too little to say; supply {lacking(results)}"
    return report._replace(kind="too little", diagnosis=text, power=power)


def _other_parts(results: Sequence[Outcome], how: Conventions, first: Entry) -> tuple[str, ...]:
    """Explain each further part that is wrong: it owes nothing to the first."""
    rows, notes = [entry for outcome in results for entry in outcome.entries], []
    for stage in STAGES:
        wrong = first_wrong(entry for entry in rows if entry.stage == stage != first.stage)
        if wrong is not None:
            found = explain_part(results, how, wrong)
            mistake = found.hypothesis.mistake if found else None
            said = mistakes[mistake].title if mistake else "no mistake of the catalogue explains it"
            notes.append(f"also wrong: {wrong.where}: {said}")
    return tuple(notes)
