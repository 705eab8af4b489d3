"""The model: an invertible fully connected net with square weights.

Zs[0] = X;   Ys[k] = Zs[k] @ W_k.T + b_k;   Zs[k+1] = sigma(Ys[k]), but the last layer is affine.
Samples are rows; rows of W are outputs, y = W z + b, as in `torch.nn.Linear`. With context u,
a row of X is (x, u), and b is B (D, c + 1), which meets (u, 1): see `context`.
"""

from typing import NamedTuple

from .activations import Activation
from .arrays import Array
from .brief import brief
from .context import split, times

Layers = tuple["Layer", ...]
Deltas = tuple[Array, ...]  # of backpropagation, L arrays (N, D)


@brief
class Layer(NamedTuple):
    """One layer, y = W z + b: W (D, D), b (D,) or, with context, (D, c + 1). Gradients alike.

    >>> Layer("W", "b").b
    'b'
    """

    W: Array
    b: Array


@brief
class Tape(NamedTuple):
    """What a forward pass met: Zs, L + 1 arrays, and Ys, L arrays, all (N, D); Zs[L] is latent.

    `one`: what biases were multiplied with, 1 or the context and a one, U~ (N, c + 1).

    >>> Tape(Zs=("X", "Z"), Ys=("Z",)).Ys
    ('Z',)
    """

    Zs: tuple[Array, ...]
    Ys: tuple[Array, ...]
    YWs: tuple[Array, ...] = ()  # Y @ W of each layer, where it is known
    one: Array = 1.0


def forward(layers: Layers, X: Array, activation: Activation) -> Tape:
    """Push samples X (N, D) through the net; return all that they met on the way.

    Cost: L products (N, D) x (D, D). Raises: see `arrays.check`.

    >>> import numpy as np, relgrad_np as rg
    >>> layer = rg.Layer(np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([0.5, 0.0]))
    >>> rg.forward((layer,), np.array([[1.0, 1.0]]), rg.activation("identity")).Zs[-1]
    array([[ 3.5, -1. ]])
    """
    Z, one = split(layers, X)
    Zs, Ys = [Z], []
    for k, (W, b) in enumerate(layers):
        Ys.append(Zs[k] @ W.T + times(b, one))  # (N, D)
        Zs.append(activation.sigma(Ys[k]) if k < len(layers) - 1 else Ys[k])  # (N, D)
    return Tape(tuple(Zs), tuple(Ys), one=one)
