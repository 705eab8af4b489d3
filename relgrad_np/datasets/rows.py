"""Rows of numbers: what counts as an (N, D) array, passes over large ones, and error messages.

Every message names the array, what it must be, and the first row and column where it is not.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Batch = NDArray[np.float64]
Columns = tuple[str, ...] | None  # names of columns, or None where they go by their index
CHUNK = 2**24  # bytes of float64 in one pass over rows that may not fit into memory
LEAST_ROWS = 10  # that can be split: each of three splits gets one


def table(name: str, X: Any, D: int | None = None) -> NDArray[Any]:
    """Return X as an (N, D) array of real numbers, N and D >= 1, without looking at its values.

    >>> table("X", [[1, 2]])
    array([[1, 2]])
    """
    # of a memory-mapped file this is a view, and `FileRows` are not read
    rows: Any = X if getattr(X, "in_file", False) else np.asarray(X)
    if rows.dtype.kind not in "iuf":
        raise ValueError(f"`{name}` must hold real numbers, got {rows.dtype}")
    if rows.ndim != 2 or not rows.size or (D is not None and rows.shape[1] != D):
        raise ValueError(f"`{name}` must have shape (N, {D or 'D'}), N >= 1, got {rows.shape}")
    found: NDArray[Any] = rows
    return found


def floats(X: NDArray[Any]) -> Batch:
    """Return X in native float64; what lies beyond its range becomes infinite, without a warning.

    >>> floats(np.array([1, 2], dtype=">f4"))
    array([1., 2.])
    """
    with np.errstate(over="ignore", invalid="ignore"):
        Y: Batch = X.astype(np.float64, copy=False)
    return Y


def batch(name: str, X: Any, D: int | None = None) -> Batch:
    """Return X as a finite float64 (N, D) array, N and D >= 1; ValueError calls it by `name`.

    >>> batch("X", [[1, 2]])
    array([[1., 2.]])
    """
    Y = floats(np.asarray(table(name, X, D)))
    refuse(name, Y, ~np.isfinite(Y), "finite")
    return Y


def chunks(N: int, D: int) -> Iterator[tuple[int, slice]]:
    """Yield (first row, slice) of runs of rows; a run of D float64 columns has at most CHUNK bytes.

    >>> list(chunks(5, CHUNK // 16))
    [(0, slice(0, 2, None)), (2, slice(2, 4, None)), (4, slice(4, 5, None))]
    """
    rows = max(1, CHUNK // (8 * D))
    for start in range(0, N, rows):
        yield start, slice(start, min(start + rows, N))


def refuse(
    name: str,
    X: NDArray[Any],
    bad: NDArray[np.bool_],
    rule: str,
    first_row: int = 0,
    columns: Columns = None,
) -> None:
    """Raise ValueError for the first entry of X that is `bad`, with its value, row and column.

    >>> refuse("X", np.ones((1, 2)), np.array([[False, True]]), "zero")
    Traceback (most recent call last):
    ValueError: `X` must be zero, got 1.0 at row 0, column 1
    """
    if bad.any():
        row, column = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
        where = f"row {first_row + row}, column {column_list([column], columns)}"
        raise ValueError(f"`{name}` must be {rule}, got {X[row, column]} at {where}")


def column_list(which: Iterable[int], columns: Columns = None) -> str:
    """Return a list of columns, by name or else by index; only the first twenty are listed.

    >>> column_list([0, 2]), column_list([0, 2], ("age", "height", "weight"))
    ('0, 2', "'age', 'weight'")
    """
    names = [str(j) if columns is None else repr(columns[j]) for j in which]
    return ", ".join(names[:20]) + ", ..." * (len(names) > 20)
