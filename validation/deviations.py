"""The published recipe (the preset), and beside it each deviation put right, one at a time."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.race_report import crossing, read
from relgrad_np import Adam
from relgrad_np.runs.presets import settings_for

from .fitting import Wanted, found, missing, runs
from .report import Claim, Section, table
from .store import Line, Store

AUTHORS = -1375.2  # their README
RACE = Path(__file__).parents[1] / "benchmarks" / "results" / "race-mnist.jsonl"
RATES = {"adam-published": "at 1e-3", "adam-published@1e-4": "at 1e-4"}
EPOCHS = {"digits": 60, "mnist": 1}
SEEDS = {"digits": (0, 1, 2), "mnist": (0,)}
PUBLISHED: dict[str, Any] = {"bias": "published", "clock": 0}
RIGHT: dict[str, Any] = {"bias": "augmented", "clock": 1}
BETTER = {"init": "gaussianize", "batch_size": 100, "alpha": 0.3, "schedule": "linear"}
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # of Adam, of the settings
    "the published recipe": ({}, {}),
    "the term of log|det| in the bias": ({"bias": "augmented"}, {}),
    "Adam's clock ticks with each step": ({"clock": 1}, {}),
    "both": (RIGHT, {}),
    "start: Gaussianising layers": ({}, {"init": "gaussianize"}),
    "start: whitening": ({}, {"init": "whiten"}),
    "batches of 100": ({}, {"batch_size": 100}),
    "slope 0.3 for 0.01": ({}, {"alpha": 0.3}),
    "rate falls linearly to 0": ({}, {"schedule": "linear"}),
    "rate 1e-4 for 1e-3": ({"learning_rate": 1e-4}, {}),
    "the average of the last tenth": ({}, {"average": 0.1}),
    "fresh noise in every epoch": ({}, {"fresh_noise": True}),
    "all but the rate": (RIGHT, BETTER | {"average": 0.1, "fresh_noise": True}),
}


def wanted(name: str, change: str, seed: int) -> Wanted:
    """Return the run of a set with this change."""
    of_adam, of_settings = CHANGES[change]
    base = settings_for(name, preset="published", seed=seed, epochs=EPOCHS[name], layers=2)
    base = replace(base, average=None, fresh_noise=False, dtype="float32")
    return Wanted(name, replace(base, **of_settings), Adam(**PUBLISHED | of_adam))


def ours(name: str, seed: int) -> Wanted:
    """Return our default at the same depth and number of epochs."""
    settings = settings_for(name, seed=seed, epochs=EPOCHS[name], layers=2)
    return Wanted(name, settings)


def everything(name: str) -> Iterator[tuple[str, Wanted]]:
    """Yield (change, run) of a set."""
    for change in CHANGES:
        for seed in SEEDS[name]:
            yield change, wanted(name, change, seed)
    for seed in SEEDS[name]:
        yield "our default rule instead", ours(name, seed)


def run(store: Store, quick: bool) -> None:
    """Fit what is not kept; the quick ones are the digits."""
    for name in ("digits",) if quick else EPOCHS:
        if missing(name) is None:
            runs(store, "deviations", [one for _, one in everything(name)])


def section(store: Store, quick: bool) -> Section:
    """Return a row for each change, a column for each set."""
    columns: dict[str, dict[str, list[Line]]] = {}
    lacking = []
    for name in ("digits",) if quick else EPOCHS:
        cells: dict[str, list[Line]] = {}
        for change, one in everything(name):
            cells.setdefault(change, []).extend(found(store, "deviations", [one]))
        todo = sum(not lines for lines in cells.values())
        if todo:
            lacking.append(f"{name}: {todo} of {len(cells)} variants have not run yet")
        columns[name] = cells
    changes = list(dict.fromkeys(change for cells in columns.values() for change in cells))
    rows = [
        [
            f"{'' if i == 0 or i >= len(CHANGES) - 1 else '+ '}{change}",
            *(cell(columns[name], change) for name in columns),
        ]
        for i, change in enumerate(changes)
    ]
    titles = [f"{name}, epochs: {EPOCHS[name]}, seeds: {len(SEEDS[name])}" for name in columns]
    gaussians = [
        f"{lines[0]['gaussian']:.1f}" if (lines := cells["the published recipe"]) else ""
        for cells in columns.values()
    ]
    rows.append(["*the Gaussian of the same rows*", *gaussians])
    text = [
        "The preset `published`: two layers, orthogonal start, smooth leaky ReLU of slope 0.01, "
        "Adam at a constant 1e-3 with the epoch as its clock, its bias rule, batches of 10. Each "
        "row below changes that one thing and nothing else. Test log-likelihood in nats of the best"
        " epoch in validation, the mean over seeds; in brackets what the change gains.",
        "",
        table(["", *titles], rows),
        "",
        f"The authors report {AUTHORS} on MNIST, and not after how many epochs; these runs are "
        f"short. {longer()}We report the discrepancy and leave it at that.",
    ]
    claims = []
    for name, cells in columns.items():
        right, published = (
            [x["test"] for x in cells[change] if x["finite"]]
            for change in ("all but the rate", "the published recipe")
        )
        if right and published:
            gain = sum(right) / len(right) - sum(published) / len(published)
            claims.append(
                Claim(
                    f"{name}: all put right is above as published", f"by {gain:.1f} nats", gain > 0
                )
            )
    return Section("\n".join(text), tuple(claims), tuple(lacking))


def longer() -> str:
    """Say what the race, `python -m benchmarks.race`, saw of the published recipe on MNIST."""
    if not RACE.exists():
        return ""
    _, lanes = read(RACE)
    said = []
    for contender, words in RATES.items():
        points = lanes.get((contender, 0))
        if points:
            best = max(p["test"] for p in points if p["test"] is not None)
            there = crossing(points, AUTHORS)
            when = (
                "never past that" if math.isinf(there.by) else f"past that after {there.epoch:.0f}"
            )
            said.append(
                f"{words} its best within {points[-1]['epoch']:.0f} epochs is {best:.1f}, {when}"
            )
    return f"Longer, as compiled JAX in `benchmarks/results/race-mnist.md`: {'; '.join(said)}. "


def cell(cells: dict[str, list[Line]], change: str) -> str:
    """Return the mean test score of a change and what it gains over the published recipe."""
    lines = cells[change]
    good = [x["test"] for x in lines if x["finite"]]
    base = [x["test"] for x in cells["the published recipe"] if x["finite"]]
    if not lines:
        return ""
    if len(good) < len(lines) or not good:
        return f"{len(lines) - len(good)} of {len(lines)} diverged"
    value = sum(good) / len(good)
    if not base or change == "the published recipe":
        return f"{value:.1f}"
    return f"{value:.1f} ({value - sum(base) / len(base):+.1f})"
