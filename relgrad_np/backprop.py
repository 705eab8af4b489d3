"""Backpropagation: the derivative of mean(L_p + L_J1) with respect to each layer's output."""

from ._array import Array, check_parts
from .activations import Activation
from .densities import Density
from .network import Deltas, Layers, Tape


def backprop(
    layers: Layers, tape: Tape, activation: Activation, density: Density, weights: Array = None
) -> Deltas:
    """Return Deltas[k] = d mean(L_p + L_J1) / d Ys[k], L arrays (N, D).

    Ascent; the 1/N of the mean is in, times `weights` (N,) of mean 1; the determinants are not.
    Cost: L - 1 products (N, D) x (D, D). Raises: see `_array.check`.

        Deltas[L-1] = score(Zs[L]) / N
        Deltas[k]   = (Deltas[k+1] @ W_{k+1}) * sigma'(Ys[k]) + (log sigma')'(Ys[k]) / N

    >>> import numpy as np, relgrad_np as rg
    >>> layers = (rg.Layer(np.eye(1), np.zeros(1)),)
    >>> model = rg.activation("identity"), rg.density("normal")
    >>> rg.backprop(layers, rg.forward(layers, np.array([[3.0], [1.0]]), model[0]), *model)
    (array([[-1.5],
           [-0.5]]),)
    """
    check_parts(layers, Ys=tape.Ys)
    share = (1.0 if weights is None else weights[:, None]) / tape.Ys[0].shape[0]  # 1 / N
    # forward: L_p = sum_i log p(Zs[L])
    deltas = [density.score(tape.Ys[-1]) * share]  # (N, D)
    for k in reversed(range(len(layers) - 1)):
        # forward: Ys[k+1] = Zs[k+1] @ W_{k+1}.T + b_{k+1}
        d_Z = deltas[0] @ layers[k + 1].W  # (N, D)
        # forward: Zs[k+1] = sigma(Ys[k]);  L_J1 += sum_i log sigma'(Ys[k])
        d_J1 = activation.dlog_dsigma(tape.Ys[k]) * share  # (N, D)
        deltas.insert(0, d_Z * activation.dsigma(tape.Ys[k]) + d_J1)  # (N, D)
    return tuple(deltas)
