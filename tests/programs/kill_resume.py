"""Kill training runs with SIGKILL at random moments, resume them, compare bitwise.

    python tests/programs/kill_resume.py --runs 100 --seed 0

Each run is a child process doing `relgrad-np train FILE --out RUN --checkpoint-steps 7`, so that
the kernels take up to 7 steps in a call. It is killed at a random moment, also in a call and while
a checkpoint is being written, resumed, killed again with probability 1/2, and resumed to its end.
The uninterrupted run takes one step at a time. Its last checkpoint and its model must equal those of an
uninterrupted run bit for bit. One BLAS thread: with more, OpenBLAS may split sums differently from
one process to the next. Ends with a line of counts; status 1 if any run differs.
"""

import argparse
import contextlib
import io
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

from relgrad_np.cli.main import main
from relgrad_np.fitting import advance
from relgrad_np.fitting.storage import store
from relgrad_np.runs.checkpoint import read_snapshot

RULES = ("plain", "recipe", "adam")
DTYPES = ("float32", "float64")


def arguments(data, folder, rule, dtype, resume=False):
    start = ["train", "--resume"] if resume else ["train", str(data)]
    options = ["--rule", rule, "--dtype", dtype, "--layers", "3", "--epochs", "3"]
    options += ["--batch-size", "20", "--seed", "4", "--density", "sech", "--average", "0.5"]
    options += ["--implementation", "numba"]  # by default a child killed early may choose anew
    return [*start, *options, "--out", str(folder), "--checkpoint-steps", "7", "--json"]


def child(args, singly=False):
    """Run the command line in a forked process, one step in each call or many; returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 99
    if singly:
        advance.several = lambda step: None
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            status = main(args)
    finally:
        os._exit(status)


def wait(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def contents(folder):
    """Every array of the last checkpoint and of the model, and the counters."""
    last = sorted((folder / "checkpoints").glob("step-*.npz"))[-1]
    header, arrays = store.read(last)
    snapshot = read_snapshot(last, header["run"])
    names = ("epoch", "batch", "rng_now", "best_epoch", "best")
    header = {name: getattr(snapshot, name) for name in names} | {"t": snapshot.state.t}
    model_header, model = store.read(folder / "model.npz")
    model_header["config"].pop("data", None)
    return header, {f"last {k}": v for k, v in arrays.items()} | model


def equal(one, two):
    (header1, arrays1), (header2, arrays2) = one, two
    return (
        header1 == header2
        and arrays1.keys() == arrays2.keys()
        and all(
            arrays1[k].dtype == arrays2[k].dtype and arrays1[k].tobytes() == arrays2[k].tobytes()
            for k in arrays1
        )
    )


def run(count, seed, report=print):
    """Return the number of runs whose end differs."""
    rng = np.random.default_rng(seed)
    wrong = in_write = kills = before_first = 0
    with tempfile.TemporaryDirectory() as base:
        base = Path(base)
        data = base / "data.npy"
        np.save(data, rng.laplace(size=(1500, 12)) @ rng.uniform(-1, 1, (12, 12)).T)
        truth, seconds = {}, {}
        for rule in RULES:
            for dtype in DTYPES:
                folder = base / f"whole-{rule}-{dtype}"
                started = time.perf_counter()
                assert wait(child(arguments(data, folder, rule, dtype), singly=True)) == 0
                seconds[rule, dtype] = time.perf_counter() - started
                truth[rule, dtype] = contents(folder)
        for i in range(count):
            rule, dtype = RULES[i % 3], DTYPES[i // 3 % 2]
            folder = base / f"run-{i}"
            resume = False
            for kill in range(3):
                pid = child(arguments(data, folder, rule, dtype, resume))
                if kill == 2 or (kill == 1 and rng.random() < 0.5):
                    status = wait(pid)
                    assert status == 0, f"run {i} ended with status {status}"
                    break
                time.sleep(rng.uniform(0.02, 0.9) * seconds[rule, dtype])
                os.kill(pid, signal.SIGKILL)
                killed = wait(pid) == -signal.SIGKILL
                kills += killed
                checkpoints = folder / "checkpoints"
                in_write += killed and any(checkpoints.glob(".*.partial"))
                before_first += killed and not any(checkpoints.glob("step-*"))
                resume = (folder / "config.json").exists()
            if not equal(contents(folder), truth[rule, dtype]):
                wrong += 1
                report(f"run {i}, {rule}, {dtype}: DIFFERS")
    report(
        f"{count - wrong} of {count} runs bitwise equal after {kills} kills, {in_write} of them while "
        f"a checkpoint was being written, {before_first} before the first one"
    )
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sys.exit(1 if run(options.runs, options.seed) else 0)
