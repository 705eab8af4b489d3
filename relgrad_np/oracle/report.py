"""The report of a check: a verdict, the first error and its reason, and what was not looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from .diagnosis.claims import Advice, Root, claims
from .diagnosis.outcome import Entry
from .mistakes.catalogue import mistakes
from .truths.records import Share
from .truths.stages import STAGES


class Report(NamedTuple):
    """What `check` found.

    `kind`: right, too little, mistake, relation, convention, precision, behaviour, unknown or
    nothing. `power`: of right results, which mistakes of the catalogue would have shown. `first`:
    the first wrong array in order of propagation, of a net of `layers` layers. `stage`, `layer`:
    where the first error is made, which can be before that. `mistake`: its name in the catalogue,
    or that of a precision or behaviour; None where only words describe it, which `diagnosis` has.
    `roots`: every independent error; `follows`: from which stages others follow. `undeclared`:
    conventions to declare, of which `advice` says what is wrong with them declared; so do `roots`
    then. `notes`: what is worth knowing without being wrong.

    >>> Report("x", "float64", (), "nothing", "nothing was checked").passed
    False
    """

    candidate: str
    dtype: str
    entries: tuple[Entry, ...]
    kind: str
    diagnosis: str
    first: Entry | None = None
    layers: int = 0
    mistake: str | None = None
    stage: str | None = None
    layer: int | None = None
    undeclared: Mapping[str, str] = MappingProxyType({})
    notes: tuple[str, ...] = ()
    not_checked: tuple[str, ...] = ()
    explains_all: bool = False
    isolated: bool = False
    conventions: Mapping[str, str] = MappingProxyType({})
    power: Share | None = None
    roots: tuple[Root, ...] = ()
    follows: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    advice: Advice | None = None

    @property
    def claims(self) -> list[dict[str, Any]]:
        """What the report claims, as data: errors, mistakes, conditions, relations, conventions."""
        return list(claims(self.roots, self.follows, self.advice))

    @property
    def passed(self) -> bool:
        """Whether something was checked and all of it is right."""
        return self.kind == "right" and any(entry.checked for entry in self.entries)

    @property
    def verdict(self) -> str:
        """The last line of the report."""
        checked = [entry for entry in self.entries if entry.checked]
        cases = len({entry.case for entry in checked})
        sizes = f"{len(checked)} arrays of {cases} cases"
        if self.passed:
            return f"PASS: {sizes} are right ({self.dtype}){_of(self)}"
        if self.kind == "too little":
            return f"TOO LITTLE: {sizes}{_of(self)}; {self.diagnosis}"
        if not checked:
            return f"FAIL: {self.diagnosis}"
        wrong = sum(entry.wrong for entry in checked)
        if not wrong:
            return f"FAIL: {sizes} are right, but {self.diagnosis}"
        return (
            f"FAIL: {wrong} of {len(checked)} arrays of {cases} cases are wrong; {self.diagnosis}"
        )

    def text(self) -> str:
        """Return the table by stage and layer, the diagnosis in words, the verdict.

        >>> print(Report("x", "float64", (), "nothing", "nothing was checked").text())
        candidate: x (float64)
        FAIL: nothing was checked
        """
        lines = [f"candidate: {self.candidate} ({self.dtype})"]
        if self.conventions:
            lines.append("declared: " + json.dumps(dict(self.conventions)))
        if self.entries:
            lines += ["", *_table(self), ""]
        lines += [f"note: {note}" for note in (*self.notes, *_not_excluded(self))]
        lines += [f"not checked: {text}" for text in self.not_checked]
        if self.undeclared:
            lines.append(f"to declare: {json.dumps(dict(self.undeclared))}")
        return "\n".join([*lines, self.verdict])

    def json(self) -> str:
        """Return the same as one JSON object.

        >>> json.loads(Report("x", "float64", (), "nothing", "nothing").json())["passed"]
        False
        """
        rows = [
            {
                "case": e.case, "array": e.name, "error": _finite(e.error),
                "allowed": _finite(e.allowed), "checked": e.checked, "wrong": e.wrong,
            }
            for e in self.entries
        ]  # fmt: skip
        first = self.first and {"case": self.first.case, "array": self.first.name}
        shown = {
            "passed": self.passed, "verdict": self.verdict, "kind": self.kind,
            "candidate": self.candidate, "dtype": self.dtype, "diagnosis": self.diagnosis,
            "mistake": self.mistake, "stage": self.stage, "layer": self.layer, "first": first,
            "power": self.power and {**self.power._asdict(), "share": self.power.value},
            "undeclared": dict(self.undeclared), "declared": dict(self.conventions),
            "claims": self.claims, "notes": self.notes, "not_checked": self.not_checked,
            "arrays": rows,
        }  # fmt: skip
        return json.dumps(shown)


def _finite(x: float) -> float | str:
    return x if math.isfinite(x) else str(x)


def _of(report: Report) -> str:
    """Return how many mistakes would have shown, as part of a verdict."""
    power = report.power
    if power is None:
        return ""
    return (
        f"; of {power.possible} mistakes of the catalogue that could show there, "
        f"{len(power.shown)} would have"
    )


def _not_excluded(report: Report) -> list[str]:
    """Return notes on what right results do not exclude."""
    if report.power is None:
        return []
    missed, lines = report.power.missed, []
    if missed:
        titles = [f"{mistakes[name].stage}: {mistakes[name].title}" for name in missed[:5]]
        more = f"; and {len(missed) - 5} more" if len(missed) > 5 else ""
        lines.append(f"not excluded: {'; '.join(titles)}{more}")
    context = report.conventions.get("context") == "yes"
    all_of_them = sum(context or not mistake.of_context for mistake in mistakes.values())
    if others := all_of_them - report.power.possible:
        lines.append(
            f"{others} more of the {all_of_them} mistakes of the catalogue can't show there: "
            "they are in arrays that were not supplied, or in nets of another kind"
        )
    return lines


def _table(report: Report) -> list[str]:
    """Return a line for each stage: its verdict, its worst error by layer."""
    wrong_itself = {stage for root in report.roots for stage in root.stages}
    lines = [f"{'stage':<13} {'verdict':<24} worst error by layer, in units of what is allowed"]
    for stage in STAGES:
        rows = [entry for entry in report.entries if entry.stage == stage and entry.checked]
        if not rows:
            continue
        worst: dict[Any, float] = {}
        for entry in rows:
            worst[entry.layer] = max(worst.get(entry.layer, 0.0), entry.units)
        wrong = any(entry.wrong for entry in rows)
        verdict = "ok"
        if wrong:
            sources = report.follows.get(stage, ()) if stage not in wrong_itself else ()
            verdict = "follows from " + ", ".join(sources) if sources else "WRONG"
        cells = [
            f"{value:.1e}" if layer is None else f"{layer}: {value:.1e}"
            for layer, value in sorted(worst.items(), key=lambda item: item[0] or 0)
        ]
        lines.append(f"{stage:<13} {verdict:<24} {'   '.join(cells)}")
    return lines
