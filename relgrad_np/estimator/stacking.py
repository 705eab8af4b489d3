"""Densities put together: the weights under which rows that none was fitted to are likeliest.

    p(x) = sum_k w_k p_k(x),  w_k >= 0,  sum_k w_k = 1

Stacked density estimation (Smyth & Wolpert 1999), by expectation and maximisation. The logarithm
of p is concave in w, so there is one maximum.
"""

import math
from typing import Any

import numpy as np

Array = Any
PSEUDO = 0.5  # rows that each density gets beforehand, so that few rows silence none
ROUNDS = 1000
ARRIVED = 1e-7  # a round that moves no weight by more is the last


def log_mixture(log_p: Array, weights: Array) -> Array:
    """Return log sum_k w_k p_k, (N,), of log p_k, (N, K), without leaving the logarithms.

    >>> log_mixture(np.array([[-2000.0, -1.0]]), np.array([0.5, 0.5])) == -1 + np.log(0.5)
    array([ True])
    """
    with np.errstate(divide="ignore"):
        terms = np.nan_to_num(log_p, nan=-np.inf, posinf=np.inf, neginf=-np.inf) + np.log(weights)
    largest = terms.max(axis=1, keepdims=True)  # (N, 1)
    largest = np.where(np.isfinite(largest), largest, 0.0)
    with np.errstate(divide="ignore"):
        return np.log(np.exp(terms - largest).sum(axis=1)) + largest[:, 0]


def stacking_weights(
    log_p: Array, *, least: tuple[int, float] | None = None, pseudo: float = PSEUDO
) -> Array:
    """Return the weights w (K,) under which rows (n,) that were not fitted are likeliest.

    They maximise

        sum_n log sum_k w_k p_k(x_n) + pseudo sum_k log v_k

    with w = v, or, where `least` = (k, share) is given, w = (1 - share) v + share e_k: the density
    k has that share whatever the rows say, so that log p >= log share + log p_k everywhere.

    log_p : array (n, K), log p_k(x_n) in nats; NaN counts as -inf.

    Cost: n K for each of at most 1,000 rounds.

    >>> stacking_weights(np.log([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]), pseudo=0.0).round(3)
    array([0.708, 0.292])
    """
    K = log_p.shape[1]
    log_p = np.nan_to_num(log_p, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    k, share = least or (0, 0.0)
    v, fixed = np.full(K, 1 / K), log_p[:, k] + (math.log(share) if share else -np.inf)
    for _ in range(ROUNDS):
        with np.errstate(divide="ignore"):
            terms = log_p + np.log((1 - share) * v)  # (n, K)
        total = log_mixture(np.column_stack([terms, fixed]), np.ones(K + 1))
        seen = np.isfinite(total)  # a row that no density knows says nothing
        new = np.exp(terms[seen] - total[seen, None]).sum(axis=0) + pseudo
        new /= new.sum()
        moved, v = float(np.abs(new - v).max()), new
        if moved < ARRIVED:
            break
    w = (1 - share) * v
    w[k] += share
    return w
