"""Small flows in NumPy to be judged: those of `validation.right_flows`, and one that is fixed."""

import numpy as np

from validation.right_flows import (
    LAYERS,
    composed,
    coupling,
    dense,
    leaky,
    permutation,
    right_flow,
    scale,
)

__all__ = [
    "LAYERS",
    "composed",
    "coupling",
    "dense",
    "layers",
    "leaky",
    "permutation",
    "right_flow",
    "scale",
]


def layers(seed=0, D=3):
    """A dense matrix with det < 0, a coupling, a kink, a dense matrix."""
    rng = np.random.default_rng(seed)
    made = [dense(rng, D), coupling(rng, D), leaky(rng, D), dense(rng, D)]
    return [(f"{name}{i}", f, g) for i, (name, f, g) in enumerate(made)]
