"""What a fit of second order records along the way, and what it returns."""

import math
import time
from typing import Any

import array_api_compat as compat
import numpy as np

from ...core.arrays import check, copied, to_numpy
from ...core.network import Layer, Layers
from ...core.numerics import widest
from ...core.tracking import audit
from ...core.trees import each_array
from ...rules.base import State
from ..bar import close, progress_bar, show
from ..falls import Best
from ..judge import Judge
from ..records import Epoch, FitResult, gained
from ..snapshots import Snapshot, require_fits
from ..status import Guard
from ..watched import Watched
from .ascent import Climbed
from .asked import Asked
from .lbfgs import Curvatures


class Course:
    """What is recorded along the way: history, the best layers, and who stops it."""

    def __init__(
        self,
        layers: Layers,
        total: float,
        judge: Judge,
        asked: Asked,
        watched: Watched,
        terms: dict[str, str],
    ) -> None:
        self.judge, self.asked, self.watched, self.terms = judge, asked, watched, terms
        self.curvatures, self.began = Curvatures(asked.memory), time.perf_counter()
        self.history: list[Epoch] = []
        self.rejected, self.stop_reason = 0, ""
        self.best: float | None = judge.validate(layers, total)
        self.best_epoch, self.best_layers = 0, tuple(Layer(*map(copied, x)) for x in layers)
        self.best_xi: tuple[float, ...] | None = None  # unknown of the start
        self.bar: Any = None

    def goes_on(self, snapshot: Snapshot, layers: Layers) -> State:
        """Go back to a snapshot and return its state; ValueError unless it is of such a fit."""
        require_fits(snapshot, layers, self.terms)
        xp, device = check(layers), compat.device(layers[0].W)
        wide = str(widest(layers[0].W)).split(".")[-1]

        def move(x: Any) -> Any:
            x = to_numpy(x)
            return xp.asarray(x.astype(wide) if x.dtype == np.float64 else x, device=device)

        state: State = each_array(move, snapshot.state)
        self.best_layers = each_array(move, snapshot.best_layers)
        self.best_epoch, self.stop_reason = snapshot.best_epoch, snapshot.stop_reason
        self.best = None if self.best is None else snapshot.best
        self.history, self.rejected = list(snapshot.history), snapshot.n_rejected
        for s, y in state.rule_state:
            self.curvatures.add(s, y)
        self.began = time.perf_counter() - snapshot.seconds
        return state

    def open_bar(self) -> None:
        """Show a bar, if one is wanted."""
        if self.watched.progress:
            self.bar = progress_bar(self.asked.max_iter, len(self.history))

    def close_bar(self) -> None:
        """Close it."""
        close(self.bar)

    def after(self, climbed: Climbed) -> str:
        """Record an iteration; return why the fit is to stop, or nothing."""
        point: Any = climbed.point
        t = len(self.history) + 1
        self.rejected += climbed.rejected
        tracked = point.tracked
        validation, seconds = None, time.perf_counter() - self.began
        layers: Layers = ()
        if self.best is not None or self.watched.callbacks:
            layers = point.layers()
        if self.best is not None:
            validation = self.judge.validate(layers, float(to_numpy(tracked.logdet).sum()))
            if validation is not None and validation > self.best:
                self.best, self.best_epoch, self.best_layers = validation, t, layers
                self.best_xi = _norms(point)
        alpha = climbed.alpha
        self.history.append(Epoch(t, t, alpha, alpha, point.value, validation, None, seconds))
        show(self.bar, t, point.value)
        state = State(layers, None, tracked, t)
        stops = [call(self.history[-1], state) for call in self.watched.callbacks]
        self.stop_reason = "callback" if any(stops) else self._enough(t)
        self._keep(point, t)
        return self.stop_reason

    def _enough(self, t: int) -> str:
        patience, gain = self.asked.patience, self.asked.gain
        if patience is not None and t - self.best_epoch >= patience:
            return "patience"
        if gain is not None and gained(self.history, self.asked.waits) < gain:
            return "tol"
        return ""

    def _keep(self, point: Any, t: int) -> None:
        """Have a snapshot written, if one is due, and stop if the keeper was asked to."""
        keeper = self.watched.keeper
        if keeper is None:
            return
        if keeper.due(t, bool(self.stop_reason)):
            keeper.write(self.snapshot(point))
        if keeper.stop is not None:
            self.stop_reason = self.stop_reason or "signal"

    def snapshot(self, point: Any) -> Snapshot:
        """Return where the fit is, with its memory as the rule's state."""
        layers, t = point.layers(), len(self.history)
        memory = tuple((s, y) for s, y, _ in self.curvatures.pairs)
        best = layers if self.best is None else self.best_layers
        return Snapshot(
            state=State(layers, memory, point.tracked, t),
            epoch=t + 1,
            batch=0,
            rng_epoch={},
            rng_now={},
            best_layers=best,
            best_epoch=t if self.best is None else self.best_epoch,
            best=-math.inf if self.best is None else self.best,
            history=tuple(self.history),
            seen=(),
            seconds=time.perf_counter() - self.began,
            n_rejected=self.rejected,
            n_undone=0,
            average=None,
            guard=Guard(0, 0.0, 0.0, 1.0),
            last=None,
            drifts=(),
            good_layers=layers,
            best_yet=Best(),
            terms=self.terms,
            stop_reason=self.stop_reason,
        )

    def result(self, point: Any, reason: str) -> FitResult:
        """Return the result of a fit that ends at this point; `xi` None where it is unknown."""
        layers = point.layers()
        audited = audit(point.tracked, layers)
        if self.history:
            self.history[-1] = self.history[-1]._replace(drift=audited.drift)
        best, epoch, xi = self.best_layers, self.best_epoch, self.best_xi
        if self.best is None:
            best, epoch, xi = layers, len(self.history), _norms(point)
        return FitResult(
            layers,
            best,
            epoch,
            tuple(self.history),
            audited.tracked,
            reason,
            self.rejected,
            seconds=time.perf_counter() - self.began,
            xi=xi,
        )


def _norms(point: Any) -> tuple[float, ...] | None:
    """Return |[xi, G_b]| of each layer, Frobenius, in the chart of standardised outputs.

    None with context: there the gradient is that of its frame, and of residuals.
    """
    if point.gradient.shape[-1] > point.gradient.shape[-2] + 1:
        return None
    norms = []
    for xi, variance in zip(to_numpy(point.gradient), point.variances(), strict=True):
        std = np.sqrt(to_numpy(variance) + np.finfo(float).tiny)  # (D,)
        scaled = xi * std[:, None] / np.append(std, 1.0)  # (D, D + 1)
        norms.append(float(np.linalg.norm(scaled)))
    return tuple(norms)
