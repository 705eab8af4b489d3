"""A point of the way of several layers: an exponential step of all, each in its own chart."""

import functools
from typing import NamedTuple

from ...core.activations import Activation
from ...core.arrays import Array, detached, namespace
from ...core.backprop import backprop
from ...core.densities import Density
from ...core.full_rank import FullRank
from ...core.network import Layers, Tape, forward
from ...core.numerics import eye, widest
from ...core.objective import data_terms
from ...core.steps import apply_step
from ...core.tracking import Tracked, track, track_step
from .joint import fisher, joint_chart
from .lbfgs import Precondition

CHUNK = 2**15  # numbers of a layer's output that are passed together: they stay in a cache


class RowParts(NamedTuple):
    """The rows in parts: X (n, D), weights (n,) or None, and the part's share of all rows.

    >>> RowParts((), None, None).activation is None
    True
    """

    parts: tuple[tuple[Array, Array | None, float], ...]
    activation: Activation
    density: Density


class LayerMoments(NamedTuple):
    """Of one layer: mean m (D,), A = E u u', B = E delta delta', (D, D), and xi~ (D, D + 1).

    >>> LayerMoments("m", "A", "B", "xi").m
    'm'
    """

    m: Array
    A: Array
    B: Array
    xi: Array


class Layered:
    """Layers, their tracked log|det W|, and the passes over all rows.

    Cost: L products N D^2 for the value, 4 L - 1 more for gradient and curvature, which only an
    accepted point is asked for; two eigendecompositions a layer.
    """

    def __init__(self, sample: RowParts, layers: Layers, tracked: Tracked) -> None:
        self.sample, self._layers, self.tracked = sample, layers, tracked
        W = layers[0].W
        xp, wide = namespace(W, "W"), widest(W)
        self.tapes: list[Tape] = []
        mean = xp.zeros((), dtype=wide, device=W.device)
        for X, weights, share in sample.parts:
            self.tapes.append(forward(layers, X, sample.activation))
            L_p, L_J1 = data_terms(layers, self.tapes[-1], sample.activation, sample.density)
            terms = (L_p + L_J1) * (1.0 if weights is None else weights)  # (n,)
            mean = mean + xp.sum(terms, dtype=wide) * (share / X.shape[0])
        total, size = float(detached(xp.sum(tracked.logdet))), float(detached(mean))
        self.value = size + total
        eps, eps_wide = float(xp.finfo(W.dtype).eps), float(xp.finfo(wide).eps)
        self.noise = 4 * (eps * (len(layers) * W.shape[0] + abs(size)) + eps_wide * abs(total))

    @classmethod
    def of(cls, sample: RowParts, layers: Layers, tracked: Tracked | None = None) -> "Layered":
        """Return the point of these layers, whose log|det W| may be known."""
        return cls(sample, layers, tracked or track(layers))

    @functools.cached_property
    def seen(self) -> list[LayerMoments]:
        """What the rows say of each layer; the tapes are let go."""
        model = self.sample.activation, self.sample.density
        sums: list[list[Array]] = []
        centres: tuple[Array, ...] = ()
        for tape, (X, weights, share) in zip(self.tapes, self.sample.parts, strict=True):
            deltas = backprop(self._layers, tape, *model, weights)
            if not centres:
                xp = namespace(X, "X")
                centres = tuple(xp.mean(Y, axis=0) for Y in tape.Ys)  # about where to sum
            found = [
                _sums(Y - c, Delta, weights, share, X.shape[0])
                for Y, c, Delta in zip(tape.Ys, centres, deltas, strict=True)
            ]
            sums = (
                [
                    [x + y for x, y in zip(one, other, strict=True)]
                    for one, other in zip(sums or found, found, strict=True)
                ]
                if sums
                else found
            )
        self.tapes = []
        return [_centred(c, *part) for c, part in zip(centres, sums, strict=True)]

    @functools.cached_property
    def gradient(self) -> Array:
        """xi~ of all layers, (L, D, D + 1)."""
        xp = namespace(self.seen[0].xi, "xi")
        return xp.stack([layer.xi for layer in self.seen])

    @functools.cached_property
    def precondition(self) -> Precondition:
        """The inverse Fisher information of each layer, at this point."""
        return fisher([joint_chart(layer.A, layer.B) for layer in self.seen])

    def moved(self, direction: Array, alpha: float) -> "Layered":
        """Return the point of W~+ = exp(alpha d) W~ in the charts y - m, d (L, D, D + 1)."""
        like = self._layers[0].b
        xp = namespace(like, "b")
        d = xp.astype(direction, like.dtype)
        directions = tuple(
            FullRank(d[k, ...], xp.ones_like(like), xp.astype(layer.m, like.dtype))
            for k, layer in enumerate(self.seen)
        )
        layers = apply_step(self._layers, directions, alpha, kind="exponential")
        tracked = track_step(self.tracked, directions, alpha, kind="exponential")
        return Layered(self.sample, layers, tracked)

    def layers(self) -> Layers:
        """Return the layers."""
        return self._layers

    def variances(self) -> tuple[Array, ...]:
        """Return the variances (D,) of each layer's outputs."""
        xp = namespace(self.seen[0].A, "A")
        return tuple(xp.sum(layer.A * eye(xp, layer.A), axis=1) for layer in self.seen)


def _sums(U: Array, Delta: Array, weights: Array | None, share: float, n: int) -> list[Array]:
    """Return sums of u, u u', delta delta', delta u' and delta over a part, as shares of all rows.

    Delta has weight and 1 / n in it.
    """
    xp, wide = namespace(U, "U"), widest(U)
    w = share / n if weights is None else weights[:, None] * (share / n)
    delta = Delta * n if weights is None else Delta * n / weights[:, None]  # (n, D)
    Uw = U * w
    products = (Uw.T @ U, (delta * w).T @ delta, share * (Delta.T @ U))
    means = (xp.sum(Uw, axis=0, dtype=wide), share * xp.sum(Delta, axis=0, dtype=wide))
    return [means[0], *(xp.astype(x, wide) for x in products), means[1]]


def _centred(c: Array, u: Array, A: Array, B: Array, G: Array, g: Array) -> LayerMoments:
    """Return what sums about c say about the mean c + u."""
    xp = namespace(A, "A")
    A = A - u[:, None] * u[None, :]
    G = G - g[:, None] * u[None, :] + eye(xp, A)
    return LayerMoments(xp.astype(c, u.dtype) + u, A, B, xp.concat([G, g[:, None]], axis=1))
