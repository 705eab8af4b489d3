"""Wrong digits, not a wrong formula: the precision that a result was computed in.

All errors must stay within what that precision allows a right formula. For float32 in a float64
claim that is evidence enough, nothing else errs so little. A coarser format needs a witness:
values that have no more bits than it, or a Y_0 that is X @ W' + b with its operands rounded as it
rounds them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .compare import Array, Entry, Outcome, first_wrong, ratio, worst


class Format(NamedTuple):
    """A floating-point format: its name, how many bits its significand has.

    >>> FORMATS[0].eps == 2.0**-23
    True
    """

    name: str
    bits: int
    storage: bool

    @property
    def eps(self) -> float:
        """Distance from 1 to the next number."""
        return 2.0 ** (1 - self.bits)


FORMATS = (
    Format("float32", 24, True),
    Format("TF32", 11, False),
    Format("float16", 11, True),
    Format("bfloat16", 8, True),
)


def rounded(x: Array, bits: int, how: Any = np.rint) -> Array:
    """Round to so many bits of significand: to nearest, ties to even, or as `how` does.

    >>> rounded(np.array([1.0, 1.01, 3.14159]), 8)
    array([1.       , 1.0078125, 3.140625 ])
    """
    mantissa, exponent = np.frexp(np.asarray(x, dtype=float))
    return np.ldexp(how(np.ldexp(mantissa, bits)), exponent - bits)


def diagnose(found: Sequence[Outcome], compared: Sequence[Entry]) -> str | None:
    """Return the name of the format that explains every error, or None.

    "float32", "TF32", "float16" or "bfloat16"; coarser ones than the claimed one only.
    """
    claimed = max((outcome.eps for outcome in found), default=0.0)
    first = first_wrong(compared)
    peers = [e for e in compared if e.checked and first is not None and e.stage == first.stage]
    if 2 * sum(entry.wrong for entry in peers) < len(peers) or not peers:
        return None  # a lower precision shows everywhere
    finest = level(found, compared)
    coarser = [form for form in FORMATS if form.eps > 2 * claimed]
    possible = [form for form in coarser if finest <= 4 * form.eps]
    if not possible or finest < claimed:
        return None
    for form in reversed(possible):  # values with few bits: the format itself
        if form.storage and all(_representable(outcome, form.bits) for outcome in found):
            return form.name
    for form in possible:
        if form.bits < 24 and _simulated(found, form.bits):
            return form.name
    return possible[0].name if possible[0].name == "float32" else None


def level(found: Sequence[Outcome], compared: Sequence[Entry]) -> float:
    """Return the largest error in units of S + inherited / 64: about eps of the arithmetic used."""
    tolerances = {outcome.case.problem.id: outcome.case.tolerances for outcome in found}
    return max(
        (
            ratio(entry.error, tolerances[entry.case][entry.name].allowed(1 / 64))
            for entry in compared
            if entry.checked
        ),
        default=0.0,
    )


def _representable(outcome: Outcome, bits: int) -> bool:
    return all(
        bool(np.all(rounded(x, bits) == x)) for x in outcome.arrays.values() if np.isfinite(x).all()
    )


def _simulated(found: Sequence[Outcome], bits: int) -> bool:
    """Whether Y_0 is what operands of so many bits give, in float32 or better."""
    seen = False
    for outcome in found:
        p = outcome.case.problem
        if "Y_0" not in outcome.arrays:
            continue
        exact, x = outcome.case.expected["Y_0"], outcome.arrays["Y_0"]
        tolerance = outcome.case.tolerances["Y_0"].allowed(2.0**-23) / 8
        near, cut = (
            rounded(p.X, bits, how) @ rounded(p.W[0], bits, how).T + p.b[0]
            for how in (np.rint, np.trunc)
        )
        if min(worst(x, near), worst(x, cut)) > tolerance:
            return False
        seen = seen or worst(exact, near) > 4 * tolerance
    return seen
