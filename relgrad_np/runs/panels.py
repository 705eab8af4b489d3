"""Pictures for data of any number of columns: pairs of columns, and how well a model fits them.

They need matplotlib, as those of `plots` do.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .plots import BLUE, GREY, ORANGE, Path, canvas, labelled, plain, save

MOST = 6  # columns that are drawn
POINTS = 800  # of a scatter plot
Rows = NDArray[np.float64]


def worst_columns(data: Rows, samples: Rows, most: int = MOST) -> list[int]:
    """Return the columns in which data and samples differ most, in their own order.

    They differ by the largest distance of their empirical distribution functions (Kolmogorov).

    >>> data = np.linspace(0, 1, 50)[:, None] + np.zeros((50, 3))
    >>> worst_columns(data, data + [0.0, 0.5, 0.2], 2)
    [1, 2]
    """
    both = np.sort(np.concatenate([data, samples]), axis=0)
    distance = np.empty(data.shape[1])
    for j in range(data.shape[1]):
        shares = (
            np.searchsorted(np.sort(part[:, j]), both[:, j], side="right") / len(part)
            for part in (data, samples)
        )
        one, other = shares
        distance[j] = np.abs(one - other).max()
    return sorted(int(j) for j in np.argsort(-distance, kind="stable")[:most])


def pairs(path: Path, data: Rows, samples: Rows, names: Sequence[str], title: str) -> None:
    """Draw each pair of columns, data over samples, with histograms of both on the diagonal.

    Above the diagonal stand the correlations of both. `data` (n, k) and `samples` (m, k) are in
    data space. The axes hold the middle 99 % of the data.

    >>> import os, tempfile
    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> path = os.path.join(tempfile.mkdtemp(), "pairs.png")
    >>> pairs(path, X, X[::-1], ("a", "b"), "normal")
    >>> os.path.getsize(path) > 1000
    True
    """
    k = data.shape[1]
    side = {1: 4.2, 2: 2.9, 3: 2.2}.get(k, 1.7)
    figure = canvas((k * side + 0.6, k * side + 0.9))
    figure.suptitle(plain(title, 26 + 24 * k), fontsize=11)
    axes = figure.subplots(k, k, squeeze=False)
    n_bins = int(np.clip(1.5 * math.sqrt(len(data)), 10, 40))
    limits = [_limits(data[:, j]) for j in range(k)]
    for i in range(k):
        for j in range(k):
            ax = axes[i, j]
            if i < j:
                _correlations(ax, data[:, [i, j]], samples[:, [i, j]])
                continue
            ax.set_xlim(*limits[j])
            ax.tick_params(labelsize=6, labelbottom=i == k - 1, labelleft=j == 0)
            ax.locator_params(nbins=4)
            if i == j:
                _histograms(ax, data[:, j], samples[:, j], n_bins, limits[j])
            else:
                ax.plot(samples[:POINTS, j], samples[:POINTS, i], ".", ms=2, mew=0, color=ORANGE)
                ax.plot(data[:POINTS, j], data[:POINTS, i], ".", ms=3, mew=0, color=BLUE)
                ax.set_ylim(*limits[i])
            if i == k - 1:
                ax.set_xlabel(plain(names[j], 24), fontsize=8)
            if j == 0 and i > 0:
                ax.set_ylabel(plain(names[i], 24), fontsize=8)
    if k > 1:
        axes[0, -1].set_title("rank correlations", fontsize=8, color=GREY)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    save(figure, path)


def _histograms(ax: Any, x: Any, drawn: Any, n_bins: int, limits: tuple[float, float]) -> None:
    """Draw how data and samples of one column are distributed, over the shares of all of them."""
    bins = np.linspace(*limits, n_bins + 1)
    for rows, colour, style, label in (
        (x, BLUE, {"alpha": 0.4}, "held-out data"),
        (drawn, ORANGE, {"histtype": "step"}, "samples of the model"),
    ):
        weights = np.full(len(rows), 1 / len(rows))
        ax.hist(rows, bins.tolist(), weights=weights, color=colour, label=label, **style)
    ax.set_yticks([])


def _correlations(ax: Any, data: Rows, samples: Rows) -> None:
    """Write the rank correlations of a pair of columns, of data and of samples."""
    ax.set_axis_off()
    for rows, colour, y in ((data, BLUE, 0.58), (samples, ORANGE, 0.42)):
        ranks = np.argsort(np.argsort(rows, axis=0), axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            r = (
                float(np.atleast_2d(np.corrcoef(ranks, rowvar=False))[0, 1])
                if len(rows) > 1
                else math.nan
            )
        text = f"{r:+.2f}" if math.isfinite(r) else ""
        where = {"ha": "center", "va": "center", "transform": ax.transAxes}
        ax.text(0.5, y, text, color=colour, fontsize=9, **where)


def calibration(
    path: Path, uniforms: Rows, log_p: Rows, log_p_of_samples: Rows, latents: Rows, title: str
) -> None:
    """Draw three pictures that are plain where a model is right.

    Left, the histogram of `uniforms`, the latents' probability integral transforms: flat, in a band
    of two standard deviations. Middle, quantiles of `log_p` of held-out rows against those of
    samples of the model: on the diagonal. Right, correlations of `latents` (n, D): none, so white.

    >>> import os, tempfile
    >>> rng = np.random.default_rng(0)
    >>> path = os.path.join(tempfile.mkdtemp(), "calibration.png")
    >>> parts = rng.random(90), rng.normal(size=30), rng.normal(size=40), rng.normal(size=(30, 3))
    >>> calibration(path, *parts, "made up")
    >>> os.path.getsize(path) > 1000
    True
    """
    figure = canvas((11.0, 3.9))
    figure.suptitle(plain(title), fontsize=12)
    flat, quantiles, square = figure.subplots(1, 3)
    labelled(flat, "latents: right if flat", "probability integral transform", "density")
    bins, n = 20, uniforms.size
    band = 2 * math.sqrt((1 / bins) * (1 - 1 / bins) / n) * bins
    flat.axhspan(1 - band, 1 + band, color="0.9")
    flat.axhline(1, color=GREY, lw=1, ls=":")
    edges = np.linspace(0, 1, bins + 1).tolist()
    flat.hist(uniforms.ravel(), edges, density=True, histtype="step", color=BLUE, lw=1.6)
    labelled(
        quantiles,
        "quantiles of log p: right if on the line",
        "samples of the model (nats, model space)",
        "held-out rows (nats, model space)",
    )
    m = min(99, len(log_p))
    at = (np.arange(m) + 0.5) / m
    x, y = np.quantile(log_p_of_samples, at), np.quantile(log_p, at)
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    quantiles.plot([low, high], [low, high], ":", color=GREY, lw=1)
    quantiles.plot(x, y, ".", color=BLUE, ms=4)
    D = latents.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        C = np.atleast_2d(np.corrcoef(latents, rowvar=False)) if len(latents) > 1 else np.eye(D)
    C = np.where(np.eye(D) > 0, np.nan, C)
    noise = 2 / math.sqrt(len(latents))  # two standard errors of a correlation that is none
    largest = float(np.nanmax(np.abs(C))) if D > 1 and np.isfinite(C).any() else 0.0
    top = min(1.0, max(0.1, 2 * noise, largest))
    image = square.imshow(C, cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
    words = f"latent (two standard errors: {noise:.2f})"
    labelled(square, "correlations of latents: right if white", words, "latent")
    for axis in (square.xaxis, square.yaxis):
        axis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=square, shrink=0.8)
    for ax in (flat, quantiles, square):
        ax.title.set_fontsize(10)
        ax.xaxis.label.set_fontsize(9)
        ax.yaxis.label.set_fontsize(9)
        ax.tick_params(labelsize=8)
    save(figure, path)


def integral_transforms(latents: Rows, base: Any) -> Rows:
    """Return how much of the base distribution lies below each latent, by draws `base` of it.

    >>> integral_transforms(np.array([[0.0, 9.0]]), np.array([-1.0, 1.0]))
    array([[0.5, 1. ]])
    """
    draws = np.sort(np.ravel(base))
    result: Rows = np.searchsorted(draws, latents) / len(draws)
    return result


def _limits(x: Rows) -> tuple[float, float]:
    low, high = np.quantile(x, [0.005, 0.995])
    margin = 0.06 * (high - low) or 1.0
    return float(low - margin), float(high + margin)
