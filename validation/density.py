"""Density estimation: test log-likelihood beside the Gaussian of the very same rows.

Settings were chosen on validation rows (`relgrad_np.runs.settings.settings_for`); Fashion-MNIST has
those of MNIST, untouched. The test rows only report.
"""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from relgrad_np.runs.presets import settings_for
from relgrad_np.runs.settings import Settings

from . import growth
from .fitting import Wanted, facts, found, missing, runs
from .report import Claim, Section, hours, table
from .store import Line, Store

SEEDS = (0, 1, 2)
SETS = ("digits", "mnist", "fashion-mnist", "power", "bsds300", "miniboone", "gas", "hepmass")
DEEP = {
    "layers": 8,
    "activation": "leaky_tanh",
    "alpha": 0.6,
    "beta": 0.6,
    "learning_rate": 0.6,
}
LONG = {**DEEP, "layers": 12, "epochs": 70, "average": 0.2}
PUBLISHED = {  # test log-likelihood, nats: Papamakarios et al. (2017), and the authors' README
    "Gaussian": {"power": -7.74, "miniboone": -37.24, "bsds300": 96.67, "mnist": -1366.9},
    "MADE": {"power": -3.08, "miniboone": -15.59, "bsds300": 148.85, "mnist": -1380.8},
    "Real NVP (5)": {"power": -0.02, "miniboone": -13.55, "bsds300": 152.97, "mnist": -1323.2},
    "MAF (10)": {"power": 0.24, "miniboone": -12.24, "bsds300": 154.93, "mnist": -1313.1},
    "MAF (10), mixture": {"mnist": -1100.3},
    "relative gradient": {
        "power": 0.065,
        "gas": 6.978,
        "hepmass": -21.958,
        "miniboone": -13.372,
        "bsds300": 151.12,
        "mnist": -1375.2,
    },
}
GOALS = {("mnist", "two layers"): -1245.0, ("mnist", "eight layers"): -1150.0}
GOALS |= {("mnist", "twelve layers, long"): -1081.0}
GOALS |= {("power", "as set"): 0.065, ("bsds300", "as set"): 151.12}


def variants(name: str, seed: int) -> dict[str, Settings]:
    """Return the settings that are run on a set, by what the report calls them."""
    settings = settings_for(name, seed=seed)
    if name not in ("mnist", "fashion-mnist"):
        return {"as set": settings}
    two = replace(settings, epochs=15)
    if name == "fashion-mnist" and seed > 0:  # some minutes each, and no goal to meet
        return {"two layers": two}
    found = {"two layers": two, "eight layers": replace(two, **DEEP)}
    return found | ({"twelve layers, long": replace(two, **LONG)} if name == "mnist" else {})


def wanted(quick: bool) -> Iterator[tuple[str, str, Wanted]]:
    """Yield (set, variant, run): the quick ones are the digits alone."""
    for seed in SEEDS[:1] if quick else SEEDS:  # the first seed of all comes first
        for name in SETS[:1] if quick else SETS:
            for variant, settings in variants(name, seed).items():
                yield name, variant, Wanted(name, settings)


def run(store: Store, quick: bool) -> None:
    """Fit what is not kept, of the sets that are at hand; the first seed's models are kept."""
    absent = set()
    for name, _, one in wanted(quick):
        if name in absent:
            continue
        try:
            facts(store, name, one.settings.seed)
            runs(store, "density", [one], models=one.settings.seed == 0)
        except FileNotFoundError:
            absent.add(name)


def section(store: Store, quick: bool) -> Section:
    """Return the table of the sets, the published figures beside ours, and the claims."""
    cells: dict[tuple[str, str], list[Line]] = defaultdict(list)
    rows, claims, todo = [], [], defaultdict(list)
    for name, variant, one in sorted(wanted(quick), key=lambda x: SETS.index(x[0])):
        lines = found(store, "density", [one])
        cells[name, variant] += lines
        if not lines:
            todo[name].append(f"{variant}, seed {one.settings.seed}")
    lacking = [
        f"{name}: {missing(name) or 'not run yet: ' + '; '.join(runs)}"
        for name, runs in todo.items()
    ]
    described: dict[str, Line] = {}
    for (name, variant), lines in cells.items():
        good = [line for line in lines if line["finite"]]
        data = store.find("data", {"data": name, "seed": 0})
        if not good or data is None:
            continue
        described[name] = data
        scores = [line["test"] for line in good]
        mean, gaussian = sum(scores) / len(scores), good[0]["gaussian"]
        seeds = ", ".join(f"{x:.{digits(x)}f}" for x in scores)
        settings = {**good[0]["settings"]}
        rows.append([
            name,
            f"{variant}: L = {settings.get('layers', 3)}",
            f"**{mean:.{digits(mean)}f}** +- {good[0]['two standard errors']:.2g}",
            seeds,
            f"{gaussian:.{digits(gaussian)}f}",
            _bits(data, mean, gaussian),
            PUBLISHED["relative gradient"].get(name, ""),
            PUBLISHED["MAF (10)"].get(name, ""),
            settings.get("epochs", 60),
            hours(sum(line["fitting seconds"] for line in good) / len(good)),
        ])  # fmt: skip
        ran = f"{len(good)} seed{'s' * (len(good) > 1)} run"
        if name != "miniboone":
            gap = min(line["test"] - line["gaussian"] for line in good)
            what = f"{name}, {variant}: every seed above the Gaussian of the same rows"
            claims.append(Claim(what, f"by {gap:.1f} at least, {ran}", gap > 0))
        if (name, variant) in GOALS:
            goal, least = GOALS[name, variant], min(scores)
            what = f"{name}, {variant}: every seed at least {goal}"
            claims.append(Claim(what, f"{least:.{digits(least)}f}, {ran}", least >= goal))
        bad = len(lines) - len(good)
        if bad:
            claims.append(Claim(f"{name}, {variant}: every run is finite", f"{bad} not", False))
    titles = ["data", "net", "test, nats", "by seed", "Gaussian", "bits/dim (Gaussian)"]
    titles += ["published", "MAF (10)", "epochs", "a fit"]
    text = [
        "Test log-likelihood in nats a row, the mean over seeds, +- two standard errors of the mean"
        " over the test rows; each seed draws its own start, order and (images, patches) noise. "
        "*Gaussian*: the closed-form maximum-likelihood Gaussian of the same training rows, judged "
        "on the same test rows. *published*: the relative gradient as its authors' README has it; "
        "MAF as in Papamakarios et al. (2017). bits/dim are of pixel space.",
        "",
        table(titles, rows, keys=2),
        "",
        "What the rows are:",
        "",
        table(
            ["data", "train, validation, test", "D", "space", "the published Gaussian"],
            [
                [
                    name,
                    ", ".join(f"{n:,}" for n in data["rows"]),
                    data["D"],
                    data["space"],
                    PUBLISHED["Gaussian"].get(name, ""),
                ]
                for name, data in described.items()
            ],
        ),
        "",
        *_growth(store, cells),
        *_notes(described, cells),
    ]
    return Section("\n".join(text), tuple(claims), tuple(lacking))


def _growth(store: Store, cells: dict[tuple[str, str], list[Line]]) -> list[str]:
    """Draw MNIST's nets, the first seed of each, and return the lines of the report."""
    nets = {
        f"{line['settings'].get('layers', 3)} layers": line
        for (name, _), lines in cells.items()
        if name == "mnist"
        for line in lines[:1]
        if line["finite"] and "curve" in line
    }
    if len(nets) < 2:
        return []
    file = growth.draw(store, "mnist", nets, floor=-1260)
    return [f"![log-likelihood against epochs, MNIST](figures/{file})", ""]


def digits(value: float) -> int:
    """Return how many decimals are worth printing.

    >>> digits(-1236.3), digits(0.065)
    (1, 3)
    """
    return 1 if abs(value) >= 50 else 2 if abs(value) >= 5 else 3


def _bits(data: Line, *values: float) -> str:
    """Return pixel-space bits/dim of mean log-likelihoods; nothing where there are no pixels."""
    if not data["image"]:
        return ""
    model, gaussian = (-(v + data["log det"]) / (data["D"] * math.log(2)) for v in values)
    return f"{model:.2f} ({gaussian:.2f})"


NOTES = {
    "mnist": "MNIST is in logit space, `logit(1e-6 + (1 - 2e-6) x)`, dequantised, without the "
    "logit's Jacobian, as published figures are. The published -1375.2 lies below the full "
    "Gaussian, the model's own case of one layer: that run was not at its optimum. MAF with a "
    "mixture of Gaussians as its base has -1100.3.",
    "fashion-mnist": "Fashion-MNIST has the settings of MNIST; none was chosen on it.",
    "power": "POWER is prepared as Papamakarios et al. (2017) did, with their own shuffle and noise"
    " (`RandomState(42)`), so the test rows are theirs, up to differences of the NumPy version.",
    "bsds300": "BSDS300's patches are new draws from the photographs (grey, 8 x 8, dequantised, "
    "mean subtracted, last pixel dropped: D = 63; 180 photographs train, 20 validate, 100 test): "
    "compare within the table, and with published figures up to what the Gaussians differ by. The "
    "base is a multivariate t: one scale for the whole patch, whose contrast varies; with one "
    "layer alone it is an elliptical distribution. With independent components deep nets stayed "
    "short of the published figure.",
    "miniboone": "MINIBOONE's training rows are not available here: the published validation rows "
    "stand in for them, so its figures do not compare with published ones.",
}


def _notes(described: dict[str, Line], cells: dict[tuple[str, str], list[Line]]) -> list[str]:
    machines = sorted({x["machine"] for lines in cells.values() for x in lines})
    shown = [f"- {NOTES[name]}" for name in described if name in NOTES]
    for (name, variant), lines in cells.items():
        if lines:
            chosen = {k: v for k, v in lines[0]["settings"].items() if k != "seed"}
            listed = ", ".join(f"{k}={v!r}" for k, v in chosen.items())
            shown.append(f"- Settings of {name}, {variant}: `Settings({listed})`.")
    return [*shown, f"- Hardware: {'; '.join(machines)}; times on a machine that others used, too."]
