"""Where deep narrow nets are stiff: POWER, the toys, and the patches of BSDS300, by the presets.

    python -m validation.low_dimension power | bsds300 | toys

Settings are the package's defaults, chosen on the validation rows; the test rows only report. The
toys also leave a figure, results/toys.png: data, samples, density.
Exit status 1 unless POWER reaches 0.065 and BSDS300 151.12 nats, which the paper's authors publish
for this method (on other draws of the patches).
"""

import argparse
import json
import time

import numpy as np
from matplotlib.figure import Figure

import relgrad_np as rg
from relgrad_np.datasets import TOYS, load
from relgrad_np.training import settings_for, train

from .experiments import RESULTS, Wanted, runs

GOALS = {"power": 0.065, "bsds300": 151.12}
SPAN, CELLS = 2.4, 120  # of the figure, in standard deviations


def toys():
    """Fit the toys, keep a JSON line of each, draw all; yield what to print."""
    figure = Figure(figsize=(16.0, 6.4), layout="constrained")
    columns = figure.subplots(3, len(TOYS)).T
    lines = []
    for name, column in zip(TOYS, columns, strict=True):
        began, data = time.perf_counter(), load(f"toy:{name}")
        settings = settings_for(f"toy:{name}")
        done = train(data, settings)
        values = [e.validation for e in done.result.history]
        line = {
            "data": f"toy:{name}",
            "test": done.report.test,
            "two standard errors": done.report.test_se2,
            "gaussian": done.report.gaussian,
            "validation": max(values),
            "best epoch": done.report.best_epoch,
            "undone": done.report.n_undone,
            "fitting seconds": done.report.seconds,
            "seconds": time.perf_counter() - began,
            "finite": bool(np.isfinite([done.report.test, *values]).all()),
        }
        lines.append(line)
        draw(column, name, data, done.model, line["test"])
        yield f"toy:{name}", settings, line
    text = {"command": "python -m validation.low_dimension toys", "runs": lines}
    (RESULTS / "toys.json").write_text(json.dumps(text, indent=1) + "\n")
    figure.savefig(RESULTS / "toys.png")


def draw(column, name, data, model, value):
    """Draw data, samples and density in three panels, on one scale."""
    edges = np.linspace(-SPAN, SPAN, CELLS + 1)
    middles = (edges[1:] + edges[:-1]) / 2
    grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
    parts = model.layers, model.activation, model.density
    rows = np.concatenate([data.train, data.test])
    X, _ = rg.sample(parts[0], np.random.default_rng(0), len(rows), *parts[1:])
    counted = [
        np.histogram2d(x[:, 1], x[:, 0], bins=(edges, edges), density=True)[0] for x in (rows, X)
    ]
    log_p = rg.log_likelihood(parts[0], grid, *parts[1:]).per_sample
    density = np.exp(log_p).reshape(CELLS, CELLS)
    for ax, panel in zip(column, (*counted, density), strict=True):
        ax.imshow(panel, origin="lower", vmin=0, vmax=np.quantile(counted[0], 0.99))
        ax.set_xticks([])
        ax.set_yticks([])
    column[0].set_title(f"{name}\n{value:.2f} nats")


def presets(names):
    """Yield the results of these sets by their presets."""
    for name in names:
        settings = settings_for(name)
        (line,) = runs("low_dimension", [Wanted(name, settings)])
        yield name, settings, line


def main() -> None:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*GOALS, "toys"], nargs="*", default=[*GOALS, "toys"])
    what = parser.parse_args().what
    good = True
    print("| | L | validation | test +- 2 s.e. | Gaussian | published | best epoch | fitting |")
    print("|---|---|---|---|---|---|---|---|")
    found = [presets([name for name in GOALS if name in what]), toys() if "toys" in what else ()]
    for part in found:
        for name, settings, r in part:
            goal = GOALS.get(name)
            good &= r["finite"] and r["test"] >= (r["gaussian"] if goal is None else goal)
            print(
                f"| {name} | {settings.layers} | {r['validation']:.3f} | {r['test']:.3f} +- "
                f"{r['two standard errors']:.3f} | {r['gaussian']:.3f} | {goal or ''} | "
                f"{r['best epoch']} | {r['fitting seconds']:.0f} s |",
                flush=True,
            )
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
