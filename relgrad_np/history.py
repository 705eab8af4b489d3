"""What a fit tells and keeps: its history, its result, and snapshots from which it goes on."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ._array import to_numpy
from .multiplicative import Steps
from .network import Layers
from .rules import State
from .tracking import Tracked


class Epoch(NamedTuple):
    """One entry of the history, log-likelihoods in nats per sample.

    `train`: mean over the epoch's batches, each before its step (None where log|det W| is not
    tracked); `validation`: after the epoch (None without X_val), `averaged`: of the average;
    `drift`: tracked minus exact sum of log|det W|, the largest that an audit saw;
    `learning_rate`: of the last step; `eta`: mean used, after caps; `condition`: the largest
    condition number of a W, and its `layer` (None above D = 1024); `undone` steps.

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


class Average(NamedTuple):
    """Running average of the layers, and of how many; see `fit`.

    `waiting`: layers that join when the next batch has not found the step before them bad.

    >>> Average((), 3).taken
    3
    """

    layers: Layers
    taken: int
    waiting: Layers | None = None


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


class Snapshot(NamedTuple):
    """All that a fit needs to go on, bitwise as if nothing had happened.

    `state`: layers, rule state, tracker, t; `epoch` to be worked on and the `batch`es of it already
    done; the generator before that epoch's permutation and now; the best layers so far; history;
    `seen`: log-likelihood (NaN if untracked), mean eta and weight of each batch of the epoch;
    the average; what tells bad steps, and the last step, should it have to be undone;
    `terms`: what the fit was asked for, with hashes of its data, so that no other one resumes it.

    >>> Snapshot._fields[1:3]
    ('epoch', 'batch')
    """

    state: State
    epoch: int
    batch: int
    rng_epoch: Mapping[str, Any]
    rng_now: Mapping[str, Any]
    best_layers: Layers
    best_epoch: int
    best: float
    history: tuple[Epoch, ...]
    seen: tuple[tuple[float, float, float], ...]
    seconds: float
    n_rejected: int
    n_undone: int
    average: Average | None
    guard: Guard
    last: Last | None
    drifts: tuple[float, ...]
    good_layers: Layers
    terms: dict[str, str]
    stop_reason: str = ""


class Keeper(Protocol):
    """Who keeps snapshots; `fit` asks after each step. See `checkpoint.Keeper`.

    A `stop` that is not None ends the fit.
    """

    stop: int | None

    def due(self, t: int, end: bool) -> bool:
        """Say whether a snapshot should be written now."""

    def write(self, snapshot: Snapshot) -> None:
        """Write it."""


class FitResult(NamedTuple):
    """What `fit` returns; `best_layers` are those of `best_epoch`, 0 for the start.

    `n_rejected` steps were not taken, `n_undone` taken and undone again.

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


class FitDivergedError(FloatingPointError):
    """The objective was not finite; `result` holds the last good layers and the history.

    >>> issubclass(FitDivergedError, FloatingPointError)
    True
    """

    def __init__(self, message: str, result: FitResult) -> None:
        super().__init__(message)
        self.result = result


def fingerprint(X: Any) -> str:
    """Tell rows (N, D) from others: their shape, and a hash of up to 1,000 of them.

    >>> fingerprint(np.ones((3, 2)))[:4], fingerprint(None)
    ('3x2 ', 'None')
    """
    if X is None:
        return "None"
    step = max(1, X.shape[0] // 1000)
    rows = np.ascontiguousarray(to_numpy(X[::step, :]))
    return f"{X.shape[0]}x{X.shape[1]} {hashlib.sha256(rows.tobytes()).hexdigest()[:16]}"
