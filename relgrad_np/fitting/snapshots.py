"""Snapshots from which a fit goes on, bitwise as if nothing had happened."""

import hashlib
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..core.arrays import to_numpy
from ..core.brief import brief
from ..core.network import Layers
from ..rules.base import State
from .average import Average
from .falls import Best
from .records import Epoch
from .status import Guard, Last


@brief
class Snapshot(NamedTuple):
    """All that a fit needs to go on, bitwise as if nothing had happened.

    `state`: layers, rule state, tracker, t; `epoch` to be worked on and the `batch`es of it already
    done; the generator before that epoch's permutation and now; the best layers so far; history;
    `seen`: log-likelihood (NaN if untracked), mean eta and weight of each batch of the epoch;
    the average; how bad steps are recognised, and the last step, in case it must be undone; where
    the fit goes back to when an epoch falls;
    `terms`: what the fit was asked for, with hashes of its data, so that no other one resumes it;
    and the implementation that was chosen, with which it goes on.

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
    best_yet: Best
    terms: dict[str, str]
    stop_reason: str = ""


class Keeper(Protocol):
    """Who keeps snapshots; `fit` asks after each step. See `checkpoint.CheckpointWriter`.

    A `stop` that is not None ends the fit. One that also has `next_due(t)` is asked after step
    next_due(t) > t, at each epoch's end, and several times a second: then many steps can be taken
    in one call. One that has `wants_epoch()` is told of the end of an epoch only where that is
    True, and of the end of the fit always.
    """

    stop: int | None

    def due(self, t: int, end: bool) -> bool:
        """Say whether a snapshot should be written now."""

    def write(self, snapshot: Snapshot) -> None:
        """Write it."""


def require_fits(snapshot: Any, layers: Layers, terms: dict[str, str]) -> None:
    """Refuse a snapshot of a fit of other layers, or in other terms; name what differs."""
    if not isinstance(snapshot, Snapshot):
        raise TypeError(f"`resume` must be a Snapshot, got {type(snapshot).__name__}")
    shapes = [[x.shape for x in layer] for layer in layers]
    if [[x.shape for x in layer] for layer in snapshot.state.layers] != shapes:
        raise ValueError("`resume` must be a snapshot of layers of these shapes")
    dtype = str(layers[0].W.dtype).split(".")[-1]
    if str(snapshot.state.layers[0].W.dtype) != dtype:
        raise ValueError(f"`resume` must be a snapshot of {dtype} layers")
    for name, term in terms.items():
        if name == BEGAN:  # a run may go on elsewhere
            continue
        if (was := snapshot.terms.get(name)) != term:
            raise ValueError(f"`{name}` can't change on resume: it was {was}, now {term}")


def asked_next(keeper: Keeper | None, t: int) -> int:
    """Return the step after t after which this keeper must be asked: the next one, or as it says.

    >>> asked_next(None, 3) > 10**9
    True
    """
    if keeper is None:
        return sys.maxsize
    next_due = getattr(keeper, "next_due", None)
    return t + 1 if next_due is None else int(next_due(t))


def is_told(keeper: Keeper | None, end: bool, last: bool) -> bool:
    """Say whether a keeper is told that an epoch has come to its end, the last one if it is that.

    >>> is_told(None, True, False), is_told(None, False, False)
    (True, False)
    """
    wants_epoch = getattr(keeper, "wants_epoch", None)
    return end and (last or wants_epoch is None or bool(wants_epoch()))


def begun_with(snapshot: Snapshot | None) -> str:
    """Return the name of the implementation that was chosen for this fit, "" if none was.

    >>> begun_with(None)
    ''
    """
    terms: dict[str, str] = getattr(snapshot, "terms", {})
    return terms.get(BEGAN, "")


BEGAN = "implementation"  # among the terms, where nobody asked for one


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
