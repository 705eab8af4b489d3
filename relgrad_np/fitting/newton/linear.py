"""Where one layer begins: the pass that serves, and a first stage on a part of the rows."""

import math
from typing import Any

import numpy as np

from ...core.arrays import Array
from ...core.densities import Density
from ...core.network import Layer
from .ascent import ascend
from .bases import bases_of
from .elementwise import elementwise
from .lbfgs import Curvatures
from .one_layer import OneLayer
from .rows import CompiledRows, compiles

FIRST_ROWS = 40, 1000  # rows of the first stage: so many a dimension, and at least
FIRST_TOL = 0.2  # over sqrt(rows): below it the gradient of a part of the rows is its noise
FIRST_STEPS = 50
PARTS = 3  # a part of the rows is to be a third of them at most


def first_part(N: int, D: int) -> tuple[int, float]:
    """Return which of N rows the first stage takes, every k-th, and its tol; 0 if there is none.

    n = max(40 D, 1000) rows, evenly spaced, if that is a third of all or less; 0.2 / sqrt(n).

    >>> first_part(5000, 2), first_part(5000, 100)
    ((5, 0.0063...), (0, 0.0031...))
    """
    n = max(FIRST_ROWS[0] * D, FIRST_ROWS[1])
    return (N // n if N // n >= PARTS else 0), FIRST_TOL / math.sqrt(n)


def point(layer: Layer, X: Array, w: Array | None, density: Density) -> OneLayer:
    """Return the layer's point on rows X with weights w, by the compiled pass where it serves.

    That knows neither weights nor context: the plain one does.
    """
    bases = bases_of(density, layer.W.shape[0])
    plain = w is not None or not isinstance(X, np.ndarray) or layer.b.ndim == 2
    if bases is None or plain or not compiles(X.dtype, X.size):
        return OneLayer.of(elementwise(density), layer, X, w)
    m = layer.W @ X.mean(axis=0, dtype=np.float64) + layer.b
    rows = CompiledRows.of(X, layer.W, (layer.b - m).astype(X.dtype), bases, X.dtype)
    return OneLayer.begun(rows, layer, m)


def first_stage(
    start: OneLayer, X: Array, w: Array | None, density: Density, max_iter: int
) -> OneLayer:
    """Return where a first stage on a part of the rows ends, if it is better on all of them.

    Without a memory, until the gradient is below its own noise. A dimension of context counts too.
    """
    step, tol = first_part(*X.shape)
    if not step or not math.isfinite(start.value):
        return start
    part = None if w is None else w[::step]
    first = point(start.start[0], X[::step, :], part, density)
    end: Any = ascend(first, Curvatures(0), tol, min(FIRST_STEPS, max_iter))[0]
    moved = point(end.layers()[0], X, w, density)
    return moved if moved.value > start.value else start
