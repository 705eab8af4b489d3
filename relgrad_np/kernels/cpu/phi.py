"""phi1(M) = (e^M - 1) / M of a small matrix, and its product with a vector."""

from typing import Any

import numpy as np

from .compile import add, gemm, inlined, inserted, pointer
from .stored import compiled


@inlined  # type: ignore[untyped-decorator]
def times(M: Any, v: Any) -> Any:
    """Return M @ v, which Numba would hand to a BLAS of its own."""
    result = np.empty_like(v)
    for i in range(M.shape[0]):
        row, total = M[i], M.dtype.type(0)
        for j in range(row.shape[0]):
            total = add(total, row[j] * v[j])
        result[i] = total
    return result


@compiled
def phi1(blas: Any, M: Any, bound: Any) -> Any:
    """Return phi1(M) = sum_j M^j / (j + 1)! of M (n, n), |M| <= bound: as `core.numerics.phi1`.

    The bound decides on the degree, 3, 7, 11 or 15, and on how often M is halved before.
    """
    n = M.shape[0]
    zero, one = M.dtype.type(0), M.dtype.type(1)
    eps = np.finfo(M.dtype).eps
    halvings, size = 0, np.float64(bound)
    while size > (2.5 if eps > 1e-10 else 0.75) and halvings < 60:
        halvings, size = halvings + 1, size / 2
    blocks, rest = 1, size**4 / 120.0
    while rest > eps / 8 and blocks < 4:
        j = 4.0 * blocks + 2.0
        rest *= size**4 / (j * (j + 1) * (j + 2) * (j + 3))
        blocks += 1
    shape = (n, n, n)
    power = np.empty((4, n, n), M.dtype)  # M, M^2, M^3, M^4
    for i in range(n):
        for j in range(n):
            power[0, i, j] = M[i, j] * M.dtype.type(0.5**halvings)
    first = pointer(power[0])
    for p in range(1, 4 if blocks > 1 else 3):
        gemm(blas, shape, one, pointer(power[p - 1]), False, first, False, zero, pointer(power[p]))
    P, Q = np.zeros((n, n), M.dtype), np.empty((n, n), M.dtype)
    for block in range(blocks - 1, -1, -1):
        if block < blocks - 1:
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


@inserted  # type: ignore[untyped-decorator]
def phi1_times(blas: Any, M: Any, bound: Any, v: Any) -> Any:
    """Return phi1(M) @ v, as `core.numerics.phi1_times`."""
    n = M.shape[0]
    result, term, terms = v.copy(), 1.0, 1
    if bound > 2:
        return times(phi1(blas, M, bound), v)
    while term > 2.0**-56:
        terms += 1
        term *= bound / terms
    for j in range(terms, 1, -1):
        product = times(M, result)
        for i in range(n):
            result[i] = v[i] + product[i] / M.dtype.type(j)
    return result
