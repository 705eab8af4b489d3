"""One pass of linear ICA over all rows, compiled: one exponential an output, few logarithms.

What a point of `fitting.newton` needs of u = C z, y = u + m: sums over rows of each unit, and the
sums of psi_i(y_i) u_j, where psi = -score. Rows come in blocks (B, D, n), so that what is worked on
stays in a cache, and the numbers of a unit lie side by side.
"""

from typing import Any

import numpy as np

from .compile import add, gemm, gemm_address, inlined, pointer
from .exp_log import exp_parts, log_sum
from .stored import compiled

LANES = 64  # products of 1 + e, before their logarithms are taken
SUMS = 7  # log cosh y + log 2 or the quartic's, tanh y, psi, psi^2, psi', psi' u, psi' u^2


@inlined  # type: ignore[untyped-decorator]
def _family(u: Any, n: Any, m: Any, theta: Any, psi: Any, lanes: Any) -> Any:
    """Fill psi, (n,), of the exponential family `theta`, (4,), and return its sums, 7.

    With e = exp(-2 |y|): log cosh y = |y| + log(1 + e) - log 2, and a sum of logarithms is that of
    the product.
    """
    zero, one = u.dtype.type(0), u.dtype.type(1)
    a, b, c, d = theta[0], theta[1], theta[2], theta[3]
    two_d = d + d
    s0, s1, s2, s3, s4, s5, s6 = zero, zero, zero, zero, zero, zero, zero
    for i in range(LANES):
        lanes[i] = one
    j = 0
    while j < n:
        for i in range(min(LANES, n - j)):
            x = u[j + i]
            y = x + m
            size = abs(y)
            p, power, power_2 = exp_parts(-(size + size))
            h = one + (one + p) * power * power_2
            r = one / h
            t = (r + r) - one
            t = -t if y < zero else t
            q = t * t
            lanes[i] = lanes[i] * h
            value = a + b * y + c * t + d * q
            slope = b + (one - q) * (c + two_d * t)
            bent = slope * x
            s0, s1, s2 = add(s0, size), add(s1, t), add(s2, value)
            s3, s4 = add(s3, value * value), add(s4, slope)
            s5, s6 = add(s5, bent), add(s6, bent * x)
            psi[j + i] = value
        j += LANES
    for i in range(LANES):
        s0 = add(s0, log_sum(lanes[i], zero))
    return s0, s1, s2, s3, s4, s5, s6


@inlined  # type: ignore[untyped-decorator]
def _quartic(u: Any, n: Any, m: Any, psi: Any) -> Any:
    """Fill psi of the density "quartic", and return its sums; the second of them is not used."""
    zero, one = u.dtype.type(0), u.dtype.type(1)
    two = one + one
    three, half = two + one, one / two
    quarter = half / two
    s0, s2, s3, s4, s5, s6 = zero, zero, zero, zero, zero, zero
    for j in range(n):
        x = u[j]
        y = x + m
        size = abs(y)
        b = size if size < two else two
        r = size - b
        square = b * b
        slope, cube = three * square, square * b
        value = cube + slope * r
        s0 = add(s0, quarter * square * square + r * (cube + half * slope * r))
        value = -value if y < zero else value
        bent = slope * x
        s2, s3, s4 = add(s2, value), add(s3, value * value), add(s4, slope)
        s5, s6 = add(s5, bent), add(s6, bent * x)
        psi[j] = value
    return s0, zero, s2, s3, s4, s5, s6


@compiled
def ica_pass(
    blas: Any, Z: Any, last: Any, C: Any, m: Any, quartic: Any, theta: Any, scratch: Any,
    sums: Any, products: Any,
) -> Any:  # fmt: skip
    """Fill the sums, (7, D) float64, and the sums of psi_i u_j, `products` (D, D) float64.

    Parameters
    ----------
    blas : the address of ?gemm
    Z : (B, D, n), n at most 64 LANES: the rows in blocks; of the last block `last` rows count, and
        the others are 0
    C, m : (D, D), (D,)
    quartic, theta : (D,) bool, (D, 4): the density of each unit
    scratch : (2 D + 1, max(n, LANES, D)), free after the pass

    """
    B, D, n = Z.shape
    zero, one = Z.dtype.type(0), Z.dtype.type(1)
    flat = scratch.reshape(scratch.size)
    U, psi = flat[: D * n].reshape((D, n)), flat[D * n : 2 * D * n].reshape((D, n))
    lanes, block = scratch[2 * D], np.zeros((D, D), Z.dtype)
    sums[:] = 0
    products[:] = 0
    for k in range(B):
        count = last if k == B - 1 else n
        gemm(blas, (D, n, D), one, pointer(C), False, pointer(Z[k]), False, zero, pointer(U))
        for i in range(D):
            if quartic[i]:
                part = _quartic(U[i], count, m[i], psi[i])
            else:
                part = _family(U[i], count, m[i], theta[i], psi[i], lanes)
            for j in range(SUMS):
                sums[j, i] += part[j]
            for j in range(count, n):
                psi[i, j] = zero
        gemm(blas, (D, D, n), one, pointer(psi), False, pointer(U), True, zero, pointer(block))
        for i in range(D):
            for j in range(D):
                products[i, j] += block[i, j]


def measured(
    Z: Any, last: int, C: Any, m: Any, quartic: Any, theta: Any, scratch: Any
) -> tuple[Any, Any]:
    """Return the sums (7, D) and products (D, D) of `ica_pass`; C, m, theta of any dtype."""
    D = len(m)
    sums, products = np.empty((SUMS, D)), np.empty((D, D))
    C, m, theta = (np.ascontiguousarray(x, Z.dtype) for x in (C, m, theta))
    ica_pass(gemm_address(Z.dtype), Z, last, C, m, quartic, theta, scratch, sums, products)
    return sums, products
