"""Kill one of four ranks with SIGKILL at a random moment, resume with 2 or 4 ranks, compare.

    python tests/programs/kill_ranks.py --runs 20 --seed 0

Each run is `mpiexec -n 4 relgrad-np train FILE --distributed --checkpoint-steps 5`; one of its ranks
is killed. The job has to end within 30 seconds with a status that is not 0; resumed with 2 or 4
ranks it has to end with the layers of an uninterrupted run, to 1e-12. Status 1 if any does not.
"""

import argparse
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from relgrad_np.fitting.storage import store
from relgrad_np.runs.checkpoint import read_snapshot

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 30.0  # seconds in which a job has to end
# larger steps make a fit chaotic, and the rounding of another number of ranks would grow
RULES = {"plain": 1e-3, "exponential": 1e-3, "scalar": 1e-3, "adam": 1e-3, "recipe": 0.1}
ENVIRONMENT = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "OMPI_MCA_rmaps_base_oversubscribe": "1",  # Open MPI: more ranks than processors, as root
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}


def mpiexec():
    """Return the command, or why there is none."""
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed (pip install mpi4py mpich)"
    folders = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    found = shutil.which("mpiexec", path=folders)
    return [found] if found else "mpiexec is not on the path"


def command(n, data, folder, rule="plain", resume=False, epochs=6, steps=5):
    start = ["train", "--resume"] if resume else ["train", str(data)]
    options = [] if resume else ["--rule", rule, "--learning-rate", str(RULES[rule])]
    options += [] if resume else ["--layers", "2", "--epochs", str(epochs), "--init", "whiten"]
    options += [] if resume else ["--batch-size", "48", "--seed", "4", "--density", "sech"]
    program = [sys.executable, "-m", "relgrad_np", *start, *options]
    program += ["--out", str(folder), "--distributed", "--checkpoint-steps", str(steps), "--json"]
    return [*mpiexec(), "-n", str(n), *program]


def ranks_of(pid):
    """Return the pids of the ranks of a job, in order: the descendants that know their rank."""
    children, found = {}, {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry.name))
        for variable in variables:
            if variable.startswith((b"PMI_RANK=", b"OMPI_COMM_WORLD_RANK=")):
                found[int(entry.name)] = int(variable.split(b"=")[1])
    below, todo = [], [pid]
    while todo:
        below += (new := children.get(todo.pop(), []))
        todo += new
    return sorted((p for p in below if p in found), key=found.__getitem__)


def write_data(folder):
    rng = np.random.default_rng(0)
    data = folder / "data.npy"
    np.save(data, rng.laplace(size=(1500, 12)) @ rng.uniform(-1, 1, (12, 12)).T)
    return data


def ended(job):
    """Wait for a job to end; return its status, and the seconds it took from now."""
    started = time.monotonic()
    job.wait(timeout=LIMIT)
    return job.returncode, time.monotonic() - started


def launch(n, data, folder, *args, **options):
    """Start a job; its stderr goes to a file beside its run folder."""
    with error_file(folder).open("ab") as error:
        return subprocess.Popen(
            command(n, data, folder, *args, **options),
            cwd=ROOT, env=os.environ | ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=error,
            start_new_session=True,
        )  # fmt: skip


def error_file(folder):
    return folder.with_name(f"{folder.name}.err")


def layers_of(folder):
    """Return the arrays of the layers at the end, and of the best ones."""
    last = sorted((folder / "checkpoints").glob("step-*.npz"))[-1]
    header, arrays = store.read(last)
    names = ("snapshot.state.layers.", "snapshot.best_layers.")
    kept = {key: x for key, x in arrays.items() if key.startswith(names)}
    return read_snapshot(last, header["run"]).state.t, kept


def run(count, seed, report=print):
    """Return how many runs went wrong."""
    rng = np.random.default_rng(seed)
    wrong, slowest, largest, early = 0, 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as base:
        base = Path(base)
        data = write_data(base)
        truth, seconds = {}, {}
        for rule in list(RULES)[:count]:
            started = time.monotonic()
            job = launch(4, data, base / rule, rule)
            assert job.wait(timeout=300) == 0, error_file(base / rule).read_text()
            seconds[rule], truth[rule] = time.monotonic() - started, layers_of(base / rule)
        for i in range(count):
            rule, folder = list(RULES)[i % len(RULES)], base / f"run-{i}"
            job = launch(4, data, folder, rule)
            while not (folder / "history.jsonl").exists() and job.poll() is None:
                time.sleep(0.01)
            time.sleep(rng.uniform(0.0, 0.6) * seconds[rule])
            pids, victim = ranks_of(job.pid), int(rng.integers(4))
            if len(pids) == 4 and job.poll() is None:
                os.kill(pids[victim], signal.SIGKILL)
            try:
                status, took = ended(job)
            except subprocess.TimeoutExpired:
                os.killpg(job.pid, signal.SIGKILL)
                status, took = 0, LIMIT
            if status == 0 and (folder / "report.json").exists():
                early += 1  # it had ended before
            elif status == 0:
                wrong += 1
                report(f"run {i}, {rule}: rank {victim} killed, and the job ended with status 0")
                continue
            slowest, ranks = max(slowest, took), int(rng.choice([2, 4]))
            again = launch(ranks, data, folder, resume=True)
            if again.wait(timeout=300) != 0:
                wrong += 1
                report(f"run {i}, {rule}: resume failed: {error_file(folder).read_text()[-500:]}")
                continue
            (t, one), (t_0, two) = layers_of(folder), truth[rule]
            off = max(float(np.max(np.abs(one[key] - two[key]))) for key in two)
            largest = max(largest, off)
            if t != t_0 or off > 1e-12:
                wrong += 1
                report(f"run {i}, {rule}, resumed with {ranks} ranks: off by {off:.2g}")
    report(
        f"{count - wrong} of {count} jobs ended with an error within {slowest:.1f} s of a rank's "
        f"death and came to the same layers with 2 or 4 ranks, within {largest:.1e}; "
        f"{early} had ended before the kill"
    )
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if isinstance(mpiexec(), str):
        print(f"skipped, no MPI: {mpiexec()}")
        sys.exit(0)
    sys.exit(1 if run(options.runs, options.seed) else 0)
