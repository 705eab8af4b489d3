"""The relative gradient: the ordinary one times W'W, quadratic in D, exact.

With the bias in the group, W~ = [[W, b], [0, 1]], R~ = G~ W~' W~, the inverse cancels and Y is
known from the forward pass. Never a (D, D) x (D, D) product, never an inverse.
"""

from .arguments import one_of
from .arrays import check_parts
from .network import Deltas, Layer, Layers, Tape


def relative_gradient(
    layers: Layers, tape: Tape, deltas: Deltas, *, side: str = "output", bias: str = "augmented"
) -> Layers:
    """Return the relative gradient (R_W, R_b) of mean(log p) as a Layer for each layer; ascent.

        side="output", bias="augmented"   R_W = Delta.T @ (Y @ W) + W        R~ = G~ W~' W~
                                          R_b = Delta.T @ (Y @ b + 1) + b
        side="output", bias="separate"    R_W = Delta.T @ ((Y - b) @ W) + W  R = G W' W, R_b = G_b
        side="input"                      R_W = ((Delta @ W) @ W.T).T @ Z + W     R = W W' G
                       bias="augmented"   R_b = W @ (W.T @ G_b);  bias="separate": G_b
        side="output", bias="published"   as the first, less b in R_b: what the authors' code does

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
    xp = check_parts(layers, Zs=tape.Zs[:-1], Ys=tape.Ys, deltas=deltas)
    one_of("side", side, ("output", "input"))
    one_of("bias", bias, ("augmented", "separate", "published"))
    if side == "input" and bias == "published":
        raise ValueError("`bias` 'published' is defined for side='output' only")
    R = []
    for (W, b), Z, Y, Delta in zip(layers, tape.Zs[:-1], tape.Ys, deltas, strict=True):
        G_b = xp.sum(Delta, axis=0)  # (D,)
        if side == "input":
            R_W = ((Delta @ W) @ W.T).T @ Z + W  # (D, D); Delta @ W first: W @ W.T is cubic
            R_b = G_b if bias == "separate" else W @ (W.T @ G_b)  # (D,)
        elif bias == "separate":
            R_W = Delta.T @ ((Y - b) @ W) + W  # (D, D)
            R_b = G_b
        else:
            R_W = Delta.T @ (Y @ W) + W  # (D, D); (Delta.T @ Y) @ W is cubic
            R_b = Delta.T @ (Y @ b + 1) + (b if bias == "augmented" else 0)  # (D,)
        R.append(Layer(R_W, R_b))
    return tuple(R)
