"""The report of `check_flow`: each law with its verdict, what is wrong, what was not judged."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from .dense import dense_words
from .records import NOT_JUDGED, OK, WRONG, FlowClaim, LawResult


class FlowReport(NamedTuple):
    """What `check_flow` found.

    `laws`: each with its verdict. `claims`: what is wrong, the cause before what follows from it.
    `notes`: what is worth knowing without being wrong. `rows`: where the laws were judged.

    >>> FlowReport("mine", 2, "float64", (), "").passed
    False
    """

    name: str
    D: int
    dtype: str
    laws: tuple[LawResult, ...]
    rows: str
    notes: tuple[str, ...] = ()
    relative: tuple[dict[str, Any], ...] = ()
    seconds: float = 0.0

    @property
    def claims(self) -> list[dict[str, Any]]:
        """What is wrong, as data: law, relation, text, part, where."""
        return [claim._asdict() for law in self.laws for claim in law.claims]

    @property
    def judged(self) -> list[str]:
        """The laws that were judged."""
        return [law.law for law in self.laws if law.verdict != NOT_JUDGED]

    @property
    def passed(self) -> bool:
        """Whether a law about values was judged, and none that was judged is broken."""
        return bool(_of_values(self)) and all(law.verdict != WRONG for law in self.laws)

    @property
    def verdict(self) -> str:
        """The last line of the report."""
        wrong = [law for law in self.laws if law.verdict == WRONG]
        if wrong:
            claims = [claim for law in wrong for claim in law.claims]
            different = len({claim.words for claim in claims})
            more = f"; and {different - 1} more" if different > 1 else ""
            return f"FAIL: {_first(claims).words}{more}"
        left = [law.law for law in self.laws if law.verdict == NOT_JUDGED]
        if not _of_values(self):
            return "TOO LITTLE: none of its values could be judged"
        rest = f"; not judged: {', '.join(left)}" if left else ""
        rest += self.rows[self.rows.index(";") :] if ";" in self.rows else ""
        return f"PASS: {', '.join(law.law for law in self.laws if law.verdict == OK)}{rest}"

    def text(self) -> str:
        """Return the table of laws, what is wrong, and the verdict.

        >>> print(FlowReport("mine", 2, "float64", (), "").text())
        flow: mine (D = 2, float64)
        TOO LITTLE: none of its values could be judged
        """
        lines = [f"flow: {self.name} (D = {self.D}, {self.dtype}){self.rows and '; '}{self.rows}"]
        if self.laws:
            lines += [
                "",
                f"{'law':<12} {'verdict':<11} {'error':>8}  (in units of what is allowed)",
            ]
        said: dict[str, str] = {}  # by which law each text was said first
        for law in self.laws:
            units = f"{law.units:8.1e}" if law.verdict != NOT_JUDGED else " " * 8
            before = said.setdefault(law.text, law.law)
            text = law.text if law.verdict != WRONG or before == law.law else f"as {before}"
            lines.append(f"{law.law:<12} {law.verdict:<11} {units}  {text}")
        lines += [""] if self.laws else []
        lines += [f"wrong: {laws}: {words}" for words, laws in _by_words(self.laws).items()]
        lines += [f"note: {note}" for note in self.all_notes]
        lines += [f"dense: {dense_words(row)}" for row in self.relative]
        return "\n".join([*lines, self.verdict])

    @property
    def all_notes(self) -> list[str]:
        """The notes of the flow and of every law, each once."""
        return list(dict.fromkeys([*self.notes, *(n for law in self.laws for n in law.notes)]))

    def json(self) -> str:
        """Return the same as one JSON object.

        >>> json.loads(FlowReport("mine", 2, "float64", (), "").json())["passed"]
        False
        """
        laws = [
            {
                "law": law.law, "verdict": law.verdict, "text": law.text,
                "units": law.units if math.isfinite(law.units) else str(law.units),
                "claims": [claim._asdict() for claim in law.claims], "notes": law.notes,
            }
            for law in self.laws
        ]  # fmt: skip
        shown = {
            "passed": self.passed, "verdict": self.verdict, "flow": self.name, "D": self.D,
            "dtype": self.dtype, "rows": self.rows, "laws": laws, "claims": self.claims,
            "notes": self.all_notes, "dense": self.relative,
        }  # fmt: skip
        return json.dumps(shown)


def _by_words(laws: tuple[LawResult, ...]) -> dict[str, str]:
    """Return the laws that claim the same, by what they claim; causes come first."""
    found: dict[str, list[str]] = {}
    for claim in sorted((claim for law in laws for claim in law.claims), key=_rank):
        found.setdefault(claim.words, []).append(claim.law)
    return {words: ", ".join(dict.fromkeys(names)) for words, names in found.items()}


ORDER = (
    "behaviour",
    "rows",
    "jacobian",
    "one-to-one",
    "inverse",
    "density",
)  # causes before consequences


def _first(claims: list[FlowClaim]) -> FlowClaim:
    """Return the claim that the verdict names: a cause, and one that has a part."""
    return min(claims, key=_rank)


def _rank(claim: FlowClaim) -> tuple[bool, int]:
    """Return the place of a claim, those of causes being the first."""
    place = ORDER.index(claim.law) if claim.law in ORDER else len(ORDER)
    return claim.part is None, place


def _of_values(report: FlowReport) -> list[LawResult]:
    """Return the laws that hold and that a wrong density can break.

    Manners say nothing of it, and neither do derivatives and digits that agree with the values.
    """
    manners = ("rows", "behaviour", "tails", "modes", "gradients", "precision")
    return [law for law in report.laws if law.verdict == OK and law.law not in manners]
