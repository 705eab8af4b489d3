"""The way up: a direction, a step that raises the exact log-likelihood, and when to stop."""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

from ...core.arrays import Array, detached, namespace
from .lbfgs import Curvatures, Precondition, dot

SHARE = 1e-4  # of the increase that the slope promises, which a step must bring (Armijo)
TRIALS = 40  # step sizes that are tried along one direction
FALL = 0.9  # to which share the gradient must fall by a step whose gain rounding hides
LONGEST = 1.0  # |alpha E| of a layer, spectral: e^(alpha E) stretches no direction by more than e
NEARBY = 0.5  # the same, from where on a step that was cut short says little of where it ends


class Point(Protocol):
    """Layers with their exact mean log-likelihood, nats, and its derivatives, over all rows.

    `value`: NaN or -inf where it is no place to be; `noise`: what rounding may change of it, nats;
    `gradient`: xi~ of all layers, (L, D, D + c + 1); `moved(direction, alpha)`: another point.
    """

    @property
    def value(self) -> float: ...  # noqa: D102
    @property
    def noise(self) -> float: ...  # noqa: D102
    @property
    def gradient(self) -> Array: ...  # noqa: D102
    @property
    def precondition(self) -> Precondition: ...  # noqa: D102
    def moved(self, direction: Array, alpha: float) -> "Point": ...  # noqa: D102


class Climbed(NamedTuple):
    """A step that was accepted: the new point, alpha, and the trials that were not."""

    point: Point
    alpha: float
    rejected: int


def largest(gradient: Array) -> float:
    """Return max|gradient|, NaN where one is.

    >>> import numpy as np
    >>> largest(np.array([1.0, -2.0]))
    2.0
    """
    xp = namespace(gradient, "gradient")
    return float(detached(xp.max(xp.abs(gradient))))


def size(direction: Array) -> float:
    """Return the largest spectral norm of a layer's E, of [E, t] (L, D, D + c + 1), or a bound.

    No singular values are asked for where the Frobenius norm says that it is at most 1.

    >>> import numpy as np
    >>> size(np.array([[[-3.0, 7.0]], [[2.0, 8.0]]]))
    3.0
    """
    xp = namespace(direction, "direction")
    E = direction[:, :, : direction.shape[1]]  # (L, D, D)
    bound = float(detached(xp.max(xp.linalg.matrix_norm(E))))
    if bound <= LONGEST:
        return bound
    return float(detached(xp.max(xp.linalg.matrix_norm(E, ord=2))))


def climb(point: Point, direction: Array, slope: float) -> Climbed | None:
    """Try alpha = 1, then less, until the log-likelihood rises by 1e-4 alpha slope; None if never.

    Far from an optimum the model of the curvature holds for short steps alone: the first alpha is
    less than 1 where |alpha E| would exceed 1. The next alpha is the top of the parabola through
    what is known, within a tenth and a half of the last. Where what the slope promises is below
    rounding, a step that lowers the largest element of the gradient by a tenth is taken if the
    log-likelihood has not fallen by more than rounding.
    """
    alpha, now = min(1.0, LONGEST / max(size(direction), 1e-300)), point.value
    for rejected in range(TRIALS):
        trial = point.moved(direction, alpha)
        gain = trial.value - now
        if gain >= SHARE * alpha * slope and gain > point.noise:
            return Climbed(trial, alpha, rejected)
        within = alpha * slope <= 4 * point.noise and abs(gain) <= point.noise
        if within and largest(trial.gradient) < FALL * largest(point.gradient):
            return Climbed(trial, alpha, rejected)
        if alpha * slope <= point.noise / 4:
            return None
        bent = alpha * slope - gain
        top = 0.5 * slope * alpha / bent if bent > 0 and math.isfinite(bent) else 0.0
        alpha *= min(max(top, 0.1), 0.5)
    return None


def ascend(
    point: Point,
    curvatures: Curvatures,
    tol: float,
    max_iter: int,
    after: Callable[[Climbed], str] = lambda climbed: "",
    nearby: float = math.inf,
) -> tuple[Point, str]:
    """Go up from a point; return where it ended and why: tol, max_iter, stalled, or `after`'s word.

    `curvatures` is the memory, which is filled. `after(climbed)` is called with each accepted step;
    a word that it returns stops. `nearby` bounds |alpha E| of a step that is shorter than its
    direction and yet tells of the curvature: after a longer one the memory begins anew. Where no
    step along the direction of the memory ascends, the memory is forgotten, and the preconditioned
    gradient is tried.
    """
    for _ in range(max_iter):
        gradient = point.gradient
        if largest(gradient) < tol:
            return point, "tol"
        climbed = None
        for remembered in (True, False):
            if not remembered:
                curvatures.forget()
            direction = curvatures.direction(gradient, point.precondition)
            slope = dot(gradient, direction)
            if slope > 0 and math.isfinite(slope):
                climbed = climb(point, direction, slope)
            if climbed is not None or not curvatures.pairs:
                break
        if climbed is None:
            return point, "stalled"
        if climbed.alpha < 1 and nearby < math.inf and climbed.alpha * size(direction) > nearby:
            curvatures.forget()
        elif curvatures.size:
            curvatures.add(climbed.alpha * direction, gradient - climbed.point.gradient)
        point = climbed.point
        word = after(climbed)
        if word:
            return point, word
    return point, "tol" if largest(point.gradient) < tol else "max_iter"
