"""The recipe's factors and sizes, layer by layer: chart, gain, noise; see `rules.recipe`."""

from typing import Any

import numpy as np

from ...rules.recipe import SLOW
from .compile import add, gemm, inserted, pointer
from .passes import bounded, norm_bound, product


@inserted  # type: ignore[untyped-decorator]
def backward(
    layers: Any, arrays: Any, charts: Any, sizes: Any, numbers: Any, known: Any, t: Any
) -> Any:
    """Fill what `passes.backward` fills, in charts, and eta before the cap.

    YD then holds the Y and Delta of the step in charts. The record `charts` is moved on if it is
    `known`, else begun. Return the sum of all norms, which is finite if everything is.
    """
    YD = arrays.YD
    L, _, N, D = YD.shape
    number = YD.dtype.type
    zero, one = number(0), number(1)
    U, root, scale = np.empty((N, D), YD.dtype), np.empty((N, D), YD.dtype), np.empty(D, YD.dtype)
    total = 0.0
    for k in range(L - 1, -1, -1):
        Y, Delta, gain, x = YD[k, 0], YD[k, 1], charts.gain[k], charts.x[k]
        mean, variance, information = charts.mean[k], charts.variance[k], charts.information[k]
        if numbers.memory >= 0:
            _moments(Y, mean, variance, numbers.memory, known)
            for i in range(D):
                scale[i] = one / np.sqrt(variance[i])
        else:
            mean[:], variance[:], scale[:] = zero, one, one
        for n in range(N):
            for i in range(D):
                U[n, i] = (Y[n, i] - mean[i]) * scale[i]
                root[n, i] = Delta[n, i] / scale[i]  # Delta_u
        if numbers.information >= 0:
            _inform(root, information, gain, numbers.information, known)
        else:
            information[:], gain[:] = one, one
        for n in range(N):
            for i in range(D):
                Y[n, i] = U[n, i] * scale[i]
        product(layers, arrays, k)  # with the Delta of backpropagation, not that of the step
        for n in range(N):
            for i in range(D):
                Delta[n, i] = root[n, i] * gain[i] / scale[i]
        sizes.own[k] = bounded(arrays, k, layers.b[k], mean)
        sizes.norms[k] = sizes.own[k] if N < D else _norm_in_chart(arrays.K[k], scale)
        total += sizes.norms[k] + sizes.own[k]
        if numbers.size == 2:
            x[0], sizes.eta[k] = zero, number(numbers.learning_rate)
        else:
            square = _square(arrays.blas, U, root, gain)
            if numbers.size == 1:
                square += _shift(root, gain) / D
                v = (1 - SLOW) * square + (SLOW * x[0] if known else 0.0)
                x[0] = v
                v = max(v / (1 - SLOW ** (t + 1)), 1.0)
                sizes.eta[k] = numbers.learning_rate / np.sqrt(v)
            else:
                x[0] = SLOW * x[0] + (1 - SLOW) * square if known else square
                sizes.eta[k] = numbers.learning_rate / L / max(max(x[0], square), 1.0)
    return total


@inserted  # type: ignore[untyped-decorator]
def _norm_in_chart(K: Any, scale: Any) -> Any:
    """Return the norm bound of S K / S with S = diag(scale), which is K (D, D) in the chart."""
    charted = np.empty_like(K)
    for i in range(K.shape[0]):
        for j in range(K.shape[0]):
            charted[i, j] = K[i, j] * (scale[i] / scale[j])
    return norm_bound(charted)


@inserted  # type: ignore[untyped-decorator]
def _moments(Y: Any, mean: Any, variance: Any, memory: Any, old: Any) -> Any:
    """Update mean and variance of the columns of Y, keeping `memory` of the old ones if `old`."""
    N, D = Y.shape
    number = Y.dtype.type
    keep, new, share = number(memory), number(1 - memory), number(1.0 / N)
    m, v = np.zeros(D, Y.dtype), np.zeros(D, Y.dtype)
    for n in range(N):
        for i in range(D):
            m[i] += Y[n, i]
    for i in range(D):
        m[i] *= share
    for n in range(N):
        for i in range(D):
            off = Y[n, i] - m[i]
            v[i] += off * off
    tiny = np.finfo(Y.dtype).tiny
    for i in range(D):
        v[i] *= share
        if old:
            off = m[i] - mean[i]
            mean[i] = keep * mean[i] + new * m[i]
            variance[i] = keep * variance[i] + new * (v[i] + keep * off * off) + tiny
        else:
            mean[i], variance[i] = m[i], v[i] + tiny


@inserted  # type: ignore[untyped-decorator]
def _inform(Delta: Any, information: Any, gain: Any, memory: Any, old: Any) -> Any:
    """Update the running F = N sum_n Delta_ni^2, and fill gain = 1 / max(F, 1)."""
    N, D = Delta.shape
    number = Delta.dtype.type
    one, keep, new = number(1), number(memory), number(1 - memory)
    F = np.zeros(D, Delta.dtype)
    for n in range(N):
        for i in range(D):
            F[i] += Delta[n, i] * Delta[n, i]
    for i in range(D):
        F[i] *= number(N)
        information[i] = keep * information[i] + new * F[i] if old else F[i]
        gain[i] = one / max(information[i], one)


@inserted  # type: ignore[untyped-decorator]
def _square(blas: Any, U: Any, root: Any, gain: Any) -> Any:
    """Return |xi|_F^2 / D as `rules.recipe.squared_norm`; `root` comes as Delta_u."""
    N, D = U.shape
    number = U.dtype.type
    zero, one = number(0), number(1)
    total, cross, weights = zero, zero, np.sqrt(gain)
    for i in range(D):
        total += gain[i]
    for n in range(N):
        for i in range(D):
            cross = add(cross, root[n, i] * gain[i] * U[n, i])
            root[n, i] = root[n, i] * weights[i]
    square, n = zero, min(N, D)
    u, r, product = pointer(U), pointer(root), np.empty((n, n), U.dtype)
    if N < D:
        other = np.empty((n, n), U.dtype)
        gemm(blas, (N, N, D), one, u, False, u, True, zero, pointer(product))
        gemm(blas, (N, N, D), one, r, False, r, True, zero, pointer(other))
        for i in range(n):
            for j in range(n):
                square = add(square, product[i, j] * other[i, j])
    else:
        gemm(blas, (D, D, N), one, r, True, u, False, zero, pointer(product))
        for i in range(n):
            for j in range(n):
                square = add(square, product[i, j] * product[i, j])
    return (np.float64(total) + 2.0 * np.float64(cross) + np.float64(square)) / D


@inserted  # type: ignore[untyped-decorator]
def _shift(root: Any, gain: Any) -> Any:
    """Return sum_i G_b,i^2 / gain_i of G_b = sum_n gain Delta_u; root = gain^(1/2) Delta_u."""
    N, D = root.shape
    total, column = 0.0, np.zeros(D, root.dtype)
    for n in range(N):
        for i in range(D):
            column[i] += root[n, i]
    for i in range(D):
        total += np.float64(column[i]) ** 2
    return total
