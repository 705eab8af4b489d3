"""What a run has shown: a table to read, fitted exponents, and the figure."""

import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np

from relgrad_np.runs.plots import canvas
from relgrad_np.runs.style import CURVES, in_style, label_ends

WORDS = {
    "kernels-plain": "ours, plain step",
    "kernels-exponential": "ours, exponential step",
    "kernels-recipe": "ours, recipe (the default)",
    "kernels-adam": "ours, Adam",
    "gemm-floor": "the matrix products alone",
    "jax-published": "published algorithm, JAX",
    "jax-published-adam": "published algorithm + Adam, JAX",
    "jax-plain": "our products, JAX",
    "jax-adam": "our products + Adam, JAX",
    "torch-backprop": "no log-determinant at all, torch",
    "jax-autodiff": "autodiff through slogdet, JAX",
    "torch-autograd": "autograd through slogdet, torch",
    "lapack-inverse": "explicit inverse, LAPACK",
}
CUBIC = ("jax-autodiff", "torch-autograd", "lapack-inverse")
RATIOS = (  # name, numerator, denominator, least D
    ("published algorithm, JAX / ours", "jax-published", "kernels-plain", 0),
    ("published + Adam, JAX / ours + Adam", "jax-published-adam", "kernels-adam", 0),
    ("our products, JAX / ours", "jax-plain", "kernels-plain", 0),
    ("our products + Adam, JAX / ours + Adam", "jax-adam", "kernels-adam", 0),
    ("exponential / plain step", "kernels-exponential", "kernels-plain", 784),
    ("ours / matrix products alone", "kernels-plain", "gemm-floor", 0),
    ("autodiff through slogdet, JAX / ours", "jax-autodiff", "kernels-plain", 0),
    ("autograd through slogdet, torch / ours", "torch-autograd", "kernels-plain", 0),
    ("explicit inverse, LAPACK / ours", "lapack-inverse", "kernels-plain", 0),
    ("ours / no log-determinant, torch", "kernels-plain", "torch-backprop", 784),
)


def ratio(lines: Any, D: int, N: int, top: str, bottom: str) -> tuple[float, float, float] | None:
    """Return quartiles of top / bottom over the rounds of a cell, median in the middle."""
    found = {x["contender"]: x["times"] for x in lines if (x["D"], x["N"]) == (D, N)}
    if top not in found or bottom not in found:
        return None
    n = min(len(found[top]), len(found[bottom]))
    values = np.array(found[top][:n]) / np.array(found[bottom][:n])
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(low), float(middle), float(high)


def table(facts: Any, lines: Any) -> str:
    """Return the run as text: times of a step, then ratios of neighbours."""
    sizes = list(dict.fromkeys((x["D"], x["N"]) for x in lines))
    text = [
        "Milliseconds for one training step: median of rounds in turns; "
        f"L = {facts['L']}, {facts['threads']} thread(s), load {facts['load'][0]}",
        "D features, N samples in the batch; float32; every contender has passed the gate",
        "",
        " " * 40 + "".join(f"{f'{D}, {N}':>12}" for D, N in sizes),
    ]
    for name, words in WORDS.items():
        times = {(x["D"], x["N"]): x["median"] for x in lines if x["contender"] == name}
        if times:
            row = (f"{1e3 * times[s]:12.3f}" if s in times else " " * 12 for s in sizes)
            text.append(f"{words:40}" + "".join(row))
    text += ["", "Ratios in the same round, median (geometric mean over the cells last)"]
    for words, top, bottom, least in RATIOS:
        values = {s: ratio(lines, *s, top, bottom) for s in sizes if s[0] >= least}
        middle = [v[1] for v in values.values() if v]
        if middle:
            row = (f"{v[1]:12.2f}" if (v := values.get(s)) else " " * 12 for s in sizes)
            mean = math.exp(np.mean(np.log(middle)))
            text.append(f"{words:44.44}"[:40] + "".join(row) + f"   {mean:.2f}")
    for N in sorted({N for _, N in sizes}):
        for name, words in WORDS.items():
            points = {x["D"]: x["median"] for x in lines if (x["contender"], x["N"]) == (name, N)}
            points = {D: t for D, t in points.items() if D >= 512}
            if len(points) >= 3:
                text.append(f"exponent in D, N = {N}, D >= 512, {words}: {exponent(points):.2f}")
        text += crossovers(lines, N)
    return "\n".join(text)


def crossovers(lines: Any, N: int) -> list[str]:
    """Return a line for each cubic contender: the least D from which ours is the faster."""
    text = []
    for top in CUBIC:
        Ds = sorted({x["D"] for x in lines if x["N"] == N})
        found = {D: r[1] for D in Ds if (r := ratio(lines, D, N, top, "kernels-plain"))}
        slower = [D for D, r in found.items() if r < 1]
        later = [D for D in found if max(slower, default=0) < D]
        if later and len(found) > 2:
            text.append(f"faster than {WORDS[top]} at N = {N} from D = {min(later)} on")
    return text


def exponent(points: dict[int, float]) -> float:
    """Return the slope of log time against log D."""
    return float(np.polyfit(np.log(list(points)), np.log(list(points.values())), 1)[0])


SHOWN = ("gemm-floor", "kernels-plain", "jax-published", "jax-autodiff", "torch-autograd")
COLOURS = dict(zip(SHOWN, ("0.55", "C0", "C2", "C4", "C1"), strict=True))  # in all figures


def draw_batch(lines: Any, path: Path) -> Path | None:
    """Draw what ours saves against N / D: above 1 the low-rank form pays."""
    if not importlib.util.find_spec("matplotlib"):
        return None
    return _draw_batch(lines, path)


@in_style
def _draw_batch(lines: Any, path: Path) -> Path:
    tops = [n for n in CUBIC if any(x["contender"] == n for x in lines)]
    figure = canvas((4.6 * len(tops), 4.2))
    panels = np.atleast_1d(figure.subplots(1, len(tops), sharey=True))
    sizes = sorted({x["D"] for x in lines})[:CURVES]
    for top, axes in zip(tops, panels, strict=True):
        for D in sizes:
            Ns = sorted({x["N"] for x in lines if x["D"] == D})
            found = {N: r[1] for N in Ns if (r := ratio(lines, D, N, top, "kernels-plain"))}
            axes.plot([N / D for N in found], list(found.values()), "o-")
        axes.axhline(1.0, color="0.5", lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="N / D")
        axes.set_title(WORDS[top], loc="left")
        axes.set_xlim(right=5 * axes.get_xlim()[1])
    panels[0].set_ylabel("its time / ours, one step")
    figure.canvas.draw()
    for axes in panels:
        label_ends(axes, [f"D = {D}" for D in sizes])
    figure.savefig(path)
    return path


def draw(lines: Any, path: Path) -> Path | None:
    """Draw time against D, logarithmic; a dashed line where the cubic ones are extrapolated."""
    if not importlib.util.find_spec("matplotlib"):
        return None
    return _draw(lines, path)


@in_style
def _draw(lines: Any, path: Path) -> Path:
    Ns = sorted({x["N"] for x in lines})
    figure = canvas((6.2 * len(Ns), 4.6))
    panels = np.atleast_1d(figure.subplots(1, len(Ns), sharey=True))
    named = []
    for N, axes in zip(Ns, panels, strict=True):
        top = max(x["D"] for x in lines if x["N"] == N)
        names, solid = [], []
        for name in SHOWN:
            points = {x["D"]: x["median"] for x in lines if (x["contender"], x["N"]) == (name, N)}
            if not points:
                continue
            names.append(WORDS[name])
            late = {D: t for D, t in points.items() if D >= 512}
            last = max(points)
            further = {}
            if len(late) >= 2 and last < top:
                further = {top: points[last] * (top / last) ** exponent(late)}
            ahead = {last: points[last]} | further
            axes.plot(list(ahead), list(ahead.values()), "--", color=COLOURS[name])
            solid.append((points, COLOURS[name]))
        for points, colour in solid:
            axes.plot(list(points), list(points.values()), "o-", color=colour)
        axes.set(xscale="log", yscale="log", xlabel="dimension D")
        axes.set_title(f"{N} samples", loc="left")
        ticks = [D for D in (16, 128, 1024, 8192) if min(x["D"] for x in lines) <= D <= top]
        axes.set_xticks(ticks, [f"{D:,}" for D in ticks])
        axes.minorticks_off()
        axes.set_xlim(right=top * (top / 16) ** 0.75)
        named.append(names)
    panels[0].set_ylabel("seconds for one step (dashed: fitted)")
    figure.canvas.draw()
    for axes, names in zip(panels, named, strict=True):
        label_ends(axes, names)
    figure.savefig(path)
    return path
