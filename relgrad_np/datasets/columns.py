"""What the columns of a table are like: constant, correlated, of whole numbers or few values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import Batch, chunks, floats

LOOKED_AT = 20_000  # rows at most, evenly spaced
VALUES_LOOKED_AT = 5_000  # rows at most in which distinct values are counted
FEW_VALUES = 0.25  # distinct values / rows; at this share or below it a column counts as discrete

VERY_FEW = 0.05  # the same share where the values are no whole numbers


def sample(X: NDArray[Any]) -> tuple[Batch, int]:
    """Return every step-th row in float64, at most LOOKED_AT of them, and the step.

    >>> Y, step = sample(np.zeros((50_000, 1)))
    >>> Y.shape, step
    ((16667, 1), 3)
    """
    step = -(-len(X) // LOOKED_AT)
    return floats(np.ascontiguousarray(X[::step])), step


def constant_columns(X: NDArray[Any], Y: NDArray[Any]) -> NDArray[np.intp]:
    """Return the columns of X that hold one value only; Y are some of its rows, looked at first.

    >>> X = np.array([[1, 1], [1, 1], [1, 2]])
    >>> constant_columns(X, X[:2])
    array([0])
    """
    candidates = np.flatnonzero(np.equal(Y, Y[0]).all(axis=0))
    if len(X) > len(Y) and len(candidates):
        same = np.ones(len(candidates), dtype=bool)
        for _, rows in chunks(*X.shape):
            same &= (X[rows][:, candidates] == X[0, candidates]).all(axis=0)
        candidates = candidates[same]
    return candidates


def correlations(Y: Batch) -> Batch:
    """Return the covariance (D, D), 1/N, of the standardised columns, none of which is constant.

    >>> correlations(np.array([[0.0, 1.0], [2.0, -3.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    # scale by powers of two first, so that no square overflows or underflows
    Y = np.ldexp(Y, -np.frexp(np.abs(Y).max(axis=0))[1])
    Y = Y - Y.mean(axis=0)
    norms = np.sqrt((Y**2).sum(axis=0))
    Y = Y / np.where(norms > 0, norms, 1)
    C: Batch = Y.T @ Y
    np.fill_diagonal(C, 1)  # also where a column varies, but not in the rows looked at
    return C


def whole_numbers(X: NDArray[Any]) -> list[int]:
    """Return the columns that hold whole numbers only; those that drop out are not read on.

    >>> whole_numbers(np.array([[1.0, 0.5], [3.0, 2.0]]))
    [0]
    """
    if X.dtype.kind in "iu":
        return list(range(X.shape[1]))
    left = np.arange(X.shape[1])
    for _, rows in chunks(*X.shape):
        Y = X[rows][:, left]
        left = left[(np.floor(Y) == Y).all(axis=0)]
        if not len(left):
            break
    result: list[int] = left.tolist()
    return result


def few_values(Y: Batch) -> NDArray[np.intp]:
    """Return the columns with so few distinct values that they count as discrete.

    >>> few_values(np.stack([np.arange(8.0), np.arange(8.0) % 2], axis=1))
    array([1])
    """
    Y = np.sort(Y[:: -(-len(Y) // VALUES_LOOKED_AT)], axis=0)
    distinct = 1 + (Y[1:] != Y[:-1]).sum(axis=0)
    return np.flatnonzero(distinct <= FEW_VALUES * len(Y))


def ruled_by_one_row(Z: Batch) -> list[int]:
    """Return the columns of standardised rows Z (N, D) of which one row has half of the variance.

    >>> ruled_by_one_row(np.array([[2.0, 1.0], [-0.7, -1.0], [-0.7, 1.0], [-0.7, -1.0]]))
    [0]
    """
    largest = np.maximum(Z.max(axis=0), -Z.min(axis=0))  # without a copy of the rows
    result: list[int] = np.flatnonzero(largest * largest > len(Z) / 2).tolist()
    return result


def on_a_grid(X: NDArray[Any]) -> list[int]:
    """Return the columns whose values repeat so often that a deep density would rise to spikes.

    They hold few whole numbers, or very few values: a measurement that was rounded has more.

    >>> x = np.random.default_rng(0).normal(size=(600, 1))
    >>> on_a_grid(np.hstack([x, np.round(x), np.round(x, 1), np.sign(x) / 3]))
    [1, 3]
    """
    Y = floats(X[:: -(-len(X) // VALUES_LOOKED_AT)])
    whole = whole_numbers(Y)
    varied = (Y[0] != Y).any(axis=0)
    return [
        int(j)
        for j in few_values(Y)
        if varied[j] and (j in whole or len(np.unique(Y[:, j])) <= VERY_FEW * len(Y))
    ]


def grid_step(x: Batch) -> float:
    """Return the step of the coarsest grid that holds all numbers of a column, 0 if there is none.

    >>> grid_step(np.array([3.0, 9.0, 5.0])), grid_step(np.array([0.5, 0.6, 0.8]))
    (2.0, 0.1)
    >>> grid_step(np.array([0.0, 1.0, np.pi]))
    0.0
    """
    values = np.unique(x)
    gaps = np.diff(values)
    if not len(gaps):
        return 0.0
    step, rest = float(gaps.min()), gaps
    if (np.floor(x) == x).all() and np.abs(x).max() < 2.0**53:
        return float(np.gcd.reduce(gaps.astype(np.int64)))
    for _ in range(20):  # Euclid, up to the rounding of decimal fractions
        rest = np.abs(gaps - step * np.round(gaps / step))
        if rest.max() <= 1e-6 * gaps.min():
            return float(f"{step:.12g}")
        step = float(rest[rest > 1e-6 * gaps.min()].min())
        if step < 1e-4 * gaps.min():
            break
    return 0.0
