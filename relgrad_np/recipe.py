"""The robust multiplicative rule: the paper's step in standardised charts, sized by its own noise.

Each part has its reason, and its switch:

chart      S = 1/std(Y), m = mean(Y), running: with the bias in the group all samples share the
           direction of mean(Y), which multiplies the step by 1 + |mean Y|^2. `memory=None` is off.
weights    Delta_n times min(1, 3 median(q) / q_n), q_n = |Delta_n| |U_n|: an outlier's rank-one
           part is kept to three times the usual. `outliers=None` is off.
noise      eta_k = learning_rate / L / max(xbar_k, x_k), x = |xi|_F^2 / D: it measures the noise of
           the minibatch, so that one learning rate serves every N, D, L and layer.
cap        tau, as in `Plain`.

Found empirically by the developers; a scalar for each layer, so the step stays of rank N and
log|det W| exactly known.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ._arguments import number, one_of, store
from ._array import Array, check
from ._numerics import norm_bound
from .charts import Chart, chart_factors, squared_norm, unshift
from .multiplicative import Factors, apply_step, track_step
from .network import Deltas, Tape
from .rules import State


class Running(NamedTuple):
    """One layer's running mean (D,), variance (D,) of Y, and of x, ().

    >>> Running(0.0, 1.0, 2.0).x
    2.0
    """

    mean: Array
    variance: Array
    x: Array


@dataclass(frozen=True)
class Recipe:
    """Plain or exponential step in standardised charts, normalised by its own noise; see above.

    >>> Recipe().learning_rate, Recipe(kind="plain").tracks
    (0.4, True)
    """

    learning_rate: float = 0.4
    kind: str = "exponential"
    memory: float | None = 0.95
    outliers: float | None = 3.0
    tau: float = 0.7
    tracks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        store(self, "learning_rate", 0.0, float("inf"), "positive")
        store(self, "tau", 0.0, 1 - 2**-24, "in (0, 1)")
        one_of("kind", self.kind, ("plain", "exponential"))
        if self.memory is not None:
            number("memory", self.memory, 0.0, 1 - 1e-6, "in (0, 1), or None")
        if self.outliers is not None:
            number("outliers", self.outliers, 0.0, float("inf"), "positive, or None")

    def step(self, state: State, tape: Tape, deltas: Deltas, finite: Array) -> Any:
        """Chart, weigh, size, step, track; where not finite nothing changes."""
        xp = check(state.layers)
        L = len(state.layers)
        before = state.rule_state or (None,) * L
        seen = [self._moments(xp, Y, old) for Y, old in zip(tape.Ys, before, strict=True)]
        charts = tuple(Chart(1 / xp.sqrt(variance), mean) for mean, variance in seen)
        if self.outliers is not None:
            deltas = tuple(
                Delta * self._weights(xp, Delta / S, (Y - m) * S)
                for Delta, Y, (S, m) in zip(deltas, tape.Ys, charts, strict=True)
            )
        shifted, fs = chart_factors(state.layers, tape, deltas, charts)
        norms = tuple(norm_bound(f.K) + xp.sum(0 * f.A) + xp.sum(0 * f.u) for f in fs)
        finite = finite & xp.isfinite(sum(norms))
        etas, running = [], []
        for f, norm, (S, m), (_, variance), old in zip(
            fs, norms, charts, seen, before, strict=True
        ):
            x = squared_norm(f, S) / S.shape[0]
            xbar = x if old is None else 0.99 * old.x + 0.01 * x
            eta = self.learning_rate / L / xp.maximum(xp.maximum(xbar, x), xp.ones_like(x) * 1e-3)
            etas.append(xp.where(finite, xp.minimum(eta, self.tau / norm), xp.zeros_like(x)))
            kept = Running(m, variance, xbar)
            running.append(kept if old is None else _keep(xp, finite, kept, old))
        fs = tuple(Factors(*(xp.where(finite, a, xp.zeros_like(a)) for a in f)) for f in fs)
        eta_k = tuple(etas)
        # eta |K| <= tau, and eta itself is at most 1000 learning_rate / L: too loose a bound
        layers = unshift(apply_step(shifted, fs, eta_k, kind=self.kind), charts)
        layers = tuple(
            _keep(xp, finite, new, old) for new, old in zip(layers, state.layers, strict=True)
        )
        tracked = state.tracked and track_step(state.tracked, fs, eta_k, kind=self.kind)
        return layers, tuple(running), tracked, eta_k, norms

    def _moments(self, xp: Any, Y: Array, old: Running | None) -> tuple[Array, Array]:
        """Return running mean and variance of Y (N, D), each (D,); the chart 0, 1 if off."""
        if self.memory is None:
            return xp.zeros_like(Y[0, :]), xp.ones_like(Y[0, :])
        mean, variance = xp.mean(Y, axis=0), xp.var(Y, axis=0)
        if old is not None:
            mean = self.memory * old.mean + (1 - self.memory) * mean
            variance = self.memory * old.variance + (1 - self.memory) * variance
        return mean, variance + xp.finfo(Y.dtype).smallest_normal

    def _weights(self, xp: Any, Delta_u: Array, U: Array) -> Array:
        """Return min(1, outliers median(q) / q), (N, 1), with q_n = |Delta_n| |U_n|."""
        q = xp.sqrt(xp.sum(Delta_u * Delta_u, axis=1) * xp.sum(U * U, axis=1))
        middle = xp.sort(q)[q.shape[0] // 2]
        return xp.clip(self.outliers * middle / (q + xp.finfo(q.dtype).smallest_normal), max=1.0)[
            :, None
        ]


def _keep(xp: Any, finite: Array, new: Any, old: Any) -> Any:
    """Return `new` where finite, else `old`, for each array of a record."""
    return type(new)(*(xp.where(finite, a, b) for a, b in zip(new, old, strict=True)))
