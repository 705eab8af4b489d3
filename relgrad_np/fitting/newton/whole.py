"""Fit all rows at once: from the start, by a first stage, to where something stops the way up."""

import math
from typing import Any

import numpy as np

from ...core.activations import Activation
from ...core.arrays import Array, detached, from_numpy
from ...core.densities import Density
from ...core.network import Layer, Layers
from ..batches import Batches, Staged
from ..factorization import factorized
from ..judge import Judge
from ..records import FitDivergedError
from ..watched import Watched
from .ascent import NEARBY, ascend, largest
from .asked import Asked, Found
from .bending import bending
from .course import Course
from .elementwise import elementwise
from .frame import FramedRows, framed
from .layer_moments import RowPart
from .layered import CHUNK, Layered, RowParts
from .linear import first_stage, point


def fit_all_rows(
    layers: Layers,
    batches: Batches,
    activation: Activation,
    density: Density,
    held: tuple[Array | None, Array | None],
    asked: Asked,
    watched: Watched,
    terms: dict[str, str],
) -> Found:
    """Fit all rows of `batches`; `held` are X_val and its weights (n, 1), or None each.

    All of it is checked already, but that the rows are where the layers are. `terms` say what was
    asked for, to compare with a snapshot's.
    Raises as `newton` does.
    """
    base = elementwise(density)
    if isinstance(batches.X, Staged):
        raise ValueError(
            "`X` must not be `Staged`: all rows at once have to be where the layers are"
        )
    layers = tuple(Layer(detached(W), detached(b)) for W, b in layers)
    X, weights = batches.X, batches.weights
    if len(batches.rows) < X.shape[0]:
        X = batches.fetch(batches.rows)
    w = None if weights is None else from_numpy(weights[batches.rows], X)
    judge = Judge(activation, density, *held, batches.team.mean)
    with np.errstate(all="ignore"):
        course = Course(layers, factorized(layers).total, judge, asked, watched, terms)
        first, tracked, begun = layers, None, watched.resume is not None
        if watched.resume is not None:
            first, _, tracked, _ = course.goes_on(watched.resume, layers)
        if len(layers) == 1:
            start: Any = point(first[0], X, w, density)
            start = start if begun else first_stage(start, X, w, density, asked.max_iter)
        else:
            rows = framed(first, X, w)
            sample = RowParts(_parts(rows, w), bending(activation), base, rows.frame)
            start = Layered.of(sample, first, tracked)
        if not math.isfinite(start.value + largest(start.gradient)):
            bad = judge.first_bad(first, X) or "the gradient"
            raise FitDivergedError(f"at the start {bad} is not finite", course.result(start, ""))
        end, reason = start, course.stop_reason
        if not reason:
            end, reason = _climbed(start, course)
        return Found(course.result(end, reason), largest(end.gradient))


def _climbed(start: Any, course: Course) -> tuple[Any, str]:
    """Go up from the start until something stops it; return where it ended and why."""
    asked, keeper = course.asked, course.watched.keeper
    course.open_bar()
    try:
        left = asked.max_iter - len(course.history)
        # a bias that knows context may begin as far away as the context's effects are large;
        # without context a memory begun anew costs iterations about as often as it saves them
        nearby = NEARBY if start.gradient.shape[2] > start.gradient.shape[1] + 1 else math.inf
        end, reason = ascend(start, course.curvatures, asked.tol, left, course.after, nearby)
    finally:
        course.close_bar()
    reason = asked.spent if reason == "max_iter" else reason
    if keeper is not None and not course.stop_reason:
        course.stop_reason = reason
        keeper.write(course.snapshot(end))
    return end, reason


def _parts(rows: FramedRows, w: Array | None) -> tuple[RowPart, ...]:
    """Return the rows in parts, with weights and their share of all."""
    (N, D), parts = rows.X.shape, []
    n = max(1, CHUNK // D)
    for i in range(0, N, n):
        j = min(i + n, N)
        one, hat = (x if isinstance(x, float) else x[i:j, :] for x in (rows.one, rows.hat))
        some = None if w is None else w[i:j]
        parts.append(RowPart(rows.X[i:j, :], some, (j - i) / N, one, hat))
    return tuple(parts)
