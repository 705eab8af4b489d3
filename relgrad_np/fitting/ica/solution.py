"""An unmixing that is done: outputs of rows, and their log-likelihood."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...core.arrays import Array
from ...core.densities import Density
from ...core.network import Layer
from . import sources
from .whitening import Whitening


class Solution(NamedTuple):
    """Independent outputs y = A (x - mean) + b, and a Gaussian of the directions left out.

    mean (D,); A (n, D); inverse (D, n): x = mean + inverse (y - b), plus what is left out; b (n,);
    rest (k, D), sd (k,): orthonormal directions that are left out, and the deviation along them;
    logdet: log of the volume by which A magnifies, and 1 / sd the rest, nats; log_p: of outputs
    (N, n), elementwise; deviation: the root of the variance of all columns, if known.

    >>> from relgrad_np import density
    >>> solution = of_layer(Layer(2 * np.eye(1), np.ones(1)), density("normal"))
    >>> solution.log_likelihood(np.array([[-0.5]])).round(4)  # log 2 - log(2 pi) / 2
    array([-0.2258])
    """

    mean: Array
    A: Array
    inverse: Array
    b: Array
    rest: Array
    sd: Array
    logdet: float
    log_p: Callable[[Array], Array]
    deviation: float | None = None

    def outputs(self, X: Array) -> Array:
        """Return the outputs (N, n) of rows X (N, D), float64, at their densities' scale."""
        return (X - self.mean) @ self.A.T + self.b

    def log_likelihood(self, X: Array) -> Array:
        """Return the log-likelihood (N,) of rows X (N, D), nats; -inf where it is too far out."""
        with np.errstate(over="ignore", invalid="ignore"):
            total = self.log_p(self.outputs(X)).sum(axis=1) + self.logdet  # (N,)
            if len(self.rest):
                V = (X - self.mean) @ (self.rest.T / self.sd)  # (N, k)
                total -= 0.5 * (V * V + math.log(2 * math.pi)).sum(axis=1)
        return np.where(np.isnan(total), -np.inf, total)

    def moments(self, X: Array, weights: Array | None = None) -> sources.OutputMoments:
        """Return the moments of the outputs of rows X (N, D)."""
        Y = self.outputs(X)
        return sources.output_moments(Y, self.log_p(Y), weights)

    def centred(self, mean: Array) -> "Solution":
        """Return the same, written about another mean (D,).

        >>> from relgrad_np import density
        >>> of_layer(Layer(np.eye(1), np.ones(1)), density("sech")).centred(np.array([4.0])).b
        array([5.])
        """
        return self._replace(mean=mean, b=self.b + self.A @ (mean - self.mean))

    def layer(self) -> Layer:
        """Return the outputs as a layer y = W x + b."""
        return Layer(self.A, self.b - self.A @ self.mean)


def of_white(white: Whitening, W: Array, b: Array, log_p: Callable[[Array], Array]) -> Solution:
    """Return the solution of white rows z, y = W z + b with the log-densities log_p(y)."""
    logdet = float(np.linalg.slogdet(W)[1]) + white.logdet()
    inverse = white.inverse @ np.linalg.inv(W)
    rest = white.rest, white.sd
    return Solution(white.mean, W @ white.K, inverse, b, *rest, logdet, log_p, white.deviation())


def of_layer(layer: Layer, density: Density) -> Solution:
    """Return the solution that is a layer y = W x + b under this density."""
    W, b = np.asarray(layer.W, np.float64), np.asarray(layer.b, np.float64)
    D = len(b)
    none = np.empty((0, D)), np.empty(0)
    logdet = float(np.linalg.slogdet(W)[1])
    return Solution(np.zeros(D), W, np.linalg.inv(W), b, *none, logdet, density.log_prob)


def as_they_are(D: int) -> Whitening:
    """Return the whitening of rows (N, D) that count as white: it does nothing.

    >>> as_they_are(2).logdet()
    0.0
    """
    none = np.empty((0, D)), np.empty(0)
    return Whitening(np.zeros(D), np.eye(D), np.eye(D), D, *none)


class Sources(NamedTuple):
    """What rows X (N, D) say of the sources of a solution.

    components (n, D), mixing (D, n): sources = (X - mean) components', X = sources mixing' + mean;
    order (n,): of the solution's outputs; heavy (n,): whether the kurtosis is above the Gaussian's;
    log_likelihood: mean over the rows, nats; diagnostics: "gaussian_p" and "explained_variance"
    (n,), see `sources.gaussian_p`.

    >>> Sources("A", "M", [1, 0], [True, False], -3.0, {}).order
    [1, 0]
    """

    components: Array
    mixing: Array
    order: Array
    heavy: Array
    log_likelihood: float
    diagnostics: dict[str, Array]


def described(
    solution: Solution,
    X: Array,
    weights: Array | None,
    moments: sources.OutputMoments | None = None,
    *,
    unit: bool,
    ordered: bool = False,
    like: Array | None = None,
) -> Sources:
    """Return the sources of rows X (N, D), weights (N,) or None, in their order and sign.

    `moments`: of the outputs, if they are known. `unit`: with variance 1, else at the scale of
    their densities. The order is that of `sources.order_and_sign`, or if `ordered` that of the
    outputs. The sign is that of the former components `like` (n, D) in the same order, by their
    correlation on X, or else by `order_and_sign`, too.
    """
    if moments is None:
        moments = solution.moments(X, weights)
    order, sign = sources.order_and_sign(moments)
    if ordered:
        order, sign = np.arange(len(order)), sign[np.argsort(order)]
    if like is not None:
        Y = solution.outputs(X)[:, order]
        along = np.sum((Y - Y.mean(axis=0)) * ((X - solution.mean) @ like.T), axis=0)
        sign = np.where(along < 0, -1.0, 1.0)
    sd = np.sqrt(moments.variance)
    scale = sign / (sd[order] if unit else 1.0)  # (n,)
    deviation = solution.deviation or _deviation(X)
    share = np.sum((solution.inverse / deviation) ** 2, axis=0) * moments.variance
    N = len(X) if weights is None else np.sum(weights) ** 2 / np.sum(weights * weights)
    diagnostics = {
        "gaussian_p": sources.gaussian_p(moments, float(N))[order],
        "explained_variance": share[order],
    }
    rest = 0.5 * len(solution.rest) * math.log(2 * math.pi * math.e)
    return Sources(
        scale[:, None] * solution.A[order],
        solution.inverse[:, order] / scale,
        order,
        (moments.fourth > 3 * moments.variance**2)[order],
        float(moments.log_p.sum() + solution.logdet - rest),
        diagnostics,
    )


def _deviation(X: Array) -> float:
    """Return the root of the variance of all columns of X (N, D), without an overflow."""
    centred = X - X.mean(axis=0)
    size = float(np.abs(centred).max())
    return size * float(np.sqrt(np.square(centred / size).mean(axis=0).sum()))
