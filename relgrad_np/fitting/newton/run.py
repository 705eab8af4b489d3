"""Fit by full batches of second order: `newton`, the public function."""

import math
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ...core.activations import Activation
from ...core.arguments import number, whole
from ...core.arrays import Array, check, detached, from_numpy, namespace, to_numpy
from ...core.densities import Density
from ...core.network import Layer, Layers
from ...core.sampling import require_model
from ...rules.base import State
from ..judge import Judge
from ..options import require_finite, weighted
from ..records import Epoch, FitDivergedError, FitResult, NotConvergedWarning
from .ascent import ascend, largest
from .bases import Bases, bases_of
from .course import Course
from .elementwise import elementwise
from .layered import CHUNK, Layered, RowParts
from .lbfgs import Curvatures
from .one_layer import OneLayer
from .rows import CompiledRows, compiles

FIRST_ROWS = 40, 1000  # rows of the first stage: so many a dimension, and at least
FIRST_TOL = 0.2  # over sqrt(rows): below it the gradient of a part of the rows is its noise
FIRST_STEPS = 50


def newton(
    layers: Layers,
    X: Array,
    activation: Activation,
    density: Density,
    *,
    tol: float = 1e-6,
    max_iter: int = 500,
    memory: int = 7,
    X_val: Array | None = None,
    patience: int | None = None,
    sample_weight: Any = None,
    callbacks: Sequence[Callable[[Epoch, State], Any]] = (),
) -> FitResult:
    """Maximise the mean log-likelihood of X (N, D) from `layers` on, by full batches.

    L-BFGS in relative coordinates, so that nothing depends on how the data were mixed. Its first
    guess of the curvature is that of pairs of units where there is one layer (linear ICA, see
    `pairs`), and the Fisher information of each layer where there are several (`joint`). Every
    step raises the exact log-likelihood, up to rounding. It is for few layers and up to some 1e4
    rows that all fit into memory; it overfits fast, so give validation rows and patience.

    Parameters
    ----------
    layers : tuple of Layer
        The start, see `init_layers`; never changed.
    X, X_val : arrays (N, D)
        Samples to fit, and to validate; library, device and dtype of the layers.
    tol : float
        Stop where no element of the gradient, relative and in the chart of centred outputs,
        exceeds it; dimensionless.
    max_iter, memory : int
        Most iterations, and the moves that L-BFGS remembers.
    patience : int
        Stop after so many iterations without a better validation; needs X_val.
    sample_weight : (N,) numbers, not negative
        The weighted mean is maximised; weights are relative.
    callbacks : functions of (Epoch, State)
        Called after each iteration; one that returns something true stops the fit.

    Returns
    -------
    FitResult
        An `Epoch` of the history is an iteration: `train` is the exact log-likelihood of all rows
        after it, `learning_rate` and `eta` are its step size, `drift` is known of the last.
        `n_rejected` counts trials that were not taken. `stop_reason`: "tol", "max_iter" (with a
        `NotConvergedWarning`), "stalled" (no step ascends beyond rounding, as at a kink of the
        Laplace), "patience" or "callback". `best_layers` are the best in validation, the start
        included; without X_val the last. `xi` is that of the best layers.

    Raises
    ------
    FitDivergedError (a FloatingPointError)
        The objective is not finite at the start; names the layer.
    ValueError, TypeError
        Arguments, by name; samples that are not finite; a density that does not act elementwise.

    Cost of an iteration: two products N D^2 with one layer, 5 L - 1 with several; O(L D^3).

    >>> import numpy as np, relgrad_np as rg
    >>> rng = np.random.default_rng(0)
    >>> X = rng.laplace(size=(500, 2)) @ np.array([[2.0, 1.0], [0.0, 1.0]])
    >>> start = rg.init_layers(rng, 2, 1, kind="whiten", X=X)
    >>> result = rg.newton(start, X, rg.activation("identity"), rg.density("sech"))
    >>> result.stop_reason, len(result.history) < 20
    ('tol', True)
    """
    tol = number("tol", tol, 0, math.inf, "positive")
    max_iter, memory = whole("max_iter", max_iter), whole("memory", memory)
    patience = patience if patience is None else whole("patience", patience)
    require_model(activation, density)
    elementwise(density)  # or ValueError
    for name, rows in (("X", X), ("X_val", X_val)):
        if rows is not None:
            check(layers, **{name: rows})
            require_finite(name, rows)
    if patience is not None and X_val is None:
        raise ValueError("`patience` needs `X_val`")
    began = time.perf_counter()
    layers = tuple(Layer(detached(W), detached(b)) for W, b in layers)
    X, X_val = detached(X), detached(X_val)
    used, weights = weighted(sample_weight, X.shape[0])
    if len(used) < X.shape[0]:
        xp = namespace(X, "X")
        X = xp.take(X, xp.asarray(used, device=X.device), axis=0)
    w = None if weights is None else from_numpy(weights[used], X)
    judge = Judge(activation, density, X_val, None, lambda x: float(to_numpy(x).mean()))
    with np.errstate(all="ignore"):
        if len(layers) == 1:
            start: Any = _one_layer(layers[0], X, w, density, max_iter)
        else:
            sample = RowParts(_parts(X, w), activation, density)
            start = Layered.of(sample, layers)
        course = Course(layers, start, judge, patience, callbacks, began)
        if not math.isfinite(start.value + largest(start.gradient)):
            bad = judge.first_bad(layers, X) or "the gradient"
            raise FitDivergedError(f"at the start {bad} is not finite", course.result(start, ""))
        end, reason = ascend(start, Curvatures(memory), tol, max_iter, course.after)
        result = course.result(end, reason)
    if reason == "max_iter":
        warnings.warn(
            f"{max_iter} iterations ran out before `tol` {tol:g} was reached: the largest element "
            f"of the gradient is {largest(end.gradient):.2g}; take more iterations",
            NotConvergedWarning,
            stacklevel=2,
        )
    return result


def _one_layer(
    layer: Layer, X: Array, w: Array | None, density: Density, max_iter: int
) -> OneLayer:
    """Return the layer's point, or where a first stage on a part of the rows ends, if it is better.

    n = max(40 D, 1000) rows, evenly spaced, if that is a third of all or less; without a memory,
    until the gradient is below its own noise, 0.2 / sqrt(n).
    """
    start, (N, D) = _point(layer, X, w, density), X.shape
    step = N // first_rows(D)
    if step < 3 or not math.isfinite(start.value):
        return start
    first = _point(layer, X[::step, :], None if w is None else w[::step], density)
    tol = FIRST_TOL / math.sqrt(first_rows(D))
    first_end: Any = ascend(first, Curvatures(0), tol, min(FIRST_STEPS, max_iter))[0]
    (moved,) = first_end.layers()
    end = _point(moved, X, w, density)
    return end if end.value > start.value else start


def first_rows(D: int) -> int:
    """Return how many rows the first stage takes, if there are three times as many.

    >>> first_rows(2), first_rows(100)
    (1000, 4000)
    """
    return max(FIRST_ROWS[0] * D, FIRST_ROWS[1])


def _point(layer: Layer, X: Array, w: Array | None, density: Density) -> OneLayer:
    """Return the layer's point on rows X with weights w, by the compiled pass where it serves."""
    bases = bases_of(density, X.shape[1])
    plain = bases is None or w is not None or not isinstance(X, np.ndarray)
    if plain or not compiles(X.dtype, X.size):
        return OneLayer.of(elementwise(density), layer, X, w)
    m = layer.W @ X.mean(axis=0, dtype=np.float64) + layer.b
    rows = CompiledRows.of(X, layer.W, (layer.b - m).astype(X.dtype), cast(Bases, bases), X.dtype)
    return OneLayer.begun(rows, layer, m)


def _parts(X: Array, w: Array | None) -> tuple[tuple[Array, Array | None, float], ...]:
    """Return the rows in parts, with weights and their share of all."""
    (N, D), parts = X.shape, []
    n = max(1, CHUNK // D)
    for i in range(0, N, n):
        j = min(i + n, N)
        parts.append((X[i:j, :], None if w is None else w[i:j], (j - i) / N))
    return tuple(parts)
