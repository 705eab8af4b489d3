"""One style for all figures: a file of matplotlib's settings, and labels at the ends of curves."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np

STYLE = Path(__file__).with_name("figures.mplstyle")
CURVES = 5  # more than so many in one panel can't be told apart

P = ParamSpec("P")
R = TypeVar("R")


def in_style(draw: Callable[P, R]) -> Callable[P, R]:
    """Return a function that draws in the style of the package; global settings are left alone.

    ModuleNotFoundError, when it is called, without matplotlib.

    >>> from matplotlib.figure import Figure
    >>> in_style(lambda: Figure().add_subplot().spines["top"].get_visible())()
    False
    """

    @functools.wraps(draw)
    def drawn(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            import matplotlib
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "plots need matplotlib: pip install matplotlib", name=error.name
            ) from None
        with matplotlib.rc_context(fname=STYLE):
            return draw(*arguments, **options)

    return drawn


def label_ends(ax: Any, names: Sequence[str], size: float = 10.0) -> None:
    """Write the name of each curve at its right end, in its colour, where names do not overlap.

    The names belong to the first curves of `ax`, in their order, and stand right of the ends: leave
    room for them. ValueError for more than five curves.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot()
    >>> _ = ax.plot([1, 2], [1, 2]), ax.plot([1, 2], [1, 2.01])
    >>> label_ends(ax, ["ours", "theirs"])
    >>> [text.get_text() for text in ax.texts]
    ['ours', 'theirs']
    >>> 0.04 < float(ax.texts[1].get_position()[1] - ax.texts[0].get_position()[1]) < 0.06
    True
    """
    if len(names) > CURVES:
        raise ValueError(f"a panel has at most {CURVES} curves, got {len(names)}")
    curves = ax.get_lines()[: len(names)]
    ends = [np.array([curve.get_xdata()[-1], curve.get_ydata()[-1]], float) for curve in curves]
    to_axes = ax.transData + ax.transAxes.inverted()
    ax.set_xlim(ax.get_xlim())
    ax.set_ylim(ax.get_ylim())
    places = np.array([to_axes.transform(end) for end in ends])  # (curves, 2), shares of the axes
    inches = ax.get_window_extent().height / ax.get_figure().dpi
    apart = 1.25 * size / 72 / inches
    heights = _spread(np.clip(places[:, 1], 0.02, 0.98), apart)
    for curve, name, (x, _), y in zip(curves, names, places, heights, strict=True):
        ax.text(
            x + 0.02,
            y,
            name,
            transform=ax.transAxes,
            color=curve.get_color(),
            fontsize=size,
            va="center",
            clip_on=False,
        )


def _spread(heights: Any, apart: float) -> Any:
    """Return heights that are at least `apart`, in their order, moved as little as may be.

    >>> _spread(np.array([0.5, 0.5]), 0.1).round(2).tolist()
    [0.45, 0.55]
    """
    order = np.argsort(heights, kind="stable")
    sorted_ = heights[order] - apart * np.arange(len(heights))
    blocks: list[list[float]] = []  # pooled means: sum, count
    for value in sorted_:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] > blocks[-1][0] / blocks[-1][1]:
            total, count = blocks.pop()
            blocks[-1][0] += total
            blocks[-1][1] += count
    pooled = np.repeat([total / count for total, count in blocks], [int(n) for _, n in blocks])
    found = np.empty_like(heights)
    found[order] = pooled + apart * np.arange(len(heights))
    return found
