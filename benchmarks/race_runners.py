"""The contenders of the race: each a function that trains and reports where it is.

`turns.report(epoch, layers)` stops the runner's clock, waits for its next turn, and starts it
again; so evaluation, and the others' turns, are on nobody's clock. Starting (the start's own
computation, compiling) is on the clock; loading data and importing libraries is not.
"""

import importlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.core.arguments import one_of
from relgrad_np.datasets import load
from relgrad_np.rules.presets import PRESETS
from relgrad_np.runs.presets import settings_for
from relgrad_np.runs.settings import Settings
from relgrad_np.runs.training import START_ROWS

from .contenders import make

TENTHS = 10  # reports within the first epoch; then one an epoch
STEP = (
    3e-3  # of the plain and the exponential rule; from the Gaussianising start they diverge at it
)


class Stop(Exception):
    """The race is over for this runner."""


class Turns:
    """The clock of one runner, and its side of the pipe to whoever holds the race."""

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.seconds, self.cpu_seconds = pipe, 0.0, 0.0
        self._wait()

    def report(self, epoch: float, layers: Any) -> None:
        """Send (epoch, seconds, CPU seconds, layers); return when told to go on, or raise Stop."""
        self._stop_clock()
        own = tuple((np.asarray(W), np.asarray(b)) for W, b in layers)
        self.pipe.send((epoch, self.seconds, self.cpu_seconds, own))
        self._wait()

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Do what is in here on nobody's clock."""
        self._stop_clock()
        yield
        self._start_clock()

    def _wait(self) -> None:
        if self.pipe.recv() != "go":
            raise Stop
        self._start_clock()

    def _start_clock(self) -> None:
        self.began, self.began_cpu = time.perf_counter(), time.process_time()

    def _stop_clock(self) -> None:
        self.seconds += time.perf_counter() - self.began
        self.cpu_seconds += time.process_time() - self.began_cpu


def start(X: Any, settings: Settings) -> Any:
    """Return the layers that `settings` start from; X (N, D) are the training rows."""
    params = {} if settings.alpha is None else {"alpha": settings.alpha}
    return rg.init_layers(
        np.random.default_rng(settings.seed),
        X.shape[1],
        settings.layers,
        kind=settings.init,
        X=X[:START_ROWS],
        activation=rg.activation(settings.activation, **params),
    )


def adam(X: Any, settings: Settings, turns: Any) -> None:
    """Train with the published recipe as compiled JAX, without end: whole batches of 10 rows.

    The first epoch is ten scans, so that it can report; each later one is a single scan, whose
    compilation is off the clock because only the reports ask for a second program.
    """
    layers, rng = start(X, settings), np.random.default_rng(settings.seed)
    turns.report(0.0, layers)
    N = settings.batch_size
    steps = len(X) // N
    published = PRESETS["published"].rule
    runner = make(
        "jax-adam",
        layers,
        alpha=settings.alpha,
        learning_rate=settings.learning_rate or published.learning_rate,
        bias=published.bias,  # type: ignore[attr-defined]
        clock=steps,
    )
    on_device = runner.to_device(X)
    shuffled = lambda: rng.permutation(len(X))[: steps * N].reshape(steps, N)  # noqa: E731
    done, tenth = 0, -(-steps // TENTHS)
    for rows in np.split(shuffled(), range(tenth, steps, tenth)):
        runner.sweep(on_device, rows)
        done += len(rows)
        turns.report(done / steps, runner.layers())
    epoch = 1
    with turns.off_the_clock():
        runner.warm(on_device, np.zeros((steps, N), int))
    while True:
        runner.sweep(on_device, shuffled())
        epoch += 1
        turns.report(float(epoch), runner.layers())


class Reporter:
    """A keeper for `fit` that keeps nothing: ten reports in the first epoch, then one for each."""

    stop = None

    def __init__(self, report: Any, batches: int) -> None:
        self.report, self.batches = report, batches
        self.first = {round(batches * i / TENTHS) for i in range(1, TENTHS)}

    def due(self, t: int, end: bool) -> bool:
        """Say whether step t is one to report after."""
        return end or t in self.first

    def next_due(self, t: int) -> int:
        """Return the next step after t to report after, but for ends of epochs."""
        return min((step for step in self.first if step > t), default=sys.maxsize)

    def write(self, snapshot: Any) -> None:
        """Report."""
        self.report(snapshot.state.t / self.batches, snapshot.state.layers)


def ours(X: Any, settings: Settings, turns: Any) -> None:
    """Train as `relgrad-np train` does, by `fit`, without validation (nobody's clock has any)."""
    layers = start(X, settings)
    turns.report(0.0, layers)
    params = {} if settings.alpha is None else {"alpha": settings.alpha}
    rg.fit(
        layers,
        X,
        rg.activation(settings.activation, **params),
        rg.density(settings.density),
        rule=settings.rule,
        learning_rate=settings.learning_rate,
        schedule=settings.schedule,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        rng=np.random.default_rng(settings.seed),
        keeper=Reporter(turns.report, -(-len(X) // settings.batch_size)),
    )


def settings_of(contender: str, data: str, seed: int) -> Settings:
    """Return a contender's choices: the published preset's or those that `train` makes.

    Adam's slope alpha is the published one from either start, ours is ours. The plain and the
    exponential rule start from whitening, with the step that `train` gives image patches. A name
    may end in a learning rate, as in "adam-published@1e-4".
    """
    kind, _, rate = contender.partition("@")
    published = settings_for(data, preset="published", seed=seed, dtype="float32")
    own = settings_for(data, seed=seed, dtype="float32")
    chosen = {
        "adam-published": published,
        "adam-gaussianize": replace(published, init="gaussianize"),
        "plain": replace(own, init="whiten", rule="plain", learning_rate=STEP),
        "exponential": replace(own, init="whiten", rule="exponential", learning_rate=STEP),
        "recipe": own,
    }
    settings = chosen[one_of("contender", kind, chosen)]
    return replace(settings, learning_rate=float(rate)) if rate else settings


def serve(contender: str, data: str, seed: int, pipe: Any) -> None:
    """Run a contender in a process of its own: import and load, say so, then race."""
    settings = settings_of(contender, data, seed)
    run = adam if contender.startswith("adam") else ours
    if run is adam:
        importlib.import_module("benchmarks.in_jax")
    X = np.ascontiguousarray(load(data).train, dtype=settings.dtype)
    pipe.send(asdict(settings))
    try:
        turns = Turns(pipe)
        run(X, settings, turns)
        pipe.send("epochs")  # all of them are done
    except rg.FitDivergedError as error:
        pipe.send(str(error))
    except Stop:
        pass
