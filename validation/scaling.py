"""Time of a training step against D, and likelihood against time: what benchmarks/ has measured."""

import json
from collections import defaultdict
from pathlib import Path
from statistics import median

from benchmarks.race_report import read
from benchmarks.race_report import table as race_table
from benchmarks.report import WORDS, exponent

from .report import Claim, Section, table
from .store import Line, Store

MEASURED = Path(__file__).parents[1] / "benchmarks" / "results"
SHOWN = (
    "kernels-plain",
    "gemm-floor",
    "jax-published",
    "jax-plain",
    "jax-autodiff",
    "torch-autograd",
    "lapack-inverse",
)
FROM = 512  # D from which exponents are fitted


def times() -> dict[tuple[str, int], dict[int, float]]:
    """Return seconds for one step by (contender, N) and D: medians over the runs kept."""
    found: dict[tuple[str, int], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path in sorted(MEASURED.glob("scaling-*.jsonl")):
        for text in path.read_text().splitlines():
            line = json.loads(text)
            if "contender" in line:
                found[line["contender"], line["N"]][line["D"]].append(line["median"])
    return {k: {D: median(v) for D, v in sorted(cell.items())} for k, cell in found.items()}


def facts() -> Line:
    """Return the first line of the newest file: date, machine, threads."""
    path = sorted(MEASURED.glob("scaling-*.jsonl"))[-1]
    return dict(json.loads(path.read_text().splitlines()[0]))


def run(store: Store, quick: bool) -> None:
    """Nothing: `python -m benchmarks` measures, on a machine that is quiet."""


def section(store: Store, quick: bool) -> Section:
    """Return the table, the exponents, the figure; and the race."""
    found = times()
    if not found:
        why = "no benchmarks/results/scaling-*.jsonl: `python -m benchmarks --cells scaling`"
        return Section("", (), (why,))
    head = facts()
    Ns = sorted({N for _, N in found})
    rows, slopes = [], {}
    for name in SHOWN:
        for N in Ns:
            cell = found.get((name, N))
            if cell is None:
                continue
            late = {D: t for D, t in cell.items() if D >= FROM}
            if len(late) >= 3:
                slopes[name, N] = exponent(late)
            largest = max(cell, default=0)
            rows.append([
                WORDS[name], N,
                *(f"{1e3 * cell[D]:.3g}" if D in cell else "" for D in (64, 512, 2048)),
                largest, f"{1e3 * cell[largest]:.3g}" if cell else "",
                f"{slopes[name, N]:.2f}" if (name, N) in slopes else "",
            ])  # fmt: skip
    floor = [slopes["kernels-plain", N] - slopes["gemm-floor", N] for N in Ns]
    gaps = {
        N: [found["lapack-inverse", N][D] / found["kernels-plain", N][D] for D in (128, 2048)]
        for N in Ns
        if N < 128  # else there is no low rank at the smaller D
    }
    text = [
        f"One training step (forward, backprop, update), L = {head['L']}, {head['dtype']}, "
        f"{head['threads']} thread(s), {head['date'][:10]}, {head['machine']}, load "
        f"{head['load'][0]} at the start; milliseconds, medians. Measured by "
        "`python -m benchmarks --cells scaling`, which "
        f"refuses to time what does not compute the same. Exponents are fitted from D = {FROM} on: "
        "there the weights leave the caches one after another, so that what is quadratic in work, "
        "the matrix products alone too, rises faster than D^2 for a while.",
        "",
        table(
            ["", "N", "D = 64", "512", "2048", "largest D", "there", "exponent"],
            rows,
        ),
        "",
        "![time of a step against D](../benchmarks/results/scaling-1.png)",
    ]
    race = MEASURED / "race-mnist.jsonl"
    if race.exists():
        read(race)
        text += [
            "",
            "**Likelihood against time**, start-up included (`python -m benchmarks.race --data "
            "mnist --out benchmarks/results/race-mnist.jsonl`):",
            "",
            race_table(race),
            "",
            "![likelihood against time, MNIST](../benchmarks/results/race-mnist.png)",
        ]
    claims = (
        Claim(
            "a step rises with D as its matrix products alone do: work quadratic in D",
            "exponents differ by " + " and ".join(f"{x:+.2f}" for x in floor),
            max(floor) < 0.15,
        ),
        Claim(
            "an explicit inverse falls behind as D grows, where N < D",
            "; ".join(
                f"N = {N}: {low:.0f} times ours at D = 128, {high:.0f} at 2048"
                for N, (low, high) in gaps.items()
            ),
            all(high > low for low, high in gaps.values()),
        ),
    )
    return Section("\n".join(text), claims)
