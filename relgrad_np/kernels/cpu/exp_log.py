"""exp and log as polynomials that LLVM vectorises.

Numba's wheels have no vector library, so that a loop would call the C library's exp once for each
element.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from .compile import INLINE, inlined, powers_of_two, split_exponent

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
