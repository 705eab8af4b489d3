"""Activations and base densities in 60-digit arithmetic, from their definitions.

No stable forms, for there are digits enough; derivatives by differencing.
"""

from collections.abc import Callable
from typing import Any

from .exact import Number, ctx


def sigma(activation: Any, y: Number) -> Number:
    """Return sigma(y), from its definition.

    >>> from relgrad_np.oracle.truths.records import Spec
    >>> ctx.nstr(sigma(Spec("smooth_leaky_relu", {"alpha": 0.5}), ctx.mpf(0)), 5)
    '0.34657'
    """
    p = activation.params
    if activation.name == "smooth_leaky_relu":
        return p["alpha"] * y + (1 - p["alpha"]) * ctx.log(1 + ctx.exp(y))
    if activation.name == "leaky_tanh":
        return ctx.tanh(p["alpha"] * y) + p["beta"] * y
    if activation.name == "identity":
        return y
    if activation.name == "softplus":
        return ctx.log(1 + ctx.exp(y))
    if activation.name == "elu":
        return y if y > 0 else p["alpha"] * (ctx.exp(y) - 1)
    raise ValueError(f"unknown activation {activation.name!r}")


def log_density(density: Any, z: Number) -> Number:
    """Return log p(z), from the definition.

    >>> from relgrad_np.oracle.truths.records import Spec
    >>> ctx.exp(log_density(Spec("laplace", {}), ctx.mpf(0)))
    mpf('0.5')
    """
    if density.name == "normal":
        return -z * z / 2 - ctx.log(2 * ctx.pi) / 2
    if density.name == "logistic":
        return -z - 2 * ctx.log(1 + ctx.exp(-z))
    if density.name == "laplace":
        return -abs(z) - ctx.log(2)
    if density.name == "sech":
        return -ctx.log(ctx.pi * ctx.cosh(z))
    if density.name == "student_t":
        nu = ctx.mpf(density.params["nu"])
        c = ctx.gamma((nu + 1) / 2) / ctx.gamma(nu / 2) / ctx.sqrt(nu * ctx.pi)
        return ctx.log(c) - (nu + 1) / 2 * ctx.log(1 + z * z / nu)
    raise ValueError(f"unknown density {density.name!r}")


def derivative(f: Callable[[Number], Number], y: Number) -> Number:
    """Return f'(y) by a central difference with digits to spare; may be nested once.

    >>> ctx.nstr(derivative(lambda y: y**3, ctx.mpf(2)), 20)
    '12.0'
    """
    digits = 100 + int(abs(y))
    with ctx.workdps(3 * digits):
        h = ctx.mpf(10) ** -digits
        return (f(y + h) - f(y - h)) / (2 * h)


def dsigma(activation: Any, y: Number) -> Number:
    """Return sigma'(y)."""
    return derivative(lambda t: sigma(activation, t), y)


def log_dsigma(activation: Any, y: Number) -> Number:
    """Return log sigma'(y)."""
    with ctx.workdps(3 * (100 + int(abs(y)))):
        return ctx.log(dsigma(activation, y))


def dlog_dsigma(activation: Any, y: Number) -> Number:
    """Return (log sigma')'(y)."""
    return derivative(lambda t: log_dsigma(activation, t), y)


def score(density: Any, z: Number) -> Number:
    """Return (log p)'(z)."""
    return derivative(lambda t: log_density(density, t), z)
