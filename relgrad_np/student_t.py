"""Student's t as a base density: heavy tails of any weight, stable for every nu and z."""

import math

from ._arguments import number
from ._array import Array, Namespace, lift
from .densities import Density, Draw


def student_t(nu: float = 5.0) -> Density:
    """Log p = log c - (nu + 1) / 2 log(1 + r^2), r = |z| / sqrt(nu), nu > 0."""
    nu = number("nu", nu, 0.0, math.inf, "positive")
    log_c = log_t_constant(nu)

    def split(xp: Namespace, z: Array) -> tuple[Array, Array]:  # max(r, 1), q = min(r, 1/r)
        r = xp.abs(z) / math.sqrt(nu)
        large = xp.maximum(r, xp.ones_like(r))
        return large, xp.minimum(r, 1 / large)

    def log_prob(xp: Namespace, z: Array) -> Array:  # log(1 + r^2) = 2 log max(r, 1) + log1p(q^2)
        large, q = split(xp, z)
        return log_c - (nu + 1) / 2 * (2 * xp.log(large) + xp.log1p(q * q))

    def score(xp: Namespace, z: Array) -> Array:  # r / (1 + r^2) = q / (1 + q^2)
        _, q = split(xp, z)
        return -(nu + 1) / math.sqrt(nu) * xp.sign(z) * q / (1 + q * q)

    draw: Draw = lambda rng, shape: rng.standard_t(nu, shape)  # noqa: E731
    return Density("student_t", lift(log_prob, "z"), lift(score, "z"), draw, {"nu": nu})


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
