"""Adam on the relative gradient: what the paper puts on top, and what ours is compared with.

Elementwise, so it is neither equivariant nor of rank N: log|det W| can't be tracked through it.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.arguments import one_of, store, whole
from ..core.arrays import Array, check
from ..core.network import Deltas, Layer, Tape
from ..core.relative import relative_gradient
from .base import State


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
    tracks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("learning_rate", "epsilon"):
            store(self, name, 0.0, float("inf"), "positive")
        if self.clock != 0:
            whole("clock", self.clock)
        one_of("side", self.side, ("output", "input"))
        if self.side == "input" and self.bias == "published":
            raise ValueError("`bias` 'published' is defined for side='output' only")
        one_of("bias", self.bias, ("augmented", "separate", "published"))
        for name in ("beta1", "beta2"):
            store(self, name, 0.0, 1.0 - 1e-12, "in (0, 1)")

    def step(self, state: State, tape: Tape, deltas: Deltas, finite: Array) -> Any:
        """Return layers, moments, no tracker, eta and |R_W|_F; unchanged where not finite."""
        xp = check(state.layers)
        R = relative_gradient(state.layers, tape, deltas, side=self.side, bias=self.bias)
        norms = tuple(xp.sqrt(xp.sum(R_W * R_W)) + xp.sum(0 * R_b) for R_W, R_b in R)
        finite = finite & xp.isfinite(sum(norms))
        if self.clock == 0:
            raise ValueError("`clock` 0 stands for an epoch, which only `fit` knows")
        tick = 1 + state.t // self.clock
        zeros = (Layer(xp.zeros_like(W), xp.zeros_like(b)) for W, b in state.layers)
        before = state.rule_state or tuple((zero, zero) for zero in zeros)
        layers, moments = [], []
        for layer, r, (m, v) in zip(state.layers, R, before, strict=True):
            W, b = (
                self._move(xp, finite, tick, *parts) for parts in zip(layer, r, m, v, strict=True)
            )
            layers.append(Layer(W[0], b[0]))
            moments.append((Layer(W[1], b[1]), Layer(W[2], b[2])))
        zero = xp.zeros_like(norms[0])
        etas = (xp.where(finite, zero + self.learning_rate, zero),) * len(layers)
        return tuple(layers), tuple(moments), None, etas, norms, ()

    def _move(
        self, xp: Any, finite: Array, tick: int, p: Array, g: Array, m: Array, v: Array
    ) -> tuple[Array, Array, Array]:
        """Return parameter, m and v after the step; as they were where it is not finite."""
        d, m1, v1 = moments(self, xp, tick, g, m, v)
        p1 = p + self.learning_rate * d
        return xp.where(finite, p1, p), xp.where(finite, m1, m), xp.where(finite, v1, v)


def moments(
    rule: Any, xp: Any, tick: int, g: Array, m: Array, v: Array
) -> tuple[Array, Array, Array]:
    """Return Adam's direction m_hat / (sqrt(v_hat) + epsilon), and m and v with g in them."""
    m = rule.beta1 * m + (1 - rule.beta1) * g
    v = rule.beta2 * v + (1 - rule.beta2) * g * g
    m_hat, v_hat = m / (1 - rule.beta1**tick), v / (1 - rule.beta2**tick)
    return m_hat / (xp.sqrt(v_hat) + rule.epsilon), m, v
