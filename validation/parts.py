"""What each part of the recipe does: the same run with that part switched off, on validation rows.

Three layers; the digits for 60 epochs, MNIST for 2; seed 0.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from relgrad_np import Recipe
from relgrad_np.runs.presets import settings_for

from .fitting import Wanted, found, missing, runs
from .report import Section, table
from .store import Store

EPOCHS = {"digits": 60, "mnist": 2}
OFF: dict[str, dict[str, Any]] = {
    "the recipe": {},
    "chart off (`charts=False`)": {"charts": False},
    "gain off (`gains=False`)": {"gains": False},
    "plain steps (`kind='plain'`)": {"kind": "plain"},
    "size 0.03 (`size='constant'`)": {"size": "constant", "learning_rate": 0.03},
    "a third of the rate": {"learning_rate": 0.4 / 3},
    "three times the rate": {"learning_rate": 1.2},
    "whitening start": {"init": "whiten"},
    "orthogonal start": {"init": "orthogonal"},
    "no average": {"average": None},
    "the same noise in every epoch": {"fresh_noise": False},
    "the paper's step, 0.03": {
        "charts": False, "gains": False, "size": "constant", "kind": "plain",
        "learning_rate": 0.03,
    },
}  # fmt: skip
OF_THE_FIT = ("init", "average", "fresh_noise")


def variant(name: str, off: dict[str, Any]) -> Wanted:
    """Return the run of a set with these parts changed."""
    settings = replace(settings_for(name), epochs=EPOCHS[name], layers=3, learning_rate=None)
    settings = replace(settings, **{key: off[key] for key in OF_THE_FIT if key in off})
    return Wanted(name, settings, Recipe(**{k: v for k, v in off.items() if k not in OF_THE_FIT}))


def wanted(quick: bool) -> Iterator[Wanted]:
    """Yield the runs, by set and part."""
    for name in ("digits",) if quick else EPOCHS:
        for off in OFF.values():
            yield variant(name, off)


def run(store: Store, quick: bool) -> None:
    """Fit what is not kept, of the sets at hand."""
    runs(store, "parts", [one for one in wanted(quick) if missing(one.data) is None])


def section(store: Store, quick: bool) -> Section:
    """Return a row for each part, a column for each set."""
    rows, lacking = [], []
    names = [name for name in EPOCHS if found(store, "parts", [variant(name, OFF["the recipe"])])]
    for what, off in OFF.items():
        cells = []
        for name in names:
            (whole,) = found(store, "parts", [variant(name, OFF["the recipe"])])
            lines = found(store, "parts", [variant(name, off)])
            if not lines:
                cells.append("")
                continue
            if not lines[0]["finite"]:
                cells.append("diverged")
                continue
            value = lines[0]["validation"]
            gain = "" if off == {} else f" ({value - whole['validation']:+.1f})"
            cells.append(f"{value:.1f}{gain}")
        rows.append([what, *cells])
    done = len(found(store, "parts", wanted(quick)))
    if done < len(list(wanted(quick))):
        lacking.append(f"{len(list(wanted(quick))) - done} runs have not run")
    text = [
        "Validation log-likelihood, three layers, seed 0: the digits for 60 epochs, MNIST for 2.",
        "",
        table(["", *names], rows),
    ]
    return Section("\n".join(text), (), tuple(lacking))
