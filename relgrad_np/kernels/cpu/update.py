"""The step itself: W in place, by a rank-N update in blocks of rows, b, and log|det W|."""

import math
from typing import Any

import numpy as np

from .compile import add, compiled, gemm, inlined, inserted, matrix, pointer
from .records import LayerStep

PANEL = 16  # columns eliminated at a time
BLOCK = 1 << 18  # numbers of W scaled and added to while they are in the cache


@compiled
def add_product(blas: Any, W: Any, scale: Any, Delta: Any, F: Any) -> Any:
    """W <- scale[:, None] * W + Delta.T @ F in place; W an address. Each row is touched once."""
    N, D = Delta.shape
    one = Delta.dtype.type(1)
    rows = matrix(W, Delta, D, D)
    size = max(32, BLOCK // D)
    for start in range(0, D, size):
        stop = min(D, start + size)
        for i in range(start, stop):
            row, s = rows[i], scale[i]
            for j in range(D):
                row[j] = row[j] * s
        columns = (np.intp(Delta.ctypes.data) + start * Delta.itemsize, D)
        block = (np.intp(rows.ctypes.data) + start * D * Delta.itemsize, D)
        gemm(blas, (stop - start, D, N), one, columns, True, pointer(F), False, one, block)


@inlined  # type: ignore[untyped-decorator]
def weigh_rows(Delta: Any, v: Any, total: Any) -> Any:
    """Write Delta.T @ v to total, (D,)."""
    total[:] = Delta.dtype.type(0)
    for n in range(Delta.shape[0]):
        row, x = Delta[n], v[n]
        for i in range(row.shape[0]):
            total[i] += row[i] * x


@compiled
def log_det(blas: Any, K: Any, c: Any) -> Any:
    """Return log|det(I + c K)| and its sign, by elimination in panels of 16 columns.

    In the dtype of K, but of what differs from I alone: no digit of c K is lost to the ones. No
    row exchanges: the cap has |c K| <= tau < 1, so that the symmetric part of I + c K is positive
    definite, and so is that of whatever is left after each column.
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

    The factors stay where the zeros would be. inverse (4,): scratch.
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
    """Return log|det(I + c K)| and its sign, norm >= |K|, by its series if two terms will do.

    log det(I + M) = tr M - tr M^2 / 2 + ..., the rest below |M|_F^2 |M| / (3 (1 - |M|)). A third
    term would take a product (n, n) x (n, n), and that takes as long as the elimination.
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


@inserted  # type: ignore[untyped-decorator]
def step(layers: Any, arrays: Any, charts: Any, sizes: Any, tracked: Any, numbers: Any) -> Any:
    """Take every layer's step in place: W, b, and the tracked log|det W| and its sign.

    sizes.eta is capped by tau / sizes.norms first.
    """
    for k in range(len(layers.W)):
        sizes.eta[k] = min(sizes.eta[k], sizes.eta.dtype.type(numbers.tau) / sizes.norms[k])
        one = LayerStep(
            arrays.YD[k, 0], arrays.YD[k, 1], arrays.P[k, 0], arrays.K[k], arrays.u[k],
            charts.mean[k], charts.gain[k], sizes.eta[k], sizes.own[k],
        )  # fmt: skip
        W, b, logdet = layers.W[k], layers.b[k], tracked.logdet[k]
        if numbers.kind == 0:
            logdet, sign = plain(arrays.blas, W, b, one, arrays.Z, logdet)
            tracked.sign[k] *= sign
        else:
            logdet = exponential(arrays.blas, W, b, one, arrays.Z, logdet)
        tracked.logdet[k] = logdet


@inserted  # type: ignore[untyped-decorator]
def plain(blas: Any, W: Any, b: Any, step: Any, scratch: Any, logdet: Any) -> Any:
    """One layer's plain step: W (address) and b in place; return log|det W| and its sign's factor.

    W+ = scale (W + Delta.T @ (c A)), scale = 1 + eta gain, c = eta / (1 + eta).
    """
    Delta, m, gain, eta = step.Delta, step.m, step.gain, step.eta
    N, D = Delta.shape
    one = Delta.dtype.type(1)
    c = eta / (one + eta)
    scale, own = np.empty_like(b), np.empty_like(b)
    weigh_rows(Delta, step.u, own)
    for i in range(D):
        scale[i] = one + eta * gain[i]
        b[i] = scale[i] * (b[i] - m[i] + c * own[i]) + m[i]
        logdet += math.log(np.float64(scale[i]))
    for n in range(N):
        row, out = Delta[n], scratch[n]
        for i in range(D):
            out[i] = row[i] * (scale[i] * c)
    add_product(blas, W, scale, scratch, step.A)
    total, sign = log_det_near(blas, step.K, c, step.norm)
    return logdet + total, sign


@compiled
def phi1(blas: Any, M: Any, bound: Any) -> Any:
    """Return phi1(M) = sum_j M^j / (j + 1)! of M (n, n), |M| <= bound: as `core.numerics.phi1`.

    Of degree 3, 7, 11 or 15, whatever the bound asks for.
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


@inlined  # type: ignore[untyped-decorator]
def times(M: Any, v: Any) -> Any:
    """M @ v, without a second BLAS."""
    result = np.empty_like(v)
    for i in range(M.shape[0]):
        row, total = M[i], M.dtype.type(0)
        for j in range(row.shape[0]):
            total = add(total, row[j] * v[j])
        result[i] = total
    return result


@inserted  # type: ignore[untyped-decorator]
def exponential(blas: Any, W: Any, b: Any, step: Any, scratch: Any, logdet: Any) -> Any:
    """One layer's exponential step, as `plain`; return log|det W|.

    W+ = e^(eta gain) (W + Delta.T @ F), F = phi1(eta K) @ (eta A); for N >= D the dense form.
    """
    Delta, A, K, u, m = step.Delta, step.A, step.K, step.u, step.m
    gain, eta = step.gain, step.eta
    N, D = Delta.shape
    n = K.shape[0]
    zero, one = Delta.dtype.type(0), Delta.dtype.type(1)
    M, trace = np.empty_like(K), 0.0
    for i in range(n):
        trace += np.float64(K[i, i])
        for j in range(n):
            M[i, j] = eta * K[i, j]
    P = phi1(blas, M, np.float64(eta * step.norm))
    for i in range(n):
        M[i, i] += eta
    bound = np.float64(eta) * (np.float64(step.norm) + 1.0)
    own, other, v = np.empty_like(b), np.empty_like(b), np.empty_like(u)
    for i in range(N):
        v[i] = eta * (u[i] - one)
    weigh_rows(Delta, times(P, v) if N < D else v, own)
    v[:] = eta
    if N >= D:
        own = times(P, own)
        weigh_rows(Delta, v, other)
    rows = phi1_times(blas, M, bound, v if N < D else other)  # one call: it is long when compiled
    if N < D:
        weigh_rows(Delta, rows, other)
    else:
        other = rows
    scale = np.empty_like(b)
    for i in range(D):
        scale[i] = np.exp(eta * gain[i])
        b[i] = scale[i] * (b[i] - m[i] + own[i]) + other[i] + m[i]
        logdet += math.log(np.float64(scale[i]))
    logdet += np.float64(eta) * trace
    if N < D:
        F = scratch
        gemm(blas, (N, D, N), eta, pointer(P), False, pointer(A), False, zero, pointer(F))
        scaled = np.empty_like(Delta)
        for i in range(N):
            for j in range(D):
                scaled[i, j] = Delta[i, j] * scale[j]
        add_product(blas, W, scale, scaled, F)
    else:
        product, F = np.empty((D, D), K.dtype), matrix(W, K, D, D)
        gemm(blas, (D, D, N), eta, pointer(Delta), True, pointer(A), False, zero, pointer(product))
        gemm(blas, (D, D, D), one, pointer(P), False, pointer(product), False, one, pointer(F))
        for i in range(D):
            for j in range(D):
                F[i, j] *= scale[i]
    return logdet
