"""Elementwise kernels: one sweep over Y gives sigma, its slope, the slope's log and derivative.

Without branches, on the exp and log of `exp_log`. One exponential serves all four.
"""

from typing import Any

import numpy as np

from ..constants import density_values
from .compile import add, fma, inlined
from .exp_log import LEAST32, LEAST64, exp_parts, log_sum
from .stored import compiled


@inlined  # type: ignore[untyped-decorator]
def leaky(y: Any, a: Any, a_low: Any, c: Any, c_off: Any, zero: Any, one: Any) -> Any:
    """Return sigma, sigma', log sigma', (log sigma')' of the smooth leaky ReLU; a + a_low = alpha.

    With t = e^-|y| and u = t / (1 + t), sigma' is 1 - c u for y > 0 and a + c u for y < 0. Its log
    keeps all digits in both tails, because what the rounding of sigma' drops is added to it. In the
    tails t may be subnormal where t / a is not, so that its powers of two are multiplied last.
    """
    p, power, power_2 = exp_parts(-abs(y))
    m = one + p
    t = m * power * power_2
    h = one + t
    h_low = t - (h - one)
    sigma = a * y + c * ((y if y > zero else zero) + log_sum(h, h_low))
    u = t / h
    cu = c * u
    right = y > zero
    base = one if right else a
    term = -cu if right else cu
    slope = base + term
    part = slope - base
    low = (base - (slope - part)) + (term - part) + (zero if right else a_low)
    ratio = c * m / (h * h * slope)  # (log sigma')' / e^-|y|
    ratio = ratio - ratio * ((h_low + h_low) * (one - u) - c_off)  # h and c were rounded
    return sigma, slope, log_sum(slope, low), ratio * power * power_2


@inlined  # type: ignore[untyped-decorator]
def tanh(y: Any, a: Any, a_low: Any, b: Any, b_low: Any, most: Any, zero: Any, one: Any) -> Any:
    """Return sigma, sigma', log sigma', (log sigma')' of leaky_tanh; a + a_low = 2 alpha.

    With t = e^(-2 alpha |y|), tanh is (1 - t) / (1 + t) and its slope alpha 4 t / (1 + t)^2. What
    the rounding of 2 alpha |y| drops is put back: in the tails t would lose digit after digit. From
    |y| = most on, t is 0.
    """
    size = abs(y)
    size = most if size > most else size  # NaN stays
    x = a * size
    dropped = fma(a, size, -x) + a_low * size
    p, power, power_2 = exp_parts(-x)
    p = p - dropped * (one + p)
    both = power * power_2
    m = one + p
    t = m * power * power_2
    h = one + t
    value = ((one - both) - both * p) / h  # (1 - t) / (1 + t) without its cancellation
    two_a = a + a
    ratio = two_a * m / (h * h)
    bend = ratio * power * power_2
    slope = b + bend
    part = slope - b
    low = (b - (slope - part)) + (bend - part) + b_low
    fall = -a * value * (ratio / slope)
    h_low = (t - (h - one)) / h
    fall = fall + fall * ((a_low + a_low) / a - (h_low + h_low + h_low))  # a and h were rounded
    signed = -value if y < zero else value
    fall = (-fall if y < zero else fall) * power * power_2
    return signed + b * y, slope, log_sum(slope, low), fall


@inlined  # type: ignore[untyped-decorator]
def forward_sweep(y: Any, code: Any, c: Any, sigma: Any, slope: Any, bend: Any) -> Any:
    """Fill sigma, sigma', (log sigma')' from y, all (n,); return the sum of log sigma'.

    code, c: see `activation_constants`. No fourth array for the logs: LLVM compares no more than a
    few pairs of addresses to be sure that arrays don't overlap, and makes no vectors where it would
    have to.
    """
    c0, c1, c2, c3, c4 = c[0], c[1], c[2], c[3], c[4]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    total = zero
    if code == 0:
        for i in range(y.shape[0]):
            s, d, log_d, b = leaky(y[i], c0, c1, c2, c3, zero, one)
            sigma[i], slope[i], bend[i] = s, d, b
            total = add(total, log_d)
    else:
        for i in range(y.shape[0]):
            s, d, log_d, b = tanh(y[i], c0, c1, c2, c3, c4, zero, one)
            sigma[i], slope[i], bend[i] = s, d, b
            total = add(total, log_d)
    return total


@inlined  # type: ignore[untyped-decorator]
def _tails(z: Any, factor: Any, constant: Any, times: Any, one: Any) -> Any:
    """Return constant - |z| + times log(1 + t) and -tanh, t = e^(factor |z|): logistic, sech."""
    p, power, power_2 = exp_parts(factor * abs(z))
    both = power * power_2
    t = (one + p) * power * power_2
    h = one + t
    tanh = ((one - both) - both * p) / h  # (1 - t) / (1 + t) without its cancellation
    tanh = -tanh if z > factor - factor else tanh
    return constant - abs(z) + times * log_sum(h, t - (h - one)), tanh


@inlined  # type: ignore[untyped-decorator]
def _student(z: Any, scale: Any, log_c: Any, power: Any, top: Any, zero: Any, one: Any) -> Any:
    """Return log p and the score of Student's t.

    log(1 + r^2) = 2 log max(r, 1) + log1p(q^2), r = |z| / sqrt(nu), q = min(r, 1 / r).
    """
    r = abs(z) * scale
    large = r if r > one else one
    q = one / large
    q = r if r < one else q
    qq = q * q
    h = one + qq
    logs = (one + one) * log_sum(large, zero) + log_sum(h, qq - (h - one)) + (r - r)
    ratio = top * q / h
    return log_c + power * logs, (-ratio if z > zero else ratio)


@inlined  # type: ignore[untyped-decorator]
def _quartic(z: Any, edge: Any, log_c: Any, quarter: Any, half_3: Any, zero: Any) -> Any:
    """Return log p and the score of the quartic; edge = 2, quarter = 1/4, half_3 = 3/2.

    With b = min(|z|, 2), r = |z| - b: b^4 / 4 + r (b^3 + 3/2 b^2 r), and b^3 + 3 b^2 r.
    """
    size = abs(z)
    b = size if size < edge else edge
    r = size - b  # NaN stays
    q = b * b
    fall = q * (b + (half_3 + half_3) * r)
    energy = quarter * q * q + r * (q * b + half_3 * q * r)
    return log_c - energy, (-fall if z > zero else fall)


@compiled
def density_sweep(z: Any, code: Any, c: Any, log_p: Any, score: Any) -> Any:
    """Fill log p and its score from z, all (n,); code, c: `density_constants`."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    c0, c1, c2, c3 = c[0], c[1], c[2], c[3]
    n = z.shape[0]
    if code == 0:
        for i in range(n):
            log_p[i], score[i] = c0 * z[i] * z[i] + c1, -z[i]
    elif code == 2:
        for i in range(n):
            x = z[i]
            log_p[i] = c1 - abs(x)
            score[i] = -one if x > zero else (one if x < zero else x)
    elif code == 4:
        for i in range(n):
            log_p[i], score[i] = _quartic(z[i], c0, c1, c2, c3, zero)
    elif code == 5:
        for i in range(n):
            log_p[i], score[i] = _student(z[i], c0, c1, c2, c3, zero, one)
    else:
        for i in range(n):
            log_p[i], score[i] = _tails(z[i], c0, c1, c2, one)


@inlined  # type: ignore[untyped-decorator]
def multivariate_t(z: Any, c: Any, log_p: Any, score: Any) -> Any:
    """Fill a row's log p, in its first entry, and its score from z (D,): Student's t of |z|."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    unit = one
    for i in range(z.shape[0]):
        unit = max(unit, abs(z[i]))  # no square overflows
    square = zero
    for i in range(z.shape[0]):
        x = z[i] / unit
        square = add(square, x * x)
        log_p[i] = zero
    radius = unit * np.sqrt(square)
    log_p[0], ratio = _student(radius, c[0], c[1], c[2], c[3], zero, one)
    slope = ratio / radius if radius > zero else radius
    for i in range(z.shape[0]):
        score[i] = slope * z[i]


def activation_constants(name: str, params: dict[str, float], dtype: Any) -> tuple[int, Any]:
    """Return the code of an activation in `forward_sweep`, and its constants in the dtype.

    For the leaky ReLU: alpha and what its rounding drops, 1 - alpha and the relative error of its
    rounding. For leaky_tanh: 2 alpha and beta, each with what its rounding drops, and the |y| from
    which on e^(-2 alpha |y|) is 0.

    >>> activation_constants("smooth_leaky_relu", {"alpha": 0.5}, "float32")
    (0, array([0.5, 0. , 0.5, 0. , 0. ], dtype=float32))
    """
    real = np.dtype(dtype).type
    if name == "leaky_tanh":
        a, b = 2 * params["alpha"], params["beta"]
        least = LEAST32 if real is np.float32 else LEAST64
        values = (a, a - float(real(a)), b, b - float(real(b)), -float(least) / a)
        return 1, np.array(values, dtype)
    alpha = params.get("alpha", 1.0)
    c = float(real(1 - alpha))
    off = (1 - alpha) / c - 1 if c else 0.0
    return 0, np.array([alpha, alpha - float(real(alpha)), c, off, 0.0], dtype)


def density_constants(
    name: str, params: dict[str, float], dtype: Any, D: int = 1
) -> tuple[int, Any]:
    """Return the code of a density in `density_sweep`, and its constants in the dtype.

    >>> density_constants("laplace", {}, "float64")[0]
    2
    """
    code, values = density_values(name, params, D)
    return code, np.array(values, dtype)
