"""`relgrad-np train --resume`, and what a run may be stopped or damaged by."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.fitting.storage.writing import claim
from relgrad_np.runs.folder import create, locked

from .commands import run, small_run


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_with_their_status(tmp_path, number, status):
    command = [sys.executable, "-m", "relgrad_np", "train", "toy:moons", "--epochs", "50000"]
    command += [
        "--rows",
        "500",
        "--layers",
        "2",
        "--rule",
        "plain",
        "--implementation",
        "reference",
    ]
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
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    assert f"stopped by {name}; go on with: relgrad-np train --resume" in err
    assert err.count("\n") == 1
    assert list((tmp_path / "run" / "checkpoints").glob("step-*.npz"))


def test_stopped_and_resumed_on_the_command_line_is_bitwise_the_same(
    capsys, tmp_path, monkeypatch, small_run_once
):
    from relgrad_np.runs import checkpoint

    write = checkpoint.CheckpointWriter.write

    def stop(self, snapshot):
        write(self, snapshot)
        self.stop = signal.SIGTERM if snapshot.state.t >= 70 else None

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.CheckpointWriter, "write", stop)
        status, _, err = small_run(capsys, tmp_path / "cut", "--checkpoint-steps", "7")
    assert status == 143
    assert "go on with: relgrad-np train --resume --out" in err
    status, out, err = run(capsys, "train", "--no-pictures", "--resume", "--out", tmp_path / "cut")
    assert (status, err) == (0, "")
    folders = (small_run_once, tmp_path / "cut")
    one, two = (rg.load(folder / "model.npz").layers for folder in folders)
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.W, b.W)
        assert np.array_equal(a.b, b.b)
    lines = [(folder / "history.jsonl").read_text().splitlines() for folder in folders]
    strip = [
        [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in part] for part in lines
    ]
    assert strip[0] == strip[1]
    status, again, _ = run(capsys, "train", "--no-pictures", "--resume", "--out", tmp_path / "cut")
    assert status == 0  # nothing was left to do
    assert again.splitlines()[0] == out.splitlines()[0]


def test_newton_stopped_and_resumed_is_the_same(capsys, tmp_path, monkeypatch):
    from relgrad_np.runs import checkpoint

    arguments = [
        "train",
        "toy:moons",
        "--no-pictures",
        "--rule",
        "newton",
        "--layers",
        "2",
        "--rows",
        "300",
    ]
    assert run(capsys, *arguments, "--out", tmp_path / "whole")[0] == 0
    write = checkpoint.CheckpointWriter.write

    def stop(self, snapshot):
        write(self, snapshot)
        self.stop = signal.SIGTERM if snapshot.state.t >= 6 else None

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.CheckpointWriter, "write", stop)
        cut = [*arguments, "--checkpoint-steps", "3", "--out", tmp_path / "cut"]
        status, _, err = run(capsys, *cut)
    assert status == 143
    assert "go on with: relgrad-np train --resume --out" in err
    status, out, err = run(capsys, "train", "--no-pictures", "--resume", "--out", tmp_path / "cut")
    assert (status, err) == (0, "")
    assert "above the Gaussian" in out
    one, two = (rg.load(tmp_path / name / "model.npz").layers for name in ("whole", "cut"))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.W, b.W)
    whole = (tmp_path / "whole" / "history.jsonl").read_text().splitlines()
    resumed = (tmp_path / "cut" / "history.jsonl").read_text().splitlines()
    assert len(whole) == len(resumed) > 10


def test_resume_refuses_other_settings_and_other_data(capsys, tmp_path):
    folder = tmp_path / "run"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(200, 3)))
    few = ["--epochs", "2", "--no-pictures"]
    status, _, err = run(capsys, "train", tmp_path / "x.npy", *few, "--out", folder)
    assert (status, err) == (0, "")
    for more, text in [
        (["--epochs", "1"], "`--epochs` must be more than the 2 that are done"),
        (["--batch-size", "7"], "`--batch-size` can't change on --resume: it is 200"),
        (["--drop", "0"], "`--drop` can't change on --resume: it is None"),
        (["--rule", "adam"], "`--rule` can't change on --resume: it is natural"),
        (["digits"], "the data 'digits' are not those the run began with"),
    ]:
        status, _, err = run(capsys, "train", "--resume", "--out", folder, *more)
        assert status == 2
        assert text in err
        assert err.count("\n") == 1
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(200, 3)))
    status, _, err = run(capsys, "train", "--resume", "--out", folder)
    assert status == 2
    assert "are not those the run began with" in err


def test_a_locked_run_folder_has_one_writer(capsys, finished):
    with locked(finished):
        status, _, err = run(capsys, "train", "--resume", "--out", finished)
    assert status == 2
    assert "is in use by another process" in err


def test_a_damaged_checkpoint_is_passed_over_with_a_line(capsys, finished):
    folder = finished
    last = sorted((folder / "checkpoints").iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-100])
    status, _, err = run(capsys, "train", "--no-pictures", "--resume", "--out", folder)
    assert status == 0
    assert f"checkpoint {last.name} can't be used" in err
    assert "going on from the one before" in err
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(b"nonsense")
    status, _, err = run(capsys, "train", "--no-pictures", "--resume", "--out", folder)
    assert status == 2
    assert "no checkpoint of this run can be used" in err


def test_lost_checkpoints_are_no_new_beginning(capsys, finished):
    folder = finished
    before = (folder / "model.npz").read_bytes(), (folder / "history.jsonl").read_text()
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    status, _, err = run(capsys, "train", "--no-pictures", "--resume", "--out", folder)
    assert status == 2
    assert "are gone" in err
    assert before == ((folder / "model.npz").read_bytes(), (folder / "history.jsonl").read_text())


def test_what_killed_writers_left_is_removed(capsys, finished):
    folder = finished
    left = [folder / ".model.npz.1.partial", folder / "checkpoints" / ".step-1.npz.2.partial"]
    for path in left:
        path.write_bytes(b"half")
    (folder / ".x.partial").mkdir()
    (folder / ".x.partial" / "y").write_bytes(b"half")
    (folder / ".link.partial").symlink_to(folder / "model.npz")
    assert run(capsys, "train", "--no-pictures", "--resume", "--out", folder)[0] == 0
    assert not list(folder.rglob(".*.partial"))
    assert (folder / "model.npz").exists()


def test_what_a_killed_train_left_beside_its_folder_is_removed(capsys, tmp_path):
    (tmp_path / ".run.0123.partial").mkdir()
    alive = tmp_path / ".run.4567.partial"
    alive.mkdir()
    number = os.open(alive, os.O_RDONLY)
    claim(number)  # as another process that is making it
    config = create(tmp_path / "run", {})
    os.close(number)
    assert {path.name for path in tmp_path.iterdir()} == {"run", alive.name}
    assert len(config["run"]) == 16


def test_links_are_not_followed_where_a_run_writes(capsys, finished, tmp_path):
    """The mistake: to open the lock with "w", which empties what a link of this name leads to."""
    victim, elsewhere = tmp_path / "victim", tmp_path / "elsewhere"
    victim.write_text("precious")
    elsewhere.mkdir()
    for name in ("history.jsonl", "curve.png", "model.npz", "report.json"):
        (finished / name).unlink(missing_ok=True)
        (finished / name).symlink_to(victim)
    assert run(capsys, "train", "--resume", "--out", finished)[0] == 0
    assert not any(path.is_symlink() for path in finished.iterdir())
    (finished / ".lock").unlink()
    (finished / ".lock").symlink_to(victim)
    status, _, err = run(capsys, "train", "--resume", "--out", finished)
    assert (status, err.count("\n")) == (2, 1)
    (finished / ".lock").unlink()
    os.mkfifo(finished / ".lock")  # which would be waited for
    assert run(capsys, "train", "--resume", "--out", finished)[0] == 2
    (finished / ".lock").unlink()
    (finished / "checkpoints").rename(elsewhere / "checkpoints")
    (finished / "checkpoints").symlink_to(elsewhere / "checkpoints")
    before = sorted((elsewhere / "checkpoints").iterdir())
    status, _, err = run(capsys, "train", "--resume", "--out", finished)
    assert (status, err.count("\n")) == (2, 1)
    assert "is a link" in err
    assert sorted((elsewhere / "checkpoints").iterdir()) == before
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    "damage",
    [
        "{}",
        "[]",
        "[" * 100_000,
        " " * (2**20 + 1),
        "nonsense",
        '{"run": 1, "data": 2, "rows": 3, "fingerprint": 4, "settings": []}',
    ],
)
def test_a_damaged_config_is_refused_by_name(capsys, finished, damage):
    folder = finished
    (folder / "config.json").write_text(damage)
    for command in (["train", "--resume", "--out", folder], ["evaluate", folder]):
        status, _, err = run(capsys, *command)
        assert status == 2
        assert "config.json" in err
        assert err.count("\n") == 1
