"""The package itself as a contender of `benchmarks.quality`: what `relgrad-np train` does."""

from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.fitting.storage.model import in_float64
from relgrad_np.runs.presets import settings_for
from relgrad_np.runs.training import prepare


class Reporter:
    """A keeper for `fit` that keeps nothing: it has the course judge the layers when that is due.

    What `fit` would return if it ended here is the better one, on validation rows, of the layers
    and their average.
    """

    stop = None

    def __init__(self, course: Any, batches: int) -> None:
        self.course, self.batches = course, batches

    def due(self, t: int, end: bool) -> bool:
        """Say whether the layers after step t are to be judged."""
        return bool(self.course.due())

    def write(self, snapshot: Any) -> None:
        """Have them judged."""
        candidates = [snapshot.state.layers]
        if snapshot.average is not None and snapshot.average.taken:
            candidates.append(snapshot.average.layers)
        self.course.report(snapshot.state.t / self.batches, candidates)


def train(data: Any, asked: dict[str, Any], course: Any, judge: Any) -> None:
    """Fit with the settings that the package has for these data; validation is on the clock."""
    chosen = asked.get("options") or {}
    settings = settings_for(data.name, **{"seed": asked["seed"], **chosen})
    prepared = prepare(settings, data)
    options = prepared.options
    model = options["activation"], options["density"]

    def score(layers: Any, X: Any) -> float:
        with np.errstate(all="ignore"):
            return float(rg.log_likelihood(in_float64(layers), X, *model).mean)

    course.judge = judge(score)
    course.report(0.0, [prepared.start])
    batches = -(-len(data.train) // (settings.batch_size or len(data.train)))
    result = rg.fit(prepared.start, **options, keeper=Reporter(course, batches))
    course.report(float(len(result.history)), [result.best_layers])
