"""A point of the way of one layer: its outputs are moved themselves, and X is read once."""

from typing import NamedTuple

from ...core.arrays import Array, detached, namespace
from ...core.network import Layer, Layers
from ...core.numerics import eye, phi1, widest
from ...core.tracking import Tracked, track
from .elementwise import Elementwise
from .lbfgs import Precondition
from .pairs import PairMoments, pairwise

CHUNK = 2**15  # numbers of the outputs that are worked on together: they stay in a cache


class Part(NamedTuple):
    """Some rows: centred outputs U (n, D), shares w (n,) of all weight, whether these are equal.

    >>> Part("U", "w", True).equal
    True
    """

    U: Array
    w: Array
    equal: bool


class OneLayer:
    """The rows' outputs y = m + u, and what C and m make of those of the layer that it began with.

        y = C (W_0 x + b_0 - m_0) + m,     log|det W| = log|det W_0| + sum of alpha tr(E)

    One pass over the rows computes value, gradient and moments; sums, and all that is (D, D), are
    in `widest` precision. Cost: a product N D^2, and another for `moved`; some products D^3.
    """

    def __init__(
        self,
        base: Elementwise,
        start: tuple[Layer, Array],
        parts: tuple[Part, ...],
        m: Array,
        C: Array,
        tracked: Tracked,
    ) -> None:
        self.base, self.start, self.parts = base, start, parts
        self.m, self.C, self.tracked = m, C, tracked
        xp, D = namespace(m, "m"), m.shape[0]
        like = parts[0].U
        shift, wide = xp.astype(m, like.dtype), m.dtype
        mean, G, sums = 0.0, 0.0, 0.0
        for U, w, equal in parts:
            log_p, score, dscore = base(U + shift)
            mean = mean + xp.astype(w @ log_p, wide)
            found = w[0] * (score.T @ U) if equal else (score * w[:, None]).T @ U
            G = G + xp.astype(found, wide)  # (D, D)
            curved = dscore * U
            columns = (score, score * score, U * U, dscore, curved, curved * U)
            sums = sums + xp.astype(xp.stack([w @ x for x in columns]), wide)  # (6, D)
        g, information, variance, k, c, own = (sums[i, :] for i in range(6))  # type: ignore[index]
        self.moments = PairMoments(-k, -c, -own, variance, information)
        G = G + eye(xp, C)
        self.gradient = xp.concat([G, g[:, None]], axis=1)[None, ...]  # (1, D, D + 1)
        total = xp.sum(tracked.logdet)
        self.value = float(detached(mean + total))
        eps, eps_wide = float(xp.finfo(like.dtype).eps), float(xp.finfo(wide).eps)
        self.noise = 4 * (eps * (D + abs(float(detached(mean)))) + eps_wide * abs(float(total)))

    @classmethod
    def of(cls, base: Elementwise, layer: Layer, X: Array, weights: Array | None) -> "OneLayer":
        """Return the point of a layer on the rows X (N, D), with weights (N,) of mean 1 or None."""
        xp, (N, D), wide = namespace(X, "X"), X.shape, widest(X)
        n = max(1, CHUNK // D)
        if weights is None:
            shares = xp.full((N,), 1 / N, dtype=X.dtype, device=X.device)
        else:
            shares = weights / N
        pieces = [slice(i, min(i + n, N)) for i in range(0, N, n)]
        Ys = [X[piece, :] @ layer.W.T + layer.b for piece in pieces]  # (n, D)
        ws = [shares[piece] for piece in pieces]
        m = sum((xp.astype(w @ Y, wide) for Y, w in zip(Ys, ws, strict=True)), 0.0)  # (D,)
        shift = xp.astype(m, X.dtype)
        m = xp.astype(shift, wide)  # what is taken off is what is put back
        parts = tuple(Part(Y - shift, w, weights is None) for Y, w in zip(Ys, ws, strict=True))
        I = eye(xp, xp.astype(layer.W, wide))  # noqa: E741
        return cls(base, (layer, m), parts, m, I, track((layer,)))

    @property
    def precondition(self) -> Precondition:
        """The inverse curvature of pairs, at this point."""
        return pairwise(self.moments)

    def moved(self, direction: Array, alpha: float) -> "OneLayer":
        """Return the point of y+ = m + e^(alpha E) (y - m) + phi1(alpha E) alpha t, for [E, t].

        It is the exponential step, so log|det W| moves by alpha tr(E). `I + alpha E` would stretch
        what is to be rotated: the first steps would have to be short.
        """
        xp, dtype = namespace(self.m, "m"), self.parts[0].U.dtype
        E, t = alpha * direction[0, :, :-1], alpha * direction[0, :, -1]  # (D, D), (D,)
        P = phi1(E)
        M = eye(xp, E) + P @ E
        MT = xp.astype(M.T, dtype)
        parts = tuple(Part(U @ MT, w, equal) for U, w, equal in self.parts)
        logdet = self.tracked.logdet + xp.linalg.trace(E)
        tracked = self.tracked._replace(logdet=logdet)
        return OneLayer(self.base, self.start, parts, self.m + P @ t, M @ self.C, tracked)

    def layers(self) -> Layers:
        """Return the layer, W = C W_0, b = C (b_0 - m_0) + m; cubic in D."""
        (W, b), m = self.start
        xp = namespace(W, "W")
        wide = m.dtype
        W_1 = self.C @ xp.astype(W, wide)
        b_1 = self.C @ (xp.astype(b, wide) - m) + self.m
        return (Layer(xp.astype(W_1, W.dtype), xp.astype(b_1, b.dtype)),)

    def variances(self) -> tuple[Array, ...]:
        """Return the variance (D,) of the layer's outputs."""
        return (self.moments.variance,)
