"""A point of the way of several layers: an exponential step of all, each in its own chart."""

import functools
from collections.abc import Callable
from typing import NamedTuple

from ...core.arrays import Array, detached, namespace
from ...core.context import times
from ...core.full_rank import FullRank
from ...core.network import Layers
from ...core.numerics import eye, widest
from ...core.steps import apply_step
from ...core.tracking import Tracked, track, track_step
from .bending import Bent
from .elementwise import Elementwise
from .frame import BARE, Frame
from .joint import fisher, joint_chart
from .layer_moments import LayerMoments, RowPart, centred, centres_of, sums_of
from .lbfgs import Precondition

CHUNK = 2**15  # numbers of a layer's output that are passed together: they stay in a cache


class RowParts(NamedTuple):
    """The rows in parts; what a pass asks of activation and base density; and the context's frame.

    >>> RowParts((), None, None).base is None
    True
    """

    parts: tuple[RowPart, ...]
    bends: Callable[[Array], Bent]
    base: Elementwise
    frame: Frame = BARE


class ForwardPass(NamedTuple):
    """A forward pass of some rows: outputs Ys, of each but the last sigma' and (log sigma')'.

    `score` (n, D) of the last; `terms` (n,): log-likelihood without the determinants.

    >>> ForwardPass((), (), "score", "terms").terms
    'terms'
    """

    Ys: tuple[Array, ...]
    slopes: tuple[tuple[Array, Array], ...]
    score: Array
    terms: Array


class Layered:
    """Layers, their tracked log|det W|, and the passes over all rows.

    Cost: L products N D^2 for the value, 4 L - 1 more for gradient and curvature, which only an
    accepted point is asked for; two eigendecompositions a layer.
    """

    def __init__(self, sample: RowParts, layers: Layers, tracked: Tracked) -> None:
        self.sample, self._layers, self.tracked = sample, layers, tracked
        W = layers[0].W
        xp, wide = namespace(W, "W"), widest(W)
        self.tapes: list[ForwardPass] = []
        mean = xp.zeros((), dtype=wide, device=W.device)
        for part in sample.parts:
            tape = passed(sample, layers, part)
            self.tapes.append(tape)
            terms = tape.terms if part.weights is None else tape.terms * part.weights  # (n,)
            mean = mean + xp.sum(terms, dtype=wide) * (part.share / part.X.shape[0])
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
        sums: list[list[Array]] = []
        centres = centres_of([tape.Ys for tape in self.tapes], self.sample.parts)
        for tape, part in zip(self.tapes, self.sample.parts, strict=True):
            deltas = deltas_of(self._layers, tape)
            found = [
                sums_of(Y - times(c, part.hat), delta, part)
                for Y, c, delta in zip(tape.Ys, centres, deltas, strict=True)
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
        return [centred(c, *part) for c, part in zip(centres, sums, strict=True)]

    @functools.cached_property
    def gradient(self) -> Array:
        """xi~ of all layers, (L, D, D + c + 1)."""
        xp = namespace(self.seen[0].xi, "xi")
        return xp.stack([layer.xi for layer in self.seen])

    @functools.cached_property
    def precondition(self) -> Precondition:
        """The inverse Fisher information of each layer, at this point."""
        return fisher([joint_chart(layer.A, layer.B) for layer in self.seen])

    def moved(self, direction: Array, alpha: float) -> "Layered":
        """Return the point of W~+ = exp(alpha d) W~ in the charts y - m, d (L, D, D + c + 1)."""
        like, frame = self._layers[0].W[:, 0], self.sample.frame
        xp = namespace(like, "W")
        S, dtype = xp.ones_like(like), like.dtype
        directions = tuple(
            FullRank(
                xp.astype(frame.layer(direction[k, ...]), dtype),
                S,
                xp.astype(frame.bias(layer.m), dtype),
            )
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


def passed(sample: RowParts, layers: Layers, part: RowPart) -> ForwardPass:
    """Return the forward pass of a part: `forward` and `data_terms` of the core, in one."""
    Z, Ys, bent = part.X, [], []
    total: Array = 0.0
    for k, (W, b) in enumerate(layers):
        Y = Z @ W.T + times(b, part.one)  # (n, D)
        Ys.append(Y)
        if k < len(layers) - 1:
            bent.append(sample.bends(Y))
            Z, total = bent[-1].z, total + bent[-1].total
    log_p, score, _ = sample.base(Y)
    slopes = tuple((one.slope, one.change) for one in bent)
    return ForwardPass(tuple(Ys), slopes, score, log_p + total)


def deltas_of(layers: Layers, tape: ForwardPass) -> list[Array]:
    """Return delta = d (L_p + L_J1) of a row by each layer's output, (n, D): `backprop` N times."""
    delta = tape.score  # (n, D)
    deltas = [delta]
    for (slope, change), layer in zip(reversed(tape.slopes), reversed(layers), strict=False):
        delta = (delta @ layer.W) * slope + change
        deltas.append(delta)
    return deltas[::-1]
