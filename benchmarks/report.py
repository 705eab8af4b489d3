"""What a run has shown: a table to read, fitted exponents, and the figure."""

import math
from pathlib import Path
from typing import Any

import numpy as np

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


def draw_batch(lines: Any, path: Path) -> Path | None:
    """Draw what ours saves against N / D: above 1 the low-rank form pays."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    tops = [n for n in CUBIC if any(x["contender"] == n for x in lines)]
    figure = Figure(figsize=(4.5 * len(tops), 4.2), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(tops), sharey=True))
    for top, axes in zip(tops, panels, strict=True):
        for D in sorted({x["D"] for x in lines}):
            Ns = sorted({x["N"] for x in lines if x["D"] == D})
            found = {N: r[1] for N in Ns if (r := ratio(lines, D, N, top, "kernels-plain"))}
            axes.plot([N / D for N in found], list(found.values()), "o-", ms=4, label=f"D = {D}")
        axes.axhline(1.0, color="black", lw=0.8)
        axes.set(xscale="log", yscale="log", xlabel="N / D", title=WORDS[top])
    panels[0].set_ylabel("its time / ours, one step")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)
    return path


def draw(lines: Any, path: Path) -> Path | None:
    """Draw time against D, logarithmic; a dashed line where the cubic ones are extrapolated."""
    try:
        from matplotlib import colormaps
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return None
    present = [name for name in WORDS if any(x["contender"] == name for x in lines)]
    colors = {
        name: colormaps["tab20" if len(present) > 10 else "tab10"](i)
        for i, name in enumerate(present)
    }
    Ns = sorted({x["N"] for x in lines})
    figure = Figure(figsize=(6 * len(Ns), 5), layout="constrained")
    for N, axes in zip(Ns, np.atleast_1d(figure.subplots(1, len(Ns), sharey=True)), strict=True):
        top = max(x["D"] for x in lines if x["N"] == N)
        for name, words in WORDS.items():
            points = {x["D"]: x["median"] for x in lines if (x["contender"], x["N"]) == (name, N)}
            if not points:
                continue
            color = colors[name]
            axes.plot(list(points), list(points.values()), "o-", ms=3, label=words, color=color)
            late = {D: t for D, t in points.items() if D >= 512}
            if len(late) >= 2 and max(points) < top:
                slope = exponent(late)
                last = max(points)
                far = points[last] * (top / last) ** slope
                axes.plot([last, top], [points[last], far], "--", color=color)
        axes.set(xscale="log", yscale="log", xlabel="D", title=f"N = {N}")
    axes = figure.axes[0]
    axes.set_ylabel("seconds for one step (dashed: fitted, not measured)")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)
    return path
