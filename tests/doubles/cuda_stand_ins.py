"""What each CUDA kernel of `sources` computes, in NumPy: the same names and arguments.

They stand in for a device in the tests. They are written for clarity, not for speed.
"""

from typing import Any

import numpy as np

Array = Any


def leaky_sweep(
    Y: Array, b: Array, alpha: Any, c: Any, ratio: Any, log_alpha: Any, Z: Array, S: Array,
    T: Array, total: Array, N: int, D: int,
) -> None:  # fmt: skip
    """Y += b; Z = sigma(Y), S = sigma'(Y), T = (log sigma')'(Y); total = sums of log sigma'."""
    Y += b
    t = np.exp(-np.abs(Y))
    u = t / (1 + t)
    S[...] = alpha + c * np.where(Y > 0, 1 / (1 + t), u)
    Z[...] = alpha * Y + (c * (np.maximum(Y, 0) + np.log1p(t)) if c else 0)
    T[...] = c * u * (1 - u) / S
    log_slope = np.where(Y > 0, np.log1p(-c * u), log_alpha + np.log1p(ratio * u))
    total[...] = log_slope.sum(axis=1, dtype=np.float64)


def density_sweep(
    Y: Array, b: Array, code: int, c0: Any, c1: Any, c2: Any, c3: Any, share: Array,
    Delta: Array, total: Array, N: int, D: int,
) -> None:  # fmt: skip
    """Y += b; Delta = score(Y) share; total = sums of log p(Y)."""
    Y += b
    size = np.abs(Y)
    if code == 0:
        log_p, score = c0 * Y * Y + c1, -Y
    elif code == 2:
        log_p, score = c1 - size, -np.sign(Y)
    elif code == 4:
        inner = np.minimum(size, c0)
        r, q = size - inner, inner * inner
        log_p = c1 - (c2 * q * q + r * (q * inner + c3 * q * r))
        score = -np.sign(Y) * q * (inner + 2 * c3 * r)
    elif code == 5:
        r = size * c0
        large = np.maximum(r, 1)
        q = np.where(r < 1, r, 1 / large)
        log_p = c1 + c2 * (2 * np.log(large) + np.log1p(q * q)) + 0 * r
        score = -c3 * np.sign(Y) * q / (1 + q * q)
    else:
        log_p = c1 - size + c2 * np.log1p(np.exp(c0 * size))
        score = -np.tanh(Y / 2 if code == 1 else Y)
    Delta[...] = score * share[:, None]
    total[...] = log_p.sum(axis=1, dtype=np.float64)


def delta_sweep(
    d_Z: Array, S: Array, T: Array, share: Array, Delta: Array, N: int, D: int, parts: int
) -> None:
    """Delta = d_Z * S + T * share, the last step of backpropagation through a layer."""
    Delta[...] = d_Z * S + T * share[:, None]


def dots(Y: Array, A: Array, b: Array, m: Array, u: Array, mark: Array, N: int, D: int) -> None:
    """U = Y @ (b - m) + 1; mark = 0, NaN where A or u is not finite."""
    u[...] = (Y.astype(np.float64) * (b - m)).sum(axis=1) + 1
    mark[...] = (0 * A).sum(axis=1, dtype=np.float64) + 0 * u


def extents(K: Array, sums: Array, most: Array, squares: Array, n: int) -> None:
    """Sum |K| along rows, then columns; of each row find the largest |K|, and sum (K / most)^2."""
    size = np.abs(K.astype(np.float64))
    sums[:n], sums[n:] = size.sum(axis=1), size.sum(axis=0)
    most[...] = np.where(np.isnan(size), 0, size).max(axis=1)
    squares[...] = ((size / np.where(most > 0, most, 1)[:, None]) ** 2).sum(axis=1)


def decide(
    terms: Array, share: Array, logdet: Array, marks: Array, sums: Array, most: Array,
    squares: Array, size: Array, rate: Any, tau: Any, tiny: Any, kind: int, L: int, N: int, n: int,
    out: Array, wide: Array, finite: Array, rejected: Array,
) -> None:  # fmt: skip
    """Sum the objective's terms, bound |K|, and find eta, c, alpha, beta of each layer."""
    real = out.dtype.type
    weighed = terms.reshape(L, N) * share
    out[0], out[1] = weighed[-1].sum(), weighed[:-1].sum()
    wide[...] = L_J2 = logdet.sum()
    squares = squares.reshape(L, n)
    if kind == 2:
        norm = np.sqrt(squares.sum(axis=1).astype(out.dtype))
    else:
        sums, most = sums.reshape(L, 2, n), most.reshape(L, n)
        top = most.max(axis=1)
        scale = most / np.where(top > 0, top, 1)[:, None]
        frobenius = top * np.sqrt((squares * scale**2).sum(axis=1))
        rows, columns = np.nan_to_num(sums, nan=0.0, posinf=np.inf).max(axis=2).T
        bound = np.fmin(frobenius, np.sqrt(rows) * np.sqrt(columns))
        norm = (bound + (0 * sums[:, 0]).sum(axis=1)).astype(out.dtype) + tiny
    everything = real(marks.sum() + norm.sum(dtype=np.float64))
    fine = bool(np.isfinite(out[0] + out[1] + L_J2) and np.isfinite(everything))
    finite[...], rejected[...] = fine, not fine
    for k in range(L):
        eta = rate * size[k]
        if kind < 2 and tau / norm[k] < eta:
            eta = tau / norm[k]
        eta = eta if fine else real(0)
        beta = {0: real(1) + eta, 1: np.exp(eta), 2: real(1)}[kind]
        c = eta / beta if kind == 0 else eta
        out[2 + k], out[2 + L + k], out[2 + 2 * L + k] = eta, norm[k], c
        out[2 + 3 * L + k], out[2 + 4 * L + k] = beta * c, beta


def clear_unless(finite: Array, x: Array, count: int) -> None:
    """X = 0 unless finite."""
    if not finite[0]:
        x[...] = 0


def scales(eta: Array, gain: Array, kind: int, scale: Array, D: int) -> None:
    """Scale = 1 + eta gain, or e^(eta gain) for kind 1."""
    scale[...] = 1 + eta * gain if kind == 0 else np.exp(eta * gain)


def weigh(Delta: Array, scale: Array, c: Array, F: Array, N: int, D: int, parts: int) -> None:
    """F = Delta * scale * c."""
    F[...] = Delta * (scale * c)


def scale_rows(W: Array, scale: Array, D: int, parts: int) -> None:
    """W <- scale[:, None] * W."""
    W *= scale[:, None]


def move_bias(
    finite: Array, Delta: Array, u: Array, b: Array, m: Array, scale: Array, each: int,
    factor: Array, other: Array, b_1: Array, N: int, D: int,
) -> None:  # fmt: skip
    """b_1 = scale (b - m + factor Delta.T @ u) + other + m; b where not finite."""
    own = (Delta.T.astype(np.float64) @ u).astype(b.dtype)
    b_1[...] = scale * (b - m + factor * own) + other + m if finite[0] else b


def track(
    K: Array, c: Array, scale: Array, each: int, logdet: Array, sign: Array, kind: int, M: Array,
    logdet_1: Array, sign_1: Array, L: int, n: int, D: int,
) -> None:  # fmt: skip
    """log|det W| and its sign after the step: kind 0 plain, 1 exponential, 2 the scale alone."""
    K, c = K.reshape(L, n, n).astype(np.float64), c.astype(np.float64)
    for k in range(L):
        logs = np.log(scale.reshape(L, -1)[k].astype(np.float64))
        own, way = (logs.sum() if each else D * logs[0]), 1.0
        if kind == 0:
            way, log_det = np.linalg.slogdet(np.eye(n) + c[k] * K[k])
            own += log_det
        elif kind == 1:
            own += c[k] * np.trace(K[k])
        logdet_1[k], sign_1[k] = logdet[k] + own, sign[k] * way


def square_rows(R: Array, W: Array, squares: Array, D: int) -> None:
    """Squares = sum_j (R + W)^2 of each row."""
    squares[...] = ((R + W).astype(np.float64) ** 2).sum(axis=1)


def adam(
    finite: Array, R: Array, own: Any, p: Array, m: Array, v: Array, beta1: Any, rest1: Any,
    beta2: Any, rest2: Any, rate: Any, correction: Any, epsilon: Any, count: int,
) -> None:  # fmt: skip
    """Adam in place on p, m, v with gradient R + own p; nothing unless finite."""
    if finite[0]:
        g = R + own * p
        m[...] = beta1 * m + rest1 * g
        v[...] = beta2 * v + rest2 * g * g
        p += rate * m / (np.sqrt(v * correction) + epsilon)
