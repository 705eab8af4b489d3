"""Base densities p of the latent: log p, its score + d log p / dz, and draws; stable for every z.

Elementwise, but for multivariate_t, whose elements of log p sum to that of a whole row.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import build
from ._array import Array, Formula, lift

Draw = Callable[[np.random.Generator, int | tuple[int, ...]], NDArray[np.float64]]


@dataclass(frozen=True)
class Density:
    """A base density: log_prob(z), score(z), of z's shape; sample(rng, shape), NumPy float64.

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
    """Return normal, logistic, laplace, sech, student_t(nu=5.0) or multivariate_t(nu=2.0); scale 1.

    ValueError for an unknown name or parameter, or a parameter out of its range.

    >>> density("student_t", nu=3).params
    {'nu': 3.0}
    """
    from .student_t import multivariate_t, student_t

    makers = {key: functools.partial(_fixed, key) for key in FIXED}
    more = {"student_t": student_t, "multivariate_t": multivariate_t}
    return build("density", name, makers | more, params)  # type: ignore[no-any-return]


def _fixed(name: str) -> Density:
    log_prob, score, draw = FIXED[name]
    return Density(name, lift(log_prob, "z"), lift(score, "z"), draw)


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
