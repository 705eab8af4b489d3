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


def bytes_needed(settings: Settings, rule: Any, N: int, D: int, first: int, c: int = 0) -> float:
    """Return the bytes that a fit of N rows of D columns allocates, about; `first` rows start it.

    c: columns that are given, beside the D.

    >>> bytes_needed(Settings(layers=1, batch_size=100), None, 1000, 10, 1000)
    736000.0
    """
    n, L = min(settings.batch_size or N, N), settings.layers
    numbers = float(N * (D + c) + L * D * (OF_A_BATCH * n + OF_A_LAYER * (D + c)))
    if isinstance(rule, Natural):
        numbers += 3.0 * (L * D * (D + 1 + c)) ** 2
    return numbers * np.dtype(settings.dtype).itemsize + 8.0 * OF_A_START * first * (D + c)


def require_room(settings: Settings, rule: Any, data: Dataset, first: int) -> None:
    """Refuse, by ValueError, a fit for which there is not enough memory.

    >>> from relgrad_np.datasets import load
    >>> require_room(Settings(), None, load("toy:rings", n=50), 50)
    """
    N, D, c = len(data.train), data.D, data.c
    N = min(first, N) if data.lazy and rule != NEWTON else N  # the others stay in their file
    if isinstance(rule, Natural):
        required_size(settings.layers, D, np.dtype(settings.dtype).itemsize, c + 1)
    require_memory(
        bytes_needed(settings, rule, N, D, min(first, N), c),
        f"a fit of {N} x {D + c} numbers by {settings.layers} layers",
        "take fewer `--rows` or `--layers`, a smaller `--batch-size`, or `--dtype float32`",
    )
