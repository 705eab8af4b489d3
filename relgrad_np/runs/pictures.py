"""The pictures of a run: its learning curve, samples beside the data, and how well they fit."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..core.network import forward
from ..core.objective import log_likelihood
from ..core.sampling import sample
from ..datasets import Dataset
from ..datasets.files.limits import one_line
from ..datasets.transforms import DequantiseColumns
from ..fitting.storage.model import Model, in_float64
from . import panels, plots
from .report import shown
from .rows import baseline
from .training import Run

ROWS = 2000  # of the test rows, at most, that the last two pictures show


def draw(
    folder: Path,
    data: Dataset,
    run: Run,
    prefix: str = "",
    say: Callable[[str], None] = warnings.warn,
) -> list[Path]:
    """Draw the pictures of a run; returns the files, none without matplotlib.

    A picture that can't be drawn is said, and no reason for the others not to be.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return []
    drawn: list[Path] = []
    for name, one in PICTURES.items():
        path = folder / f"{prefix}{name}.png"
        try:
            drawn += one(path, data, run)
        except Exception as error:  # of any kind: the run itself is whole
            say(f"the picture {path.name} could not be drawn: {one_line(error)}")
    return drawn


def draw_curve(path: Path, data: Dataset, run: Run) -> list[Path]:
    """Draw log-likelihood by epoch, and the epoch that was chosen."""
    history, model = run.result.history, run.model
    plots.learning_curve(
        path,
        [e.epoch for e in history],
        [e.train for e in history],
        [e.validation for e in history],
        float(baseline(data, data.validation).mean()),
        f"{title(data)}: {len(model.layers)} layers, {model.config['rule']} rule",
        averaged=[e.averaged for e in history],
        chosen=run.result.best_epoch,
        space=data.transforms.space,
        floor=run.report.floor,
    )
    return [path]


def draw_samples(path: Path, data: Dataset, run: Run, seed: int = 0) -> list[Path]:
    """Draw samples beside the data: images as a grid, two dimensions as a density; else nothing.

    Nothing either where columns are given: then there is one density for each of their values.
    """
    test, image_shape, model = data.test, data.image_shape, run.model
    if image_shape is None and (data.D != 2 or data.c):
        return []
    layers = in_float64(model.layers)
    rng = np.random.default_rng(seed)
    n = 36 if image_shape else len(held_out(data))
    Z, _ = sample(layers, rng, n, model.activation, model.density)
    if image_shape:
        pair = model.transforms.inverse(test[:36]), model.transforms.inverse(Z)
        plots.image_grid(path, *pair, image_shape, ("held-out data", "samples of the model"))
    else:
        first, second = labels(data)
        plots.density_2d(
            path,
            model.transforms.inverse(held_out(data)),
            model.transforms.inverse(Z),
            lambda x: log_p_in_data_space(model, x),
            f"{title(data)}: held-out data, as many samples, and the model's density",
            (first, second),
        )
    return [path]


def held_out(data: Dataset) -> Any:
    """Return rows that no step has seen, in model space: test, and validation if these are few."""
    test = data.test[:ROWS]
    return test if len(test) >= 500 else np.concatenate([test, data.validation[: ROWS - len(test)]])


def log_p_in_data_space(model: Model, x: Any) -> Any:
    """Return log p (n,) of points (n, D) of data space, without noise; -inf outside of a bound."""
    found, inside, log_det = x, np.ones(len(x), bool), np.zeros(len(x))
    steps = [t for t in model.transforms.transforms if not isinstance(t, DequantiseColumns)]
    for step in steps:
        if hasattr(step, "ends"):  # columns with bounds
            low, high = step.ends
            inside = ((x > low) & (x < high)).all(axis=1)
            found, log_det = found[inside], log_det[inside]
        found, log_det = step.forward(found), log_det + step.log_det(found)
    terms = log_likelihood(in_float64(model.layers), found, model.activation, model.density)
    log_p = np.full(len(x), -np.inf)
    log_p[inside] = terms.per_sample + log_det
    return log_p


def labels(data: Dataset) -> tuple[str, ...]:
    """Return what the columns are called in a picture: by number, where letters are missing."""
    numbers = tuple(f"column {j}" for j in range(data.D)) + tuple(
        f"given {j}" for j in range(data.c)
    )
    names = data.columns or numbers[: data.D]
    names += () if data.given is None else data.given.names
    return tuple(map(plots.drawable, names, numbers))


def title(data: Dataset) -> str:
    """Return what data are called in a title."""
    return plots.drawable(shown(data.name), "your data")


def draw_columns(path: Path, data: Dataset, run: Run, seed: int = 0) -> list[Path]:
    """Draw the columns that fit worst, six at most, of data and samples; nothing of images.

    Where columns are given, a sample is drawn for each held-out row, and they are columns as well.
    """
    if data.image_shape is not None:
        return []
    model, held = run.model, held_out(data)
    rng, n = np.random.default_rng(seed), max(min(len(data.test), ROWS), 500)
    u = None if data.given is None else data.split(held)[1]
    n = n if u is None else len(u)
    Z, _ = sample(in_float64(model.layers), rng, n, model.activation, model.density, context=u)
    X, S = in_data_space(data, held), in_data_space(data, Z if u is None else np.c_[Z, u])
    S = S[np.isfinite(S).all(axis=1)]
    which = panels.worst_columns(X, S)
    names = labels(data)
    more = f", the {len(which)} of {X.shape[1]} columns that fit worst" * (len(which) < X.shape[1])
    panels.pairs(
        path,
        X[:, which],
        S[:, which],
        [names[j] for j in which],
        f"{title(data)}: held-out data and samples{given_words(data)}{more}",
    )
    return [path]


def in_data_space(data: Dataset, rows: Any) -> Any:
    """Return rows (n, D + c) of model space in data space."""
    x, u = data.split(rows)
    X = data.transforms.inverse(x)
    return X if data.given is None else np.c_[X, data.given.standardise.inverse(u)]


def given_words(data: Dataset) -> str:
    """Return what a title says of given columns."""
    if data.given is None:
        return ""
    return f" given {', '.join(map(plots.drawable, data.given.names, labels(data)[data.D :]))}"


def draw_calibration(path: Path, data: Dataset, run: Run, seed: int = 0) -> list[Path]:
    """Draw how the latents of held-out rows are distributed, and their log-likelihood."""
    model, test = run.model, data.test[:ROWS]
    layers, rng = in_float64(model.layers), np.random.default_rng(seed)
    latents = forward(layers, test, model.activation).Zs[-1]  # (n, D)
    base = model.density.sample(rng, (max(200, 100_000 // data.D), data.D))
    parts = model.activation, model.density
    u = None if data.given is None else data.split(test)[1][rng.integers(len(test), size=ROWS)]
    panels.calibration(
        path,
        panels.integral_transforms(latents, base),
        log_likelihood(layers, test, *parts).per_sample,
        sample(layers, rng, ROWS, *parts, context=u)[1],
        latents,
        f"{title(data)}: calibration on {len(test)} held-out rows",
    )
    return [path]


PICTURES: dict[str, Callable[[Path, Dataset, Run], list[Path]]] = {
    "curve": draw_curve,
    "samples": draw_samples,
    "columns": draw_columns,
    "calibration": draw_calibration,
}
