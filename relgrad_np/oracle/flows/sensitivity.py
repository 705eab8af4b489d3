"""How far results move when their arguments do: what a right result inherits from rounding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .records import Arithmetic, Array

PROBES = 4
STEP = {"float64": 2.0**-20, "float32": 2.0**-9}  # relative; the slope is used, not the step


def sensitivity(
    how: Arithmetic, f: Callable[[Array], Array], x: Array, salt: int, scale: Array | float = 1.0
) -> Array:
    """Return by how much f may move when each entry of x moves by its own size plus `scale`.

    The largest of a few random sign patterns, times sqrt(D): what the worst pattern does to a
    linear f is about that. The shape is that of f(x); where f is not finite beside x, infinite.

    >>> f = lambda x: 3 * x[:, 0]
    >>> float(sensitivity(Arithmetic(), f, np.array([[1.0]]), 0)[0])
    6.0
    """
    rng, D = how.rng(salt), x.shape[1]
    size = np.abs(x) + scale
    with np.errstate(all="ignore"):  # no step is larger than that of scale 1
        small = np.minimum(1, (np.abs(x).max(axis=1) + 1) / size.max(axis=1))
    step = (STEP[how.dtype] * np.nan_to_num(small, nan=1.0))[:, None]  # (N, 1)
    found: Array | None = None
    for _ in range(PROBES):
        move = step * size * rng.choice([-1.0, 1.0], x.shape)
        with np.errstate(all="ignore"):
            apart = f(x + move) - f(x - move)
            one = np.abs(apart) / (2 * (step if apart.ndim == 2 else step[:, 0]))
        found = one if found is None else np.fmax(found, one)
    assert found is not None
    return np.where(np.isnan(found), np.inf, found) * np.sqrt(D)
