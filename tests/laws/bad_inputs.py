"""A hundred and more bad inputs to the library and the command line, and what they are told.

    python tests/laws/bad_inputs.py          prints the table

Each must end in one line that names what is wrong; on the command line with exit status 2, nothing
on stdout, and no file made or changed. `test_bad_inputs.py` holds all of it.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

import numpy as np

import relgrad_np as rg
from relgrad_np.cli.main import main
from relgrad_np.datasets import load
from tests.cli.test_main import BAD
from tests.laws.problems import generic
from tests.laws.test_errors import INPUTS
from tests.laws.test_errors import P as PROBLEM

ERRORS = (ValueError, TypeError, OSError)  # LinAlgError is a ValueError


def passes():
    tape = rg.forward(PROBLEM.layers, PROBLEM.X, PROBLEM.activation)
    return tape, rg.backprop(PROBLEM.layers, tape, *PROBLEM.model)


def fit(**options):
    options = {"rng": np.random.default_rng(0), "epochs": 1} | options
    X, model = options.pop("X", PROBLEM.X), options.pop("model", PROBLEM.model)
    return rg.fit(PROBLEM.layers, X, *model, **options)


def start(**options):
    rng = options.pop("rng", np.random.default_rng(0))
    return rg.init_layers(rng, options.pop("D", 3), options.pop("L", 2), **options)


def step(**options):
    tape, deltas = passes()
    fs = rg.factors(PROBLEM.layers, tape, deltas)
    return rg.apply_step(PROBLEM.layers, fs, options.pop("eta", 0.1), **options)


def library():
    """(label, what to call): bad arguments of the library."""
    for label, layers, X, _, _ in INPUTS:
        yield (
            f"forward: {label}",
            lambda layers=layers, X=X: rg.forward(layers, X, PROBLEM.activation),
        )
    bad_row = PROBLEM.X.copy()
    bad_row[2, 1] = np.nan
    wide = np.random.default_rng(0).normal(size=(50, 3))
    for key, value in [
        ("X", bad_row), ("X_val", bad_row), ("X_val", PROBLEM.X[:, :2]), ("rule", "sgd"), ("schedule", "step"),
        ("learning_rate", 0.0), ("learning_rate", -1.0), ("learning_rate", float("nan")), ("learning_rate", "x"),
        ("epochs", 0), ("epochs", 1.5), ("epochs", 10**30), ("average", 0), ("average", "x"), ("undo", 0), ("undo", "x"), ("refresh", 0), ("refresh", 1.5), ("batch_size", 0), ("batch_size", -3), ("warmup", -1),
        ("warmup", None), ("patience", 0), ("patience", 3), ("rng", 0), ("rng", None), ("implementation", "gpu"),
        ("sample_weight", np.ones(4)), ("sample_weight", -np.ones(5)), ("sample_weight", np.zeros(5)),
        ("model", (rg.activation("softplus"), PROBLEM.density)), ("model", ("identity", PROBLEM.density)),
        ("model", (PROBLEM.activation, "normal")),
    ]:  # fmt: skip
        yield f"fit: {key}={short(value)}", lambda key=key, value=value: fit(**{key: value})
    for key, value in [
        ("D", 0), ("D", 2.5), ("D", "3"), ("L", 0), ("kind", "zeros"), ("dtype", "float16"), ("dtype", np.float32),
        ("rng", 0), ("rng", np.random), ("like", [1.0]), ("kind", "whiten"),
    ]:  # fmt: skip
        yield (
            f"init_layers: {key}={short(value)}",
            lambda key=key, value=value: start(**{key: value}),
        )
    for X, what in [
        (wide[:, :2], "two columns for three"),
        (wide * [1, 1, 0], "a constant column"),
        (wide[:2], "two rows"),
    ]:
        yield (
            f"init_layers: whiten, {what}",
            lambda X=X: start(kind="whiten", X=X, activation=PROBLEM.activation),
        )
    for eta in (
        0,
        -1,
        float("nan"),
        float("inf"),
        None,
        "x",
        1j,
        (0.1,),
        (0.1, 0.1, 0.1),
        np.ones(2),
    ):
        yield f"apply_step: eta={short(eta)}", lambda eta=eta: step(eta=eta)
    yield "apply_step: kind='x'", lambda: step(kind="x")
    for make, params in [
        (rg.activation, {"name": "relu"}), (rg.activation, {"name": "smooth_leaky_relu", "alpha": 0}),
        (rg.activation, {"name": "smooth_leaky_relu", "alpha": True}), (rg.activation, {"name": "leaky_tanh", "gamma": 1}),
        (rg.activation, {"name": "leaky_tanh", "beta": -1}), (rg.activation, {"name": ["a"]}),
        (rg.density, {"name": "cauchy"}), (rg.density, {"name": "student_t", "nu": 0}),
        (rg.density, {"name": "normal", "scale": 2}), (rg.Plain, {"learning_rate": 0}), (rg.Plain, {"tau": 1.0}),
        (rg.Adam, {"beta1": 1.0}), (rg.Adam, {"side": "left"}), (rg.Adam, {"side": "input", "bias": "published"}),
        (rg.Adam, {"clock": -1}),
    ]:  # fmt: skip
        yield f"{make.__name__}: {params}", lambda make=make, params=params: make(**params)
    singular = (rg.Layer(np.ones((3, 3)), np.zeros(3)), PROBLEM.layers[1])
    tape, deltas = passes()
    model = PROBLEM.model
    yield "ordinary_gradient: singular W", lambda: rg.ordinary_gradient(singular, tape, deltas)
    yield "inverse: singular W", lambda: rg.inverse(singular, PROBLEM.X, PROBLEM.activation)
    yield "sample: n=-1", lambda: rg.sample(PROBLEM.layers, np.random.default_rng(0), -1, *model)
    yield "sample: rng=0", lambda: rg.sample(PROBLEM.layers, 0, 3, *model)
    deeper = generic(1, 5, 3, 4)
    deep_tape = rg.forward(deeper.layers, deeper.X, deeper.activation)
    yield (
        "backprop: a tape of another depth",
        lambda: rg.backprop(PROBLEM.layers, deep_tape, *model),
    )
    yield (
        "relative_gradient: one delta short",
        lambda: rg.relative_gradient(PROBLEM.layers, tape, deltas[:1]),
    )
    yield (
        "relative_gradient: bias='none'",
        lambda: rg.relative_gradient(PROBLEM.layers, tape, deltas, bias="none"),
    )
    yield "load: no file", lambda: rg.load("no such file.npz")
    for X, what in [
        (np.array([[1.0, np.inf]] * 20), "inf"),
        (np.ones((20, 2)), "constant"),
        (np.array([["a"] * 2] * 20), "text"),
    ]:
        yield f"datasets.load: {what}", lambda X=X: load(X)


def command_line(folder):
    """(label, arguments) of bad command lines, in a folder with some bad files."""
    for arguments, _ in BAD:
        yield " ".join(arguments) or "(nothing)", arguments
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 3))
    np.save(folder / "constant.npy", X * [1, 0, 1])
    np.save(folder / "double.npy", X[:, [0, 1, 1]])
    np.save(folder / "few.npy", X[:3])
    np.save(folder / "nan.npy", np.where(X > 2, np.nan, X))
    np.save(folder / "vector.npy", X[0])
    np.save(folder / "complex.npy", X + 1j)
    np.save(folder / "objects.npy", X.astype(object), allow_pickle=True)
    (folder / "text.csv").write_text("a,b\n1,2\n3,x\n" + "1,2\n" * 20)
    (folder / "ragged.csv").write_text("a,b\n1,2\n3\n" + "1,2\n" * 20)
    (folder / "empty.csv").write_text("")
    (folder / "junk.npz").write_bytes(b"junk")
    (folder / "taken").mkdir()
    (folder / "taken" / "precious").write_text("x")
    for name in ("constant.npy", "double.npy", "few.npy", "nan.npy", "vector.npy", "complex.npy", "objects.npy",
                 "text.csv", "ragged.csv", "empty.csv", "junk.npz"):  # fmt: skip
        yield f"train {name}", ["train", name]
    few = ["train", "toy:moons", "--rows", "50", "--layers", "1"]
    yield "train --out taken", [*few, "--out", "taken"]
    yield "train --out ''", [*few, "--out", ""]
    yield "train --resume --out taken", ["train", "--resume", "--out", "taken"]
    yield "evaluate taken", ["evaluate", "taken"]


def short(value):
    text = " ".join(str(getattr(value, "shape", value)).split())
    return text if len(text) < 30 else text[:27] + "..."


def call(arguments):
    """Exit status, stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(arguments)
        except SystemExit as exit_:
            status = exit_.code
    return status, out.getvalue(), err.getvalue()


def listing(folder):
    return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def table():
    """(where, label, line, as it should be) for every bad input."""
    rows = []
    with np.errstate(all="ignore"):
        for label, bad in library():
            try:
                bad()
            except ERRORS as error:
                line = f"{type(error).__name__}: {error}"
                rows.append(("library", label, line, "\n" not in line and len(str(error)) > 10))
            except Exception as error:  # a bug
                rows.append(("library", label, f"{type(error).__name__}: {error}", False))
            else:
                rows.append(("library", label, "accepted", False))
    with tempfile.TemporaryDirectory() as base, contextlib.chdir(base):
        folder = Path(base)
        for label, arguments in command_line(folder):
            before = listing(folder)
            status, out, err = call(arguments)
            good = status == 2 and not out and err.count("\n") == 1 and listing(folder) == before
            rows.append(("command line", label, err.strip() or f"status {status}", good))
    return rows


if __name__ == "__main__":
    found = table()
    for where, label, line, good in found:
        print(f"{'ok  ' if good else 'BAD '} {where:12}  {label}\n                    {line}")
    bad = sum(not good for *_, good in found)
    print(f"{len(found)} bad inputs, {bad} not answered as they should be")
    sys.exit(bad > 0)
