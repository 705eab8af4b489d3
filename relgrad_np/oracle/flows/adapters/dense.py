"""The dense square matrices of a model whose log|det W| is in its log|det J|."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...truths.records import Array

SMALL = 1e-9  # times the smallest singular value: log|det W| falls by 20.7


def dense_of(found: Mapping[str, Any], X: Array) -> dict[str, tuple[Array, Array]]:
    """Return {name: (W, G_W)} of each D x D parameter whose log|det W| is in log|det J|.

    G_W is the model's own gradient at X. A matrix counts if log|det J| falls with its smallest
    singular value: one of a conditioner, or a triangle of an LU layer, doesn't do that.
    """
    D, gradient, parameters = found["D"], found.get("gradient"), found.get("parameters") or {}
    square = {key: W for key, W in parameters.items() if W.shape == (D, D) and D > 1}
    if not square or gradient is None:
        return {}
    try:
        G = gradient(X)
        return {key: (W, G[key]) for key, W in square.items() if key in G and _enters(found, W, X)}
    except Exception:  # it shows when the gradient is judged
        return {}


def _enters(found: Mapping[str, Any], W: Array, X: Array) -> bool:
    """Return whether the log|det J| at X has log|det W| in it. W is put back."""
    forward, log_prob = found.get("forward"), found.get("log_prob")

    def value() -> float:
        return float(np.mean(forward(X)[1] if forward is not None else log_prob(X)))  # type: ignore[misc]

    kept = W.copy()
    U, s, Vt = np.linalg.svd(kept)
    s[-1] *= SMALL
    before = value()
    try:
        W[...] = (U * s) @ Vt
        return bool(value() < before + 0.5 * np.log(SMALL))
    finally:
        W[...] = kept
