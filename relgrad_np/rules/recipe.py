"""The robust multiplicative rule: the paper's step in standardised charts, sized by its own noise.

Each part has its reason, and its switch:

chart      S = 1/std(Y), m = mean(Y), running: with the bias in the group all samples share the
           direction of mean(Y), which multiplies the step by 1 + |mean Y|^2. `memory=None` is off.
gain       each unit takes 1 / max(F_i, 1) of the step, F_i = N sum_n Delta_u,ni^2, running: in a
           standardised chart the Fisher information of eps_ij is about E[delta_i^2] E[u_j^2] = F_i,
           so that this is a diagonal natural gradient. `information=None` is off.
size       "noise": eta_k = learning_rate / L / max(xbar_k, x_k, 1), x = |xi|_F^2 / D: it measures
           the minibatch's noise, so that one learning rate serves every N, D, L and layer.
           "adaptive": eta_k = learning_rate / sqrt(max(v_k, 1)), v the running mean of
           (|xi|_F^2 + |G_b|^2) / D: one scalar for each layer, as in Riemannian adaptive methods
           on a product manifold (Becigneul & Ganea 2019); without the max the step would grow as
           xi goes to 0. "constant": eta_k = learning_rate.
cap        tau, as in `Plain`. The first 20 samples only make the charts.

All off, `Recipe(eta, "plain", memory=None, information=None, size="constant")` is the paper's step;
"scalar" is that with the adaptive size. Charts, gains and noise were found empirically by the
developers. Diagonal matrices and scalars: the step stays of rank N beside
them, and log|det W| exactly known. What each part gains: docs/mathematics.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ..core.arguments import number, one_of, store
from ..core.arrays import Array, check, namespace
from ..core.network import Deltas, Layers, Tape
from ..core.numerics import norm_bound
from ..core.steps import Chart, Factors, in_charts
from .base import Move, State

SLOW = 0.99  # memory of the running x
FEW = 20  # samples that a chart must have seen before a step is taken in it


class Running(NamedTuple):
    """One layer's running mean (D,), variance (D,) of Y, and of x, (); and information F (D,).

    `seen`: batches that they are made of, ().
    """

    mean: Array
    variance: Array
    x: Array
    information: Array
    seen: Array


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

    def start(self, layers: Layers) -> tuple[Running, ...]:
        """Return what is remembered of each layer before the first batch, all 0."""
        xp = check(layers)
        zeros = [(xp.zeros_like(b), xp.asarray(xp.sum(xp.zeros_like(b)))) for _, b in layers]
        return tuple(Running(zero, zero, number, zero, number) for zero, number in zeros)

    def propose(self, state: State, tape: Tape, deltas: Deltas) -> Move:
        """Chart, inform, size each layer's relative gradient; eta is 0 while the charts are new."""
        xp = check(state.layers)
        L, (N, D) = len(state.layers), tape.Ys[0].shape
        charts, moments, bare, informations = [], [], [], []
        for Y, Delta, old in zip(tape.Ys, deltas, state.rule_state, strict=True):
            chart, mean, variance = self.chart(xp, Y, old)
            f, F = self.inform(xp, Factors(Delta, Y, None, None), chart, old)
            charts.append(chart)
            moments.append((mean, variance))
            bare.append(f)
            informations.append(F)
        fs = in_charts(state.layers, tuple(bare), tuple(charts))
        norms, etas, remembered = [], [], []
        for k, (f, chart, old) in enumerate(zip(fs, charts, state.rule_state, strict=True)):
            norms.append(norm_bound(K_in_chart(f, chart.S)))
            eta, x = self.step_size(xp, f, chart.S, old, L)
            etas.append(xp.minimum(eta, self.tau / norms[k]))
            remembered.append(Running(*moments[k], x, informations[k], old.seen + 1))
        # eta |K| <= tau, eta <= learning_rate; K itself, (D, D), has another norm in the chart
        bound = self.tau + self.learning_rate if N < D else None
        return Move(fs, tuple(etas), tuple(norms), tuple(remembered), bound)

    def chart(self, xp: Any, Y: Array, old: Running) -> tuple[Chart, Array, Array]:
        """Return the chart of a layer's output Y (N, D), and the running moments it comes from."""
        if self.memory is None:
            one, zero = xp.ones_like(Y[0, :]), xp.zeros_like(Y[0, :])
            return Chart(one, zero), zero, one
        # the plain mean of the first batches, then a running one
        alike, settled = old.seen / (old.seen + 1), old.seen * Y.shape[0] >= FEW
        before = xp.where(settled, self.memory * xp.ones_like(alike), alike)
        now = xp.where(settled, (1 - self.memory) * xp.ones_like(alike), 1 - alike)
        off = xp.mean(Y, axis=0) - old.mean  # of two parts the variance is also that of their means
        mean = before * old.mean + now * xp.mean(Y, axis=0)
        variance = before * old.variance + now * (xp.var(Y, axis=0) + before * off * off)
        variance = variance + xp.finfo(Y.dtype).smallest_normal
        return Chart(1 / xp.sqrt(variance), mean), mean, variance

    def inform(self, xp: Any, f: Factors, chart: Chart, old: Running) -> tuple[Factors, Array]:
        """Give the factors their gain, (D,); and return the running information F (D,)."""
        one = xp.ones_like(f.Y[0, :])
        if self.information is None:
            return f._replace(gain=one), one
        Delta_u = f.Delta / chart.S
        F = f.Y.shape[0] * xp.sum(Delta_u * Delta_u, axis=0)  # (D,)
        F = running(xp, self.information, old.seen, old.information, F)
        gain = 1 / xp.maximum(F, one)
        return f._replace(Delta=f.Delta * gain, gain=gain), F

    def step_size(self, xp: Any, f: Factors, S: Array, old: Running, L: int) -> tuple[Array, Array]:
        """Return eta before the cap, (), 0 while the charts are new; and the running x or v, ()."""
        (N, D), one = f.Y.shape, xp.ones_like(old.x)
        if self.size == "constant":
            x, eta = 0 * one, self.learning_rate * one
        elif self.size == "adaptive":
            G_b = xp.sum(f.Delta, axis=0) * S  # of b_u: f.Delta = gain Delta_u / S
            v = (squared_norm(f, S) + xp.sum(G_b * G_b / f.gain)) / D
            x = SLOW * old.x + (1 - SLOW) * v
            v = x / (1 - SLOW ** (old.seen + 1))
            eta = self.learning_rate / xp.sqrt(xp.maximum(v, one))
        else:
            now = squared_norm(f, S) / D
            x = running(xp, SLOW, old.seen, old.x, now)
            eta = self.learning_rate / L / xp.maximum(xp.maximum(x, now), one)
        if self.memory is None:
            return eta, x
        return xp.where((old.seen + 1) * N >= FEW, eta, xp.zeros_like(eta)), x


def running(xp: Any, memory: float, seen: Array, old: Array, new: Array) -> Array:
    """Return memory old + (1 - memory) new; of the first batch, `new`.

    >>> import numpy as np
    >>> running(np, 0.9, np.asarray(0.0), 0.0, np.ones(1)), running(np, 0.9, 1.0, 0.0, np.ones(1))
    (array([1.]), array([0.1]))
    """
    return xp.where(seen > 0, memory * old + (1 - memory) * new, new)


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


def K_in_chart(f: Factors, S: Array) -> Array:
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
