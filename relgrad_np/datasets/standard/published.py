"""What the UCI sets share: their files are checked, cut and standardised as published."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.npy import read_npy
from ..record import Dataset, in_model_space
from ..rows import LEAST_ROWS, Batch, Columns, floats, refuse
from ..transforms import Chain, Standardise


def read_numbers(path: Path, D: int) -> Batch:
    """Return the rows (N, D) of a .npy file in float64, checked by `require_rows`."""
    X = read_npy(path)
    return require_rows(path, floats(X) if X.ndim == 2 else X, D)


def require_rows(path: Path, X: NDArray[Any], D: int) -> Batch:
    """Return X if it is a finite (N, D) array of enough rows to split.

    >>> require_rows(Path("gas.npy"), np.ones((20, 7)), 8)
    Traceback (most recent call last):
    ValueError: `gas.npy` must have shape (N, 8), N >= 10, got (20, 7)
    """
    if X.ndim != 2 or X.shape[1] != D or len(X) < LEAST_ROWS:
        raise ValueError(f"`{path}` must have shape (N, {D}), N >= {LEAST_ROWS}, got {X.shape}")
    refuse(str(path), X, ~np.isfinite(X), "finite")
    return X


def split_by_tenths(
    name: str,
    X: Batch,
    n: int | None,
    notes: tuple[str, ...] = (),
    columns: Columns = None,
    standardise: Standardise | None = None,
) -> Dataset:
    """Cut the last tenth for test and the last tenth of the rest for validation; standardise.

    The moments are those of train and validation together, if no others are given.

    >>> data = split_by_tenths("squares", np.arange(40.0).reshape(20, 2) ** 2, None)
    >>> len(data.train), len(data.validation), len(data.test)
    (17, 1, 2)
    """
    N = len(X)
    last = N - int(0.1 * N)  # rows at which test and validation begin
    first = last - int(0.1 * last)
    standardise = standardise or Standardise.fit(X[:last], name, columns)
    parts = X[:first][:n], X[first:last], X[last:]
    return in_model_space(name, parts, Chain((standardise,)), notes=notes, columns=columns)
