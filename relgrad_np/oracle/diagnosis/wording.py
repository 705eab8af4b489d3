"""A finding in words: the sentences of a report's diagnosis."""

from __future__ import annotations

from typing import NamedTuple

from ..conventions import FILE, MEANING, Conventions
from ..mistakes.catalogue import Mistake, mistakes
from ..truths.stages import STAGES
from .compare import Entry
from .hypotheses import Finding


class Circumstances(NamedTuple):
    """What a finding was made in: the first error, the stages supplied, the conventions declared.

    `layers` is the number of layers of the case of the first error. `isolated`: a part was judged,
    which was given true inputs.
    """

    first: Entry
    layers: int
    supplied: set[str]
    declared: Conventions
    isolated: bool


def place_of(finding: Finding, c: Circumstances) -> tuple[str, int | None]:
    """Return the stage and layer at which a mistake starts.

    That is the first error, unless conventions or stages that were not supplied come before it.
    """
    h = finding.hypothesis
    mistake = mistakes[h.mistake or ""]
    if mistake.stage == c.first.stage and not h.changes:
        return mistake.stage, c.first.layer
    return mistake.stage, h.only if h.only is not None else mistake.first_layer(c.layers)


def in_words(finding: Finding, c: Circumstances) -> str:
    """Return the diagnosis of undeclared conventions, of a mistake, or of both."""
    h, words = finding.hypothesis, []
    if h.changes:
        listed = "; ".join(_convention(key, value, c.declared) for key, value in h.changes)
        words.append(f"undeclared: {listed}")
    if h.mistake is None:
        rest = "with that declared, everything supplied is right"
        if not finding.explains_all:
            later = next(s.name for s in STAGES.values() if s.phase == finding.until[0])
            rest = f"with that declared, results are right up to {later}"
        words.append(f"{rest}; declare it in {FILE} or as oracle.Conventions")
        return "; ".join(words)
    mistake: Mistake = mistakes[h.mistake]
    stage, layer = place_of(finding, c)
    where = f"layer {layer}, {stage}" if layer is not None else stage
    where = f"{where} (in this layer only)" if h.only is not None else where
    words.append(f"{where}: {mistake.title}")
    if stage not in c.supplied:
        words.append(f"{stage} was not supplied: the first error seen is in {c.first.name}")
    if c.isolated:
        words.append("the inputs were the true ones")
    elif not h.changes and stage in c.supplied:
        words.append("everything before it is right")
    if not finding.explains_all:
        words.append("it does not explain all: there is another error after it")
    return "; ".join(words)


def _convention(key: str, value: str, declared: Conventions) -> str:
    if (key, value) in MEANING:
        return f"{key} = {value} ({MEANING[key, value]})"
    return f"{key} = {value}, not {getattr(declared, key)}"


def match(finding: Finding) -> str:
    """Return how well a mistake fits at the first error, and how well the next best does."""
    text = (
        f"match of this explanation at the first error: {finding.residual:.2g} of what is allowed"
    )
    if finding.runner_up:
        name, residual = finding.runner_up
        text += f"; next best: {mistakes[name].title} ({residual:.2g})"
    return text


def unexplained(first: Entry, isolated: bool) -> str:
    """Return the place of an error that no hypothesis explains."""
    before = "what it was given is right" if isolated else "everything before it is right"
    size = f"{first.where} is wrong by {first.units:.1e} of what is allowed (case {first.case})"
    return f"{size}; {before}; no mistake of the catalogue explains it"
