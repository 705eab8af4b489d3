"""What `python -m benchmarks --cells fit` has shown, as Markdown beside its lines."""

import json
import math
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

PARTS = (  # what the table calls each part, and its name among the prices
    ("before the first step", "begin"), ("steps", "steps"), ("new noise", "new noise"),
    ("validation", "validation"),
    ("audits", "audit"), ("average", "average"), ("undo", "undo"),
)  # fmt: skip
RATIOS = (
    ("published algorithm, JAX / ours: bare steps", ("jax bare",), ("ours bare",)),
    ("JAX in its loop / ours in `fit`, without the average", ("jax loop",), ("ours fit",)),
    ("JAX in its loop / ours in `fit`, defaults", ("jax loop",), ("ours defaults",)),
    ("JAX, the better of both / ours in `fit`, defaults", ("jax bare", "jax loop"),
     ("ours defaults",)),
    ("ours: `fit` without the average / bare", ("ours fit",), ("ours bare",)),
    ("ours: `fit` with defaults / bare", ("ours defaults",), ("ours bare",)),
)  # fmt: skip
TIMES = {
    "jax bare": "published algorithm, JAX, bare steps",
    "jax loop": "published algorithm, JAX, an epoch in one scan",
    "ours bare": "ours, bare steps",
    "ours fit": "ours, in `fit`, without average and validation",
    "ours defaults": "ours, in `fit` with its defaults",
}


def installed(name: str) -> bool:
    """Say whether there is such a package."""
    return util.find_spec(name) is not None


def row(line: dict[str, Any]) -> str:
    """Return a fit's row of Markdown, CPU seconds; the last but two is the sum by the clock."""
    cpu, wall = line["parts"]
    cold, warm = line["compiling"]
    names = ["start", *(name for _, name in PARTS)]
    sums = [sum(max(0.0, part[name]) for name in names) for part in (cpu, wall)]
    cells = [
        line["row"],
        f"{line['L']}, {line['D']}, {line['N']}",
        f"{line['epochs']} x {line['batches']}",
        *(f"{cpu['start']:.1f}", f"{cold:.1f}, {warm:.1f}"),
        *(_seconds(cpu[name], cpu.get(f"{name}, noise", 0.0)) for _, name in PARTS),
        *(f"{sums[0]:.0f}", f"{sums[1]:.0f}"),
        *(f"{1e3 * cpu['bare step']:.3g}", f"{cpu['step / bare']:.2f}", f"{cpu['all / bare']:.2f}"),
    ]
    return "| " + " | ".join(cells) + " |"


def _seconds(value: float, noise: float = 0.0) -> str:
    """Return seconds with what is worth printing; a bound where the noise hides them.

    >>> _seconds(123.4), _seconds(-0.001), _seconds(1.0, 3.0)
    ('123', '0.0', '< 4.0')
    """
    if noise and value < noise:
        return f"< {_seconds(max(value, 0.0) + noise)}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{max(0.0, round(value, 1)):.1f}"


def parts(lines: list[dict[str, Any]]) -> list[str]:
    """Return the table of the parts of fits."""
    titles = ["fit", "L, D, N", "epochs x steps", "start", "compiling: cold, stored"]
    titles += [title for title, _ in PARTS]
    titles += ["all, CPU s", "all, s", "bare step, ms", "step in `fit` / bare", "with all / bare"]
    return ["| " + " | ".join(titles) + " |", "|---|---|" + "---:|" * (len(titles) - 2)] + [
        row(line) for line in lines
    ]


def ratio(lines: list[dict[str, Any]], D: int, N: int, tops: Any, bottoms: Any) -> float | None:
    """Return the median over the rounds of the least of `tops` over the least of `bottoms`."""
    found = {x["kind"]: np.array(x["cpu"]) for x in lines if (x["D"], x["N"]) == (D, N)}
    if not {*tops, *bottoms} <= set(found):
        return None
    top, bottom = (np.min([found[k] for k in kinds], axis=0) for kinds in (tops, bottoms))
    return float(np.median(top / bottom))


def steps(lines: list[dict[str, Any]]) -> list[str]:
    """Return the table of steps, bare and in a loop, and the ratios with their geometric mean."""
    cells = list(dict.fromkeys((x["D"], x["N"]) for x in lines))
    heads = " | ".join(f"{D}, {N}" for D, N in cells)
    text = [f"| D, N: CPU milliseconds of a step, median | {heads} |"]
    text.append("|---|" + "---:|" * len(cells))
    for kind, words in TIMES.items():
        times = {(x["D"], x["N"]): np.median(x["cpu"]) for x in lines if x["kind"] == kind}
        if times:
            text.append(f"| {words} | " + " | ".join(f"{1e3 * times[c]:.3g}" for c in cells) + " |")
    text += ["", f"| D, N: ratios in the same round, median | {heads} | geometric mean |"]
    text.append("|---|" + "---:|" * (len(cells) + 1))
    for words, tops, bottoms in RATIOS:
        values = [ratio(lines, D, N, tops, bottoms) for D, N in cells]
        known = [v for v in values if v is not None]
        if len(known) == len(cells):
            mean = math.exp(sum(map(math.log, known)) / len(known))
            text.append(f"| {words} | " + " | ".join(f"{v:.2f}" for v in [*known, mean]) + " |")
    return text


def table(lines: list[dict[str, Any]]) -> str:
    """Return both tables, and what they were measured on."""
    facts = lines[0]
    versions = ", ".join(f"{k} {v}" for k, v in facts["versions"].items() if v)
    text = [
        f"{facts['date'][:10]}, {facts['machine']}, {facts['threads'] or 'all'} thread(s), load "
        f"{facts['load'][0]:.1f} at the start; {versions}. CPU seconds.",
    ]
    whole = [x for x in lines if x["table"] == "parts"]
    few = [x for x in lines if x["table"] == "steps"]
    if whole:
        text += ["", *parts(whole)]
    if few:
        counts = {x["D"]: x["steps"] for x in few}
        said = ", ".join(f"{n} at D = {D}" for D, n in counts.items())
        text += ["", f"Steps in a round: {said}.", "", *steps(few)]
    return "\n".join(text)


def report(path: Path) -> str:
    """Write the tables beside the lines, and return them."""
    text = table([json.loads(line) for line in path.read_text().splitlines()])
    path.with_suffix(".md").write_text(text + "\n")
    return text
