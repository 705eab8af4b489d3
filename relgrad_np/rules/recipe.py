"""The robust multiplicative rule: the paper's step in standardised charts, sized by its own noise.

A step multiplies xi, the mean over a batch of (N delta_n) u_n' + I, by a chart, gains and a size.
Were these taken from the batch, or from the batches before it, a heavy row would decide how far its
own step goes; the rule would come to rest where E[eta xi] = 0, which is not maximum likelihood,
where E[xi] = 0. So they are constants of a window of steps, an epoch in `fit`, measured over all
rows of the window before it. Each part has its reason, and its switch:

chart      S = 1/std(Y), m = mean(Y): with the bias in the group all samples share the direction of
           mean(Y), which multiplies the step by 1 + |mean Y|^2. `charts=False` is off.
gain       each unit takes 1 / max(F_i, 1) of the step, F_i = E delta_i^2 near an optimum: in a
           standardised chart the Fisher information of eps_ij is about E[delta_i^2] E[u_j^2] = F_i,
           so that this is a diagonal natural gradient; see `information`. `gains=False` is off.
size       "noise": eta_k = learning_rate / L max(s_k, 1) / max(x_k, 1), x = E |xi~|_F^2 / D of a
           batch: it measures the minibatch's noise, so that one learning rate serves every N, D, L
           and layer. s is the part of x that is no noise, far from an optimum. "constant": eta_k =
           learning_rate.
cap        eta_k |K| <= tau for |K| of a batch, the mean over the window before, or the largest if
           that is above twice the mean: then a heavy row is in it. A batch unlike those has its
           own cap, twice tau for exponential steps, which bear it.

All off, `Recipe(eta, "plain", charts=False, gains=False, size="constant")` is the paper's step with
the cap of `Plain`. Charts, gains and noise were found empirically by the developers. Diagonal
matrices and scalars: the step stays of rank N beside them, and log|det W| exactly known. Derived,
with what each part gains: docs/mathematics.md.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..core.arguments import one_of, store, whole
from ..core.arrays import Array, check, namespace
from ..core.full_rank import Chart
from ..core.network import Deltas, Layers, Tape
from ..core.numerics import norm_bound
from ..core.steps import Factors, in_charts
from .base import Move, State

FEW = 20  # samples that a chart must have seen before a step is taken in it
HOLD = 0.7  # so much of x and F is kept from one window to the next at least: they would swing
RELEASE = 0.9  # the same of |K|: a heavy row comes again
FAR = 4.0  # a signal from which on nothing is held: the layers are still on their way
WINDOW = 100  # steps of a window outside of `fit`
SHORT = 3  # steps of a window while the layers are still on their way


class Constants(NamedTuple):
    """What each layer's steps are made with: `mean`, `variance` of Y and `information` F, (L, D).

    `x`: the expected |xi|_F^2 / D of a batch; `signal`: its part that does not fall with N, as far
    as the diagonal of xi shows it; `norm`: the |K| that is capped; (L,) each. `moves`, (): 0 while
    steps only measure, else 1; `calm`, (): 0 while layers move so fast that windows are short;
    `known`, (): 0 as long as all the rest is not.
    """

    mean: Array
    variance: Array
    information: Array
    x: Array
    signal: Array
    norm: Array
    moves: Array
    calm: Array
    known: Array


class Seen(NamedTuple):
    """Means over the batches of a window, of each layer, with u and delta in the chart in use.

    `mean`, `variance` of Y; `score` of delta, `square` of delta^2, `product` of delta u, (L, D);
    `x`, |xi|_F^2 / D of a batch, its |K|, `norm`, and the `largest` one, (L,); how many `batches`.
    """

    mean: Array
    variance: Array
    score: Array
    square: Array
    product: Array
    x: Array
    norm: Array
    largest: Array
    batches: Array


class Record(NamedTuple):
    """What the recipe remembers: the constants in `use`, and what has been `seen` since.

    While the constants are not known, each step takes them from what has been seen, its own batch
    included.
    """

    use: Constants
    seen: Seen


@dataclass(frozen=True)
class Recipe:
    """Plain or exponential step in standardised charts, normalised by its own noise; see above.

    `window`: steps after which the constants are taken anew; None: an epoch in `fit`, else 100.

    >>> Recipe().learning_rate, Recipe(kind="plain").tracks
    (0.4, True)
    """

    learning_rate: float = 0.4
    kind: str = "exponential"
    charts: bool = True
    gains: bool = True
    size: str = "noise"
    tau: float = 0.8
    window: int | None = None
    tracks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        store(self, "learning_rate", 0.0, float("inf"), "positive")
        store(self, "tau", 0.0, 1 - 2**-24, "in (0, 1)")
        one_of("kind", self.kind, ("plain", "exponential"))
        one_of("size", self.size, ("noise", "constant"))
        if self.window is not None:
            whole("window", self.window)

    @property
    def limit(self) -> float:
        """Most of eta |K|, for a batch that is unlike those of the window before."""
        return self.tau if self.kind == "plain" else 2 * self.tau

    def start(self, layers: Layers) -> Record:
        """Return what is remembered before the first batch: no constants, nothing seen."""
        none = nothing(layers)
        return Record(
            Constants(
                *(none.mean, none.variance, none.square, none.x, none.x, none.x),
                moves=none.batches + 1,
                calm=none.batches,
                known=none.batches,
            ),
            none,
        )

    def measuring(self, layers: Layers, survey: Seen) -> Record:
        """Return the record of a window that only measures x and |K|: its steps have size 0.

        `survey`: moments of all rows, in the chart of the layers themselves; see `fitting.survey`.
        """
        xp, none = check(layers), nothing(layers)
        in_outputs = self.start(layers).use._replace(  # the chart of the outputs themselves
            variance=xp.ones_like(none.variance), known=none.batches + 1
        )
        use = self.renewed(xp, in_outputs, survey)
        return Record(use._replace(moves=none.batches), none)

    def propose(self, state: State, tape: Tape, deltas: Deltas) -> Move:
        """Chart, inform, size each layer's relative gradient; eta is 0 where it only measures."""
        xp = check(state.layers)
        L, (N, D) = len(state.layers), tape.Ys[0].shape
        record = self.in_window(xp, state)
        charts, bare, rows = [], [], []
        for k, (Y, Delta) in enumerate(zip(tape.Ys, deltas, strict=True)):
            chart, gain, row = self.look(xp, Y, Delta, record, k)
            charts.append(chart)
            bare.append(Factors(Delta * gain, Y, None, None, gain=gain, one=tape.one))
            rows.append(row)
        fs = in_charts(state.layers, tuple(bare), tuple(charts))
        pairs = list(zip(fs, charts, strict=True))
        norms = xp.stack([norm_bound(K_in_chart(f, chart.S)) for f, chart in pairs])  # (L,)
        x = xp.stack([self.measured(f, chart.S) for f, chart in pairs])  # (L,)
        seen = self.with_batch(xp, record.seen, rows, x, norms)
        eta = xp.minimum(self.rate(xp, record.use, seen, x, N, L), self.limit / norms)
        # eta |K| <= limit, eta <= learning_rate; K itself, (D, D), has another norm in the chart
        bound = self.limit + self.learning_rate if N < D else None
        etas, each = (tuple(v[k, ...] for k in range(L)) for v in (eta, norms))
        return Move(fs, etas, each, Record(record.use, seen), bound)

    def in_window(self, xp: Any, state: State) -> Record:
        """Return the record; where a window begins, with new constants and nothing seen.

        Far from an optimum layers move too fast for constants: there a window has `SHORT` steps.
        """
        use, seen = state.rule_state
        full = state.t % (self.window or WINDOW) == 0
        if not full and state.t % SHORT > 0:
            return Record(use, seen)
        begins = seen.batches > 0
        if not full:
            begins = begins & (use.known > 0) & (use.calm == 0) & (use.moves > 0)
        if isinstance(begins, np.bool_) and not begins:  # the host may look, and save the time
            return Record(use, seen)
        new = self.renewed(xp, use, seen)
        use = Constants(*(xp.where(begins, a, b) for a, b in zip(new, use, strict=True)))
        return Record(use, Seen(*(xp.where(begins, xp.zeros_like(a), a) for a in seen)))

    def look(self, xp: Any, Y: Array, Delta: Array, record: Record, k: int) -> Any:
        """Return layer k's chart and gain, and the rows of `Seen` with this batch, (D,) each."""
        (use, seen), N, new = record, Y.shape[0], weight(record.seen)
        known, off = use.known > 0, xp.mean(Y, axis=0) - seen.mean[k, :]
        mean = seen.mean[k, :] + new * off  # of two parts the variance is also that of their means
        variance = (1 - new) * (seen.variance[k, :] + new * off * off) + new * xp.var(Y, axis=0)
        m = xp.where(known, use.mean[k, :], mean)
        chart = self.chart(xp, m, xp.where(known, use.variance[k, :], positive(variance)))
        U, delta = (Y - chart.m) * chart.S, N * (Delta / chart.S)  # (N, D) each
        now = (xp.mean(part, axis=0) for part in (delta, delta * delta, delta * U))
        old = (seen.score[k, :], seen.square[k, :], seen.product[k, :])
        sums = [a + new * (b - a) for a, b in zip(old, now, strict=True)]
        F = xp.where(known, use.information[k, :], information(xp, *sums))
        return chart, self.gain(xp, F), (mean, variance, *sums)

    def with_batch(self, xp: Any, seen: Seen, rows: Any, x: Array, norms: Array) -> Seen:
        """Return what is seen with this batch: its rows of all layers, x and norms of |K|, (L,)."""
        mean, variance, score, square, product = (
            xp.stack(column) for column in zip(*rows, strict=True)
        )  # (L, D) each
        x, norm = (a + weight(seen) * (b - a) for a, b in ((seen.x, x), (seen.norm, norms)))
        largest, batches = xp.maximum(seen.largest, norms), seen.batches + 1
        return Seen(mean, variance, score, square, product, x, norm, largest, batches)

    def renewed(self, xp: Any, use: Constants, seen: Seen) -> Constants:
        """Return the constants of the next window: what has been seen, brought to its own chart.

        x, F and |K| fall no faster than by `HOLD`, `RELEASE`.
        """
        known, one = use.known > 0, xp.ones_like(use.mean)
        mean, variance = seen.mean, positive(seen.variance)
        old = xp.where(known, positive(use.variance), one)
        wider = xp.where(known, variance / old, one)
        shift = xp.where(known, (mean - use.mean) / xp.sqrt(old), 0 * one)
        if not self.charts:
            mean, variance, wider, shift = 0 * one, one, one, 0 * one
        product = seen.product - seen.score * shift  # of delta with u about its new mean
        F = information(xp, seen.score, seen.square, product)
        F = xp.maximum(F, HOLD * use.calm * use.information) * wider
        heavy = seen.largest > 2 * seen.norm
        norm = xp.where(heavy | (self.kind == "plain"), seen.largest, seen.norm)
        own = self.gain(xp, F) * ((1 + product) ** 2 + seen.score**2)
        signal = xp.mean(own, axis=1)  # (L,)
        near = (xp.max(signal) <= FAR) & ((xp.max(use.signal) <= FAR) | (use.calm > 0))
        return Constants(
            mean,
            variance,
            F,
            xp.maximum(seen.x, HOLD * use.calm * use.x),
            signal,
            xp.maximum(norm, RELEASE * use.calm * use.norm),
            xp.ones_like(use.moves),
            xp.astype(near, use.calm.dtype),
            xp.ones_like(use.known),
        )

    def chart(self, xp: Any, mean: Array, variance: Array) -> Chart:
        """Return the chart of these moments of a layer's output, (D,) each."""
        if not self.charts:
            return Chart(xp.ones_like(mean), xp.zeros_like(mean))
        return Chart(1 / xp.sqrt(variance), mean)

    def gain(self, xp: Any, F: Array) -> Array:
        """Return the share of the step that each unit takes, 1 / max(F, 1), (D,)."""
        one = xp.ones_like(F)
        return 1 / xp.maximum(F, one) if self.gains else one

    def measured(self, f: Factors, S: Array) -> Array:
        """Return (|xi|_F^2 + |G_b|^2) / D in the chart S, each row weighted by its gain, ()."""
        return squared_whole(f, S) / S.shape[0]

    def rate(self, xp: Any, use: Constants, seen: Seen, x: Array, N: int, L: int) -> Array:
        """Return eta of each layer, (L,), before the cap by its own |K|.

        `seen`: with this batch, whose size is x (L,); N rows.
        """
        known, one = use.known > 0, xp.ones_like(x)
        eta = self.learning_rate * one
        if self.size == "noise":
            x = xp.where(known, use.x, xp.maximum(seen.x, x))
            x = xp.maximum(x, one)
            eta = eta / L * xp.minimum(xp.maximum(use.signal, one), x) / x
        norm = use.norm + xp.finfo(x.dtype).smallest_normal
        eta = xp.where(known, use.moves * xp.minimum(eta, self.tau / norm), eta)
        return xp.where(known | (seen.batches * N >= FEW), eta, 0 * one)


def weight(seen: Seen) -> Array:
    """Return the weight of a new batch in a mean over all of the window, ()."""
    return 1 / (seen.batches + 1)


def information(xp: Any, score: Array, square: Array, product: Array) -> Array:
    """Return F = var(delta) / max(-cov(delta, u), 1) of units, from means over samples, (D,).

    At an optimum E delta = 0 and E delta u = -1, so that it is E delta^2, the Fisher information.
    Far from one it is the curvature still: both F and the curvature grow with the square of the
    outputs' scale there, E delta^2 with its fourth power.

    >>> import numpy as np
    >>> information(np, np.zeros(2), np.array([1.0, 16.0]), np.array([-1.0, -4.0]))
    array([1., 4.])
    """
    return (square - score * score) / xp.maximum(-product, xp.ones_like(product))


def nothing(layers: Layers) -> Seen:
    """Return what is seen in no batch, all 0."""
    xp = check(layers)
    rows = xp.stack([xp.zeros_like(W[:, 0]) for W, _ in layers])  # (L, D)
    each = rows[:, 0]
    return Seen(rows, rows, rows, rows, rows, each, each, each, xp.sum(each))


def positive(variance: Array) -> Array:
    """Return the variance, and of a constant output the least there is."""
    xp = namespace(variance, "variance")
    return variance + xp.finfo(variance.dtype).smallest_normal


def K_in_chart(f: Factors, S: Array) -> Array:
    """Return K of the factors in the chart itself: for N >= D it is S K / S; (N, N) has no S."""
    N, D = f.Y.shape
    return f.K if N < D else f.K * (S[:, None] / S[None, :])


def squared_whole(f: Factors, S: Array) -> Array:
    """sum_i gain_i |xi~_i|^2 of xi~ = [xi, G_b] in a chart, (): `squared_norm` and that of G_b.

    With context G_b = Delta_u.T @ U~, and the N x N matrices of U and U~ beside it do for both.

    >>> import numpy as np
    >>> f = Factors(np.array([[-1.0, 0.0]]), np.array([[1.0, 2.0]]), None, None)
    >>> squared_whole(f, np.ones(2))  # xi~ = [[0, -2, -1], [0, 1, 0]]
    np.float64(6.0)
    """
    if not isinstance(f.one, float):
        return squared_norm(f, S, f.one)
    xp = namespace(S, "S")
    G_b = xp.sum(f.Delta, axis=0) * S  # gain Delta_u
    return squared_norm(f, S) + xp.sum(G_b * G_b / f.gain)


def squared_norm(f: Factors, S: Array, beside: Array = None) -> Array:
    """sum_i gain_i |xi_i|^2 of the rows of xi = Delta_u.T @ U + I in a chart, (); |xi|_F^2 if 1.

        sum(gain) + 2 sum(gain * Delta_u * U) + sum((U @ U.T) * ((gain * Delta_u) @ Delta_u.T))

    by N x N matrices where N < D; `f` as `in_charts` gives it, U = f.Y / S, gain * Delta_u =
    f.Delta * S. `beside`: columns beside U, which xi has then too. Cost: 2 N^2 D for N < D, N D^2
    otherwise.

    >>> import numpy as np
    >>> f = Factors(np.array([[-1.0, 0.0]]), np.array([[1.0, 2.0]]), None, None)
    >>> squared_norm(f, np.ones(2))  # xi = [[0, -2], [0, 1]]
    np.float64(5.0)
    """
    U, Delta_a, gain = f.Y / S, f.Delta * S, f.gain * (S / S)
    xp, (N, D), root = namespace(U, "Y"), U.shape, Delta_a / gain**0.5  # gain^(1/2) Delta_u
    V = U if beside is None else xp.concat([U, beside], axis=1)
    square = xp.sum((V @ V.T) * (root @ root.T) if N < D else (root.T @ V) ** 2)
    return xp.sum(gain) + 2 * xp.sum(Delta_a * U) + square
