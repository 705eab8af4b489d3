"""Rows that come one after another, of a density that may move: steps on each, once.

A stream has no epochs. What takes their place is a window of the latest rows, which is kept:

start      The first rows wait for it; until there are enough, layers are made of what there is.
constants  A recipe measures the window again whenever that many new rows have come. A batch of n
           rows, n below `batch_size`, takes n / batch_size of the step, so that it hardly matters
           how a stream is cut; and a step moves so little that its noise costs `NOISE` nats.
guard      A step that the next batch shows to be bad is undone, as in `fit`; the tracker is
           audited. Where a new start of the window would be better than what steps have made, as
           after a jump of the density, the stream goes on from that: nobody does worse than a fit
           of the latest rows that takes no step.
average    The layers are those of the latest `WINDOWS` windows on average, which has less noise
           than the last ones. Where the last ones explain the rows better, it begins anew.

A step works on a copy of the layers. It is taken over with all that goes with it by one assignment,
so that whatever interrupts it leaves the stream after its last whole step.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..core.activations import Activation
from ..core.arrays import Array, copied
from ..core.densities import Density
from ..core.network import Layer, Layers
from ..core.objective import log_likelihood
from ..core.tracking import audit
from ..core.trees import each_array
from ..rules.base import Rule, State, StepInfo, init_state
from ..rules.recipe import Recipe, Record
from .bad_steps import BadSteps
from .batches import Batches
from .factorization import factorized
from .status import read
from .survey import Rows, measured
from .team import Team

FIRST = 10  # rows for each column that a start takes
WINDOW = 1000  # rows of the window at least, and 5 for each number of a Gaussian
NOISE = 0.02  # nats that the noise of steps may cost
BETTER = 0.05  # nats by which others must be better: a new start, beside what it fits of the noise
WINDOWS = 3  # that the layers are averaged over
NEVER = 10**12  # steps


class Kept(NamedTuple):
    """What one whole step leaves.

    `layers`: the average over the latest `rows`, and what it was `before` that step; `state`: of
    the last layers, None until there are rows enough for a start; `bad_steps`: how they are found;
    `gap`: by how much the average explains new rows better than the last layers, nats, running.
    """

    layers: Layers
    state: State | None
    bad_steps: BadSteps
    before: Layers = ()
    rows: int = 0
    gap: float = 0.0


class Stream:
    """Layers that follow a stream of rows.

    `start(X)` makes layers from rows (N, D), `X` of full rank; `step` is a `train_step`; `undo` as
    in `fit`. With `layers`, and what the rule has learned of them, it goes on from those.
    """

    def __init__(
        self,
        start: Callable[[Array], Layers],
        activation: Activation,
        density: Density,
        rule: Rule,
        *,
        batch_size: int,
        undo: float | None = 30.0,
        layers: Layers | None = None,
        rule_state: Any = None,
    ) -> None:
        self.start, self.batch_size, self.undo = start, batch_size, undo
        self.activation, self.density = activation, density
        self.rule = replace(rule, window=NEVER) if isinstance(rule, Recipe) else rule
        self.window: list[Array] = []
        self.new = 0  # rows since the window was last looked at
        self.made = 0  # rows that the layers before the first step are made of
        self.weight, self.rows = 0.0, 0
        self.kept: Kept | None = None
        if layers is not None:
            state = init_state(each_array(copied, layers), self.rule)
            if rule_state is not None:
                state = state._replace(rule_state=rule_state)
            self.kept = Kept(state.layers, state, self._fresh())

    def is_of(self, rule: Rule, activation: Activation, density: Density, batch_size: int) -> bool:
        """Say whether it is a stream of this model and rule, by names and parameters."""
        own = replace(rule, window=NEVER) if isinstance(rule, Recipe) else rule
        pairs = (activation, self.activation), (density, self.density)
        alike = all((a.name, a.params) == (b.name, b.params) for a, b in pairs)
        return alike and (self.rule, self.batch_size) == (own, batch_size)

    def _fresh(self) -> BadSteps:
        return BadSteps(self.undo, self.rule.kind)

    def feed(self, X: Array, step: Callable[..., Any], weights: Any = None) -> None:
        """Take steps on rows X (N, D), in their order, with weights (N,) > 0 or None.

        Weights are relative to the mean of all that have come. FloatingPointError where a batch
        has no finite objective: no step is taken on it.
        """
        size = capacity(X.shape[1])
        for rows in (slice(i, i + size) for i in range(0, len(X), size)):
            self._take_in(X[rows], step, None if weights is None else weights[rows])

    def _take_in(self, X: Array, step: Callable[..., Any], weights: Any) -> None:
        """Take steps on no more rows than the window holds."""
        self._remember(X, weights)
        try:
            self._take(X, step, weights)
        except FloatingPointError:
            self.window.pop()
            raise

    def _take(self, X: Array, step: Callable[..., Any], weights: Any) -> None:
        """Make a start, or take steps."""
        if self.kept is None or self.kept.state is None:
            if not self._started(X, step):
                return
            X, weights = np.concatenate(self.window), None
        elif self.new >= capacity(X.shape[1]):
            self._look(step)
        for rows in np.array_split(np.arange(len(X)), math.ceil(len(X) / self.batch_size)):
            self._step(X[rows], step, None if weights is None else weights[rows])

    def _remember(self, X: Array, weights: Any) -> None:
        self.window.append(np.array(X))
        self.new += len(X)
        self.rows += len(X)
        self.weight += float(len(X) if weights is None else np.sum(weights))

    def _latest(self) -> Array:
        """Cut the window to the latest rows; return them, (n, D)."""
        rows = np.concatenate(self.window)
        rows = rows[-capacity(rows.shape[1]) :]
        self.window = [rows]
        return rows

    def _started(self, X: Array, step: Callable[..., Any]) -> bool:
        """Make layers of the rows so far; return whether they are enough for steps."""
        D = X.shape[1]
        enough = self.new >= FIRST * D
        if not enough and self.kept is not None and self.new < 2 * self.made:
            return False
        rows = self._latest()
        layers = self.start(rows if enough else padded(rows))
        self.made = self.new
        if not enough:
            self.kept = Kept(layers, None, self._fresh())
            return False
        self.new = 0
        self.kept = Kept(layers, self._measured(layers, rows, step), self._fresh())
        return True

    def _measured(self, layers: Layers, rows: Array, step: Callable[..., Any]) -> State:
        """Return the state of these layers, whose rule has measured the rows if it does so."""
        state = init_state(each_array(copied, layers), self.rule)
        if isinstance(self.rule, Recipe):
            with np.errstate(all="ignore"):
                judge, alone = self._judge(rows), partial(_alone, step)
                found = measured(state, self.rule, judge, alone, self._model())
            if found.bad is None:
                state = found.state
        return state

    def _judge(self, rows: Array) -> Rows:
        batches = Batches(
            rows, None, min(self.batch_size, len(rows)), None, np.random.default_rng(0), Team()
        )
        return Rows(batches, self.activation, self.density, rows.shape[1])

    def _model(self) -> dict[str, Any]:
        return {"activation": self.activation, "density": self.density}

    def _look(self, step: Callable[..., Any]) -> None:
        """Audit the tracker, measure the window again; go on from a new start if that is better."""
        assert self.kept is not None
        rows, (layers, state, bad_steps, _, taken, _) = self._latest(), self.kept
        self.new = 0
        with np.errstate(all="ignore"):
            try:
                start = self.start(rows)
            except ValueError:  # the window has no full rank now; the stream may have
                start = layers
            judge, last = self._judge(rows), layers if state is None else state.layers
            new, mean, old = (
                judge.log_likelihood(x, factorized(x).total) for x in (start, layers, last)
            )
        D, L = rows.shape[1], len(layers)
        if not max(mean, old) >= new - BETTER - L * D * (D + 3) / 2 / len(rows):
            layers, last, bad_steps, state, taken = start, start, self._fresh(), None, 0
        elif not mean >= old - BETTER:
            layers, taken = last, 0
        if state is None or isinstance(self.rule, Recipe):
            after = self._measured(last, rows, step)
            state = after if state is None else state._replace(rule_state=after.rule_state)
        if state.tracked is not None:
            state = state._replace(tracked=audit(state.tracked, state.layers).tracked)
        self.kept = Kept(layers, state, bad_steps, layers, taken)

    def _step(self, X: Array, step: Callable[..., Any], weights: Any) -> None:
        """Take a step on a batch, whole; undo the one before it if this batch shows it was bad."""
        extra, share, begun = self._model(), len(X) / self.batch_size, self.kept
        if weights is not None:
            share *= float(np.mean(weights)) * self.rows / self.weight
            extra["weights"] = (weights / np.mean(weights)).astype(X.dtype)
        while True:
            kept = self.kept
            assert kept is not None
            assert kept.state is not None  # rows wait for it, see `_take`
            state, bad_steps = kept.state, copy.copy(kept.bad_steps)
            size = self._rate(state) * share * bad_steps.caution
            rule = replace(self.rule, learning_rate=size)  # type: ignore[type-var]
            with np.errstate(all="ignore"):
                after, info = step(
                    state._replace(layers=each_array(copied, state.layers)), X, rule=rule, **extra
                )
            (status,) = read([info])
            if bad_steps.shows_in(status):
                restored = bad_steps.take_back(state, after, info, status.rejected)
                if restored is not None:
                    self.kept = kept._replace(
                        layers=kept.before or restored.layers, state=restored, bad_steps=bad_steps
                    )
                    continue
                if status.rejected:  # the step before it was not to blame
                    self.kept = begun
                    raise FloatingPointError(
                        f"step {after.t} of `partial_fit` was not finite: not taken"
                    )
            bad_steps.note(state, info, status.value)
            self.kept = self._averaged(kept._replace(state=after, bad_steps=bad_steps), X, info)
            return

    def _averaged(self, kept: Kept, X: Array, info: StepInfo) -> Kept:
        """Take the state's layers into the average; if that explains X worse, begin it anew."""
        n, last = len(X), kept.state.layers  # type: ignore[union-attr]
        if not getattr(self.rule, "averages", True) or info.log_likelihood is None:
            return kept._replace(layers=last)
        with np.errstate(all="ignore"):
            mean = float(log_likelihood(kept.layers, X, self.activation, self.density).mean)
        better = mean - float(info.log_likelihood)  # both before the step
        gap = kept.gap + n / (n + 2 * self.batch_size) * (better - kept.gap)
        if not gap >= -BETTER:
            return kept._replace(layers=last, before=last, rows=n, gap=0.0)
        share = n / min(kept.rows + n, WINDOWS * capacity(X.shape[1]))
        layers = tuple(
            Layer(W + share * (V - W), b + share * (c - b))
            for (W, b), (V, c) in zip(kept.layers, last, strict=True)
        )
        return kept._replace(layers=layers, before=kept.layers, rows=kept.rows + n, gap=gap)

    def _rate(self, state: State) -> float:
        """Return the learning rate at which the noise of a recipe's steps costs `NOISE` nats.

        Steps of size eta = rate / L / max(x, 1) cost rate x D / max(x, 1) / 4, as in `fit`.
        """
        rate: float = self.rule.learning_rate
        record = state.rule_state
        if not isinstance(record, Record) or not record.use.known:
            return rate
        x, D = float(np.max(record.use.x)), int(record.use.mean.shape[1])
        return min(rate, 4 * NOISE * max(x, 1.0) / max(x * D, 1e-30))


def capacity(D: int) -> int:
    """Return how many rows of D columns a window holds.

    >>> capacity(4), capacity(100)
    (1000, 25750)
    """
    return max(WINDOW, 5 * D * (D + 3) // 2)


def _alone(step: Callable[..., Any], state: State, X: Array, counts: Any, **options: Any) -> Any:
    """Take a step of one process, for which a batch has no counts."""
    return step(state, X, **options)


def padded(X: Array) -> Array:
    """Return few rows X (n, D) with 2 D more around their mean, as far as their own deviation.

    So that there are layers before there are rows enough: of one row, with deviation 1.

    >>> padded(np.array([[1.0, 5.0]])).tolist()
    [[1.0, 5.0], [2.41..., 5.0], [1.0, 6.41...], [-0.41..., 5.0], [1.0, 3.58...]]
    """
    mean, std = X.mean(axis=0), X.std(axis=0)
    std = np.where(std > 0, std, 1.0) * np.sqrt(X.shape[1])  # so that all deviate by std
    around = np.diag(std).astype(X.dtype)
    return np.concatenate([X, mean + around, mean - around])
