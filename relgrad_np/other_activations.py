"""Activations other than the paper's: leaky_tanh, and for verification only softplus and elu.

The published code offers the last two, but they are not onto R: a model with them has mass below
1, and `fit` and `sample` refuse them. Their inverse is NaN outside their range.
"""

import math

from ._arguments import number
from ._array import Array, Namespace
from ._numerics import log1pexp, logistic
from .activations import Activation, make


def leaky_tanh(alpha: float = 1.0, beta: float = 0.1) -> Activation:
    """sigma(y) = tanh(alpha y) + beta y; slopes beta to alpha + beta, both positive."""
    a = number("alpha", alpha, 0.0, math.inf, "positive")
    b = number("beta", beta, 0.0, math.inf, "positive")

    def bend(xp: Namespace, y: Array) -> Array:  # tanh' = 1 - tanh^2 without its cancellation
        t = xp.exp(-a * xp.abs(y)) ** 2
        return a * 4 * t / (1 + t) ** 2

    return make(
        "leaky_tanh",
        {"alpha": a, "beta": b},
        sigma=lambda xp, y: xp.tanh(a * y) + b * y,
        dsigma=lambda xp, y: bend(xp, y) + b,
        log_dsigma=lambda xp, y: math.log(b) + xp.log1p(bend(xp, y) / b),
        dlog_dsigma=lambda xp, y: -2 * a * xp.tanh(a * y) * bend(xp, y) / (bend(xp, y) + b),
        bracket=lambda xp, z: ((z - 1) / b, (z + 1) / b),  # |sigma(y) - beta y| <= 1
    )


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
