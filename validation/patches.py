"""BSDS300: what each choice of its settings is worth, one changed at a time, on validation rows.

Twelve layers and two epochs for the 24 and eight of the settings, at twice their rate; seed 0.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from relgrad_np.runs.presets import settings_for

from .fitting import Wanted, found, missing, runs
from .report import Section, table
from .store import Store

CHANGES: dict[str, dict[str, Any]] = {
    "as set": {},
    "independent components: student_t": {"density": "student_t"},
    "normal base": {"density": "normal"},
    "Adam on R, 0.01": {"rule": "adam"},
    "the recipe, 1.2": {"rule": "recipe", "learning_rate": 1.2},
    "the recipe, 3.0": {"rule": "recipe", "learning_rate": 3.0},
    "half the rate, 0.005": {"learning_rate": 0.005},
    "batches of 1,000": {"batch_size": 1000},
    "Gaussianising start": {"init": "gaussianize"},
    "start along principal axes": {"init": "principal"},
    "leaky_tanh 0.6, 0.6": {"alpha": 0.6, "beta": 0.6},
    "smooth_leaky_relu": {"activation": "smooth_leaky_relu", "alpha": None, "beta": None},
    "1 layer": {"layers": 1},
    "6 layers": {"layers": 6},
    "24 layers": {"layers": 24},
}


def wanted(quick: bool) -> Iterator[Wanted]:
    """Yield the runs, one for each change."""
    base = replace(settings_for("bsds300"), layers=12, epochs=2, learning_rate=0.01)
    for change in CHANGES.values():
        yield Wanted("bsds300", replace(base, **change))


def run(store: Store, quick: bool) -> None:
    """Fit what is not kept, if the patches are at hand."""
    if missing("bsds300") is None:
        runs(store, "patches", wanted(quick))


def section(store: Store, quick: bool) -> Section:
    """Return a row for each change."""
    rows, whole = [], None
    for what, one in zip(CHANGES, wanted(quick), strict=True):
        for line in found(store, "patches", [one]):
            if not line["finite"]:
                rows.append([what, "diverged", ""])
                continue
            value = line["validation"]
            whole = value if what == "as set" else whole
            off = "" if whole is None or what == "as set" else f"{value - whole:+.1f}"
            rows.append([what, f"{value:.1f}", off])
    text = [
        "Validation log-likelihood, nats: 12 layers, 2 epochs, Adam in the group at 0.01; the best "
        "of the last net and its average. The test photographs have about 6 nats less. At this "
        "length a difference below 0.3 says little. The Gaussianising start and smooth_leaky_relu "
        "do not stand this rate; smaller ones were not tried there.",
        "",
        table(["", "nats", "difference"], rows),
    ]
    left = len(CHANGES) - len(rows)
    lacking = (f"{missing('bsds300') or f'{left} runs have not run'}",) if left else ()
    return Section("\n".join(text), (), lacking)
