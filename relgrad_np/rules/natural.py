"""The natural gradient of all layers at once, for small D: what a deep narrow net needs.

All layers of such a net bend the same few dimensions. Moves of theirs that shift the latent
together have a curvature L times that of one layer; moves in which they work against each other
have next to none, and those shape the density. Layer by layer, a step is either too large for the
first or too small for the second. The Fisher information of all P = L (D^2 + D) relative moves
knows both. From the score of each sample, in the standardised chart of each layer's output,

    s_n = (delta_n u_n' + I, delta_n) of all layers, (P,);  g = mean s_n = xi~ of all layers
    F = mean s_n s_n', running;                             (F + damping I) d = g

and the step is W~+ = exp(eta d_k) W~ in the chart of layer k. It ascends, for <g, d> > 0; it is
equivariant, for F, g and the charts are made of outputs; log|det W| moves by eta tr(d_k), exactly.
The scores come in blocks of samples, so that never more than (P, BLOCK) of them are held. Derived
in docs/mathematics.md.
"""

import logging
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ..core.arguments import number, store, whole
from ..core.arrays import Array, check, namespace
from ..core.context import as_columns
from ..core.full_rank import Chart, FullRank
from ..core.network import Deltas, Layers, Tape
from ..core.numerics import eye, solve
from .base import Move, State

BLOCK = 512  # samples whose scores are held at a time
OFTEN = 400  # P / OFTEN steps, about, share one F: it costs more than all else the larger P is
DOUBT = 10  # samples for each of the P moves at which F is trusted by half
LARGE = 2000  # P from which on the cost of a step is said
LIMIT = 2**30  # bytes of F that are allowed; a step needs three times as much
LOG = logging.getLogger("relgrad_np")


class Curvature(NamedTuple):
    """Running: mean (L, D) and variance (L, D) of the outputs, Fisher information (P, P).

    Of the symmetric F the lower triangle is kept, with zeros above; only that is read. `seen`:
    batches that the moments are made of, `informed`: those that F is made of, () each.
    """

    mean: Array
    variance: Array
    information: Array
    seen: Array
    informed: Array


@dataclass(frozen=True)
class Natural:
    """Exponential step along d = inv(F + damping I) g, F dense over all layers; see above.

    `memory` of the charts, `information` of F, both the plain mean of the first batches until then;
    after those one of `every` steps renews F, and the others only g; None: of P / 400. eta =
    min(learning_rate n / (n + 10 P) / sqrt(max(<g, d>, 1)), tau / max_k |d_k|) with n samples in F,
    one for all layers.
    Cost beside the passes: N P^2 + P^3 / 3 where F is renewed, else P^2; memory 3 P^2. For P up to
    about 2,000. ValueError, where a fit starts, if F would have more than 1 GiB.

    >>> Natural().learning_rate, Natural().tracks
    (0.3, True)
    """

    learning_rate: float = 0.3
    damping: float = 3e-3
    memory: float = 0.95
    information: float = 0.975
    tau: float = 0.7
    every: int | None = None
    kind: ClassVar[str] = "exponential"
    tracks: ClassVar[bool] = True
    averages: ClassVar[bool] = False  # steps go too far for a mean of nets to be one

    def __post_init__(self) -> None:
        for name in ("learning_rate", "damping"):
            store(self, name, 0.0, float("inf"), "positive")
        store(self, "tau", 0.0, 1 - 2**-24, "in (0, 1)")
        for name in ("memory", "information"):
            number(name, getattr(self, name), 0.0, 1 - 1e-6, "in (0, 1)")
        if self.every is not None:
            whole("every", self.every)

    def start(self, layers: Layers) -> Curvature:
        """Return the curvature before the first batch, all 0; ValueError where F is too large."""
        xp, L, (D, one) = check(layers), len(layers), as_columns(layers[0].b).shape
        itemsize = 8 if layers[0].b.dtype == xp.float64 else 4
        P = required_size(L, D, itemsize, one)
        tell_cost(P, itemsize, L, D)
        zero = xp.stack([xp.zeros_like(W[:, 0]) for W, _ in layers])
        F = xp.zeros((P, P), dtype=zero.dtype, device=zero.device)
        none = xp.asarray(xp.sum(zero))
        return Curvature(zero, zero, F, none, none)

    def renews(self, t: int, P: int) -> bool:
        """Say whether step t renews F: each of the first ones does, until F forgets.

        >>> [t for t in range(40, 50) if Natural().renews(t, 1344)]
        [42, 45, 48]
        """
        every = max(1, round(P / OFTEN)) if self.every is None else self.every
        return t % every == 0 or t * (1 - self.information) < 1

    def propose(self, state: State, tape: Tape, deltas: Deltas) -> Move:
        """Propose d = inv(F + damping I) g in the charts, one eta for all layers, capped."""
        xp, old = check(state.layers), state.rule_state
        Y, Delta = xp.stack(tape.Ys), tape.Ys[0].shape[0] * xp.stack(deltas)  # (L, N, D)
        chart, moments = self._charts(xp, Y, old)
        N, F = Y.shape[1], old.information
        renewed = self.renews(state.t, F.shape[0])
        g, squares = mean_scores((Y - chart.m) * chart.S, Delta / chart.S, renewed, tape.one)
        informed = old.informed + int(renewed)
        new = self.weight(xp, self.information, informed - 1)
        if squares is not None:
            F = F + new * (squares - F)
        whole_F = F + xp.tril(F, k=-1).T
        d = solve(whole_F + self.damping * eye(xp, F), g[:, None])
        d = xp.reshape(d, (Y.shape[0], Y.shape[2], -1))  # (L, D, D + 1)
        norms = xp.sqrt(xp.sum(d * d, axis=(1, 2)))  # (L,)
        rise, one = xp.sum(g * xp.reshape(d, (-1,))), xp.ones_like(g[0])  # <g, d> >= d'F d
        n = N * xp.minimum(informed, 1 / new)  # samples that F is made of
        eta = self.learning_rate * n / (n + DOUBT * g.shape[0]) / xp.sqrt(xp.maximum(rise, one))
        eta = xp.minimum(eta, self.tau / (xp.max(norms) + xp.finfo(Y.dtype).smallest_normal))
        L = range(Y.shape[0])
        directions = tuple(FullRank(d[k, :, :], chart.S[k, 0, :], chart.m[k, 0, :]) for k in L)
        remembered = Curvature(*moments, F, old.seen + 1, informed)
        norms = tuple(norms[k, ...] for k in L)
        return Move(directions, tuple(eta for _ in L), norms, remembered, bound=self.tau)

    def _charts(self, xp: Any, Y: Array, old: Curvature) -> tuple[Chart, tuple[Array, Array]]:
        """Return the standardised charts of Y (L, N, D), as (L, 1, D), and the running moments."""
        new, mean = self.weight(xp, self.memory, old.seen), xp.mean(Y, axis=1)
        off = mean - old.mean  # of two parts the variance is also that of their means
        mean = old.mean + new * off  # (L, D)
        variance = (1 - new) * (old.variance + new * off * off) + new * xp.var(Y, axis=1)
        S = 1 / xp.sqrt(variance + xp.finfo(Y.dtype).smallest_normal)
        return Chart(S[:, None, :], mean[:, None, :]), (mean, variance)

    def weight(self, xp: Any, memory: float, seen: Array) -> Array:
        """Return the weight of a batch after `seen` others in a mean, (): alike at first."""
        return xp.clip(1 / (xp.maximum(seen, 0 * seen) + 1), min=1 - memory)


def required_size(L: int, D: int, itemsize: int, one: int = 1) -> int:
    """Return P, with biases (D, one); ValueError where F has more than 1 GiB.

    >>> required_size(32, 6, 8)
    1344
    >>> required_size(3, 300, 8)
    Traceback (most recent call last):
    ValueError: `rule` 'natural' needs F of P x P numbers, P = L (D^2 + D) = 270,900: 546.8 GiB, ...
    >>> required_size(2, 100, 8, one=101)
    Traceback (most recent call last):
    ValueError: `rule` 'natural' needs F of P x P numbers, P = L (D^2 + 101 D) = 40,200: ...
    """
    P = L * D * (D + one)
    if P * P * itemsize > LIMIT:
        raise ValueError(
            f"`rule` 'natural' needs F of P x P numbers, {_cost(P, itemsize, L, D)}, and "
            f"{LIMIT / 2**30:.0f} GiB is allowed; 'recipe', 'group_adam' and 'newton' need none"
        )
    return P


def tell_cost(P: int, itemsize: int, L: int, D: int) -> None:
    """Say what a step costs where P is large, by a line of `logging`.

    >>> tell_cost(1344, 8, 32, 6)
    """
    if P > LARGE:
        LOG.warning(
            "relgrad-np: rule 'natural' keeps F of P x P numbers, %s, thrice; a step on P rows "
            "takes about %.0f s on one core",
            _cost(P, itemsize, L, D),
            4 / 3 * P**3 / 2e10,
        )


def _cost(P: int, itemsize: int, L: int, D: int) -> str:
    one = P // (L * D) - D  # columns of a bias
    biases = "D" if one == 1 else f"{one} D"
    return f"P = L (D^2 + {biases}) = {P:,}: {P * P * itemsize / 2**30:.1f} GiB"


def mean_scores(
    U: Array, Delta: Array, squares: bool = True, one: Array = 1.0
) -> tuple[Array, Array | None]:
    """Return the mean of the scores, (P,), and if asked the lower triangle of that of s s', (P, P).

    Arguments as of `scores`, which are made in blocks of samples. Cost: N P^2 where `squares`.

    >>> import numpy as np
    >>> mean_scores(np.array([[[3.0]]]), np.array([[[-2.0]]]))[1]
    array([[25.,  0.],
           [10.,  4.]])
    """
    xp, N = namespace(U, "U"), U.shape[1]
    g: Any = 0.0
    F: Any = 0.0
    for start in range(0, N, BLOCK):
        part = slice(start, min(start + BLOCK, N))
        own = one if isinstance(one, float) else one[part, :]
        s = scores(U[:, part, :], Delta[:, part, :], own)
        g = g + xp.sum(s, axis=1)
        F = F + s @ s.T if squares else None
    return g / N, xp.tril(F / N) if squares else None


def scores(U: Array, Delta: Array, one: Array = 1.0) -> Array:
    """Return each sample's relative score s_n = (delta_n u_n' + I, delta_n) of all layers, (P, N).

    U: outputs in their charts, Delta: each sample's own derivative by them, both (L, N, D). In a
    column the layers follow one another: rows of D + 1 entries, the last one the translation. The
    mean of the columns is xi~. With context U~ (N, c + 1) as `one`, the last c + 1. Cost: P N.

    >>> import numpy as np
    >>> scores(np.array([[[3.0]]]), np.array([[[-2.0]]]))
    array([[-5.],
           [-2.]])
    """
    xp, (L, N, D) = namespace(U, "U"), U.shape
    U, Delta = (xp.reshape(xp.permute_dims(x, (0, 2, 1)), (L * D, N)) for x in (U, Delta))
    U, Delta = (xp.reshape(x, (L, D, N)) for x in (U, Delta))  # contiguous: the samples are last
    identity = xp.eye(D, dtype=U.dtype, device=U.device)[None, :, :, None]
    rows = Delta[:, :, None, :] * U[:, None, :, :] + identity  # (L, D, D, N)
    shift = Delta[:, :, None, :]  # (L, D, 1, N)
    if not isinstance(one, float):
        shift = shift * xp.permute_dims(one, (1, 0))[None, None, :, :]  # (L, D, c + 1, N)
    return xp.reshape(xp.concat([rows, shift], axis=2), (-1, N))
