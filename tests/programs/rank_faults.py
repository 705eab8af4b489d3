"""Let one of 2 to 4 ranks fail at every point of a fit, in every way: the others end, and say why.

    python -m tests.programs.rank_faults --runs 200 --seed 0

A run is `mpiexec -n 2..4` of this file as a child, which fits with a checkpoint every second step.
At a point of the table in docs/distributed.md one rank raises an error, has no memory, exits, leaves
without a word, is killed, is stopped or stalls. The job has to end within 30 s, with a status that is not 0 and a line
that names rank and cause, or with one error on all ranks. Its newest checkpoint has to lead to the
layers of an undisturbed fit, to 1e-12. Shards: shared and cut unevenly, or of one's own, with
few rows on one rank. Status 1 if anything was otherwise.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

import relgrad_np as rg
from relgrad_np.distributed.ranks import Ranks
from relgrad_np.runs.checkpoint import CheckpointWriter, newest_snapshot
from tests.programs.kill_ranks import ENVIRONMENT, LIMIT, ROOT, mpiexec

POINTS = (
    *("arguments", "comparison", "start", "survey", "transform", "step", "propose", "message"),
    *("hashes", "validation", "callback", "keeper", "end"),
)
KINDS = ("error", "memory", "exit", "leave", "kill", "stall", "stop")
WATCHDOG = 3.0  # seconds, in the children
pause = time.sleep  # which a test replaces
D, ROWS, BATCH, EPOCHS = 3, 50, 13, 3


class Fault(NamedTuple):
    """What happens at the `when`-th time that this rank comes to this point."""

    point: str
    kind: str
    rank: int
    when: int = 0
    seconds: float = 1000.0


class Hook:
    """Calls of user code on one rank, of which one goes wrong."""

    def __init__(self, fault, rank):
        self.fault, self.mine, self.count = fault, fault.rank == rank, 0

    def reach(self, point):
        if not self.mine or point != self.fault.point:
            return
        self.count += 1
        if self.count == self.fault.when + 1:
            self.happen(self.fault.kind)

    def happen(self, kind):
        if kind == "error":
            raise RuntimeError("no luck")
        if kind == "memory":
            raise MemoryError
        if kind == "exit":
            raise SystemExit(3)
        if kind == "shared":
            raise rg.FitDivergedError("no luck", None)
        if kind == "leave":
            os._exit(3)
        if kind in ("kill", "stop"):
            os.kill(os.getpid(), signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
        if kind == "stall":
            pause(self.fault.seconds)


@dataclass(frozen=True)
class HookedRule(rg.Plain):
    """The plain rule, which comes to the points `comparison` and `propose`."""

    hook: object = None

    def propose(self, state, tape, deltas):
        self.hook.reach("propose")
        return super().propose(state, tape, deltas)

    def __repr__(self):
        self.hook.reach("comparison")
        return "HookedRule"


class Weights:
    """Ones, made when they are asked for."""

    def __init__(self, hook, n):
        self.hook, self.n = hook, n

    def __array__(self, dtype=None, copy=None):
        self.hook.reach("arguments")
        return np.ones(self.n)


class HookedKeeper:
    """A keeper that comes to the point `keeper`."""

    def __init__(self, hook, own):
        self.hook, self.own, self.stop = hook, own, None

    def due(self, t, end):
        return t % 2 == 0

    def write(self, snapshot):
        self.hook.reach("keeper")
        if self.own is not None:
            self.own.write(snapshot)


def shard(X, rank, n):
    """Uneven rows of one's own: each rank has half of what is left, the last one few."""
    begin = 0
    for r in range(n):
        end = ROWS if r == n - 1 else begin + (ROWS - begin) * 3 // 5
        if r == rank:
            return X[begin:end]
        begin = end
    return X


def faulty_fit(team, fault, keeper, resume=None, **options):
    """Fit a little, and let one rank fail; `team` is `Ranks`, or None for one process."""
    rank, n = (team.rank, team.n) if team is not None else (0, 1)
    fault = fault._replace(rank=0) if fault.point == "keeper" else fault
    hook, ended = Hook(fault, rank), []
    rng = np.random.default_rng(0)
    X = rng.laplace(size=(ROWS, D)) @ rng.uniform(-1, 1, (D, D)).T
    layers, act, density = (
        rg.init_layers(rng, D, 2),
        rg.activation("smooth_leaky_relu"),
        rg.density("sech"),
    )
    own = team is not None and team.shards == "own"
    rows = shard(X, rank, n) if own else X

    # where a function of the model is called says which point it is
    started, epoch_done = [], []

    def log_prob(z):
        if not started:
            started.append(True)
            hook.reach("start")
        elif epoch_done:
            epoch_done.clear()
            hook.reach("validation")
        return density.log_prob(z)

    def score(z):
        hook.reach("end" if ended else "survey" if fault.point == "survey" else "step")
        return density.score(z)

    def transform(X, rng):
        hook.reach("transform")
        return X

    def callback(epoch, state):
        hook.reach("callback")
        if epoch.epoch == EPOCHS:
            ended.append(True)

    factor = 1e-2 if fault.point == "survey" else 1e-3
    rule = rg.Recipe(factor) if fault.point == "survey" else HookedRule(factor, hook=hook)
    if team is not None:
        wrap(team, hook, epoch_done)
    return rg.fit(
        layers, rows, act, replace(density, log_prob=log_prob, score=score),
        **{
            "rng": rng, "rule": rule, "epochs": EPOCHS, "batch_size": BATCH, "X_val": X[:7],
            "callbacks": (callback,), "keeper": HookedKeeper(hook, keeper), "resume": resume,
            "comm": team, "undo": None, "implementation": "reference",
            "sample_weight": None if own else Weights(hook, len(rows)),
            "transform": transform if fault.point == "transform" else None,
        } | options,
    )  # fmt: skip


def wrap(team, hook, epoch_done):
    """Let this rank's messages and comparisons come to their points."""
    gather, same, step = team.messages.gather, team.agreement.require_same_state, team.step
    steps = []

    def gathered(x, counts):
        if steps:
            hook.reach("message")
        return gather(x, counts)

    def compared(state):
        if steps:
            hook.reach("hashes")
        same(state)

    def stepped(*args, **options):
        steps.append(True)
        found = step(*args, **options)
        if len(steps) % -(-ROWS // BATCH) == 0:
            epoch_done.append(True)
        return found

    team.messages.gather, team.agreement.require_same_state = gathered, compared
    team.step = stepped


def child(text):
    """Be one rank of a job."""
    from mpi4py import MPI

    job = json.loads(text)
    comm, folder = MPI.COMM_WORLD, Path(job["folder"])
    # MPICH's mpiexec loses lines of a job that ends, and says by SIGUSR1 that a rank has died
    os.dup2(os.open(folder / f"{comm.rank}.err", os.O_CREAT | os.O_TRUNC | os.O_WRONLY), 2)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    team = Ranks(
        comm, shards=job["shards"], exchange=job["exchange"], check_every=3, watchdog=WATCHDOG
    )
    fault = Fault(**job["fault"])
    resume = newest_snapshot(folder, "run")[0] if job["resume"] else None
    comm.Barrier()
    keeper = CheckpointWriter(folder, "run", 3600) if comm.rank == 0 else None
    if fault.point == "before":
        Hook(fault, comm.rank).reach("before")
    result = faulty_fit(team, fault, keeper, resume)
    if comm.rank == 0:
        np.savez(folder / "result", *[x for layer in result.layers for x in layer])


def launched(job, n, folder):
    """Run a job; return its status, None if it hangs, what it printed, and its seconds."""
    folder.mkdir(exist_ok=True)
    # MPICH's mpiexec kills all ranks when one has died, and does not say which; the others do
    options = ["-disable-auto-cleanup"] if job["fault"]["kind"] in ("kill", "leave") else []
    text, begun = json.dumps(job | {"folder": str(folder)}), time.monotonic()
    with tempfile.TemporaryFile("w+") as error:
        process = subprocess.Popen(
            [*mpiexec(), *options, "-n", str(n), sys.executable, "-m", "tests.programs.rank_faults",
             "--child", text],
            cwd=ROOT, env=os.environ | ENVIRONMENT, stdout=error, stderr=error,
            start_new_session=True,
        )  # fmt: skip
        try:
            status = process.wait(timeout=LIMIT)
            while there := ranks_in(folder):  # mpiexec may end before they do
                if time.monotonic() - begun > LIMIT:
                    raise subprocess.TimeoutExpired("mpiexec", LIMIT)
                time.sleep(0.02)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            for pid in there if process.poll() is not None else ():
                os.kill(pid, signal.SIGKILL)
            process.wait()
            status = None
        error.seek(0)
        said = error.read() + "".join(path.read_text() for path in folder.glob("*.err"))
        return status, said, time.monotonic() - begun


def ranks_in(folder):
    """Return the pids of the ranks of a job that are still there, by the folder they were told."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] if words else "Z"
        except OSError:
            continue
        if b"--child" in words and f'"{folder}"'.encode() in words and state != "Z":
            found.append(int(entry.name))
    return found


def named(said, fault):
    """Say whether what a job printed names the rank, and the cause."""
    rank = fault.rank
    cause = {"error": "no luck", "memory": "MemoryError", "exit": "SystemExit"}.get(fault.kind)
    if fault.point == "before" or cause is None:
        return f"rank {rank} did not come" in said
    return f"rank {rank}: {cause}" in said or f"rank {rank}: RuntimeError: {cause}" in said


def layers_of(folder):
    with np.load(folder / "result.npz") as file:
        return [file[name] for name in file.files]


def run(count, seed, report=print):
    """Return how many runs went wrong."""
    rng, wrong, slowest = np.random.default_rng(seed), [], {}
    counts, largest, resumed, unspoken = Counter(), 0.0, 0, 0
    none = Fault("none", "none", 0)._asdict()
    plan = [(p, k) for p in (*POINTS, "before") for k in KINDS]
    with tempfile.TemporaryDirectory() as base:
        base, truths = Path(base), {}
        for i in range(count):
            point, kind = plan[i % len(plan)]
            n = int(rng.integers(2, 5))
            own = bool(rng.random() < 0.25) and point not in ("arguments", "survey")
            rank = 0 if point == "keeper" else int(rng.integers(n))
            few = {"start": 1, "survey": 1, "arguments": 1, "comparison": 1, "before": 1, "end": 1}
            most = few.get(point, {"callback": 3, "validation": 3, "hashes": 4}.get(point, 6))
            fault = Fault(point, kind, rank, int(rng.integers(most)))
            exchange = "factors" if point == "survey" else str(rng.choice(["auto", "factors"]))
            job = {
                "shards": "own" if own else "shared", "exchange": exchange,
                "fault": fault._asdict(), "resume": False,
            }  # fmt: skip
            key = job["shards"], n if own else 1, point in ("survey", "transform") and point
            if key not in truths:
                quiet = job | {"fault": none | {"point": point if key[2] else "none", "rank": -1}}
                status, said, _ = launched(quiet, n, base / f"truth-{len(truths)}")
                assert status == 0, said[-2000:]
                truths[key] = layers_of(base / f"truth-{len(truths)}")
            folder = base / f"run-{i}"
            status, said, took = launched(job, n, folder)
            slowest[kind] = max(took, slowest.get(kind, 0.0))
            counts[kind] += 1
            faults = [] if status is not None else ["hangs"]
            faults += ["ended with 0"] if status == 0 else []
            # at times mpiexec kills all ranks at once all the same, before any can speak
            dumb = kind == "kill" and "relgrad-np" not in said and "Killed (signal 9)" in said
            unspoken += dumb
            if not (status is None or dumb or named(said, fault)):
                faults.append("rank and cause not named")
            there = sorted(folder.glob("step-*.npz"))
            snapshot, notes = newest_snapshot(folder, "run")
            faults += (
                ["checkpoint damaged"] if notes or bool(there) != (snapshot is not None) else []
            )
            again = job | {"resume": True, "fault": quiet_fault(point)}
            status, text, _ = launched(again, n if own else int(rng.integers(2, 5)), folder)
            if status != 0:
                faults.append(f"resume failed: {text[-300:]}")
            else:
                pairs = zip(layers_of(folder), truths[key], strict=True)
                off = max(float(np.max(np.abs(a - b))) for a, b in pairs)
                largest, resumed = max(largest, off), resumed + bool(there)
                faults += [f"off by {off:.1e}"] if off > 1e-12 else []
            if faults:
                wrong.append(i)
                report(f"run {i}, {n} ranks, {job}: {'; '.join(faults)}: {said[:600]!r}")
    said = ", ".join(f"{kind} {n} ({slowest[kind]:.1f} s)" for kind, n in counts.items())
    report(
        f"{count - len(wrong)} of {count} jobs ended within {LIMIT:.0f} s, named rank and cause, and "
        f"could be resumed ({resumed} from a checkpoint, the others had none yet) to the same "
        f"layers, within {largest:.1e}; in {unspoken} mpiexec ended all ranks itself and named the "
        f"signal, but no rank; watchdog {WATCHDOG:.0f} s; faults and slowest end: {said}"
    )
    return len(wrong)


def quiet_fault(point):
    kept = point if point in ("survey", "transform") else "none"
    return Fault(kept, "none", -1)._asdict()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child)
        sys.exit(0)
    if isinstance(mpiexec(), str):
        print(f"skipped, no MPI: {mpiexec()}")
        sys.exit(0)
    sys.exit(1 if run(options.runs, options.seed) else 0)
