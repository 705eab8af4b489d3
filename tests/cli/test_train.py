"""`relgrad-np train`: what a new run leaves behind."""

import json
import sys

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.cli import job
from relgrad_np.cli.train import say_time
from relgrad_np.datasets import load
from relgrad_np.fitting.mixtures import chosen_mixture
from relgrad_np.fitting.records import Epoch
from relgrad_np.runs.presets import chosen_for

from .commands import FEW, SMALL, run, small_run


def test_train_writes_a_run_folder_that_can_be_used(capsys, tmp_path):
    folder = tmp_path / "run"
    status, out, err = run(capsys, "train", "digits", *SMALL, "--pictures", "--out", folder)
    assert (status, err) == (0, "")
    for text in ("Gaussian of the training rows", "bits/dim", "data space", "next:"):
        assert text in out
    files = {path.name for path in folder.iterdir()}
    pictures = {"curve.png", "samples.png", "calibration.png"}
    others = {".lock", "checkpoints", "config.json", "history.jsonl", "report.json", "model.npz"}
    assert files == pictures | others
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in history] == [1, 2]
    model = rg.load(folder / "model.npz")
    data = rg.datasets.load("digits", 0)
    report = json.loads((folder / "report.json").read_text())
    test = rg.log_likelihood(model.layers, data.test, model.activation, model.density)
    assert float(test.mean) == pytest.approx(report["test"], abs=1e-10)
    assert model.transforms == data.transforms
    assert json.loads((folder / "config.json").read_text())["settings"]["epochs"] == 2
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["step-000000000013.npz", "step-000000000026.npz"]


def test_newton_takes_the_settings_of_all_rows_at_once(capsys, tmp_path):
    out = tmp_path / "run"
    arguments = ["--rule", "newton", "--layers", "2", "--init", "whiten", "--no-pictures"]
    arguments += ["--out", out]
    status, text, err = run(capsys, "train", "digits", *arguments)
    assert (status, err) == (0, "")
    assert "smaller learning rate" not in text
    kept = json.loads((out / "config.json").read_text())["settings"]
    chosen = [kept[name] for name in ("rule", "epochs", "patience", "fresh_noise", "batch_size")]
    assert chosen == ["newton", 500, 20, False, 100]
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    train = [entry["train"] for entry in history]
    assert train == sorted(train)
    assert json.loads((out / "report.json").read_text())["best_epoch"] == len(history) - 20
    for more, name in ((["--fresh-noise"], "--fresh-noise"), (["--batch-size", "7"], "batch_size"),
                       (["--distributed"], "--distributed")):  # fmt: skip
        again = ["train", "toy:moons", *FEW, "--rule", "newton", *more, "--out", tmp_path / "x"]
        if name == "--distributed":
            pytest.importorskip("mpi4py")
        status, _, err = run(capsys, *again)
        assert status == 2
        assert f"`{name}`" in err
        assert err.count("\n") == 1


def test_train_as_json(capsys, tmp_path):
    status, out, err = run(
        capsys, "train", "toy:moons", *FEW, "--json", "--out", tmp_path / "run", "--rule", "exponential",
        "--dtype", "float32", "--density", "sech", "--init", "identity", "--schedule", "cosine", "--implementation", "reference",
    )  # fmt: skip
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["data"] == "toy:moons"
    assert report["gaussian"] < 0
    assert rg.load(tmp_path / "run" / "model.npz").layers[0].W.dtype == np.float32


def test_the_published_preset(capsys, tmp_path):
    arguments = ["--epochs", "1", "--preset", "published", "--no-pictures"]
    arguments += ["--out", tmp_path / "run"]
    status, _, _ = run(capsys, "train", "digits", *arguments)
    config = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert status == 0
    chosen = [config[name] for name in ("alpha", "init", "rule", "batch_size")]
    assert chosen == [0.01, "orthogonal", "adam", 10]


def test_same_seed_same_model(capsys, tmp_path):
    for name in ("a", "b"):
        run(capsys, "train", "toy:rings", *FEW, "--out", tmp_path / name, "--seed", "3")
    one, two = (rg.load(tmp_path / name / "model.npz") for name in ("a", "b"))
    assert all(
        np.array_equal(p, q)
        for a, b in zip(one.layers, two.layers, strict=True)
        for p, q in zip(a, b, strict=True)
    )


def test_an_existing_run_folder_is_refused_at_once_and_kept(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "load", lambda *args, **options: pytest.fail("data were read"))
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "precious").write_text("x")
    status, _, err = run(capsys, "train", "digits", *SMALL, "--out", folder)
    assert status == 2
    assert "run folder" in err
    assert "exists" in err
    assert err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["precious"]


def test_a_run_folder_that_cannot_be_made(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run(capsys, "train", "toy:sine", *FEW, "--out", tmp_path / "file" / "run")
    assert status == 2
    assert err.count("\n") == 1


def test_divergence_is_status_1_and_keeps_the_last_good_model(capsys, tmp_path, monkeypatch):
    from relgrad_np.runs import training

    def diverge(start, X, *args, **options):
        result = rg.fit(start, X, *args, **options)
        raise rg.FitDivergedError("the objective is not finite at step 7", result)

    monkeypatch.setattr(training, "fit", diverge)
    status, _, err = run(capsys, "train", "toy:sine", *FEW, "--out", tmp_path / "run")
    assert status == 1
    assert "diverged" in err
    assert "step 7" in err
    assert err.count("\n") == 1
    assert rg.load(tmp_path / "run" / "model.npz").layers


def test_without_matplotlib_a_run_is_whole(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = small_run(capsys, tmp_path / "run")
    assert (status, err) == (0, "")
    assert "Gaussian of the training rows" in out
    assert not list((tmp_path / "run").glob("*.png"))
    assert rg.load(tmp_path / "run" / "model.npz")


@pytest.mark.filterwarnings("always::relgrad_np.NotConvergedWarning")
def test_what_a_fit_warns_of_is_a_note_of_one_line(capsys, tmp_path):
    options = [*FEW, "--epochs", "1", "--tol", "1e-9"]
    status, _, err = run(capsys, "train", "toy:sine", *options, "--out", tmp_path / "run")
    assert status == 0
    notes = [line for line in err.splitlines() if "before `tol`" in line]
    assert len(notes) == 1
    assert notes[0].startswith("relgrad-np: note: 1 epochs ran out before `tol` 1e-09")


@pytest.mark.parametrize("begun", [0, 40])
@pytest.mark.parametrize(("start", "each"), [(0.8, 0.001), (0.8, 0.06), (3.0, 2.0), (5.0, 30.0)])
def test_the_time_of_a_fit_is_not_that_of_its_start(start, each, begun):
    """A clock that is told what to show: the first epoch takes longer by what a start takes."""
    said = []
    tell = say_time(said.append, 540)
    for k in range(1, 501):
        tell(Epoch(begun + k, 9, 0.1, 0.1, None, None, None, 7.0 * begun + start + each * k), None)
    assert len(said) == (each > 0.04)
    if said:
        estimate = float(said[0].split()[3])
        assert each * 0.9 < estimate < each * 1.3
    assert (start + each > 1.3 * each) == (each < 10)  # planted: that of the first epoch alone


def test_the_rows_choose_and_what_they_chose_is_said_and_kept(capsys, tmp_path):
    out = tmp_path / "run"
    arguments = ["train", "toy:sine", "--rows", "60", "--seconds", "1", "--layers", "auto"]
    more = ["--epochs", "2", "--implementation", "reference", "--no-pictures", "--compare"]
    status, text, err = run(capsys, *arguments, *more, "--out", out)
    assert status == 0, err
    chosen, _ = chosen_for(60, 2, seconds=1, epochs=2)
    assert "D = 2, N = 60: 8 layers by the natural gradient; about 1 s" in text
    kept = json.loads((out / "config.json").read_text())["settings"]
    assert {k: kept[k] for k in ("layers", "rule", "density", "alpha", "batch_size")} == {
        **{"layers": 8, "rule": "natural", "density": "student_t", "alpha": 0.3, "batch_size": 200}
    }
    assert (kept["layers"], kept["patience"]) == (chosen.layers, chosen.patience)
    others = json.loads((out / "report.json").read_text())["others"]
    assert [name.split(",")[0] for name in others] == ["Gaussian mixture", "kernel density"]
    assert all(f"{value:.3f}" in text for value in others.values())
    report = json.loads((out / "report.json").read_text())
    for name, value in others.items():
        way = "above" if report["test"] > value else "BELOW"
        gap, error = abs(report["test"] - value), report["others_se2"][name]
        assert f"{gap:.3f} +- {error:.3f} nats {way} the {name}" in text
    data, model = load("toy:sine", n=60), rg.load(out / "model.npz")
    own = rg.log_likelihood(model.layers, data.test, model.activation, model.density).per_sample
    chosen = chosen_mixture(data.train, data.validation, 0)
    paired = own - chosen.score_samples(data.test)
    error = 2 * np.std(paired, ddof=1) / np.sqrt(len(paired))
    assert next(iter(report["others_se2"].values())) == pytest.approx(error, rel=1e-6)
    apart = 2 * np.sqrt((own.var(ddof=1) + chosen.score_samples(data.test).var(ddof=1)) / len(own))
    assert abs(apart - error) > 0.01 * error  # planted: as if the rows weren't the same
    # on resume "auto" is what was chosen, and another number is refused
    resumed = ["train", "--resume", "--out", out, "--layers", "auto", "--epochs", "3"]
    assert run(capsys, *resumed, "--no-pictures")[0] == 0
    status, _, err = run(capsys, *resumed[:-3], "3")
    assert status == 2
    assert "`--layers` can't change on --resume: it is 8" in err


def test_a_preset_takes_no_time_limit_and_a_comparison_says_what_it_needs(capsys, monkeypatch):
    status, _, err = run(capsys, "train", "toy:sine", "--preset", "toys", "--seconds", "3")
    assert status == 2
    assert "`--seconds`: for settings that the data choose" in err
    monkeypatch.setitem(sys.modules, "sklearn.mixture", None)
    status, _, err = run(capsys, "train", "toy:sine", "--compare")
    assert status == 2
    assert "`--compare` needs scikit-learn: pip install scikit-learn" in err
