"""What a fit can be asked for, checked by name."""

import math
from collections.abc import Callable
from typing import Any

import array_api_compat as compat
import numpy as np

from ..core.arguments import generator, number, one_of, whole
from ..core.arrays import Array, to_numpy
from ..kernels.choose import known

SCHEDULES: dict[
    str, Callable[[float], float]
] = {  # factor of the learning rate, s = t / T in [0, 1)
    "linear": lambda s: 1 - s,
    "constant": lambda s: 1.0,
    "cosine": lambda s: 0.5 * (1 + math.cos(math.pi * s)),
    "harmonic": lambda s: 1 / (1 + 9 * s),
}


def weighted(sample_weight: Any, N: int) -> tuple[Any, Any]:
    """Return the rows in use, (n,), and weights (N,) of mean 1 over them, or None for equal ones.

    >>> weighted([2, 0, 1, 1], 4)[0]
    array([0, 2, 3])
    """
    if sample_weight is None:
        return np.arange(N), None
    weights = np.asarray(sample_weight)
    if weights.shape != (N,) or weights.dtype.kind not in "biuf":
        raise ValueError(
            f"`sample_weight` must be numbers of shape ({N},), got {weights.dtype} of shape "
            f"{weights.shape}"
        )
    weights = weights.astype(float)
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any():
        raise ValueError("`sample_weight` must be finite, not negative, and not all 0")
    rows = np.flatnonzero(weights > 0)
    return rows, None if np.ptp(weights[rows]) == 0 else weights / weights[rows].mean()


def check_options(
    schedule: str,
    warmup: int,
    batch_size: int,
    epochs: int,
    patience: int | None,
    implementation: str | Callable[..., Any] | None,
    rng: Any,
    average: float | None = None,
    undo: float | None = None,
    refresh: int | None = None,
) -> tuple[int, int, int, int | None]:
    """Refuse, by name, what `fit` could not use; so that a caller can ask before it begins.

    Returns warmup, batch_size, epochs, patience as Python's integers.

    >>> check_options("linear", 0, 10, 3, None, None, np.random.default_rng(0))
    (0, 10, 3, None)
    """
    one_of("schedule", schedule, SCHEDULES)
    if not isinstance(warmup, (int, np.integer)) or isinstance(warmup, bool) or warmup < 0:
        raise ValueError(f"`warmup` must be a number of steps, 0 or more, got {warmup!r}")
    batch_size, epochs = whole("batch_size", batch_size), whole("epochs", epochs)
    patience = None if patience is None else whole("patience", patience)
    generator(rng)
    if implementation is not None and not callable(implementation):
        known(implementation)
    if average is not None:
        number("average", average, 0, 1 - 1e-12, "in (0, 1), or None")
    if undo is not None:
        number("undo", undo, 0, math.inf, "positive, or None")
    if refresh is not None:
        whole("refresh", refresh)
    return int(warmup), batch_size, epochs, patience


def require_finite(name: str, X: Array) -> None:
    """Refuse samples that are NaN or infinite, naming the first one's row and column.

    Looks at 65,536 rows at a time, so that a memory-mapped file is not copied.
    """
    if isinstance(X, np.ndarray) and X.dtype.kind in "biu":
        return
    for start in range(0, X.shape[0], 2**16):
        part = X[start : min(start + 2**16, X.shape[0]), :]
        xp = compat.array_namespace(part)
        if not bool(xp.all(xp.isfinite(part))):
            row, column = np.argwhere(~np.isfinite(to_numpy(part)))[0]
            value, row = to_numpy(part)[row, column], start + row
            raise ValueError(f"`{name}` must be finite, got {value} in row {row}, column {column}")
