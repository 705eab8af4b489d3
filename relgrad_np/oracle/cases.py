"""Generic inputs: agreement is evidence only if the comparison was made on such.

At orthogonal W, b = 0, N = D, N = 1 or one sign of the determinant most mistakes do not show. Here
W = Q1 diag(s) Q2 with s in [1/3, 3] and both signs of the determinant, and b != 0.
"""

from typing import Any, NamedTuple

import numpy as np

from ..core.activations import Activation, activation
from ..core.densities import Density, density
from ..core.network import Layer, Layers

PARAMS: dict[str, dict[str, float]] = {
    "smooth_leaky_relu": {"alpha": 0.3},
    "leaky_tanh": {"alpha": 1.0, "beta": 0.1},
    "identity": {},
    "softplus": {},
    "elu": {"alpha": 1.0},
}


class GenericCase(NamedTuple):
    """Layers, samples X (N, D), activation and density.

    >>> generic(0, N=4, D=3, L=2).X.shape
    (4, 3)
    """

    layers: Layers
    X: Any
    activation: Activation
    density: Density

    @property
    def model(self) -> tuple[Activation, Density]:
        """Activation and density, the last two arguments of most functions."""
        return self.activation, self.density


def generic(
    seed: int,
    N: int = 4,
    D: int = 3,
    L: int = 2,
    activation_name: str = "smooth_leaky_relu",
    density_name: str = "sech",
    dtype: str = "float64",
) -> GenericCase:
    """Draw a generic case, in NumPy; the sign of det(W_k) is (-1)^(seed + k).

    >>> [float(np.linalg.slogdet(W)[0]) for W, _ in generic(1).layers]
    [-1.0, 1.0]
    """
    rng = np.random.default_rng(seed)
    layers = []
    for k in range(L):
        Q1, Q2 = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
        W = Q1 @ np.diag(3.0 ** rng.uniform(-1, 1, D)) @ Q2
        if np.linalg.slogdet(W)[0] != (-1) ** (seed + k):
            W[0] *= -1
        b = rng.uniform(0.2, 1.5, D) * rng.choice([-1, 1], D)
        layers.append(Layer(W.astype(dtype), b.astype(dtype)))
    X = rng.standard_normal((N, D)).astype(dtype)
    act = activation(activation_name, **PARAMS[activation_name])
    return GenericCase(tuple(layers), X, act, density(density_name))
