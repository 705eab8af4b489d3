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
from relgrad_np.cli.main import main

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
    pictures = {"curve.png", "samples.png"}
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
    config = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
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
    (["train"], "`DATA` is required: a name or a file"),
    (["train", "--resume"], "`--resume` needs --out RUN"),
    (
        ["train", "--resume", "--out", "nowhere"],
        "'nowhere' is not a run folder: it has no config.json",
    ),
    (["train", "none.npy"], "none.npy"),
    (["train", "none.csv"], "none.csv"),
    (["train", "digits", "--rows", "0"], "argument --rows: must be 1 or more"),
    (["train", "digits", "--rows", "9"], "`n` must be None for digits"),
    (["train", "mnist", "--data-dir", "nowhere"], "mnist"),
    (["train", "digits", "--warmup", "-1"], "`warmup` must be a number of steps, 0 or more"),
    (["train", "digits", "--patience", "0"], "`patience` must be a positive integer"),
    (["train", "digits", "--average", "2"], "`average` must be in (0, 1), or None, got 2.0"),
    (["train", "toy:moons", "--fresh-noise"], "`fresh_noise` is for images"),
    (["train", "digits", "--beta", "1"], "beta"),
    (
        ["train", "digits", "--density", "student_t", "--alpha", "x"],
        "argument --alpha: invalid float value: 'x'",
    ),
    (["evaluate", "nowhere"], "'nowhere' is not a run folder"),
    (["sample", "nowhere", "--out", "x.npy"], "'nowhere' is not a run folder"),
    (["sample", "nowhere"], "the following arguments are required: --out"),
    (["sample", "nowhere", "-n", "0", "--out", "x.npy"], "argument -n: must be 1 or more"),
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
    from relgrad_np.runs import training

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
    assert out.splitlines()[-1] == "25 of 25 checks passed"
    status, out, _ = run(capsys, "verify", "--json")
    assert all(json.loads(line)["passed"] for line in out.splitlines())


def test_verify_fails_when_the_installation_is_wrong(capsys, monkeypatch):
    from relgrad_np.cli import verify

    def wrong(*args, **options):
        return tuple(rg.Layer(r.W, r.b * 1.001) for r in rg.relative_gradient(*args, **options))

    monkeypatch.setattr(verify, "relative_gradient", wrong)
    status, out, _ = run(capsys, "verify")
    assert status == 1
    assert "FAIL" in out
    assert out.splitlines()[-1] != "25 of 25 checks passed"


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
    command = [sys.executable, "-m", "relgrad_np", "train", "toy:moons", "--epochs", "5000"]
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
    assert f"stopped by {signal.Signals(number).name}; go on with: relgrad-np train --resume" in err
    assert err.count("\n") == 1
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.npz"))


def test_the_demo_does_the_main_job(capsys, tmp_path, monkeypatch):
    from relgrad_np.cli import demo

    monkeypatch.setattr(demo, "SIZES", (16, 32))
    monkeypatch.setattr(demo.time_steps, "__defaults__", ((16, 32), 20, 3))
    status, out, _ = run(capsys, "demo", "--out", tmp_path / "demo")
    assert status == 0
    assert "nats above it" in out
    assert "25 of 25 checks passed" in out
    assert out.count("ordinary / relative") == 2
    pictures = {path.name for path in (tmp_path / "demo").glob("*.png")}
    assert pictures == {
        "digits-curve.png",
        "digits-samples.png",
        "moons-curve.png",
        "moons-samples.png",
        "times.png",
    }


def small_run(capsys, folder, *more):
    options = ["--epochs", "4", "--layers", "2", "--seed", "1", "--rule", "plain", "--out", folder,
        "--batch-size", "500",
    ]  # fmt: skip
    return run(capsys, "train", "toy:smile", *options, *more)


def test_stopped_and_resumed_on_the_command_line_is_bitwise_the_same(capsys, tmp_path, monkeypatch):
    from relgrad_np.runs import checkpoint

    assert small_run(capsys, tmp_path / "whole")[0] == 0
    write = checkpoint.CheckpointWriter.write

    def stop(self, snapshot):
        write(self, snapshot)
        self.stop = signal.SIGTERM if snapshot.state.t >= 70 else None

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.CheckpointWriter, "write", stop)
        status, _, err = small_run(capsys, tmp_path / "cut", "--checkpoint-steps", "7")
    assert status == 143
    assert "go on with: relgrad-np train --resume --out" in err
    status, out, err = run(capsys, "train", "--resume", "--out", tmp_path / "cut")
    assert (status, err) == (0, "")
    one, two = (rg.load(tmp_path / name / "model.npz").layers for name in ("whole", "cut"))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.W, b.W)
        assert np.array_equal(a.b, b.b)
    lines = [
        (tmp_path / name / "history.jsonl").read_text().splitlines() for name in ("whole", "cut")
    ]
    strip = [
        [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in part] for part in lines
    ]
    assert strip[0] == strip[1]
    status, again, _ = run(
        capsys, "train", "--resume", "--out", tmp_path / "cut"
    )  # nothing is left to do
    assert status == 0
    assert again.splitlines()[0] == out.splitlines()[0]


def test_resume_refuses_other_settings_and_other_data(capsys, tmp_path):
    folder = tmp_path / "run"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 3)))
    status, _, err = run(capsys, "train", tmp_path / "x.npy", "--epochs", "2", "--out", folder)
    assert (status, err) == (0, "")
    for more, text in [
        (["--epochs", "9"], "`--epochs` can't change on --resume: it is 2"),
        (["--rule", "adam"], "`--rule` can't change on --resume: it is recipe"),
        (["digits"], "`--data` can't change on --resume"),
    ]:
        status, _, err = run(capsys, "train", "--resume", "--out", folder, *more)
        assert status == 2
        assert text in err
        assert err.count("\n") == 1
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(200, 3)))
    status, _, err = run(capsys, "train", "--resume", "--out", folder)
    assert status == 2
    assert "are not those the run began with" in err


def test_a_locked_run_folder_has_one_writer(capsys, tmp_path):
    from relgrad_np.runs import folder as runs

    assert small_run(capsys, tmp_path / "run")[0] == 0
    with runs.locked(tmp_path / "run"):
        status, _, err = run(capsys, "train", "--resume", "--out", tmp_path / "run")
    assert status == 2
    assert "is in use by another process" in err


def test_evaluate_and_sample(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 3)) * [1, 10, 100] + 50
    np.savetxt(tmp_path / "my.csv", X, delimiter=",", header="a,b,c", comments="")
    folder = tmp_path / "run"
    options = ["--epochs", "3", "--layers", "1", "--density", "normal", "--out", folder]
    assert run(capsys, "train", tmp_path / "my.csv", *options)[0] == 0
    status, out, _ = run(capsys, "evaluate", folder, "--json", "--scores", tmp_path / "scores.npy")
    found = json.loads(out)
    report = json.loads((folder / "report.json").read_text())
    assert status == 0
    assert found["model_space"] == pytest.approx(report["test"], abs=1e-12)
    assert found["gaussian"] == pytest.approx(report["gaussian"], abs=1e-12)
    assert np.load(tmp_path / "scores.npy").mean() == pytest.approx(found["model_space"])
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


def test_without_matplotlib_a_run_is_whole(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    status, out, err = small_run(capsys, tmp_path / "run")
    assert (status, err) == (0, "")
    assert "Gaussian of the same training rows" in out
    assert not list((tmp_path / "run").glob("*.png"))
    assert rg.load(tmp_path / "run" / "model.npz")


def test_a_damaged_checkpoint_is_passed_over_with_a_line(capsys, tmp_path):
    folder = tmp_path / "run"
    small_run(capsys, folder)
    last = sorted((folder / "checkpoints").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-100])
    status, _, err = run(capsys, "train", "--resume", "--out", folder)
    assert status == 0
    assert f"checkpoint {last.name} can't be used" in err
    assert "going on from the one before" in err
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(b"nonsense")
    status, _, err = run(capsys, "train", "--resume", "--out", folder)
    assert status == 2
    assert "no checkpoint of this run can be used" in err


def test_scores_are_in_the_order_of_the_file(capsys, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3)) * [1, 10, 100] + 50
    np.save(tmp_path / "x.npy", X)
    options = ["--epochs", "2", "--layers", "2", "--out", tmp_path / "run"]
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
    np.testing.assert_allclose(np.loadtxt(tmp_path / "s.csv"), log_p, rtol=1e-12)
    assert json.loads(out)["data_space"] == pytest.approx((log_p + log_det).mean(), rel=1e-12)


def test_columns_of_a_csv_are_those_of_the_model(capsys, tmp_path):
    X = np.random.default_rng(0).normal(size=(100, 2)) * [1, 5]
    np.savetxt(tmp_path / "a.csv", X, delimiter=",", header="u,v", comments="")
    np.savetxt(tmp_path / "b.csv", X[:, ::-1], delimiter=",", header="v,u", comments="")
    assert run(capsys, "train", tmp_path / "a.csv", *SMALL, "--out", tmp_path / "run")[0] == 0
    status, _, err = run(capsys, "evaluate", tmp_path / "run", tmp_path / "b.csv")
    assert status == 2
    assert "has columns v, u, the model u, v" in err


def test_lost_checkpoints_are_no_new_beginning(capsys, tmp_path):
    folder = tmp_path / "run"
    small_run(capsys, folder)
    before = (folder / "model.npz").read_bytes(), (folder / "history.jsonl").read_text()
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    status, _, err = run(capsys, "train", "--resume", "--out", folder)
    assert status == 2
    assert "are gone" in err
    assert before == ((folder / "model.npz").read_bytes(), (folder / "history.jsonl").read_text())


def test_what_killed_writers_left_is_removed(capsys, tmp_path):
    folder = tmp_path / "run"
    small_run(capsys, folder)
    left = [folder / ".model.npz.1.partial", folder / "checkpoints" / ".step-1.npz.2.partial"]
    for path in left:
        path.write_bytes(b"half")
    assert run(capsys, "train", "--resume", "--out", folder)[0] == 0
    assert not any(path.exists() for path in left)


def test_an_unfinished_run_says_how_to_end_it(capsys, tmp_path):
    folder = tmp_path / "run"
    small_run(capsys, folder)
    (folder / "model.npz").unlink()
    for command in (["evaluate", folder], ["sample", folder, "--out", tmp_path / "x.npy"]):
        status, _, err = run(capsys, *command)
        assert status == 2
        assert "has no model yet: end it with relgrad-np train --resume" in err


@pytest.mark.parametrize(
    "damage",
    ["{}", "[]", "nonsense", '{"run": 1, "data": 2, "rows": 3, "fingerprint": 4, "settings": []}'],
)
def test_a_damaged_config_is_refused_by_name(capsys, tmp_path, damage):
    folder = tmp_path / "run"
    small_run(capsys, folder)
    (folder / "config.json").write_text(damage)
    for command in (["train", "--resume", "--out", folder], ["evaluate", folder]):
        status, _, err = run(capsys, *command)
        assert status == 2
        assert "config.json" in err
        assert err.count("\n") == 1
