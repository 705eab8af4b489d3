"""Fits, staged rows and checkpoints on arrays of other libraries; CuPy's double stands for a GPU."""

import json
import math

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.cli import main as cli
from relgrad_np.core.arrays import to_numpy
from relgrad_np.fitting.batches import Staged
from relgrad_np.fitting.loop import fit
from relgrad_np.fitting.progress import LATE
from relgrad_np.fitting.records import FitDivergedError
from relgrad_np.runs import checkpoint

from ..doubles import fake_cupy as fake
from ..laws.problems import EVERYWHERE, NARROW, Stumble

ELSEWHERE = ("torch", "device1", "no_x64")  # device1 has float64, no_x64 neither that nor int64
ACT, DENS = rg.activation("smooth_leaky_relu"), rg.density("logistic")


@pytest.fixture
def double():
    with fake.installed() as modules:
        yield modules


def to_cupy(cupy, layers):
    return tuple(rg.Layer(cupy.asarray(W), cupy.asarray(b)) for W, b in layers)


def run(layers, X, **options):
    options = {"batch_size": 20, "epochs": 4, "rng": np.random.default_rng(3)} | options
    return fit(layers, X, ACT, DENS, **options)


def data(dtype="float64"):
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((90, 5)) @ rng.uniform(-1, 1, (5, 5)) + 1).astype(dtype)
    start = rg.init_layers(rng, 5, 2, kind="whiten", X=X, activation=ACT)
    return start, X


@pytest.mark.parametrize("kind", ["whiten", "gaussianize", "orthogonal", "identity"])
@pytest.mark.parametrize("library", NARROW)
def test_a_start_without_float64(library, kind):
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((400, 4)) @ rng.uniform(-1, 1, (4, 4)) + 1).astype("f4")
    X = EVERYWHERE[library](X)
    options = {"kind": kind, "X": X, "activation": ACT}
    for W, b in rg.init_layers(np.random.default_rng(1), 4, 2, **options):
        assert W.dtype == b.dtype == X.dtype
        assert W.device == X.device
        assert np.isfinite(to_numpy(W)).all()
    if kind == "whiten":
        Y = to_numpy(rg.forward(rg.init_layers(rng, 4, 1, **options), X, ACT).Zs[-1])
        np.testing.assert_allclose(np.cov(Y.T, bias=True), np.eye(4), atol=1e-3)


@pytest.mark.parametrize(("rule", "undo"), [("recipe", 30.0), ("plain", None), ("adam", 30.0)])
@pytest.mark.parametrize("library", ELSEWHERE)
def test_fit_goes_the_same_way(library, rule, undo):
    """The reference on NumPy and elsewhere, batch by batch; library and dtype stay."""
    start, X = data("float32" if library in NARROW else "float64")
    to = EVERYWHERE[library]
    moved = tuple(rg.Layer(to(W), to(b)) for W, b in start)
    options = {"rule": rule, "undo": undo, "implementation": "reference", "epochs": 2}
    want = run(start, X, X_val=X, **options)
    got = run(moved, to(X), X_val=to(X), **options)
    assert type(got.layers[0].W) is type(moved[0].W)
    assert got.layers[0].W.dtype == moved[0].W.dtype
    tolerance = 2e-3 if library in NARROW else 1e-9
    for a, c in zip(got.history, want.history, strict=True):
        assert math.isclose(a.validation, c.validation, rel_tol=tolerance)
        assert a.train is None or math.isclose(a.train, c.train, rel_tol=tolerance)
    for (W, _), (V, _) in zip(got.best_layers, want.best_layers, strict=True):
        np.testing.assert_allclose(to_numpy(W), V, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("rule", ["recipe", "plain", "exponential", "adam"])
def test_fit_on_the_double(double, rule):
    """fit on CuPy arrays by the kernels: the same fit, and one transfer for each step's status."""
    cupy, _ = double
    start, X = data()
    want = run(start, X, X_val=X, rule=rule)
    moved, Y = to_cupy(cupy, start), cupy.asarray(X)
    got = run(moved, Y, X_val=Y, rule=rule)
    assert isinstance(got.layers[0].W, cupy.ndarray)
    for a, c in zip(got.history, want.history, strict=True):
        assert math.isclose(a.validation, c.validation, rel_tol=1e-9)
    terms = rg.log_likelihood(got.best_layers, Y, ACT, DENS)
    assert math.isclose(float(terms.mean), got.history[-1].validation, rel_tol=1)
    drawn, log_p = rg.sample(got.layers, np.random.default_rng(0), 6, ACT, DENS)
    back = rg.log_likelihood(got.layers, drawn, ACT, DENS).per_sample
    np.testing.assert_allclose(back.get(), log_p.get(), rtol=1e-9)
    for (W, b), (V, c) in zip(moved, start, strict=True):  # the start is never changed
        np.testing.assert_array_equal(W.get(), V)
        np.testing.assert_array_equal(b.get(), c)


def test_a_bad_step_is_undone_on_the_double(double):
    """The same batches, the same steps undone, the same end, as on NumPy."""
    cupy, _ = double
    start, X = data()
    options = {"batch_size": 2, "epochs": 2, "rule": Stumble(0.05)}
    want = run(start, X, **options)
    got = run(to_cupy(cupy, start), cupy.asarray(X), **options)
    assert got.n_undone == want.n_undone >= 1
    for (W, _), (V, _) in zip(got.layers, want.layers, strict=True):
        np.testing.assert_allclose(W.get(), V, rtol=1e-9, atol=1e-9)


def waits(cupy, epochs, **options):
    start, X = data()
    moved, Y = to_cupy(cupy, start), cupy.asarray(X[:40])
    fake.clear()
    run(moved, Y, batch_size=1, epochs=epochs, rule="plain", **options)
    return fake.LOG.waits


def test_status_at_the_log_interval(double):
    """40 steps an epoch: read once each to judge them, every 32 where none is to be judged."""
    cupy, _ = double
    judged = waits(cupy, 2) - waits(cupy, 1)
    late = waits(cupy, 2, undo=None) - waits(cupy, 1, undo=None)
    assert judged - late == 40 - math.ceil(40 / LATE)


def test_a_late_status_names_the_step(double):
    cupy, _ = double
    start, X = data()
    X = np.concatenate([X, np.full((1, 5), 1e200)])
    moved = to_cupy(cupy, start)
    with pytest.raises(FitDivergedError, match=r"not finite at step \d+: first the "):
        fit(
            moved, cupy.asarray(X), ACT, rg.density("normal"), undo=None, rule="plain",
            batch_size=1, rng=np.random.default_rng(0),
        )  # fmt: skip


class Once:
    """A keeper that writes one checkpoint to a file, and stops the fit there."""

    def __init__(self, path, at):
        self.path, self.at, self.stop = path, at, None

    def due(self, t, end):
        return t == self.at

    def write(self, snapshot):
        checkpoint.write_snapshot(self.path, snapshot, "run")
        self.stop = 15


@pytest.mark.parametrize("rule", ["recipe", "plain", "adam"])
@pytest.mark.parametrize("way", ["there", "back"])
def test_checkpoints_move_between_devices(double, tmp_path, rule, way):
    """Half a fit here, the rest there, in the middle of an epoch: as all of it in one place."""
    cupy, _ = double
    start, X = data()
    here = (start, X)
    there = (to_cupy(cupy, start), cupy.asarray(X))
    want = run(*here, X_val=X, rule=rule)
    one, two = (here, there) if way == "there" else (there, here)
    options = {"rule": rule}
    run(*one, X_val=one[1], keeper=Once(tmp_path / "x.npz", 7), **options)
    snapshot = checkpoint.read_snapshot(tmp_path / "x.npz", "run")
    got = run(*two, X_val=two[1], resume=snapshot, **options)
    assert type(got.layers[0].W) is type(two[0][0].W)
    assert len(got.history) == 4
    for (W, _), (V, _) in zip(got.layers, want.layers, strict=True):
        np.testing.assert_allclose(to_numpy(W), V, rtol=1e-9, atol=1e-9)


def test_a_tracker_moves_to_a_device_without_float64(tmp_path):
    start, X = data("float32")
    run(start, X, keeper=Once(tmp_path / "x.npz", 7), implementation="reference")
    snapshot = checkpoint.read_snapshot(tmp_path / "x.npz", "run")
    to = EVERYWHERE["no_float64"]
    moved = tuple(rg.Layer(to(W), to(b)) for W, b in start)
    got = run(moved, to(X), resume=snapshot)
    assert len(got.history) == 4


@pytest.mark.parametrize("undo", [30.0, None])
def test_staged_rows(double, tmp_path, undo):
    """A memory-mapped file of another dtype, staged: the same fit as with all of it there."""
    cupy, _ = double
    start, X = data("float32")
    np.save(tmp_path / "x.npy", X.astype("float64"))
    on_disk = np.load(tmp_path / "x.npy", mmap_mode="r")
    moved = to_cupy(cupy, start)
    options = {"undo": undo, "epochs": 2}
    want = run(moved, cupy.asarray(X), **options)
    got = run(moved, Staged(on_disk, moved[0].W), **options)
    for (W, _), (V, _) in zip(got.layers, want.layers, strict=True):
        np.testing.assert_array_equal(W.get(), V.get())
    doubled = run(
        moved, Staged(on_disk, moved[0].W), transform=lambda rows, rng: 2 * rows, **options
    )
    want = run(moved, cupy.asarray(2 * X), **options)
    np.testing.assert_array_equal(doubled.layers[0].W.get(), want.layers[0].W.get())


def test_staged_batches_are_fetched_while_the_device_works(double):
    """The buffer of a batch is not written again before the step after the next one."""
    from relgrad_np.fitting.batches import Feed

    cupy, _ = double
    X = np.arange(12.0).reshape(6, 2)
    staged = Staged(X, cupy.asarray(np.zeros(1)))
    feed = Feed(staged, np.array_split(np.arange(6), 3), None, None)
    seen = []
    for i in range(3):
        batch = feed.take()
        uploads = fake.LOG.uploads
        feed.ahead()
        assert fake.LOG.uploads - uploads == (1 if i < 2 else 0)
        seen.append(batch.get())  # still this batch, though the next one is there
    np.testing.assert_array_equal(np.concatenate(seen), X)


def test_rows_elsewhere_are_not_moved_unasked(double):
    cupy, _ = double
    start, X = data()
    with pytest.raises(TypeError, match="`X` is a numpy array, `W of layer 0` a cupy array"):
        run(to_cupy(cupy, start), X)
    with pytest.raises(ValueError, match="`rows` must be a NumPy array"):
        Staged([[1.0]], X)


@pytest.mark.parametrize("command", ["cuda", "torch:cpu"])
def test_train_on_a_device(double, tmp_path, capsys, monkeypatch, command):
    """train --device, then on with it on the CPU; evaluate and sample do not care."""
    monkeypatch.setattr(
        "relgrad_np.cli.train.draw", lambda *args, **options: []
    )  # pictures are drawn in NumPy
    if command.startswith("torch"):
        pytest.importorskip("torch")
    folder, options = tmp_path / "run", ["--rows", "150", "--layers", "2", "--batch-size", "50"]
    options = [*options, "--epochs", "2", "--out", str(folder)]
    assert cli.main(["train", "toy:sine", "--device", command, *options]) == 0
    here = tmp_path / "here"
    options[-1] = str(here)
    assert cli.main(["train", "toy:sine", "--implementation", "reference", *options]) == 0
    reports = [json.loads((f / "report.json").read_text()) for f in (folder, here)]
    assert math.isclose(reports[0]["test"], reports[1]["test"], rel_tol=1e-9)
    assert cli.main(["evaluate", str(folder)]) == 0
    assert cli.main(["sample", str(folder), "-n", "5", "--out", str(tmp_path / "s.npy")]) == 0
    assert rg.load(folder / "model.npz").layers[0].W.__class__ is np.ndarray
    assert cli.main(["train", "--resume", "--device", "cpu", "--out", str(folder)]) == 0
    capsys.readouterr()


def test_devices_by_name(double, capsys):
    assert cli.main(["train", "toy:sine", "--device", "abacus"]) == 2
    assert "unknown device 'abacus'; choose from cpu" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.parametrize("rule", ["plain", "recipe", "adam"])
def test_fits_agree_on_a_device(rule):
    """1,000 steps of float32 on the GPU and the CPU: the same log-likelihood to 1e-4, relative."""
    import cupy

    rng = np.random.default_rng(0)
    X = (rng.standard_normal((2000, 64)) @ rng.standard_normal((64, 64)) + 1).astype("float32")
    start = rg.init_layers(rng, 64, 2, kind="whiten", X=X, activation=ACT)
    options = {"rule": rule, "batch_size": 100, "epochs": 50}
    want = run(start, X, X_val=X, **options)
    there = cupy.asarray(X)
    got = run(to_cupy(cupy, start), there, X_val=there, **options)
    assert got.history[-1].t == want.history[-1].t == 1000
    assert math.isclose(got.history[-1].validation, want.history[-1].validation, rel_tol=1e-4)
    staged = run(to_cupy(cupy, start), Staged(X, there), X_val=there, **options)
    assert math.isclose(staged.history[-1].validation, want.history[-1].validation, rel_tol=1e-4)
