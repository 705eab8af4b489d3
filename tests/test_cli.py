"""The command line as a person meets it: output, files, exit status, one-line errors."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.cli import main

SMALL = ["--epochs", "2", "--layers", "2"]


def run(capsys, *arguments):
    """Exit status, stdout, stderr."""
    try:
        status = main([str(a) for a in arguments])
    except SystemExit as exit_:
        status = exit_.code
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_train_writes_a_run_folder_that_can_be_used(capsys, tmp_path):
    folder = tmp_path / "run"
    status, out, err = run(capsys, "train", "digits", *SMALL, "--out", folder)
    assert (status, err) == (0, "")
    assert "Gaussian of the same training rows" in out
    assert "bits/dim" in out
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "config.json",
        "history.jsonl",
        "report.json",
        "model.npz",
        "curve.png",
        "samples.png",
    }
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in history] == [1, 2]
    model = rg.load(folder / "model.npz")
    data = rg.datasets.load("digits", 0)
    report = json.loads((folder / "report.json").read_text())
    test = rg.log_likelihood(model.layers, data.test, model.activation, model.density)
    assert float(test.mean) == pytest.approx(report["test"], abs=1e-10)
    assert model.transforms == data.transforms
    assert json.loads((folder / "config.json").read_text())["epochs"] == 2


def test_train_as_json(capsys, tmp_path):
    status, out, err = run(
        capsys, "train", "toy:moons", *SMALL, "--json", "--out", tmp_path / "run", "--rule", "exponential",
        "--dtype", "float32", "--density", "sech", "--init", "identity", "--schedule", "cosine",
    )  # fmt: skip
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["data"] == "toy:moons"
    assert report["gaussian"] < 0
    assert rg.load(tmp_path / "run" / "model.npz").layers[0].W.dtype == np.float32


def test_the_published_preset(capsys, tmp_path):
    status, _, _ = run(
        capsys,
        "train",
        "digits",
        "--epochs",
        "1",
        "--preset",
        "published",
        "--out",
        tmp_path / "run",
    )
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert status == 0
    assert (config["alpha"], config["init"], config["rule"], config["batch_size"]) == (
        0.01,
        "orthogonal",
        "adam",
        10,
    )


def test_same_seed_same_model(capsys, tmp_path):
    for name in ("a", "b"):
        run(capsys, "train", "toy:rings", *SMALL, "--out", tmp_path / name, "--seed", "3")
    one, two = (rg.load(tmp_path / name / "model.npz") for name in ("a", "b"))
    assert all(
        np.array_equal(p, q)
        for a, b in zip(one.layers, two.layers, strict=True)
        for p, q in zip(a, b, strict=True)
    )


BAD = [
    (["train", "mnist2"], "unknown data 'mnist2'; choose from digits, toy:8gaussians"),
    (["train", "toy:spirals"], "unknown data 'toy:spirals'"),
    (
        ["train", "digits", "--activation", "relu"],
        "unknown activation 'relu'; choose from smooth_leaky_relu",
    ),
    (["train", "digits", "--activation", "softplus"], "softplus is not onto R"),
    (["train", "digits", "--activation", "elu"], "elu is not onto R"),
    (["train", "digits", "--density", "uniform"], "unknown density 'uniform'"),
    (["train", "digits", "--rule", "sgd"], "unknown rule 'sgd'"),
    (["train", "digits", "--schedule", "step"], "unknown schedule 'step'"),
    (["train", "digits", "--init", "zeros"], "unknown kind 'zeros'"),
    (["train", "digits", "--preset", "mine"], "unknown preset 'mine'"),
    (["train", "digits", "--implementation", "gpu"], "unknown implementation 'gpu'"),
    (["train", "digits", "--dtype", "float16"], "unknown dtype 'float16'"),
    (["train", "digits", "--alpha", "0"], "`alpha` must be in (0, 1], got 0.0"),
    (["train", "digits", "--alpha", "2"], "`alpha` must be in (0, 1], got 2.0"),
    (["train", "digits", "--learning-rate", "0"], "`learning_rate` must be positive, got 0.0"),
    (["train", "digits", "--learning-rate", "-1"], "`learning_rate` must be positive, got -1.0"),
    (["train", "digits", "--learning-rate", "nan"], "`learning_rate` must be positive, got nan"),
    (["train", "digits", "--layers", "0"], "`L` must be a positive integer, got 0"),
    (["train", "digits", "--epochs", "0"], "`epochs` must be a positive integer, got 0"),
    (["train", "digits", "--batch-size", "0"], "`batch_size` must be a positive integer, got 0"),
    (["train", "digits", "--layers", "two"], "argument --layers: invalid int value: 'two'"),
    (["train", "digits", "--seed", "-1"], "argument --seed: must be 0 or more"),
    (["train"], "the following arguments are required: data"),
    (["fly"], "invalid choice: 'fly'"),
    ([], "the following arguments are required: COMMAND"),
]


@pytest.mark.parametrize(("arguments", "text"), BAD, ids=[" ".join(a) or "nothing" for a, _ in BAD])
def test_bad_input_is_one_line_and_status_2(capsys, tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert text in err
    assert err.count("\n") == 1
    assert err.startswith("relgrad-np: error: ")
    assert list(tmp_path.iterdir()) == []  # nothing was begun


def test_an_existing_run_folder_is_refused_and_kept(capsys, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "precious").write_text("x")
    status, _, err = run(capsys, "train", "digits", *SMALL, "--out", folder)
    assert status == 2
    assert "run folder" in err
    assert "exists" in err
    assert err.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["precious"]


def test_debug_shows_the_traceback(tmp_path):
    with pytest.raises(ValueError, match="unknown data"):
        main(["train", "nothing", "--debug"])


def test_a_run_folder_that_cannot_be_made(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run(capsys, "train", "toy:sine", *SMALL, "--out", tmp_path / "file" / "run")
    assert status == 2
    assert err.count("\n") == 1


def test_divergence_is_status_1_and_keeps_the_last_good_model(capsys, tmp_path, monkeypatch):
    from relgrad_np import training

    def diverge(start, X, *args, **options):
        result = rg.fit(start, X, *args, **options)
        raise rg.FitDivergedError("the objective is not finite at step 7", result)

    monkeypatch.setattr(training, "fit", diverge)
    status, _, err = run(capsys, "train", "toy:sine", *SMALL, "--out", tmp_path / "run")
    assert status == 1
    assert "diverged" in err
    assert "step 7" in err
    assert err.count("\n") == 1
    assert rg.load(tmp_path / "run" / "model.npz").layers


def test_verify(capsys):
    status, out, _ = run(capsys, "verify")
    assert status == 0
    assert out.splitlines()[-1] == "23 of 23 checks passed"
    status, out, _ = run(capsys, "verify", "--json")
    assert all(json.loads(line)["passed"] for line in out.splitlines())


def test_verify_fails_when_the_installation_is_wrong(capsys, monkeypatch):
    from relgrad_np import verify

    def wrong(*args, **options):
        return tuple(rg.Layer(r.W, r.b * 1.001) for r in rg.relative_gradient(*args, **options))

    monkeypatch.setattr(verify, "relative_gradient", wrong)
    status, out, _ = run(capsys, "verify")
    assert status == 1
    assert "FAIL" in out
    assert out.splitlines()[-1] != "23 of 23 checks passed"


def test_info(capsys):
    status, out, _ = run(capsys, "info")
    assert status == 0
    assert "numpy" in out
    facts = json.loads(run(capsys, "info", "--json")[1])
    assert facts["numpy"] == np.__version__
    assert facts["devices"][0] == "cpu"


def test_version(capsys):
    assert run(capsys, "--version")[1].strip() == rg.__version__


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_with_their_status(tmp_path, number, status):
    command = [sys.executable, "-m", "relgrad_np.cli", "train", "toy:moons", "--epochs", "100000"]
    history = tmp_path / "run" / "history.jsonl"
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        for _ in range(600):
            if history.exists() and history.stat().st_size > 0:
                break
            time.sleep(0.05)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == status
    assert "Traceback" not in err


def test_the_demo_does_the_main_job(capsys, tmp_path, monkeypatch):
    from relgrad_np import demo

    monkeypatch.setattr(demo, "SIZES", (16, 32))
    monkeypatch.setattr(demo.time_steps, "__defaults__", ((16, 32), 20, 3))
    status, out, _ = run(capsys, "demo", "--out", tmp_path / "demo")
    assert status == 0
    assert "nats above it" in out
    assert "23 of 23 checks passed" in out
    assert out.count("ordinary / relative") == 2
    pictures = {path.name for path in (tmp_path / "demo").glob("*.png")}
    assert pictures == {
        "digits-curve.png",
        "digits-samples.png",
        "moons-curve.png",
        "moons-samples.png",
        "times.png",
    }
