"""Gate, then time: every contender first proves its step, then they take turns.

    python -m benchmarks [--quick] [--threads 1] [--cells table] [--out results/bench.jsonl]

A process for each library, one working at a time; in each round every contender takes a few
steps, so that a ratio is of neighbours in time; medians and quartiles. Compiling and starting are
timed apart. float32, L = 2, smooth leaky ReLU, normal base density. Exit status 1 if a contender
fails the gate: nothing is timed then. `--cells fit` times whole fits, see `benchmarks.fits`.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import platform
import sys
from importlib import metadata, util
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import report
from .contenders import TABLE
from .worker import LIBRARY, serve

RESULTS = Path(__file__).parent / "results"
CELLS = ("table", "scaling", "batch", "fit")
OWN = ("kernels-plain", "kernels-exponential", "kernels-recipe", "kernels-adam", "gemm-floor")
JAX = ("jax-published", "jax-plain")
PEERS = ("jax-published", "jax-published-adam", "jax-plain", "jax-adam", "torch-backprop")


class Cell(NamedTuple):
    """What is timed together: sizes and contenders."""

    D: int
    N: int
    names: tuple[str, ...]


def cells(which: str) -> list[Cell]:
    """Return the cells of a run: quick, table (the grid), scaling (by D), batch (by N)."""
    if which == "quick":
        found = [Cell(D, N, OWN + PEERS + report.CUBIC) for D in (64, 256) for N in (10, 100)]
        return [*found, Cell(784, 100, OWN + PEERS + report.CUBIC)]
    if which == "table":
        return [
            Cell(D, N, OWN + PEERS + (report.CUBIC if D == 2048 else ()))
            for D in (64, 256, 784, 2048, 4096)
            for N in (10, 100)
        ]
    ours = ("kernels-plain", "gemm-floor")
    if which == "batch":  # from N much smaller than D to much larger
        return [
            Cell(D, N, (*ours, *report.CUBIC))
            for D in (256, 1024, 2048)
            for N in (10, 32, 100, 316, 1000, 3162)
        ]
    sizes = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 14000, 20000)
    return [
        Cell(D, N, ours + (report.CUBIC if D <= 2048 else ()) + (JAX if D <= 8192 else ()))
        for N in (10, 100)
        for D in sizes
    ] + [Cell(D, 1000, ours + report.CUBIC) for D in (128, 256, 512, 1024, 2048)]


class Process:
    """One library's process, asked one thing at a time."""

    def __init__(self, library: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        os.environ["RELGRAD_WORKER"] = library
        self.process = context.Process(target=serve, args=(theirs, threads), daemon=True)
        self.process.start()

    def ask(self, *question: Any) -> Any:
        """Ask and wait; RuntimeError with what went wrong there."""
        self.pipe.send(question)
        status, answer = self.pipe.recv()
        if status != "ok":
            raise RuntimeError(answer)
        return answer


def environment(threads: int, core: str) -> dict[str, Any]:
    """Set what the libraries read when they are loaded; return what is worth keeping."""
    if threads:
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[name] = str(threads)
        if threads == 1 and hasattr(os, "sched_setaffinity"):  # XLA asks for no variable
            os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    if core and core != "none":
        os.environ["OPENBLAS_CORETYPE"] = core
    packages = ("relgrad-np", "numpy", "scipy", "numba", "jax", "torch")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "load": [round(x, 2) for x in os.getloadavg()],
        "python": platform.python_version(),
        "versions": versions,
        "threads": threads or os.cpu_count(),
        "openblas_core": os.environ.get("OPENBLAS_CORETYPE"),
        "dtype": "float32",
        "L": 2,
    }


def core_of_this_machine() -> str:
    """Return "SkylakeX" where the processor has AVX-512 and OpenBLAS has not noticed, else "".

    OpenBLAS takes a processor newer than itself for a Haswell, which halves its speed.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text()
        from threadpoolctl import threadpool_info
    except (OSError, ModuleNotFoundError):
        return ""
    import scipy.linalg.blas  # noqa: F401

    cores = {pool.get("architecture") for pool in threadpool_info()}
    return "SkylakeX" if "avx512vl" in flags and cores & {"Haswell", "Zen"} else ""


def at_hand(names: Any) -> list[str]:
    """Return those whose library is installed."""
    return [n for n in names if n not in TABLE or util.find_spec(TABLE[n].needs) is not None]


def gate(processes: dict[str, Process], names: Any, seed: int) -> list[str]:
    """Return what failed: a line for each contender that takes another step."""
    failed = []
    for name in names:
        if name in TABLE:
            try:
                processes[LIBRARY[name.split("-")[0]]].ask("gate", name, seed)
            except RuntimeError as error:
                failed.append(str(error).splitlines()[0])
    return failed


def time_cell(
    processes: dict[str, Process], cell: Cell, rounds: int, seed: int, patience: float
) -> list[dict[str, Any]]:
    """Time the contenders of a cell in turns; one whose step takes longer than that drops out."""
    where = {n: processes[LIBRARY[n.split("-")[0]]] for n in at_hand(cell.names)}
    starts = {n: p.ask("make", n, cell.D, cell.N, 2, seed) for n, p in where.items()}
    burst = {}
    for n, p in where.items():
        once = min(p.ask("steps", n, 2))
        burst[n] = max(1, min(50, round(0.01 / once))) if once <= patience else 0
    times: dict[str, list[float]] = {n: [] for n in where}
    for _ in range(rounds):
        for n, p in where.items():
            if burst[n]:
                taken = p.ask("steps", n, burst[n])
                times[n].append(float(np.median(taken)))
    for p in processes.values():
        p.ask("free")
    lines: list[dict[str, Any]] = []
    for n, values in times.items():
        if values:
            low, middle, high = np.percentile(values, [25, 50, 75])
            lines.append(
                {
                    "D": cell.D, "N": cell.N, "contender": n, "median": middle, "low": low,
                    "high": high, "rounds": len(values), "burst": burst[n], "first": starts[n],
                    "times": values, "seed": seed,
                }
            )  # fmt: skip
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Gate, time, keep, report; 0, or 1 if the gate failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), help="cuda: see its own --help")
    parser.add_argument("--quick", action="store_true", help="small sizes, under two minutes")
    parser.add_argument("--cells", default="table", choices=CELLS)
    parser.add_argument("--threads", type=int, default=1, help="of each library; 0: all")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--core", help="OPENBLAS_CORETYPE, none: as it is; default what fits")
    parser.add_argument("--out", type=Path, help="JSON lines, appended; default benchmarks/results")
    parser.add_argument("--rows", nargs="*", help="of --cells fit: which fits; default all")
    parser.add_argument("--steps", type=int, default=500, help="of --cells fit; 0: no such table")
    parser.add_argument("--seconds", type=float, default=0.5, help="of --cells fit: a short fit")
    options = parser.parse_args(arguments)
    if options.cells == "fit":
        from . import fits

        return fits.main(options)
    which = "quick" if options.quick else options.cells
    core = core_of_this_machine() if options.core is None else options.core
    facts = environment(options.threads, core) | {"run": which}
    names = at_hand(dict.fromkeys(n for cell in cells(which) for n in cell.names))
    libraries = dict.fromkeys(LIBRARY[n.split("-")[0]] for n in names)
    processes = {library: Process(library, options.threads) for library in libraries}
    bar = _bar(len(cells(which)) + 1)
    try:
        if failed := gate(processes, names, options.seed):
            print("the gate failed, nothing was timed:", *failed, sep="\n  ", file=sys.stderr)
            return 1
        bar()
        rounds = options.rounds or (7 if options.quick else 15)
        out = options.out or RESULTS / f"{which}-{options.threads or 'all'}.jsonl"
        out.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for cell in cells(which):
            found = time_cell(processes, cell, rounds, options.seed, 2.0 if options.quick else 20.0)
            with out.open("a") as file:
                for line in found:
                    file.write(json.dumps(facts | line) + "\n")
            lines += found
            bar()
    finally:
        for p in processes.values():
            p.process.terminate()
    print(report.table(facts, lines))
    print(f"\nEvery time, JSON lines: {out}")
    draw = report.draw_batch if which == "batch" else report.draw
    if (figure := draw(lines, out.with_suffix(".png"))) is not None:
        print(f"As a figure: {figure}")
    return 0


def _bar(total: int) -> Any:
    """Return what moves a progress bar on by one: tqdm's at a terminal, else nothing."""
    if util.find_spec("tqdm") is None or not sys.stderr.isatty():
        return lambda: None
    from tqdm import tqdm

    bar = tqdm(total=total, unit="cell", dynamic_ncols=True)
    return lambda: bar.update()
