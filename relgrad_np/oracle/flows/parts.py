"""The parts of a composed flow, each judged by itself at the values that reach it.

So the first part whose law fails is named, also where two errors cancel. Where every part is right
and the whole is not, their log|det J| say which of them the sum misses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from .calls import FlowCalls
from .evidence import Evidence
from .records import (
    NOT_JUDGED,
    OK,
    SINGLE,
    WRONG,
    Array,
    FlowClaim,
    FlowRaised,
    LawResult,
    not_judged,
    wrong,
)

LAW = "parts"
Laws = Mapping[str, Callable[[Evidence], LawResult]]
MOST_CLAIMS = 8
OF_FLOAT32 = {"float32 digits", "dtype"}  # no fault of a model that is born in float32


class JudgedPart(NamedTuple):
    """One part: its name, its verdict on each law, what it returned, its true log|det J|."""

    name: str
    laws: tuple[LawResult, ...]
    z: Array
    log_det: Array
    true: Array

    @property
    def claims(self) -> list[FlowClaim]:
        """What is wrong with it."""
        return [claim._replace(part=self.name) for law in self.laws for claim in law.claims]


def judged_law(name: str, law: Callable[[Evidence], LawResult], evidence: Evidence) -> LawResult:
    """Return the result of a law, whatever the flow does.

    >>> made = Evidence(FlowCalls(D=1, forward=lambda x: 1 / 0))
    >>> judged_law("rows", lambda evidence: evidence.forward, made).verdict
    'WRONG'
    """
    try:
        result = _forgiven(law(evidence), evidence.calls.born)
        if result.law == "jacobian" and result.verdict != WRONG:
            evidence.wrong_log_det = ()  # what is allowed in one law is not wrong in the next
        return result
    except FlowRaised as error:
        if error.missing or error.relation == "domain":
            return not_judged(name, str(error))
        return wrong(name, error.relation, str(error))
    except (np.linalg.LinAlgError, ValueError, ArithmeticError) as error:
        return not_judged(name, f"what came back could not be worked with: {error}")


def _forgiven(result: LawResult, born: str) -> LawResult:
    """Return a result in which float32 digits are a note where the model is one of float32."""
    forgiven = [c for c in result.claims if born == "float32" and c.relation in OF_FLOAT32]
    if not forgiven:
        return result
    kept = tuple(c for c in result.claims if c not in forgiven)
    notes = (*result.notes, *(f"{c.law}: {c.words}" for c in forgiven))
    if kept:
        return result._replace(claims=kept, notes=notes)
    size, most = max(c.size or 0.0 for c in forgiven), SINGLE.get(result.law, np.inf)
    text = max(forgiven, key=lambda c: c.size or 0.0).text
    text += f"; {most:.0e} of 1 + |value| is allowed" if size else ", which is allowed"
    text += ": the model was made in float32"
    return result._replace(claims=(), notes=notes, verdict=OK, units=size / most, text=text)


def parts(evidence: Evidence, of_part: Laws) -> tuple[LawResult, list[JudgedPart]]:
    """Judge every part by some laws, in the order in which data pass them."""
    calls = evidence.calls
    if not calls.parts:
        return not_judged(LAW, "parts are not given"), []
    seen, lost = list[JudgedPart](), ""
    try:
        x = evidence.X
    except FlowRaised as error:
        return not_judged(LAW, str(error)), []
    names = _names([str(part[0]) for part in calls.parts])
    for name, (_, f, *more) in zip(names, calls.parts, strict=True):
        one = FlowCalls(
            D=calls.D, forward=f, inverse=more[0] if more else None, dtype=calls.dtype,
            born=calls.born, seed=calls.seed,
            inverse_accuracy=calls.inverse_accuracy, bar=calls.bar,
        )  # fmt: skip
        there = Evidence(one, x, evidence.budget / len(names))
        laws = tuple(
            judged_law(law, of_part[law], there)
            for law in of_part
            if law != "inverse" or one.inverse
        )
        try:
            z, log_det = there.forward
            true = np.full(1, np.nan) if there.too_large else there.true_log_det
        except (FlowRaised, np.linalg.LinAlgError):
            nothing = np.full(len(x), np.nan)
            seen.append(JudgedPart(name, laws, x, nothing, nothing[: there.judged]))
            lost = f"; those after {name!r} were not reached"
            break
        seen.append(JudgedPart(name, laws, z, log_det, true))
        x = z
        if not np.isfinite(x).all():
            lost = f"; those after {name!r} were not reached: z is not finite there"
            break
    return _result(evidence, seen, lost), seen


def _result(evidence: Evidence, seen: list[JudgedPart], lost: str) -> LawResult:
    claims = [claim for part in seen for claim in part.claims]
    found = [law for part in seen for law in part.laws]
    units = max((law.units for law in found if law.verdict != NOT_JUDGED), default=0.0)
    notes = tuple(dict.fromkeys(note for law in found for note in law.notes))
    composed = "" if lost else _composed(evidence, seen)
    text = f"{len(seen)} of {len(evidence.calls.parts)} parts{lost}{composed}"
    if claims:
        bad = list(dict.fromkeys(claim.part for claim in claims))
        shown = ", ".join(map(repr, bad[:4])) + (", ..." if len(bad) > 4 else "")
        return LawResult(
            LAW, WRONG, f"{text}; wrong: {shown}", units, tuple(claims[:MOST_CLAIMS]), notes
        )
    if all(law.verdict == NOT_JUDGED for law in found if law.law == "jacobian"):
        return not_judged(LAW, f"{text}; no Jacobian of any of them could be judged", *notes)
    return LawResult(LAW, OK, text, units, (), notes)


def _composed(evidence: Evidence, seen: list[JudgedPart]) -> str:
    """Say so if the parts, one after the other, are not forward."""
    try:
        z, _ = evidence.forward
    except FlowRaised:
        return ""
    off = np.abs(seen[-1].z - z)
    if np.nanmax(off, initial=0.0) <= 1e-6 * (1 + np.nanmax(np.abs(z))):
        return ""
    return "; one after the other they do not give forward's z"


def _names(given: list[str]) -> list[str]:
    """Return the names, told apart where two are the same.

    >>> _names(["conv", "norm", "conv"])
    ['conv', 'norm', 'conv (part 2)']
    """
    seen: set[str] = set()
    made = []
    for i, name in enumerate(given):
        made.append(f"{name} (part {i})" if name in seen else name)
        seen.add(name)
    return made
