"""The paper's plain step, sized by one running scalar for each layer.

eta_k = learning_rate / sqrt(max(v_k, 1)), v the running mean of (|xi|_F^2 + |G_b|^2) / D: as in
Riemannian adaptive methods on a product manifold (Becigneul & Ganea 2019). Without the max the step
would grow as xi goes to 0.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ..core.arguments import store
from ..core.arrays import Array, check
from ..core.network import Deltas, Layers, Tape
from ..core.numerics import norm_bound
from ..core.steps import Steps, factors
from .base import Move, State
from .recipe import squared_whole

SLOW = 0.99  # memory of the running mean


class RunningSize(NamedTuple):
    """The running mean v before its correction for the start, (L,), of so many `batches`, ()."""

    v: Array
    batches: Array


@dataclass(frozen=True)
class Scalar:
    """Plain steps of a size of their own for each layer, at most tau / |K|; see above.

    >>> Scalar().kind, Scalar().learning_rate
    ('plain', 0.03)
    """

    learning_rate: float = 0.03
    tau: float = 0.7
    kind: ClassVar[str] = "plain"
    tracks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        store(self, "learning_rate", 0.0, float("inf"), "positive")
        store(self, "tau", 0.0, 1 - 2**-24, "in (0, 1)")

    def start(self, layers: Layers) -> RunningSize:
        """Return what is remembered before the first batch, all 0."""
        xp = check(layers)
        zeros = xp.stack([xp.sum(xp.zeros_like(b)) for _, b in layers])
        return RunningSize(zeros, xp.sum(zeros))

    def propose(self, state: State, tape: Tape, deltas: Deltas) -> Move:
        """Size each layer's relative gradient."""
        xp, L = check(state.layers), range(len(state.layers))
        fs = factors(state.layers, tape, deltas)
        norms = xp.stack([norm_bound(f.K) for f in fs])  # (L,)
        eta, after = self.rate(xp, state.rule_state, fs)
        eta = xp.minimum(eta, self.tau / norms)
        etas, each = (tuple(x[k, ...] for k in L) for x in (eta, norms))
        return Move(fs, etas, each, after)

    def rate(self, xp: Any, old: RunningSize, fs: Steps) -> tuple[Array, RunningSize]:
        """Return eta of each layer before the cap, (L,), and what is remembered."""
        one = xp.ones_like(fs[0].Delta[0, :])
        squares = [squared_whole(f, one) / one.shape[0] for f in fs]
        v = SLOW * old.v + (1 - SLOW) * xp.stack(squares)
        hat = v / (1 - SLOW ** (old.batches + 1))
        eta = self.learning_rate / xp.sqrt(xp.maximum(hat, xp.ones_like(hat)))
        return eta, RunningSize(v, old.batches + 1)
