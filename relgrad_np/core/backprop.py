"""Backpropagation: the derivative of mean(L_p + L_J1) with respect to each layer's output."""

from .activations import Activation
from .arrays import Array, check_parts
from .densities import Density
from .network import Deltas, Layers, Tape


def backprop(
    layers: Layers, tape: Tape, activation: Activation, density: Density, weights: Array = None
) -> Deltas:
    """Return Deltas[k] = d mean(L_p + L_J1) / d Ys[k], L arrays (N, D).

    Ascent; the 1/N of the mean is in, times `weights` (N,) of mean 1; the determinants are not.
    Cost: L - 1 products (N, D) x (D, D). Raises: see `arrays.check`.

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
    return tuple(downwards(layers, tape, activation, density, share))[::-1]


def downwards(layers: Layers, tape: Tape, act: Activation, density: Density, share: Array) -> Array:
    """Yield the deltas from the last layer to the first, each as soon as it is known."""
    # forward: L_p = sum_i log p(Zs[L])
    Delta = density.score(tape.Ys[-1]) * share  # (N, D)
    for k in reversed(range(len(layers) - 1)):
        yield Delta
        # forward: Ys[k+1] = Zs[k+1] @ W_{k+1}.T + b_{k+1}, which context changes alone
        d_Z = Delta @ layers[k + 1].W  # (N, D)
        # forward: Zs[k+1] = sigma(Ys[k]);  L_J1 += sum_i log sigma'(Ys[k])
        d_J1 = act.dlog_dsigma(tape.Ys[k]) * share  # (N, D)
        Delta = d_Z * act.dsigma(tape.Ys[k]) + d_J1  # (N, D)
    yield Delta
