"""What context explains linearly of the columns: a start and a Gaussian are of what it leaves.

Rows are (x, u), D + c columns, see `core.context`. With the slopes of x on u the residuals
x - slopes u have a Gaussian of maximum likelihood, which is the Gaussian linear regression of x on
u: the closed form that a model of one layer with a normal base has as its optimum.
"""

from typing import Any

import numpy as np

from ..core.arrays import Array, from_numpy, to_numpy


def regressed(rows: Array, c: int, weights: Array | None = None) -> tuple[Array, Array]:
    """Return residuals (N, D) of rows (N, D + c), and slopes (D, c), by least squares.

    The mean stays in the residuals. Where the context has not full rank the slopes are the smallest
    ones. `weights` (N,), none negative.

    >>> u = np.arange(4.0)[:, None]
    >>> residuals, slopes = regressed(np.concatenate([2 * u + 1, u], axis=1), 1)
    >>> np.round(residuals[:, 0], 12), np.round(slopes, 12)
    (array([1., 1., 1., 1.]), array([[2.]]))
    """
    D = rows.shape[1] - c
    if c == 0:
        return rows, rows[:0, :0]
    X = to_numpy(rows).astype(np.float64)
    share = np.full(len(X), 1 / len(X)) if weights is None else weights / np.sum(weights)
    off = X - share @ X  # (N, D + c)
    root = np.sqrt(share)[:, None]
    size = np.sqrt(share @ (off[:, D:] ** 2)) + np.finfo(float).tiny  # (c,)
    found: Any = np.linalg.lstsq(root * off[:, D:] / size, root * off[:, :D], rcond=None)[0]
    slopes = (found / size[:, None]).T  # (D, c)
    return from_numpy(X[:, :D] - X[:, D:] @ slopes.T, rows), from_numpy(slopes, rows)
