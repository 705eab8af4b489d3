"""Adam in the group: passes, moments and the exponential step of full rank, in one call.

The directions d (L, D, D + 1) and the moments are written to new arrays, so that undo and a
rejected step find the old ones. W and b are changed in place, once all that is new is finite.
"""

from typing import Any

import numpy as np

from .bias import add_columns, flat, put_scores, times
from .compile import add, gemm, inlined, matrix, pointer
from .passes import forward, pass_arrays, product
from .phi import phi1
from .records import Formulas, LayerArrays
from .stored import compiled


@inlined  # type: ignore[untyped-decorator]
def mean_score(blas: Any, Y: Any, Delta: Any, b: Any, ones: Any, g: Any) -> Any:
    """Fill g (D, D + 1) with xi~ = [Delta.T @ Y + I, Delta.T @ one]; return |xi~|^2.

    With context it is (D, D + c + 1).
    """
    N, D = Y.shape
    zero, one = Y.dtype.type(0), Y.dtype.type(1)
    out = pointer(g)
    gemm(blas, (D, D, N), one, pointer(Delta), True, pointer(Y), False, zero, out)
    for i in range(D):
        g[i, i] += one
    put_scores(blas, b, ones, Delta, g)
    total, numbers = zero, g.reshape(g.size)
    for i in range(numbers.shape[0]):
        total = add(total, numbers[i] * numbers[i])
    return total


@inlined  # type: ignore[untyped-decorator]
def direction(g: Any, before: Any, after: Any, c: Any) -> Any:
    """Put Adam's direction in the place of g, the new moments into `after`; return |d|^2, check.

    before, after: m and v, flat, (2, n). c: beta1, 1 - beta1, beta2, 1 - beta2, 1 / (1 -
    beta1^t), 1 / (1 - beta2^t), epsilon. `check` is 0 if the moments are finite.
    """
    c0, c1, c2, c3, c4, c5, c6 = c[0], c[1], c[2], c[3], c[4], c[5], c[6]
    m, v, m_after, v_after = before[0], before[1], after[0], after[1]
    total = c0 - c0
    check = total
    for i in range(g.shape[0]):
        m_i = c0 * m[i] + c1 * g[i]
        v_i = c2 * v[i] + c3 * g[i] * g[i]
        m_after[i], v_after[i] = m_i, v_i
        d = m_i * c4 / (np.sqrt(v_i * c5) + c6)
        g[i] = d
        total = add(total, d * d)
        check = add(check, (m_i + v_i) * (c0 - c0))
    return total, check


@compiled
def take_step(
    blas: Any, X: Any, weights: Any, layers: Any, formulas: Any, scratch: Any, fresh: Any,
    moments: Any, c: Any, caps: Any, sizes: Any, logdet: Any,
) -> Any:  # fmt: skip
    """Take the step in place; return L_p, L_J1, L_J2, finite. Other arguments: `whole_step`.

    Parameters
    ----------
    fresh : YD and P (L, 2, N, D); and K (L, 1, 1) and u (L, N), of which neither is used
    moments : before and after (L, 2, D (D + 1)), and d (L, D, D + 1); the last two to be filled.
        With context they have D (D + c + 1) numbers
    c : the constants of `direction`, (7,)
    caps : learning rate and tau
    sizes : (2, L), to be filled: eta and |xi~|
    logdet : (L,), to be moved on
    """
    net = LayerArrays(*layers)
    arrays = pass_arrays(blas, X, net.b, weights[0][0], scratch, fresh)
    before, after, ds = moments
    L_p, L_J1 = forward(X, net, Formulas(*formulas), weights[1], arrays)
    YD = arrays.YD
    L, _, _, D = YD.shape
    zero, one = YD.dtype.type(0), YD.dtype.type(1)
    tiny, L_J2, total = np.finfo(YD.dtype).tiny, 0.0, 0.0
    for k in range(L - 1, -1, -1):
        d, Delta = ds[k], YD[k, 1]
        sizes[1, k] = np.sqrt(mean_score(blas, YD[k, 0], Delta, net.b[k], arrays.one, d))
        square, check = direction(d.reshape(d.size), before[k], after[k], c)
        sizes[0, k] = min(caps[1] / (np.sqrt(square) + tiny), caps[0])
        total += np.float64(sizes[0, k]) + np.float64(sizes[1, k]) + np.float64(check)
        L_J2 += logdet[k]
        product(net, arrays, k)
    if not np.isfinite(L_p + L_J1 + L_J2 + total):
        return L_p, L_J1, L_J2, False
    moved_W, moved_b = np.empty((L, D, D), YD.dtype), np.empty_like(net.b)
    M, MW, check = np.empty((D, D), YD.dtype), np.empty((D, D), YD.dtype), zero
    for k in range(L):
        W, b, eta, size = matrix(net.W[k], M, D, D), net.b[k], sizes[0, k], zero
        for i in range(D):
            for j in range(D):
                M[i, j] = eta * ds[k, i, j]
                size = add(size, M[i, j] * M[i, j])
        F = phi1(blas, M, np.float64(np.sqrt(size)))
        gemm(blas, (D, D, D), one, pointer(M), False, (net.W[k], D), False, zero, pointer(MW))
        out = pointer(moved_W[k])
        gemm(blas, (D, D, D), one, pointer(F), False, pointer(MW), False, zero, out)
        inner = times(blas, M, b)
        add_columns(inner, ds[k], eta)
        turned, before_b, after_b = flat(times(blas, F, inner)), flat(b), flat(moved_b[k])
        for i in range(turned.shape[0]):
            after_b[i] = turned[i] + before_b[i]
            check = add(check, after_b[i] * zero)
        for i in range(D):
            for j in range(D):
                moved_W[k, i, j] += W[i, j]
                check = add(check, moved_W[k, i, j] * zero)
    if not np.isfinite(check):
        return L_p, L_J1, L_J2, False
    for k in range(L):
        W, trace = matrix(net.W[k], M, D, D), 0.0
        b, after_b = flat(net.b[k]), flat(moved_b[k])
        for i in range(b.shape[0]):  # by entries: of a whole array Numba compiles messages, 5 s
            b[i] = after_b[i]
        for i in range(D):
            for j in range(D):
                W[i, j] = moved_W[k, i, j]
            trace += np.float64(ds[k, i, i])
        logdet[k] += np.float64(sizes[0, k]) * trace
    return L_p, L_J1, L_J2, True
