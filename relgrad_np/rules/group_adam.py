"""Adam in the group: its moments are of xi, its step is multiplicative.

Adam on the relative gradient R = xi~ W~ (`Adam`, the paper's choice) gives every element of W the
same move, be that element 100, as where whitening undoes a small variance, or 0.01. Here the
moments are of xi~ = [Delta.T @ Y + I, Delta.T @ 1] itself, and the step is one of the group:

    m <- beta1 m + (1 - beta1) xi~,   v <- beta2 v + (1 - beta2) xi~^2
    d = m_hat / (sqrt(v_hat) + epsilon),   eta = min(learning_rate, tau / |d|)
    W~+ = exp(eta d) W~,                   log|det W+| = log|det W| + eta tr(d)

xi~ is made of outputs, so the path does not depend on how the data are mixed, and log|det W| stays
known: Adam on R gives both away. The price is that d has full rank: a step takes some products of
(D, D) matrices. They cost as much as the passes where N is several D; they are cubic in D.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.arguments import store
from ..core.arrays import Array, check, namespace
from ..core.context import against, as_columns
from ..core.full_rank import FullRank
from ..core.network import Deltas, Layers, Tape
from ..core.numerics import eye
from .adam import moments
from .base import Move, State


@dataclass(frozen=True)
class GroupAdam:
    """Exponential step along Adam's direction in the group; see above. |d|: Frobenius.

    State: m and v, 2 D (D + 1) numbers a layer. For a dozen layers or more, D of some dozens and
    many samples. Twice the rate is faster in a short run that decays to 0; held for thousands of
    steps it lets noise win where the likelihood is flat, and outputs of inner layers grow.

    >>> GroupAdam().learning_rate, GroupAdam().tracks
    (0.005, True)
    """

    learning_rate: float = 5e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    tau: float = 0.7
    kind: ClassVar[str] = "exponential"
    tracks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epsilon"):
            store(self, name, 0.0, float("inf"), "positive")
        for name in ("beta1", "beta2"):
            store(self, name, 0.0, 1.0 - 1e-12, "in (0, 1)")
        store(self, "tau", 0.0, 1 - 2**-24, "in (0, 1)")

    def start(self, layers: Layers) -> Any:
        """Return the moments m and v of each layer's xi~, (D, D + 1), all 0."""
        xp = check(layers)
        zeros = (xp.zeros_like(xp.concat([W, as_columns(b)], axis=1)) for W, b in layers)
        return tuple((zero, zero) for zero in zeros)

    def propose(self, state: State, tape: Tape, deltas: Deltas) -> Move:
        """Propose Adam's direction of each layer, eta capped; norms: |xi~|_F."""
        xp = check(state.layers)
        gs = [mean_score(Y, Delta, tape.one) for Y, Delta in zip(tape.Ys, deltas, strict=True)]
        norms = tuple(xp.sqrt(xp.sum(g * g)) for g in gs)
        directions, etas, remembered = [], [], []
        for g, before in zip(gs, state.rule_state, strict=True):
            d, *after = moments(self, xp, state.t + 1, g, *before)
            size = xp.sqrt(xp.sum(d * d)) + xp.finfo(d.dtype).smallest_normal
            etas.append(xp.minimum(self.tau / size, xp.full_like(size, self.learning_rate)))
            directions.append(FullRank(d, xp.ones_like(d[:, 0]), xp.zeros_like(d[:, 0])))
            remembered.append(tuple(after))
        return Move(tuple(directions), tuple(etas), norms, tuple(remembered), bound=self.tau)


def mean_score(Y: Array, Delta: Array, one: Array = 1.0) -> Array:
    """Return xi~ = [Delta.T @ Y + I, Delta.T @ one] of one layer, (D, D + 1), or D + c + 1.

    >>> import numpy as np
    >>> mean_score(np.array([[3.0]]), np.array([[-2.0]]))
    array([[-5., -2.]])
    """
    xp = namespace(Y, "Y")
    xi = Delta.T @ Y
    return xp.concat([xi + eye(xp, xi), as_columns(against(Delta, one))], axis=1)
