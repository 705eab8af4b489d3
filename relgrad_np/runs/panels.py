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
    """Draw each pair of columns: data below the diagonal, samples above, histograms of both on it.

    `data` (n, k) and `samples` (m, k) are in data space. The axes hold the middle 99 % of the data.

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
    figure.suptitle(plain(title, 40 + 20 * k), fontsize=11)
    axes = figure.subplots(k, k, squeeze=False)
    below, above = "data (below the diagonal)", "samples (above)"
    n_bins = int(np.clip(1.5 * math.sqrt(len(data)), 10, 40))
    limits = [_limits(data[:, j]) for j in range(k)]
    for i in range(k):
        for j in range(k):
            ax = axes[i, j]
            ax.set_xlim(*limits[j])
            ax.tick_params(labelsize=6)
            ax.locator_params(nbins=4)
            if i == j:
                bins = np.linspace(*limits[j], n_bins + 1).tolist()
                ax.hist(data[:, j], bins, color=BLUE, alpha=0.4, density=True, label=below)
                drawn = samples[:, j]
                ax.hist(drawn, bins, color=ORANGE, density=True, histtype="step", label=above)
                ax.set_yticks([])
            else:
                rows, colour = (data, BLUE) if i > j else (samples, ORANGE)
                ax.plot(rows[:POINTS, j], rows[:POINTS, i], ".", ms=1.5, color=colour)
                ax.set_ylim(*limits[i])
            if i == k - 1:
                ax.set_xlabel(plain(names[j], 24), fontsize=8)
            if j == 0 and k > 1:
                ax.set_ylabel(plain(names[i], 24), fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=2, fontsize=9)
    save(figure, path)


def calibration(
    path: Path, uniforms: Rows, log_p: Rows, log_p_of_samples: Rows, latents: Rows, title: str
) -> None:
    """Draw three pictures that are plain where a model is right.

    Left, the histogram of `uniforms`, the latents' probability integral transforms: flat, in a band
    of two standard deviations. Middle, quantiles of `log_p` of held-out rows against those of
    samples of the model: on the diagonal. Right, correlations of `latents` (n, D): none.

    >>> import os, tempfile
    >>> rng = np.random.default_rng(0)
    >>> path = os.path.join(tempfile.mkdtemp(), "calibration.png")
    >>> parts = rng.random(90), rng.normal(size=30), rng.normal(size=40), rng.normal(size=(30, 3))
    >>> calibration(path, *parts, "made up")
    >>> os.path.getsize(path) > 1000
    True
    """
    figure = canvas((10.5, 3.9))
    figure.suptitle(plain(title), fontsize=11)
    flat, quantiles, square = figure.subplots(1, 3)
    labelled(flat, "latents, by the base distribution", "probability integral transform", "density")
    bins, n = 20, uniforms.size
    band = 2 * math.sqrt((1 / bins) * (1 - 1 / bins) / n) * bins
    flat.axhspan(1 - band, 1 + band, color="0.9")
    flat.axhline(1, color=GREY, lw=1, ls=":")
    edges = np.linspace(0, 1, bins + 1).tolist()
    flat.hist(uniforms.ravel(), edges, density=True, histtype="step", color=BLUE, lw=1.6)
    labelled(
        quantiles,
        "log p, quantile by quantile",
        "samples of the model (nats, model space)",
        "held-out rows (nats, model space)",
    )
    at = np.linspace(0.01, 0.99, 99)
    x, y = np.quantile(log_p_of_samples, at), np.quantile(log_p, at)
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    quantiles.plot([low, high], [low, high], ":", color=GREY, lw=1)
    quantiles.plot(x, y, ".", color=BLUE, ms=4)
    D = latents.shape[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        C = np.atleast_2d(np.corrcoef(latents, rowvar=False)) if len(latents) > 1 else np.eye(D)
    C = np.where(np.eye(D) > 0, np.nan, C)
    top = max(0.1, float(np.nanmax(np.abs(C)))) if D > 1 and np.isfinite(C).any() else 0.1
    image = square.imshow(C, cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
    labelled(square, "correlations of the latents", "latent", "latent")
    for axis in (square.xaxis, square.yaxis):
        axis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, ax=square, shrink=0.8)
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
