"""Small flows in NumPy to be judged, and what of them is planted wrong."""

import numpy as np

from validation.right_flows import LAYERS, coupling, dense, leaky, permutation, right_flow, scale

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


def composed(parts, D=3, missed=(), base=None, seed=0):
    """The arguments of check_flow for layers, one after the other; `missed` leaves out log|det J|."""

    def forward(x):
        total = np.zeros(len(x))
        for name, f, _ in parts:
            x, log_det = f(x)
            total = total + (0 if name in missed else log_det)
        return x, total

    def inverse(z):
        total = np.zeros(len(z))
        for _, _, g in reversed(parts):
            z, log_det = g(z)
            total = total + log_det
        return z, total

    def log_prob(x):
        z, log_det = forward(x)
        return -0.5 * (z**2).sum(axis=1) - D / 2 * np.log(2 * np.pi) + log_det

    draws = np.random.default_rng([seed, 1])
    return {
        "D": D, "forward": forward, "inverse": inverse, "log_prob": log_prob, "parts": parts,
        "sample": lambda n: inverse(draws.standard_normal((n, D)))[0],
    }  # fmt: skip
