"""STUB."""

import numpy as np


def gaussian_log_likelihood(X, weights=None):
    X = np.asarray(X, float)
    s = X.std(0)
    Z = (X - X.mean(0)) / s
    sv = np.linalg.svd(Z, compute_uv=False)
    N, D = X.shape
    with np.errstate(all="ignore"):
        return float(
            -D / 2 * (np.log(2 * np.pi) + 1) - np.log(s).sum() - np.log(sv / np.sqrt(N)).sum()
        )


def gaussian_layers(X, L, activation, like=None):
    return None
