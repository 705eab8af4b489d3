"""The first picture of the README: three toys beside their fits, and the time of a step against D.

    python -m benchmarks.at_a_glance         # of kept results; nothing is run

The toys are panels of validation/figures/toys.png (`python -m validation toys`), the times are
those of results/scaling-1.jsonl (`python -m benchmarks --cells scaling`).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from relgrad_np.runs.plots import canvas
from relgrad_np.runs.style import in_style, label_ends

HERE = Path(__file__).parent
TOYS = HERE.parent / "validation" / "figures" / "toys.png"
TIMES = HERE / "results" / "scaling-1.jsonl"
PICTURE = HERE.parent / "docs" / "at_a_glance.png"
SHOWN = {"moons": 2, "trimodal": 3, "2spirals": 5}  # columns of the eight
WORDS = {
    "gemm-floor": "the matrix products alone",
    "kernels-plain": "this package",
    "jax-published": "published algorithm (JAX)",
    "jax-autodiff": "autodiff of slogdet (JAX)",
    "torch-autograd": "autograd of slogdet (torch)",
}
COLOURS = ("0.55", "#0072B2", "#009E73", "#E69F00", "#D55E00")
N, MOST = 100, 2048  # samples of a step; the largest D that all have


def panels(sheet: np.ndarray) -> list[list[np.ndarray]]:
    """Return the pictures (rows of columns) of a sheet (height, width, 4): what is not white.

    >>> sheet = np.ones((5, 7, 4))
    >>> sheet[1:4, 1:3, 0] = sheet[1:4, 4:6, 0] = 0.2
    >>> [[panel.shape[:2] for panel in row] for row in panels(sheet)]
    [[(3, 2), (3, 2)]]
    """
    ink = sheet[..., 0] < 0.5  # viridis has little red but at its bright end
    rows = _runs(ink.mean(axis=1) > 0.5)
    columns = _runs(ink[rows[0][0] : rows[0][1]].mean(axis=0) > 0.5)
    return [[sheet[a:b, c:d] for c, d in columns] for a, b in rows]


def _runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """Return where runs of true values begin and end.

    >>> _runs(np.array([0, 1, 1, 0, 1]) > 0)
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(int), [0]])))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def times() -> dict[str, dict[int, float]]:
    """Return milliseconds of a step by contender and D, at N = 100."""
    lines = [json.loads(line) for line in TIMES.read_text().splitlines()]
    return {
        name: {
            x["D"]: 1e3 * x["median"]
            for x in lines
            if (x["contender"], x["N"]) == (name, N) and x["D"] <= MOST
        }
        for name in WORDS
    }


@in_style
def draw(path: Path = PICTURE) -> Path:
    """Draw the picture from what is kept; return where it is."""
    from matplotlib.image import imread

    sheet = panels(imread(TOYS))
    figure = canvas((11.0, 4.6))
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.4])
    grid: Any = left.subplots(3, len(SHOWN))
    for row, word in enumerate(("data", "samples", "density")):
        for column, k in enumerate(SHOWN.values()):
            ax = grid[row][column]
            ax.imshow(sheet[row][k])
            ax.set_xticks([])
            ax.set_yticks([])
            ax.spines[:].set_visible(False)
            if column == 0:
                ax.set_ylabel(word)
    ax = right.subplots()
    for (name, points), colour in zip(times().items(), COLOURS, strict=True):
        ax.plot(list(points), list(points.values()), "o-", color=colour, label=WORDS[name])
    ax.set(xscale="log", yscale="log", xlim=(14, 4e4))
    ax.set_xlabel("dimension D", loc="left")
    ax.set_ylabel("milliseconds for one step")
    ax.set_xticks([16, 64, 256, 2048], ["16", "64", "256", "2048"])
    ax.set_yticks([0.01, 0.1, 1, 10, 100, 1000], ["0.01", "0.1", "1", "10", "100", "1,000"])
    ax.minorticks_off()
    ax.set_title("one training step, 100 samples, one thread", loc="left")
    ax.spines.bottom.set_bounds(14, MOST)
    figure.canvas.draw()
    label_ends(ax, list(WORDS.values()))
    figure.savefig(path)
    return path


if __name__ == "__main__":
    print(f"wrote {draw()}")
