"""Activations and base densities in 60-digit arithmetic, from their definitions.

No stable forms, for there are digits enough; derivatives by differencing.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from .exact import Number, ctx


def sigma(activation: Any, y: Number) -> Number:
    """Return sigma(y), from its definition.

    >>> from relgrad_np.oracle.truths.records import Spec
    >>> ctx.nstr(sigma(Spec("smooth_leaky_relu", {"alpha": 0.5}), ctx.mpf(0)), 5)
    '0.34657'
    """
    if activation.part is not None:
        return activation.part.sigma.formula(MPMATH, y)
    p = {key: ctx.mpf(value) for key, value in activation.params.items()}
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
    if activation.name == "leaky_relu":
        return y if y > 0 else p["alpha"] * y
    if activation.name == "tanh_affine":
        return p["alpha"] * y + (1 - p["alpha"]) * ctx.tanh(y)
    if activation.name == "asinh":
        return ctx.asinh(y)
    raise ValueError(f"unknown activation {activation.name!r}")


def log_density(density: Any, z: Number) -> Number:
    """Return log p(z), from the definition.

    >>> from relgrad_np.oracle.truths.records import Spec
    >>> ctx.exp(log_density(Spec("laplace", {}), ctx.mpf(0)))
    mpf('0.5')
    """
    if density.part is not None:
        return density.part.log_prob.formula(MPMATH, z)
    p = {key: ctx.mpf(value) for key, value in density.params.items()}
    if density.name == "normal":
        return -z * z / 2 - ctx.log(2 * ctx.pi) / 2
    if density.name == "logistic":
        return -z - 2 * ctx.log(1 + ctx.exp(-z))
    if density.name == "laplace":
        return -abs(z) - ctx.log(2)
    if density.name == "sech":
        return -ctx.log(ctx.pi * ctx.cosh(z))
    if density.name == "student_t":
        nu = p["nu"]
        return _log_constant("student_t", nu) - (nu + 1) / 2 * ctx.log(1 + z * z / nu)
    if density.name == "generalized_gaussian":
        return _log_constant("generalized_gaussian", p["rho"]) - abs(z) ** p["rho"]
    if density.name == "logistic_mixture":  # of z, and of (z - m) / s with the weight w
        w, m, s = p["w"], p["m"], p["s"]
        one, two = (ctx.exp(-t) / (1 + ctx.exp(-t)) ** 2 for t in (z, (z - m) / s))
        return ctx.log((1 - w) * one + w / s * two)
    if density.name == "quartic":
        size = abs(z)
        parabola = 4 + 8 * (size - 2) + 6 * (size - 2) ** 2
        return -(size**4 / 4 if size <= 2 else parabola) + _log_constant("quartic", ctx.zero)
    raise ValueError(f"unknown density {density.name!r}")


@cache
def _log_constant(name: str, t: Number) -> Number:
    """Return the log of a normaliser, to 90 digits: in differences it cancels exactly."""
    with ctx.workdps(90):
        if name == "student_t":
            return ctx.log(ctx.gamma((t + 1) / 2) / ctx.gamma(t / 2) / ctx.sqrt(t * ctx.pi))
        if name == "generalized_gaussian":
            return ctx.log(t / 2 / ctx.gamma(1 / t))
        inner = ctx.quad(lambda t: ctx.exp(-(t**4) / 4), [0, 0.5, 1, 1.5, 2])
        root = ctx.sqrt(ctx.mpf(6))  # 4 + 8 u + 6 u^2 = 6 (u + 2/3)^2 + 4/3
        outer = ctx.sqrt(ctx.pi) / 2 / root * ctx.erfc(2 * root / 3) * ctx.exp(-ctx.mpf(4) / 3)
        return -ctx.log(2 * (inner + outer))


OTHER_NAMES = {"abs": "fabs", "arcsinh": "asinh", "arctan": "atan"}
ELEMENTWISE = (
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "cos", "cosh",
    "exp", "expm1", "floor", "hypot", "log", "log10", "log1p", "logaddexp", "maximum", "minimum",
    "sign", "sin", "sinh", "sqrt", "tan", "tanh",
)  # fmt: skip
FUNCTIONS = (*ELEMENTWISE, "where", "asarray", "ones_like", "zeros_like", "full_like")


class _Mpmath:
    """The functions of an array library for one number, with which parts of your own are run.

    >>> import numpy as np
    >>> two = {"atan2", "hypot", "logaddexp", "maximum", "minimum"}
    >>> numbers = {name: (1.5, 0.25) if name in two else (0.25,) for name in ELEMENTWISE}
    >>> numbers["acosh"] = (1.5,)
    >>> for name, x in numbers.items():
    ...     found = getattr(MPMATH, name)(*map(ctx.mpf, x))
    ...     assert np.isclose(float(found), getattr(np, name)(*x), rtol=1e-15), name
    >>> MPMATH.square
    Traceback (most recent call last):
    ValueError: `xp.square` can't be run in 60 digits; these can: abs, acos, acosh, ...
    """

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in ("float32", "float64"):
            return ctx.mpf
        found = getattr(ctx, OTHER_NAMES.get(name, name), None)
        if found is None:
            known = ", ".join(FUNCTIONS)
            raise ValueError(f"`xp.{name}` can't be run in 60 digits; these can: {known}")
        return found

    where = staticmethod(lambda condition, x, y: ctx.mpf(x) if condition else ctx.mpf(y))
    ones_like = staticmethod(lambda y: ctx.mpf(1))
    zeros_like = staticmethod(lambda y: ctx.mpf(0))
    full_like = staticmethod(lambda y, value: ctx.mpf(value))
    asarray = staticmethod(lambda y, dtype=None: ctx.mpf(y))
    minimum = staticmethod(lambda x, y: ctx.mpf(min(x, y)))
    maximum = staticmethod(lambda x, y: ctx.mpf(max(x, y)))
    logaddexp = staticmethod(lambda x, y: ctx.log(ctx.exp(x) + ctx.exp(y)))


MPMATH = _Mpmath()


def derivative(f: Callable[[Number], Number], y: Number) -> Number:
    """Return f'(y) by a central difference with digits to spare; may be nested once.

    The step is 2^-200, so its error is about 10^-120. Each of two differences loses 60 digits, and
    a tail such as e^-|y| beside 1 less than |y| / 2.

    >>> ctx.nstr(derivative(lambda y: y**3, ctx.mpf(2)), 20)
    '12.0'
    """
    with ctx.workdps(_digits(y)):
        h = ctx.mpf(2) ** -200
        return (f(y + h) - f(y - h)) / (2 * h)


def _digits(y: Number) -> int:
    return 240 + int(abs(y))


def dsigma(activation: Any, y: Number) -> Number:
    """Return sigma'(y)."""
    return derivative(lambda t: sigma(activation, t), y)


def log_dsigma(activation: Any, y: Number) -> Number:
    """Return log sigma'(y)."""
    with ctx.workdps(_digits(y)):
        return ctx.log(dsigma(activation, y))


def dlog_dsigma(activation: Any, y: Number) -> Number:
    """Return (log sigma')'(y)."""
    return derivative(lambda t: log_dsigma(activation, t), y)


def score(density: Any, z: Number) -> Number:
    """Return (log p)'(z)."""
    return derivative(lambda t: log_density(density, t), z)
