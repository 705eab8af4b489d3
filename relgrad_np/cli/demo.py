"""The main job on real data: fit the digits, verify the formulas, time the two gradients."""

import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..core.activations import Activation, activation
from ..core.backprop import backprop
from ..core.densities import Density, density
from ..core.network import Layer, Layers, forward
from ..core.ordinary import ordinary_gradient
from ..core.relative import relative_gradient
from ..datasets import load
from ..runs import plots
from ..runs.pictures import draw
from ..runs.presets import settings_for
from ..runs.training import train
from .verify import table, verify

SIZES = (64, 512, 1024)


class Timing(NamedTuple):
    """Medians of one whole training step, in milliseconds, at one D."""

    D: int
    relative: float
    ordinary: float

    @property
    def ratio(self) -> float:
        """How many relative steps fit into an ordinary one."""
        return self.ordinary / self.relative


def time_steps(sizes: tuple[int, ...] = SIZES, N: int = 100, repeats: int = 7) -> list[Timing]:
    """Time forward, backprop, gradient and update with each gradient, L = 2, float64.

    First it checks that the two agree: relative = ordinary W~'W~. Interleaved; medians.

    >>> [timing.D for timing in time_steps((8,), N=5, repeats=3)]
    [8]
    """
    act, dens = activation("smooth_leaky_relu"), density("logistic")
    timings = []
    for D in sizes:
        rng = np.random.default_rng(D)
        X = rng.standard_normal((N, D))
        layers = tuple(
            Layer(np.eye(D) + rng.standard_normal((D, D)) / (3 * D**0.5), rng.standard_normal(D))
            for _ in range(2)
        )
        require_agreement(layers, X, act, dens)
        seconds: dict[str, list[float]] = {"relative": [], "ordinary": []}
        for repeat in range(repeats + 1):  # the first is a warm-up
            for name, gradient in (
                ("relative", relative_gradient),
                ("ordinary", ordinary_gradient),
            ):
                started = time.perf_counter()
                tape = forward(layers, X, act)
                steps = gradient(layers, tape, backprop(layers, tape, act, dens))
                for (W, b), (d_W, d_b) in zip(layers, steps, strict=True):
                    Layer(W + 1e-6 * d_W, b + 1e-6 * d_b)
                if repeat:
                    seconds[name].append(time.perf_counter() - started)
        medians = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
        timings.append(Timing(D, medians["relative"], medians["ordinary"]))
    return timings


def require_agreement(layers: Layers, X: np.ndarray, act: Activation, dens: Density) -> None:
    """Raise unless relative = ordinary W~'W~ on what is about to be timed.

    >>> require_agreement((Layer(np.eye(1), np.ones(1)),), np.ones((1, 1)), activation("identity"),
    ...                   density("normal"))
    """
    tape = forward(layers, X, act)
    deltas = backprop(layers, tape, act, dens)
    R = relative_gradient(layers, tape, deltas)
    G = ordinary_gradient(layers, tape, deltas)
    for (W, b), r, g in zip(layers, R, G, strict=True):
        GW = g.W @ W.T + np.outer(g.b, b)  # G~ W~', its upper part; its last column is G_b
        error = max(np.abs(GW @ W - r.W).max(), np.abs(GW @ b + g.b - r.b).max())
        if not error <= 1e-9 * max(1.0, float(np.abs(r.W).max())):
            raise ArithmeticError(f"relative and ordinary step differ by {error:.1e}: not timed")


def demo(out: Path, seed: int = 0, progress: bool = False) -> bool:
    """Run the demonstration, write its pictures into `out`; True if all of it holds."""
    out.mkdir(parents=True, exist_ok=True)
    print("1. Train: scikit-learn's 8 x 8 digits (1,257 train, 270 validation, 270 test rows)")
    data = load("digits", seed)
    run = train(data, settings_for("digits", seed=seed), progress=progress)
    print(run.report.text())
    last = run.result.history[-1]
    print(f"log|det W| tracked through {last.t} steps: off by {last.drift:.1e} nats from slogdet\n")
    files = draw(out, data, run, "digits-")

    print("2. A toy in two dimensions: two moons, 16 layers")
    moons = load("toy:moons", seed)
    short = settings_for("toy:moons", seed=seed, layers=16, epochs=40)
    toy = train(moons, short, progress=progress)
    print(toy.report.text() + "\n")
    files += draw(out, moons, toy, "moons-")

    print("3. Verify: this installation against the definitions")
    checks = verify()
    print(table(checks) + "\n")

    print("4. Time: a whole training step, ordinary against relative (N = 100, L = 2, float64)")
    timings = time_steps()
    for D, relative, ordinary in timings:
        print(
            f"D = {D:5d}   relative {relative:8.2f} ms   ordinary {ordinary:8.2f} ms   "
            f"ordinary / relative {ordinary / relative:5.2f}"
        )
    if files:
        files.append(out / "times.png")
        plots.times(
            files[-1],
            [t.D for t in timings],
            [t.relative for t in timings],
            [t.ordinary for t in timings],
        )
        print("\npictures: " + ", ".join(str(file) for file in files))
    else:
        print("\nno pictures: they need matplotlib, pip install matplotlib")

    good = all(check.passed for check in checks) and run.report.test > run.report.gaussian
    print(
        "demo: every check passed, and the digits' test log-likelihood is above the Gaussian's"
        if good
        else "demo: FAILED, see above"
    )
    return good
