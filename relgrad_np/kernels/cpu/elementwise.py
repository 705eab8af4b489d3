"""Elementwise kernels: one sweep over Y gives sigma, its slope, the slope's log and derivative.

Branch-free, on polynomials that LLVM vectorises: the wheels of Numba have no vector library, so
that a call of `exp` in a loop would be made once an element. One exponential serves everything.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from ..constants import density_values
from .compile import INLINE, add, compiled, fma, inlined, powers_of_two, split_exponent

# float64 and float32: 1.5 2^mantissa, log2 e, log 2 in two parts, where exp is 0 for good
MAGIC64, MAGIC32 = 1.5 * 2.0**52, np.float32(1.5 * 2.0**23)
LOG2E64, LOG2E32 = 1 / math.log(2), np.float32(1 / math.log(2))
HIGH64, HIGH32 = 6.93147180369123816490e-01, np.float32(6.9314575195e-01)
LOW64, LOW32 = 1.90821492927058770002e-10, np.float32(1.4286067653e-06)
LEAST64, LEAST32 = -1000.0, np.float32(-150.0)
ONE32, TWO32, HALF32 = np.float32(1), np.float32(2), np.float32(0.5)
# r^-2 (e^r - 1 - r), the Taylor coefficients 1/2!, 1/3! ...: |r| <= log(2)/2
E64 = tuple(1 / math.factorial(j) for j in range(2, 14))
E32 = tuple(np.float32(1 / math.factorial(j)) for j in range(2, 8))
# log((1 + s)/(1 - s)) = 2 s + s R(s^2), minimax for |s| <= 3 - 2 sqrt(2) (as in FDLIBM's log)
L64 = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
    2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
    1.479819860511658591e-01,
)  # fmt: skip
L32 = tuple(np.float32(x) for x in (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841))


@inlined  # type: ignore[untyped-decorator]
def _exp64(x: Any) -> Any:
    x = LEAST64 if x < LEAST64 else x  # NaN stays
    shifted = x * LOG2E64 + MAGIC64
    k = shifted - MAGIC64
    r = (x - k * HIGH64) - k * LOW64
    q = E64[11]
    q = q * r + E64[10]
    q = q * r + E64[9]
    q = q * r + E64[8]
    q = q * r + E64[7]
    q = q * r + E64[6]
    q = q * r + E64[5]
    q = q * r + E64[4]
    q = q * r + E64[3]
    q = q * r + E64[2]
    q = q * r + E64[1]
    q = q * r + E64[0]
    p = r + r * r * q  # e^r - 1
    one, two = powers_of_two(shifted)
    return p, one, two


@inlined  # type: ignore[untyped-decorator]
def _exp32(x: Any) -> Any:
    x = LEAST32 if x < LEAST32 else x
    shifted = x * LOG2E32 + MAGIC32
    k = shifted - MAGIC32
    r = (x - k * HIGH32) - k * LOW32
    q = E32[5]
    q = q * r + E32[4]
    q = q * r + E32[3]
    q = q * r + E32[2]
    q = q * r + E32[1]
    q = q * r + E32[0]
    p = r + r * r * q
    one, two = powers_of_two(shifted)
    return p, one, two


@inlined  # type: ignore[untyped-decorator]
def _log64(high: Any, low: Any) -> Any:
    f, k, scale = split_exponent(high)
    r = (f - 1.0) + low * scale
    s = r / (2.0 + r)
    z = s * s
    w = z * z
    R = z * (L64[0] + w * (L64[2] + w * (L64[4] + w * L64[6])))
    R = R + w * (L64[1] + w * (L64[3] + w * L64[5]))
    half = 0.5 * r * r
    return k * HIGH64 - ((half - (s * (half + R) + k * LOW64)) - r)


@inlined  # type: ignore[untyped-decorator]
def _log32(high: Any, low: Any) -> Any:
    f, k, scale = split_exponent(high)
    r = (f - ONE32) + low * scale
    s = r / (TWO32 + r)
    z = s * s
    w = z * z
    R = z * (L32[0] + w * L32[2]) + w * (L32[1] + w * L32[3])
    half = HALF32 * r * r
    return k * HIGH32 - ((half - (s * (half + R) + k * LOW32)) - r)


def exp_parts(x: Any) -> Any:
    """Return p, a, b with e^x = (1 + p) a b for x <= 0: p = e^r - 1, a and b powers of two."""


def log_sum(high: Any, low: Any) -> Any:
    """Return log(high + low) for high > 0 normal, |low| <= ulp(high): the digits below count."""


@overload(exp_parts, inline="never", jit_options=INLINE | {"forceinline": True})
def _(x):  # type: ignore[no-untyped-def]  # Numba compares the names with the annotations
    return (lambda x: _exp32(x)) if x == types.float32 else (lambda x: _exp64(x))


@overload(log_sum, inline="never", jit_options=INLINE | {"forceinline": True})
def _(high, low):  # type: ignore[no-untyped-def]
    if high == types.float32:
        return lambda high, low: _log32(high, low)
    return lambda high, low: _log64(high, low)


@inlined  # type: ignore[untyped-decorator]
def leaky(y: Any, a: Any, a_low: Any, c: Any, c_off: Any, zero: Any, one: Any) -> Any:
    """Return sigma, sigma', log sigma', (log sigma')' of the smooth leaky ReLU; a + a_low = alpha.

    With t = e^-|y| and u = t / (1 + t), sigma' is 1 - c u for y > 0 and a + c u below: summed
    together with what its rounding drops, its log keeps all digits in both tails. There t may be
    subnormal where t / a is not: its powers of two are multiplied last.
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

    With t = e^(-2 alpha |y|): tanh = (1 - t) / (1 + t), its slope alpha 4 t / (1 + t)^2. What the
    rounding of 2 alpha |y| drops, it would lose t digit by digit in the tails, is put back; from
    |y| = most on t is 0.
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


@compiled
def activation_sweep(
    y: Any, code: Any, c: Any, sigma: Any, slope: Any, log_slope: Any, bend: Any
) -> Any:
    """Fill sigma, sigma', log sigma', (log sigma')' from y, all (n,); `activation_constants`.

    Two loops, because LLVM compares no more than a few pairs of addresses to be sure that arrays
    don't overlap, and makes no vectors where it would have to. The step needs the sum of the logs.
    """
    forward_sweep(y, code, c, sigma, slope, bend)
    c0, c1, c2, c3, c4 = c[0], c[1], c[2], c[3], c[4]
    zero, one = y.dtype.type(0), y.dtype.type(1)
    if code == 0:
        for i in range(y.shape[0]):
            _, _, log_slope[i], _ = leaky(y[i], c0, c1, c2, c3, zero, one)
    else:
        for i in range(y.shape[0]):
            _, _, log_slope[i], _ = tanh(y[i], c0, c1, c2, c3, c4, zero, one)


@inlined  # type: ignore[untyped-decorator]
def forward_sweep(y: Any, code: Any, c: Any, sigma: Any, slope: Any, bend: Any) -> Any:
    """Fill sigma, sigma', (log sigma')' from y, all (n,); return the sum of log sigma'."""
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
    """Logistic and sech: constant - |z| + times log(1 + t), -tanh; t = e^(factor |z|)."""
    p, power, power_2 = exp_parts(factor * abs(z))
    both = power * power_2
    t = (one + p) * power * power_2
    h = one + t
    tanh = ((one - both) - both * p) / h  # (1 - t) / (1 + t) without its cancellation
    tanh = -tanh if z > factor - factor else tanh
    return constant - abs(z) + times * log_sum(h, t - (h - one)), tanh


@inlined  # type: ignore[untyped-decorator]
def _student(z: Any, scale: Any, log_c: Any, power: Any, top: Any, zero: Any, one: Any) -> Any:
    """log(1 + r^2) = 2 log max(r, 1) + log1p(q^2), r = |z| / sqrt(nu), q = min(r, 1 / r)."""
    r = abs(z) * scale
    large = r if r > one else one
    q = one / large
    q = r if r < one else q
    qq = q * q
    h = one + qq
    logs = (one + one) * log_sum(large, zero) + log_sum(h, qq - (h - one)) + (r - r)
    ratio = top * q / h
    return log_c + power * logs, (-ratio if z > zero else ratio)


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
            log_p[i], score[i] = _student(z[i], c0, c1, c2, c3, zero, one)
    else:
        for i in range(n):
            log_p[i], score[i] = _tails(z[i], c0, c1, c2, one)


def activation_constants(name: str, params: dict[str, float], dtype: Any) -> tuple[int, Any]:
    """Return the code of an activation in `activation_sweep`, and its constants in the dtype.

    A number and what its rounding drops; for the leaky ReLU 1 - alpha and the relative error of
    that, for leaky_tanh the |y| from which on e^(-2 alpha |y|) is 0.

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


def density_constants(name: str, params: dict[str, float], dtype: Any) -> tuple[int, Any]:
    """Return the code of a density in `density_sweep`, and its constants in the dtype.

    >>> density_constants("laplace", {}, "float64")[0]
    2
    """
    code, values = density_values(name, params)
    return code, np.array(values, dtype)
