"""log|det(I + c K)|: what a plain step adds to log|det W|."""

import math
from typing import Any

import numpy as np

from .compile import add, gemm, inserted
from .stored import compiled

PANEL = 16  # columns eliminated at a time


@compiled
def log_det(blas: Any, K: Any, c: Any) -> Any:
    """Return log|det(I + c K)| and its sign, by elimination in panels of 16 columns.

    The ones of I are not stored: beside them c K would lose digits in the dtype of K. Rows need no
    exchanges: the cap has |c K| <= tau < 1, so that the symmetric part of I + c K is positive
    definite, and so is that of what is left after each column.
    """
    n, one = K.shape[0], K.dtype.type(1)
    M = np.empty_like(K)
    for i in range(n):
        row, old = M[i], K[i]
        for j in range(n):
            row[j] = c * old[j]
    total, sign, inverse = 0.0, 1.0, np.empty(4, K.dtype)
    base, size = np.intp(M.ctypes.data), M.itemsize
    for start in range(0, n, PANEL):
        stop = min(start + PANEL, n)
        for first in range(start, stop, 4):
            _eliminate(M, first, min(first + 4, stop), stop, inverse)
        product = 1.0
        for k in range(start, stop):
            pivot = 1.0 + np.float64(M[k, k])
            sign, product = (-sign if pivot < 0 else sign), product * abs(pivot)
        total += math.log(product) if product > 0 else -np.inf
        if stop < n:
            for k in range(start, stop):  # the panel's rows to the right of it
                for i in range(k + 1, stop):
                    row, top, factor = M[i], M[k], M[i, k]
                    for j in range(stop, n):
                        row[j] -= factor * top[j]
            below, right = (base + (stop * n + start) * size, n), base + (start * n + stop) * size
            rest, shape = (base + (stop * n + stop) * size, n), (n - stop, n - stop, stop - start)
            gemm(blas, shape, -one, below, False, (right, n), False, one, rest)
    return total, sign


@inserted  # type: ignore[untyped-decorator]
def _eliminate(M: Any, first: Any, end: Any, right: Any, inverse: Any) -> Any:
    """Eliminate up to four columns of I + M below the diagonal, in the columns up to `right`.

    The factors are stored where the zeros would be. inverse (4,) is scratch.
    """
    n, one = M.shape[0], M.dtype.type(1)
    for k in range(first, end):
        inverse[k - first] = one / (one + M[k, k])
        for i in range(k + 1, end):
            row, top, factor = M[i], M[k], M[i, k] * inverse[k - first]
            row[k] = factor
            for j in range(k + 1, right):
                row[j] -= factor * top[j]
    if end - first < 4:  # the last columns: there are no rows below
        return
    r0, r1, r2, r3 = M[first], M[first + 1], M[first + 2], M[first + 3]
    u01, u02, u03 = r0[first + 1], r0[first + 2], r0[first + 3]
    u12, u13, u23 = r1[first + 2], r1[first + 3], r2[first + 3]
    v0, v1, v2, v3 = inverse[0], inverse[1], inverse[2], inverse[3]
    for i in range(end, n):
        row = M[i]
        f0 = row[first] * v0
        f1 = (row[first + 1] - f0 * u01) * v1
        f2 = (row[first + 2] - f0 * u02 - f1 * u12) * v2
        f3 = (row[first + 3] - f0 * u03 - f1 * u13 - f2 * u23) * v3
        row[first], row[first + 1], row[first + 2], row[first + 3] = f0, f1, f2, f3
        for j in range(end, right):
            row[j] -= f0 * r0[j] + f1 * r1[j] + (f2 * r2[j] + f3 * r3[j])


@compiled
def log_det_near(blas: Any, K: Any, c: Any, norm: Any) -> Any:
    """Return log|det(I + c K)| and its sign, norm >= |K|: by its series if two terms suffice.

    log det(I + M) = tr M - tr M^2 / 2 + ..., and the rest is below |M|_F^2 |M| / (3 (1 - |M|)). A
    third term would need a product (n, n) x (n, n), which takes as long as the elimination.
    """
    n = K.shape[0]
    size, trace, square, t_2 = np.float64(c) * np.float64(norm), 0.0, 0.0, K.dtype.type(0)
    for i in range(n):
        row, total = K[i], K.dtype.type(0)
        trace += np.float64(row[i])
        for j in range(n):
            total = add(total, row[j] * row[j])
        square += np.float64(total)
    c_2 = np.float64(c) * np.float64(c)
    allowed = np.finfo(K.dtype).eps / 4
    if not (size < 0.5 and c_2 * square * size / (3 * (1 - size)) < allowed):
        return log_det(blas, K, c)
    T = np.empty_like(K)
    for i in range(n):
        for j in range(n):
            T[i, j] = K[j, i]
    for i in range(n):
        row, t = K[i], T[i]
        for j in range(n):
            t_2 = add(t_2, row[j] * t[j])
    return np.float64(c) * trace - c_2 * np.float64(t_2) / 2, 1.0
