"""Which columns are constant, and which are affine combinations of others, in any units.

A column counts as dependent if what the others leave of it is no more than rounding by the dtype of
the rows, or of a wider sum. So the rank is judged by singular values of the rows, not of squares.
"""

from typing import Any, NamedTuple

import numpy as np

from .moments import from_middle, moments
from .rows import Batch

MARGIN = 16.0  # singular values below so many roundings count as 0
TAKES_PART = 1e-6  # of the largest coefficient
NEAR = 1e-3  # no row is far out where none is larger than 1 / NEAR ordinary ones


class Dependences(NamedTuple):
    """What keeps rows from having full rank, by index of the column.

    constant   columns of one value
    dependent  each with those of which it is an affine combination; a later column depends on
               earlier ones

    >>> Dependences([], [(2, [0, 1])]).dependent
    [(2, [0, 1])]
    """

    constant: list[int]
    dependent: list[tuple[int, list[int]]]


def dependences(X: Any, eps: float | None = None) -> Dependences:
    """Return the constant and the dependent columns of X (N, D), finite, N > D.

    Evenly spaced rows are looked at first: if their rank is full, so is that of all. The next are
    all rows, standardised. If a row is far out, rows are divided by their size at last, so that
    one of 1e30 hides nothing: that changes no rank. `eps`: the rounding of X, by default that of
    its dtype.

    Cost: O(D^3) where the rank is clear, else O(N D^2) for each of these.

    >>> a, b = np.random.default_rng(0).normal(size=(2, 50))
    >>> dependences(np.stack([a, 0 * a + 0.1, 1e9 * b, 3 * a - b + 2], axis=1))
    Dependences(constant=[1], dependent=[(3, [0, 2])])
    """
    N, D = X.shape
    eps = float(np.finfo(X.dtype).eps) if eps is None else eps
    few = X[:: max(1, N // max(4 * D, 2000))]
    if moments(few, eps).clear or (len(few) < N and moments(X, eps).clear):
        return Dependences([], [])
    low, high = X.min(axis=0), X.max(axis=0)
    size = np.maximum(np.abs(low), np.abs(high))
    varies = high / 2 - low / 2 > eps * size
    kept = np.flatnonzero(varies)
    constant = [int(j) for j in np.flatnonzero(~varies)]
    some = few[:, kept]
    settled = bool((some.max(axis=0) > some.min(axis=0)).all())
    if not len(kept) or (settled and not _null_directions(some, eps).shape[1]):
        return Dependences(constant, [])
    V = _null_directions(X[:, kept], eps)  # (D, k)
    dependent = []
    for j, others in _named(V):
        if others:
            dependent.append((int(kept[j]), [int(kept[i]) for i in others]))
        else:  # it varies by rounding alone
            constant.append(int(kept[j]))
    return Dependences(sorted(constant), dependent)


def determined(rows: Any, c: int) -> list[int]:
    """Return the columns of x that the others and the context determine, of rows (x, u), (N, D+c).

    >>> x, u = np.random.default_rng(0).normal(size=(2, 50))
    >>> determined(np.stack([x, 2 * u - x, u], axis=1), 1)
    [1]
    """
    D = rows.shape[1] - c
    found = dependences(np.concatenate([rows[:, D:], rows[:, :D]], axis=1)).dependent
    return sorted(j - c for j, _ in found if j >= c)


def _null_directions(X: Any, eps: float) -> Batch:
    """Return the directions (D, k) in standardised columns along which no row varies."""
    _, middle, d = from_middle(X)
    d, middle = np.asarray(d), np.asarray(middle)
    plain = _small(d, middle, np.ones((len(d), 1)), eps)
    if not plain.shape[1]:
        return plain
    ordinary = ordinary_size(d)  # (D,)
    weights = 1 / np.maximum(np.abs(d / ordinary).max(axis=1, keepdims=True), 1.0)  # (N, 1)
    if weights.min() > NEAR:
        return plain
    weighted = _small(d / ordinary, middle / ordinary, weights, eps)
    return weighted if weighted.shape[1] <= plain.shape[1] else plain


def _small(d: Batch, middle: Batch, weights: Batch, eps: float) -> Batch:
    """Return the right singular vectors (D, k) of the weighted, standardised d that are null."""
    D = d.shape[1]
    size = np.abs(weights * (d + middle))
    Y = weights * (d - (weights * weights * d).sum(axis=0) / (weights * weights).sum())
    norms = np.sqrt((Y * Y).sum(axis=0))
    Y /= np.where(norms > 0, norms, 1.0)
    noise = eps * np.sqrt((size * size).sum(axis=0)) / np.where(norms > 0, norms, 1.0)  # (D,)
    _, s, Vh = np.linalg.svd(triangle(Y))
    own = np.finfo(np.float64).eps * D**0.5
    null: Batch = Vh[s <= MARGIN * (np.sqrt(((Vh * noise) ** 2).sum(axis=1)) + own)].T
    return null


def ordinary_size(d: Batch, least: float = 1e-300) -> Batch:
    """Return the median of |d| (N, D) by column (D,), of what is not 0; each column has such.

    Not below `least` times the largest, so that d / size does not overflow.

    >>> ordinary_size(np.array([[0.0], [3.0], [-1.0], [1e30]]))
    array([3.])
    """
    sizes = np.where(d == 0, np.nan, np.abs(d))
    size: Batch = np.maximum(np.nanmedian(sizes, axis=0), least * np.nanmax(sizes, axis=0))
    return size


def triangle(Y: Batch) -> Batch:
    """Return R (n, D), n = min(N, D), of Y = Q R: by blocks of rows, so that memory stays small.

    >>> abs(triangle(np.array([[3.0], [4.0]])))
    array([[5.]])
    """
    block, R = max(4 * Y.shape[1], 4096), Y[:0]
    for begin in range(0, len(Y), block):
        R = np.asarray(np.linalg.qr(np.concatenate([R, Y[begin : begin + block]]), mode="r"))
    return R


def _named(V: Batch) -> list[tuple[int, list[int]]]:
    """Return for null directions V (D, k) the k last independent columns, each with its others."""
    D, k = V.shape
    chosen: list[int] = []
    rest = V.copy()
    limit = 1e-4
    while len(chosen) < k and limit > 0:
        for j in range(D - 1, -1, -1):  # later columns are said to depend on earlier ones
            size = np.linalg.norm(rest[j])
            if size > limit and j not in chosen and len(chosen) < k:
                chosen.append(j)
                e = rest[j] / size
                rest = rest - np.outer(rest @ e, e)
        limit /= 10
    coefficients = V @ np.linalg.inv(V[chosen])  # (D, k): identity at the chosen
    named = []
    for j, c in zip(chosen, np.abs(coefficients).T, strict=True):
        c[chosen] = 0
        named.append((j, [int(i) for i in np.flatnonzero(c > TAKES_PART * c.max())]))
    return sorted(named)
