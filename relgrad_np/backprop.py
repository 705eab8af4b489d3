"""Backpropagation: the derivative of mean(L_p + L_J1) with respect to each layer's output."""

from ._array import check_parts
from .activations import Activation
from .densities import Density
from .network import Deltas, Layers, Tape


def backprop(layers: Layers, tape: Tape, activation: Activation, density: Density) -> Deltas:
    """Return Deltas[k] = d mean(L_p + L_J1) / d Ys[k], L arrays (N, D).

    Ascent; the 1/N of the mean is in; the determinants L_J2 are not.

        Deltas[L-1] = score(Zs[L]) / N
        Deltas[k]   = (Deltas[k+1] @ W_{k+1}) * sigma'(Ys[k]) + (log sigma')'(Ys[k]) / N

    Cost: L - 1 products (N, D) x (D, D). Raises: see `_array.check`.

    >>> import numpy as np, relgrad_np as rg
    >>> layers = (rg.Layer(np.eye(1), np.zeros(1)),)
    >>> model = rg.activation("identity"), rg.density("normal")
    >>> rg.backprop(layers, rg.forward(layers, np.array([[3.0], [1.0]]), model[0]), *model)
    (array([[-1.5],
           [-0.5]]),)
    """
    check_parts(layers, Ys=tape.Ys)
    N = tape.Ys[0].shape[0]
    # forward: L_p = sum_i log p(Zs[L])
    deltas = [density.score(tape.Ys[-1]) / N]  # (N, D)
    for k in reversed(range(len(layers) - 1)):
        # forward: Ys[k+1] = Zs[k+1] @ W_{k+1}.T + b_{k+1}
        d_Z = deltas[0] @ layers[k + 1].W  # (N, D)
        # forward: Zs[k+1] = sigma(Ys[k]);  L_J1 += sum_i log sigma'(Ys[k])
        Y = tape.Ys[k]
        deltas.insert(0, d_Z * activation.dsigma(Y) + activation.dlog_dsigma(Y) / N)  # (N, D)
    return tuple(deltas)
