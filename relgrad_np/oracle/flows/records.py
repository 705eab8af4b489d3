"""What a check of a flow is made of: the verdict of each law, and what is claimed to be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Array = Any  # of NumPy
Pair = Callable[[Array], tuple[Array, Array]]  # x (N, D) -> z (N, D), log|det J| (N,)
EPS = {"float64": 2.0**-52, "float32": 2.0**-23}
SINGLE = {"rows": 1e-5, "jacobian": 2e-6, "inverse": 1e-5, "density": 2e-6}
# the largest error, in units of 1 + |value|, that is called one of float32 digits
OK, WRONG, NOT_JUDGED = "ok", "WRONG", "not judged"
MOST = 2**21  # numbers in one call: 16 MiB of float64


@dataclass(kw_only=True)
class Arithmetic:
    """The arithmetic that a flow computes in, and the seed of every draw.

    >>> Arithmetic().eps == 2.0**-52
    True
    """

    dtype: str = "float64"
    seed: int = 0

    @property
    def eps(self) -> float:
        """The spacing of numbers at 1."""
        return EPS[self.dtype]

    def rng(self, salt: int = 0) -> np.random.Generator:
        """Return a generator of its own for each use, so that no law depends on another."""
        return np.random.default_rng([self.seed, salt])


class FlowClaim(NamedTuple):
    """One thing that is wrong: in which law, what it is (`relation`, a short fixed name), in words.

    `relation` is "unnamed" where no relation explains every wrong entry. `part`: the first part of
    a composed flow whose law fails. `where`: on which rows, "" for all. `size`: the largest error
    in units of 1 + |value|, where it is about digits.
    """

    law: str
    relation: str
    text: str
    part: str | None = None
    where: str = ""
    size: float | None = None

    @property
    def words(self) -> str:
        """The claim in one clause.

        >>> FlowClaim("jacobian", "missing", "log|det J| is missing", "conv", "where x_1 > 2").words
        "part 'conv': log|det J| is missing, where x_1 > 2"
        """
        part = f"part {self.part!r}: " if self.part else ""
        return part + self.text + (f", {self.where}" if self.where else "")


class LawResult(NamedTuple):
    """The verdict on one law: ok, WRONG or not judged.

    `units`: the worst error in units of what is allowed, at most 1 where the verdict is ok.
    `text`: what was compared, or the reason why nothing was. `notes`: what is worth knowing
    without being wrong.
    """

    law: str
    verdict: str
    text: str
    units: float = 0.0
    claims: tuple[FlowClaim, ...] = ()
    notes: tuple[str, ...] = ()


def not_judged(law: str, reason: str, *notes: str) -> LawResult:
    """Return the result of a law that could not be judged.

    >>> not_judged("inverse", "it is not given").verdict
    'not judged'
    """
    return LawResult(law, NOT_JUDGED, reason, notes=notes)


def wrong(law: str, relation: str, text: str, units: float = np.inf, **more: Any) -> LawResult:
    """Return the result of a law that is broken, with one claim.

    >>> wrong("rows", "batch statistics", "rows of a batch mix").claims[0].relation
    'batch statistics'
    """
    notes = more.pop("notes", ())
    return LawResult(law, WRONG, text, units, (FlowClaim(law, relation, text, **more),), notes)


class FlowRaised(Exception):
    """A callable of the flow raised, or returned what can't be read; the text says what."""

    def __init__(self, text: str, missing: bool = False, relation: str = "raises") -> None:
        super().__init__(text)
        self.missing = missing  # NotImplementedError: the flow does not have it
        self.relation = relation


def worst(error: Array, allowed: Array) -> float:
    """Return the largest error in units of what is allowed; NaN counts as infinite.

    >>> worst(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.0
    """
    if not error.size:
        return 0.0
    with np.errstate(all="ignore"):
        units = np.where(error == 0, 0.0, error / allowed)
    return float(np.max(np.where(np.isnan(units), np.inf, units)))


def few(indices: Any) -> str:
    """Return a few indices in words.

    >>> few([0, 3]), few(range(9))
    ('0 and 3', '0, 1, 2 and 6 more')
    """
    names = [str(i) for i in indices]
    if len(names) > 4:
        return ", ".join(names[:3]) + f" and {len(names) - 3} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
