"""A layer's bias in compiled code: b (D,), or with context B (D, c + 1), as `core.context` has it.

A row of X is (x, u), and u~ = (u, 1). Which of the two a bias is, is known when a kernel is
compiled, so that one text is compiled for the one or for the other: of each `if b.ndim == 1` only
one branch is left, and a layer without context gets the code that it would get alone. In the
kernels stand `b`, and `one`, which is 1 or U~ (N, c + 1).
"""

from typing import Any

import numpy as np

from .compile import add, gemm, inlined, pointer

SMALL = 12  # rows of a matrix up to which a loop is faster than a call of the BLAS


@inlined  # type: ignore[untyped-decorator]
def ones_of(X: Any, b: Any) -> Any:
    """Return 1, or U~ (N, c + 1) of rows X (N, D + c); b (L, D), or (L, D, c + 1)."""
    if b.ndim == 2:
        one = X.dtype.type(1)
    else:
        D, last = b.shape[1], b.shape[2] - 1
        one = np.empty((X.shape[0], last + 1), X.dtype)
        for n in range(X.shape[0]):
            for j in range(last):
                one[n, j] = X[n, D + j]
            one[n, last] = X.dtype.type(1)
    return one


@inlined  # type: ignore[untyped-decorator]
def put(blas: Any, b: Any, one: Any, Y: Any) -> Any:
    """Fill Y (N, D) with what the bias adds to each row: b, or U~ @ B.T."""
    N, D = Y.shape
    if b.ndim == 1:
        for n in range(N):
            row = Y[n]
            for i in range(D):
                row[i] = b[i]
    else:
        zero, unit, width = Y.dtype.type(0), Y.dtype.type(1), b.shape[1]
        shape = (N, D, width)
        gemm(blas, shape, unit, pointer(one), False, pointer(b), True, zero, pointer(Y))


@inlined  # type: ignore[untyped-decorator]
def meet(blas: Any, Y: Any, B: Any, one: Any, U: Any) -> Any:
    """Fill U (N, c + 1) with Y @ B + U~."""
    N, D = Y.shape
    unit, width = Y.dtype.type(1), B.shape[1]
    for n in range(N):
        for j in range(width):
            U[n, j] = one[n, j]
    gemm(blas, (N, width, D), unit, pointer(Y), False, pointer(B), False, unit, pointer(U))


@inlined  # type: ignore[untyped-decorator]
def less(B: Any, m: Any) -> Any:
    """Return B - M, where M has m (D,) in its last column."""
    moved, last = np.empty_like(B), B.shape[1] - 1
    for i in range(B.shape[0]):
        for j in range(last):
            moved[i, j] = B[i, j]
        moved[i, last] = B[i, last] - m[i]
    return moved


@inlined  # type: ignore[untyped-decorator]
def weigh_rows(blas: Any, Delta: Any, v: Any, total: Any) -> Any:
    """Fill total with Delta.T @ v: (D,) of v (N,), or (D, c + 1) of v (N, c + 1)."""
    if v.ndim == 1:
        total[:] = Delta.dtype.type(0)
        for n in range(Delta.shape[0]):
            row, x = Delta[n], v[n]
            for i in range(row.shape[0]):
                total[i] += row[i] * x
    else:
        (N, D), zero, unit = Delta.shape, Delta.dtype.type(0), Delta.dtype.type(1)
        shape = (D, v.shape[1], N)
        gemm(blas, shape, unit, pointer(Delta), True, pointer(v), False, zero, pointer(total))


@inlined  # type: ignore[untyped-decorator]
def times(blas: Any, M: Any, v: Any) -> Any:
    """Return M @ v, v (n,) or (n, c + 1): Numba would hand M @ v to a BLAS of its own."""
    result = np.empty_like(v)
    if v.ndim == 1:
        for i in range(M.shape[0]):
            row, total = M[i], M.dtype.type(0)
            for j in range(row.shape[0]):
                total = add(total, row[j] * v[j])
            result[i] = total
    else:
        (n, width), zero, unit = v.shape, M.dtype.type(0), M.dtype.type(1)
        if n <= SMALL:
            for i in range(n):
                for k in range(width):
                    result[i, k] = zero
                for j in range(n):
                    for k in range(width):
                        result[i, k] += M[i, j] * v[j, k]
        else:
            shape = (n, width, n)
            gemm(blas, shape, unit, pointer(M), False, pointer(v), False, zero, pointer(result))
    return result


@inlined  # type: ignore[untyped-decorator]
def add_part(v: Any, part: Any, j: Any, result: Any) -> Any:
    """Fill `result` with v + part / j, arrays of one shape."""
    if v.ndim == 1:
        for i in range(v.shape[0]):
            result[i] = v[i] + part[i] / v.dtype.type(j)
    else:
        for i in range(v.shape[0]):
            for k in range(v.shape[1]):
                result[i, k] = v[i, k] + part[i, k] / v.dtype.type(j)


@inlined  # type: ignore[untyped-decorator]
def flat(b: Any) -> Any:
    """Return the numbers of a bias one after another, or of anything else of its shape."""
    if b.ndim == 1:  # noqa: SIM108 - Numba leaves out a branch, but no half of an expression
        numbers = b
    else:
        numbers = b.reshape(b.size)
    return numbers


@inlined  # type: ignore[untyped-decorator]
def step_plainly(b: Any, i: Any, m: Any, scale: Any, c: Any, own: Any) -> Any:
    """Take row i of a bias to scale (b - m + c own) + m."""
    if b.ndim == 1:
        b[i] = scale * (b[i] - m + c * own[i]) + m
    else:
        last = b.shape[1] - 1
        for j in range(last):
            b[i, j] = scale * (b[i, j] + c * own[i, j])
        b[i, last] = scale * (b[i, last] - m + c * own[i, last]) + m


@inlined  # type: ignore[untyped-decorator]
def step_exponentially(b: Any, i: Any, m: Any, scale: Any, own: Any, other: Any) -> Any:
    """Take row i of a bias to scale (b - m + own) + other + m."""
    if b.ndim == 1:
        b[i] = scale * (b[i] - m + own[i]) + other[i] + m
    else:
        last = b.shape[1] - 1
        for j in range(last):
            b[i, j] = scale * (b[i, j] + own[i, j]) + other[i, j]
        b[i, last] = scale * (b[i, last] - m + own[i, last]) + other[i, last] + m


@inlined  # type: ignore[untyped-decorator]
def without_one(u: Any, one: Any, eta: Any, v: Any) -> Any:
    """Fill v with eta (u - one): (N,), or (N, c + 1)."""
    if u.ndim == 1:
        for n in range(u.shape[0]):
            v[n] = eta * (u[n] - one)
    else:
        for n in range(u.shape[0]):
            for j in range(u.shape[1]):
                v[n, j] = eta * (u[n, j] - one[n, j])


@inlined  # type: ignore[untyped-decorator]
def only_one(one: Any, eta: Any, v: Any) -> Any:
    """Fill v with eta for each row, (N,), or with eta U~ (N, c + 1)."""
    if v.ndim == 1:
        v[:] = eta
    else:
        for n in range(v.shape[0]):
            for j in range(v.shape[1]):
                v[n, j] = eta * one[n, j]


@inlined  # type: ignore[untyped-decorator]
def add_gram(blas: Any, b: Any, one: Any, K: Any) -> Any:
    """Add U~ @ U~.T to K (N, N); without context nothing."""
    if b.ndim == 2:
        (N, width), unit = one.shape, K.dtype.type(1)
        u = pointer(one)
        gemm(blas, (N, N, width), unit, u, False, u, True, unit, pointer(K))


@inlined  # type: ignore[untyped-decorator]
def add_shift(blas: Any, b: Any, one: Any, root: Any, square: Any) -> Any:
    """Return `square` + |root.T @ U~|_F^2, root (N, D); without context `square`."""
    total = square
    if b.ndim == 2:
        G = np.empty_like(b)
        weigh_rows(blas, root, one, G)
        numbers = G.reshape(G.size)
        for i in range(numbers.shape[0]):
            total = add(total, numbers[i] * numbers[i])
    return total


@inlined  # type: ignore[untyped-decorator]
def add_score(b: Any, gain: Any, score: Any, square: Any) -> Any:
    """Return `square` + sum_i gain_i score_i^2 / D of the means of the deltas, score (D,).

    With context it is `square`, which has them from `add_gram` or `add_shift`.
    """
    total, D = square, gain.shape[0]
    if b.ndim == 1:
        for i in range(D):
            total += np.float64(gain[i]) * np.float64(score[i]) ** 2 / D
    return total


@inlined  # type: ignore[untyped-decorator]
def put_scores(blas: Any, b: Any, one: Any, Delta: Any, g: Any) -> Any:
    """Fill the columns of g (D, D + 1) from D on with Delta.T @ 1, or (D, D + c + 1) @ U~."""
    (N, D), width = Delta.shape, g.shape[1]
    zero, unit = g.dtype.type(0), g.dtype.type(1)
    if b.ndim == 1:
        for i in range(D):
            g[i, D] = zero
        for n in range(N):
            row = Delta[n]
            for i in range(D):
                g[i, D] += row[i]
    else:
        out = (np.intp(g.ctypes.data) + D * g.itemsize, width)
        shape = (D, width - D, N)
        gemm(blas, shape, unit, pointer(Delta), True, pointer(one), False, zero, out)


@inlined  # type: ignore[untyped-decorator]
def add_columns(b: Any, d: Any, eta: Any) -> Any:
    """Add eta times the columns of d (D, D + 1) from D on to a bias; or of (D, D + c + 1)."""
    D = d.shape[0]
    if b.ndim == 1:
        for i in range(D):
            b[i] += eta * d[i, D]
    else:
        for i in range(D):
            for j in range(b.shape[1]):
                b[i, j] += eta * d[i, D + j]
