"""A point of the way of one layer: the rows' outputs at the start are read, and never changed."""

from ...core.arrays import Array, detached, namespace
from ...core.context import as_columns
from ...core.network import Layer, Layers
from ...core.numerics import eye, phi1, widest
from ...core.tracking import Tracked, track
from .elementwise import Elementwise
from .frame import framed
from .lbfgs import Precondition
from .pairs import pairwise
from .rows import LinearRows, PlainRows

TINY = 1e-300


class OneLayer:
    """What C and m make of the outputs z + m_0 of the layer that it began with, E z = 0.

        y = C z + m,     log|det W| = log|det W_0| + sum of alpha tr(E)

    With context z are residuals, y = C z + m u^, m (D, c + 1) in the rows' frame.
    One pass over the rows computes value, gradient and moments; sums, and all that is (D, D), are
    in `widest` precision. Cost: two products N D^2, and some D^3.
    """

    def __init__(
        self, rows: LinearRows, start: tuple[Layer, Array], C: Array, m: Array, tracked: Tracked
    ) -> None:
        self.rows, self.start, self.C, self.m, self.tracked = rows, start, C, m, tracked
        xp, D = namespace(m, "m"), m.shape[0]
        mean, G, g, self.moments, self.each = rows(C, m)
        G = G + eye(xp, C)
        self.gradient = xp.concat([G, as_columns(g)], axis=1)[None, ...]  # (1, D, D + c + 1)
        total = float(detached(xp.sum(tracked.logdet)))
        self.value = mean + total
        eps, eps_wide = float(xp.finfo(rows.like.dtype).eps), float(xp.finfo(m.dtype).eps)
        self.noise = 4 * (eps * (D + abs(mean)) + eps_wide * abs(total))

    @classmethod
    def of(cls, base: Elementwise, layer: Layer, X: Array, weights: Array | None) -> "OneLayer":
        """Return the point of a layer on rows X (N, D + c), weights (N,) of mean 1 or None."""
        framed_rows = framed((layer,), X, weights)
        rows, m = PlainRows.of(framed_rows, layer.W, layer.b, weights, base)
        return cls.begun(rows, layer, m)

    @classmethod
    def begun(cls, rows: LinearRows, layer: Layer, m: Array) -> "OneLayer":
        """Return the point of the layer whose outputs, less their mean m or m u^, are the rows."""
        W = layer.W
        xp = namespace(W, "W")
        I = eye(xp, xp.astype(W, widest(W)))  # noqa: E741
        return cls(rows, (layer, m), I, m, track((layer,)))

    @property
    def precondition(self) -> Precondition:
        """The inverse curvature of pairs, at this point."""
        return pairwise(self.moments)

    def moved(self, direction: Array, alpha: float) -> "OneLayer":
        """Return the point of y+ = m + e^(alpha E) (y - m) + phi1(alpha E) alpha t, for [E, t].

        It is the exponential step, so log|det W| moves by alpha tr(E). `I + alpha E` would stretch
        what is to be rotated: the first steps would have to be short.
        """
        xp = namespace(self.m, "m")
        D = direction.shape[1]
        t = direction[0, :, D] if self.m.ndim == 1 else direction[0, :, D:]
        E, t = alpha * direction[0, :, :D], alpha * t  # (D, D), and like m
        P = phi1(E, max(float(detached(xp.sqrt(xp.sum(E * E)))), TINY))
        M = eye(xp, E) + P @ E
        logdet = self.tracked.logdet + xp.linalg.trace(E)
        tracked = self.tracked._replace(logdet=logdet)
        return OneLayer(self.rows, self.start, M @ self.C, self.m + P @ t, tracked)

    def on(self, rows: LinearRows) -> "OneLayer":
        """Return the same point on other rows, or under another density."""
        return OneLayer(rows, self.start, self.C, self.m, self.tracked)

    def layers(self) -> Layers:
        """Return the layer, W = C W_0, b = C (b_0 - m_0) + m, out of the frame; cubic in D."""
        (W, b), m = self.start
        xp = namespace(W, "W")
        wide = m.dtype
        W_1 = self.C @ xp.astype(W, wide)
        bias = self.rows.frame.bias
        b_1 = self.C @ (xp.astype(b, wide) - bias(m)) + bias(self.m)
        return (Layer(xp.astype(W_1, W.dtype), xp.astype(b_1, b.dtype)),)

    def variances(self) -> tuple[Array, ...]:
        """Return the variance (D,) of the layer's outputs."""
        return (self.moments.variance,)
