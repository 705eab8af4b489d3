"""The paper's step, W+ = (I + eta xi) W, and the exponential one."""

from dataclasses import dataclass
from typing import ClassVar

from ..core.arguments import store
from ..core.arrays import check
from ..core.network import Deltas, Tape
from ..core.numerics import norm_bound
from ..core.steps import factors
from .base import Move, State


@dataclass(frozen=True)
class Plain:
    """W+ = (I + eta xi) W, with eta_k = min(learning_rate, tau / |K_k|), K as in `Factors`.

    tau < 1 keeps I + eta xi invertible whatever the data; |K| is bounded by `norm_bound`.

    >>> Plain(0.01).kind, Plain(0.01).tracks
    ('plain', True)
    """

    learning_rate: float = 0.03
    tau: float = 0.7
    kind: ClassVar[str] = "plain"
    tracks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        store(self, "learning_rate", 0.0, float("inf"), "positive")
        store(self, "tau", 0.0, 1 - 2**-24, "in (0, 1)")

    def propose(self, state: State, tape: Tape, deltas: Deltas) -> Move:
        """Propose the relative gradient of each layer, eta capped."""
        xp = check(state.layers)
        fs = factors(state.layers, tape, deltas)
        norms = tuple(norm_bound(f.K) for f in fs)
        etas = tuple(xp.minimum(self.tau / K, xp.full_like(K, self.learning_rate)) for K in norms)
        return Move(fs, etas, norms, bound=self.tau + self.learning_rate)


@dataclass(frozen=True)
class Exponential(Plain):
    """W~+ = exp(eta xi~) W~: the same first-order move along the group's own curve, same cap.

    >>> Exponential(0.01).kind
    'exponential'
    """

    kind: ClassVar[str] = "exponential"
