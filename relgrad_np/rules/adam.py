"""Adam on the relative gradient: what the paper puts on top, and what ours is compared with.

Elementwise, so it is neither equivariant nor of rank N: log|det W| can't be tracked through it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.arguments import store, whole
from ..core.arrays import Array, check
from ..core.network import Deltas, Layer, Layers, Tape
from ..core.relative import relative_gradient
from ..core.variants import check_variant
from .base import Move, State


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma & Ba 2015) ascending R, the relative gradient in the variant `side`, `bias`.

        m <- beta1 m + (1 - beta1) R,   v <- beta2 v + (1 - beta2) R^2
        W <- W + eta m_hat / (sqrt(v_hat) + epsilon),   m_hat = m / (1 - beta1^tick), v_hat alike

    `clock`: steps in one tick of the bias correction; 1 is Adam; the published code ticks once an
    epoch, which is 0 here and filled in by `fit`. State: m and v, 2 D^2 numbers a layer.

    >>> Adam(bias="published", clock=0).beta1
    0.9
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    side: str = "output"
    bias: str = "augmented"
    clock: int = 1
    kind: ClassVar[str] = "additive"
    tracks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epsilon"):
            store(self, name, 0.0, float("inf"), "positive")
        if self.clock != 0:
            whole("clock", self.clock)
        check_variant(self.side, self.bias)
        for name in ("beta1", "beta2"):
            store(self, name, 0.0, 1.0 - 1e-12, "in (0, 1)")

    def start(self, layers: Layers) -> Any:
        """Return the moments m and v of each layer, all 0."""
        xp = check(layers)
        return tuple(  # arrays of their own: a kernel changes them in place
            (Layer(xp.zeros_like(W), xp.zeros_like(b)), Layer(xp.zeros_like(W), xp.zeros_like(b)))
            for W, b in layers
        )

    def propose(self, state: State, tape: Tape, deltas: Deltas) -> Move:
        """Propose Adam's direction, to be added at the learning rate; norms: |R_W|_F."""
        xp = check(state.layers)
        if self.clock == 0:
            raise ValueError("`clock` 0 stands for an epoch, which only `fit` knows")
        R = relative_gradient(state.layers, tape, deltas, side=self.side, bias=self.bias)
        norms = tuple(xp.sqrt(xp.sum(R_W * R_W)) for R_W, _ in R)
        tick = 1 + state.t // self.clock
        directions, remembered = [], []
        for r, (m, v) in zip(R, state.rule_state, strict=True):
            W, b = (moments(self, xp, tick, *parts) for parts in zip(r, m, v, strict=True))
            directions.append(Layer(W[0], b[0]))
            remembered.append((Layer(W[1], b[1]), Layer(W[2], b[2])))
        eta = xp.full_like(norms[0], self.learning_rate)
        return Move(tuple(directions), (eta,) * len(norms), norms, tuple(remembered))


def moments(
    rule: Any, xp: Any, tick: int, g: Array, m: Array, v: Array
) -> tuple[Array, Array, Array]:
    """Return Adam's direction m_hat / (sqrt(v_hat) + epsilon), and m and v with g in them."""
    m = rule.beta1 * m + (1 - rule.beta1) * g
    v = rule.beta2 * v + (1 - rule.beta2) * g * g
    m_hat, v_hat = m / (1 - rule.beta1**tick), v / (1 - rule.beta2**tick)
    return m_hat / (xp.sqrt(v_hat) + rule.epsilon), m, v
