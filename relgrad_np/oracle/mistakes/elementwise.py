"""Activations and base densities with functions that NumPy, torch and jax.numpy have in common.

For `formulas`, which predicts what a mistaken implementation returns. The forms are stable, and
share no code with the core. `xp` is the module whose functions work on the arrays.
"""

import math
from typing import Any

Array = Any


def positive(xp: Any, y: Array) -> Array:
    """Return max(y, 0)."""
    return (y + xp.abs(y)) / 2


def softplus(xp: Any, y: Array) -> Array:
    """Return log(1 + e^y)."""
    return positive(xp, y) + xp.log1p(xp.exp(-xp.abs(y)))


def logistic(xp: Any, y: Array) -> Array:
    """Return 1 / (1 + e^-y)."""
    t = xp.exp(-xp.abs(y))
    return xp.where(y > 0, 1 / (1 + t), t / (1 + t))


def bump(xp: Any, y: Array) -> Array:
    """Return 1 / cosh(y)^2."""
    t = xp.exp(-xp.abs(y))
    t = t * t
    return 4 * t / ((1 + t) * (1 + t))


def negative(xp: Any, y: Array) -> Array:
    """Return min(y, 0)."""
    return (y - xp.abs(y)) / 2


def sigma(xp: Any, act: Any, y: Array) -> Array:
    """Return the activation."""
    p = act.params
    if act.name == "smooth_leaky_relu":
        return p["alpha"] * y + (1 - p["alpha"]) * softplus(xp, y)
    if act.name == "leaky_tanh":
        return xp.tanh(p["alpha"] * y) + p["beta"] * y
    if act.name == "softplus":
        return softplus(xp, y)
    if act.name == "elu":
        return positive(xp, y) + p["alpha"] * xp.expm1(negative(xp, y))
    return y


def dsigma(xp: Any, act: Any, y: Array) -> Array:
    """Return its slope."""
    p = act.params
    if act.name == "smooth_leaky_relu":
        return p["alpha"] + (1 - p["alpha"]) * logistic(xp, y)
    if act.name == "leaky_tanh":
        return p["alpha"] * bump(xp, p["alpha"] * y) + p["beta"]
    if act.name == "softplus":
        return logistic(xp, y)
    if act.name == "elu":
        return xp.where(y > 0, xp.ones_like(y), p["alpha"] * xp.exp(negative(xp, y)))
    return xp.ones_like(y)


def log_dsigma(xp: Any, act: Any, y: Array) -> Array:
    """Return the log of its slope."""
    if act.name == "softplus":
        return -softplus(xp, -y)
    if act.name == "elu":
        log_a = math.log(act.params["alpha"])
        return xp.where(y > 0, xp.zeros_like(y), log_a + negative(xp, y))
    return xp.log(dsigma(xp, act, y))


def d2sigma(xp: Any, act: Any, y: Array) -> Array:
    """Return its second derivative."""
    return dlog_dsigma(xp, act, y) * dsigma(xp, act, y)


def dlog_dsigma(xp: Any, act: Any, y: Array) -> Array:
    """Return the derivative of the log of its slope."""
    p = act.params
    if act.name == "smooth_leaky_relu":
        s = logistic(xp, y) * logistic(xp, -y)
        return (1 - p["alpha"]) * s / dsigma(xp, act, y)
    if act.name == "leaky_tanh":
        a = p["alpha"]
        bend = -2 * a * a * xp.tanh(a * y) * bump(xp, a * y)
        return bend / dsigma(xp, act, y)
    if act.name == "softplus":
        return logistic(xp, -y)
    if act.name == "elu":
        return xp.where(y > 0, xp.zeros_like(y), xp.ones_like(y))
    return xp.zeros_like(y)


def inverse(xp: Any, act: Any, z: Array) -> Array:
    """Return the activation's inverse; a safeguarded Newton where there is no closed form."""
    p = act.params
    if act.name == "softplus":
        return z + xp.log(-xp.expm1(-z))
    if act.name == "elu":
        return xp.where(z > 0, z, xp.log1p(negative(xp, z) / p["alpha"]))
    if act.name == "identity":
        return z
    if act.name == "smooth_leaky_relu":
        c = (1 - p["alpha"]) * math.log(2)
        low = positive(xp, z - c) + negative(xp, z - c) / p["alpha"]
        high = positive(xp, z) + negative(xp, z) / p["alpha"]
    else:
        low, high = (z - 1) / p["beta"], (z + 1) / p["beta"]
    y = (low + high) / 2
    for i in range(46):  # every other step halves the bracket; Newton ends it
        excess = sigma(xp, act, y) - z
        low, high = xp.where(excess < 0, y, low), xp.where(excess > 0, y, high)
        step = y - excess / dsigma(xp, act, y)
        inside = (step >= low) & (step <= high)
        y = xp.where(inside, step, (low + high) / 2) if i % 2 or i > 40 else (low + high) / 2
    return y


def constant(dens: Any) -> float:
    """Return the log of the base density's normaliser."""
    if dens.name == "student_t":
        nu = dens.params["nu"]
        gammas = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)
        return gammas - math.log(nu * math.pi) / 2
    half = {"normal": math.log(2 * math.pi) / 2, "laplace": math.log(2), "sech": math.log(math.pi)}
    return -half.get(dens.name, 0.0)


def log_density(xp: Any, dens: Any, z: Array) -> Array:
    """Return log p."""
    size = xp.abs(z)
    if dens.name == "normal":
        return -z * z / 2 + constant(dens)
    if dens.name == "logistic":
        return -size - 2 * xp.log1p(xp.exp(-size))
    if dens.name == "sech":
        return math.log(2) - size - xp.log1p(xp.exp(-2 * size)) + constant(dens)
    if dens.name == "student_t":
        nu = dens.params["nu"]
        return constant(dens) - (nu + 1) / 2 * xp.log1p(z * z / nu)
    if dens.name == "laplace":
        return -size + constant(dens)
    raise ValueError(f"unknown density {dens.name!r}")


def score(xp: Any, dens: Any, z: Array) -> Array:
    """Return the derivative of log p."""
    if dens.name == "normal":
        return -z
    if dens.name == "logistic":
        return -xp.tanh(z / 2)
    if dens.name == "sech":
        return -xp.tanh(z)
    if dens.name == "student_t":
        nu = dens.params["nu"]
        return -(nu + 1) * z / (nu + z * z)
    if dens.name == "laplace":
        return -xp.sign(z)
    raise ValueError(f"unknown density {dens.name!r}")
