"""What a whole fit consists of, each part timed by itself; run in a process of its own.

The steps are those of a short fit on the first rows of a set. What an option costs is what leaving
it out saves: the same fit with and without it, all of them in turns, medians of the rounds. What
comes once an epoch or once a fit is told from what comes with each step by fits of one epoch and of
three. Then each price is multiplied by how often the fit that the settings ask for pays it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import relgrad_np as rg
from relgrad_np.core.tracking import audit
from relgrad_np.datasets import load
from relgrad_np.fitting.factorization import factorized
from relgrad_np.kernels.choose import Workload, choose, prepare, resolve
from relgrad_np.rules.by_name import make_rule
from relgrad_np.runs.presets import settings_for
from relgrad_np.runs.settings import Settings
from relgrad_np.runs.training import prepare as prepare_run

EPOCHS = 3  # of a short fit
SECONDS = 0.5  # that its steps take, about; more where an average needs more of them
DEEP = {"layers": 8, "activation": "leaky_tanh", "alpha": 0.6, "beta": 0.6, "learning_rate": 0.6}
OPTIONS = ("X_val", "average", "undo")  # those that are left out, one at a time

Pair = tuple[float, float]  # CPU seconds, seconds


def rows() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the fits whose parts are timed: data and settings, by what the table calls them."""
    return {
        "digits": ("digits", {}),
        "MNIST, L = 2": ("mnist", {}),
        "MNIST, L = 8": ("mnist", DEEP),
        "POWER": ("power", {}),
        "BSDS300": ("bsds300", {}),
        "moons": ("toy:moons", {}),
    }


def timed(function: Callable[[], Any]) -> tuple[Pair, Any]:
    """Return CPU seconds and seconds of a call, and what it returned."""
    cpu, wall = time.process_time(), time.perf_counter()
    result = function()
    return (time.process_time() - cpu, time.perf_counter() - wall), result


class Short(NamedTuple):
    """A short fit: the start, options of `fit` without its rows, rows of all batches, and more.

    `batches` of an epoch; `average`: the part of its steps that gives the whole fit's horizon.
    """

    start: Any
    options: dict[str, Any]
    X: Any
    batches: int
    average: float | None

    def fit(self, epochs: int, without: tuple[str, ...]) -> Any:
        """Fit, without some of the options."""
        given = self.options | {"epochs": epochs, "average": self.average, "compare": False}
        given |= {"rng": np.random.default_rng(0), "X": self.X}
        return rg.fit(self.start, **(given | dict.fromkeys(without)))


class Bare:
    """Steps alone: the same `train_step` that `fit` takes, in a loop over batches made before."""

    def __init__(self, short: Short, N: int) -> None:
        options = short.options
        self.rule, self.N = options["rule"], N
        self.model = {name: options[name] for name in ("activation", "density")}
        result = short.fit(1, OPTIONS)  # from where it ended, with what the rule has measured
        t = result.history[-1].t
        self.state = rg.State(own(result.layers), result.rule_state, result.tracked, t)
        work = Workload(10**9, N)
        first = resolve(options["implementation"], short.start[0].W)
        self.step = choose(first, self.state, *self.model.values(), self.rule, work)
        self.transform = options["transform"]
        self.parts = np.split(short.X[: len(short.X) // N * N], len(short.X) // N)
        self.batches = [np.ascontiguousarray(part) for part in self.ready()]

    def ready(self) -> Any:
        """Return all batches in model space: images are dequantised anew."""
        rng = np.random.default_rng(0)
        if self.transform is None:
            return self.parts
        return [self.transform(part, rng) for part in self.parts]

    def __call__(self, steps: int) -> None:
        """Take so many steps, from where the last call ended."""
        with np.errstate(all="ignore"):
            for i in range(steps):
                X = self.batches[i % len(self.batches)]
                self.state, _ = self.step(self.state, X, **self.model, rule=self.rule)


def own(layers: Any) -> Any:
    """Return a copy of layers."""
    return tuple(rg.Layer(W.copy(), b.copy()) for W, b in layers)


def short_fit(prepared: Any, settings: Settings, total: int, seconds: float) -> Short:
    """Return a fit that takes about so long for its steps; `total`: steps of the whole one."""
    options = {k: v for k, v in prepared.options.items() if k not in ("X", "rng", "epochs")}
    X, N = prepared.options["X"], settings.batch_size or 100
    few = Short(prepared.start, options, X[: 40 * N], min(40, -(-len(X) // N)), None)
    few.fit(1, OPTIONS)  # compiles, loads, measures
    (cpu, _), result = timed(lambda: few.fit(1, OPTIONS))
    one = cpu / max(1, result.history[-1].t)
    horizon = (settings.average or 0.0) * total
    steps = max(EPOCHS * 3, min(horizon, 4 * seconds / one), seconds / one)
    batches = int(min(-(-len(X) // N), -(-steps // EPOCHS)))
    average = min(0.999, horizon / (EPOCHS * batches)) if settings.average else None
    return few._replace(X=X[: batches * N], batches=batches, average=average)


def compiling(name: str) -> Pair:
    """Return CPU seconds of compiling the kernels, and of loading what was compiled."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.fit_parts", name]
        taken = []
        for _ in range(2):
            answer = subprocess.run(
                command,
                env=os.environ | {"NUMBA_CACHE_DIR": folder},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            ).stdout
            taken.append(float(answer.splitlines()[-1]))
    return taken[0], taken[1]


def compile_now(name: str) -> float:
    """Return CPU seconds for making the kernels that the steps of this row need ready to run."""
    data, chosen = rows()[name]
    settings = settings_for(data, **chosen)
    small = np.random.default_rng(0).standard_normal((400, 3)).astype(settings.dtype)
    act = rg.activation(settings.activation)
    layers = rg.init_layers(np.random.default_rng(0), 3, 2, dtype=settings.dtype, X=small)
    rule = make_rule(settings.rule, settings.learning_rate)
    state, step = rg.init_state(layers, rule), resolve(None, small)
    model = act, rg.density(settings.density)
    return timed(lambda: prepare(step, state, *model, rule))[0][0]


def parts(name: str, rounds: int, seconds: float = SECONDS, n: int | None = None) -> dict[str, Any]:
    """Return the parts of the fit of a row, CPU seconds and seconds; `n`: cut the set to n rows."""
    kind, chosen = rows()[name]
    data, settings = load(kind, 0, n), settings_for(kind, **chosen)
    start, prepared = timed(lambda: prepare_run(settings, data))
    N, each = settings.batch_size or 100, -(-len(data.train) // (settings.batch_size or 100))
    epochs = settings.epochs or 15
    short = short_fit(prepared, settings, epochs * each, seconds)
    bare = Bare(short, N)
    steps = EPOCHS * short.batches
    cases: dict[str, Callable[[], Any]] = {
        "bare": lambda: bare(steps),
        "fit": lambda: short.fit(EPOCHS, ()),
        "nothing": lambda: short.fit(EPOCHS, OPTIONS),
        "nothing, one epoch": lambda: short.fit(1, OPTIONS),
        **{f"no {x}": lambda x=x: short.fit(EPOCHS, (x,)) for x in OPTIONS},  # type: ignore[misc]
    }
    taken: dict[str, list[Pair]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case, run in cases.items():
            taken[case].append(timed(run)[0])
    layers = own(short.fit(1, OPTIONS).layers)
    ends = [timed(lambda: end_of_epoch(layers))[0] for _ in range(rounds)]
    noise = [np.array(timed(bare.ready)[0]) / len(bare.parts) for _ in range(rounds)]
    facts = {
        "row": name, "data": kind, "D": data.train.shape[1], "L": settings.layers, "N": N,
        "rule": settings.rule, "dtype": settings.dtype, "epochs": epochs, "batches": each,
        "validation_rows": len(data.validation), "short_batches": short.batches,
        "start": start, "times": taken, "audit": np.median(ends, axis=0).tolist(),
        "new noise": np.median(noise, axis=0).tolist(),
    }  # fmt: skip
    return facts | {"parts": [priced(facts, clock) for clock in (0, 1)]}


def end_of_epoch(layers: Any) -> None:
    """Do what `fit` does at each epoch's end, with or without validation: factorise and audit."""
    exact = factorized(layers).exact
    audit(exact, layers, exact=exact)


def spread(values: Any) -> float:
    """Return the standard error of the median of these values, from their deviations from it.

    >>> round(spread(np.array([1.0, 2.0, 3.0, 4.0])), 3)
    0.925
    """
    deviation = 1.48 * np.median(np.abs(values - np.median(values)))
    return float(1.25 * deviation / np.sqrt(len(values)))


def priced(facts: dict[str, Any], clock: int) -> dict[str, float]:
    """Return seconds of each part of the whole fit, by one of the clocks, and of a step.

    A price of an epoch, as of validation, is a difference divided by the epochs, and by one more
    for the start; all else is of steps.
    """
    taken = {case: np.array(pairs)[:, clock] for case, pairs in facts["times"].items()}
    epochs, each, few = facts["epochs"], facts["batches"], facts["short_batches"]
    savings = {x: taken["fit"] - taken[f"no {x}"] for x in OPTIONS}
    saved = {x: float(np.median(values)) for x, values in savings.items()}
    noise = {x: 2 * spread(values) for x, values in savings.items()}
    audit_once, anew = facts["audit"][clock], facts["new noise"][clock]
    more = taken["nothing"] - taken["nothing, one epoch"]  # what further epochs take
    steps = more / (EPOCHS - 1) - audit_once - few * anew
    step = float(np.median(steps)) / few
    begin = max(
        0.0, float(np.median(taken["nothing, one epoch"])) - (step + anew) * few - audit_once
    )
    bare = taken["bare"] / (EPOCHS * few)
    of_steps = epochs * each / (EPOCHS * few)
    extra = (saved["average"] + saved["undo"]) / (EPOCHS * few)
    return {
        "start": facts["start"][clock],
        "begin": begin * (each / few if facts["rule"] == "recipe" else 1.0),  # it measures all rows
        "steps": step * each * epochs,
        "new noise": anew * each * epochs,
        "validation": saved["X_val"] * (epochs + 1) / (EPOCHS + 1),
        "audit": audit_once * epochs,
        "average": saved["average"] * of_steps,
        "undo": saved["undo"] * of_steps,
        "validation, noise": noise["X_val"] * (epochs + 1) / (EPOCHS + 1),
        "average, noise": noise["average"] * of_steps,
        "undo, noise": noise["undo"] * of_steps,
        "bare step": float(np.median(bare)),
        "step": step,
        "step / bare": float(np.median(steps / few / bare)),
        "all / bare": float(np.median(steps / few / bare)) + extra / float(np.median(bare)),
    }


if __name__ == "__main__":
    print(compile_now(sys.argv[1]))
