"""What tells a bad step from a usual one, and what undoing it needs."""

from typing import Any, NamedTuple

from ..core.steps import Steps
from ..core.tracking import Tracked


class Last(NamedTuple):
    """The last step, as far as undoing it needs: what came before, and its factors and eta.

    >>> Last((), (), None, None).factors
    ()
    """

    factors: Steps
    eta: tuple[Any, ...]
    rule_state: Any
    tracked: Tracked | None


class Guard(NamedTuple):
    """What tells a bad step: running mean and mean deviation of the batches' log-likelihood.

    `seen` batches; `caution`: factor of the step size, halved when a step is undone.

    >>> Guard(0.0, 0.0, 0.0, 1.0).caution
    1.0
    """

    seen: Any
    mean: Any
    deviation: Any
    caution: Any


SMALLEST = 1e-3  # caution: a fit that needs still smaller steps has diverged


EARLY = 20  # batches from which the guard learns what is usual


def _learn(guard: Guard, value: float) -> Guard:
    """Return the guard that has also seen this log-likelihood; it forgets after 50 batches."""
    seen = float(guard.seen) + 1
    weight = max(1 / seen, 0.02)
    mean = float(guard.mean) + weight * (value - float(guard.mean))
    off = abs(value - float(guard.mean)) if seen > 1 else 0.0
    deviation = float(guard.deviation) + weight * (off - float(guard.deviation))
    return Guard(seen, mean, deviation, min(1.0, 1.02 * float(guard.caution)))
