"""A table too large for memory, laid out once in a temporary file from which batches are drawn.

A batch of a fit takes rows from all over the table. A compressed file can give no row without
unpacking its neighbours, so each run of rows is unpacked once and written as plain numbers. The
file has no name and is gone when the process ends, whatever ends it. Held-out rows are drawn at
random on the way, so that the order of the file has no part in the split.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..file_rows import Descriptor, FileRows
from ..memory import gib, lies_in_memory, require_memory
from ..record import Dataset, forward
from ..rows import LEAST_ROWS, Columns
from .arrow import Streamed
from .missing import Where, marked, missing_counts, place_in, require_no_infinity, suspects
from .reading import Reading, asking
from .split import standardised

HELD_OUT = 10_000  # rows of validation, and of test, at most


def split_copied(
    name: str, table: Streamed, rng: np.random.Generator, n: int | None, reading: Reading
) -> Dataset:
    """Return the lazy Dataset of a streamed table: 80 % of the rows train, or all but 20,000.

    OSError where the temporary folder has not the room, before anything is written.

    >>> X = np.random.default_rng(0).normal(size=(50, 2))
    >>> table = Streamed(50, ("a", "b"), X.dtype, iter(np.split(X, 5)), ())
    >>> data = split_copied("X", table, np.random.default_rng(0), None, Reading())
    >>> data.lazy, len(data.train) + len(data.validation) + len(data.test)
    (True, 50)
    """
    N, D = table.N, len(table.columns or ())
    if reading.missing == "median":
        raise ValueError(
            f"`{name}` is too large for {asking(missing='median')}: {asking(missing='drop')}"
        )
    if N < LEAST_ROWS:
        raise ValueError(f"`{name}` must have at least {LEAST_ROWS} rows to split, got {N}")
    share = min(0.1, HELD_OUT / N)
    require_space(name, N * D * table.dtype.itemsize)
    folder = tempfile.gettempdir()
    held: tuple[list[Any], list[Any]] = ([], [])
    counts, dropped, seen, kept = np.zeros(D, int), 0, 0, 0
    notes = list(table.notes)
    with tempfile.TemporaryFile() as file:  # its rows are read by a descriptor that lives on
        for X in table.runs:
            X = marked(X, reading)
            lost = np.isnan(X)
            require_no_infinity(name, X, ~np.isfinite(X) & ~lost, _from_row(seen, table.columns))
            gone = lost.any(axis=1)
            counts += lost.sum(axis=0)
            dropped += int(gone.sum())
            if not seen:
                notes += suspects(X[~gone], table.columns)
            seen += len(X)
            where = rng.random(len(X))  # below share: validation; below twice that: test
            X = X[~gone] if gone.any() else X
            where = where[~gone]
            held[0].append(X[where < share])
            held[1].append(X[(share <= where) & (where < 2 * share)])
            train = X[where >= 2 * share]
            train = train if n is None else train[: n - kept]
            kept += len(train)
            if reading.missing == "drop" or not dropped:
                file.write(np.ascontiguousarray(train).data)
        if dropped and reading.missing == "error":
            raise ValueError(
                f"`{name}` must be finite; missing values by column:"
                f" {missing_counts(counts, table.columns)}, in {dropped} of {N} rows:"
                f" {asking(missing='drop')} leaves out these rows"
            )
        if dropped:
            notes.append(f"{dropped} of {N} rows have missing values: left out")
        if not kept or not all(map(sum, (map(len, part) for part in held))):
            raise ValueError(f"`{name}` has too few rows without missing values to split")
        file.flush()
        rows = FileRows(Descriptor(os.dup(file.fileno())), Path(name), table.dtype, (kept, D), 0)
    notes.append(
        f"{kept * D * table.dtype.itemsize / 2**30:.2f} GiB of numbers were laid out in {folder}"
        " for the time of this command"
    )
    c, columns = reading.c, table.columns
    chain, given = standardised(name, rows, reading.support, columns, c)
    columns = None if columns is None else columns[: D - c]
    for part in held:
        chain.require_inside(name, np.concatenate(part)[:, : D - c], columns)
    done = [forward(chain, np.concatenate(part), given=given) for part in held]
    (validation, log_det), (test, log_det_test) = done
    log_dets = {"train": np.empty(0), "validation": log_det, "test": log_det_test}
    return Dataset(
        name, rows, validation, test, log_dets, chain, lazy=True, notes=tuple(notes),
        columns=columns, given=given,
    )  # fmt: skip


def require_space(name: str, need: int) -> None:
    """Refuse what the temporary folder has not the room for; where that is memory, ValueError.

    >>> require_space("it", 10**16)
    Traceback (most recent call last):
    OSError: `it` needs 9,313,226 GiB in ..., which has ...: set TMPDIR to a folder on a larger ...
    """
    folder = tempfile.gettempdir()
    free, other = shutil.disk_usage(folder).free, "set TMPDIR to a folder on a larger disk"
    if need > free:
        raise OSError(
            f"`{name}` needs {gib(need)} in {folder}, which has {gib(free)}: {other}, or read fewer"
            " columns by Reading(columns=...)"
        )
    if lies_in_memory(Path(folder)):
        require_memory(need, f"`{name}`, laid out in {folder}, which is memory,", other)


def _from_row(first: int, columns: Columns) -> Where:
    place = place_in(columns)
    return lambda row, j: place(first + row, j)


def runs_of(X: NDArray[Any] | FileRows, places: list[int]) -> Any:
    """Yield runs of the rows of an array or a file (N, D), these columns only, as floats.

    >>> [run.tolist() for run in runs_of(np.arange(4).reshape(2, 2), [1])]
    [[[1.0], [3.0]]]
    """
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    step = max(1, 2**20 // X.shape[1])
    for start in range(0, len(X), step):
        yield np.asarray(X[start : start + step][:, places], dtype)
