"""Epochs that fall: how they are recognised, and where the fit goes on from then.

An epoch passes over the same rows as the one before, so that their mean log-likelihoods differ by
what the layers have become, not by which rows they saw. Each is exact for its batches' layers.
"""

from typing import Any, NamedTuple

import numpy as np

from ..rules.base import State

SLACK = 0.01  # nats by which an epoch may fall whatever its noise


class Best(NamedTuple):
    """The best epoch so far: its mean log-likelihood, the states around it, and the rate now.

    `value`: NaN as long as there is none; `before`, `after` that epoch, or one no worse; `rate`: by
    what step sizes are multiplied, halved by each fall; `falls`: how often that was, and `in_a_row`
    since an epoch that did not fall.
    """

    value: float = float("nan")
    before: State | None = None
    after: State | None = None
    rate: float = 1.0
    falls: int = 0
    in_a_row: int = 0


def noise(values: Any) -> float:
    """Return three standard errors of the mean of batches' log-likelihoods, nats; robust.

    From the median deviation: heavy rows are in every epoch, and are no noise.

    >>> noise([-3.0, -3.0, -3.0, -1e9])
    0.0
    """
    off = np.abs(np.asarray(values) - np.median(values))
    return float(3 * 1.4826 * np.median(off) / np.sqrt(len(off)))


def after_epoch(
    best: Best, value: float, values: Any, jitter: float, state: State
) -> tuple[Best, State | None]:
    """Return the best epoch with this one in mind, and the state to go back to if this one fell.

    `value` is the mean over the epoch, of which `values` are those of its batches; `state` comes
    after it. `jitter`: what steps of this size cost in equilibrium, nats. A second fall in a row
    says that the best epoch ended badly: back to before it.

    >>> best, _ = after_epoch(Best(), -3.0, [-3.0], 0.1, "one")
    >>> best, back = after_epoch(best, -5.0, [-5.0, -5.0], 0.1, "two")
    >>> back, best.rate
    ('one', 0.5)
    """
    low = best.value - SLACK - jitter
    fell = value < low and value < low - noise(values)  # which takes a while, and is not below 0
    if not fell or best.after is None:
        value = value if not best.value > value else best.value
        return best._replace(value=value, before=best.after, after=state, in_a_row=0), None
    back = best.after
    if best.in_a_row and best.before is not None:
        back = best.before
    rate, falls = best.rate / 2, best.falls + 1
    return best._replace(after=back, rate=rate, falls=falls, in_a_row=best.in_a_row + 1), back
