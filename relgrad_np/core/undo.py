"""What a long run of multiplicative steps wants now and then: an audit of the tracker, an undo."""

from typing import Any

import array_api_compat as compat
import numpy as np

from .arrays import Array, check, check_parts
from .network import Layer, Layers
from .numerics import eye, phi1, phi1_times
from .steps import Steps, sizes, with_K


def undo_step(layers: Layers, factors: Steps, eta: Any, *, kind: str = "plain") -> Layers:
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
    xp = check_parts(layers, **{p: [getattr(f, p) for f in factors] for p in ("Delta", "Y")})
    undone = []
    for (W, b), f, (e, c, scale) in zip(layers, factors, sizes(factors, eta, kind), strict=True):
        K, one = with_K(f).K, e * xp.ones_like(f.Y[:, 0])
        wide = f.Y.shape[0] < f.Y.shape[1]
        if kind == "plain":
            own = scale * (f.Delta.T @ (one / (1 + e)))
        elif wide:
            own = f.Delta.T @ phi1_times(e * (K + eye(xp, K)), None, one)
        else:
            own = phi1_times(e * (K + eye(xp, K)), None, f.Delta.T @ one)
        B = xp.concat([W, (b - f.m - own)[:, None]], axis=1) / scale[:, None]  # (D, D + 1)
        Q = f.Y @ B if wide else K @ B
        Q = _solved(eye(xp, K) + c * K, c * Q) if kind == "plain" else phi1(-c * K) @ (c * Q)
        B = B - (f.Delta.T @ Q if wide else Q)
        undone.append(Layer(B[:, :-1], B[:, -1] + f.m))
    return tuple(undone)


def _solved(M: Array, F: Array) -> Array:
    """Return inv(M) @ F; LinAlgError for a singular M, which CuPy would not tell."""
    xp = check((Layer(M, M[:, 0]),))
    singular = np.linalg.LinAlgError("the step can't be undone: I + c K is singular")
    try:
        Q = xp.linalg.solve(M, F)
    except (np.linalg.LinAlgError, RuntimeError) as error:  # the latter is torch's
        if "ingular" not in str(error):
            raise
        raise singular from None
    if compat.is_cupy_array(Q):  # which raises nothing
        bad = xp.all(xp.isfinite(M)) & xp.all(xp.isfinite(F)) & ~xp.all(xp.isfinite(Q))
        if bool(bad):
            raise singular
    return Q
