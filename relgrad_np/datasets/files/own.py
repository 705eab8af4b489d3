"""Data of one's own: .npy (memory-mapped if large), .npz, .csv, arrays and pandas DataFrames.

Nothing here runs what a file holds: no pickle, ever. What a header says of size is compared with
the bytes that are there before any memory is asked for. Each error is one line that names the
file and, where there is one, the line and the column.
"""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..guards import whole_numbers
from ..record import Dataset, forward, in_model_space
from ..transforms import Chain, Columns, Standardise, chunks, column_list, floats, refuse
from .csv import read_csv
from .npy import Table, map_npy, read_npy, read_npz

LAZY_ABOVE = 512 * 2**20  # bytes of a .npy file beyond which it is memory-mapped


HELD_OUT = 10_000  # rows of validation, and of test, at most, of a memory-mapped file


LEAST_ROWS = 10  # so that each of the three splits has one


def is_own_file(name: str) -> bool:
    """Say whether this is the name of a file that `own_file` reads.

    >>> is_own_file("my data.CSV"), is_own_file("digits")
    (True, False)
    """
    return Path(name).suffix.lower() in READERS


def own_file(
    path: str | os.PathLike[str],
    rng: np.random.Generator,
    n: int | None = None,
    lazy_above: int = LAZY_ABOVE,
) -> Dataset:
    r"""Return the Dataset of a .npy, .npz or .csv file.

    In memory: rows shuffled by `rng`, then the first 80 % train, 10 % validation, 10 % test; an
    .npz with x_train and one or both of x_validation (x_valid, x_val) and x_test is split so
    already, and what is missing is cut from the end of the shuffled x_train, 10 % of it.
    A .npy of more than `lazy_above` bytes: not shuffled, split by position.

    FileNotFoundError, or ValueError for what can't be read as finite real numbers (N, D).

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.csv"
    >>> _ = path.write_text("a,b\n" + "".join(f"{i / 7},{i * i / 3}\n" for i in range(20)))
    >>> data = own_file(path, np.random.default_rng(0))
    >>> data.columns, data.train.shape, data.validation.shape, data.test.shape
    (('a', 'b'), (16, 2), (2, 2), (2, 2))
    """
    path = Path(path)
    if not path.is_file():
        what = "is no regular file" if path.exists() else "is not there"
        raise FileNotFoundError(f"the data file {str(path)!r} {what}")
    suffix = path.suffix.lower()
    if suffix == ".npy" and path.stat().st_size > lazy_above:
        return _lazy(str(path), map_npy(path), n)
    return _in_memory(str(path), READERS[suffix](path), rng, n)


def raw_rows(path: str | os.PathLike[str]) -> tuple[NDArray[Any], Columns]:
    """Return all rows of a file in their order, as they are there, and the names of its columns.

    A .npy is memory-mapped; an .npz with splits gives them one after the other.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.csv"
    >>> np.save(path.with_suffix(".npy"), np.arange(4).reshape(2, 2))
    >>> raw_rows(path.with_suffix(".npy"))[0].tolist()
    [[0, 1], [2, 3]]
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"the data file {str(path)!r} is not there")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return map_npy(path), None
    found = READERS[suffix](path)
    parts = [part for part in (found.train, found.validation, found.test) if part is not None]
    return np.concatenate(parts), found.columns


def own_table(
    table: Any, rng: np.random.Generator, n: int | None = None, lazy_above: int = LAZY_ABOVE
) -> Dataset:
    """Return the Dataset of a 2-D array or a pandas DataFrame, split as a file would be.

    >>> data = own_table(np.arange(40).reshape(20, 2) ** 2, np.random.default_rng(0))
    >>> data.train.shape, data.notes[0]
    ((16, 2), 'int64 converted to float64')
    """
    pandas = sys.modules.get("pandas")  # a DataFrame can't be here without it
    if pandas is not None and isinstance(table, pandas.DataFrame):
        return _in_memory("DataFrame", read_frame(table), rng, n)
    if isinstance(table, np.memmap) and table.nbytes > lazy_above:
        return _lazy("array", table, n)
    if isinstance(table, np.ndarray):
        return _in_memory("array", Table(table), rng, n)
    raise TypeError(
        "`data` must be the name of a data set, a file, a NumPy array or a pandas DataFrame, got "
        f"{type(table).__name__}"
    )


def _in_memory(name: str, source: Table, rng: np.random.Generator, n: int | None) -> Dataset:
    """Check, shuffle, cut, and standardise by the moments of the training rows."""
    columns, notes = source.columns, list(source.notes)
    X = _real(name, source.train, notes)
    given = [None if part is None else _real(name, part, notes) for part in source[1:3]]
    D = X.shape[1]
    for key, part in zip(("x_validation", "x_test"), given, strict=True):
        if part is not None and part.shape[1] != D:
            raise ValueError(
                f"`{name}` has {D} columns in x_train but {part.shape[1]} in its {key}"
            )
    for part in (X, *given):
        if part is not None:
            _require_finite(name, part, columns)
    N = len(X)
    cut = [N // 10 if part is None else 0 for part in given]  # validation, test
    if N < LEAST_ROWS:
        raise ValueError(f"`{name}` must have at least {LEAST_ROWS} rows to split, got {N}")
    order = rng.permutation(N)
    ends = N - sum(cut), N - cut[1]
    train = X[order[: ends[0]][:n]]
    validation = X[order[ends[0] : ends[1]]] if given[0] is None else given[0]
    test = X[order[ends[1] :]] if given[1] is None else given[1]
    standardise = Standardise.fit(train, name, columns)
    discrete = whole_numbers(train)
    if discrete:
        notes.append(
            f"whole numbers only in columns {column_list(discrete, columns)}: their likelihood has"
            " no upper bound; add uniform noise on [0, 1) to them before you fit"
        )
    return in_model_space(
        name,
        (train, validation, test),
        Chain((standardise,)),
        notes=tuple(notes),
        columns=columns,
    )


def _lazy(name: str, X: np.memmap[Any, Any], n: int | None) -> Dataset:
    """Split by position; only the held-out rows come into memory, and the moments."""
    notes = [
        "memory-mapped: not shuffled before it is split by position into 80 % train, then 10 %"
        " validation and 10 % test; shuffle the file's rows if they are in an order",
    ]
    converted: list[str] = []
    mapped = _real(name, X, converted)
    notes += [f"{note} batch by batch" for note in converted]
    N = len(mapped)
    if N < LEAST_ROWS:
        raise ValueError(f"`{name}` must have at least {LEAST_ROWS} rows to split, got {N}")
    held_out = N // 10
    first, last = N - 2 * held_out, N - held_out
    train = mapped[:first][:n]
    kept = min(held_out, HELD_OUT)
    if kept < held_out:
        notes.append(
            f"the first {kept} of {held_out} validation rows, and of as many test rows, are used"
        )
    standardise = Standardise.fit(train, name)
    chain, done = Chain((standardise,)), []
    for start in (first, last):
        rows = mapped[start : start + kept]
        _require_finite(name, rows, None, start)
        done.append(forward(chain, rows))
    log_det = {"train": np.empty(0), "validation": done[0][1], "test": done[1][1]}
    return Dataset(
        name=name,
        train=train,
        validation=done[0][0],
        test=done[1][0],
        log_det=log_det,
        transforms=chain,
        levels=None,
        image_shape=None,
        lazy=True,
        notes=tuple(notes),
    )


def _real(name: str, X: NDArray[Any], notes: list[str]) -> NDArray[Any]:
    """Return X if it is an (N, D) array of real numbers, bool as uint8; note a conversion."""
    if X.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must hold real numbers, got {X.dtype}")
    if X.ndim != 2 or not X.size:
        advice = "; reshape it to one row for each sample" if X.ndim != 2 and X.size else ""
        raise ValueError(f"`{name}` must have shape (N, D), N >= 1, got {X.shape}{advice}")
    note = f"{X.dtype.name} converted to float64"
    if X.dtype.name not in ("float32", "float64") and note not in notes:
        notes.append(note)
    return X.view(np.uint8) if X.dtype == bool else X


def _require_finite(name: str, X: NDArray[Any], columns: Columns, first_row: int = 0) -> None:
    if X.dtype.kind == "f":
        for start, rows in chunks(*X.shape):
            Y = floats(X[rows])
            refuse(name, Y, ~np.isfinite(Y), "finite", first_row + start, columns)


READERS = {".npy": read_npy, ".npz": read_npz, ".csv": read_csv}


def read_frame(frame: Any) -> Table:
    """Return the numbers of a pandas DataFrame; ValueError naming a column that has others."""
    import pandas as pd

    columns = tuple(str(label) for label in frame.columns)
    X = np.empty(frame.shape, order="F")
    converted = []
    for j, label in enumerate(columns):
        column = frame.iloc[:, j]
        kind = column.dtype
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind):
            raise ValueError(f"`DataFrame`, column {label!r}: must hold real numbers, got {kind}")
        X[:, j] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if str(kind).lower() not in ("float32", "float64"):
            converted.append(str(kind))
    notes = tuple(f"{kind} converted to float64" for kind in dict.fromkeys(converted))
    return Table(X, columns=columns, notes=notes)
