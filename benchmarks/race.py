"""Likelihood against time, start-up included: the published recipe compiled, and this package.

    python -m benchmarks.race --data mnist --budget 300 --out benchmarks/results/race-mnist.jsonl

Every contender is a process of its own. They run one after another, a slice at a time (a tenth of
an epoch in the first epoch, then an epoch), so that what else the machine does hits all alike; a
slice waits for a quiet machine, and notes how many CPUs others used meanwhile (`others`). Between
slices this process judges the layers: mean log-likelihood of all test rows (the marks are of
published test results; nothing is chosen by them), float64,
log|det W| by slogdet.

On a machine that others use too, run it on one CPU (`taskset -c 0 python -m ...`): BLAS threads
that wait for each other lose far more to a busy machine than their share, and the CPU seconds of a
single thread are what the clock would show on a quiet one.
"""

import argparse
import importlib.metadata
import json
import math
import multiprocessing
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.datasets import gaussian_log_likelihood, load
from relgrad_np.fitting.storage.model import in_float64

from .race_report import PEER, report
from .race_runners import serve

CONTENDERS = (
    *("adam-published", "adam-published@1e-4", "adam-gaussianize"),
    *("plain", "exponential", "recipe"),
)
LIBRARIES = ("numpy", "scipy", "jax", "jaxlib")


def header(args: argparse.Namespace, data: Any, gaussian: float) -> dict[str, Any]:
    """Return the first line: what ran, on what."""
    cpu = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        )
        if Path("/proc/cpuinfo").exists()
        else iter(()),
        platform.processor(),
    )
    return {
        "kind": "run",
        "data": args.data,
        "rows": len(data.train),
        "test_rows": len(data.test),
        "D": data.train.shape[1],
        "gaussian": gaussian,
        "budget": args.budget,
        "peer_budget": args.peer_budget or args.budget,
        "machine": f"{cpu}, {platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "threads": threads(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES}
        | {"relgrad_np": rg.__version__},
        "date": time.strftime("%Y-%m-%d"),
    }


def threads() -> int:
    """Return how many CPUs this process, and so each contender and its BLAS, may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def busy() -> float:
    """Return the CPU seconds that this machine has worked since it started; NaN off Linux."""
    path = Path("/proc/stat")
    if not path.exists():
        return math.nan
    user, nice, system, _, _, *rest = (int(x) for x in path.read_text().split("\n")[0].split()[1:])
    return (user + nice + system + sum(rest[:2])) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(limit: float) -> None:
    """Wait, up to `limit` seconds, until less than a fifth of a CPU is at work."""
    until = time.perf_counter() + limit
    while time.perf_counter() < until:
        before, began = busy(), time.perf_counter()
        time.sleep(0.3)
        if not busy() - before > 0.2 * (time.perf_counter() - began):
            return


class Lane:
    """One contender of one seed: its process, and the line it is at."""

    def __init__(self, name: str, data: str, seed: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.name, self.seed, self.slices, self.cpu_seconds = name, seed, 0, 0.0
        self.process = context.Process(target=serve, args=(name, data, seed, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.settings = self.pipe.recv()  # imports are done, and its data are there

    def turn(self) -> Any:
        """Let it run for a slice; (epoch, seconds, CPU seconds, layers), or why it ended."""
        self.pipe.send("go")
        self.slices += 1
        return self.pipe.recv()

    def judge(self, layers: Any, X: Any) -> float:
        """Return the mean log-likelihood of X (N, D), in nats, float64."""
        params = {} if self.settings["alpha"] is None else {"alpha": self.settings["alpha"]}
        act = rg.activation(self.settings["activation"], **params)
        own = in_float64(tuple(rg.Layer(W, b) for W, b in layers))
        with np.errstate(all="ignore"):  # a contender may diverge
            return float(rg.log_likelihood(own, X, act, rg.density(self.settings["density"])).mean)

    def close(self) -> None:
        """End the process."""
        if self.process.is_alive():
            self.pipe.send("stop")
        self.process.join()


def race(args: argparse.Namespace, data: Any, write: Any) -> None:
    """Race all contenders for every seed, each until its budget or its epochs are used up."""
    X_test = np.asarray(data.test, dtype=np.float64)
    for seed in args.seeds:
        lanes = [Lane(name, args.data, seed) for name in args.contenders]
        for lane in lanes:
            contender = {"contender": lane.name, "seed": seed, "settings": lane.settings}
            write({"kind": "contender"} | contender)
        while lanes:
            lane = min(lanes, key=lambda lane: lane.slices)  # round robin
            wait_for_quiet(args.patience)
            before, began = busy(), time.perf_counter()
            point, ended = lane.turn(), None
            worked, took = busy() - before, time.perf_counter() - began
            if isinstance(point, str):
                ended = point
            else:
                epoch, seconds, cpu_seconds, layers = point
                value = lane.judge(layers, X_test)
                write(
                    {
                        "kind": "point",
                        "contender": lane.name,
                        "seed": seed,
                        "epoch": round(epoch, 4),
                        "seconds": round(seconds, 4),
                        "cpu_seconds": round(cpu_seconds, 4),
                        "others": round((worked - (cpu_seconds - lane.cpu_seconds)) / took, 2),
                        "test": value if math.isfinite(value) else None,
                    }
                )
                lane.cpu_seconds = cpu_seconds
                ended = None if math.isfinite(value) else "not finite"
                limit = (
                    (args.peer_budget or args.budget) if lane.name.startswith(PEER) else args.budget
                )
                ended = "budget" if seconds >= limit else ended
            if ended is not None:
                write({"kind": "end", "contender": lane.name, "seed": seed, "reason": ended})
                lane.close()
                lanes.remove(lane)


def main(argv: list[str] | None = None) -> None:
    """Race, write a line for each report, then the table and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race", description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--budget", type=float, default=300.0, help="seconds for each contender")
    parser.add_argument("--peer-budget", type=float, help=f"seconds for {PEER}")
    parser.add_argument("--contenders", nargs="+", default=list(CONTENDERS))
    parser.add_argument(
        "--patience", type=float, default=10.0, help="seconds a slice waits for a quiet machine"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    data = load(args.data)
    gaussian = float(gaussian_log_likelihood(data.train, data.test).mean())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with args.out.open("w") as out:

        def write(record: dict[str, Any]) -> None:
            print(json.dumps(record), file=out, flush=True)
            if record["kind"] == "point":
                value = record["test"]
                print(
                    f"{record['contender']:22s} seed {record['seed']}  epoch {record['epoch']:6.2f}"
                    f"  {record['seconds']:8.1f} s  {math.nan if value is None else value:10.1f}",
                    file=sys.stderr,
                    flush=True,
                )

        write(header(args, data, gaussian))
        race(args, data, write)
    print(report(args.out))


if __name__ == "__main__":
    main()
