"""The best model so far of a run that was stopped or killed, from its newest checkpoint."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..datasets import Dataset
from ..fitting.storage.model import Model
from .checkpoint import newest_snapshot
from .settings import Settings
from .training import model_of, parts_of


def model_so_far(
    folder: Path, config: dict[str, Any], data: Callable[[], Dataset]
) -> tuple[Model, int]:
    """Return the best layers of a run folder's newest checkpoint as a model, and their epoch.

    `data()` are those of the run: the model's transforms are made from them. FileNotFoundError
    where there is no checkpoint yet.
    """
    snapshot, _ = newest_snapshot(folder / "checkpoints", config["run"])
    if snapshot is None:
        raise FileNotFoundError(
            f"the run in {str(folder)!r} has neither a model nor a checkpoint yet: go on with it"
        )
    settings = Settings(**config["settings"])
    activation, density = parts_of(settings)
    options = {"activation": activation, "density": density}
    return model_of(data(), settings, snapshot.best_layers, options), snapshot.best_epoch
