"""Adam, fused with the product that makes R: W, m and v are read and written once, block by block.

With few samples a step of Adam is traffic of memory and nothing else.
"""

from typing import Any

import numpy as np

from .compile import add, gemm, inlined, matrix, pointer
from .passes import forward, pass_arrays, product
from .records import Formulas, LayerArrays
from .stored import compiled

BLOCK = 1 << 16  # numbers of R made at a time: with W, m and v they stay in the cache


@compiled
def passes(
    blas: Any, X: Any, weights: Any, layers: Any, formulas: Any, scratch: Any, fresh: Any,
    largest: Any,
) -> Any:  # fmt: skip
    """Fill the Deltas, P and u; return L_p and L_J1. The arguments: see `whole_step`.

    largest (L,) >= |Delta.T @ A| elementwise; NaN if something is not finite. `fresh` has a K of
    (L, 0, 0): Adam needs none.
    """
    net, arrays = LayerArrays(*layers), pass_arrays(blas, weights[0], scratch, fresh)
    L_p, L_J1 = forward(X, net, Formulas(*formulas), weights[1], arrays)
    YD, P, u = arrays.YD, arrays.P, arrays.u
    L, _, N, D = YD.shape
    zero, one = YD.dtype.type(0), YD.dtype.type(1)
    for k in range(L - 1, -1, -1):
        product(net, arrays, k)
        most_Delta, most_A, check = zero, zero, zero
        for n in range(N):
            y, delta, a, b, total = YD[k, 0, n], YD[k, 1, n], P[k, 0, n], net.b[k], zero
            for i in range(D):
                total = add(total, y[i] * b[i])
                check = add(check, zero * a[i] + zero * delta[i])
                most_Delta, most_A = max(most_Delta, abs(delta[i])), max(most_A, abs(a[i]))
            u[k, n] = total + one
            check += zero * u[k, n]
        largest[k] = np.float64(N) * most_Delta * most_A + np.float64(check)
    return L_p, L_J1


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
def update(blas: Any, matrices: Any, biases: Any, factors: Any, c: Any, own: Any) -> Any:
    """Take one layer's step in place; return |R_W|_F.

    Parameters
    ----------
    matrices : the addresses of W, m and v, each (D, D)
    biases : b and its m and v, each (D,)
    factors : Delta and A (N, D), u (N,)
    c : the constants of `_move`, (7,)
    own : what of b is added to R_b: 1 with the bias in the group, else 0
    """
    Delta, A, u = factors
    N, D = Delta.shape
    zero, one = Delta.dtype.type(0), Delta.dtype.type(1)
    size = min(D, max(1, BLOCK // D))
    R, square = np.empty((size, D), Delta.dtype), 0.0
    W, means, squares = (
        matrix(matrices[0], Delta, D, D), matrix(matrices[1], Delta, D, D),
        matrix(matrices[2], Delta, D, D),
    )  # fmt: skip
    R_b = np.zeros(D, Delta.dtype)
    for n in range(N):
        row, x = Delta[n], u[n]
        for i in range(D):
            R_b[i] += row[i] * x
    for start in range(0, D, size):
        stop = min(D, start + size)
        columns = (np.intp(Delta.ctypes.data) + start * Delta.itemsize, D)
        gemm(blas, (stop - start, D, N), one, columns, True, pointer(A), False, zero, pointer(R))
        for i in range(start, stop):
            square += _move(W[i], R[i - start], means[i], squares[i], c, one)
    _move(biases[0], R_b, biases[1], biases[2], c, own)
    return np.sqrt(square)
