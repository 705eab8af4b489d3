"""How well sources were separated: Amari's distance, and correlation after matching."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

Matrix = NDArray[np.float64]


def amari(P: Any) -> float:
    """Return Amari's distance of P = W A (D, D) to a scaled permutation, from 0 (is one) to 1.

        sum_i (sum_j |P_ij| / max_j |P_ij| - 1) + sum_j (sum_i |P_ij| / max_i |P_ij| - 1)

    over 2 D (D - 1). It sees neither order, sign nor scale of rows of W; of the sources' scales it
    is free in its first part only. Source: Amari, Cichocki & Yang (1996).

    >>> amari([[0.0, -2.0], [3.0, 0.0]]), amari([[1.0, 1.0], [1.0, 1.0]])
    (0.0, 1.0)
    """
    P = np.abs(np.asarray(P, dtype=float))
    D = len(P)
    rows = (P / P.max(axis=1, keepdims=True)).sum(axis=1) - 1  # (D,)
    columns = (P / P.max(axis=0, keepdims=True)).sum(axis=0) - 1  # (D,)
    return float((rows.sum() + columns.sum()) / (2 * D * (D - 1)))


def correlations(S: Any, Z: Any, ranks: bool = False) -> Matrix:
    """Return |correlation| (D,) of each source, a column of S (N, D), with its own column of Z.

    Columns are matched one to one so that the sum is the largest (the Hungarian algorithm); with
    `ranks` the correlation is Spearman's, which no increasing function of a source changes.

    >>> S = np.random.default_rng(0).normal(size=(50, 2))
    >>> correlations(S, -3 * S[:, ::-1] + 1).round(6)
    array([1., 1.])
    """
    S, Z = (np.apply_along_axis(rankdata, 0, X) if ranks else np.asarray(X) for X in (S, Z))
    S, Z = ((X - X.mean(axis=0)) / X.std(axis=0) for X in (S, Z))
    C = np.abs(S.T @ Z) / len(S)  # (D, D)
    rows, columns = linear_sum_assignment(-C)
    result: Matrix = C[rows, columns]
    return result
