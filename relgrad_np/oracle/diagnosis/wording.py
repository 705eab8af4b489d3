"""A finding in words: the sentences of a report's diagnosis."""

from __future__ import annotations

from ..conventions import FILE, MEANING, Conventions
from ..mistakes.catalogue import mistakes
from ..report import Report
from ..truths.stages import STAGES
from .compare import Entry
from .hypotheses import Finding


def explained(report: Report, first: Entry, finding: Finding) -> Report:
    """Return the report with a diagnosis: undeclared conventions, a mistake, or both."""
    h, words = finding.hypothesis, []
    changes = dict(h.changes)
    report = report._replace(undeclared=changes, explains_all=finding.explains_all)
    if changes:
        listed = (_convention(key, value, report) for key, value in h.changes)
        words.append("undeclared: " + "; ".join(listed))
    if h.mistake is None:
        rest = "with that declared, everything supplied is right"
        if not finding.explains_all:
            later = next(s.name for s in STAGES.values() if s.phase == finding.until[0])
            rest = f"with that declared, results are right up to {later}"
        words.append(f"{rest}; declare it in {FILE} or as oracle.Conventions")
        return report._replace(kind="convention", diagnosis="; ".join(words))
    # a mistake starts at the first error, unless conventions or stages not supplied come before it
    mistake, layer = mistakes[h.mistake], first.layer
    if changes or mistake.stage != first.stage:
        layer = h.only if h.only is not None else mistake.first_layer(report.layers)
    where = f"layer {layer}, {mistake.stage}" if layer is not None else mistake.stage
    where = f"{where} (in this layer only)" if h.only is not None else where
    words.append(f"{where}: {mistake.title}")
    supplied = mistake.stage in {entry.stage for entry in report.entries}
    if not supplied:
        words.append(f"{mistake.stage} was not supplied: the first error seen is in {first.name}")
    if report.isolated:
        words.append("the inputs were the true ones")
    elif not changes and supplied:
        words.append("everything before it is right")
    if not finding.explains_all:
        words.append("it does not explain all: there is another error after it")
    return report._replace(
        kind="mistake", diagnosis="; ".join(words), mistake=h.mistake, stage=mistake.stage,
        layer=layer, notes=(*report.notes, _match(finding)),
    )  # fmt: skip


def _convention(key: str, value: str, report: Report) -> str:
    if (key, value) in MEANING:
        return f"{key} = {value} ({MEANING[key, value]})"
    return f"{key} = {value}, not {getattr(Conventions(**report.conventions), key)}"


def _match(finding: Finding) -> str:
    """Return how well a mistake fits at the first error, and how well the next best does."""
    fit = f"{finding.residual:.2g} of what is allowed"
    text = f"match of this explanation at the first error: {fit}"
    if finding.runner_up:
        name, residual = finding.runner_up
        text += f"; next best: {mistakes[name].title} ({residual:.2g})"
    return text


def unexplained(first: Entry, isolated: bool) -> str:
    """Return the place of an error that no hypothesis explains."""
    before = "what it was given is right" if isolated else "everything before it is right"
    size = f"{first.where} is wrong by {first.units:.1e} of what is allowed (case {first.case})"
    return f"{size}; {before}; no mistake of the catalogue explains it"
