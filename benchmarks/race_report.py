"""What a race says: when each contender passed each mark, the ratio claimed, and the figure.

    python -m benchmarks.race_report benchmarks/results/race-mnist.jsonl

A mark is passed somewhere between two reports. Both ends are given, and the ratio is the least
that they allow: the peer's earlier end over our later one.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any, NamedTuple

from relgrad_np.runs.plots import canvas
from relgrad_np.runs.style import in_style, label_ends

MARKS = {"mnist": (-1375.2, -1366.6, -1300.0, -1250.0), "digits": (-100.0, -90.0, -77.1, -75.0)}
CLAIM = {"mnist": (-1375.2, -1300.0), "digits": (-77.1, -77.1)}  # the peer's mark, and ours
PEER = "adam-published"
OURS = ("plain", "exponential", "recipe")
FLOOR = 170.0  # nats below the Gaussian, from where on the figure shows


class Crossing(NamedTuple):
    """A mark was passed after `after` and by `by` seconds, at this epoch; `by` inf: not at all.

    >>> Crossing(1.0, 2.0, 0.5).by
    2.0
    """

    after: float
    by: float
    epoch: float

    def __str__(self) -> str:
        """Return both ends, in seconds."""
        if math.isinf(self.by):
            return f"not in {self.after:.0f}"
        return f"{self.by:.1f}" if self.after == 0 else f"{self.after:.1f}-{self.by:.1f}"


def crossing(points: list[dict[str, Any]], mark: float, clock: str = "seconds") -> Crossing:
    """Return when, by this clock, the test log-likelihood first was `mark` or above.

    >>> points = [{"epoch": e, "seconds": 2.0 * e, "test": v}
    ...           for e, v in [(0.5, -3.0), (1.0, None), (1.5, -1.0)]]
    >>> crossing(points, -2.0), crossing(points, 0.0).after
    (Crossing(after=2.0, by=3.0, epoch=1.5), 3.0)
    """
    after = 0.0
    for point in points:
        if point["test"] is not None and point["test"] >= mark:
            return Crossing(after, point[clock], point["epoch"])
        after = point[clock]
    return Crossing(after, math.inf, math.inf)


def read(path: Path) -> tuple[dict[str, Any], dict[tuple[str, int], list[dict[str, Any]]]]:
    """Return the first line, and the points of each (contender, seed) in the order of the file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lanes: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for line in lines:
        if line["kind"] == "point":
            lanes.setdefault((line["contender"], line["seed"]), []).append(line)
    return lines[0], lanes


def claim(
    lanes: dict[tuple[str, int], list[dict[str, Any]]], data: str, seed: int, clock: str = "seconds"
) -> str:
    """Return the ratio of the peer's best time to its mark to our best time to ours, in a sentence.

    The peer may have run at several learning rates, `adam-published@1e-4`: the fastest counts.

    >>> lanes = {("adam-published", 0): [{"epoch": 1, "seconds": 60.0, "test": -1400.0}],
    ...          ("recipe", 0): [{"epoch": 0, "seconds": 2.0, "test": -1290.0}]}
    >>> claim(lanes, "mnist", 0).partition("; ")[2]
    'recipe reached -1300 after 2.0 seconds: at least a ratio of 30.0'
    """
    peer_mark, our_mark = CLAIM[data]
    unit = clock.replace("cpu_seconds", "CPU seconds")
    peers = {
        name: crossing(points, peer_mark, clock)
        for (name, s), points in lanes.items()
        if s == seed and name.startswith(PEER)
    }
    if not peers or not any((name, seed) in lanes for name in OURS):
        return f"seed {seed}: no ratio, one side did not run"
    fastest = min(peers, key=lambda name: (peers[name].by, peers[name].after))
    peer = peers[fastest]
    times = {n: crossing(lanes[n, seed], our_mark, clock) for n in OURS if (n, seed) in lanes}
    best = min(times, key=lambda name: times[name].by)
    mine = times[best]
    if math.isinf(mine.by):
        return f"seed {seed}: none of ours reached {our_mark:g}"
    if math.isinf(peer.by):
        said = f"did not reach {peer_mark:g} within {peer.after:.1f} {unit}"
    else:
        said = f"reached {peer_mark:g} after {peer} {unit} (epoch {peer.epoch:g})"
    return (
        f"seed {seed}: {fastest} {said}; {best} reached {our_mark:g} after {mine} {unit}: "
        f"at least a ratio of {peer.after / mine.by:.1f}"
    )


def table(path: Path) -> str:
    """Return the summary in Markdown: seconds until each mark, and the ratio of each seed."""
    head, lanes = read(path)
    marks = MARKS[head["data"]]
    titles = [
        "contender",
        "seed",
        "start",
        *(f"until {mark:g}" for mark in marks),
        "best",
        "end",
        "others",
    ]
    rows = [titles, ["---"] * len(titles)]
    for (name, seed), points in lanes.items():
        values = [p["test"] for p in points if p["test"] is not None]
        first, last = points[0], points[-1]
        rows.append(
            [
                name,
                str(seed),
                f"{first['test']:.1f} ({first['seconds']:.1f} s)",
                *(str(crossing(points, mark)) for mark in marks),
                f"{max(values):.1f}",
                f"epoch {last['epoch']:g}, {last['seconds']:.0f} s, {values[-1]:.1f}",
                _others(points),
            ]
        )
    seeds = sorted({seed for _, seed in lanes})
    return "\n".join(
        [
            f"{head['data']}: test log-likelihood ({head['test_rows']} rows, nats; the "
            f"Gaussian of the training rows {head['gaussian']:.1f}) against seconds,",
            f"{head['machine']}, {head['threads']} thread(s).",
            "A mark is passed between two reports: both ends. Others: CPUs that other processes "
            "used during its slices.",
            "",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            *(
                f"- {claim(lanes, head['data'], seed, clock)}"
                for seed in seeds
                for clock in ("seconds", "cpu_seconds")
            ),
        ]
    )


def _others(points: list[dict[str, Any]]) -> str:
    """Return the CPUs that other processes used during the slices, a mean over time."""
    used = [(p["others"], p["seconds"]) for p in points if "others" in p]
    if not used:
        return "?"
    ends = [0.0, *(seconds for _, seconds in used)]
    total = sum(o * (b - a) for (o, _), a, b in zip(used, ends[:-1], ends[1:], strict=True))
    return f"{total / ends[-1]:.2f}"


WORDS = {
    "recipe": "this package, default rule",
    "plain": "this package, plain step",
    "adam-gaussianize": "Adam on R, our start",
    "adam-published@1e-4": "published, rate of our choice",
    "adam-published": "published, its own rate",
}  # the exponential step is drawn nowhere: its curve is that of the plain one


@in_style
def figure(path: Path) -> Path:
    """Draw likelihood against seconds, as far down as ours can be read; return the picture's path.

    Contenders that stay below are named in a note. The first seed of each is drawn.
    """
    head, lanes = read(path)
    seed = min(seed for _, seed in lanes)
    shown = {name: lanes[name, seed] for name in WORDS if (name, seed) in lanes}
    best = {n: max(p["test"] or -math.inf for p in points) for n, points in shown.items()}
    low = head["gaussian"] - FLOOR * head["D"] / 784
    figure = canvas((8.0, 4.4))
    ax = figure.add_subplot()
    names = [name for name in shown if best[name] > low]
    for name in names:
        x = [p["seconds"] for p in shown[name]]
        ax.plot(x, [math.nan if p["test"] is None else p["test"] for p in shown[name]], "o-")
    last = max(p["seconds"] for points in shown.values() for p in points)
    ax.set(xscale="log", xlim=(1.0, 20 * last), ylim=(low, max(best.values()) + 0.1 * FLOOR))
    ax.set_xlabel("seconds of one thread, start-up included", loc="left")
    ax.set_ylabel("test log-likelihood (nats)")
    ax.set_xticks([1, 10, 100], ["1", "10", "100"])
    ax.minorticks_off()
    ax.spines.bottom.set_bounds(1.0, last)
    ax.plot([1.0, 0.2 * last], 2 * [head["gaussian"]], "--", color="0.5", lw=1)
    ax.text(1.05, head["gaussian"], "a Gaussian", va="bottom", color="0.4", fontsize=10)
    below = [f"{WORDS[n]}: at best {best[n]:,.0f} nats" for n in shown if n not in names]
    if below:
        ax.set_title(f"not shown, below: {'; '.join(below)}", loc="left", fontsize=10, color="0.4")
    figure.canvas.draw()
    label_ends(ax, [WORDS[name] for name in names])
    target = path.with_suffix(".png")
    figure.savefig(target)
    return target


def report(path: Path) -> str:
    """Write the table beside the results, draw the figure, and return the table."""
    text = table(path)
    path.with_suffix(".md").write_text(text + "\n")
    figure(path)
    return text


if __name__ == "__main__":
    print(report(Path(sys.argv[1])))
