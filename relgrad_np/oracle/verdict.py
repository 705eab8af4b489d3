"""Judge an implementation: is it right, and if not, what is wrong and where.

Candidates are run on the suite (or their files read), brought to the house's conventions, compared
stage by stage, and what is wrong is explained: a convention that was not declared, a mistake of
the catalogue, a precision, or the place alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .candidate import Candidate, candidate
from .conventions import MEANING, Conventions, applies
from .diagnosis import precision
from .diagnosis.compare import EPS, Entry, Outcome, entries, first_wrong, outcomes
from .diagnosis.explain import Finding, explore
from .mistakes.catalogue import mistakes
from .report import Report
from .truths.stages import STAGES, names, split
from .truths.suite import Case, Suite, small

FILE = "conventions.json"


def check(
    made: Any,
    suite: Suite | None = None,
    *,
    dtype: str = "float64",
    conventions: Conventions | None = None,
    name: str | None = None,
    where: dict[str, Any] | None = None,
) -> Report:
    """Check a candidate: a function of the problem, a mapping of parts, or a Candidate.

    `suite`: by default the small one of this package; `where` selects cases, as in
    where={"activation": "smooth_leaky_relu", "D": [2, 3]}. `dtype`: what the candidate is given.

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
    with np.errstate(all="ignore"):
        found = [
            (case, who.arrays(case, dtype), dtype)
            for case in suite.cases
            if applies(case.problem, who.conventions)
        ]
    return judge(who.name, found, who.conventions, isolated=bool(who.parts), rerun=(who, dtype))


def judge(
    name: str,
    found: Sequence[tuple[Case, dict[str, Any], str]],
    how: Conventions,
    *,
    isolated: bool = False,
    rerun: tuple[Candidate, str] | None = None,
) -> Report:
    """Compare what was returned with what was expected, and explain what is wrong."""
    results = outcomes(found, how)
    dtype = "float32" if any(o.eps == EPS["float32"] for o in results) else "float64"
    compared = {outcome.case.problem.id: entries(outcome) for outcome in results}
    rows = tuple(entry for part in compared.values() for entry in part)
    base: dict[str, Any] = {
        "candidate": name, "dtype": dtype, "entries": rows, "conventions": how.changes(),
        "not_checked": _not_checked(found, results, rows), "isolated": isolated,
    }  # fmt: skip
    if not any(entry.checked for entry in rows):
        return Report(**base, kind="nothing", diagnosis="nothing was checked")
    first = first_wrong(rows)
    note = inverse_note(results, rows)
    notes = (note,) if note else ()
    if first is None:
        return Report(**base, kind="right", diagnosis="everything is right", notes=notes)
    base |= {"first": first, "notes": notes, "stage": first.stage, "layer": first.layer}
    base["layers"] = next(o.case.problem.L for o in results if o.case.problem.id == first.case)
    if note and first.stage.startswith("R_W") and _only_ill_conditioned(results, rows):
        text = f"{_place(first)}: an inverse is formed inside the relative gradient"
        return Report(**base, kind="mistake", diagnosis=text, mistake="R_W_through_inverse")
    finding = None if isolated else explore(results, how, compared)
    if isolated:
        finding = explore_parts(results, how, first)
        base["notes"] = notes + _other_parts(results, how, rows, first)
    if finding is None or not finding.explains_all:
        form = precision.diagnose(results, rows)
        if form is not None:
            text = (
                f"{_place(first)}: the digits of {form} arithmetic, where {dtype} is claimed; "
                "no formula is wrong"
            )
            return Report(**base, kind="precision", diagnosis=text, mistake=form)
    if finding is None:
        return Report(**base, kind="unknown", diagnosis=_unknown(first, isolated))
    return _explained(base, finding, first, how, isolated, rerun)


def _explained(
    base: dict[str, Any],
    finding: Finding,
    first: Entry,
    how: Conventions,
    isolated: bool,
    rerun: tuple[Candidate, str] | None,
) -> Report:
    """Put a finding into words; a convention is tried, and what is then left is told with it."""
    h = finding.hypothesis
    undeclared, words = dict(h.changes), []
    if undeclared:
        words.append("undeclared: " + "; ".join(_convention(k, v, how) for k, v in h.changes))
    base = base | {"undeclared": undeclared, "explains_all": finding.explains_all}
    if h.mistake is None:
        rest = "with that declared, everything supplied is right"
        if not finding.explains_all:
            later = next(s.name for s in STAGES.values() if s.phase == finding.until[0])
            rest = f"with that declared, results are right up to {later}"
        words.append(f"{rest}; declare it in {FILE} or as oracle.Conventions")
        return Report(**base, kind="convention", diagnosis="; ".join(words))
    mistake = mistakes[h.mistake]
    shown = _at(first, mistake.stage, h.only, bool(undeclared), base["layers"], mistake)
    words.append(f"{shown}: {mistake.title}")
    supplied = {entry.stage for entry in base["entries"]}
    if mistake.stage not in supplied:
        words.append(f"{mistake.stage} was not supplied: the first error seen is in {first.name}")
    if isolated:
        words.append("the inputs were the true ones")
    elif not undeclared and mistake.stage in supplied:
        words.append("everything before it is right")
    if not finding.explains_all:
        words.append("it does not explain all: there is another error after it")
    notes = base["notes"] + (_residuals(finding),)
    base |= {"notes": notes, "mistake": h.mistake, "stage": mistake.stage}
    if undeclared or mistake.stage != first.stage:
        base["layer"] = h.only if h.only is not None else mistake.first_layer(base["layers"])
    return Report(**base, kind="mistake", diagnosis="; ".join(words))


def _at(first: Entry, stage: str, only: int | None, moved: bool, L: int, mistake: Any) -> str:
    layer = first.layer
    if moved or stage != first.stage:
        layer = only if only is not None else mistake.first_layer(L)
    where = f"layer {layer}, {stage}" if layer is not None else stage
    return f"{where} (in this layer only)" if only is not None else where


def _place(first: Entry) -> str:
    return first.stage if first.layer is None else f"layer {first.layer}, {first.stage}"


def _convention(key: str, value: str, how: Conventions) -> str:
    if (key, value) in MEANING:
        return f"{key} = {value} ({MEANING[key, value]})"
    return f"{key} = {value}, not {getattr(how, key)}"


def _residuals(finding: Finding) -> str:
    text = (
        f"match of this explanation at the first error: {finding.residual:.2g} of what is allowed"
    )
    if finding.runner_up:
        name, residual = finding.runner_up
        text += f"; next best: {mistakes[name].title} ({residual:.2g})"
    return text


def _unknown(first: Entry, isolated: bool) -> str:
    how_far = "what it was given is right" if isolated else "everything before it is right"
    text = f"{_place(first)} is wrong by {first.units:.1e} of what is allowed (case {first.case}); "
    return text + f"{how_far}; no mistake of the catalogue explains it"


def explore_parts(results: Sequence[Outcome], how: Conventions, first: Entry) -> Finding | None:
    """Explain a part that was given true inputs: stages do not depend on each other then."""
    alone = []
    for outcome in results:
        kept = {n: x for n, x in outcome.arrays.items() if split(n)[0] == first.stage}
        if kept:
            alone.append(outcome._replace(arrays=kept))
    return explore(alone, how, {o.case.problem.id: entries(o) for o in alone})


def _other_parts(
    results: Sequence[Outcome], how: Conventions, rows: Sequence[Entry], first: Entry
) -> tuple[str, ...]:
    """Explain each further part that is wrong: it owes nothing to the first."""
    notes = []
    for stage in STAGES:
        wrong = first_wrong(entry for entry in rows if entry.stage == stage != first.stage)
        if wrong is not None:
            found = explore_parts(results, how, wrong)
            name = found.hypothesis.mistake if found else None
            said = mistakes[name].title if name else "no mistake of the catalogue explains it"
            notes.append(f"also wrong: {_place(wrong)}: {said}")
    return tuple(notes)


def inverse_note(results: Sequence[Outcome], rows: Sequence[Entry]) -> str | None:
    """Say so if R_W loses digits with cond(W), as only a formula with an inverse does."""
    quiet: list[tuple[float, float]] = []
    loud: list[tuple[float, float]] = []
    by_case = {outcome.case.problem.id: outcome for outcome in results}
    for entry in rows:
        if entry.stage not in ("R_W", "R_W_separate", "R_W_input") or not entry.checked:
            continue
        outcome = by_case[entry.case]
        W = outcome.case.problem.W[entry.layer or 0]
        cond = float(np.linalg.cond(W))
        S = outcome.case.tolerances[entry.name].S
        units = entry.error / (outcome.eps * S)
        (loud if cond > 500 else quiet).append((cond, units))
    if not quiet or not loud or not all(np.isfinite(u) for _, u in [*quiet, *loud]):
        return None
    low, (cond, high) = max(units for _, units in quiet), max(loud, key=lambda pair: pair[1])
    if high > 16 * max(low, 1.0) and high <= 8 * cond:
        return (
            f"R_W forms an inverse: at cond(W) = {cond:.0e} its error is {high:.0f} eps S, "
            f"elsewhere {low:.1f}; Delta.T @ (Y @ W) + W needs none"
        )
    return None


def _only_ill_conditioned(results: Sequence[Outcome], rows: Sequence[Entry]) -> bool:
    worst = {o.case.problem.id: max(np.linalg.cond(W) for W in o.case.problem.W) for o in results}
    return all(worst[entry.case] > 500 for entry in rows if entry.wrong)


def _not_checked(
    found: Sequence[tuple[Case, dict[str, Any], str]],
    results: Sequence[Outcome],
    rows: Sequence[Entry],
) -> tuple[str, ...]:
    """List stages that nobody supplied, cases without results, arrays without enough digits."""
    supplied = {split(name)[0] for outcome in results for name in outcome.arrays}
    possible = {split(name)[0] for outcome in results for name in outcome.case.expected} or {
        split(name)[0] for name in names(2)
    }
    lines = []
    if missing := [stage for stage in STAGES if stage in possible - supplied]:
        lines.append("not supplied: " + ", ".join(missing))
    partly = [
        outcome.case.problem.id
        for outcome in results
        if any(split(n)[0] in supplied and n not in outcome.arrays for n in outcome.case.expected)
    ]
    if partly:
        lines.append(f"arrays supplied elsewhere are missing in {_few(partly)}")
    judged = {outcome.case.problem.id for outcome in results}
    if absent := [case.problem.id for case, _, _ in found if case.problem.id not in judged]:
        lines.append(f"no results for {_few(absent)}")
    if blind := [f"{e.case} {e.name}" for e in rows if not e.checked]:
        lines.append(f"no digits left in this precision: {_few(blind)}")
    return tuple(lines)


def _few(items: Sequence[str]) -> str:
    shown = ", ".join(items[:3])
    return shown if len(items) <= 3 else f"{shown} and {len(items) - 3} more"
