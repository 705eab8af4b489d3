"""Activations sigma: smooth, strictly increasing, elementwise; each with the log of its slope.

sigma acts forward, log sigma' is the term L_J1, (log sigma')' what backpropagation adds for it.
With exp(-|y|) alone no exponential overflows, and the formulas keep their digits for every y.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ._arguments import build, number
from ._array import Array, Formula, Namespace, lift
from ._numerics import log1pexp, logistic, solve_increasing


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
    from .other_activations import elu, leaky_tanh, softplus

    makers = (smooth_leaky_relu, leaky_tanh, identity, softplus, elu)
    return build("activation", name, {f.__name__: f for f in makers}, params)  # type: ignore[no-any-return]


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
        formulas["inverse"] = lambda xp, z: solve_increasing(xp, f, df, z, *bracket(xp, z))
    lifted = {key: lift(f, "z" if key == "inverse" else "y") for key, f in formulas.items()}
    return Activation(name, params, onto=onto, **lifted)
