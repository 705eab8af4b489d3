"""What a fit of second order records along the way, and what it returns."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core.arrays import copied, to_numpy
from ...core.network import Layer, Layers
from ...core.tracking import audit
from ...rules.base import State
from ..judge import Judge
from ..records import Epoch, FitResult
from .ascent import Climbed


class Course:
    """What is recorded along the way: history, the best layers, and who stops it."""

    def __init__(
        self,
        layers: Layers,
        start: Any,
        judge: Judge,
        patience: int | None,
        callbacks: Sequence[Callable[[Epoch, State], Any]],
        began: float,
    ) -> None:
        self.judge, self.patience, self.callbacks, self.began = judge, patience, callbacks, began
        self.history: list[Epoch] = []
        self.rejected = 0
        total = float(to_numpy(start.tracked.logdet).sum())
        self.best: float | None = judge.validate(layers, total)
        self.best_epoch, self.best_layers = 0, tuple(Layer(*map(copied, x)) for x in layers)
        self.best_xi = _norms(start)

    def after(self, t: int, climbed: Climbed) -> str:
        """Record an iteration; return why the fit is to stop, or nothing."""
        point: Any = climbed.point
        self.rejected += climbed.rejected
        tracked = point.tracked
        validation, seconds = None, time.perf_counter() - self.began
        layers: Layers = ()
        if self.best is not None or self.callbacks:
            layers = point.layers()
        if self.best is not None:
            validation = self.judge.validate(layers, float(to_numpy(tracked.logdet).sum()))
            if validation is not None and validation > self.best:
                self.best, self.best_epoch, self.best_layers = validation, t, layers
                self.best_xi = _norms(point)
        alpha = climbed.alpha
        self.history.append(Epoch(t, t, alpha, alpha, point.value, validation, None, seconds))
        stops = [call(self.history[-1], State(layers, None, tracked, t)) for call in self.callbacks]
        if any(stops):
            return "callback"
        if self.patience is not None and t - self.best_epoch >= self.patience:
            return "patience"
        return ""

    def result(self, point: Any, reason: str) -> FitResult:
        """Return the result of a fit that ends at this point."""
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


def _norms(point: Any) -> tuple[float, ...]:
    """Return |[xi, G_b]| of each layer, Frobenius, in the chart of standardised outputs."""
    norms = []
    for xi, variance in zip(to_numpy(point.gradient), point.variances(), strict=True):
        std = np.sqrt(to_numpy(variance) + np.finfo(float).tiny)  # (D,)
        scaled = xi * std[:, None] / np.append(std, 1.0)  # (D, D + 1)
        norms.append(float(np.linalg.norm(scaled)))
    return tuple(norms)
