"""Run commands with too little memory and on too small a disk: exit 2 or success, nothing is lost.

    python -m tests.programs.pressure --commands 40 --seed 0       (Linux; the disk needs root)

Data are of every kind whose library is installed. Each command runs with an address space of a few MB to some hundreds of MB more than it needs to
start (`ulimit -v`), or on a tmpfs with little room left. Allowed: exit status 0; or 2, with one line
of error and no traceback. Afterwards the run that was there before has its model and its checkpoints
and goes on to its end, what was to be written is whole or not there, and no leftover stays
behind after the next command. Status 1 if anything was otherwise.
"""

import argparse
import contextlib
import gzip
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import scipy.io

import relgrad_np as rg
from relgrad_np.runs.checkpoint import newest_snapshot
from relgrad_np.runs.folder import read_config
from tests.programs.faults import mounted

ROOT = Path(__file__).resolve().parents[2]
READERS = ("pandas", "pyarrow.parquet", "pyarrow.feather", "h5py", "scipy.io")
START = """
import contextlib, importlib, resource, sys
from relgrad_np.cli.main import main
import numpy.linalg, numpy.random, scipy.linalg, relgrad_np.fitting.loop, relgrad_np.runs.plots
for name in sys.argv[2].split(","):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + int(sys.argv[1]) * 2**20
if int(sys.argv[1]):
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sys.exit(main(sys.argv[3:]))
"""


def called(*arguments, room=0):
    """Run a command with `room` MB of address space more than it has at its start; 0 for any."""
    done = subprocess.run(
        [sys.executable, "-c", START, str(room), ",".join(READERS), *map(str, arguments)],
        capture_output=True, text=True, timeout=300, cwd=ROOT,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    return done.returncode, done.stderr


def commands(folder, old, rng, kinds):
    """Return a random command, and the new file or folder that it is to write, None for none."""
    data, new = folder / "wide.npy", folder / f"new-{rng.integers(10**9)}"
    data = (folder / f"wide.{rng.choice(kinds)}") if rng.random() < 0.6 else data
    small = [
        "--epochs",
        "2",
        "--implementation",
        str(rng.choice(["reference", "reference", "reference", "numba"])),
    ]
    layers = ["--layers", str(rng.integers(1, 5))]
    rule = ["--rule", str(rng.choice(["recipe", "plain", "adam", "newton"]))]
    made = [
        (
            [
                "train",
                data,
                *small[:2],
                *layers,
                *rule,
                *small[2:] * (rule[1] != "newton"),
                "--out",
                new,
            ],
            new,
        ),
        (["train", data, *small, *layers, "--rule", "recipe", "--out", new], new),
        (["train", "toy:rings", *small, *layers, "--checkpoint-steps", "3", "--out", new], new),
        (["train", "--resume", "--out", old], None),
        (
            ["sample", old, "-n", str(int(10 ** rng.uniform(2, 7))), "--out", f"{new}.npy"],
            Path(f"{new}.npy"),
        ),
        (
            ["sample", old, "-n", str(int(10 ** rng.uniform(2, 4))), "--out", f"{new}.csv"],
            Path(f"{new}.csv"),
        ),
        (["evaluate", old, "--scores", f"{new}.npy"], Path(f"{new}.npy")),
        (["evaluate", old, folder / "other.csv"], None),
    ]
    return made[int(rng.integers(len(made)))]


def write_kinds(folder, X):
    """Write rows in every form whose library is installed; return the endings."""
    kinds = ["csv.gz", "mat"]
    with gzip.open(folder / "wide.csv.gz", "wt") as file:
        np.savetxt(file, X, delimiter=",", fmt="%.6f")
    scipy.io.savemat(folder / "wide.mat", {"X": X}, do_compression=True)
    if importlib.util.find_spec("h5py"):
        import h5py

        kinds.append("h5")
        with h5py.File(folder / "wide.h5", "w") as file:
            file.create_dataset("X", data=X, compression="gzip")
    if importlib.util.find_spec("pyarrow"):
        import pyarrow as pa
        import pyarrow.feather
        import pyarrow.parquet

        kinds += ["parquet", "feather"]
        table = pa.table({f"x{j}": np.ascontiguousarray(x) for j, x in enumerate(X.T)})
        pa.parquet.write_table(table, folder / "wide.parquet")
        pa.feather.write_feather(table, folder / "wide.feather")
    return kinds


def whole(path):
    """Say whether what a command has written can be used."""
    if path.suffix == ".npy":
        return len(np.load(path)) > 0
    if path.suffix == ".csv":
        return len(np.loadtxt(path, delimiter=",", ndmin=2, skiprows=1)) > 0
    newest_snapshot(path / "checkpoints", read_config(path)["run"])
    return True


def kept(old, before):
    """Say what is wrong with the run that was there before."""
    try:
        rg.load(old / "model.npz")
        snapshot, notes = newest_snapshot(old / "checkpoints", read_config(old)["run"])
        return "a checkpoint is damaged" if notes or snapshot.state.t < before else None
    except (ValueError, OSError, AttributeError) as error:
        return f"the run is lost: {error}"


def run(count, seed, report=print):
    """Return how many went wrong."""
    rng, wrong, ends = np.random.default_rng(seed), 0, Counter()
    with tempfile.TemporaryDirectory() as base, contextlib.ExitStack() as stack:
        base = Path(base)
        can_mount = os.geteuid() == 0 and shutil.which("mount")
        disk = base / "disk"
        if can_mount:
            try:
                stack.enter_context(mounted(disk, "size=16m"))
            except subprocess.CalledProcessError:
                can_mount = False
        disk.mkdir(exist_ok=True)
        np.save(disk / "wide.npy", rng.laplace(size=(3000, 40)) @ rng.normal(size=(40, 40)))
        kinds = write_kinds(disk, np.load(disk / "wide.npy")[:1000])
        np.savetxt(disk / "other.csv", rng.normal(size=(500, 2)), delimiter=",")
        old, filler = disk / "old", disk / "filler"
        status, err = called(
            "train", "toy:rings", "--epochs", "2", "--implementation", "reference", "--out", old
        )
        assert status == 0, err
        before = newest_snapshot(old / "checkpoints", read_config(old)["run"])[0].state.t
        for i in range(count):
            arguments, new = commands(disk, old, rng, kinds)
            full, room = bool(can_mount and rng.random() < 0.4), 0
            if full:
                left = int(10 ** rng.uniform(3, 6.3))
                filler.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - left)))
            else:
                room = int(10 ** rng.uniform(0.3, 2.8))
            status, err = called(*arguments, room=room)
            filler.unlink(missing_ok=True)
            lines = [
                line
                for line in err.splitlines()
                if ": note: " not in line and "compiling kernels" not in line
            ]
            faults = [] if status in (0, 2) else [f"status {status}"]
            faults += ["no single line of error"] if len(lines) != (status == 2) else []
            faults += [x for x in [kept(old, before)] if x]
            if (
                new is not None
                and new.exists()
                and not (whole(new) and (status == 0 or new.is_dir()))
            ):
                faults.append("half a file")
            if new is not None and status == 0 and not new.exists():
                faults.append("nothing written")
            if new is not None and new.exists():
                shutil.rmtree(new) if new.is_dir() else new.unlink()
            faults += ["a leftover"] if list(disk.rglob("*.partial")) else []
            ends["disk" if full else "memory", status] += 1
            if faults:
                wrong += 1
                report(
                    f"command {i}, {'full disk' if full else f'{room} MB'}: {arguments}: {faults}: {err[-600:]}"
                )
        status, err = called("train", "--resume", "--out", old)
        if status != 0 or called("evaluate", old)[0] != 0:
            wrong += 1
            report(f"the run can't go on: {err}")
    listed = ", ".join(f"{what} {n} x exit {status}" for (what, status), n in sorted(ends.items()))
    skipped = "" if can_mount else "; no disk was filled, mounting needs root"
    report(f"{count} commands under pressure: {wrong} otherwise than allowed ({listed}){skipped}")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.exit(1 if run(options.commands, options.seed) else 0)
