"""Break what a run stands on: a full disk, a read-only folder, damaged and swapped checkpoints.

    python tests/programs/faults.py --mutations 1000        (the mounts need root and Linux; else skipped)

Never a wrong silent resume, never a lost last good checkpoint, one clear line each time. Ends with
a line of counts; status 1 if anything was otherwise.
"""

import argparse
import contextlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

from relgrad_np.cli.main import main
from relgrad_np.runs.checkpoint import newest_snapshot, read_snapshot
from relgrad_np.runs.folder import read_config

COMMON = [
    "--layers",
    "2",
    "--epochs",
    "3",
    "--rule",
    "adam",
    "--batch-size",
    "500",
    "--init",
    "gaussianize",
]
COMMON += ["--checkpoint-steps", "5"]


def call(*arguments):
    """Exit status, stdout, stderr of the command line."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(a) for a in arguments])
        except SystemExit as exit_:
            status = exit_.code
    return status, out.getvalue(), err.getvalue()


def arrays(tree):
    """Return the arrays of a tree of tuples."""
    if isinstance(tree, tuple):
        return [a for part in tree for a in arrays(part)]
    return [tree] if isinstance(tree, np.ndarray) else []


def same_state(one, two):
    pairs = zip(arrays(one), arrays(two), strict=True)
    parts = [np.array_equal(a, b, equal_nan=True) for a, b in pairs]
    blank = {"state": None, "best_layers": None, "seen": None}
    blank |= {"average": None, "good_layers": None, "last": None}
    return (
        all(parts)
        and one.state.t == two.state.t
        and one._replace(**blank) == two._replace(**blank)
        and np.array_equal(one.seen, two.seen, equal_nan=True)
    )


def mutate(good, rng):
    """Bit flips, truncation, zeroed or repeated stretches, appended bytes."""
    bad = bytearray(good)
    kind = int(rng.integers(5))
    at = int(rng.integers(len(bad)))
    if kind == 0:
        bad[at] ^= 1 << int(rng.integers(8))
    elif kind == 1:
        del bad[at:]
    elif kind == 2:
        stop = min(len(bad), at + int(rng.integers(1, 600)))
        bad[at:stop] = bytes(stop - at)
    elif kind == 3:
        bad[at:at] = bad[max(0, at - 64) : at]
    else:
        bad += bytes(rng.integers(0, 256, 40, dtype=np.uint8))
    return bytes(bad)


def mutations(base, count, report):
    """Damage the newest checkpoint: the newest whole one is used, with a line, or it is unharmed."""
    rng = np.random.default_rng(0)
    folder = base / "run"
    assert call("train", "toy:rings", *COMMON, "--seed", 1, "--out", folder)[0] == 0
    name = read_config(folder)["run"]
    older, newest = sorted((folder / "checkpoints").iterdir())
    true_older, true_newest = read_snapshot(older, name), read_snapshot(newest, name)
    good = newest.read_bytes()
    refused = harmless = wrong = unclear = 0
    for _ in range(count):
        newest.write_bytes(mutate(good, rng))
        snapshot, notes = newest_snapshot(folder / "checkpoints", name)
        if notes:
            refused += 1
            wrong += not same_state(snapshot, true_older)
            unclear += len(notes) != 1 or "\n" in notes[0] or newest.name not in notes[0]
        else:
            harmless += 1
            wrong += not same_state(snapshot, true_newest)
    newest.write_bytes(good)
    report(
        f"mutations: {count}: {refused} refused by name, {harmless} harmless to the contents, "
        f"{wrong} wrong resumes, {unclear} unclear lines"
    )
    return wrong + unclear


def swaps(base, report):
    """Checkpoints of another run, of another time, and both exchanged."""
    faults = 0
    one, two = base / "one", base / "two"
    for folder, seed in ((one, 1), (two, 2)):
        assert call("train", "toy:rings", *COMMON, "--seed", seed, "--out", folder)[0] == 0
    model = (one / "model.npz").read_bytes()
    for path in (two / "checkpoints").iterdir():
        shutil.copy(path, one / "checkpoints" / path.name)
    status, _, err = call("train", "--resume", "--out", one)
    faults += not (status == 2 and "it belongs to another run" in err and err.count("\n") == 1)
    faults += (one / "model.npz").read_bytes() != model
    older, newest = sorted((two / "checkpoints").iterdir())
    content = older.read_bytes(), newest.read_bytes()
    older.write_bytes(content[1])
    newest.write_bytes(content[0])
    snapshot, _ = newest_snapshot(two / "checkpoints", read_config(two)["run"])
    truth = call("evaluate", two, "--json")[1]
    status, _, err = call("train", "--resume", "--out", two)  # from the older one: the same end
    faults += not (status == 0 and call("evaluate", two, "--json")[1] == truth)
    report(
        f"swaps: 2 kinds, {faults} faults; exchanged in time: resumed from step {snapshot.state.t}"
    )
    return faults


@contextlib.contextmanager
def mounted(folder, options):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def full_disk(base, report):
    """Fill a small disk while a run writes checkpoints: the last good one stays, and is used."""
    faults = 0
    with mounted(base / "small", "size=2m") as disk:
        folder = disk / "run"
        filler = disk / "filler"
        # a run on a disk that is full after its first checkpoints
        command = ["train", "toy:rings", *COMMON, "--seed", 1, "--out", folder]
        from relgrad_np.runs import checkpoint

        write = checkpoint.CheckpointWriter.write

        def write_then_fill(self, snapshot):
            write(self, snapshot)
            if snapshot.state.t == 20:
                free = shutil.disk_usage(disk).free
                filler.write_bytes(bytes(max(0, free - 6000)))

        checkpoint.CheckpointWriter.write = write_then_fill
        status, _, err = call(*command)
        checkpoint.CheckpointWriter.write = write
        faults += not (status == 2 and "No space left on device" in err and err.count("\n") == 1)
        faults += "checkpoints" not in err
        snapshot, notes = newest_snapshot(folder / "checkpoints", read_config(folder)["run"])
        faults += not (snapshot.state.t == 20 and not notes)
        filler.unlink()
        status, _, err = call("train", "--resume", "--out", folder)
        faults += status != 0
        whole = base / "whole"
        call("train", "toy:rings", *COMMON, "--seed", 1, "--out", whole)
        names = ("model.npz",)
        faults += any(not np.array_equal(_arrays(whole / n), _arrays(folder / n)) for n in names)
        # and a disk with no room at all
        free = shutil.disk_usage(disk).free
        filler.write_bytes(bytes(free))
        status, _, err = call("train", "toy:rings", *COMMON, "--out", disk / "other")
        faults += not (status == 2 and "No space left" in err and err.count("\n") == 1)
        faults += (disk / "other").exists()
    report(
        f"full disk: {faults} faults; the checkpoint of step 20 survived and was resumed bitwise"
    )
    return faults


def _arrays(path):
    with np.load(path) as file:
        return np.concatenate(
            [file[k].ravel() for k in sorted(file.files) if k.startswith("layer")]
        )


def read_only(base, report):
    """A folder that can't be written to: one line, nothing begun."""
    faults = 0
    with mounted(base / "fixed", "size=4m") as disk:
        call("train", "toy:rings", *COMMON, "--seed", 1, "--out", disk / "run")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        for command in (
            ["train", "toy:rings", *COMMON, "--out", disk / "new"],
            ["train", "--resume", "--out", disk / "run"],
            ["sample", disk / "run", "--out", disk / "x.npy"],
        ):
            status, _, err = call(*command)
            faults += not (status == 2 and "Read-only file system" in err and err.count("\n") == 1)
        faults += call("evaluate", disk / "run")[0] != 0  # reading is all it needs
    report(f"read-only folder: {faults} faults")
    return faults


def run(count, report=print):
    with tempfile.TemporaryDirectory() as base:
        base = Path(base)
        wrong = mutations(base, count, report) + swaps(base, report)
        if os.geteuid() == 0 and shutil.which("mount"):
            try:
                wrong += full_disk(base, report) + read_only(base, report)
            except subprocess.CalledProcessError:
                report("full disk, read-only folder: skipped, mounting is not allowed here")
        else:
            report("full disk, read-only folder: skipped, mounting needs root")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=1000)
    sys.exit(1 if run(parser.parse_args().mutations) else 0)
