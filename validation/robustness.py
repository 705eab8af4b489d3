"""One default setting, every depth, three seeds, the learning rate as it is and three times it.

The digits (60 epochs) and MNIST (4 epochs), L in 1, 2, 3, 5, 8: every run must be finite; L >= 2
above the Gaussian of the same rows, L = 1 within two standard errors of it. Hours, MNIST's part.
"""

from collections.abc import Iterator
from dataclasses import replace

from relgrad_np.runs.presets import settings_for

from .fitting import Wanted, found, missing, runs
from .report import Claim, Section, table
from .store import Line, Store

EPOCHS = {"digits": 60, "mnist": 4}
DEPTHS = (1, 2, 3, 5, 8)
SEEDS = (0, 1, 2)


def wanted(quick: bool) -> Iterator[Wanted]:
    """Yield what to run: the defaults of the set but for L, the seed and the rate."""
    for name in ("digits",) if quick else EPOCHS:
        base = replace(settings_for(name), epochs=EPOCHS[name])
        for seed in SEEDS[:1] if quick else SEEDS:
            for factor in (1.0, 3.0):
                for L in (1, 2, 5) if quick else DEPTHS:
                    yield Wanted(
                        name, replace(base, layers=L, seed=seed, learning_rate=0.4 * factor)
                    )


def run(store: Store, quick: bool) -> None:
    """Fit what is not kept, of the sets at hand."""
    runs(store, "robustness", [one for one in wanted(quick) if missing(one.data) is None])


def as_claimed(line: Line) -> bool:
    """Say whether a run is finite and where it should be."""
    if not line["finite"]:
        return False
    gain = line["test"] - line["gaussian"]
    one = line["settings"].get("layers", 3) == 1
    return abs(gain) <= line["two standard errors"] if one else gain > 0


def section(store: Store, quick: bool) -> Section:
    """Return what the test score gains over the Gaussian, by depth and rate."""
    keys = list(wanted(quick))
    lines = found(store, "robustness", keys)
    if not lines:
        return Section("", (), ("not run yet",))
    cells: dict[tuple[str, int, float], list[Line]] = {}
    for line in lines:
        settings = line["settings"]
        cells.setdefault(
            (line["data"], settings.get("layers", 3), settings["learning_rate"]), []
        ).append(line)
    rows = []
    for name, L in dict.fromkeys((name, L) for name, L, _ in cells):
        row: list[object] = [name, L]
        for rate in (0.4, 1.2):
            mine = cells.get((name, L, 0.4 * (1 if rate == 0.4 else 3.0)), [])
            gains = [x["test"] - x["gaussian"] for x in mine if x["finite"]]
            row += [
                f"{min(gains):+.2f} to {max(gains):+.2f}" if gains else "diverged" if mine else ""
            ]
            row += [sum(x.get("undone", 0) for x in mine)]
        rows.append(row)
    good = sum(map(as_claimed, lines))
    text = [
        "Nats of test log-likelihood above the Gaussian of the same rows, the range over seeds; and"
        f" how many steps were undone. The digits {EPOCHS['digits']} epochs, MNIST "
        f"{EPOCHS['mnist']}; nothing but the depth and the rate changes.",
        "",
        table(["data", "L", "rate 0.4", "undone", "rate 1.2", "undone"], rows),
    ]
    claims = (
        Claim(
            "every run is finite; L >= 2 above the Gaussian, L = 1 within two standard errors",
            f"{good} of {len(lines)}",
            good == len(lines),
        ),
    )
    lacking = (f"{len(keys) - len(lines)} runs",) if len(lines) < len(keys) else ()
    return Section("\n".join(text), claims, lacking)
