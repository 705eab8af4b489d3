"""Activations that are not onto R, softplus and elu: for verification only.

The published code offers them, but a model with them has mass below 1; `fit` and `sample` refuse
them. Their inverse is NaN outside their range.
"""

import math

from ._arguments import number
from ._array import Array, Namespace
from .activations import Activation, log1pexp, logistic, make


def softplus() -> Activation:
    """sigma(y) = log(1 + e^y), onto (0, inf)."""
    return make(
        "softplus",
        {},
        sigma=log1pexp,
        dsigma=logistic,
        log_dsigma=lambda xp, y: -log1pexp(xp, -y),
        dlog_dsigma=lambda xp, y: logistic(xp, -y),
        inverse=lambda xp, z: _above(xp, z, 0) + xp.log(-xp.expm1(-_above(xp, z, 0))),
        onto=False,
    )


def elu(alpha: float = 1.0) -> Activation:
    """sigma(y) = y for y > 0, alpha (e^y - 1) below: onto (-alpha, inf); smooth for alpha = 1."""
    a = number("alpha", alpha, 0.0, math.inf, "positive")

    def minus(xp: Namespace, y: Array) -> Array:
        return xp.minimum(y, xp.zeros_like(y))

    return make(
        "elu",
        {"alpha": a},
        sigma=lambda xp, y: xp.where(y > 0, y, a * xp.expm1(minus(xp, y))),
        dsigma=lambda xp, y: xp.where(y > 0, xp.ones_like(y), a * xp.exp(minus(xp, y))),
        log_dsigma=lambda xp, y: xp.where(y > 0, xp.zeros_like(y), math.log(a) + minus(xp, y)),
        dlog_dsigma=lambda xp, y: xp.where(y > 0, xp.zeros_like(y), xp.ones_like(y)),
        inverse=lambda xp, z: xp.where(z > 0, z, xp.log1p(minus(xp, _above(xp, z, -a)) / a)),
        onto=False,
    )


def _above(xp: Namespace, z: Array, low: float) -> Array:
    return xp.where(z > low, z, math.nan * xp.ones_like(z))
