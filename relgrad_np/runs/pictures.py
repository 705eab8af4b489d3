"""The pictures of a run: its learning curve, and its samples beside the data."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core.objective import log_likelihood
from ..core.sampling import sample
from ..datasets import Dataset
from ..datasets.files.limits import one_line
from . import plots
from .model import in_float64
from .report import shown, space_of
from .rows import baseline
from .training import Run


def draw(
    folder: Path,
    data: Dataset,
    run: Run,
    prefix: str = "",
    say: Callable[[str], None] = warnings.warn,
) -> list[Path]:
    """Draw the learning curve and the samples; returns the files, none without matplotlib.

    A picture that can't be drawn is said, and no reason for the others not to be.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return []
    drawn: list[Path] = []
    for name, one in (("curve", draw_curve), ("samples", draw_samples)):
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
        f"{shown(data.name)}: {len(model.layers)} layers, {model.config['rule']} rule",
        averaged=[e.averaged for e in history],
        chosen=run.result.best_epoch,
        space=space_of(data),
    )
    return [path]


def draw_samples(path: Path, data: Dataset, run: Run, seed: int = 0) -> list[Path]:
    """Draw samples beside the data: images as a grid, two dimensions as a density; else nothing."""
    test, image_shape, model = data.test, data.image_shape, run.model
    D = test.shape[1]
    if image_shape is None and D != 2:
        return []
    layers = in_float64(model.layers)
    rng = np.random.default_rng(seed)
    X, _ = sample(layers, rng, 36 if image_shape else len(test), model.activation, model.density)
    if image_shape:
        pair = model.transforms.inverse(test[:36]), model.transforms.inverse(X)
        plots.image_grid(path, *pair, image_shape, ("held-out data", "samples of the model"))
    else:
        plots.density_2d(
            path,
            test,
            X,
            lambda x: log_likelihood(layers, x, model.activation, model.density).per_sample,
            shown(data.name),
        )
    return [path]
