"""Adam, fused with the product that makes R: W, m and v are read and written once, block by block.

At small N such a step is memory traffic and nothing else.
"""

from typing import Any

import numpy as np

from .compile import add, compiled, gemm, inlined, matrix, place
from .passes import product

BLOCK = 1 << 16  # numbers of R made at a time: with W, m and v they stay in the cache


@compiled
def backward(
    address: Any, W: Any, B: Any, YD: Any, P: Any, S: Any, T: Any, share: Any, u: Any, sizes: Any
) -> Any:
    """Fill the Deltas, P and u; sizes (L,) >= |Delta.T @ A| elementwise, NaN if not finite."""
    L, _, N, D = YD.shape
    zero, one = YD.dtype.type(0), YD.dtype.type(1)
    for k in range(L - 1, -1, -1):
        product(address, W, YD, P, S, T, share, k)
        most_Delta, most_A, check = zero, zero, zero
        for n in range(N):
            y, delta, a, b, total = YD[k, 0, n], YD[k, 1, n], P[k, 0, n], B[k], zero
            for i in range(D):
                total = add(total, y[i] * b[i])
                check = add(check, zero * a[i] + zero * delta[i])
                most_Delta, most_A = max(most_Delta, abs(delta[i])), max(most_A, abs(a[i]))
            u[k, n] = total + one
            check += zero * u[k, n]
        sizes[k] = np.float64(N) * most_Delta * most_A + np.float64(check)


@inlined  # type: ignore[untyped-decorator]
def _move(p: Any, r: Any, m: Any, v: Any, c: Any, own: Any) -> Any:
    """One step on flat arrays; the gradient is r + own p. Return the sum of its squares.

    c: beta1, 1 - beta1, beta2, 1 - beta2, rate / (1 - beta1^tick), 1 / (1 - beta2^tick), epsilon.
    """
    c0, c1, c2, c3, c4, c5, c6 = c[0], c[1], c[2], c[3], c[4], c[5], c[6]
    total = c0 - c0
    for i in range(p.shape[0]):
        g = r[i] + own * p[i]
        m_i = c0 * m[i] + c1 * g
        v_i = c2 * v[i] + c3 * g * g
        m[i], v[i] = m_i, v_i
        p[i] = p[i] + c4 * m_i / (np.sqrt(v_i * c5) + c6)
        total = add(total, g * g)
    return total


@compiled
def adam(
    address: Any, W: Any, m: Any, v: Any, b: Any, m_b: Any, v_b: Any, Delta: Any, A: Any, u: Any,
    c: Any, own: Any,
) -> Any:  # fmt: skip
    """One layer's step in place; W, m, v addresses; own b is added to R_b. Return |R_W|_F."""
    N, D = Delta.shape
    zero, one = Delta.dtype.type(0), Delta.dtype.type(1)
    size = min(D, max(1, BLOCK // D))
    R, square = np.empty((size, D), Delta.dtype), 0.0
    weights, means, squares = (
        matrix(W, Delta, D, D), matrix(m, Delta, D, D), matrix(v, Delta, D, D),
    )  # fmt: skip
    R_b = np.zeros(D, Delta.dtype)
    for n in range(N):
        row, x = Delta[n], u[n]
        for i in range(D):
            R_b[i] += row[i] * x
    for start in range(0, D, size):
        stop = min(D, start + size)
        columns = (np.intp(Delta.ctypes.data) + start * Delta.itemsize, D)
        gemm(address, (stop - start, D, N), one, columns, True, place(A), False, zero, place(R))
        for i in range(start, stop):
            square += _move(weights[i], R[i - start], means[i], squares[i], c, one)
    _move(b, R_b, m_b, v_b, c, own)
    return np.sqrt(square)
