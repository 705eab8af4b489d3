"""Adam, fused with the product that makes R: W, m and v are read and written once, block by block.

With few samples a step of Adam is traffic of memory and nothing else.
"""

from typing import Any

import numpy as np

from .averages import join
from .bias import flat, meet, weigh_rows
from .compile import add, gemm, inlined, matrix, pointer
from .passes import forward, pass_arrays, product
from .records import Averaging, Formulas, LayerArrays
from .stored import compiled

BLOCK = 1 << 16  # numbers of R made at a time: with W, m and v they stay in the cache


@compiled
def take_steps(
    blas: Any, X: Any, weights: Any, layers: Any, formulas: Any, rule: Any, memory: Any,
    moments: Any, history: Any, averaging: Any,
) -> Any:  # fmt: skip
    """Take up to K steps of Adam in place; return n, fine, taken, waiting as `whole_step` does.

    Parameters
    ----------
    blas, X, weights, layers, formulas, averaging : as `whole_step.take_steps` has them
    rule : beta1, 1 - beta1, beta2, 1 - beta2, epsilon; what of b is added to R_b, 1 with the bias
        in the group, else 0; and the element of R from which on its square might overflow: such a
        step is not taken, and `fine` is True
    memory : as `whole_step` has it, but one YD twice, and a K of (L, 0, 0): Adam needs none
    moments : the addresses of the Ws' m and v, (2, L), and the bs', (2, L, D) or with context
        (2, L, D, c + 1), moved on
    history : rates (K, 3): the learning rate, and what Adam divides it, and multiplies v, by. And
        to be filled: sizes (K, 3, L), the second |R_W|_F, and terms (K, 3), L_p, L_J1, NaN
    """
    net, model, average = LayerArrays(*layers), Formulas(*formulas), Averaging(*averaging)
    taken, waiting, number = average.taken, average.waiting, X.dtype.type
    scratch, YDs, P, K, u = memory
    matrices, biases = moments
    rates, sizes, terms = history
    c = np.empty(7, X.dtype)
    c[0], c[1], c[2], c[3], c[6] = rule[0], rule[1], rule[2], rule[3], rule[4]
    n, fine = 0, True
    while n < X.shape[0]:
        share = weights[0][min(n, weights[0].shape[0] - 1)]
        arrays = pass_arrays(blas, X[n], net.b, share, scratch, (YDs[0], P, K, u))
        L_p, L_J1, largest = passes(X[n], net, model, weights[1], arrays)
        terms[n, 0], terms[n, 1], terms[n, 2] = L_p, L_J1, np.nan
        fine = np.isfinite(L_p + L_J1 + largest)
        if not (fine and largest < rule[6]):
            break
        if waiting:
            taken += 1
            join(net, X, average, taken, taken == average.taken + 1)
        c[4], c[5] = rates[n, 0] / rates[n, 1], rates[n, 2]
        for k in range(len(net.W)):
            places = (net.W[k], matrices[0, k], matrices[1, k])
            own = (net.b[k], biases[0, k], biases[1, k])
            factors = (arrays.YD[k, 1], arrays.P[k, 0], arrays.u[k])
            sizes[n, 1, k] = update(blas, places, own, factors, c, number(rule[5]))
            sizes[n, 0, k] = number(rates[n, 0])
        n += 1
        waiting = average.every > 0 and (average.t + n) % average.every == 0
    return n, fine, taken, waiting


@compiled
def passes(X: Any, net: Any, model: Any, equal: Any, arrays: Any) -> Any:
    """Fill the Deltas, P and u; return L_p, L_J1 and what no |Delta.T @ A| exceeds elementwise.

    That is NaN if something is not finite.
    """
    L_p, L_J1 = forward(X, net, model, equal, arrays)
    most, finite = 0.0, 0.0
    YD, P, u = arrays.YD, arrays.P, arrays.u
    for k in range(YD.shape[0] - 1, -1, -1):
        product(net, arrays, k)
        factors = YD[k, 0], YD[k, 1], P[k, 0], u[k]
        most_Delta, most_A, check = _looked_at(arrays.blas, net.b[k], arrays.one, factors)
        found = np.float64(YD.shape[2]) * most_Delta * most_A
        most, finite = max(most, found), finite + 0.0 * found + np.float64(check)
    return L_p, L_J1, most + finite


@inlined  # type: ignore[untyped-decorator]
def _looked_at(blas: Any, b: Any, ones: Any, factors: Any) -> Any:
    """Fill u = Y @ b + one; return the largest |Delta| and |A|, and 0, or NaN if not all is finite.

    factors: Y, Delta, A (N, D), u (N,) or with context (N, c + 1).
    """
    Y, Delta, A, u = factors
    N, D = Y.shape
    zero, one = Y.dtype.type(0), Y.dtype.type(1)
    most_Delta, most_A, check = zero, zero, zero
    if b.ndim == 1:
        for n in range(N):
            y, delta, a, total = Y[n], Delta[n], A[n], zero
            for i in range(D):
                total = add(total, y[i] * b[i])
                check = add(check, zero * a[i] + zero * delta[i])
                most_Delta, most_A = max(most_Delta, abs(delta[i])), max(most_A, abs(a[i]))
            u[n] = total + one
            check += zero * u[n]
    else:
        meet(blas, Y, b, ones, u)
        for n in range(N):
            delta, a = Delta[n], A[n]
            for i in range(D):
                check = add(check, zero * a[i] + zero * delta[i])
                most_Delta, most_A = max(most_Delta, abs(delta[i])), max(most_A, abs(a[i]))
            for j in range(b.shape[1]):
                check += zero * u[n, j]
    return most_Delta, most_A, check


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
    biases : b and its m and v, each (D,), or with context (D, c + 1)
    factors : Delta and A (N, D), u (N,), or (N, c + 1)
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
    R_b = np.empty_like(biases[0])
    weigh_rows(blas, Delta, u, R_b)
    for start in range(0, D, size):
        stop = min(D, start + size)
        columns = (np.intp(Delta.ctypes.data) + start * Delta.itemsize, D)
        gemm(blas, (stop - start, D, N), one, columns, True, pointer(A), False, zero, pointer(R))
        for i in range(start, stop):
            square += _move(W[i], R[i - start], means[i], squares[i], c, one)
    _move(flat(biases[0]), flat(R_b), flat(biases[1]), flat(biases[2]), c, own)
    return np.sqrt(square)
