"""What a fit returns: its history, epoch by epoch, its result, and the error where it diverged."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import Array
from ..core.brief import brief
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


@brief
class FitResult(NamedTuple):
    """What `fit` returns; `best_layers` are those of `best_epoch`, 0 for the start.

    `n_rejected` steps were not taken, `n_undone` taken and undone again; `n_falls` epochs fell, so
    that the fit went back. `seconds` is the time of the fit, also before it was resumed, without
    that of compiling kernels. `xi`: |[xi, G_b]| of each of the best layers over all rows,
    Frobenius, in the chart of standardised outputs: dimensionless, 0 at a stationary point; None if
    not asked. `rule_state`: what the rule has learned of `layers`.

    `print` shows a summary of five lines.

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

    def __str__(self) -> str:
        """Return a summary of five lines; log-likelihoods are in the space of the rows fitted.

        >>> epoch = Epoch(1, 10, 0.1, 0.1, -3.0, -3.1, 1e-15, 0.2)
        >>> print(FitResult((), (), 1, (epoch,), None, "epochs", 0, 2, 0.2))
        fit of 0 layers, stopped by epochs: 1 epoch, 10 steps, 0.2 s
        train: -3.000 nats a row in the last epoch
        validation: -3.100 nats a row in epoch 1, the best
        steps: 0 rejected, 2 undone; 0 epochs fell
        log|det W|: tracked to 1.0e-15 nats
        """
        n, last = len(self.history), self.history[-1] if self.history else None
        by_epoch = {entry.epoch: entry for entry in self.history}
        best = by_epoch.get(self.best_epoch)
        values = [] if best is None else [best.validation, best.averaged]
        known = [value for value in values if value is not None]
        where = f"in epoch {self.best_epoch}, the best" if self.best_epoch else "at the start"
        train = "unknown" if last is None or last.train is None else f"{last.train:.3f} nats a row"
        validation = f"{max(known):.3f} nats a row" if known else "unknown"
        drift = None if last is None else last.drift
        tracked = "not tracked" if drift is None else f"tracked to {abs(drift):.1e} nats"
        size = f", D = {self.layers[0].b.shape[0]}" if self.layers else ""
        steps = 0 if last is None else last.t
        return "\n".join(
            [
                f"fit of {len(self.layers)} layers{size}, stopped by {self.stop_reason}: "
                f"{n} epoch{'s' * (n != 1)}, {steps} steps, {self.seconds:.1f} s",
                f"train: {train} in the last epoch",
                f"validation: {validation} {where}",
                f"steps: {self.n_rejected} rejected, {self.n_undone} undone; "
                f"{self.n_falls} epochs fell",
                f"log|det W|: {tracked}",
            ]
        )


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
