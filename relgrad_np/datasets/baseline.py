"""The Gaussian of the training rows: the log-likelihood that a model has to beat."""

import math
from typing import Any

import numpy as np

from .rows import Batch, batch
from .transforms import Standardise


def gaussian_log_likelihood(train: Any, X: Any) -> Batch:
    """Return log N(x; m, C) (N,), in nats, for each row x of X.

    m and C are the maximum-likelihood moments (1/N) of the rows of `train`. C is factored by
    Cholesky after the columns have been standardised, so that they may have unlike units.

    ValueError for constant columns, LinAlgError if C otherwise has not full rank (to 64 eps D).
    Cost: O(N D^2 + D^3).

    >>> import numpy as np
    >>> gaussian_log_likelihood(np.array([[-1.0], [1.0]]), np.array([[0.0], [1.0]]))
    array([-0.91893853, -1.41893853])
    """
    train = batch("train", train)
    N, D = train.shape
    X = batch("X", X, D)
    standardise = Standardise.fit(train, "train")
    Y = standardise.forward(train)  # (N, D)
    C = Y.T @ Y / N  # (D, D), a correlation matrix
    rank = int((np.linalg.eigvalsh(C) > 64 * np.finfo(float).eps * D).sum())
    if rank < D:
        raise np.linalg.LinAlgError(
            f"the covariance of `train`, {N} rows, has rank {rank}, not {D}: drop columns that"
            " depend on others, add rows or add noise"
        )
    K = np.linalg.cholesky(C)  # C = K @ K.T
    whitened = np.linalg.solve(K, standardise.forward(X).T)  # (D, N)
    log_volume = np.log(np.diag(K)).sum() + D / 2 * math.log(2 * math.pi)
    result: Batch = standardise.log_det(X) - (whitened**2).sum(axis=0) / 2 - log_volume
    return result
