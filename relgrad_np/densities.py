"""Base densities p of the latent components: log p, its score, and draws.

Elementwise, symmetric about 0, and stable for every z. The score is + d log p / dz.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import build, number
from ._array import Array, Formula, Namespace, lift
from ._numerics import log_t_constant

Draw = Callable[[np.random.Generator, int | tuple[int, ...]], NDArray[np.float64]]


@dataclass(frozen=True)
class Density:
    """A base density: log_prob(z), score(z) elementwise; sample(rng, shape) draws in NumPy float64.

    >>> import numpy as np
    >>> density("laplace").log_prob(np.array([0.0])), density("laplace").score(np.array([2.0]))
    (array([-0.69314718]), array([-1.]))
    """

    name: str
    log_prob: Callable[[Array], Array]
    score: Callable[[Array], Array]
    sample: Draw
    params: dict[str, float] = field(default_factory=dict)


def density(name: str, **params: Any) -> Density:
    """Return a base density: normal, logistic, laplace, sech, student_t(nu=5.0); scale 1.

    ValueError for an unknown name or parameter, or a parameter out of its range.

    >>> density("student_t", nu=3).params
    {'nu': 3.0}
    """
    return build("density", name, DENSITIES, params)  # type: ignore[no-any-return]


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
}


DENSITIES = {
    name: functools.partial(Density, name, lift(log_prob, "z"), lift(score, "z"), draw)
    for name, (log_prob, score, draw) in FIXED.items()
} | {"student_t": student_t}
