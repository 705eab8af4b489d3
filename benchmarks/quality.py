"""Time to quality: CPU seconds, start-up included, until the test rows have a log-likelihood.

    python -m benchmarks.quality [--data digits toy:moons mnist power bsds300] [--only ours]
                                 [--limit 600] [--seeds 0] [--choice 40]

Ours with the package's own settings, zuko's NSF, nflows' MAF, and the published recipe as compiled
JAX; one process and one thread at a time, pinned to one processor. Each peer's learning rate (and
the published recipe's depth) is the best of three on validation rows after `--choice` CPU seconds,
on nobody's clock, and is kept. The lines of results/quality.jsonl are replaced by those of what was
run again: one contender on one data set with one seed. Needs `pip install -e ".[flows]"`.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

from . import quality_report
from .quality_report import MARKS

RESULTS = Path(__file__).parent / "results" / "quality.jsonl"
NEEDS = {"ours": "numpy", "zuko-nsf": "zuko", "nflows-maf": "nflows", "published": "jax"}
PACKAGES = ("relgrad-np", "numpy", "scipy", "numba", "jax", "torch", "zuko", "nflows")
RATES = tuple({"rate": rate} for rate in (3e-4, 1e-3, 3e-3))
CHOICES: dict[str, Sequence[dict[str, Any]]] = {
    "ours": ({},),
    "zuko-nsf": RATES,
    "nflows-maf": RATES,
    "published": (
        {"layers": 2, "rate": 1e-3},
        {"layers": 2, "rate": 1e-4},
        {"layers": 5, "rate": 1e-3},
    ),
}
BELOW = 0.05  # nats below what is possible: the mark of a toy

Line = dict[str, Any]


def possible(name: str) -> float:
    """Return the mean log-likelihood of a toy under itself, in the plane it is drawn in, nats."""
    from validation.toys import entropy, limit_key

    return -float(entropy(**limit_key(name))["entropy"])


def mark_of(name: str, seed: int) -> float | None:
    """Return the mark of a data set, nats in model space; of a toy `BELOW` what is possible."""
    if not name.startswith("toy:"):
        return MARKS.get(name)
    from relgrad_np.datasets import load

    return possible(name) - float(load(name, seed).log_det["test"].mean()) - BELOW


def worker(asked: Line) -> list[Line]:
    """Run a contender in a process of its own, and return its records."""
    variables = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    asked = asked | {"began": time.time()}
    command = [sys.executable, "-m", "benchmarks.quality_worker", json.dumps(asked)]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        command, cwd=root, env=os.environ | variables, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{asked['contender']} on {asked['data']} ended with {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def chosen(asked: Line, seconds: float, kept: Iterable[Line]) -> tuple[dict[str, Any], list[Line]]:
    """Return the options of a contender: those kept for these data, or the best of a short run."""
    choices = CHOICES[asked["contender"]]
    if len(choices) == 1:
        return choices[0], []
    for line in kept:
        if all(line.get(k) == asked[k] for k in ("data", "contender")) and line.get("tried"):
            return line["options"], line["tried"]
    tried = []
    for options in choices:
        lines = worker(asked | {"options": options, "limit": seconds, "mark": None})
        points = [x for x in lines if x["kind"] == "point"]
        finite = bool(points) and "validation" in points[-1]
        tried.append(options | {"validation": points[-1]["validation"] if finite else None})
    good = [line for line in tried if line["validation"] is not None] or tried
    best = max(good, key=lambda line: line["validation"] or 0.0)
    return {k: v for k, v in best.items() if k != "validation"}, tried


def facts() -> Line:
    """Return what ran, on what, today."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "versions": versions,
    }


def read(path: Path) -> list[Line]:
    """Return the lines of a file, none if there is no file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def keep(path: Path, lines: list[Line]) -> None:
    """Put these lines, of one run, in the place of those of the same run before."""
    key = ("data", "contender", "seed")
    own = [lines[0][k] for k in key]
    others = [line for line in read(path) if [line[k] for k in key] != own]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    beside.write_text("".join(json.dumps(line) + "\n" for line in [*others, *lines]))
    beside.replace(path)


def enough(lines: list[Line], key: Line, limit: float, times: float) -> float:
    """Return the CPU seconds after which a run can't matter: so many times the fastest one's.

    The fastest of the other contenders that reached the mark on these data with this seed.
    """
    others = [x for x in lines if (x["data"], x["seed"]) == (key["data"], key["seed"])]
    marks = {x["contender"]: x["mark"] for x in others if x["kind"] == "run"}
    marks.pop(key["contender"], None)
    whens = [
        quality_report.reached([x for x in others if x["contender"] == name], mark)
        for name, mark in marks.items()
        if mark is not None
    ]
    return min([limit, *(times * when for when in whens)])


def main(arguments: list[str] | None = None) -> int:
    """Choose, run, keep, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description=__doc__)
    parser.add_argument("--data", nargs="+", default=list(MARKS))
    parser.add_argument("--only", nargs="+", default=list(NEEDS), choices=list(NEEDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--limit", type=float, default=600.0, help="CPU seconds of each run")
    parser.add_argument("--beyond", type=float, default=1.5, help="run so many times to the mark")
    parser.add_argument(
        "--enough", type=float, default=10.0, help="end after so many times the fastest one's time"
    )
    parser.add_argument("--choice", type=float, default=40.0, help="CPU seconds to choose a rate")
    parser.add_argument("--n", type=int, help="training rows, where a set can be cut")
    parser.add_argument("--mark", type=float, help="of all data sets; default: each its own")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    if hasattr(os, "sched_setaffinity"):  # XLA asks for no variable
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for seed in options.seeds:
        for data in options.data:
            mark = mark_of(data, seed) if options.mark is None else options.mark
            for contender in options.only:
                if util.find_spec(NEEDS[contender]) is None:
                    print(f"{contender}: {NEEDS[contender]} is not installed", file=sys.stderr)
                    continue
                key = {"data": data, "contender": contender, "seed": seed}
                asked = key | {"beyond": options.beyond, "n": options.n}
                best, tried = chosen(asked, options.choice, read(options.out))
                limit = enough(read(options.out), key, options.limit, options.enough)
                now = {"limit": limit, "mark": mark}
                lines = worker(asked | now | {"options": best})
                head = {"kind": "run", **facts(), **now, "options": best, "tried": tried}
                keep(options.out, [key | line for line in [head, *lines]])
                print(quality_report.said(key, mark, lines), file=sys.stderr, flush=True)
    print(quality_report.report(options.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
