"""What `benchmarks.quality` has shown: when each contender reached each mark, and the curves.

To make table and figure again from the lines that are kept:

    python -m benchmarks.quality_report [benchmarks/results/quality.jsonl]
"""

import importlib.util
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from relgrad_np.runs.plots import canvas
from relgrad_np.runs.style import in_style

MARKS: dict[str, float | None] = {  # test log-likelihood, nats in model space; a toy has its own
    "digits": -68.0, "toy:moons": None, "mnist": -1300.0, "power": 0.0, "bsds300": 150.0,
}  # fmt: skip
WORDS = {
    "ours": "ours",
    "zuko-nsf": "NSF (zuko)",
    "nflows-maf": "MAF (nflows)",
    "published": "published recipe, JAX",
}
SHORT = {"ours": "ours", "zuko-nsf": "NSF", "nflows-maf": "MAF", "published": "published"}
COLORS = {"ours": "C0", "zuko-nsf": "C1", "nflows-maf": "C2", "published": "0.45"}

Line = dict[str, Any]
Runs = dict[tuple[str, str, int], list[Line]]


def reached(points: list[Line], mark: float, clock: str = "cpu") -> float:
    """Return by when the test rows first had this log-likelihood, or inf.

    >>> reached([{"cpu": 1.0, "test": -3.0}, {"cpu": 2.0}, {"cpu": 4.0, "test": -1.0}], -2.0)
    4.0
    """
    return next((p[clock] for p in points if p.get("test", -math.inf) >= mark), math.inf)


def curve(points: list[Line]) -> list[tuple[float, float]]:
    """Return (CPU seconds, test) of what was best on validation rows up to then.

    >>> curve([{"cpu": 1, "validation": -3, "test": -4}, {"cpu": 2, "validation": -5, "test": -1}])
    [(1, -4), (2, -4)]
    """
    best, values = (-math.inf, math.nan), []
    for point in points:
        if "validation" in point:
            best = max(best, (point["validation"], point["test"]))
            values.append((point["cpu"], best[1]))
    return values


def by_run(lines: list[Line]) -> Runs:
    """Return the lines of each (data, contender, seed)."""
    runs: Runs = {}
    for line in lines:
        runs.setdefault((line["data"], line["contender"], line["seed"]), []).append(line)
    return runs


def points_of(lines: list[Line]) -> list[Line]:
    """Return the judgements among the lines of a run."""
    return [line for line in lines if line["kind"] == "point"]


def said(key: Line, mark: float | None, lines: list[Line]) -> str:
    """Return a run in a sentence, for whoever waits for the next.

    >>> key = {"data": "digits", "contender": "ours", "seed": 0}
    >>> said(key, -68.0, [{"kind": "point", "cpu": 3.0, "validation": -67.0, "test": -67.5}])
    'digits, ours, seed 0: -68 after 3.0 CPU seconds; -67.5 after 3.0'
    """
    points, name = points_of(lines), f"{key['data']}, {key['contender']}, seed {key['seed']}"
    if not curve(points):
        return f"{name}: nothing finite"
    cpu, last = curve(points)[-1]
    when = math.inf if mark is None else reached(points, mark)
    first = "mark not reached" if math.isinf(when) else f"{mark:.4g} after {when:.1f} CPU seconds"
    return f"{name}: {first}; {last:.1f} after {cpu:.1f}"


def table(lines: list[Line]) -> str:
    """Return CPU seconds until the mark as Markdown, a row for each data set, medians over seeds.

    Where no seed reached it, what there was in the end; where not all did, how many.
    """
    runs = by_run(lines)
    present = [name for name in WORDS if any(key[1] == name for key in runs)]
    text = [
        "| data | mark, nats | " + " | ".join(WORDS[name] for name in present) + " | first |",
        "|---|---:|" + "---:|" * len(present) + "---|",
    ]
    for data in dict.fromkeys(sorted((key[0] for key in runs), key=_place)):
        row, times = [], {}
        marks = [r[0]["mark"] for key, r in runs.items() if key[0] == data]
        mark = float(np.median([m for m in marks if m is not None]))
        for name in present:
            own = [r for key, r in sorted(runs.items()) if key[:2] == (data, name)]
            when = [reached(points_of(r), r[0]["mark"]) for r in own]
            times[name] = float(np.median(when)) if own else math.nan
            row.append(_cell(own, when) if own else "")
        known = {name: t for name, t in times.items() if math.isfinite(t)}
        first = WORDS[min(known, key=lambda name: known[name])] if known else "none"
        first = first if sum(cell != "" for cell in row) > 1 else ""  # nobody ran beside it
        text.append(f"| {data} | {_nats(mark)} | " + " | ".join(row) + f" | {first} |")
    return "\n".join(text)


def _nats(value: float) -> str:
    """Return nats with what is worth printing.

    >>> _nats(-1.7612), _nats(-1300.4), _nats(-68.0)
    ('-1.76', '-1300.4', '-68')
    """
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if value % 1 else f"{value:.0f}"


def _place(data: str) -> int:
    return list(MARKS).index(data) if data in MARKS else len(MARKS)


def _cell(runs: list[list[Line]], when: list[float]) -> str:
    """Return the CPU seconds of one contender on one data set, over its seeds."""
    there = sorted(t for t in when if math.isfinite(t))
    curves = [c for r in runs if (c := curve(points_of(r)))]
    if not there:
        if not curves:
            return "not finite"
        last = float(np.median([c[-1][1] for c in curves]))
        seconds = max(c[-1][0] for c in curves)
        return f"not in {seconds:.0f} s: {_nats(last)}"
    text = f"{np.median(when):.1f} s" if len(there) == len(when) else f"{there[0]:.1f} s"
    if len(there) > 1:
        text += f" ({there[0]:.1f} to {there[-1]:.1f})"
    return text if len(there) == len(when) else f"{text}, {len(there)} of {len(when)} seeds"


def notes(lines: list[Line]) -> str:
    """Return what the peers' settings were, what starting takes, and where and when this ran."""
    runs = by_run(lines)
    heads = [r[0] for r in runs.values()]
    starts = {}
    for name in WORDS:
        found = [
            x["cpu"] for key, r in runs.items() if key[1] == name for x in r
            if x["kind"] == "imported"
        ]  # fmt: skip
        if found:
            starts[name] = float(np.median(found))
    settings = [
        f"{WORDS[name]}, {data}: " + ", ".join(f"{k} {v:g}" for k, v in r[0]["options"].items())
        for (data, name, seed), r in sorted(runs.items(), key=lambda x: (_place(x[0][0]), x[0]))
        if r[0]["options"] and seed == min(s for d, n, s in runs if (d, n) == (data, name))
    ]
    versions = {k: v for head in heads for k, v in head["versions"].items() if v}
    dates = sorted({head["date"] for head in heads})
    return "\n".join([
        "- Importing alone takes "
        + ", ".join(f"{WORDS[name]} {t:.1f} s" for name, t in starts.items())
        + ": it is in the times above, and so is compiling, but for the CPU kernels, whose machine "
        "code was stored already.",
        f"- Chosen of three on validation rows, on nobody's clock: {'; '.join(settings)}.",
        f"- {' to '.join(dict.fromkeys([dates[0], dates[-1]]))}, {heads[0]['machine']}, one "
        "thread on one of them, others at work beside it: so CPU seconds, not the clock's; "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + ".",
    ])  # fmt: skip


def draw(lines: list[Line], path: Path) -> Path | None:
    """Draw log-likelihood against CPU seconds, a panel for each data set; the mark is dotted."""
    if not importlib.util.find_spec("matplotlib"):
        return None
    return _draw(lines, path)


@in_style
def _draw(lines: list[Line], path: Path) -> Path:
    runs = by_run(lines)
    sets = list(dict.fromkeys(sorted((key[0] for key in runs), key=_place)))
    columns = min(3, len(sets))
    figure = canvas((4.4 * columns, 3.9 * -(-len(sets) // columns)))
    panels = np.atleast_1d(figure.subplots(-(-len(sets) // columns), columns)).ravel()
    for panel in panels[len(sets) :]:
        panel.set_axis_off()
    for data, axes in zip(sets, panels, strict=False):
        _panel(axes, data, {key[1:]: r for key, r in runs.items() if key[0] == data})
    for axes in panels[:: max(columns, 1)]:
        axes.set_ylabel("test log-likelihood, nats", fontsize=13)
    figure.savefig(path)
    return path


def _panel(axes: Any, data: str, runs: dict[tuple[str, int], list[Line]]) -> None:
    """Draw one data set: the first seed of each contender, with its name at its end."""
    ends, mark = [], next(iter(runs.values()))[0]["mark"]
    curves = {}
    for (name, _), lines in sorted(runs.items(), key=lambda x: x[0][1]):
        if name not in curves and (points := curve(points_of(lines))):
            curves[name] = points
            ends.append((points[-1][1], points[-1][0], name))
    if not curves:
        return
    best = max(value for value, *_ in ends)
    low = min(mark, *(value for value, *_ in ends)) if len(ends) > 1 else mark
    least = 0.2 if abs(mark) < 10 else 5.0  # nats that a panel shows
    span = 1.6 * max(best - mark, min(mark - low, 4 * (best - mark)), least)
    bottom, top = best - 1.25 * span, best + 0.12 * span
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), color=COLORS[name], lw=2.2)
    axes.axhline(mark, color="0.3", ls=":", lw=1.2)
    axes.set(xscale="log", ylim=(bottom, top))
    right = max(points[-1][0] for points in curves.values())
    left = min(points[0][0] for points in curves.values())
    axes.set_xlim(left * 0.8, right * (right / left) ** 0.5)
    previous = math.inf
    for value, cpu, name in sorted(ends, reverse=True):
        inside = min(max(value, bottom + 0.05 * (top - bottom)), previous - 0.09 * (top - bottom))
        previous = inside
        below = "" if value >= bottom else f" ({_nats(value)})"
        at, side = (cpu * 1.1, "left") if value >= bottom else (axes.get_xlim()[1] * 0.97, "right")
        axes.text(at, inside, SHORT[name] + below, color=COLORS[name], fontsize=13,
                  va="center", ha=side)  # fmt: skip
    axes.set_title(f"{data}: to {_nats(mark)}", fontsize=14)
    axes.set_xlabel("CPU seconds", fontsize=13)
    axes.tick_params(labelsize=11)


def report(path: Path) -> str:
    """Write the table beside the results, draw the figure, and return the table."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    text = f"{table(lines)}\n\n{notes(lines)}"
    path.with_suffix(".md").write_text(text + "\n")
    draw(lines, path.with_suffix(".png"))
    return text


if __name__ == "__main__":
    default = Path(__file__).parent / "results" / "quality.jsonl"
    print(report(Path(sys.argv[1]) if len(sys.argv) > 1 else default))
