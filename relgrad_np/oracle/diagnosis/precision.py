"""Wrong digits, not a wrong formula: the precision that a result was computed in.

All errors must stay within what that precision allows a right formula. That alone proves nothing: a
small epsilon that was added, or an iteration that was stopped early, errs as little. A format is
proven by wrong arrays whose values have no more bits than it, or by a Y_0 that is X @ W' + b with
its operands rounded to it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..truths.records import Array
from .outcome import Outcome, first_wrong, ratio, worst


class Format(NamedTuple):
    """A floating-point format: its name, the bits of its significand, whether arrays have it.

    TF32 is a format of products only: no array is stored in it.

    >>> FORMATS[0].eps == 2.0**-23
    True
    """

    name: str
    bits: int
    stored: bool

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


EITHER = "a constant or a step may be in single precision"


class Digits(NamedTuple):
    """A precision that the errors are of the size of; `proven` if the values show that it is it.

    >>> Digits("float32_or_epsilon", False).words
    'float32-sized errors, or a small epsilon (a constant or a step may be in single precision)'
    """

    name: str
    proven: bool

    @property
    def words(self) -> str:
        """What is claimed."""
        if not self.proven:
            return f"float32-sized errors, or a small epsilon ({EITHER})"
        return f"the digits of {self.name} arithmetic"


def diagnose(results: Sequence[Outcome]) -> Digits | None:
    """Return the precision that explains every error, or None.

    Proven it is float32, TF32, float16 or bfloat16, coarser than the one that is claimed.
    """
    rows = [entry for outcome in results for entry in outcome.entries if entry.checked]
    first, claimed = first_wrong(rows), max((o.eps for o in results), default=0.0)
    of_stage = [entry for entry in rows if first is not None and entry.stage == first.stage]
    if 2 * sum(entry.wrong for entry in of_stage) < len(of_stage) or not of_stage:
        return None  # a lower precision shows everywhere
    finest = used_eps(results)
    possible = [f for f in FORMATS if f.eps > 2 * claimed and finest <= 4 * f.eps]
    if not possible or finest < claimed:
        return None
    for form in reversed(possible):  # values with few bits: the format itself
        if form.stored and all(_representable(outcome, form.bits) for outcome in results):
            return Digits(form.name, True)
    for form in possible:
        if form.bits < 24 and _simulated(results, form.bits):
            return Digits(form.name, True)
    return Digits("float32_or_epsilon", False) if possible[0].name == "float32" else None


def used_eps(results: Sequence[Outcome]) -> float:
    """Return the largest error in units of S + inherited / 64: about eps of the arithmetic used."""
    return max(
        (
            ratio(entry.error, outcome.case.tolerances[entry.name].allowed(1 / 64))
            for outcome in results
            for entry in outcome.entries
            if entry.checked
        ),
        default=0.0,
    )


def _representable(outcome: Outcome, bits: int) -> bool:
    """Whether so many bits hold every value of the wrong arrays."""
    wrong = (outcome.arrays[entry.name] for entry in outcome.entries if entry.wrong)
    return all(bool(np.all(rounded(x, bits) == x)) for x in wrong if np.isfinite(x).all())


def _simulated(results: Sequence[Outcome], bits: int) -> bool:
    """Whether Y_0 is what operands of so many bits give, in float32 or better."""
    seen = False
    for outcome in results:
        p = outcome.problem
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
