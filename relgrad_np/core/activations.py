"""Activations sigma: smooth, strictly increasing, elementwise; each with the log of its slope.

sigma acts forward, log sigma' is the term L_J1, (log sigma')' what backpropagation adds for it.
With exp(-|y|) alone no exponential overflows, and the formulas keep their digits for every y.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .arguments import build_part, number
from .arrays import Array, Formula, Namespace, lift
from .numerics import log1pexp, logistic, solve_increasing


@dataclass(frozen=True)
class Activation:
    """An activation: elementwise functions of float32 or float64 arrays of any shape.

    `inverse` solves to |sigma(inverse(z)) - z| <= 4 eps times the larger term of sigma (slopes
    above 1e-5); `onto`: sigma reaches all of R, so that the model has mass 1.

    >>> import numpy as np
    >>> f = activation("smooth_leaky_relu", alpha=0.5)
    >>> f.sigma(np.array([0.0])), f.dsigma(np.array([0.0]))
    (array([0.34657359]), array([0.75]))
    """

    name: str
    params: dict[str, float]
    sigma: Callable[[Array], Array]
    dsigma: Callable[[Array], Array]
    log_dsigma: Callable[[Array], Array]
    dlog_dsigma: Callable[[Array], Array]
    inverse: Callable[[Array], Array]
    onto: bool = True


def activation(name: str, **params: Any) -> Activation:
    """Return smooth_leaky_relu(alpha=0.3), leaky_tanh(alpha=1.0, beta=0.1) or identity.

    For verification only, not onto R: softplus, elu(alpha=1.0). ValueError: name, parameters.

    >>> activation("leaky_tanh", beta=0.2).params
    {'alpha': 1.0, 'beta': 0.2}
    """
    makers = (smooth_leaky_relu, leaky_tanh, identity, softplus, elu)
    return build_part(activation, name, {f.__name__: f for f in makers}, params)  # type: ignore[no-any-return]


def smooth_leaky_relu(alpha: float = 0.3) -> Activation:
    """sigma(y) = alpha y + (1 - alpha) log(1 + e^y), the paper's; slopes alpha to 1."""
    a = number("alpha", alpha, 0.0, 1.0, "in (0, 1]")
    c = 1 - a

    def dsigma(xp: Namespace, y: Array) -> Array:
        return a + c * logistic(xp, y)

    def log_dsigma(xp: Namespace, y: Array) -> Array:
        u = logistic(xp, -xp.abs(y))
        return xp.where(y > 0, xp.log1p(-c * u), math.log(a) + xp.log1p(c / a * u))

    def dlog_dsigma(xp: Namespace, y: Array) -> Array:
        u = logistic(xp, -xp.abs(y))
        return c * u * (1 - u) / dsigma(xp, y)

    def bracket(xp: Namespace, z: Array) -> Any:  # 0 <= sigma(y) - max(y, a y) <= c log 2
        return (xp.clip(v, min=0.0) + xp.clip(v, max=0.0) / a for v in (z - c * math.log(2), z))

    return make(
        "smooth_leaky_relu",
        {"alpha": a},
        sigma=lambda xp, y: a * y + (c * log1pexp(xp, y) if c else 0),
        dsigma=dsigma,
        log_dsigma=log_dsigma,
        dlog_dsigma=dlog_dsigma,
        bracket=bracket,
    )


def identity() -> Activation:
    """sigma(y) = y: the net is a product of affine maps."""
    return replace(smooth_leaky_relu(1.0), name="identity", params={})


def make(name: str, params: dict[str, float], onto: bool = True, **formulas: Formula) -> Activation:
    """Make formulas of (namespace, y) functions of y; a bracket stands for a numerical inverse."""
    if "bracket" in formulas:
        bracket, f, df = formulas.pop("bracket"), formulas["sigma"], formulas["dsigma"]
        formulas["inverse"] = functools.partial(_solved, f, df, bracket)
    lifted = {key: lift(f, "z" if key == "inverse" else "y") for key, f in formulas.items()}
    return Activation(name, params, onto=onto, **lifted)


def _solved(f: Formula, df: Formula, bracket: Any, xp: Namespace, z: Array) -> Array:
    """Return the y at which f(y) = z, between the ends of its bracket."""
    return solve_increasing(xp, f, df, z, *bracket(xp, z))


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
    """sigma(y) = log(1 + e^y), onto (0, inf): for verification only.

    The published code offers softplus and elu. A model with them has mass below 1, and `fit` and
    `sample` refuse them. Their inverse is NaN outside their range.
    """
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
