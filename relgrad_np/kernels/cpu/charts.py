"""The recipe's factors, layer by layer: chart, weights, gain, noise; see `recipe`."""

from typing import Any

import numpy as np

from ...rules.recipe import SLOW
from .compile import add, compiled, gemm, inlined, place
from .passes import bounded, norm_bound, product


@compiled
def backward(
    address: Any, W: Any, B: Any, YD: Any, P: Any, S: Any, T: Any, share: Any, K: Any, u: Any,
    norms: Any, inner: Any, options: Any, old: Any, t: Any, moments: Any, x: Any, gain: Any,
    Deltas: Any, sizes: Any,
) -> Any:  # fmt: skip
    """As `passes.backward`, with Y in YD and Deltas[:, 0] those of the step in charts.

    `moments` (3, L, D): running mean, variance, information, and x (L,), all updated, if `old`;
    gain (L, D); sizes (L,): eta before the cap. norms (L,): of K in the chart, inner (L,): of K
    itself, which is another for N >= D. `options`: learning rate; memory, information,
    outliers, negative for None; 0, 1, 2 for the size "noise", "adaptive", "constant".
    Returns the sum of all norms.
    """
    L, _, N, D = YD.shape
    zero, one = YD.dtype.type(0), YD.dtype.type(1)
    U, root, scale = np.empty((N, D), YD.dtype), np.empty((N, D), YD.dtype), np.empty(D, YD.dtype)
    total = 0.0
    for k in range(L - 1, -1, -1):
        Y, raw, Delta = YD[k, 0], YD[k, 1], Deltas[k, 0]
        mean, variance, information = moments[0, k], moments[1, k], moments[2, k]
        if options[1] >= 0:
            _moments(Y, mean, variance, options[1], old)
            for i in range(D):
                scale[i] = one / np.sqrt(variance[i])
        else:
            mean[:], variance[:], scale[:] = zero, one, one
        for n in range(N):
            for i in range(D):
                U[n, i] = (Y[n, i] - mean[i]) * scale[i]
                root[n, i] = raw[n, i] / scale[i]  # Delta_u
        if options[3] >= 0:
            _weigh(root, U, YD.dtype.type(options[3]))
        if options[2] >= 0:
            _inform(root, information, gain[k], options[2], old)
        else:
            information[:], gain[k, :] = one, one
        for n in range(N):
            for i in range(D):
                Y[n, i] = U[n, i] * scale[i]
                Delta[n, i] = root[n, i] * gain[k, i] / scale[i]
        product(address, W, YD, P, S, T, share, k)
        inner[k] = bounded(address, Y, Delta, P[k, 0], B[k], mean, K[k], u[k])
        norms[k] = inner[k] if N < D else _norm_in_chart(K[k], scale)
        total += norms[k] + inner[k]
        if options[4] == 2:
            x[k], sizes[k] = zero, YD.dtype.type(options[0])
        else:
            square = _square(address, U, root, gain[k])
            if options[4] == 1:
                square += _shift(root, gain[k]) / D
                v = (1 - SLOW) * square + (SLOW * x[k] if old else 0.0)
                x[k] = v
                sizes[k] = options[0] / np.sqrt(max(v / (1 - SLOW ** (t + 1)), 1.0))
            else:
                x[k] = SLOW * x[k] + (1 - SLOW) * square if old else square
                sizes[k] = options[0] / L / max(max(x[k], square), 1.0)
    return total


@inlined  # type: ignore[untyped-decorator]
def _norm_in_chart(K: Any, scale: Any) -> Any:
    """Return the norm bound of S K / S, S = diag(scale): what K (D, D) is in the chart."""
    charted = np.empty_like(K)
    for i in range(K.shape[0]):
        for j in range(K.shape[0]):
            charted[i, j] = K[i, j] * (scale[i] / scale[j])
    return norm_bound(charted)


@inlined  # type: ignore[untyped-decorator]
def _moments(Y: Any, mean: Any, variance: Any, memory: Any, old: Any) -> Any:
    """Update mean and variance of the columns; `memory` of what is there if `old`."""
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


@inlined  # type: ignore[untyped-decorator]
def _weigh(Delta: Any, U: Any, outliers: Any) -> Any:
    """Multiply Delta_n by min(1, outliers median(q) / q_n), q_n = |Delta_n| |U_n|."""
    N, D = U.shape
    q = np.empty(N, U.dtype)
    for n in range(N):
        one, two = U.dtype.type(0), U.dtype.type(0)
        d, y = Delta[n], U[n]
        for i in range(D):
            one = add(one, d[i] * d[i])
            two = add(two, y[i] * y[i])
        q[n] = np.sqrt(one * two)
    limit = outliers * np.sort(q)[N // 2]
    for n in range(N):
        weight = limit / (q[n] + np.finfo(U.dtype).tiny)
        if not weight >= U.dtype.type(1):  # NaN, too
            for i in range(D):
                Delta[n, i] *= weight


@inlined  # type: ignore[untyped-decorator]
def _inform(Delta: Any, information: Any, gain: Any, memory: Any, old: Any) -> Any:
    """Update F = N sum_n Delta_ni^2, and gain = 1 / max(F, 1)."""
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


@inlined  # type: ignore[untyped-decorator]
def _square(address: Any, U: Any, root: Any, gain: Any) -> Any:
    """Return |xi|_F^2 / D as `recipe.squared_norm`; `root` comes as Delta_u."""
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
    one_product = np.empty((n, n), U.dtype)
    if N < D:
        two_product = np.empty((n, n), U.dtype)
        gemm(address, (N, N, D), one, place(U), False, place(U), True, zero, place(one_product))
        gemm(
            address, (N, N, D), one, place(root), False, place(root), True, zero,
            place(two_product),
        )  # fmt: skip
        for i in range(n):
            for j in range(n):
                square = add(square, one_product[i, j] * two_product[i, j])
    else:
        gemm(address, (D, D, N), one, place(root), True, place(U), False, zero, place(one_product))
        for i in range(n):
            for j in range(n):
                square = add(square, one_product[i, j] * one_product[i, j])
    return (np.float64(total) + 2.0 * np.float64(cross) + np.float64(square)) / D


@inlined  # type: ignore[untyped-decorator]
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
