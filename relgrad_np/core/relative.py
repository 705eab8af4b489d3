"""The relative gradient: the ordinary one times W'W, quadratic in D, exact.

With the bias in the group, W~ = [[W, b], [0, 1]], R~ = G~ W~' W~, the inverse cancels and Y is
known from the forward pass. Never a (D, D) x (D, D) product, never an inverse. With context, U~
stands in the place of 1: see `context`.
"""

from .arrays import check_parts
from .context import require_one
from .network import Deltas, Layer, Layers, Tape
from .variants import check_variant, variant


def relative_gradient(
    layers: Layers, tape: Tape, deltas: Deltas, *, side: str = "output", bias: str = "augmented"
) -> Layers:
    """Return the relative gradient (R_W, R_b) of mean(log p) as a Layer for each layer; ascent.

        R~ = G~ W~' W~:   R_W = Delta.T @ (Y @ W) + W,   R_b = Delta.T @ (Y @ b + 1) + b

    Other `side` and `bias`, by name: see `variants`.

    Cost: two (three for the input side) products of (N, D) by (D, D) size for each layer. All but
    `published` ascend: <G, R> > 0 unless stationary. ValueError: an unknown variant, `published`
    with side="input". Source: Gresele et al. (2020); one layer: Cardoso & Laheld (1996), Amari.

    >>> import numpy as np, relgrad_np as rg
    >>> layers = (rg.Layer(np.array([[2.0]]), np.array([1.0])),)
    >>> model = rg.activation("identity"), rg.density("normal")
    >>> tape = rg.forward(layers, np.array([[1.0]]), model[0])  # Y = 3, Delta = -3
    >>> rg.relative_gradient(layers, tape, rg.backprop(layers, tape, *model))  # -18 + 2, -12 + 1
    (Layer(W=array([[-16.]]), b=array([-11.])),)
    """
    check_parts(layers, Zs=tape.Zs[:-1], Ys=tape.Ys, deltas=deltas)
    check_variant(side, bias)
    one = require_one(layers, tape.one)
    R = []
    for (W, b), Z, Y, Delta in zip(layers, tape.Zs[:-1], tape.Ys, deltas, strict=True):
        if (side, bias) != ("output", "augmented"):
            R.append(variant(Layer(W, b), Z, Y, Delta, side, bias, one))
            continue
        R_W = Delta.T @ (Y @ W) + W  # (D, D); (Delta.T @ Y) @ W is cubic
        R_b = Delta.T @ (Y @ b + one) + b  # (D,), or (D, c + 1)
        R.append(Layer(R_W, R_b))
    return tuple(R)
