"""How much memory a run will take, about, so that too large a one is refused before it begins."""

from typing import Any

import numpy as np

from ..datasets import Dataset
from ..datasets.memory import require_memory
from ..rules.by_name import NEWTON
from ..rules.natural import Natural, required_size
from .settings import Settings

OF_A_BATCH = 20  # arrays of the batch's shape, for each layer: what goes up and down, four lent
OF_A_LAYER = 20  # of W's shape: its step, averages, the best, the last good ones, a snapshot
OF_A_START = 6  # float64 arrays of the first rows


def bytes_needed(settings: Settings, rule: Any, N: int, D: int, first: int) -> float:
    """Return the bytes that a fit of N rows of D columns allocates, about; `first` rows start it.

    >>> bytes_needed(Settings(layers=1, batch_size=100), None, 1000, 10, 1000)
    736000.0
    """
    n, L = min(settings.batch_size or N, N), settings.layers
    numbers = float(N * D + L * D * (OF_A_BATCH * n + OF_A_LAYER * D))
    if isinstance(rule, Natural):
        numbers += 3.0 * (L * D * (D + 1)) ** 2
    return numbers * np.dtype(settings.dtype).itemsize + 8.0 * OF_A_START * first * D


def require_room(settings: Settings, rule: Any, data: Dataset, first: int) -> None:
    """Refuse, by ValueError, a fit for which there is not enough memory.

    >>> from relgrad_np.datasets import load
    >>> require_room(Settings(), None, load("toy:rings", n=50), 50)
    """
    N, D = data.train.shape
    N = min(first, N) if data.lazy and rule != NEWTON else N  # the others stay in their file
    if isinstance(rule, Natural):
        required_size(settings.layers, D, np.dtype(settings.dtype).itemsize)
    require_memory(
        bytes_needed(settings, rule, N, D, min(first, N)),
        f"a fit of {N} x {D} numbers by {settings.layers} layers",
        "take fewer `--rows` or `--layers`, a smaller `--batch-size`, or `--dtype float32`",
    )
