"""Where a fit is and what it has seen: state and cursor, the epoch's record, the best layers.

What has a rule of its own stands beside: `bad_steps`, `average`, `judge`, `factorization`.
"""

import math
import time
from collections.abc import Iterable, Mapping
from typing import Any

import array_api_compat as compat
import numpy as np

from ..core.arrays import Array, check, copied, on_device, to_numpy
from ..core.network import Layers
from ..core.numerics import widest
from ..core.tracking import audit
from ..core.trees import each_array
from ..kernels.plans import Taken
from ..rules.base import State, StepInfo
from .average import RunningAverage
from .bad_steps import BadSteps
from .factorization import factorized
from .falls import Best, after_epoch
from .judge import Judge
from .records import Epoch, FitDivergedError, FitResult, Measured
from .snapshots import Snapshot, require_fits
from .status import read

LATE = 32  # steps after which a device is asked how they went, where none is to be judged at once


class Progress:
    """State and cursor of a fit, its history and best layers; `fit` reports every step to it.

    `consumed`: steps change W in place, so that what is kept must be a copy; `refresh`: steps
    between audits; `terms`: what the fit was asked for.
    """

    def __init__(
        self,
        state: State,
        judge: Judge,
        bad_steps: BadSteps,
        average: RunningAverage,
        terms: dict[str, str],
        *,
        refresh: int | None,
        consumed: bool,
    ) -> None:
        self.judge, self.bad_steps, self.average, self.terms = judge, bad_steps, average, terms
        self.refresh, self.consumed = refresh, consumed
        self.state, self.epoch, self.batch = state, 1, 0
        self.late = bad_steps.undo is None and on_device(state.layers[0].W)
        self.unread: list[tuple[StepInfo, float, int, Any]] = []
        self.rng_epoch: Mapping[str, Any] = {}
        self.history: list[Epoch] = []
        self.seen: list[tuple[float, float, float]] = []  # log-likelihood, eta, weight of batches
        self.drifts: list[float] = []
        self.stop_reason, self.started = "", time.perf_counter()
        self.best_yet = Best()
        start = self.kept(state.layers)
        self.best_layers, self.best_epoch, self.best = start, 0, -math.inf
        self.good_layers = start
        if judge.X_val is not None:  # the start may be better than all that follows
            with np.errstate(all="ignore"):
                self.best = judge.validate(start, factorized(start).total) or 0.0

    def kept(self, tree: Any) -> Any:
        """Return what later steps will not change: a copy of the arrays, if they would."""
        return each_array(copied, tree) if self.consumed else tree

    def is_bad(self, info: StepInfo) -> bool:
        """Return whether this batch shows that the step before it was bad, and is to be undone."""
        if self.late:
            return False
        (self.status,) = read([info])
        return self.bad_steps.shows_in(self.status)

    def take_back(self, after: State, info: StepInfo) -> bool:
        """Undo the step of this batch, if it was taken, and the one before; False if it can't."""
        state = self.bad_steps.take_back(self.state, after, info, self.status.rejected)
        self.average.forget()
        self.state = state or self.state
        return state is not None

    def note(self, after: State, info: StepInfo, weight: float, batch: Array = None) -> None:
        """Note a step on a batch of this total weight; if late, read it with others."""
        self.average.confirm()
        if self.late:
            self.unread.append((info._replace(directions=()), weight, after.t, batch))
            if len(self.unread) >= LATE:
                self.catch_up()
        else:
            self.seen.append((self.status.value, self.status.eta, weight))
            self.bad_steps.note(self.state, info, self.status.value)
        self.state, self.batch = after, self.batch + 1
        if self.average.wants(after.t):
            self.average.offer(after.layers)
        self.audit_if_due()

    def note_many(self, taken: Taken, weights: Iterable[float]) -> None:
        """Note steps of one call as `note` does; `weights`: of their batches, at least so many."""
        self.average.note_many(taken)
        self.seen += zip(taken.values.tolist(), taken.etas.tolist(), weights)  # noqa: B905
        self.bad_steps.note_many(taken)
        self.state, self.batch = taken.state, self.batch + taken.n
        self.audit_if_due()

    def audit_if_due(self) -> None:
        """Audit the tracker where as many steps have been taken as were asked for."""
        after = self.state
        if self.refresh is not None and after.t % self.refresh == 0:
            self.audit()

    def catch_up(self) -> None:
        """Read the steps not read yet; FitDivergedError for one that was rejected."""
        unread, self.unread = self.unread, []
        statuses = read([info for info, *_ in unread])
        for status, (_, weight, t, batch) in zip(statuses, unread, strict=True):
            if status.rejected:
                self.bad_steps.n_rejected += 1
                raise self.diverged(batch, t)
            self.seen.append((status.value, status.eta, weight))

    def audit(self, exact: Any = None) -> None:
        """Compare the tracker with the layers, and replace it if it has drifted."""
        if self.state.tracked is not None:
            try:
                found = audit(self.state.tracked, self.state.layers, exact=exact)
            except np.linalg.LinAlgError:  # no inverse to track; the objective will say the rest
                tracked = self.state.tracked._replace(inverse=None)
                found = audit(tracked, self.state.layers, exact=exact)
            self.drifts.append(found.drift)
            self.state = self.state._replace(tracked=found.tracked)
            if found.refreshed:
                self.bad_steps.tracker_was_off()

    def end_epoch(self, eta: float, jitter: float) -> Epoch:
        """Factorise, audit, validate, record, keep the best layers; return the record.

        `jitter`: nats by which an epoch may be below the best one for the size of its steps alone.
        """
        self.catch_up()
        layers = self.kept(self.state.layers)
        found = factorized(layers)
        self.audit(found.exact)
        train = averaged = None
        if self.state.tracked is not None:
            train = float(np.average([s[0] for s in self.seen], weights=[s[2] for s in self.seen]))
        validation = self.judge.validate(layers, found.total)
        fell = train is not None and self.went_back(train, layers, jitter)
        average = self.average.layers
        if average is not None and validation is not None:
            averaged = self.judge.validate(average, factorized(average).total)
        entry = Epoch(
            self.epoch,
            self.state.t,
            eta,
            float(np.mean([s[1] for s in self.seen])),
            train,
            validation,
            max(self.drifts, key=abs) if self.drifts else None,
            time.perf_counter() - self.started,
            found.condition,
            found.layer,
            averaged,
            self.bad_steps.n_undone - sum(e.undone for e in self.history),
            fell,
        )
        self.history.append(entry)
        if fell and validation is None:
            layers = self.kept(self.state.layers)
        if math.isfinite(found.total if validation is None else validation):
            self.good_layers = layers
        for candidate, value in ((layers, validation), (average or layers, averaged)):
            if validation is None or (value is not None and value > self.best):
                self.best_layers, self.best_epoch = candidate, self.epoch
                self.best = -math.inf if value is None else value
        self.epoch, self.batch, self.seen, self.drifts = self.epoch + 1, 0, [], []
        return entry

    def began(self, measured: Measured) -> None:
        """Begin from the measured state; no epoch shall fall below the mean of the start."""
        self.state = measured.state
        self.best_yet = self.best_yet._replace(value=measured.value, after=self.kept(self.state))

    def went_back(self, train: float, layers: Layers, jitter: float) -> bool:
        """Go back to the best epoch, at half the rate, if this one fell; say whether it did."""
        if self.bad_steps.undo is None or self.bad_steps.kind == "additive":
            return False
        state = self.state._replace(layers=layers)
        values = [value for value, *_ in self.seen]
        self.best_yet, back = after_epoch(self.best_yet, train, values, jitter, state)
        if back is None:
            return False
        self.state = self.kept(back)._replace(t=self.state.t)
        self.bad_steps.last = None
        self.average.restart(back.layers)
        return True

    def snapshot(self, rng: np.random.Generator) -> Snapshot:
        """Return where the fit is."""
        self.catch_up()
        now, bad = rng.bit_generator.state, self.bad_steps
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
            n_rejected=bad.n_rejected,
            n_undone=bad.n_undone,
            average=each_array(copied, self.average.average),  # its memory is used again
            guard=bad.guard,
            last=bad.last,
            drifts=tuple(self.drifts),
            good_layers=self.good_layers,
            best_yet=self.best_yet,
            terms=self.terms,
            stop_reason=self.stop_reason,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot; ValueError unless it is of a fit in these very terms."""
        own = self.state.layers
        require_fits(snapshot, own, self.terms)
        xp, device = check(own), compat.device(own[0].W)
        wide = str(widest(own[0].W)).split(".")[-1]  # the tracker comes from where it was float64

        def move(x: Any) -> Any:
            x = to_numpy(x)
            return xp.asarray(x.astype(wide) if x.dtype == np.float64 else x, device=device)

        self.state = self.kept(each_array(move, snapshot.state))
        self.best_layers = each_array(move, snapshot.best_layers)
        self.good_layers = each_array(move, snapshot.good_layers)
        self.best_yet = each_array(move, snapshot.best_yet)
        self.epoch, self.batch = snapshot.epoch, snapshot.batch
        self.best_epoch, self.best = snapshot.best_epoch, snapshot.best
        self.history, self.seen = list(snapshot.history), list(snapshot.seen)
        self.drifts, self.stop_reason = list(snapshot.drifts), snapshot.stop_reason
        bad = self.bad_steps
        bad.n_rejected, bad.n_undone = snapshot.n_rejected, snapshot.n_undone
        bad.guard, bad.last = snapshot.guard, each_array(move, snapshot.last)
        self.average.average = each_array(move, snapshot.average)
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
            self.bad_steps.n_rejected,
            self.bad_steps.n_undone,
            time.perf_counter() - self.started,
            self.best_yet.falls,
            rule_state=self.state.rule_state,
        )

    def diverged(self, batch: Array, t: int | None = None) -> FitDivergedError:
        """Name step t, and the first layer whose output or delta is not finite on its batch."""
        self.stop_reason, t = "diverged", self.state.t + 1 if t is None else t
        what = f"the objective is not finite at step {t}"
        if batch is not None:
            first = self.judge.first_bad(self.state.layers, batch)
            what = f"{what}: first {first}" if first else f"the move is not finite at step {t}"
        if self.bad_steps.hopeless:
            n = self.bad_steps.n_undone
            what = f"the objective falls and falls at step {t}: {n} steps were undone"
        self.state = self.state._replace(layers=self.good_layers, tracked=None)
        return FitDivergedError(
            f"{what}; the best layers and those of the last epoch with a finite objective are "
            "kept; try a smaller learning rate",
            self.result(),
        )
