"""The ordinary gradient: cubic in D, for its inverse. It is here to be compared with."""

import numpy as np

from .arrays import Array, check, check_parts, detached
from .context import against, require_one
from .network import Deltas, Layer, Layers, Tape


def ordinary_gradient(layers: Layers, tape: Tape, deltas: Deltas) -> Layers:
    """Return d mean(log p) / d (W_k, b_k) as a Layer for each layer; ascent.

        G_W = Delta.T @ Z + inv(W).T          G_b = sum_n Delta[n], or Delta.T @ U~

    Cost: L inverses of (D, D). LinAlgError names a layer whose reciprocal condition is below eps.

    >>> import numpy as np, relgrad_np as rg
    >>> layers = (rg.Layer(np.array([[2.0]]), np.array([1.0])),)
    >>> model = rg.activation("identity"), rg.density("normal")
    >>> tape = rg.forward(layers, np.array([[1.0]]), model[0])
    >>> rg.ordinary_gradient(layers, tape, rg.backprop(layers, tape, *model))
    (Layer(W=array([[-2.5]]), b=array([-3.])),)
    """
    check_parts(layers, Zs=tape.Zs[:-1], Ys=tape.Ys, deltas=deltas)
    one = require_one(layers, tape.one)
    return tuple(
        Layer(Delta.T @ Z + checked_inverse(layer.W, f"W of layer {k}").T, against(Delta, one))
        for k, (layer, Z, Delta) in enumerate(zip(layers, tape.Zs[:-1], deltas, strict=True))
    )


def checked_inverse(W: Array, name: str) -> Array:
    """Return inv(W); LinAlgError by name if 1 / (|W|_1 |inv(W)|_1) < eps, on every library."""
    xp = check((Layer(W, W[0, :]),))
    singular = np.linalg.LinAlgError(f"`{name}` is singular: reciprocal condition below eps")
    try:
        V = xp.linalg.inv(W)
    except (np.linalg.LinAlgError, RuntimeError) as error:  # the latter is torch's
        if "ingular" not in str(error):
            raise
        raise singular from None
    condition = xp.max(xp.sum(xp.abs(W), axis=0)) * xp.max(xp.sum(xp.abs(V), axis=0))
    if not float(detached(condition)) * float(xp.finfo(W.dtype).eps) <= 1:  # NaN is singular too
        raise singular
    return V
