"""Pictures of a fit, written to a file: the suffix decides the format (PNG without one).

Needs matplotlib, imported when a picture is asked for; no display and no global state is touched.
"""

import math
import os
import pathlib
import unicodedata
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..fitting.storage.writing import atomic

Path = str | os.PathLike[str]
Numbers = Sequence[float | None] | NDArray[Any]
BLUE, ORANGE, GREEN, GREY = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#555555",
)  # Okabe & Ito: safe for colour-blind readers
DPI = 150  # pixels of an inch
ROWS = 6  # of images, and as many columns
POINTS = 1000  # in a plane, from which on they are shown as a histogram


def learning_curve(
    path: Path,
    epochs: Sequence[int] | NDArray[Any],
    train: Numbers,
    validation: Numbers | None,
    gaussian: float | None,
    title: str,
    *,
    averaged: Numbers | None = None,
    chosen: int | None = None,
    space: str = "",
    floor: str = "Gaussian",
) -> None:
    """Plot log-likelihood (nats) by epoch, and the level of the best Gaussian, or of `floor`.

    `averaged` is the validation of the averaged layers; `chosen` the epoch whose layers are kept.

    None and non-finite values are skipped. The axis holds the Gaussian and the better nine tenths
    of the values; if it leaves out others, far below, a note says how low they go.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "curve.png")
    ...     learning_curve(file, [0, 1, 2], [None, -3.0, -2.5], None, -2.8, "sine")
    ...     os.path.getsize(file) > 1000
    True
    """
    figure = canvas((7.0, 4.2))
    words = f"log-likelihood (nats{', ' * bool(space)}{space})"
    ax = labelled(figure.add_subplot(), title, "epoch", words)
    ax.grid(axis="y", color="0.9")
    values = []
    for label, series, colour, dash in (
        ("training", train, BLUE, "-"),
        ("validation", validation, ORANGE, "--"),
        ("validation, averaged layers", averaged, GREEN, "-."),
    ):
        x, y = _present(epochs, [None] * len(epochs) if series is None else series, label)
        if y.size:
            mark = "o" if y.size < 30 else ""
            ax.plot(x, y, dash, color=colour, label=label, lw=1.8, marker=mark, ms=4)
            values.append(y)
    if chosen and len(epochs):
        ax.axvline(chosen, color="0.75", lw=1, zorder=0, label=f"chosen: epoch {chosen}")
    if gaussian is not None:
        ax.axhline(gaussian, color=GREY, ls=":", lw=1.6, label=floor)
    if values:
        low, high, lowest = _range(np.concatenate(values), gaussian)
        ax.set_ylim(low, high)
        if lowest < low:
            note = f"not shown: values down to {lowest:,.4g}"
            ax.text(0.99, 0.02, note, transform=ax.transAxes, ha="right", color=GREY, fontsize=9)
    ax.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    save(figure, path)


def image_grid(
    path: Path,
    left: ArrayLike,
    right: ArrayLike,
    image_shape: tuple[int, int],
    titles: tuple[str, str],
) -> None:
    """Show the first 36 rows of two arrays (N, height * width) as images, side by side, in grey.

    Both share the grey scale of `left`, the real images. ValueError for rows that do not fit.

    >>> import os, tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "grid.png")
    ...     image_grid(file, np.eye(4), 1 - np.eye(4), (2, 2), ("real", "samples"))
    ...     os.path.getsize(file) > 1000
    True
    """
    tiles = [_tile(name, X, image_shape) for name, X in (("left", left), ("right", right))]
    low, high = np.nanmin(tiles[0]), np.nanmax(tiles[0])
    figure = canvas((8.0, 0.3 + 3.9 * tiles[0].shape[0] / tiles[0].shape[1]))
    figure.get_layout_engine().set(wspace=0.06)
    for ax, tile, title in zip(figure.subplots(1, 2), tiles, titles, strict=True):
        ax.imshow(tile, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        ax.set_title(plain(title))
        ax.set_axis_off()
    save(figure, path)


def density_2d(
    path: Path,
    data: ArrayLike,
    samples: ArrayLike,
    log_prob: Callable[[NDArray[np.float64]], ArrayLike],
    title: str,
    names: tuple[str, str] = ("", ""),
) -> None:
    """Show data (n, 2), samples (m, 2) and exp(log_prob) on a grid, on the same axes and scale.

    `log_prob` takes points (k, 2) and returns (k,) nats. Data and samples are histograms, as
    densities, or points where there are fewer than `POINTS`, without their non-finite rows, and the
    axes are those of the data; colours saturate at the 99.5th percentile of the data's filled bins.
    `names` are those of the two columns.

    >>> import os, tempfile, numpy as np
    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "density.png")
    ...     density_2d(file, X, X, lambda x: -(x**2).sum(axis=1) / 2 - np.log(2 * np.pi), "normal")
    ...     os.path.getsize(file) > 1000
    True
    """
    panels, extent, top = panels_2d(data, samples, log_prob)
    low, high = np.array(extent[::2]), np.array(extent[1::2])
    ratio = float((high - low)[1] / (high - low)[0])
    alike = 0.4 <= ratio <= 2.0  # as wide as high, where the two have other units
    figure = canvas((10.0, 1.0 + 3.0 * (ratio if alike else 1.0)))
    figure.suptitle(plain(title, 100))
    shown = zip(panels, (data, samples, None), ("data", "samples", "density"), strict=True)
    for ax, (panel, rows, name) in zip(figure.subplots(1, 3), shown, strict=True):
        points = np.empty((0, 2)) if rows is None else _points(name, rows)
        few = 0 < len(points) < POINTS
        ax.imshow(
            np.zeros((1, 1)) if few else panel,
            **{"origin": "lower", "extent": extent, "cmap": "viridis", "vmin": 0, "vmax": top},
            aspect="equal" if alike else "auto",
        )
        if few:
            ax.plot(*points.T, ".", color="#fde725", ms=3.5, mew=0)
            ax.set(xlim=extent[:2], ylim=extent[2:])
        ax.set_title(name, fontsize=11)
        ax.set_xlabel(plain(names[0], 32), fontsize=9)
        ax.tick_params(labelsize=8)
        ax.locator_params(nbins=6)
    figure.axes[0].set_ylabel(plain(names[1], 32), fontsize=9)
    save(figure, path)


def panels_2d(
    data: ArrayLike, samples: ArrayLike, log_prob: Callable[[NDArray[np.float64]], ArrayLike]
) -> tuple[list[NDArray[np.float64]], tuple[float, float, float, float], float]:
    """Return what `density_2d` shows: its panels, their extent, and where the colours saturate.

    >>> X = np.random.default_rng(0).normal(size=(500, 2))
    >>> panels, extent, top = panels_2d(X, X, lambda x: -(x**2).sum(axis=1))
    >>> len(panels), panels[2].shape, extent[0] < extent[1]
    (3, (400, 400), True)
    """
    X, S = _points("data", data), _points("samples", samples)
    low, high = X.min(axis=0), X.max(axis=0)
    margin = np.where(high > low, 0.06 * (high - low), 1.0)
    low, high = low - margin, high + margin
    panels = [_histogram(X, low, high), _histogram(S, low, high)]
    x, y = (np.linspace(low[i], high[i], 401) for i in (0, 1))
    x, y = (x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2
    grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    heights = np.exp(np.minimum(np.asarray(log_prob(grid), dtype=np.float64), 700.0))
    panels.append(heights.reshape(400, 400))
    top = float(np.percentile(panels[0][panels[0] > 0], 99.5))
    return panels, (float(low[0]), float(high[0]), float(low[1]), float(high[1])), top


def times(path: Path, D: Sequence[int], relative: Numbers, ordinary: Numbers) -> None:
    """Plot median times (ms) of a step with either gradient by D, on log-log axes.

    None, for what was not measured, is skipped. Thin lines through the last points rise as D^2
    and D^3, for the eye.

    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "times.png")
    ...     times(file, [64, 128, 256], [0.1, 0.4, 1.6], [0.3, 2.4, None])
    ...     os.path.getsize(file) > 1000
    True
    """
    figure = canvas((6.4, 4.6))
    ax = labelled(
        figure.add_subplot(),
        "one training step (N = 100, L = 2)",
        "dimension D",
        "median time (ms)",
    )
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.grid(color="0.92")
    for label, series, colour, mark, power in (
        ("relative", relative, BLUE, "o", 2),
        ("ordinary", ordinary, ORANGE, "s", 3),
    ):
        x, y = _present(D, series, label)
        if y.size:
            ax.plot(
                x, y, mark + "-", color=colour, label=f"with the {label} gradient", lw=1.8, ms=6
            )
            guide = y[-1] * (x / x[-1]) ** power
            ax.plot(x, guide, ":", color=colour, lw=1.2, label=f"rising as $D^{power}$")
    if len(D) <= 10:
        ax.set_xticks(list(D), [str(d) for d in D])
    ax.minorticks_off()
    ax.legend(frameon=False)
    save(figure, path)


def canvas(size: tuple[float, float]) -> Any:
    """Return an empty figure of this size in inches, which draws without a display.

    ModuleNotFoundError without matplotlib.

    >>> canvas((4.0, 3.0)).get_size_inches().tolist()
    [4.0, 3.0]
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "plots need matplotlib: pip install matplotlib", name=error.name
        ) from None
    figure = Figure(figsize=size, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain(text: str, length: int = 60) -> str:
    r"""Return a text as matplotlib shows it as it stands, shortened: $ does not begin a formula.

    Letters of East Asia count twice, line ends are blanks.

    >>> plain("a$^$b"), plain("abc", 2), plain("身長と体重", 7)
    ('a\\$^\\$b', 'a…', '身長と…')
    """
    text = " ".join(text.split())
    widths = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text]
    if sum(widths) > length:
        kept = int(np.searchsorted(np.cumsum(widths), length - 1, side="right"))
        text = text[:kept] + "…"
    return text.replace("$", r"\$")


FONTS = (  # with letters beyond those of matplotlib's own font, where they are installed
    *("Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Micro Hei", "Droid Sans Fallback"),
    *("IPAGothic", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic", "Arial Unicode MS"),
)


def families() -> list[str]:
    """Return the fonts that are tried, one after the other, for each letter."""
    import matplotlib
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    own = matplotlib.rcParams["font.sans-serif"]
    return [name for name in (*own, *FONTS) if name in there]


def drawable(text: str, instead: str) -> str:
    """Return a text if some font here has all of its letters, else what is to stand instead.

    >>> drawable("age", "column 0"), drawable("\U0010fffd", "column 0")
    ('age', 'column 0')
    """
    if text.isascii():
        return text
    from matplotlib import font_manager, ft2font

    left = set(text) - set(" \n\r\t")
    for name in families():
        font = ft2font.FT2Font(font_manager.findfont(name))
        left = {letter for letter in left if not font.get_char_index(ord(letter))}
    return text if not left else instead


def save(figure: Any, path: Path) -> None:
    """Write a figure, completely or not at all; a link of this name is replaced, not followed.

    Letters that no font here has are boxes, without a warning.

    >>> import tempfile
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "empty.svg"
    >>> save(canvas((1.0, 1.0)), file)
    >>> file.read_bytes()[:5]
    b'<?xml'
    """
    import matplotlib

    file = pathlib.Path(path)
    if not file.suffix:
        file = file.with_name(f"{file.name}.png")
    with matplotlib.rc_context({"font.sans-serif": families()}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        with atomic(file) as stream:
            figure.savefig(stream, format=file.suffix[1:])


def labelled(ax: Any, title: str, x: str, y: str) -> Any:
    """Give axes a title and labels, take the box away; returns them.

    >>> labelled(canvas((4.0, 3.0)).add_subplot(), "t", "x", "y").get_xlabel()
    'x'
    """
    ax.set_title(plain(title))
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _present(x: Any, y: Any, label: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the pairs whose y is a finite number."""
    if len(x) != len(y):
        raise ValueError(f"the {label} curve must have {len(x)} values, got {len(y)}")
    pairs = [(a, b) for a, b in zip(x, y, strict=True) if b is not None and math.isfinite(b)]
    both = np.array(pairs, dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _range(y: NDArray[np.float64], gaussian: float | None) -> tuple[float, float, float]:
    """Return the limits of the axis, and the lowest value."""
    level = y.max() if gaussian is None else gaussian
    span = np.ptp(np.append(y[y >= np.percentile(y, 10)], level))
    # what lies little below the better nine tenths is shown too: cutting it off gains nothing
    kept = y[y >= np.percentile(y, 10) - 3 * span] if span > 0 else y
    if gaussian is not None:  # the gap between the best value and the Gaussian is what matters
        kept = kept[kept >= min(y.max(), level) - 3 * abs(y.max() - level)]
    shown = np.append(kept, level)
    margin = 0.05 * (np.ptp(shown) or 1.0)
    return float(shown.min() - margin), float(shown.max() + margin), float(y.min())


def _tile(name: str, X: ArrayLike, image_shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return up to 36 images on one sheet, a white line (NaN) between them."""
    X = np.asarray(X, dtype=np.float64)
    height, width = image_shape
    if X.ndim != 2 or X.shape[1] != height * width or not len(X):
        raise ValueError(f"`{name}` must have shape (N, {height * width}), N >= 1, got {X.shape}")
    sheet = np.full((ROWS, height + 1, ROWS, width + 1), np.nan)
    for i, image in enumerate(X[: ROWS * ROWS]):
        sheet[i // ROWS, :height, i % ROWS, :width] = image.reshape(height, width)
    flat: NDArray[np.float64] = sheet.reshape(ROWS * (height + 1), ROWS * (width + 1))
    return flat[:-1, :-1]


def _points(name: str, X: ArrayLike) -> NDArray[np.float64]:
    """Return the finite rows of X, which must have two columns."""
    X = np.asarray(X, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] != 2:
        raise ValueError(f"`{name}` must have shape (n, 2), got {X.shape}")
    points: NDArray[np.float64] = X[np.isfinite(X).all(axis=1)]
    if name == "data" and not len(points):
        raise ValueError("`data` must have a finite row")
    return points


def _histogram(X: NDArray[np.float64], low: Any, high: Any) -> NDArray[np.float64]:
    """Return points per area over the number of all points, rows for the second coordinate."""
    bins = int(np.clip(1.3 * len(X) ** 0.45, 12, 160))
    counts, _, _ = np.histogram2d(X[:, 0], X[:, 1], bins, np.stack([low, high], axis=1))
    area = (high - low).prod() / bins**2
    result: NDArray[np.float64] = counts.T / (max(len(X), 1) * area)
    return result
