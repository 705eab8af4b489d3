"""The two modes of a flow: what training mode does otherwise, and what it leaves behind.

Batch statistics and dropout are no mistakes there: they are noted. It is judged last.
"""

from __future__ import annotations

import numpy as np

from ..evidence import Evidence
from ..records import OK, Array, LawResult, not_judged

LAW = "modes"


def modes(evidence: Evidence) -> LawResult:
    """Call in evaluation mode, in training mode, and in evaluation mode again."""
    calls = evidence.calls
    if calls.modes is None:
        return not_judged(LAW, "modes is not given")

    def values() -> list[Array]:
        made = list(calls.z(evidence.X)) if calls.forward is not None else []
        return made + ([calls.log_p(evidence.X)] if calls.log_prob is not None else [])

    try:
        calls.modes(False)
        before = values()
        calls.modes(True)
        one, two = values(), values()
    finally:
        calls.modes(False)
    after = values()
    notes = []
    if _apart(one, two):
        notes.append("in training mode results are random, or change from call to call")
    elif _apart(before, one):
        notes.append("in training mode results are others: statistics of the batch, most likely")
    if _apart(before, after):
        notes.append(
            "a call in training mode changes what evaluation mode returns: running averages"
        )
    text = "training mode " + ("differs, see the notes" if notes else "returns the same")
    return LawResult(LAW, OK, text, notes=tuple(notes))


def _apart(one: list[Array], two: list[Array]) -> bool:
    return any(
        not np.allclose(a, b, rtol=1e-6, atol=1e-8, equal_nan=True)
        for a, b in zip(one, two, strict=True)
    )
