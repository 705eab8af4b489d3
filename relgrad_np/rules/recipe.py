"""The robust multiplicative rule: the paper's step in standardised charts, sized by its own noise.

Each part has its reason, and its switch:

chart      S = 1/std(Y), m = mean(Y), running: with the bias in the group all samples share the
           direction of mean(Y), which multiplies the step by 1 + |mean Y|^2. `memory=None` is off.
gain       each unit takes 1 / max(F_i, 1) of the step, F_i = N sum_n Delta_u,ni^2, running: in a
           standardised chart the Fisher information of eps_ij is about E[delta_i^2] E[u_j^2] = F_i,
           so that this is a diagonal natural gradient. `information=None` is off.
weights    Off by default. `outliers=3`: Delta_n times min(1, 3 median(q) / q_n), q_n =
           |Delta_n| |U_n|, an outlier's rank-one part is kept to three times the usual. The share
           of log|det W| stays as it is, so that the fixed point is no longer maximum likelihood.
size       "noise": eta_k = learning_rate / L / max(xbar_k, x_k, 1), x = |xi|_F^2 / D: it measures
           the minibatch's noise, so that one learning rate serves every N, D, L and layer.
           "adaptive": eta_k = learning_rate / sqrt(max(v_k, 1)), v the running mean of
           (|xi|_F^2 + |G_b|^2) / D: one scalar for each layer, as in Riemannian adaptive methods
           on a product manifold (Becigneul & Ganea 2019); without the max the step would grow as
           xi goes to 0. "constant": eta_k = learning_rate.
cap        tau, as in `Plain`. The first 20 samples only make the charts.

All off, `Recipe(eta, "plain", memory=None, information=None, outliers=None, size="constant")` is
the paper's step; "scalar" is that with the adaptive size. Charts, gains, weights and noise were
found empirically by the developers. Diagonal matrices and scalars: the step stays of rank N beside
them, and log|det W| exactly known. What each part gains: docs/mathematics.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ..core.arguments import number, one_of, store
from ..core.arrays import Array, check, namespace
from ..core.network import Deltas, Tape
from ..core.numerics import keep, norm_bound
from ..core.steps import Chart, Factors, apply_step, in_charts
from ..core.tracking import track_step
from .base import State

SLOW = 0.99  # memory of the running x
FEW = 20  # samples that a chart must have seen before a step is taken in it


class Running(NamedTuple):
    """One layer's running mean (D,), variance (D,) of Y, and of x, (); and information F (D,).

    >>> Running(0.0, 1.0, 2.0, 1.0).x
    2.0
    """

    mean: Array
    variance: Array
    x: Array
    information: Array


@dataclass(frozen=True)
class Recipe:
    """Plain or exponential step in standardised charts, normalised by its own noise; see above.

    >>> Recipe().learning_rate, Recipe(kind="plain").tracks
    (0.4, True)
    """

    learning_rate: float = 0.4
    kind: str = "exponential"
    memory: float | None = 0.95
    information: float | None = 0.98
    outliers: float | None = None
    size: str = "noise"
    tau: float = 0.7
    tracks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        store(self, "learning_rate", 0.0, float("inf"), "positive")
        store(self, "tau", 0.0, 1 - 2**-24, "in (0, 1)")
        one_of("kind", self.kind, ("plain", "exponential"))
        one_of("size", self.size, ("noise", "adaptive", "constant"))
        for name in ("memory", "information"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0.0, 1 - 1e-6, "in (0, 1), or None")
        if self.outliers is not None:
            number("outliers", self.outliers, 0.0, float("inf"), "positive, or None")

    def step(self, state: State, tape: Tape, deltas: Deltas, finite: Array) -> Any:
        """Chart, weigh, size, step, track; where not finite nothing changes."""
        xp = check(state.layers)
        L, (N, D) = len(state.layers), tape.Ys[0].shape
        before = state.rule_state or (None,) * L
        charts, moments = [], []
        for Y, old in zip(tape.Ys, before, strict=True):
            chart, moment = self._chart(xp, Y, old, state.t)
            charts.append(chart)
            moments.append(moment)
        bare = tuple(Factors(*pair, None, None) for pair in zip(deltas, tape.Ys, strict=True))
        bare = self._weigh(xp, bare, charts)
        informed = [self._inform(xp, *parts) for parts in zip(bare, charts, before, strict=True)]
        fs = in_charts(state.layers, tuple(f for f, _ in informed), tuple(charts))
        norms = tuple(
            norm_bound(_own_K(f, S)) + xp.sum(0 * f.A) + xp.sum(0 * f.u)
            for f, (S, _) in zip(fs, charts, strict=True)
        )
        finite = finite & xp.isfinite(sum(norms))
        etas, running = [], []
        for f, norm, (S, _), moment, old, (_, F) in zip(
            fs, norms, charts, moments, before, informed, strict=True
        ):
            eta, x = self._size(xp, f, S, old, state.t, L)
            known = finite & ((state.t + 1) * N >= FEW or self.memory is None)
            etas.append(xp.where(known, xp.minimum(eta, self.tau / norm), xp.zeros_like(x)))
            kept = Running(moment[0], moment[1], x, F)
            running.append(kept if old is None else keep(xp, finite, kept, old))
        fs = tuple(Factors(*(xp.where(finite, a, xp.zeros_like(a)) for a in f)) for f in fs)
        eta_k = tuple(etas)
        # eta |K| <= tau, eta <= learning_rate; K itself, (D, D), has another norm in the chart
        bound = self.tau + self.learning_rate if N < D else None
        layers = apply_step(state.layers, fs, eta_k, kind=self.kind, bound=bound)
        layers = tuple(
            keep(xp, finite, new, old) for new, old in zip(layers, state.layers, strict=True)
        )
        tracked = state.tracked and track_step(state.tracked, fs, eta_k, kind=self.kind)
        return layers, tuple(running), tracked, eta_k, norms, fs

    def _chart(
        self, xp: Any, Y: Array, old: Running | None, t: int
    ) -> tuple[Chart, tuple[Array, Array]]:
        """Return the chart of a layer's output Y (N, D), and the running moments it comes from."""
        if self.memory is None:
            one, zero = xp.ones_like(Y[0, :]), xp.zeros_like(Y[0, :])
            return Chart(one, zero), (zero, one)
        mean, variance = xp.mean(Y, axis=0), xp.var(Y, axis=0)
        if old is not None:
            memory = self.memory if t * Y.shape[0] >= FEW else t / (t + 1)
            off = mean - old.mean  # of two parts the variance is also that of their means
            mean = memory * old.mean + (1 - memory) * mean
            variance = memory * old.variance + (1 - memory) * (variance + memory * off * off)
        variance = variance + xp.finfo(Y.dtype).smallest_normal
        return Chart(1 / xp.sqrt(variance), mean), (mean, variance)

    def _weigh(self, xp: Any, fs: tuple[Factors, ...], charts: Any) -> tuple[Factors, ...]:
        """Multiply each Delta_n by min(1, outliers median(q) / q_n), q_n = |Delta_n| |U_n|."""
        if self.outliers is None:
            return fs
        weighed = []
        for f, (S, m) in zip(fs, charts, strict=True):
            Delta_u, U = f.Delta / S, (f.Y - m) * S
            q = xp.sqrt(xp.sum(Delta_u * Delta_u, axis=1) * xp.sum(U * U, axis=1))  # (N,)
            limit = self.outliers * xp.sort(q)[q.shape[0] // 2]
            weight = limit / (q + xp.finfo(q.dtype).smallest_normal)
            weight = xp.minimum(weight, xp.ones_like(q))
            weighed.append(f._replace(Delta=f.Delta * weight[:, None]))
        return tuple(weighed)

    def _inform(
        self, xp: Any, f: Factors, chart: Chart, old: Running | None
    ) -> tuple[Factors, Array]:
        """Give the factors their gain, (D,); and return the running information F (D,)."""
        one = xp.ones_like(f.Y[0, :])
        if self.information is None:
            return f._replace(gain=one), one
        Delta_u = f.Delta / chart.S
        F = f.Y.shape[0] * xp.sum(Delta_u * Delta_u, axis=0)  # (D,)
        if old is not None:
            F = self.information * old.information + (1 - self.information) * F
        gain = 1 / xp.maximum(F, one)
        return f._replace(Delta=f.Delta * gain, gain=gain), F

    def _size(
        self, xp: Any, f: Factors, S: Array, old: Running | None, t: int, L: int
    ) -> tuple[Array, Array]:
        """Return eta before the cap, (), and the running x or v, ()."""
        if self.size == "constant":
            zero = 0 * f.K[0, 0]
            return zero + self.learning_rate, zero
        x, D = squared_norm(f, S) / S.shape[0], S.shape[0]
        one = xp.ones_like(x)
        if self.size == "adaptive":
            G_b = xp.sum(f.Delta, axis=0) * S  # of b_u: f.Delta = gain Delta_u / S
            x = x + xp.sum(G_b * G_b / f.gain) / D
            v = (1 - SLOW) * x if old is None else SLOW * old.x + (1 - SLOW) * x
            return self.learning_rate / xp.sqrt(xp.maximum(v / (1 - SLOW ** (t + 1)), one)), v
        xbar = x if old is None else SLOW * old.x + (1 - SLOW) * x
        return self.learning_rate / L / xp.maximum(xp.maximum(xbar, x), one), xbar


@dataclass(frozen=True)
class Scalar(Recipe):
    """The paper's plain step, sized by one running scalar for each layer: size "adaptive" alone.

    >>> Scalar().kind, Scalar().memory
    ('plain', None)
    """

    learning_rate: float = 0.03
    kind: str = "plain"
    memory: float | None = None
    information: float | None = None
    size: str = "adaptive"


def _own_K(f: Factors, S: Array) -> Array:
    """Return K of the factors in the chart itself: for N >= D it is S K / S; (N, N) has no S."""
    N, D = f.Y.shape
    return f.K if N < D else f.K * (S[:, None] / S[None, :])


def squared_norm(f: Factors, S: Array) -> Array:
    """sum_i gain_i |xi_i|^2 of the rows of xi = Delta_u.T @ U + I in a chart, (); |xi|_F^2 if 1.

        sum(gain) + 2 sum(gain * Delta_u * U) + sum((U @ U.T) * ((gain * Delta_u) @ Delta_u.T))

    by N x N matrices where N < D; `f` as `in_charts` gives it, U = f.Y / S, gain * Delta_u =
    f.Delta * S. Cost: 2 N^2 D for N < D, N D^2 otherwise.

    >>> import numpy as np
    >>> f = Factors(np.array([[-1.0, 0.0]]), np.array([[1.0, 2.0]]), None, None)
    >>> squared_norm(f, np.ones(2))  # xi = [[0, -2], [0, 1]]
    np.float64(5.0)
    """
    U, Delta_a, gain = f.Y / S, f.Delta * S, f.gain * (S / S)
    xp, (N, D), root = namespace(U, "Y"), U.shape, Delta_a / gain**0.5  # gain^(1/2) Delta_u
    square = xp.sum((U @ U.T) * (root @ root.T) if N < D else (root.T @ U) ** 2)
    return xp.sum(gain) + 2 * xp.sum(Delta_a * U) + square
