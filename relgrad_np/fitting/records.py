"""What a fit returns: its history, epoch by epoch, its result, and the error where it diverged."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import Array
from ..core.network import Layers
from ..core.tracking import Tracked
from ..rules.base import State


class Epoch(NamedTuple):
    """One entry of the history, log-likelihoods in nats per sample.

    `train`: mean over the epoch's batches, each before its step (None where log|det W| is not
    tracked); `validation`: after the epoch (None without X_val), `averaged`: of the average;
    `drift`: tracked minus exact sum of log|det W|, the largest that an audit saw;
    `learning_rate`: of the last step; `eta`: mean used, after caps; `condition`: the largest
    condition number of a W, and its `layer` (None above D = 1024); `undone` steps; whether it
    `fell` by more than its noise, so that the fit went back to the best layers, at half the rate.

    >>> Epoch(1, 10, 0.1, 0.1, -3.0, -3.1, 0.0, 0.2).validation
    -3.1
    """

    epoch: int
    t: int
    learning_rate: float
    eta: float
    train: float | None
    validation: float | None
    drift: float | None
    seconds: float
    condition: float | None = None
    layer: int | None = None
    averaged: float | None = None
    undone: int = 0
    fell: bool = False


def gained(history: Sequence[Epoch], epochs: int) -> float:
    """Return the largest gain of the last so many epochs, nats; inf while there are fewer.

    >>> gained([], 1)
    inf
    """
    values = [entry.train for entry in history[-epochs - 1 :]]
    if len(values) <= epochs or None in values:
        return math.inf
    return float(np.max(np.diff(np.array(values, float))))


class Measured(NamedTuple):
    """A state whose rule has measured all rows, and their mean log-likelihood, nats.

    `bad`: the batch on which the objective is not finite, if there is one.
    """

    state: State
    value: float
    bad: Array | None = None


class FitResult(NamedTuple):
    """What `fit` returns; `best_layers` are those of `best_epoch`, 0 for the start.

    `n_rejected` steps were not taken, `n_undone` taken and undone again; `n_falls` epochs fell, so
    that the fit went back. `seconds` is the time of the fit, also before it was resumed, without
    that of compiling kernels. `xi`: |[xi, G_b]| of each of the best layers over all rows,
    Frobenius, in the chart of standardised outputs: dimensionless, 0 at a stationary point; None if
    not asked. `rule_state`: what the rule has learned of `layers`.

    >>> FitResult((), (), 0, (), None, "epochs", 0).stop_reason
    'epochs'
    """

    layers: Layers
    best_layers: Layers
    best_epoch: int
    history: tuple[Epoch, ...]
    tracked: Tracked | None
    stop_reason: str
    n_rejected: int
    n_undone: int = 0
    seconds: float = 0.0
    n_falls: int = 0
    xi: tuple[float, ...] | None = None
    rule_state: Any = None


class FitWarning(UserWarning):
    """A fit ended below its own start, or below the Gaussian of the rows that it fits.

    Of ICA: components are left out, or nothing tells some sources apart.

    >>> issubclass(FitWarning, UserWarning)
    True
    """


class NotConvergedWarning(UserWarning):
    """Epochs ran out before the fit had arrived.

    >>> issubclass(NotConvergedWarning, UserWarning)
    True
    """


class FitDivergedError(FloatingPointError):
    """The objective was not finite; `result` holds the last good layers and the history.

    >>> issubclass(FitDivergedError, FloatingPointError)
    True
    """

    def __init__(self, message: str, result: FitResult) -> None:
        super().__init__(message)
        self.result = result
