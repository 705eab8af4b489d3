"""The step of the natural gradient, one compiled call: passes, scores, F, Cholesky, exponentials.

Few dimensions and many layers: so samples lie side by side, (D, n) for each layer, and come in
blocks of about 256 of them, of which everything stays in a cache:

    X (n, D) --- _forward --->  Y_k, delta_k of all layers, (L, D, n) each; mean and variance of Y_k
    [all blocks seen: running mean and variance, the charts S (y - m) of all layers]
    Y_k, delta_k --- _scores --->  s (P, n), P = L (D^2 + D); their sum, (P,)
    s --- ?syrk --->  the lower triangle of F (P, P), no more than half of the products
    F + damping I --- dpotrf --->  C (P, P) in float64, and with it d = inv(F + damping I) g
    d, eta --- _move --->  W_k, b_k and log|det W_k|

With context, u~ = (u, 1) stands where 1 stands, and a unit has D + c + 1 scores.

Half of F is stored, as by the rule, and the other half is never read. Nothing of the state changes
before all of it is known to be finite: F goes into an array of its own, and layers are copied.
"""

import math
from typing import Any

import numpy as np

from .compile import add, call_fortran, gemm, inlined, inserted, matrix, pointer
from .elementwise import density_sweep, forward_sweep
from .exp_log import log_sum
from .natural_bias import (
    add_context,
    add_moved,
    columns_of_ones,
    entry,
    put_beside,
    set_row,
    variables,
)
from .phi import phi1
from .stored import compiled

BLOCK = 256  # samples, about
FEW = 12  # dimensions up to which a loop is faster than a call of the BLAS
LOWER = 85  # "U": the lower triangle by rows is the upper one in Fortran's order
TRANSPOSED = 84  # "T"


@compiled
def natural_step(
    blas: Any, X: Any, weights: Any, layers: Any, formulas: Any, rule: Any, scratch: Any,
    passes: Any, old: Any, fresh: Any, sizes: Any, logdets: Any,
) -> Any:  # fmt: skip
    """Take the step in place; return L_p, L_J1, L_J2 and 0: taken, 1: rejected, 2: not solved.

    Parameters
    ----------
    blas : the addresses of ?gemm and ?syrk, dpotrf and dpotrs
    X : (N, D), or with context (N, D + c); D + 1 is D + c + 1 in all of these then
    weights : (N,), of mean 1, and whether they are all equal
    layers, formulas : the fields of LayerArrays, Formulas, see `records`
    rule : learning rate, damping, tau; weight of the batch in the charts and in F; n / (n + 10 P)
        for n samples in F; whether F is renewed, and whether C must be made
    scratch : s (P, n) and (2 L, D n), free after the step
    passes : (2, blocks, L D n): Y and delta, free after the step
    old : mean and variance (L, D), F (P, P)
    fresh : mean, variance, S (L, D) each, F (P, P), d (L, D, D + 1), to be filled, and C (P, P)
    sizes : (2, L), to be filled: eta and norms
    logdets : (L,), to be moved on

    2 is for what dpotrf does not solve, F + damping I not being positive definite: then, and where
    something is not finite, nothing changes but what is to be filled.
    """
    gemm_at, syrk, potrf, potrs = blas
    rate, damping, tau, new, new_F, trust, renewed, factored = rule
    mean, variance, S, F, d, C = fresh
    s, parts = scratch
    L, D = mean.shape
    N, P = X.shape[0], s.shape[0]
    moments = np.zeros((2, L, D))
    ones = columns_of_ones(X, layers[1])
    L_p, L_J1 = _all_passes(gemm_at, X, ones, weights, layers, formulas, parts, passes, moments)
    total, L_J2 = _charts(old, moments, N, new, mean, variance, S), 0.0
    for k in range(L):
        L_J2 += logdets[k]
    g = np.zeros(P)
    if renewed:
        _copy_lower(old[2], F)
    shifts = (layers[1], ones)
    _add_scores(syrk, passes, N, shifts, mean, S, parts, s, g, F, new_F if renewed else 0.0)
    for p in range(P):
        total += 0.0 * (np.float64(F[p, p]) + g[p])
    if not math.isfinite(L_p + L_J1 + L_J2 + total):
        return L_p, L_J1, L_J2, 1
    if factored and not _factorize(potrf, F, damping, C):
        return L_p, L_J1, L_J2, 2
    rise, most = _direction(potrs, C, g, d, sizes[1])
    eta = min(rate * trust / math.sqrt(max(rise, 1.0)), tau / (most + np.finfo(s.dtype).tiny))
    total, moved = 0.0 * (eta + rise + most), np.empty_like(d)
    if math.isfinite(total):
        sizes[0, :] = eta
        total = _move(gemm_at, layers, S, mean, d, sizes[0, 0], tau, moved)
    if not math.isfinite(total):
        return L_p, L_J1, L_J2, 1
    for k in range(L):
        W, trace = matrix(layers[0][k], moved, D, D), 0.0
        for i in range(D):
            trace += np.float64(d[k, i, i])
            set_row(layers[1][k], i, moved[k, i], D)
            for j in range(D):
                W[i, j] = moved[k, i, j]
        logdets[k] += np.float64(sizes[0, k]) * trace
    return L_p, L_J1, L_J2, 0


@inserted  # type: ignore[untyped-decorator]
def _all_passes(
    gemm_at: Any, X: Any, ones: Any, weights: Any, layers: Any, formulas: Any, parts: Any,
    passes: Any, moments: Any,
) -> Any:  # fmt: skip
    """Fill Y and delta of all blocks, and the moments of Y; return the means of L_p and L_J1."""
    L, D = layers[1].shape[0], layers[1].shape[1]
    N, n = X.shape[0], passes.shape[2] // (L * D)
    L_p, L_J1 = 0.0, 0.0
    for block in range(passes.shape[1]):
        start, stop = block * n, min(N, block * n + n)
        Ys, deltas, shared = (
            passes[0, block],
            passes[1, block],
            (weights[0][start:stop], weights[1]),
        )
        rows = (X[start:stop], ones, start)
        p, j = _forward(gemm_at, rows, shared, layers, formulas, parts, Ys, deltas)
        L_p, L_J1 = L_p + p, L_J1 + j
        _backward(gemm_at, shared, layers, parts, deltas)
        _add_moments(Ys, stop - start, start, moments)
    return L_p / N, L_J1 / N


@inserted  # type: ignore[untyped-decorator]
def _copy_lower(old: Any, F: Any) -> Any:
    """Fill F with the lower triangle of `old`, and zeros."""
    zero = F.dtype.type(0)
    for p in range(F.shape[0]):
        before, now = old[p], F[p]
        for q in range(p + 1):
            now[q] = before[q]
        for q in range(p + 1, F.shape[0]):
            now[q] = zero


@inserted  # type: ignore[untyped-decorator]
def _add_scores(
    syrk: Any, passes: Any, N: Any, shifts: Any, mean: Any, S: Any, parts: Any, s: Any, g: Any,
    F: Any, new: Any,
) -> Any:  # fmt: skip
    """Fill g with the mean score and, where `new` > 0, F with (1 - new) F + new s s' / N."""
    P, n = s.shape
    keep, share = s.dtype.type(1 - new), s.dtype.type(new / N)
    for block in range(passes.shape[1]):
        count = min(n, N - block * n)
        rows = (block * n, count)
        _scores(passes[0, block], passes[1, block], *shifts, rows, mean, S, parts, s, new > 0, g)
        if new > 0:
            call_fortran(syrk, (
                np.int8(LOWER), np.int8(TRANSPOSED), np.int32(P), np.int32(count), share,
                np.intp(s.ctypes.data), np.int32(n), keep, np.intp(F.ctypes.data), np.int32(P),
            ))  # fmt: skip
            keep = s.dtype.type(1)
    for p in range(P):
        g[p] /= N


@inserted  # type: ignore[untyped-decorator]
def _factorize(potrf: Any, F: Any, damping: Any, C: Any) -> Any:
    """Fill the lower triangle of C (P, P) with the factor of F + damping I; say if it exists."""
    P, info = F.shape[0], np.zeros(1, np.int32)
    for p in range(P):
        row, out = F[p], C[p]
        for q in range(p + 1):
            out[q] = row[q]
        out[p] += damping
    call_fortran(potrf, (
        np.int8(LOWER), np.int32(P), np.intp(C.ctypes.data), np.int32(P), np.intp(info.ctypes.data)
    ))  # fmt: skip
    return info[0] == 0


@inserted  # type: ignore[untyped-decorator]
def _direction(potrs: Any, C: Any, g: Any, d: Any, norms: Any) -> Any:
    """Fill d (L, D, D + 1) with inv(C C') g, and its norms (L,); return <g, d> and the largest."""
    (P,), info, x = g.shape, np.zeros(1, np.int32), g.copy()
    call_fortran(potrs, (
        np.int8(LOWER), np.int32(P), np.int32(1), np.intp(C.ctypes.data), np.int32(P),
        np.intp(x.ctypes.data), np.int32(P), np.intp(info.ctypes.data),
    ))  # fmt: skip
    rise, most, p = 0.0, 0.0, 0
    for k in range(d.shape[0]):
        square = 0.0
        for i in range(d.shape[1]):
            for a in range(d.shape[2]):
                d[k, i, a] = x[p]
                square, rise = square + x[p] * x[p], rise + g[p] * x[p]
                p += 1
        norms[k] = math.sqrt(square)
        most = max(most, math.sqrt(square))
    return rise, most


@inlined  # type: ignore[untyped-decorator]
def _layer_of(values: Any, k: Any, D: Any, n: Any) -> Any:
    """Return layer k, (D, n), of an array that holds one layer after another."""
    return values[k * D * n : (k + 1) * D * n].reshape((D, n))


@compiled
def _times(blas: Any, W: Any, transposed: Any, Z: Any, Y: Any) -> Any:
    """Y <- Y + W @ Z, or W.T @ Z; Y, Z (D, n)."""
    D, n = Z.shape
    if D > FEW:
        one, w = Z.dtype.type(1), pointer(W)
        gemm(blas, (D, n, D), one, w, transposed, pointer(Z), False, one, pointer(Y))
        return
    for i in range(D):
        y, j = Y[i], 0
        while j + 2 <= D:
            a, b = (W[j, i], W[j + 1, i]) if transposed else (W[i, j], W[i, j + 1])
            one, two = Z[j], Z[j + 1]
            for m in range(n):
                y[m] += a * one[m] + b * two[m]
            j += 2
        if j < D:
            a, one = W[j, i] if transposed else W[i, j], Z[j]
            for m in range(n):
                y[m] += a * one[m]


@inserted  # type: ignore[untyped-decorator]
def _forward(
    blas: Any, rows: Any, weights: Any, layers: Any, formulas: Any, parts: Any, Ys: Any, deltas: Any
) -> Any:
    """Fill the Ys of a block, sigma' and (log sigma')', and the last delta, not weighted.

    rows: X (n, D), or (n, D + c); what biases are multiplied with, in all blocks; and the first
    sample of this one. parts (2 L, D n): Z, then sigma' of layers 0 to L - 2, then (log sigma')'.
    Return the sums of L_p and L_J1, weighted.
    """
    X, ones, start = rows
    L, D, n = layers[1].shape[0], layers[1].shape[1], X.shape[0]
    size = n * D
    activation, a, density, c = formulas
    zero = X.dtype.type(0)
    w, equal = weights
    L_p, L_J1 = 0.0, 0.0
    Z = parts[0, :size].reshape((D, n))
    for m in range(n):
        for i in range(D):
            Z[i, m] = X[m, i]
    for k in range(L):
        Y = _layer_of(Ys, k, D, n)
        put_beside(layers[1][k], ones, start, Y)
        _times(blas, matrix(layers[0][k], parts, D, D), False, Z, Y)
        if k < L - 1:
            y, slope = Ys[k * size : k * size + size], parts[1 + k, :size]
            total = forward_sweep(y, activation, a, parts[0, :size], slope, parts[L + k, :size])
            if not equal:
                total = zero
                for i in range(D):
                    row = slope[i * n : i * n + n]
                    for m in range(n):
                        total = add(total, w[m] * log_sum(row[m], zero))
            L_J1 += np.float64(total)
    y, log_p = Ys[(L - 1) * size : L * size], parts[0, :size]
    density_sweep(y, density, c, log_p, deltas[(L - 1) * size : L * size])
    total = zero
    for i in range(D):
        row = log_p[i * n : i * n + n]
        if equal:
            for m in range(n):
                total = add(total, row[m])
        else:
            for m in range(n):
                total = add(total, w[m] * row[m])
    L_p += np.float64(total)
    return L_p, L_J1


@inserted  # type: ignore[untyped-decorator]
def _backward(blas: Any, weights: Any, layers: Any, parts: Any, deltas: Any) -> Any:
    """Weight the last delta of a block, (D n,), and fill those of the layers before it."""
    w, equal = weights
    L, D = layers[1].shape[0], layers[1].shape[1]
    n = len(w)
    size, zero = n * D, parts.dtype.type(0)
    if not equal:
        last = _layer_of(deltas, L - 1, D, n)
        for i in range(D):
            row = last[i]
            for m in range(n):
                row[m] *= w[m]
    for k in range(L - 1, 0, -1):
        out = _layer_of(deltas, k - 1, D, n)
        flat = deltas[(k - 1) * size : k * size]
        for m in range(size):
            flat[m] = zero
        _times(blas, matrix(layers[0][k], parts, D, D), True, _layer_of(deltas, k, D, n), out)
        slope, bend = parts[k, :size], parts[L + k - 1, :size]
        if equal:
            for m in range(size):
                flat[m] = flat[m] * slope[m] + bend[m]
        else:
            for i in range(D):
                for m in range(n):
                    j = i * n + m
                    flat[j] = flat[j] * slope[j] + bend[j] * w[m]


@compiled
def _add_moments(Ys: Any, n: Any, seen: Any, moments: Any) -> Any:
    """Add a block of n samples to the mean and the sum of squares about it of `seen` others."""
    _, L, D = moments.shape
    zero = Ys.dtype.type(0)
    for k in range(L):
        for i in range(D):
            y = Ys[(k * D + i) * n : (k * D + i + 1) * n]
            total, square = zero, zero
            for m in range(n):
                total = add(total, y[m])
            mean = total / Ys.dtype.type(n)
            for m in range(n):
                square = add(square, (y[m] - mean) * (y[m] - mean))
            off = np.float64(mean) - moments[0, k, i]
            moments[0, k, i] += off * (n / (seen + n))
            moments[1, k, i] += np.float64(square) + off * off * (n * seen / (seen + n))


@inserted  # type: ignore[untyped-decorator]
def _charts(old: Any, moments: Any, N: Any, new: Any, mean: Any, variance: Any, S: Any) -> Any:
    """Fill the running mean and variance, and S; return 0, or NaN where they are not finite."""
    total = 0.0
    L, D = mean.shape
    tiny = np.finfo(mean.dtype).tiny
    for k in range(L):
        for i in range(D):
            off = moments[0, k, i] - old[0][k, i]
            m = old[0][k, i] + new * off
            v = (1 - new) * (old[1][k, i] + new * off * off) + new * (moments[1, k, i] / N)
            mean[k, i], variance[k, i] = m, v
            S[k, i] = 1 / np.sqrt(variance[k, i] + tiny)
            total += 0.0 * (mean[k, i] + variance[k, i] + S[k, i])
    return total


@compiled
def _scores(
    Ys: Any, deltas: Any, b: Any, ones: Any, rows: Any, mean: Any, S: Any, parts: Any, s: Any,
    kept: Any, g: Any,
) -> Any:  # fmt: skip
    """Fill the first n columns of s (P, .) with the scores of a block; add their sum to g (P,).

    b: the biases of all layers; ones: what they are multiplied with; rows: the first sample and n.
    Where scores need not be `kept`, all units use the same rows of s, which stay in the cache.
    """
    (L, D), (start, n), c = mean.shape, rows, variables(b)
    zero, one = s.dtype.type(0), s.dtype.type(1)
    U = parts[0, : D * n].reshape((D, n))
    p = 0
    for k in range(L):
        for i in range(D):
            y, u = Ys[(k * D + i) * n : (k * D + i + 1) * n], U[i]
            m, scale = mean[k, i], S[k, i]
            for j in range(n):
                u[j] = (y[j] - m) * scale
        for i in range(D):
            value, inverse = deltas[(k * D + i) * n : (k * D + i + 1) * n], one / S[k, i]
            first = p if kept else 0
            row, total = s[first + D + c], zero
            for j in range(n):
                x = value[j] * inverse
                row[j] = x
                total = add(total, x)
            g[p + D + c] += np.float64(total)
            add_context(b, ones, start, n, row, s[first + D :], g[p + D :])
            for a in range(D):
                out, u, e = s[first + a], U[a], one if a == i else zero
                total = zero
                for j in range(n):
                    x = row[j] * u[j] + e
                    out[j] = x
                    total = add(total, x)
                g[p + a] += np.float64(total)
            p += D + c + 1


@inserted  # type: ignore[untyped-decorator]
def _move(blas: Any, layers: Any, S: Any, m: Any, d: Any, eta: Any, tau: Any, moved: Any) -> Any:
    """Fill moved (L, D, D + 1) with W+ and b+: exp(eta d) in the charts, see `core.full_rank`.

    Return 0, or NaN where something is not finite.
    """
    L, D = m.shape
    columns = d.shape[2]
    M, t = np.empty((D, columns), S.dtype), np.empty((D, D), S.dtype)
    total, size = 0.0, S.dtype.type(eta)
    for k in range(L):
        W, b = matrix(layers[0][k], moved, D, D), layers[1][k]
        for i in range(D):
            for j in range(D):
                t[i, j] = size * d[k, i, j]
            for j in range(columns):
                M[i, j] = d[k, i, j] if j >= D else S.dtype.type(0)
            for a in range(D):
                x, scale = d[k, i, a], S[k, a]
                for j in range(D):
                    M[i, j] += x * (scale * W[a, j])
                add_moved(b, a, m[k, a], scale, x, M[i], D)
            for j in range(columns):
                M[i, j] *= size
        Phi = phi1(blas, t, tau)
        for i in range(D):
            for j in range(columns):
                x = S.dtype.type(0)
                for a in range(D):
                    x += Phi[i, a] * M[a, j]
                before = W[i, j] if j < D else entry(b, i, j - D)
                moved[k, i, j] = before + x / S[k, i]
                total += 0.0 * moved[k, i, j]
    return total
