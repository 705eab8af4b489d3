"""What `fit` watches while it steps: the epoch's record, the best layers, an average, bad steps."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import array_api_compat as compat
import numpy as np

from ..core.activations import Activation
from ..core.arrays import Array, check, to_numpy
from ..core.backprop import backprop
from ..core.densities import Density
from ..core.network import Layers, forward
from ..core.numerics import widest
from ..core.objective import data_terms, log_abs_det
from ..core.steps import Factors
from ..core.tracking import audit, track
from ..core.undo import undo_step
from ..rules.base import State, StepInfo
from .average import MANY, Average, _averaged
from .bad_steps import EARLY, SMALLEST, Guard, Last, _learn
from .records import Epoch, FitDivergedError, FitResult
from .snapshots import Snapshot
from .status import LATE, read
from .trees import _each_array, copied, on_device


class Watch:
    """Where the loop is and what it has seen: state, cursor, history, the best layers."""

    def __init__(
        self,
        state: State,
        activation: Activation,
        density: Density,
        X_val: Any,
        terms: dict[str, str],
        *,
        kind: str,
        undo: float | None,
        horizon: float,
        refresh: int | None,
        consumed: bool = False,
        mean: Callable[[Array], float] | None = None,
    ) -> None:
        self.activation, self.density, self.X_val = activation, density, X_val
        self.terms, self.kind, self.undo, self.refresh = terms, kind, undo, refresh
        self.mean = mean or (lambda values: float(np.mean(to_numpy(values))))
        self.consumed = consumed  # steps change W in place: what is kept must be a copy
        self.every = max(1, round(horizon / MANY))  # steps between two layers of the average
        self.many = max(1, round(horizon / self.every))
        start = self.kept(state.layers)
        self.average = Average(start, 0, None) if horizon >= 1 else None
        self.guard = Guard(0.0, 0.0, 0.0, 1.0)
        self.last: Last | None = None
        self.drifts: list[float] = []
        self.state, self.epoch, self.batch = state, 1, 0
        self.late = undo is None and on_device(state.layers[0].W)
        self.waiting: list[tuple[StepInfo, float, int, Any]] = []
        self.rng_epoch: Mapping[str, Any] = {}
        self.history: list[Epoch] = []
        self.seen: list[tuple[float, float, float]] = []
        self.stop_reason, self.n_rejected, self.n_undone = "", 0, 0
        self.started = time.perf_counter()
        self.best_layers, self.best_epoch, self.best = start, 0, -math.inf
        self.good_layers = start
        if X_val is not None:  # the start may be better than all that follows
            with np.errstate(all="ignore"):
                self.best = self.validate(state.layers)

    def kept(self, tree: Any) -> Any:
        """Return what later steps will not change: a copy of the arrays, if they would."""
        return _each_array(copied, tree) if self.consumed else tree

    def validate(self, layers: Layers) -> float:
        """Return the mean log-likelihood of X_val, -inf for NaN."""
        tape = forward(layers, self.X_val, self.activation)
        L_p, L_J1 = data_terms(layers, tape, self.activation, self.density)
        value = self.mean(L_p + L_J1) + float(log_abs_det(layers))
        return value if math.isfinite(value) else -math.inf

    def is_bad(self, info: StepInfo) -> bool:
        """Say whether this batch tells that the step before it was a bad one, to be undone.

        Its log-likelihood is not finite, or `undo` mean deviations below the running mean.
        """
        if self.late:
            return False
        (self.status,) = read([info])
        if self.status.rejected:
            return True
        if self.undo is None or self.last is None or self.guard.seen < EARLY:
            return False
        fall = float(self.guard.mean) - self.status.value
        return fall > self.undo * float(self.guard.deviation)

    def take_back(self, state: State, info: StepInfo) -> bool:
        """Undo the step of this batch, if it was taken, and the one before; False if it can't."""
        self.n_rejected += int(self.status.rejected)
        if self.last is None:
            return False
        layers = state.layers
        if not self.status.rejected:
            layers = undo_step(layers, info.factors, info.eta, kind=self.kind)
        layers = undo_step(layers, self.last.factors, self.last.eta, kind=self.kind)
        tracked, inverse = self.last.tracked, self.state.tracked and self.state.tracked.inverse
        if tracked is None or inverse is not None:
            tracked = track(layers, inverse=inverse is not None)
        if self.average is not None:
            self.average = self.average._replace(waiting=None)
        self.state = State(layers, self.last.rule_state, tracked, self.state.t)
        caution = float(self.guard.caution) / 2
        self.last, self.guard = None, self.guard._replace(caution=caution)
        self.n_undone += 1
        return caution > SMALLEST

    def step(self, state: State, info: StepInfo, weight: float, batch: Array = None) -> None:
        """Note a step on a batch of this total weight; if late, read it with the others."""
        known = info.log_likelihood
        if self.late:
            self.waiting.append((info._replace(factors=()), weight, state.t, batch))
            if len(self.waiting) >= LATE:
                self.catch_up()
        else:
            self.seen.append((self.status.value, self.status.eta, weight))
        if self.average is not None and self.average.waiting is not None:
            self.average = _averaged(self.average, self.many)
        if self.undo is not None and self.kind and info.factors and known is not None:
            self.guard = _learn(self.guard, self.status.value)
            before = self.state.tracked
            self.last = Last(
                tuple(Factors(f.Delta, f.Y, None, None, m=f.m, gain=f.gain) for f in info.factors),
                tuple(info.eta),
                self.state.rule_state,
                before and before._replace(inverse=None),
            )
        self.state, self.batch = state, self.batch + 1
        t = state.t
        if self.average is not None and t % self.every == 0:
            self.average = self.average._replace(waiting=self.kept(state.layers))
        if self.refresh is not None and t % self.refresh == 0:
            self.audit()

    def catch_up(self) -> None:
        """Read the steps not read yet; FitDivergedError for one that was rejected."""
        waiting, self.waiting = self.waiting, []
        statuses = read([info for info, *_ in waiting])
        for status, (_, weight, t, batch) in zip(statuses, waiting, strict=True):
            if status.rejected:
                self.n_rejected += 1
                raise self.diverged(batch, t)
            self.seen.append((status.value, status.eta, weight))

    def audit(self) -> None:
        """Compare the tracker with the layers, and start it afresh if it has drifted."""
        if self.state.tracked is not None:
            try:
                found = audit(self.state.tracked, self.state.layers)
            except np.linalg.LinAlgError:  # no inverse to track; the objective will say the rest
                tracked = self.state.tracked._replace(inverse=None)
                found = audit(tracked, self.state.layers)
            self.drifts.append(found.drift)
            self.state = self.state._replace(tracked=found.tracked)
            if found.refreshed and self.last is not None:  # what it was before had drifted, too
                self.last = self.last._replace(tracked=None)

    def record(self, eta: float) -> Epoch:
        """End the epoch: audit, validate, note it, keep the best layers."""
        self.catch_up()
        self.audit()
        layers = self.kept(self.state.layers)
        train = validation = averaged = None
        if self.state.tracked is not None:
            train = float(np.average([s[0] for s in self.seen], weights=[s[2] for s in self.seen]))
        taken = self.average is not None and self.average.taken > 0
        average = self.average.layers if self.average is not None and taken else layers
        if self.X_val is not None:
            validation = self.validate(layers)
            averaged = self.validate(average) if taken else None
        entry = Epoch(
            self.epoch,
            self.state.t,
            eta,
            float(np.mean([s[1] for s in self.seen])),
            train,
            validation,
            max(self.drifts, key=abs) if self.drifts else None,
            time.perf_counter() - self.started,
            *worst_condition(layers),
            averaged,
            self.n_undone - sum(e.undone for e in self.history),
        )
        self.history.append(entry)
        if validation != -math.inf and (validation or math.isfinite(float(log_abs_det(layers)))):
            self.good_layers = layers
        for candidate, value in ((layers, validation), (average, averaged)):
            if self.X_val is None or (value is not None and value > self.best):
                self.best_layers, self.best_epoch = candidate, self.epoch
                self.best = -math.inf if value is None else value
        self.epoch, self.batch, self.seen, self.drifts = self.epoch + 1, 0, [], []
        return entry

    def snapshot(self, rng: np.random.Generator) -> Snapshot:
        """Return where we are."""
        self.catch_up()
        now = rng.bit_generator.state
        return Snapshot(
            state=self.kept(self.state),
            epoch=self.epoch,
            batch=self.batch,
            rng_epoch=self.rng_epoch if self.batch else now,
            rng_now=now,
            best_layers=self.best_layers,
            best_epoch=self.best_epoch,
            best=self.best,
            history=tuple(self.history),
            seen=tuple(self.seen),
            seconds=time.perf_counter() - self.started,
            n_rejected=self.n_rejected,
            n_undone=self.n_undone,
            average=self.average,
            guard=self.guard,
            last=self.last,
            drifts=tuple(self.drifts),
            good_layers=self.good_layers,
            terms=self.terms,
            stop_reason=self.stop_reason,
        )

    def restore(self, snapshot: Snapshot, own: Layers) -> None:
        """Go back to a snapshot; ValueError unless it is of a fit in these very terms."""
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"`resume` must be a Snapshot, got {type(snapshot).__name__}")
        xp = check(own)
        shapes = [[x.shape for x in layer] for layer in own]
        if [[x.shape for x in layer] for layer in snapshot.state.layers] != shapes:
            raise ValueError("`resume` must be a snapshot of layers of these shapes")
        if str(snapshot.state.layers[0].W.dtype) != (dtype := str(own[0].W.dtype).split(".")[-1]):
            raise ValueError(f"`resume` must be a snapshot of {dtype} layers")
        for name, term in self.terms.items():
            if snapshot.terms.get(name) != term:
                was = snapshot.terms.get(name)
                raise ValueError(f"`{name}` can't change on resume: it was {was}, now {term}")

        wide = str(widest(own[0].W)).split(".")[-1]  # the tracker comes from where it was float64

        def move(x: Any) -> Any:
            x = to_numpy(x)
            x = x.astype(wide) if x.dtype == np.float64 else x
            return xp.asarray(x, device=compat.device(own[0].W))

        self.state = self.kept(_each_array(move, snapshot.state))
        self.best_layers = _each_array(move, snapshot.best_layers)
        self.epoch, self.batch = snapshot.epoch, snapshot.batch
        self.best_epoch, self.best = snapshot.best_epoch, snapshot.best
        self.history, self.seen = list(snapshot.history), list(snapshot.seen)
        self.n_rejected, self.drifts = snapshot.n_rejected, list(snapshot.drifts)
        self.good_layers = _each_array(move, snapshot.good_layers)
        self.n_undone, self.guard = snapshot.n_undone, snapshot.guard
        self.average = _each_array(move, snapshot.average)
        self.last = _each_array(move, snapshot.last)
        self.stop_reason = snapshot.stop_reason
        self.started = time.perf_counter() - snapshot.seconds

    def result(self) -> FitResult:
        """Wrap up."""
        return FitResult(
            self.state.layers,
            self.best_layers,
            self.best_epoch,
            tuple(self.history),
            self.state.tracked,
            self.stop_reason,
            self.n_rejected,
            self.n_undone,
        )

    def first_bad(self, batch: Array) -> str:
        """Name what is not finite on this batch, in the order in which it is computed."""
        layers = self.state.layers
        tape = forward(layers, batch, self.activation)
        deltas = backprop(layers, tape, self.activation, self.density)
        logdets = [log_abs_det((layer,)) for layer in layers]
        parts = [("output", tape.Ys), ("log|det W|", logdets), ("delta", deltas)]
        found = (
            f"the {what} of layer {k}"
            for what, arrays in parts
            for k, x in enumerate(arrays)
            if not np.isfinite(to_numpy(x)).all()
        )
        return next(found, "the log-likelihood of the latent")

    def diverged(self, batch: Array, t: int | None = None) -> FitDivergedError:
        """Name step t, and the first layer whose output or delta is not finite on its batch."""
        self.stop_reason, t = "diverged", self.state.t + 1 if t is None else t
        what = f"the objective is not finite at step {t}"
        if batch is not None:
            what += f": first {self.first_bad(batch)}"
        if float(self.guard.caution) <= SMALLEST:
            what = f"the objective falls and falls at step {t}: {self.n_undone} steps were undone"
        self.state = self.state._replace(layers=self.good_layers, tracked=None)
        return FitDivergedError(
            f"{what}; the best layers and those of the last epoch with a finite objective are "
            "kept; try a smaller learning rate",
            self.result(),
        )


def worst_condition(layers: Layers) -> tuple[float | None, int | None]:
    """Return the largest condition number of a W, and whose; None above D = 1024: it is cubic.

    >>> from relgrad_np import Layer
    >>> worst_condition((Layer(np.eye(2), np.ones(2)), Layer(np.diag([1.0, 4.0]), np.ones(2))))
    (4.0, 1)
    """
    if layers[0].b.shape[0] > 1024:
        return None, None
    conditions = [float(np.linalg.cond(to_numpy(W).astype(np.float64))) for W, _ in layers]
    worst = int(np.argmax(conditions))
    return conditions[worst], worst
