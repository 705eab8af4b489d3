"""Eight toy distributions in the plane: density and samples beside the data, as one figure."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

import relgrad_np as rg
from relgrad_np.datasets import TOYS
from relgrad_np.fitting.storage.model import in_float64
from relgrad_np.runs import plots
from relgrad_np.runs.presets import settings_for
from relgrad_np.runs.style import in_style

from .fitting import SETS, Wanted, facts, fitted, found, runs
from .report import Claim, Section, hours, table
from .store import Line, Store

QUICK_EPOCHS = 6
QUICK_LAYERS = 4


def wanted(quick: bool) -> Iterator[Wanted]:
    """Yield the toys with the settings that `train` gives them; the quick ones are short."""
    for name in TOYS:
        settings = settings_for(f"toy:{name}")
        if quick:
            settings = replace(
                settings,
                layers=min(settings.layers, QUICK_LAYERS),
                epochs=min(settings.epochs, QUICK_EPOCHS),
            )
        yield Wanted(f"toy:{name}", settings)


def limit_key(name: str) -> Line:
    """Return what tells the limit of a toy."""
    return {"limit": name, "draws": 2_000_000, "bins": 400}


def entropy(limit: str, draws: int, bins: int) -> Line:
    """Return the entropy of a toy in nats, in the plane it is drawn in.

    By a histogram on [-5, 5]^2, corrected by (filled bins - 1) / (2 draws) for its bias (Miller
    1955); bins of 0.025 add less than 0.005 nats for the thinnest lines, of deviation 0.08.
    """
    counts = np.zeros((bins, bins))
    for seed in range(draws // 500_000):
        X = TOYS[limit.removeprefix("toy:")](500_000, np.random.default_rng(seed))
        counts += np.histogram2d(X[:, 0], X[:, 1], bins, [(-5, 5), (-5, 5)])[0]
    p = counts[counts > 0] / draws
    discrete = -(p * np.log(p)).sum() + (p.size - 1) / (2 * draws)
    return {
        "entropy": float(discrete + 2 * np.log(10 / bins)),
        "outside": int(draws - counts.sum()),
    }


def run(store: Store, quick: bool) -> None:
    """Fit what is not kept, and draw the figure if something new was fitted."""
    before = store.fresh
    for one in wanted(quick):
        key = limit_key(one.data)
        store.run("toys", key, lambda key=key: entropy(**key))
        facts(store, one.data, one.settings.seed)
    runs(store, "toys", wanted(quick), models=True)
    if store.fresh > before or not store.figure(figure_name(quick)).exists():
        draw(store, quick)


def figure_name(quick: bool) -> str:
    """Return the name of the figure."""
    return "toys-quick" if quick else "toys"


def limit(store: Store, name: str) -> float:
    """Return the mean log-likelihood of the toy under itself, in standardised space."""
    own = store.find("toys", limit_key(name)) or {"entropy": np.nan}
    data = store.find("data", {"data": name, "seed": 0}) or {"log det": np.nan}
    return float(-own["entropy"] - data["log det"])


def share(line: Line, limits: dict[str, float]) -> float:
    """Return how much of the way from the Gaussian to what is possible a fit went, in per cent."""
    return 100 * (line["test"] - line["gaussian"]) / (limits[line["data"]] - line["gaussian"])


@in_style
def draw(store: Store, quick: bool) -> None:
    """Draw three rows, data, samples and density, of eight columns."""
    figure = plots.canvas((16.0, 6.6))
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    columns = figure.subplots(3, len(TOYS)).T
    for column, one in zip(columns, wanted(quick), strict=True):
        line, model = fitted(store, "toys", one)
        data = SETS(one.data, one.settings.seed)
        layers, parts = in_float64(model.layers), (model.activation, model.density)
        rows = np.concatenate([data.train, data.test])
        X, _ = rg.sample(layers, np.random.default_rng(0), len(rows), *parts)
        panels, extent, top = plots.panels_2d(
            rows,
            X,
            lambda x, layers=layers, parts=parts: rg.log_likelihood(layers, x, *parts).per_sample,
        )
        for ax, panel, word in zip(column, panels, ("data", "samples", "density"), strict=True):
            ax.imshow(panel, origin="lower", extent=extent, cmap="viridis", vmin=0, vmax=top)
            ax.set_aspect("auto")
            ax.set_box_aspect(1)
            ax.set_xticks([])
            ax.set_yticks([])
            if ax in columns[0]:
                ax.set_ylabel(word, fontsize=13)
        name = one.data.removeprefix("toy:")
        column[0].set_title(f"{name}\n{line['test']:.2f} nats", fontsize=12)
    figure.savefig(store.figure(figure_name(quick)))


def section(store: Store, quick: bool) -> Section:
    """Return the figure and the table."""
    lines = found(store, "toys", wanted(quick))
    lacking = () if len(lines) == len(TOYS) else (f"{len(TOYS) - len(lines)} toys not run yet",)
    if not lines:
        return Section("", (), lacking)
    good = [line for line in lines if line["finite"]]
    settings = next(wanted(quick)).settings
    limits = {line["data"]: limit(store, line["data"]) for line in good}
    rows = [
        [
            line["data"].removeprefix("toy:"),
            f"{line['test']:.3f} +- {line['two standard errors']:.3f}",
            f"{line['gaussian']:.3f}",
            f"{limits[line['data']]:.3f}",
            f"{share(line, limits):.0f} %",
            line["settings"].get("layers", 3),
            hours(line["fitting seconds"]),
        ]
        for line in good
    ]
    text = [
        f"{settings.layers} layers for the first, D = 2, 10,000 training rows; test "
        "log-likelihood in standardised space, nats, two standard errors. *possible*: minus the "
        "entropy of the toy itself, which no model can pass but by luck; *of the way there*: from "
        "the Gaussian. Colours are densities, on one scale in each column.",
        "",
        f"![data, samples and density of the toys](figures/{figure_name(quick)}.png)",
        "",
        table(["toy", "test", "Gaussian", "possible", "of the way there", "layers", "a fit"], rows),
    ]
    gap = min(line["test"] - line["gaussian"] for line in good)
    claims = (
        Claim(
            "every toy above its Gaussian",
            f"by {gap:.2f} nats at least",
            gap > 0 and len(good) == len(lines),
        ),
    )
    return Section("\n".join(text), claims, lacking)
