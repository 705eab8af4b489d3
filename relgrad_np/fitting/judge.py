"""How good layers are on held-out rows, and what is wrong with layers that diverge."""

import math
from collections.abc import Callable

import numpy as np

from ..core.activations import Activation
from ..core.arrays import Array, to_numpy
from ..core.backprop import backprop
from ..core.densities import Density
from ..core.network import Layers, forward
from ..core.objective import data_terms, log_abs_det


class Judge:
    """Knows the model and the validation rows, if there are any, and their weights (n, 1).

    `mean` averages over all ranks.
    """

    def __init__(
        self,
        activation: Activation,
        density: Density,
        X_val: Array | None,
        weights: Array | None,
        mean: Callable[[Array], float],
    ) -> None:
        self.activation, self.density, self.mean = activation, density, mean
        self.X_val, self.weights = X_val, weights

    def validate(self, layers: Layers, total: float) -> float | None:
        """Return the mean log-likelihood of X_val, -inf for NaN; None without such rows.

        `total`: sum of log|det W| of the layers.
        """
        if self.X_val is None:
            return None
        tape = forward(layers, self.X_val, self.activation)
        L_p, L_J1 = data_terms(layers, tape, self.activation, self.density)
        terms = L_p + L_J1 if self.weights is None else self.weights[:, 0] * (L_p + L_J1)
        value = self.mean(terms) + total
        return value if math.isfinite(value) else -math.inf

    def first_bad(self, layers: Layers, batch: Array) -> str | None:
        """Name what is not finite on this batch, in the order in which it is computed, if any."""
        tape = forward(layers, batch, self.activation)
        deltas = backprop(layers, tape, self.activation, self.density)
        logdets = [log_abs_det((layer,)) for layer in layers]
        parts = [("output", tape.Ys), ("log|det W|", logdets), ("delta", deltas)]
        L_p, L_J1 = data_terms(layers, tape, self.activation, self.density)
        found = (
            f"the {what} of layer {k}"
            for what, arrays in parts
            for k, x in enumerate(arrays)
            if not np.isfinite(to_numpy(x)).all()
        )
        finite = np.isfinite(to_numpy(L_p + L_J1)).all()
        return next(found, None if finite else "the log-likelihood of the latent")
