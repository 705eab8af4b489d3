"""Forward pass, backward pass and the factors of every layer's step, in one BLAS and few sweeps.

YD (L, 2, N, D) holds Y above Delta of each layer, so that one product with W serves both: W is
read once. P (L, 2, N, D) is that product, A = Y @ W above Delta @ W. With N >= D samples A is not
made: the step is K @ W then, K = Delta.T @ Y, which saves a product for each layer.
"""

from typing import Any

import numpy as np

from ..constants import DENSITIES
from .bias import less, meet, ones_of, put
from .compile import add, gemm, inlined, inserted, largest, matrix, pointer
from .elementwise import density_sweep, forward_sweep, multivariate_t
from .few_samples import LEAST, SKINNY, times, times_transposed
from .records import PassArrays
from .stored import compiled

MULTIVARIATE = len(DENSITIES)  # the code of multivariate_t, which takes rows
PIECE = 4096  # numbers summed at a time in the dtype; the sums are added in float64


@inlined  # type: ignore[untyped-decorator]
def pass_arrays(blas: Any, X: Any, b: Any, share: Any, scratch: Any, fresh: Any) -> Any:
    """Return the record of what the passes fill, from scratch memory and that of the factors.

    X: rows (N, D), or (N, D + c) with context; b: the biases of all layers.
    """
    YD, P, K, u = fresh
    hidden = (len(scratch) - 1) // 2
    S, T = scratch[1 : 1 + hidden], scratch[1 + hidden :]
    return PassArrays(blas, ones_of(X, b), share, scratch[0], S, T, YD, P, u, K)


@compiled
def forward(X: Any, layers: Any, formulas: Any, equal: Any, arrays: Any) -> Any:
    """Fill Ys, the last Delta, S = sigma'(Ys), T = (log sigma')'(Ys); return L_p and L_J1.

    X (N, D), or (N, D + c) with context; `equal`: all samples have the same weight.
    """
    share, Z, YD = arrays.share, arrays.Z, arrays.YD
    L, _, N, D = YD.shape
    zero, one = Z.dtype.type(0), Z.dtype.type(1)
    piece = PIECE if equal else D  # samples of one weight
    L_p, L_J1 = 0.0, 0.0
    for k in range(L):
        Y, b, W = YD[k, 0], layers.b[k], layers.W[k]
        put(arrays.blas, b, arrays.one, Y)
        above = pointer(X) if k == 0 else pointer(Z)
        if N <= SKINNY and LEAST[0] <= D:
            times_transposed(matrix(above[0], Z, N, above[1]), matrix(W, Z, D, D), Y)
        else:
            gemm(arrays.blas, (N, D, D), one, above, False, (W, D), True, one, pointer(Y))
        if k < L - 1:
            y, z = Y.reshape(N * D), Z.reshape(N * D)
            s, t = arrays.S[k].reshape(N * D), arrays.T[k].reshape(N * D)
            for i in range(0, N * D, piece):
                part = slice(i, min(i + piece, N * D))
                total = forward_sweep(
                    y[part], formulas.activation, formulas.a, z[part], s[part], t[part]
                )
                L_J1 += share[0 if equal else i // D] * total
    Delta = YD[L - 1, 1]
    if formulas.density == MULTIVARIATE:
        for n in range(N):
            multivariate_t(YD[L - 1, 0, n], formulas.c, Z[n], Delta[n])
    else:
        density_sweep(
            YD[L - 1, 0].reshape(N * D), formulas.density, formulas.c, Z.reshape(N * D),
            Delta.reshape(N * D),
        )  # fmt: skip
    for n in range(N):
        row, log_p, total = Delta[n], Z[n], zero
        for i in range(D):
            total = add(total, log_p[i])
            row[i] = row[i] * share[n]
        L_p += share[n] * total
    return L_p, L_J1


@compiled
def product(layers: Any, arrays: Any, k: Any) -> Any:
    """P_k = [Y; Delta] @ W_k, and from it the Delta of layer k - 1.

    With N >= D samples the step is made of K (D, D), and needs no A = Y @ W: only Delta @ W is
    made. Adam, which has no K, always needs A.
    """
    YD, P, share = arrays.YD, arrays.P, arrays.share
    N, D = YD.shape[2:]
    zero, one = YD.dtype.type(0), YD.dtype.type(1)
    first = 1 if arrays.K.shape[1] > 0 and N >= D else 0
    rows = (2 if k > 0 else 1) * N - first * N
    left, out, W = pointer(YD[k, first]), pointer(P[k, first]), layers.W[k]
    if rows <= SKINNY and LEAST[1] <= D:
        times(matrix(left[0], P, rows, D), matrix(W, P, D, D), matrix(out[0], P, rows, D))
    elif rows > 0:
        gemm(arrays.blas, (rows, D, D), one, left, False, (W, D), False, zero, out)
    if k > 0:
        for n in range(N):
            d_Z, Delta = P[k, 1, n], YD[k - 1, 1, n]
            slope, bend = arrays.S[k - 1, n], arrays.T[k - 1, n]
            for i in range(D):
                Delta[i] = d_Z[i] * slope[i] + bend[i] * share[n]


@compiled
def bounded(arrays: Any, k: Any, b: Any, m: Any, W: Any) -> Any:
    """Fill K, the smaller of Y @ Delta.T and Delta.T @ Y, and u = Y @ (b - m) + one of layer k.

    Return the bound of |K| of `core.numerics.norm_bound`; NaN if an element of Delta.T @ [A, u],
    which moves W and b, might not be finite: each is at most sum|Delta| (sum|A| + sum|u|), and
    those of K @ W at most sum|K| sum|W| for N >= D. W: its address.
    """
    Y, Delta, A = arrays.YD[k, 0], arrays.YD[k, 1], arrays.P[k, 0]
    K, u = arrays.K[k], arrays.u[k]
    N, D = Y.shape
    zero, one = Y.dtype.type(0), Y.dtype.type(1)
    y, d, out = pointer(Y), pointer(Delta), pointer(K)
    sum_A, sum_Delta, sum_u = zero, zero, zero
    if N < D:
        gemm(arrays.blas, (N, N, D), one, y, False, d, True, zero, out)
        sum_A = _size(A.reshape(N * D))
    else:
        gemm(arrays.blas, (D, D, N), one, d, True, y, False, zero, out)
    if b.ndim == 1:
        for n in range(N):
            row, delta, total = Y[n], Delta[n], zero
            for i in range(D):
                total = add(total, row[i] * (b[i] - m[i]))
                sum_Delta = add(sum_Delta, abs(delta[i]))
            u[n] = total + one
            sum_u += abs(u[n])
    else:
        meet(arrays.blas, Y, less(b, m), arrays.one, u)
        sum_Delta, sum_u = _size(Delta.reshape(N * D)), _size(u.reshape(u.size))
    most = sum_Delta * (sum_A + sum_u)
    if N >= D:
        most += _size(K.reshape(D * D)) * _size(matrix(W, K, 1, D * D)[0])
    return norm_bound(K) + zero * most


@inlined  # type: ignore[untyped-decorator]
def _size(x: Any) -> Any:
    """Return the sum of the absolute values of x (n,)."""
    total = x.dtype.type(0)
    for i in range(x.shape[0]):
        total = add(total, abs(x[i]))
    return total


@compiled
def norm_bound(K: Any) -> Any:
    """Return min(|K|_F, sqrt(|K|_1 |K|_inf)) > 0, scaled so that nothing overflows."""
    n = K.shape[0]
    zero, one = K.dtype.type(0), K.dtype.type(1)
    tiny = np.finfo(K.dtype).tiny
    unit = zero
    for i in range(n):
        values, most = K[i], zero
        for j in range(n):
            most = largest(most, abs(values[j]))
        unit = largest(unit, most)
    unit = unit + tiny
    if not np.isfinite(unit):
        unit = one
    inverse = min(one / unit, np.finfo(K.dtype).max)
    square, most_rows, most_columns, columns = zero, zero, zero, np.zeros(n, K.dtype)
    for i in range(n):
        row, values = zero, K[i]
        for j in range(n):
            x = abs(values[j] * inverse)
            columns[j] += x
            row = add(row, x)
            square = add(square, x * x)
        most_rows = max(most_rows, row)
    for j in range(n):
        most_columns = max(most_columns, columns[j])
    return unit * min(np.sqrt(square), np.sqrt(most_rows * most_columns)) + tiny + zero * square


@inserted  # type: ignore[untyped-decorator]
def backward(layers: Any, arrays: Any, zeros: Any, sizes: Any) -> Any:
    """Fill the Deltas, P, K, u and the norms of a step without charts; zeros (L, D).

    Return the sum of the norms, which is finite if everything is.
    """
    total = 0.0
    for k in range(len(layers.W) - 1, -1, -1):
        product(layers, arrays, k)
        sizes.norms[k] = bounded(arrays, k, layers.b[k], zeros[k], layers.W[k])
        sizes.own[k] = sizes.norms[k]
        total += sizes.norms[k]
    return total
