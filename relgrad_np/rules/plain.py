"""The paper's step, W+ = (I + eta xi) W, and the exponential one."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.arguments import store
from ..core.arrays import Array, check
from ..core.network import Deltas, Tape
from ..core.numerics import norm_bound
from ..core.steps import Factors, apply_step, factors
from ..core.tracking import track_step
from .base import State


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

    def step(self, state: State, tape: Tape, deltas: Deltas, finite: Array) -> Any:
        """Cap eta, take the rank-N step, track it; where not finite the step is none, eta = 0."""
        xp = check(state.layers)
        fs = factors(state.layers, tape, deltas)
        norms = tuple(norm_bound(f.K) + xp.sum(0 * f.A) + xp.sum(0 * f.u) for f in fs)
        finite = finite & xp.isfinite(sum(norms))
        caps = (xp.minimum(self.tau / K, xp.full_like(K, self.learning_rate)) for K in norms)
        etas = tuple(xp.where(finite, cap, xp.zeros_like(cap)) for cap in caps)
        fs = tuple(Factors(*(xp.where(finite, x, xp.zeros_like(x)) for x in f)) for f in fs)
        bound = self.tau + self.learning_rate
        layers = apply_step(state.layers, fs, etas, kind=self.kind, bound=bound)
        tracked = state.tracked and track_step(state.tracked, fs, etas, kind=self.kind)
        return layers, None, tracked, etas, norms, fs


@dataclass(frozen=True)
class Exponential(Plain):
    """W~+ = exp(eta xi~) W~: the same first-order move along the group's own curve, same cap.

    >>> Exponential(0.01).kind
    'exponential'
    """

    kind: ClassVar[str] = "exponential"
