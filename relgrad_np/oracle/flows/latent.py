"""A base of independent columns, turned into a standard normal by its own distribution function.

Whether the columns are independent is seen in the base's log density, which must be a sum of
functions of one column each. Each is then normalised and integrated on a grid.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from .records import Array

POINTS = 20_001


def normal(z: Array) -> Array:
    """Return the log density of a standard normal (N,).

    >>> float(np.round(normal(np.zeros((1, 2)))[0], 6))
    -1.837877
    """
    return np.asarray(-0.5 * (z**2).sum(axis=1) - 0.5 * z.shape[1] * np.log(2 * np.pi))


def to_normal(z: Array, base: Callable[[Array], Array], rng: np.random.Generator) -> Array | None:
    """Return z (n, D) with every column made standard normal, if it follows base; else None.

    None: the columns of the base are not independent.

    >>> rng = np.random.default_rng(0)
    >>> z = rng.laplace(size=(4000, 2))
    >>> u = to_normal(z, lambda z: -np.abs(z).sum(axis=1) - 2 * np.log(2), rng)
    >>> bool(np.all(np.abs(u.std(axis=0) - 1) < 0.05))
    True
    """
    n, D = z.shape
    at = np.median(z, axis=0)
    few = z[rng.choice(n, min(n, 20), replace=False)]
    alone = np.repeat(few[:, None], D, axis=1) * np.eye(D) + at * (1 - np.eye(D))  # (20, D, D)
    centre = base(at[None])
    whole = base(few) - centre
    total = (base(alone.reshape(-1, D)).reshape(len(few), D) - centre).sum(axis=1)
    both = np.isneginf(whole) & np.isneginf(total)
    if not (both | (np.abs(whole - total) <= 1e-6 * (1 + np.abs(whole)))).all():
        return None
    t = np.linspace(-1, 1, POINTS + 2)[1:-1]
    low, high = np.quantile(z, [0.25, 0.75], axis=0)
    made = np.empty_like(z)
    for i in range(D):
        scale = max(float(high[i] - low[i]), 1e-300)
        line = at[i] + scale * t / (1 - t**2)
        points = np.repeat(at[None], POINTS, axis=0)
        points[:, i] = line
        with np.errstate(all="ignore"):
            p = np.nan_to_num(np.exp(base(points) - centre))
        steps = p * (1 + t**2) / (1 - t**2) ** 2
        below = (np.cumsum(steps) - steps / 2) / steps.sum()
        u = np.interp(z[:, i], line, below)
        made[:, i] = special.ndtri(np.clip(u, 1e-12, 1 - 1e-12))
    return made
