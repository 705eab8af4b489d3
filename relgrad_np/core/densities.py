"""Base densities p of the latent: log p, its score + d log p / dz, and draws; stable for every z.

All act elementwise, except multivariate_t, whose elements of log p sum to that of a whole row.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import quartic
from .arguments import build_part, number
from .arrays import Array, Formula, Namespace, from_numpy, lift
from .curvatures import DSCORES, split, t_dscore

Draw = Callable[[np.random.Generator, int | tuple[int, ...]], NDArray[np.float64]]


@dataclass(frozen=True)
class Density:
    """A base density: log_prob(z), score(z), of z's shape; sample(rng, shape), NumPy float64.

    `dscore` is (log p)'', elementwise, which only `newton` asks for; of the Laplace it is 0, almost
    everywhere. None where p does not act elementwise, or its author gave none.

    >>> import numpy as np
    >>> density("laplace").log_prob(np.array([0.0])), density("laplace").score(np.array([2.0]))
    (array([-0.69314718]), array([-1.]))
    """

    name: str
    log_prob: Callable[[Array], Array]
    score: Callable[[Array], Array]
    sample: Draw
    params: dict[str, float] = field(default_factory=dict)
    dscore: Callable[[Array], Array] | None = None


def density(name: str, **params: Any) -> Density:
    """Return normal, logistic, laplace, sech, quartic, student_t(nu=5.0), multivariate_t(nu=2.0).

    Their scale is 1. `quartic` is for sources that are lighter than the Gaussian (sub-Gaussian), as
    a uniform variable, a sine, or a few levels are. Every other base has tails at least as heavy as
    the Gaussian's, and one layer with it does not unmix such sources.

    ValueError for an unknown name or parameter, or a parameter out of its range.

    >>> density("student_t", nu=3).params
    {'nu': 3.0}
    """
    makers = {key: functools.partial(_fixed, key) for key in FIXED}
    more = {"student_t": student_t, "multivariate_t": multivariate_t}
    return build_part(density, name, makers | more, params)  # type: ignore[no-any-return]


def _fixed(name: str) -> Density:
    log_prob, score, draw = FIXED[name]
    dscore = lift(DSCORES[name], "z")
    return Density(name, lift(log_prob, "z"), lift(score, "z"), draw, dscore=dscore)


FIXED: dict[str, tuple[Formula, Formula, Draw]] = {  # log p, its score, a draw
    "normal": (
        lambda xp, z: -0.5 * z * z - 0.5 * math.log(2 * math.pi),
        lambda xp, z: -z,
        lambda rng, shape: rng.standard_normal(shape),
    ),
    "logistic": (  # -z - 2 log(1 + e^-z), even
        lambda xp, z: -xp.abs(z) - 2 * xp.log1p(xp.exp(-xp.abs(z))),
        lambda xp, z: -xp.tanh(z / 2),
        lambda rng, shape: rng.logistic(size=shape),
    ),
    "laplace": (  # the score at 0 is 0
        lambda xp, z: -xp.abs(z) - math.log(2),
        lambda xp, z: -xp.sign(z),
        lambda rng, shape: rng.laplace(size=shape),
    ),
    "sech": (  # -log cosh z - log pi; a Cauchy variable's log-modulus has this density
        lambda xp, z: math.log(2 / math.pi) - xp.abs(z) - xp.log1p(xp.exp(-xp.abs(z)) ** 2),
        lambda xp, z: -xp.tanh(z),
        lambda rng, shape: np.log(np.abs(rng.standard_cauchy(shape))),
    ),
    "quartic": (quartic.log_prob, quartic.score, quartic.draw),
}


def student_t(nu: float = 5.0) -> Density:
    """Log p = log c - (nu + 1) / 2 log(1 + r^2), r = |z| / sqrt(nu), nu > 0."""
    nu = number("nu", nu, 0.0, math.inf, "positive")
    log_c = log_t_constant(nu)

    def log_prob(xp: Namespace, z: Array) -> Array:
        return log_c - (nu + 1) / 2 * _log1p_square(xp, xp.abs(z) / math.sqrt(nu))

    def score(xp: Namespace, z: Array) -> Array:  # r / (1 + r^2) = q / (1 + q^2)
        _, q = split(xp, xp.abs(z) / math.sqrt(nu))
        return -(nu + 1) / math.sqrt(nu) * xp.sign(z) * q / (1 + q * q)

    draw: Draw = lambda rng, shape: rng.standard_t(nu, shape)  # noqa: E731
    dscore = lift(t_dscore(nu), "z")
    return Density("student_t", lift(log_prob, "z"), lift(score, "z"), draw, {"nu": nu}, dscore)


def multivariate_t(nu: float = 2.0) -> Density:
    """Student's t of a whole row: log p(z) = log C - (nu + D) / 2 log(1 + |z|^2 / nu), nu > 0.

    z = g / sqrt(chi2_nu / nu) with g normal: components are uncorrelated, but large together, as in
    images, whose contrast varies. It does not factorise, and no formula of the package asks for
    that: the Jacobian's part of the gradient does not see the base, and the last delta is its
    score. Its components are not independent, so one layer of it is not ICA.

    Entry i of log p is log p(z_i | z_1, ..., z_{i-1}). With h_i^2 = nu + z_1^2 + ... + z_i^2 it is
    the log p of a Student t of nu + i - 1 degrees of freedom and scale h_{i-1} / sqrt(nu + i - 1);
    the score is -(nu + D) z / h_D^2. The last axis of z is the row, D its length; ValueError where
    z has none.
    """
    nu = number("nu", nu, 0.0, math.inf, "positive")

    def log_prob(xp: Namespace, z: Array) -> Array:
        D = _length(z)
        before = _norms(xp, z, nu)[..., :-1]  # (..., D), h_0 .. h_{D-1}
        freedom = nu + np.arange(D)
        log_c = from_numpy([log_t_constant(f) + math.log(f) / 2 for f in freedom.tolist()], z)
        half = from_numpy((freedom + 1) / 2, z)
        return log_c - xp.log(before) - half * _log1p_square(xp, xp.abs(z) / before)

    def score(xp: Namespace, z: Array) -> Array:
        h = _norms(xp, z, nu)[..., -1:]
        return -(nu + _length(z)) * (z / h) / h

    def draw(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Any:
        z = rng.standard_normal(shape)
        _length(z)
        return z / np.sqrt(rng.chisquare(nu, (*z.shape[:-1], 1)) / nu)

    return Density("multivariate_t", lift(log_prob, "z"), lift(score, "z"), draw, {"nu": nu})


def _length(z: Array) -> int:
    """Return D, the length of the last axis."""
    if z.ndim == 0 or z.shape[-1] == 0:
        raise ValueError(f"`z` must have shape (..., D) with D >= 1, got {tuple(z.shape)}")
    return int(z.shape[-1])


def _norms(xp: Namespace, z: Array, nu: float) -> Array:
    """Return h_0 .. h_D, (..., D + 1), h_i^2 = nu + z_1^2 + ... + z_i^2; no square overflows.

    It is the larger of two sums. The first cuts z off where squares are too large; it is right up
    to the first such entry. The second divides z by its largest entry; it is right from there on,
    because nu does not count beside such an entry.
    """
    size, largest = xp.abs(z), math.sqrt(xp.finfo(z.dtype).max / (_length(z) + 1))
    cut = xp.minimum(size, xp.full_like(size, largest))
    top = xp.max(xp.maximum(size, xp.ones_like(size)), axis=-1, keepdims=True)
    below, above = (
        xp.cumulative_sum(x * x, axis=-1, include_initial=True) for x in (cut, size / top)
    )
    return xp.maximum(xp.sqrt(nu + below), top * xp.sqrt(above))


def _log1p_square(xp: Namespace, r: Array) -> Array:
    """Return log(1 + r^2) = 2 log max(r, 1) + log1p(min(r, 1/r)^2), r >= 0."""
    large, q = split(xp, r)
    return 2 * xp.log(large) + xp.log1p(q * q)


def log_t_constant(nu: float) -> float:
    """Return the log of Student's normaliser, Gamma((nu+1)/2) / (Gamma(nu/2) sqrt(nu pi)).

    Stirling's series in w = 2/nu from 25 on; below, log c(nu) = log c(nu + 2) + log(nu (nu + 2) /
    (nu + 1)^2) / 2. The difference of two log Gammas would cancel.

    >>> math.isclose(math.exp(log_t_constant(1.0)) * math.pi, 1.0)  # Cauchy
    True
    """
    total = 0.0
    while nu < 25:
        ratio = nu * (nu + 2) / (nu + 1) ** 2
        total += 0.5 * (math.log(ratio) if nu < 1 else math.log1p(-1 / (nu + 1) ** 2))
        nu += 2
    w, series = 2 / nu, 0.0
    for c in (691 / 180224, -31 / 18432, 17 / 14336, -1 / 640, 1 / 192, -1 / 8):
        series = series * w * w + c
    return total + w * series - 0.5 * math.log(2 * math.pi)
