"""Forward, backward and the factors of every layer's step, in one BLAS and a few sweeps.

YD (L, 2, N, D) holds Y above Delta of each layer, so that one product with W serves both: W is
read once. P (L, 2, N, D) is that product, A = Y @ W above Delta @ W.
"""

from typing import Any

import numpy as np

from .compile import add, compiled, gemm, largest, matrix, place
from .elementwise import density_sweep, forward_sweep
from .few_samples import LEAST, SKINNY, times, times_transposed

PIECE = 4096  # numbers summed in one go in the dtype


@compiled
def forward(
    address: Any, X: Any, W: Any, B: Any, bent: Any, a: Any, code: Any, c: Any, share: Any,
    equal: Any, Z: Any, YD: Any, S: Any, T: Any,
) -> Any:  # fmt: skip
    """Fill Ys, the last Delta, S = sigma'(Ys), T = (log sigma')'(Ys); return L_p and L_J1.

    X: address; W: L addresses; B (L, D); share (N,) = weights / N, all `equal` or not; Z (N, D):
    scratch; bent, a and code, c: the constants of the activation and of the density.
    """
    L, _, N, D = YD.shape
    zero, one = Z.dtype.type(0), Z.dtype.type(1)
    L_p, L_J1 = 0.0, 0.0
    for k in range(L):
        Y = YD[k, 0]
        b = B[k]
        for n in range(N):
            row = Y[n]
            for i in range(D):
                row[i] = b[i]
        above = (X, D) if k == 0 else place(Z)
        if N <= SKINNY and LEAST[0] <= D:
            times_transposed(matrix(above[0], Z, N, D), matrix(W[k], Z, D, D), Y)
        else:
            gemm(address, (N, D, D), one, above, False, (W[k], D), True, one, place(Y))
        if k < L - 1 and equal:
            y, z, s, t = (
                Y.reshape(N * D),
                Z.reshape(N * D),
                S[k].reshape(N * D),
                T[k].reshape(N * D),
            )
            for i in range(0, N * D, PIECE):
                part = slice(i, min(i + PIECE, N * D))
                L_J1 += share[0] * forward_sweep(y[part], bent, a, z[part], s[part], t[part])
        elif k < L - 1:
            for n in range(N):
                L_J1 += share[n] * forward_sweep(Y[n], bent, a, Z[n], S[k, n], T[k, n])
    Delta = YD[L - 1, 1]
    density_sweep(YD[L - 1, 0].reshape(N * D), code, c, Z.reshape(N * D), Delta.reshape(N * D))
    for n in range(N):
        row, log_p, total = Delta[n], Z[n], zero
        for i in range(D):
            total = add(total, log_p[i])
            row[i] = row[i] * share[n]
        L_p += share[n] * total
    return L_p, L_J1


@compiled
def product(address: Any, W: Any, YD: Any, P: Any, S: Any, T: Any, share: Any, k: Any) -> Any:
    """P_k = [Y; Delta] @ W_k, and from it the Delta of layer k - 1."""
    N, D = YD.shape[2:]
    zero, one = YD.dtype.type(0), YD.dtype.type(1)
    rows = 2 * N if k > 0 else N
    left, out = place(YD[k, 0]), place(P[k, 0])
    if rows <= SKINNY and LEAST[1] <= D:
        times(matrix(left[0], P, rows, D), matrix(W[k], P, D, D), matrix(out[0], P, rows, D))
    else:
        gemm(address, (rows, D, D), one, left, False, (W[k], D), False, zero, out)
    if k > 0:
        for n in range(N):
            d_Z, slope, bend, Delta = P[k, 1, n], S[k - 1, n], T[k - 1, n], YD[k - 1, 1, n]
            for i in range(D):
                Delta[i] = d_Z[i] * slope[i] + bend[i] * share[n]


@compiled
def bounded(address: Any, Y: Any, Delta: Any, A: Any, b: Any, m: Any, K: Any, u: Any) -> Any:
    """Fill K, the smaller of Y @ Delta.T and Delta.T @ Y, and u = Y @ (b - m) + 1.

    Return the bound of |K| of `_numerics.norm_bound`; NaN if A or u is not finite.
    """
    N, D = Y.shape
    zero, one = Y.dtype.type(0), Y.dtype.type(1)
    if N < D:
        gemm(address, (N, N, D), one, place(Y), False, place(Delta), True, zero, place(K))
    else:
        gemm(address, (D, D, N), one, place(Delta), True, place(Y), False, zero, place(K))
    check = zero
    for n in range(N):
        y, a, total = Y[n], A[n], zero
        for i in range(D):
            total = add(total, y[i] * (b[i] - m[i]))
            check = add(check, zero * a[i])
        u[n] = total + one
        check += zero * u[n]
    return norm_bound(K) + check


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


@compiled
def backward(
    address: Any, W: Any, B: Any, YD: Any, P: Any, S: Any, T: Any, share: Any, zeros: Any,
    K: Any, u: Any, norms: Any,
) -> Any:  # fmt: skip
    """Fill the Deltas, P, K (L, n, n), u (L, N) and the norms (L,) of the bare step.

    Return the sum of the norms, which is finite if everything is.
    """
    total = 0.0
    for k in range(len(W) - 1, -1, -1):
        product(address, W, YD, P, S, T, share, k)
        norms[k] = bounded(address, YD[k, 0], YD[k, 1], P[k, 0], B[k], zeros[k], K[k], u[k])
        total += norms[k]
    return total
