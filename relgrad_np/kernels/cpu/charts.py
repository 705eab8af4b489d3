"""The recipe's factors and sizes, layer by layer: chart, gain, noise; see `rules.recipe`."""

from typing import Any

import numpy as np

from ...rules.scalar import SLOW
from .bias import add_gram, add_score, add_shift
from .compile import add, gemm, inserted, pointer
from .passes import bounded, norm_bound, product


@inserted  # type: ignore[untyped-decorator]
def backward(layers: Any, arrays: Any, charts: Any, sizes: Any, numbers: Any, t: Any) -> Any:
    """Fill what `passes.backward` fills, in charts, and eta; and what is seen in this batch.

    YD then holds the Y and Delta of the step in charts. `t`: batches seen in this window before.
    Return the sum of all norms, which is finite if everything is.
    """
    YD = arrays.YD
    L, _, N, D = YD.shape
    number = YD.dtype.type
    one, new = number(1), number(1.0 / (t + 1.0))
    U, root, scale = np.empty((N, D), YD.dtype), np.empty((N, D), YD.dtype), np.empty(D, YD.dtype)
    score = np.empty(D, YD.dtype)
    total = 0.0
    for k in range(L - 1, -1, -1):
        Y, Delta, gain = YD[k, 0], YD[k, 1], charts.gain[k]
        mean, old, rows = charts.mean[k], charts.before[:, k], charts.rows[:, k]
        for i in range(D):
            scale[i], gain[i] = one, one
            if numbers.standardised:
                scale[i] = one / np.sqrt(charts.variance[k, i])
            if numbers.gains:
                gain[i] = one / max(charts.information[k, i], one)
        for n in range(N):
            for i in range(D):
                U[n, i] = (Y[n, i] - mean[i]) * scale[i]
                root[n, i] = Delta[n, i] / scale[i]  # Delta_u
        _see(Y, U, root, old, rows, score, new)
        for n in range(N):
            for i in range(D):
                Y[n, i] = U[n, i] * scale[i]
        product(layers, arrays, k)  # with the Delta of backpropagation, not that of the step
        for n in range(N):
            for i in range(D):
                Delta[n, i] = root[n, i] * gain[i] / scale[i]
        sizes.own[k] = bounded(arrays, k, layers.b[k], mean, layers.W[k])
        sizes.norms[k] = sizes.own[k] if N < D else _norm_in_chart(arrays.K[k], scale)
        total += sizes.norms[k] + sizes.own[k]
        square = _square(arrays.blas, U, root, gain, layers.b[k], arrays.one)
        square = add_score(layers.b[k], gain, score, square)
        x, norm = charts.before_each[0, k], charts.before_each[1, k]
        if numbers.size == 1:
            v = SLOW * x + (1 - SLOW) * square
            charts.numbers[0, k] = v
            sizes.eta[k] = numbers.learning_rate / np.sqrt(max(v / (1 - SLOW ** (t + 1)), 1.0))
            continue
        charts.numbers[0, k] = x + new * (number(square) - x)
        charts.numbers[1, k] = norm + new * (sizes.norms[k] - norm)
        charts.numbers[2, k] = max(charts.before_each[2, k], sizes.norms[k])
        eta = number(numbers.learning_rate)
        if numbers.size == 0:
            size = max(charts.each[0, k], one)
            signal = min(max(charts.each[1, k], one), size)
            eta = number(numbers.learning_rate / L) * signal / size
        tiny = np.finfo(YD.dtype).tiny
        eta = min(eta, number(numbers.tau) / (charts.each[2, k] + tiny))
        sizes.eta[k] = eta * charts.each[3, k]
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
def _see(Y: Any, U: Any, Delta: Any, old: Any, rows: Any, score: Any, new: Any) -> Any:
    """Fill `rows` with `old` and this batch, whose weight is `new`; and `score` with its own.

    Y, U and Delta_u (N, D); the rows are mean and variance of Y, the means of delta, delta^2 and
    delta u with delta = N Delta_u.
    """
    N, D = Y.shape
    number = Y.dtype.type
    share, one = number(1.0 / N), number(1)
    m, v, square, product = (
        np.zeros(D, Y.dtype), np.zeros(D, Y.dtype), np.zeros(D, Y.dtype), np.zeros(D, Y.dtype)
    )  # fmt: skip
    score[:] = number(0)
    for n in range(N):
        for i in range(D):
            delta = Delta[n, i]
            m[i] += Y[n, i]
            score[i] += delta
            square[i] += delta * delta
            product[i] += delta * U[n, i]
    for i in range(D):
        m[i] *= share
        square[i] *= number(N)
    for n in range(N):
        for i in range(D):
            off = Y[n, i] - m[i]
            v[i] += off * off
    for i in range(D):
        off = m[i] - old[0, i]
        rows[0, i] = old[0, i] + new * off
        rows[1, i] = (one - new) * (old[1, i] + new * off * off) + new * (v[i] * share)
        rows[2, i] = old[2, i] + new * (score[i] - old[2, i])
        rows[3, i] = old[3, i] + new * (square[i] - old[3, i])
        rows[4, i] = old[4, i] + new * (product[i] - old[4, i])


@inserted  # type: ignore[untyped-decorator]
def _square(blas: Any, U: Any, root: Any, gain: Any, b: Any, ones: Any) -> Any:
    """Return |xi|_F^2 / D as `rules.recipe.squared_norm`; `root` comes as Delta_u.

    With context |G_b|^2 is in it, from the same matrices; else `add_score` adds it.
    """
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
        add_gram(blas, b, ones, product)
        gemm(blas, (N, N, D), one, r, False, r, True, zero, pointer(other))
        for i in range(n):
            for j in range(n):
                square = add(square, product[i, j] * other[i, j])
    else:
        gemm(blas, (D, D, N), one, r, True, u, False, zero, pointer(product))
        for i in range(n):
            for j in range(n):
                square = add(square, product[i, j] * product[i, j])
        square = add_shift(blas, b, ones, root, square)
    return (np.float64(total) + 2.0 * np.float64(cross) + np.float64(square)) / D
