"""The Gaussian of the training rows: the log-likelihood that a model has to beat."""

import math
from typing import Any

import numpy as np

from .moments import whitening
from .rank import dependences
from .rows import Batch, batch
from .transforms import Standardise


def gaussian_log_likelihood(train: Any, X: Any) -> Batch:
    """Return log N(x; m, C) (N,), in nats, for each row x of X.

    m and C are the maximum-likelihood moments (1/N) of the rows of `train`, whose columns may have
    unlike units. The mean over `train` itself has a closed form, `fitting.gaussian`.

    ValueError for constant columns, LinAlgError if C otherwise has not full rank, to rounding.
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
    combined = dependences(Y).dependent if N > D else []
    rank = D - len(combined) if N > D else int(np.linalg.matrix_rank(Y))
    if rank < D or N <= D:
        raise np.linalg.LinAlgError(
            f"the covariance of `train`, {N} rows, has rank {rank}, not {D}: drop columns that"
            " depend on others, add rows or add noise"
        )
    W, b, _ = whitening(Y, np.finfo(np.float64).eps)
    u = standardise.forward(X) @ W.T + b  # (N, D), standard normal
    log_volume = D / 2 * math.log(2 * math.pi) - np.linalg.slogdet(W)[1]
    result: Batch = standardise.log_det(X) - (u**2).sum(axis=1) / 2 - log_volume
    return result
