"""How steps went, as numbers of the host, and what is kept of them: the usual, and the last one."""

import math
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import namespace, on_device, to_numpy
from ..core.numerics import widest
from ..core.steps import Directions
from ..core.tracking import Tracked
from ..rules.base import StepInfo


class Status(NamedTuple):
    """What is read of a step: whether it was rejected, log-likelihood (NaN: unknown), mean eta."""

    rejected: bool
    value: float
    eta: float


class Guard(NamedTuple):
    """How a bad step is recognised: running mean and mean deviation of batches' log-likelihoods.

    `seen` batches; `caution`: factor of the step size, halved when a step is undone.
    """

    seen: Any
    mean: Any
    deviation: Any
    caution: Any


class Last(NamedTuple):
    """The last step, as far as undoing it needs: what came before, its directions and eta."""

    directions: Directions
    eta: tuple[Any, ...]
    rule_state: Any
    tracked: Tracked | None


def read(infos: list[StepInfo]) -> list[Status]:
    """Read the steps' numbers, from a device all in one transfer.

    >>> read([StepInfo(np.float64(-2.0), np.float64(0.5), None, (np.asarray(0.1),), (), False)])
    [Status(rejected=False, value=nan, eta=0.1)]
    """
    rows: list[Any] = []
    for info in infos:
        known = info.log_likelihood
        rows.append((info.rejected, math.nan if known is None else known, *info.eta))
    if infos and on_device(first := infos[0].L_p):
        xp, wide = namespace(first, "L_p"), widest(first)
        numbers = [first + x if isinstance(x, float) else x for row in rows for x in row]
        rows = to_numpy(xp.stack([xp.astype(x, wide) for x in numbers])).reshape(len(infos), -1)
    return [Status(bool(r), float(v), float(np.mean([float(e) for e in es]))) for r, v, *es in rows]
