"""`relgrad-np evaluate` and `sample`: a trained model on other rows."""

import json

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.datasets import memory
from relgrad_np.runs import training

from .commands import FEW, run


def test_evaluate_and_sample(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3)) * [1, 10, 100] + 50
    np.savetxt(tmp_path / "my.csv", X, delimiter=",", header="a,b,c", comments="")
    folder = tmp_path / "run"
    options = ["--epochs", "3", "--layers", "1", "--density", "normal", "--no-pictures"]
    options += ["--out", folder]
    assert run(capsys, "train", tmp_path / "my.csv", *options)[0] == 0
    status, out, _ = run(capsys, "evaluate", folder, "--json", "--scores", tmp_path / "scores.npy")
    found = json.loads(out)
    report = json.loads((folder / "report.json").read_text())
    assert status == 0
    assert found["model_space"] == pytest.approx(report["test"], abs=1e-12)
    assert found["gaussian"] == pytest.approx(report["gaussian"], abs=1e-12)
    means = np.load(tmp_path / "scores.npy").mean(axis=0)
    assert means.tolist() == pytest.approx([found["model_space"], found["data_space"]])
    # data space: log|det| of the standardisation is the difference
    model = rg.load(folder / "model.npz")
    log_std = sum(np.log(np.asarray(t.std)).sum() for t in model.transforms.transforms)
    assert found["data_space"] == pytest.approx(found["model_space"] - log_std, abs=1e-9)

    status, out, _ = run(capsys, "sample", folder, "-n", "4000", "--out", tmp_path / "s.npy")
    S = np.load(tmp_path / "s.npy")
    assert status == 0
    assert S.shape == (4000, 3)
    np.testing.assert_allclose(S.mean(axis=0), X.mean(axis=0), atol=12)
    np.testing.assert_allclose(S.std(axis=0), X.std(axis=0), rtol=0.2)
    status, _, err = run(capsys, "sample", folder, "--out", tmp_path / "s.npy")
    assert status == 2
    assert "exists" in err
    assert run(capsys, "evaluate", folder, tmp_path / "s.npy", "--json")[0] == 0
    np.save(tmp_path / "other.npy", rng.normal(size=(50, 4)))
    status, _, err = run(capsys, "evaluate", folder, tmp_path / "other.npy")
    assert status == 2
    assert "4 columns, the model 3" in err


def test_scores_are_in_the_order_of_the_file(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) * [1, 10, 100] + 50
    np.save(tmp_path / "x.npy", X)
    options = ["--epochs", "2", "--layers", "2", "--no-pictures", "--out", tmp_path / "run"]
    assert run(capsys, "train", tmp_path / "x.npy", *options)[0] == 0
    few = X[:4]  # fewer rows than a split would need, and a constant column
    few[:, 1] = 50.0
    np.save(tmp_path / "few.npy", few)
    status, out, err = run(
        capsys,
        "evaluate",
        tmp_path / "run",
        tmp_path / "few.npy",
        "--scores",
        tmp_path / "s.csv",
        "--json",
    )
    assert (status, err) == (0, "")
    model = rg.load(tmp_path / "run" / "model.npz")
    Z, log_det = model.transforms.forward_with_log_det(few, None)
    log_p = rg.log_likelihood(model.layers, Z, model.activation, model.density).per_sample
    header, *lines = (tmp_path / "s.csv").read_text().splitlines()
    assert header == "log_p_model_space,log_p_data_space"
    both = np.array([line.split(",") for line in lines], float)
    np.testing.assert_allclose(both, np.stack([log_p, log_p + log_det], axis=1), rtol=1e-12)
    assert json.loads(out)["data_space"] == pytest.approx((log_p + log_det).mean(), rel=1e-12)


def test_what_does_not_fit_into_memory_is_refused_before_it_is_begun(
    capsys, finished, tmp_path, monkeypatch
):
    many = ["sample", finished, "-n", 10**15, "--out", tmp_path / "x.npy"]
    assert "x.npy` would take 16,000,000 GB or more" in run(capsys, *many)[2]
    with monkeypatch.context() as patch:
        patch.setattr(memory, "available", lambda: 2**20)
        status, _, err = run(capsys, "sample", finished, "--out", tmp_path / "x.npy", "-n", 10**5)
    assert (status, err.count("\n")) == (2, 1)
    assert "`-n` 100000 rows of 2 columns, of which 524288 are drawn at a time, needs about" in err
    assert "free: draw fewer" in err
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(400, 300)))
    new = tmp_path / "new"
    wide = ["train", tmp_path / "wide.npy", "--out", new, "--layers", "3"]
    status, _, err = run(capsys, *wide, "--rule", "natural")
    assert (status, err.count("\n")) == (2, 1)
    assert "546.8 GiB" in err
    with monkeypatch.context() as patch:
        patch.setattr(memory, "available", lambda: 2**20)
        status, _, err = run(capsys, *wide)
    assert (status, err.count("\n")) == (2, 1)
    assert "a fit of 320 x 300 numbers by 3 layers needs about" in err
    assert not new.exists()


def test_no_memory_is_one_line_and_leaves_nothing_half_written(capsys, tmp_path, monkeypatch):
    def fit(*args, **options):
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(training, "fit", fit)
    new = tmp_path / "new"
    status, _, err = run(capsys, "train", "toy:rings", *FEW, "--out", new)
    assert (status, err) == (
        2, "relgrad-np: error: not enough memory: Unable to allocate 9 GiB\n",
    )  # fmt: skip
    assert not new.exists()
    assert list(tmp_path.iterdir()) == []
