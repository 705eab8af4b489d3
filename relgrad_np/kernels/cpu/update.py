"""The step itself: W in place, by a rank-N update in blocks of rows, b, and log|det W|."""

import math
from typing import Any

import numpy as np

from .bias import only_one, step_exponentially, step_plainly, times, weigh_rows, without_one
from .compile import gemm, inserted, matrix, pointer
from .determinants import log_det_near
from .phi import phi1, phi1_times
from .records import LayerStep
from .stored import compiled

BLOCK = 1 << 18  # so many numbers of W are scaled and added to while they are in the cache


@compiled
def add_product(blas: Any, W: Any, scale: Any, Delta: Any, F: Any) -> Any:
    """W <- scale[:, None] * W + Delta.T @ F in place, W an address; each row is read once."""
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


@inserted  # type: ignore[untyped-decorator]
def step(layers: Any, arrays: Any, charts: Any, sizes: Any, tracked: Any, numbers: Any) -> Any:
    """Take every layer's step in place: W, b, and the tracked log|det W| and its sign.

    sizes.eta is capped by limit / sizes.norms first.
    """
    for k in range(len(layers.W)):
        sizes.eta[k] = min(sizes.eta[k], sizes.eta.dtype.type(numbers.limit) / sizes.norms[k])
        if sizes.eta[k] == 0:  # the batch is only measured
            continue
        one = LayerStep(
            arrays.YD[k, 0], arrays.YD[k, 1], arrays.P[k, 0], arrays.K[k], arrays.u[k],
            arrays.one, charts.mean[k], charts.gain[k], sizes.eta[k], sizes.own[k],
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
    """Take one layer's plain step, W (address) and b in place; return log|det W| and a sign.

    The sign is that of the step's determinant.

    W+ = scale (W + Delta.T @ (c A)), scale = 1 + eta gain, c = eta / (1 + eta); for N >= D
    Delta.T @ A is K @ W.
    """
    Delta, m, gain, eta = step.Delta, step.m, step.gain, step.eta
    K, (N, D) = step.K, Delta.shape
    one = Delta.dtype.type(1)
    c = eta / (one + eta)
    scale, own = np.empty_like(m), np.empty_like(b)
    weigh_rows(blas, Delta, step.u, own)
    for i in range(D):
        scale[i] = one + eta * gain[i]
        step_plainly(b, i, m[i], scale[i], c, own)
        logdet += math.log(np.float64(scale[i]))
    if N < D:
        for n in range(N):
            row, out = Delta[n], scratch[n]
            for i in range(D):
                out[i] = row[i] * (scale[i] * c)
        add_product(blas, W, scale, scratch, step.A)
    else:
        old, turned, now = np.empty_like(K), np.empty_like(K), matrix(W, K, D, D)
        for i in range(D):
            for j in range(D):
                old[i, j] = now[i, j]
                turned[j, i] = K[i, j] * (scale[i] * c)
        add_product(blas, W, scale, turned, old)
    total, sign = log_det_near(blas, step.K, c, step.norm)
    return logdet + total, sign


@inserted  # type: ignore[untyped-decorator]
def exponential(blas: Any, W: Any, b: Any, step: Any, scratch: Any, logdet: Any) -> Any:
    """Take one layer's exponential step, as `plain`; return log|det W|.

    W+ = e^(eta gain) (W + Delta.T @ F), F = phi1(eta K) @ (eta A); for N >= D the dense form,
    phi1(eta K) @ (eta K) @ W.
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
    without_one(u, step.one, eta, v)
    weigh_rows(blas, Delta, times(blas, P, v) if N < D else v, own)
    only_one(step.one, eta, v)
    if N >= D:
        own = times(blas, P, own)
        weigh_rows(blas, Delta, v, other)
    rows = phi1_times(blas, M, bound, v if N < D else other)  # one call: it is long when compiled
    if N < D:
        weigh_rows(blas, Delta, rows, other)
    else:
        other = rows
    scale = np.empty_like(m)
    for i in range(D):
        scale[i] = np.exp(eta * gain[i])
        step_exponentially(b, i, m[i], scale[i], own, other)
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
        gemm(blas, (D, D, D), eta, pointer(K), False, (W, D), False, zero, pointer(product))
        gemm(blas, (D, D, D), one, pointer(P), False, pointer(product), False, one, pointer(F))
        for i in range(D):
            for j in range(D):
                F[i, j] *= scale[i]
    return logdet
