"""phi1(M) = (e^M - 1) / M of a small matrix, and its product with a vector."""

from typing import Any

import numpy as np

from ...core.numerics import FINE_32, FINE_64, X
from .bias import add_part, times
from .compile import gemm, inlined, inserted, pointer
from .stored import compiled


@compiled
def phi1(blas: Any, M: Any, bound: Any) -> Any:
    """Return phi1(M) = sum_j M^j / (j + 1)! of M (n, n), |M| <= bound: as `core.numerics.phi1`.

    The bound decides on the degree, 4, 8 or 15, and on how often M is halved before.
    """
    fine = FINE_32 if np.finfo(M.dtype).eps > 1e-10 else FINE_64
    if bound <= fine[1]:
        return _phi1_small(blas, M, bound <= fine[0])
    n, halvings, size = M.shape[0], 0, np.float64(bound)
    zero, one = M.dtype.type(0), M.dtype.type(1)
    while size > fine[2] and halvings < 60:
        halvings, size = halvings + 1, size / 2
    shape = (n, n, n)
    power = np.empty((4, n, n), M.dtype)  # M, M^2, M^3, M^4
    for i in range(n):
        for j in range(n):
            power[0, i, j] = M[i, j] * M.dtype.type(0.5**halvings)
    first = pointer(power[0])
    for p in range(1, 4):
        gemm(blas, shape, one, pointer(power[p - 1]), False, first, False, zero, pointer(power[p]))
    P, Q = np.zeros((n, n), M.dtype), np.empty((n, n), M.dtype)
    for block in range(3, -1, -1):
        if block < 3:
            gemm(blas, shape, one, pointer(power[3]), False, pointer(P), False, zero, pointer(Q))
            P, Q = Q, P
        f = 1.0
        for j in range(2, 4 * block + 2):
            f *= j
        w0 = M.dtype.type(1 / f)
        w1 = M.dtype.type(1 / (f * (4 * block + 2)))
        w2 = M.dtype.type(1 / (f * (4 * block + 2) * (4 * block + 3)))
        w3 = M.dtype.type(1 / (f * (4 * block + 2) * (4 * block + 3) * (4 * block + 4)))
        for i in range(n):
            for j in range(n):
                P[i, j] += w1 * power[0, i, j] + w2 * power[1, i, j] + w3 * power[2, i, j]
            P[i, i] += w0
    for _ in range(halvings):  # phi1(2 M) = phi1(M) + M phi1(M)^2 / 2
        gemm(blas, shape, one, pointer(P), False, pointer(P), False, zero, pointer(Q))
        half = M.dtype.type(0.5)
        gemm(blas, shape, half, first, False, pointer(Q), False, one, pointer(P))
        for i in range(n):
            for j in range(n):
                power[0, i, j] = power[0, i, j] + power[0, i, j]
    return P


@compiled
def _phi1_small(blas: Any, M: Any, tiny: Any) -> Any:
    """Return phi1 to degree 4 in two products, or to degree 8 in three, as the core does."""
    n, number = M.shape[0], M.dtype.type
    zero, one, shape = number(0), number(1), (n, n, n)
    M2, left, high = np.empty_like(M), np.empty_like(M), np.empty_like(M)
    gemm(blas, shape, one, pointer(M), False, pointer(M), False, zero, pointer(M2))
    P, half = np.empty_like(M), number(0.5)
    if tiny:
        a, c, square = number(1 / 24), number(1 / 120), zero
        for i in range(n):
            for j in range(n):
                left[i, j] = a * M[i, j] + c * M2[i, j]
            left[i, i] += number(1 / 6)
        high = M2
    else:
        x0, x1, x3, x4 = number(X[0]), number(X[1]), number(X[3]), number(X[4])
        a, square = number(1 / 362880), number(1 / 6 - X[1] * X[2])
        for i in range(n):
            for j in range(n):
                P[i, j] = x0 * M[i, j] + M2[i, j]
        gemm(blas, shape, one, pointer(M2), False, pointer(P), False, zero, pointer(left))  # M4
        for i in range(n):
            for j in range(n):
                high[i, j] = x3 * M[i, j] + x4 * M2[i, j] + a * left[i, j]
                left[i, j] = left[i, j] + x1 * M2[i, j]
            high[i, i] += number(X[2])
    for i in range(n):
        for j in range(n):
            P[i, j] = half * M[i, j] + square * M2[i, j]
        P[i, i] += one
    gemm(blas, shape, one, pointer(left), False, pointer(high), False, one, pointer(P))
    return P


@inserted  # type: ignore[untyped-decorator]
def phi1_times(blas: Any, M: Any, bound: Any, v: Any) -> Any:
    """Return phi1(M) @ v, as `core.numerics.phi1_times`."""
    term, terms = 1.0, 1
    if bound > 2:
        return times(blas, phi1(blas, M, bound), v)
    while term > 2.0**-56:
        terms += 1
        term *= bound / terms
    return _series(blas, M, terms, v)


@inlined  # type: ignore[untyped-decorator]
def _series(blas: Any, M: Any, terms: Any, v: Any) -> Any:
    """Return so many terms of phi1(M) @ v; of several columns even and odd powers apart, by M^2."""
    result = v.copy()
    if v.ndim == 1:
        for j in range(terms, 1, -1):
            add_part(v, times(blas, M, result), j, result)
    else:
        n, zero, one = M.shape[0], M.dtype.type(0), M.dtype.type(1)
        square, odd, last = np.empty_like(M), times(blas, M, v), 2 * ((terms + 1) // 2)
        m = pointer(M)
        gemm(blas, (n, n, n), one, m, False, m, False, zero, pointer(square))
        add_part(v, odd, last, result)
        for j in range(last - 2, 0, -2):
            part = times(blas, square, result)
            add_part(v, odd, j, result)
            add_part(result, part, j * (j + 1), result)
    return result
