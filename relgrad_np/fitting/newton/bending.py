"""What a pass asks of the activation: outputs, slopes, and what backpropagation adds for them.

The four of smooth_leaky_relu and leaky_tanh are made of one exponential; see `test_newton.py` for
the comparison with the activation's own functions, which serve everywhere else.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from ...core.activations import Activation, activation
from ...core.arrays import Array, namespace
from .elementwise import log_product, made_here


class Bent(NamedTuple):
    """Of outputs Y (n, D): sigma (n, D), sum_i log sigma' (n,), sigma' and (log sigma')', (n, D).

    >>> Bent("z", "total", "slope", "change").total
    'total'
    """

    z: Array
    total: Array
    slope: Array
    change: Array


def bending(of: Activation) -> Callable[[Array], Bent]:
    """Return the function of Y (n, D) that gives all of it.

    >>> import numpy as np
    >>> bending(activation("leaky_tanh"))(np.zeros((1, 2))).slope
    array([[1.1, 1.1]])
    """
    fields = (of.sigma, of.dsigma, of.log_dsigma, of.dlog_dsigma)
    if made_here(activation, of.name, fields):
        if of.name == "smooth_leaky_relu":
            return _leaky(**of.params)
        if of.name == "leaky_tanh":
            return _tanh(**of.params)

    def separate(Y: Array) -> Bent:
        xp = namespace(Y, "Y")
        total = xp.sum(of.log_dsigma(Y), axis=1)
        return Bent(of.sigma(Y), total, of.dsigma(Y), of.dlog_dsigma(Y))

    return separate


def _leaky(alpha: float) -> Callable[[Array], Bent]:
    """Return that of sigma(y) = alpha y + (1 - alpha) log(1 + e^y), with e = exp(-|y|)."""
    c = 1 - alpha

    def fused(Y: Array) -> Bent:
        xp = namespace(Y, "Y")
        e = xp.exp(-xp.abs(Y))  # (n, D)
        part = 1 / (1 + e)
        low = e * part  # the smaller of logistic(y) and logistic(-y)
        slope = alpha + c * xp.where(Y > 0, part, low)
        change = c * (part * low) / slope
        z = xp.maximum(Y, alpha * Y) + c * xp.log1p(e)
        return Bent(z, log_product(xp, slope, abs(math.log2(alpha))), slope, change)

    return fused


def _tanh(alpha: float, beta: float) -> Callable[[Array], Bent]:
    """Return that of sigma(y) = tanh(alpha y) + beta y, with e = exp(-2 alpha |y|)."""
    largest = max(abs(math.log2(beta)), abs(math.log2(alpha + beta)))

    def fused(Y: Array) -> Bent:
        xp = namespace(Y, "Y")
        size = xp.abs(Y)
        e = xp.exp((-2 * alpha) * size)  # (n, D)
        part = 1 / (1 + e)
        t = xp.sign(Y) * ((1 - e) * part)  # tanh(alpha y)
        bend = (4 * alpha) * (e * part) * part  # alpha (1 - t^2)
        slope = bend + beta
        change = (-2 * alpha) * t * bend / slope
        return Bent(t + beta * Y, log_product(xp, slope, largest), slope, change)

    return fused
