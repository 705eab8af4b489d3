"""The pictures of a run: its learning curve, and its samples beside the data."""

from pathlib import Path
from typing import Any

import numpy as np

from ..core.objective import log_likelihood
from ..core.sampling import sample
from ..datasets import Dataset
from . import plots
from .model import Model, in_float64
from .rows import baseline
from .training import Run


def draw(folder: Path, data: Dataset, run: Run, prefix: str = "") -> list[Path]:
    """Draw the learning curve and the samples; returns the files, none without matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        return []
    files = [folder / f"{prefix}curve.png"]
    history, model = run.result.history, run.model
    plots.learning_curve(
        files[0],
        [e.epoch for e in history],
        [e.train for e in history],
        [e.validation for e in history],
        float(baseline(data, data.validation).mean()),
        f"{data.name}: {len(model.layers)} layers, {run.model.config['rule']} rule",
    )
    name = folder / f"{prefix}samples.png"
    return files + draw_samples(name, model, data.test, data.image_shape)


def draw_samples(
    path: Path, model: Model, test: Any, image_shape: tuple[int, int] | None, seed: int = 0
) -> list[Path]:
    """Draw samples beside the data: images as a grid, two dimensions as a density; else nothing.

    `test` holds rows in model space.
    """
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
            str(model.config.get("data", "")),
        )
    return [path]
