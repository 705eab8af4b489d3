"""Activations and base densities with functions that NumPy, torch and jax.numpy have in common.

For `formulas`, which predicts what a mistaken implementation returns. The forms are stable, and
share no code with the core. `xp` is the module whose functions work on the arrays. A `part` is one
of the user's own, and has its functions with it.
"""

import math
from typing import Any

import numpy as np

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
    if act.part is not None:
        return act.part.sigma(y)
    p = act.params
    if act.name == "smooth_leaky_relu":
        return p["alpha"] * y + (1 - p["alpha"]) * softplus(xp, y)
    if act.name == "leaky_tanh":
        return xp.tanh(p["alpha"] * y) + p["beta"] * y
    if act.name == "softplus":
        return softplus(xp, y)
    if act.name == "elu":
        return positive(xp, y) + p["alpha"] * xp.expm1(negative(xp, y))
    if act.name == "leaky_relu":
        return positive(xp, y) + p["alpha"] * negative(xp, y)
    if act.name == "tanh_affine":
        return p["alpha"] * y + (1 - p["alpha"]) * xp.tanh(y)
    if act.name == "asinh":
        return xp.asinh(y)
    return y


def dsigma(xp: Any, act: Any, y: Array) -> Array:
    """Return its slope."""
    if act.part is not None:
        return act.part.dsigma(y)
    p = act.params
    if act.name == "smooth_leaky_relu":
        return p["alpha"] + (1 - p["alpha"]) * logistic(xp, y)
    if act.name == "leaky_tanh":
        return p["alpha"] * bump(xp, p["alpha"] * y) + p["beta"]
    if act.name == "softplus":
        return logistic(xp, y)
    if act.name == "elu":
        return xp.where(y > 0, xp.ones_like(y), p["alpha"] * xp.exp(negative(xp, y)))
    if act.name == "leaky_relu":
        return xp.where(y > 0, xp.ones_like(y), p["alpha"] * xp.ones_like(y))
    if act.name == "tanh_affine":
        return p["alpha"] + (1 - p["alpha"]) * bump(xp, y)
    if act.name == "asinh":
        return 1 / xp.hypot(xp.ones_like(y), y)
    return xp.ones_like(y)


def log_dsigma(xp: Any, act: Any, y: Array) -> Array:
    """Return the log of its slope."""
    if act.part is not None:
        return act.part.log_dsigma(y)
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
    if act.part is not None:
        return act.part.dlog_dsigma(y)
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
    if act.name == "tanh_affine":
        return -2 * (1 - p["alpha"]) * xp.tanh(y) * bump(xp, y) / dsigma(xp, act, y)
    if act.name == "asinh":
        return -y / (1 + y * y)
    return xp.zeros_like(y)


def inverse(xp: Any, act: Any, z: Array) -> Array:
    """Return the activation's inverse; a safeguarded Newton where there is no closed form."""
    if act.part is not None:
        return act.part.inverse(z)
    p = act.params
    if act.name == "softplus":
        return z + xp.log(-xp.expm1(-z))
    if act.name == "elu":
        return xp.where(z > 0, z, xp.log1p(negative(xp, z) / p["alpha"]))
    if act.name == "leaky_relu":
        return positive(xp, z) + negative(xp, z) / p["alpha"]
    if act.name == "asinh":
        return xp.sinh(z)
    if act.name == "identity":
        return z
    if act.name == "smooth_leaky_relu":
        c = (1 - p["alpha"]) * math.log(2)
        low = positive(xp, z - c) + negative(xp, z - c) / p["alpha"]
        high = positive(xp, z) + negative(xp, z) / p["alpha"]
    else:
        slope = p["beta"] if act.name == "leaky_tanh" else p["alpha"]
        low, high = (z - 1) / slope, (z + 1) / slope
    y = (low + high) / 2
    for i in range(46):  # every other step halves the bracket; Newton ends it
        excess = sigma(xp, act, y) - z
        low, high = xp.where(excess < 0, y, low), xp.where(excess > 0, y, high)
        step = y - excess / dsigma(xp, act, y)
        inside = (step >= low) & (step <= high)
        y = xp.where(inside, step, (low + high) / 2) if i % 2 or i > 40 else (low + high) / 2
    return y


def constant(dens: Any) -> float:
    """Return log p(0): the constant that log p lacks where a base is not normalised."""
    if dens.name == "student_t":
        nu = dens.params["nu"]
        gammas = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2)
        return gammas - math.log(nu * math.pi) / 2
    if dens.name == "generalized_gaussian":
        rho = dens.params["rho"]
        return math.log(rho / 2) - math.lgamma(1 / rho)
    known = {
        "normal": -math.log(2 * math.pi) / 2,
        "laplace": -math.log(2),
        "sech": -math.log(math.pi),
        "logistic": -2 * math.log(2),
        "quartic": -math.log(2.563728907129322579849743582138),
    }
    return known[dens.name] if dens.name in known else float(log_density(np, dens, np.zeros(1))[0])


def log_density(xp: Any, dens: Any, z: Array) -> Array:
    """Return log p."""
    if dens.part is not None:
        return dens.part.log_prob(z)
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
    if dens.name == "generalized_gaussian":
        return constant(dens) - size ** dens.params["rho"]
    if dens.name == "logistic_mixture":
        return xp.logaddexp(*_components(xp, dens, z))
    if dens.name == "quartic":
        far = positive(xp, size - 2)
        near = size - far  # min(|z|, 2)
        return constant(dens) - (near**4 / 4 + 8 * far + 6 * far * far)
    raise ValueError(f"unknown density {dens.name!r}")


def score(xp: Any, dens: Any, z: Array) -> Array:
    """Return the derivative of log p."""
    if dens.part is not None:
        return dens.part.score(z)
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
    if dens.name == "generalized_gaussian":
        rho = dens.params["rho"]
        return -rho * xp.sign(z) * xp.abs(z) ** (rho - 1)
    if dens.name == "logistic_mixture":
        one, two = _components(xp, dens, z)
        m, s = dens.params["m"], dens.params["s"]
        share = xp.exp(two - xp.logaddexp(one, two))
        return -(1 - share) * xp.tanh(z / 2) - share * xp.tanh((z - m) / s / 2) / s
    if dens.name == "quartic":
        far = positive(xp, xp.abs(z) - 2)
        return -xp.sign(z) * ((xp.abs(z) - far) ** 3 + 12 * far)
    raise ValueError(f"unknown density {dens.name!r}")


def _components(xp: Any, dens: Any, z: Array) -> tuple[Array, Array]:
    """Return the logs of the two terms of a mixture of logistic densities."""
    w, m, s = (dens.params[key] for key in ("w", "m", "s"))
    one, two = xp.abs(z), xp.abs((z - m) / s)
    one, two = (-t - 2 * xp.log1p(xp.exp(-t)) for t in (one, two))
    return one + math.log(1 - w), two + math.log(w / s)
