"""The step back: the layers before a step, from those after it and the step's own directions."""

from typing import Any

import numpy as np

from .arrays import Array, namespace
from .context import as_bias, as_columns, each_row, scaled
from .full_rank import FullRank, exp_step
from .network import Layer, Layers
from .numerics import eye, phi1, phi1_times, solve
from .steps import Directions, Factors, check_directions, scales, sizes, with_K


def undo_step(layers: Layers, factors: Directions, eta: Any, *, kind: str = "plain") -> Layers:
    """Return the layers from which `apply_step` came to these, with the same factors and eta.

    With B = W+ / scale, and for b alike after its own term,

        plain        W = B - Delta.T @ c inv(I + c Y @ Delta.T) @ Y @ B,  c = eta / (1 + eta)
        exponential  W = B - Delta.T @ eta phi1(-eta Y @ Delta.T) @ Y @ B

    Cost: two products of (N, D) by (D, D) size, no inverse of that size; O(N^3). LinAlgError, on
    every library, where the plain step has made a singular W.

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> f = rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))
    >>> rg.undo_step(rg.apply_step(layers, f, 0.1), f, 0.1)[0].W
    array([[2.]])
    """
    check_directions(layers, factors, ("Delta", "Y"))
    undone = []
    etas = sizes(factors, eta, kind, len(layers))
    for (W, b), f, e in zip(layers, factors, etas, strict=True):
        if isinstance(f, Layer):
            undone.append(Layer(W - e * f.W, b - e * f.b))
        elif isinstance(f, FullRank):
            undone.append(Layer(*exp_step(W, b, f, -e, None)))
        else:
            undone.append(_low_rank_back(Layer(W, b), f, e, kind))
    return tuple(undone)


def _low_rank_back(layer: Layer, f: Factors, e: Array, kind: str) -> Layer:
    """Undo one layer's step along factors."""
    (W, b), (c, scale) = layer, scales(f, e, kind)
    K, one = with_K(f).K, e * each_row(f.one, f.Y)
    xp, wide = namespace(K, "K"), f.Y.shape[0] < f.Y.shape[1]
    if kind == "plain":
        own = scaled(scale, f.Delta.T @ (one / (1 + e)))
    elif wide:
        own = f.Delta.T @ phi1_times(e * (K + eye(xp, K)), None, one)
    else:
        own = phi1_times(e * (K + eye(xp, K)), None, f.Delta.T @ one)
    D = W.shape[0]
    m = as_bias(f.m, b)
    B = xp.concat([W, as_columns(b - m - own)], axis=1) / scale[:, None]  # (D, D + 1)
    Q = f.Y @ B if wide else K @ B
    Q = _solved(eye(xp, K) + c * K, c * Q) if kind == "plain" else phi1(-c * K) @ (c * Q)
    B = B - (f.Delta.T @ Q if wide else Q)
    return Layer(B[:, :D], (B[:, D] if b.ndim == 1 else B[:, D:]) + m)


def _solved(M: Array, F: Array) -> Array:
    """Return inv(M) @ F; LinAlgError for a singular M."""
    xp, Q = namespace(M, "M"), solve(M, F)
    if not bool(xp.all(xp.isfinite(Q))) and bool(xp.all(xp.isfinite(M)) & xp.all(xp.isfinite(F))):
        raise np.linalg.LinAlgError("the step can't be undone: I + c K is singular")
    return Q
