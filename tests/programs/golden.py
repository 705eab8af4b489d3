"""Golden results: record what every rule, fit and program gives, then compare another tree with it.

    python tests/programs/golden.py record FILE.npz
    python tests/programs/golden.py compare FILE.npz [--show]

Only public names are used, so that the same program runs before and after a change of the house.
Every array is compared bit for bit; what differs is listed with its largest relative difference.
Exit status 1 if anything differs. One BLAS thread: the sums of two would differ by themselves.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import contextlib
import io
import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

import relgrad_np as rg

RULES = {
    "recipe": lambda: rg.Recipe(),
    "recipe-plain": lambda: rg.Recipe(kind="plain"),
    "recipe-bare": lambda: rg.Recipe(charts=False, gains=False),
    "recipe-constant": lambda: rg.Recipe(0.02, size="constant"),
    "natural": lambda: rg.Natural(),
    "plain": lambda: rg.Plain(),
    "exponential": lambda: rg.Exponential(),
    "scalar": lambda: rg.Scalar(),
    "adam": lambda: rg.Adam(),
    "adam-published": lambda: rg.Adam(bias="published", clock=0),
    "adam-input": lambda: rg.Adam(side="input"),
    "group_adam": lambda: rg.GroupAdam(),
}
SHAPES = {"N<D": (5, 9, 2), "N>=D": (31, 4, 3)}
MODELS = {"N<D": ("smooth_leaky_relu", "logistic"), "N>=D": ("leaky_tanh", "student_t")}


def flat(tree):
    """Yield every array and number of a tree of tuples."""
    if tree is None:
        return
    if isinstance(tree, tuple):
        if type(tree).__name__ == "Running":  # its count of batches came later than the records
            tree = tree[:4]
        for part in tree:
            yield from flat(part)
    else:
        yield np.asarray(tree)


def problem(shape, dtype):
    """Return generic layers (W of any sign, b not 0), 5 batches of samples, the model."""
    N, D, L = SHAPES[shape]
    rng = np.random.default_rng(len(shape) * D)
    layers = tuple(
        rg.Layer(
            (np.eye(D) + rng.standard_normal((D, D)) / (2 * D**0.5)).astype(dtype),
            rng.standard_normal(D).astype(dtype),
        )
        for _ in range(L)
    )
    X = (rng.standard_normal((5 * N, D)) + 0.3).astype(dtype)
    act, dens = MODELS[shape]
    return layers, X, rg.activation(act), rg.density(dens), N


def fitted(shape, dtype, name, implementation, **options):
    """Fit 10 epochs of 5 steps; return all that can be seen of it, as named arrays."""
    layers, X, act, dens, N = problem(shape, dtype)
    seen = []

    def note(epoch, state):
        seen.append(([[np.array(x) for x in flat(part)] for part in state[:3]], epoch))

    rule = RULES[name]()
    with np.errstate(all="ignore"):
        result = rg.fit(
            layers, X, act, dens, rule=rule, rng=np.random.default_rng(1), batch_size=N, epochs=10,
            implementation=implementation, callbacks=[note], **options,
        )  # fmt: skip
    made = {}
    for parts, epoch in (seen[0], seen[-1]):
        for part, arrays in zip(("layers", "rule state", "tracked"), parts, strict=True):
            for i, array in enumerate(arrays):
                made[f"epoch {epoch.epoch} {part} {i}"] = array
    for column in ("t", "eta", "train", "validation", "averaged", "undone"):  # drift is rounding
        values = [getattr(epoch, column) for _, epoch in seen]
        made[f"history {column}"] = np.array([np.nan if v is None else v for v in values])
    for i, array in enumerate(flat(result.best_layers)):
        made[f"best {i}"] = array
    made["best epoch"] = np.asarray(result.best_epoch)
    made["rejected, undone"] = np.array([result.n_rejected, result.n_undone])
    return made


def steps():
    """Every rule x float32, float64 x reference, numba x (N < D, N >= D), 50 steps."""
    for shape in SHAPES:
        for dtype in ("float32", "float64"):
            for name in RULES:
                for implementation in ("reference", "numba"):
                    made = fitted(
                        shape,
                        dtype,
                        name,
                        implementation,
                        average=None,
                        undo=None,
                        schedule="constant",
                    )
                    yield f"steps {shape} {dtype} {name} {implementation}", made


class Keeper:
    """Keeps the snapshot of one step in memory."""

    def __init__(self, t):
        self.t, self.stop, self.snapshot = t, None, None

    def due(self, t, end):
        """Say whether this is the step."""
        return t == self.t

    def write(self, snapshot):
        """Keep it."""
        self.snapshot = snapshot


def fits():
    """Fits with validation, average, undo, weights, refresh; interrupted and resumed."""
    for shape in SHAPES:
        _, X, *_ = problem(shape, "float64")
        rng = np.random.default_rng(5)
        X_val = rng.standard_normal((40, X.shape[1]))
        weights = rng.integers(0, 4, len(X)).astype(float)
        for name in ("recipe", "plain", "natural", "adam", "group_adam"):
            for implementation in ("reference", "numba"):
                label = f"fit {shape} {name} {implementation}"
                both = {
                    "X_val": X_val,
                    "average": 0.3,
                    "undo": 5.0,
                    "refresh": 7,
                    "patience": 8,
                    "warmup": 3,
                }
                yield label, fitted(shape, "float64", name, implementation, **both)
                yield (
                    f"{label} weights",
                    fitted(shape, "float64", name, implementation, sample_weight=weights, **both),
                )
                keeper = Keeper(23)
                fitted(shape, "float64", name, implementation, keeper=keeper, **both)
                made = fitted(
                    shape, "float64", name, implementation, resume=keeper.snapshot, **both
                )
                yield (
                    f"{label} resumed",
                    {k: v for k, v in made.items() if "epoch 5" not in k and "history" not in k},
                )
        yield (
            f"fit {shape} inverse",
            fitted(shape, "float64", "plain", "reference", track_inverse=True),
        )


def programs():
    """The digits as `train` fits them, and two other runs of the command line."""
    from relgrad_np.cli.main import main

    for label, words in {
        "digits": ["digits"],
        "moons": ["toy:moons", "--layers", "6", "--epochs", "10"],
        "published": ["digits", "--preset", "published", "--epochs", "3"],
    }.items():
        out, text = Path(tempfile.mkdtemp()) / "run", io.StringIO()
        with contextlib.redirect_stdout(text), contextlib.redirect_stderr(io.StringIO()):
            assert main(["train", *words, "--out", str(out), "--json"]) == 0
        report = json.loads(text.getvalue())
        made = {
            key: np.asarray(report[key], dtype=float)
            for key in ("test", "test_se2", "gaussian", "best_epoch", "n_rejected")
        }
        for i, array in enumerate(flat(rg.load(out / "model.npz").layers)):
            made[f"layer {i}"] = array
        yield f"train {label}", made


def estimator():
    """The estimator's fit, partial_fit and scores."""
    from relgrad_np.estimator import RelativeGradientFlow

    X = np.random.default_rng(3).standard_normal((300, 3)) @ [[2, 0, 0], [1, 1, 0], [0, 1, 1]]
    given = {"n_layers": 2, "rule": "recipe", "density": "normal", "batch_size": 100}
    some = {"validation_fraction": 0.2, "epochs": 4, "patience": None}
    flow = RelativeGradientFlow(random_state=0, **given, **some).fit(X)
    yield "estimator fit", {"scores": flow.score_samples(X)}
    flow = RelativeGradientFlow(random_state=0)
    for begin in range(0, 300, 60):
        flow.partial_fit(X[begin : begin + 60])
    yield "estimator partial_fit", {"scores": flow.score_samples(X)}


def everything():
    """All results, as one flat table of arrays."""
    table = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for part in (steps, fits, programs, estimator):
            for label, made in part():
                for key, array in made.items():
                    table[f"{label}: {key}"] = array
    return table


def main():
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--show", action="store_true", help="list every array that differs")
    options = parser.parse_args()
    now = everything()
    if options.command == "record":
        np.savez(options.file, **now)
        print(f"recorded: {len(now)} arrays")
        return 0
    with np.load(options.file) as file:
        before = {name: file[name] for name in file.files}
    different = {}
    for name in before.keys() | now.keys():
        a, b = before.get(name), now.get(name)
        if a is None or b is None or a.shape != b.shape or a.dtype != b.dtype:
            different[name] = np.inf
        elif a.tobytes() != b.tobytes():
            scale = np.nanmax(np.abs(a)) if a.size else 0
            different[name] = float(np.nanmax(np.abs(a - b)) / (scale or 1)) if a.size else 0.0
    groups = {}
    for name, gap in different.items():
        label = name if options.show else name.split(": ")[0]
        groups[label] = max(groups.get(label, 0.0), gap)
    for label in sorted(groups):
        print(f"differs by {groups[label]:.1e}: {label}")
    print(f"{len(before)} arrays before, {len(now)} now, {len(different)} differ")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
