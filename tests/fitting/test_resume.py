"""A fit that is interrupted anywhere and resumed ends bitwise where the uninterrupted one does."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.distributed.keepers import SharedKeeper
from relgrad_np.fitting import loop
from relgrad_np.runs import checkpoint
from relgrad_np.runs.checkpoint import (
    CheckpointWriter,
    newest_snapshot,
    read_snapshot,
    write_snapshot,
)

from ..laws.problems import Stumble, afterwards

MODEL = rg.activation("smooth_leaky_relu"), rg.density("sech")


def data(N=130, D=4):
    rng = np.random.default_rng(5)
    return rng.laplace(size=(N, D)) @ rng.uniform(-1, 1, (D, D)).T + 0.5


def jitter(X, rng):
    """A transform that draws, so that the generator moves between batches."""
    return X + 0.01 * rng.standard_normal(X.shape).astype(X.dtype)


def run(dtype, rule, keeper=None, resume=None, transform=None, **options):
    X = data().astype(dtype)
    rng = np.random.default_rng(3)
    layers = rg.init_layers(rng, 4, 2, dtype=dtype)
    options = {"epochs": 4, **options}
    return rg.fit(
        layers, X, *MODEL, rule=rule, rng=rng, X_val=X[:40], batch_size=30,
        keeper=keeper, resume=resume, transform=transform, **options,
    )  # fmt: skip


class StopAt:
    """Keeps every snapshot, through a file, and stops after step t."""

    def __init__(self, folder, t):
        self.folder, self.t, self.stop = folder, t, None

    def due(self, t, end):
        self.stop = 15 if t == self.t else None
        return self.stop is not None

    def write(self, snapshot):
        write_snapshot(self.folder / "step-1.npz", snapshot, "run")


def same(one, two):
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.W, b.W)
        assert np.array_equal(a.b, b.b)
        assert a.W.dtype == b.W.dtype


RULES = ["plain", "exponential", "recipe", "natural", "scalar", "adam", "group_adam"]
FITS = [(rule, dtype, jitter) for rule in RULES for dtype in ("float32", "float64")]
FITS += [("recipe", "float64", None), ("adam", "float32", None)]


@pytest.mark.parametrize(("rule", "dtype", "transform"), FITS)
def test_interrupted_anywhere_and_resumed_is_bitwise_the_same(tmp_path, dtype, rule, transform):
    whole = run(dtype, rule, transform=transform)
    for t in (1, 5, 7, 19):  # in an epoch, at its end, in the next one, before the very last
        stopped = run(dtype, rule, keeper=StopAt(tmp_path, t), transform=transform)
        assert stopped.stop_reason == "signal"
        snapshot = read_snapshot(tmp_path / "step-1.npz", "run")
        assert snapshot.state.t == t
        resumed = run(dtype, rule, resume=snapshot, transform=transform)
        same(whole.layers, resumed.layers)
        same(whole.best_layers, resumed.best_layers)
        assert whole.best_epoch == resumed.best_epoch
        strip = [[e._replace(seconds=0.0) for e in r.history] for r in (whole, resumed)]
        assert strip[0] == strip[1]
        if whole.tracked is not None:
            assert np.array_equal(whole.tracked.logdet, resumed.tracked.logdet)


@afterwards
def fall(before, after):
    """Steps make the layers overflow from t = 13 on."""
    if before.t >= 13:
        return after._replace(layers=tuple(rg.Layer(W * 1e200, b) for W, b in after.layers))
    return after


def test_the_last_good_layers_survive_a_resume(tmp_path):
    """Those of the end of epoch 2 are what a divergence in epoch 3 leaves, resumed or not."""
    run("float64", rg.Plain(0.05), implementation=fall, keeper=StopAt(tmp_path, 10))
    good = read_snapshot(tmp_path / "step-1.npz", "run").state.layers
    run("float64", rg.Plain(0.05), implementation=fall, keeper=StopAt(tmp_path, 12))
    snapshot = read_snapshot(tmp_path / "step-1.npz", "run")
    for resume in (None, snapshot):
        with pytest.raises(rg.FitDivergedError) as info:
            run("float64", rg.Plain(0.05), implementation=fall, resume=resume)
        same(info.value.result.layers, good)


def test_a_bad_step_is_undone_bitwise_even_after_a_resume(tmp_path):
    """Stopped between the bad step and the batch that tells: the snapshot holds what undo needs."""
    options = {"average": 0.5, "track_inverse": True}
    whole = run("float64", Stumble(0.05), epochs=12, **options)
    assert whole.n_undone == 1
    for t in (39, 40, 41, 42):
        run("float64", Stumble(0.05), keeper=StopAt(tmp_path, t), epochs=12, **options)
        snapshot = read_snapshot(tmp_path / "step-1.npz", "run")
        resumed = run("float64", Stumble(0.05), resume=snapshot, epochs=12, **options)
        assert resumed.n_undone == 1
        same(whole.layers, resumed.layers)
        same(whole.best_layers, resumed.best_layers)
        for V, again in zip(whole.tracked.inverse, resumed.tracked.inverse, strict=True):
            assert np.array_equal(V, again)


def test_a_lost_cursor_would_be_seen(tmp_path):
    """The planted mistakes: each part of the snapshot is needed."""
    whole = run("float64", "adam", transform=jitter)
    run("float64", "adam", keeper=StopAt(tmp_path, 7), transform=jitter)
    right = read_snapshot(tmp_path / "step-1.npz", "run")
    other = np.random.default_rng(9).bit_generator.state
    zero = tuple(
        (rg.Layer(0 * m.W, 0 * m.b), rg.Layer(0 * v.W, 0 * v.b)) for m, v in right.state.rule_state
    )
    wrong = {
        "batch": right._replace(batch=0),
        "permutation": right._replace(rng_epoch=other),
        "generator": right._replace(rng_now=other),
        "moments": right._replace(state=right.state._replace(rule_state=zero)),
        "t": right._replace(state=right.state._replace(t=0)),
    }
    same(whole.layers, run("float64", "adam", resume=right, transform=jitter).layers)
    for name, snapshot in wrong.items():
        try:
            other = run("float64", "adam", resume=snapshot, transform=jitter).layers
        except ValueError:
            continue
        assert not np.array_equal(other[0].W, whole.layers[0].W), f"the {name} does not matter"


def test_early_stopping_is_resumed(tmp_path):
    options = {"patience": 2, "learning_rate": 0.5}
    whole = run("float64", "plain", **options)
    run("float64", "plain", keeper=StopAt(tmp_path, 6), **options)
    resumed = run(
        "float64", "plain", resume=read_snapshot(tmp_path / "step-1.npz", "run"), **options
    )
    assert (whole.stop_reason, whole.best_epoch) == (resumed.stop_reason, resumed.best_epoch)
    same(whole.best_layers, resumed.best_layers)


def test_a_snapshot_of_other_layers_is_refused_before_anything_is_compiled(tmp_path, monkeypatch):
    run("float64", "plain", keeper=StopAt(tmp_path, 2))
    snapshot = read_snapshot(tmp_path / "step-1.npz", "run")
    layers = rg.init_layers(np.random.default_rng(0), 4, 3)
    monkeypatch.setattr(loop, "prepare", lambda *of_a_step: pytest.fail("kernels were compiled"))
    with pytest.raises(ValueError, match="`resume` must be a snapshot of layers of these shapes"):
        rg.fit(layers, data(), *MODEL, rng=np.random.default_rng(0), resume=snapshot)
    with pytest.raises(ValueError, match="`resume` must be a snapshot of float32 layers"):
        run("float32", "plain", resume=snapshot, implementation="reference")


def test_the_last_two_are_kept_and_the_newest_whole_one_is_used(tmp_path):
    run("float64", "plain", keeper=CheckpointWriter(tmp_path, "run", steps=3))
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["step-000000000018.npz", "step-000000000020.npz"]
    assert newest_snapshot(tmp_path, "run")[0].state.t == 20
    newest = tmp_path / files[1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    snapshot, notes = newest_snapshot(tmp_path, "run")
    assert snapshot.state.t == 18
    assert len(notes) == 1
    assert files[1] in notes[0]
    (tmp_path / files[0]).write_bytes(b"")
    with pytest.raises(ValueError, match="no checkpoint of this run can be used"):
        newest_snapshot(tmp_path, "run")


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    run("float64", "plain", keeper=CheckpointWriter(tmp_path, "one"))
    with pytest.raises(ValueError, match="it belongs to another run"):
        newest_snapshot(tmp_path, "two")


def test_a_model_is_no_checkpoint(tmp_path):
    path = tmp_path / "step-000000000001.npz"
    layers = rg.init_layers(np.random.default_rng(0), 2, 1)
    rg.save(path, rg.Model(layers, *MODEL, rg.Chain(()), {}))
    with pytest.raises(ValueError, match="it is a model, not a checkpoint"):
        newest_snapshot(tmp_path, "run")


def test_every_mutation_of_a_checkpoint_is_refused_or_harmless(tmp_path):
    """Bit flips and truncations: the content is the one written, or there is a clear line."""
    run("float32", "adam", keeper=StopAt(tmp_path, 2))
    path = tmp_path / "step-1.npz"
    good = path.read_bytes()
    true = read_snapshot(path, "run")
    rng = np.random.default_rng(0)
    outcomes = {"refused": 0, "harmless": 0}
    for i in range(300):
        bad = bytearray(good)
        if i % 3 == 0:
            bad = bad[: rng.integers(len(bad))]
        else:
            bad[rng.integers(len(bad))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            again = read_snapshot(path, "run")
        except ValueError as error:
            outcomes["refused" if "\n" not in str(error) else "unclear"] += 1
            continue
        outcomes["harmless"] += 1
        same(true.state.layers, again.state.layers)
        assert np.array_equal(again.seen, true.seen, equal_nan=True)
        same(true.average.layers, again.average.layers)
        blank = {
            "state": None,
            "best_layers": None,
            "seen": None,
            "average": None,
            "good_layers": None,
        }
        assert again._replace(**blank) == true._replace(**blank)
    assert outcomes["refused"] > 200


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"batch_size": 100}, "batch_size"),
        ({"epochs": 7}, "epochs"),
        ({"schedule": "cosine"}, "schedule"),
        ({"learning_rate": 0.001}, "rule"),
        ({"rule": "adam"}, "rule"),
        ({"rule": "exponential"}, "rule"),
        ({"patience": 3}, "patience"),
        ({"warmup": 5}, "warmup"),
        ({"average": 0.5}, "average"),
        ({"undo": None}, "undo"),
        ({"refresh": 3}, "refresh"),
        ({"track_inverse": True}, "track_inverse"),
        ({"transform": jitter}, "transform"),
        ({"sample_weight": np.arange(1, 131)}, "sample_weight"),
        ({"X": data()[:60]}, "X"),
        ({"X": data() + 1}, "X"),
        ({"X_val": data()[:30]}, "X_val"),
    ],
)
def test_a_fit_in_other_terms_is_refused_by_name(tmp_path, change, name):
    """Silently another fit, or one without end: that must not be."""
    X = data()
    layers = rg.init_layers(np.random.default_rng(3), 4, 2)
    options = {"rule": "plain", "batch_size": 30, "epochs": 4, "X": X, "X_val": X[:40]}

    def fit(**more):
        these = options | more
        return rg.fit(layers, these.pop("X"), *MODEL, rng=np.random.default_rng(3), **these)

    fit(keeper=StopAt(tmp_path, 13))
    snapshot = read_snapshot(tmp_path / "step-1.npz", "run")
    fit(resume=snapshot)
    with pytest.raises(ValueError, match=f"`{name}` can't change on resume: it was"):
        fit(resume=snapshot, **change)


def test_a_fit_that_stopped_by_patience_stays_stopped(tmp_path):
    options = {"patience": 1, "learning_rate": 3.0, "average": None}
    whole = run("float64", "plain", keeper=CheckpointWriter(tmp_path, "run"), **options)
    assert whole.stop_reason == "patience"
    last, _ = newest_snapshot(tmp_path, "run")
    again = run("float64", "plain", resume=last, **options)
    assert (again.stop_reason, len(again.history)) == ("patience", len(whole.history))
    same(whole.layers, again.layers)
    same(whole.best_layers, again.best_layers)


def test_resume_must_be_a_snapshot():
    with pytest.raises(TypeError, match="`resume` must be a Snapshot, got dict"):
        run("float64", "plain", resume={})


@pytest.mark.parametrize(("took", "after"), [(0.0, [5, 10, 15, 20]), (0.6, [5, 15, 20])])
def test_checkpoints_take_little_of_the_time_and_the_last_is_kept(
    tmp_path, monkeypatch, took, after
):
    """A clock on which an epoch of 5 steps takes 10 s and a checkpoint `took`; 5 % is 0.05."""
    clock, written = [0.0], []

    def write(path, snapshot, run):
        clock[0] += took
        written.append(snapshot.state.t)

    def epoch_took(epoch, state):
        clock[0] += 10.0

    monkeypatch.setattr(checkpoint, "write_snapshot", write)
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: clock[0])
    keeper = CheckpointWriter(str(tmp_path / "named"), "run")
    keeper.seconds = 1000.0
    run("float64", "plain", keeper=keeper, callbacks=(epoch_took,))
    assert written == after
    written.clear()
    keeper.took = 1e9  # not even the end is wanted, and it is kept
    run("float64", "plain", keeper=SharedKeeper(keeper, 0), callbacks=(lambda *_: True,))
    assert written == [5]
    keeper.took = 1e9
    run("float64", "plain", keeper=keeper)
    assert written == [5, 20]
