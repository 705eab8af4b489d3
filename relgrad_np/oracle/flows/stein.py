"""Stein's tests of whether rows follow a density that is known up to its constant.

The kernel is the inverse multiquadric of exponent 1/2, scaled to the rows. The p-value is that of
a wild bootstrap. It needs a density that is positive everywhere: one with bounds is not tested.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import stats

from .records import Array

ROWS = 500
REPLICATES = 6000
H = 2.5e-5  # the step of a score, in deviations of the rows
FEW = 2000  # rows for which the step is judged


def stein(
    log_p: Callable[[Array], Array],
    x: Array,
    rng: np.random.Generator,
    replicates: int = REPLICATES,
) -> float | None:
    """Return the p-value of rows x (n, D) against log_p; None where log_p is not finite near them.

    >>> rng = np.random.default_rng(0)
    >>> log_p = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> x = rng.standard_normal((400, 2))
    >>> stein(log_p, x, rng) > 0.001, stein(log_p, x + 0.5, rng) < 0.001
    (True, True)
    """
    found = scores(log_p, x[:ROWS])
    if found is None:
        return None
    white, score = found
    n, D = white.shape
    far = white[:, None] - white  # (n, n, D)
    square = (far**2).sum(axis=2)
    c = max(float(np.median(square)), 1e-12)
    k = (1 + square / c) ** -0.5
    first, second = -(k**3) / c, 3 * k**5 / c**2  # dk/d far = first * far
    mixed = np.einsum("nmd,nd->nm", far, score) - np.einsum("nmd,md->nm", far, score)
    Q = k * (score @ score.T) - first * mixed - first * D - second * square
    np.fill_diagonal(Q, 0)
    signs = rng.choice(np.array([-1.0, 1.0]), (replicates, n))
    drawn = ((signs @ Q) * signs).sum(axis=1)
    return float((1 + (drawn >= Q.sum()).sum()) / (1 + replicates))


def moments(log_p: Callable[[Array], Array], x: Array) -> float | None:
    """Return the p-value of Stein's identity for constants and linear functions; None as above.

    E s_i = 0 and E x_i s_j = -1 if i = j, else 0, for the score s: D (D + 1) z tests together.
    Thrice their p-value is returned, for the error of the normal approximation.

    >>> rng = np.random.default_rng(0)
    >>> log_p = lambda x: -0.5 * (x**2).sum(axis=1)
    >>> x = rng.standard_normal((2000, 4))
    >>> moments(log_p, x) > 0.001, moments(log_p, 1.2 * x) < 0.001
    (True, True)
    """
    found = scores(log_p, x)
    if found is None:
        return None
    white, score = found
    n, D = white.shape
    products = white[:, :, None] * score[:, None, :] + np.eye(D)  # (n, D, D)
    terms = np.concatenate([score, products.reshape(n, -1)], axis=1)
    with np.errstate(all="ignore"):
        z = np.abs(terms.mean(axis=0)) / terms.std(axis=0) * np.sqrt(n)
    least = 2 * stats.norm.sf(float(np.nanmax(z)))
    return float(min(1.0, 3 * D * (D + 1) * least))


def jumps(log_p: Callable[[Array], Array], white: Array, back: Callable[[Array], Array]) -> bool:
    """Say whether log p jumps on the way from one row to another: Stein's identity fails then.

    The steepest piece of each of 100 lines is halved until a continuous function can't change.

    >>> x = np.random.default_rng(0).standard_normal((200, 1))
    >>> jumps(lambda x: -(x[:, 0] ** 2), x, lambda x: x)
    False
    >>> jumps(lambda x: -(x[:, 0] ** 2) + (x[:, 0] > 0), x, lambda x: x)
    True
    """
    n, D = white.shape
    K = min(100, n // 2)
    start, end = white[:K], white[n - K :]
    t = np.linspace(0, 1, 65)[:, None, None]
    along = start + t * (end - start)  # (65, K, D)
    values = log_p(back(along.reshape(-1, D))).reshape(65, K)
    k, rows = np.abs(np.diff(values, axis=0)).argmax(axis=0), np.arange(K)
    left, right = along[k, rows], along[k + 1, rows]
    low, high = values[k, rows], values[k + 1, rows]
    for _ in range(36):
        middle = (left + right) / 2
        value = log_p(back(middle))
        first = np.abs(value - low) >= np.abs(high - value)
        left, low = np.where(first[:, None], left, middle), np.where(first, low, value)
        right, high = np.where(first[:, None], middle, right), np.where(first, value, high)
    best = np.maximum(low, high)
    matters = best > np.median(log_p(back(white))) - 50
    return bool((matters & (np.abs(high - low) > 1e-4 + 1e-9 * np.abs(best))).any())


def scores(log_p: Callable[[Array], Array], x: Array) -> tuple[Array, Array] | None:
    """Return whitened rows and their scores (n, D); None where log_p has bounds near them.

    Nor are there scores where p changes so fast that differences are off by what a test would see.
    """
    n, D = x.shape
    root = np.linalg.cholesky(np.cov(x.T).reshape(D, D) + 1e-12 * np.eye(D))
    white = np.linalg.solve(root, (x - x.mean(axis=0)).T).T
    reach = 3 * np.concatenate([np.eye(D), -np.eye(D)])
    beyond = (white[:20, None] + reach).reshape(-1, D) @ root.T + x.mean(axis=0)
    if not np.isfinite(log_p(beyond)).all():
        return None
    if jumps(log_p, white, lambda v: v @ root.T + x.mean(axis=0)):
        return None
    step = np.concatenate([np.eye(D), -np.eye(D)])

    def differences(white: Array, h: float) -> Array:
        moved = (white[:, None] + h * step).reshape(-1, D)
        values = log_p(moved @ root.T + x.mean(axis=0)).reshape(-1, 2, D)
        return np.asarray((values[:, 0] - values[:, 1]) / (2 * h))

    score, few = differences(white, H), white[:FEW]  # of the whitened density (n, D)
    off = differences(few, 4 * H) - score[: len(few)]  # 15 times the error of the score
    for y in (np.ones((len(few), 1)), few):
        bias = np.abs((y[:, :, None] * off[:, None]).mean(axis=0)) * np.sqrt(n)
        if not (bias <= (y[:, :, None] * score[: len(few), None]).std(axis=0)).all():
            return None
    return (white, score) if np.isfinite(score).all() else None
