"""Peak memory of a training step against D, for each contender, in a process of its own.

    python -m benchmarks.memory [--D 512 1024 ...] [--N 100] [--steps 3]

Gigabytes beyond what the process had with its library loaded and everything compiled at D = 16, in
units of the weights: 1 is a step that needs no room but that of W. L = 2, float32. Linux only:
it reads VmHWM, the kernel's high-water mark, after setting it back. JSON lines and a figure.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from relgrad_np.runs.plots import canvas
from relgrad_np.runs.style import in_style, label_ends

from .contenders import make
from .report import WORDS
from .run import at_hand
from .worker import ALPHA, ETA, start

RESULTS = Path(__file__).parent / "results"
LARGEST = {  # the cubic ones would take minutes for a step
    "kernels-plain": 20_000, "kernels-adam": 14_000, "jax-published": 14_000, "jax-plain": 14_000,
    "torch-backprop": 14_000, "jax-autodiff": 4096, "torch-autograd": 4096, "lapack-inverse": 4096,
}  # fmt: skip
DRAWN = ("kernels-plain", "kernels-adam", "jax-published", "jax-autodiff", "torch-autograd")


def status(field: str) -> int:
    """Return a field of this process's memory, VmHWM or VmRSS, in bytes."""
    text = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", text)[1])  # type: ignore[index]


def measure(name: str, D: int, N: int, steps: int) -> dict[str, Any]:
    """Return what this process needs for steps of one contender."""
    rng = np.random.default_rng(0)
    options = {"alpha": ALPHA, "learning_rate": ETA}
    small = make(name, start(16, 2, 0), **options)
    for _ in range(2):
        small.step(rng.standard_normal((N, 16), dtype=np.float32))
    del small
    X = rng.standard_normal((N, D), dtype=np.float32)
    before = status("VmRSS")
    contender = make(name, start(D, 2, 0), **options)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts afresh
    for _ in range(steps):
        contender.step(X)
    peak, weights = status("VmHWM") - before, 2 * 4 * (D * D + D)
    return {"contender": name, "D": D, "N": N, "peak": peak, "weights": weights}


@in_style
def draw(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw peak memory in units of the weights against D."""
    figure = canvas((8.0, 4.2))
    axes = figure.subplots()
    there = {x["contender"] for x in lines}
    names = [name for name in DRAWN if name in there]
    for name in names:
        points = {x["D"]: x["peak"] / x["weights"] for x in lines if x["contender"] == name}
        axes.plot(list(points), list(points.values()), "o-")
    axes.set(xscale="log", xlabel="dimension D", ylabel="peak memory / weights", ylim=(0, None))
    Ds = sorted({x["D"] for x in lines})
    axes.set_xticks(Ds[::2], [f"{D:,}" for D in Ds[::2]])
    axes.minorticks_off()
    axes.set_xlim(right=max(Ds) * (max(Ds) / min(Ds)) ** 0.6)
    figure.canvas.draw()
    label_ends(axes, [WORDS[name] for name in names])
    figure.savefig(path)


def main() -> int:
    """Measure each in a child, keep, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--D", type=int, nargs="+", default=[512, 1024, 2048, 4096, 8192, 14000, 20000]
    )
    parser.add_argument("--N", type=int, default=100)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.D[0], options.N, options.steps)))
        return 0
    lines = []
    for name in at_hand(LARGEST):
        for D in (D for D in options.D if LARGEST[name] >= D):
            command = [sys.executable, "-m", "benchmarks.memory", "--one", name, "--D", str(D)]
            command += ["--N", str(options.N), "--steps", str(options.steps)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            lines.append(json.loads(answer.splitlines()[-1]))
            line = lines[-1]
            print(
                f"{WORDS[name]:36} D = {D:6}  {line['peak'] / 1e9:7.3f} GB"
                f"  {line['peak'] / line['weights']:5.2f} x the weights",
                flush=True,
            )
    with (RESULTS / "memory.jsonl").open("w") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    draw(lines, RESULTS / "memory.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
