"""Data of one's own: .npy (memory-mapped if large), .npz, .csv, arrays and pandas DataFrames.

Nothing here runs what a file holds: no pickle, ever. What a header says of size is compared with
the bytes that are there before any memory is asked for. Each error is one line that names the
file and, where there is one, the line and the column.
"""

import csv
import os
import struct
import sys
import tokenize
import warnings
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from .guards import whole_numbers
from .record import Dataset, forward, in_model_space
from .transforms import Chain, Columns, Standardise, chunks, column_list, floats, refuse

LAZY_ABOVE = 512 * 2**20  # bytes of a .npy file beyond which it is memory-mapped
HELD_OUT = 10_000  # rows of validation, and of test, at most, of a memory-mapped file
MEMBER_LIMIT = 16 * 2**30  # bytes that one array of an .npz may unpack to
DEFLATE_LIMIT = 1040  # bytes that one compressed byte may unpack to; deflate reaches 1032
LINE_LIMIT = 2**20  # characters in a line of a .csv file
LEAST_ROWS = 10  # so that each of the three splits has one

VALIDATION_KEYS = ("x_validation", "x_valid", "x_val")
BROKEN = (  # what NumPy and zipfile raise at what is not what it says it is
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


class Table(NamedTuple):
    """Raw rows: `train` (N, D), with `validation` and `test` where the source splits them."""

    train: NDArray[Any]
    validation: NDArray[Any] | None = None
    test: NDArray[Any] | None = None
    columns: Columns = None
    notes: tuple[str, ...] = ()


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


# From raw rows to splits


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


# .npy


class Header(NamedTuple):
    """What the head of a .npy says of the array that follows."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def read_header(stream: BinaryIO, size: int, name: str) -> Header:
    """Return the header of a .npy of `size` bytes, of real numbers, if the size is as it says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at headers of Python 2, and at odd escapes
            version = np.lib.format.read_magic(stream)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"its format is version {version[0]}.{version[1]}, not 1.0 or 2.0")
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            header = Header(*read(stream))
    except BROKEN as error:
        raise ValueError(f"`{name}` is not a .npy file: {_line(error)}") from None
    shape, _, dtype = header
    if dtype.kind not in "biuf":
        what = "Python objects, which would run code" if dtype.hasobject else str(dtype)
        raise ValueError(f"`{name}` must hold real numbers, got {what}")
    count = dtype.itemsize
    for length in shape:
        count *= length
    there = size - stream.tell()
    if min(shape, default=0) < 0 or count != there:
        raise ValueError(f"`{name}` has {there} bytes of data, but its header says {shape} {dtype}")
    return header


def read_npy(path: Path) -> Table:
    """Return the array of a .npy file."""
    with path.open("rb") as stream:
        return Table(_read_array(stream, path.stat().st_size, str(path)))


def map_npy(path: Path) -> np.memmap[Any, Any]:
    """Return the array of a .npy file, memory-mapped for reading.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npy"
    >>> np.save(path, np.eye(3))
    >>> type(map_npy(path)).__name__
    'memmap'
    """
    with path.open("rb") as stream:
        shape, fortran, dtype = read_header(stream, path.stat().st_size, str(path))
        offset = stream.tell()
    if len(shape) != 2 or not all(shape):
        raise ValueError(f"`{path}` must have shape (N, D), N >= 1, got {shape}")
    order = "F" if fortran else "C"
    return np.memmap(path, dtype, "r", offset, shape, order)  # type: ignore[call-overload, no-any-return]


def _read_array(stream: BinaryIO, size: int, name: str) -> NDArray[Any]:
    shape, fortran, dtype = read_header(stream, size, name)
    X = np.empty(shape, dtype, order="F" if fortran else "C")
    flat = X.reshape(-1, order="A").view(np.uint8)  # the same memory
    read = 0
    while read < len(flat):
        chunk = stream.read(min(len(flat) - read, 2**24))
        if not chunk:
            raise ValueError(f"`{name}` ends after {read} of {len(flat)} bytes of data")
        flat[read : read + len(chunk)] = np.frombuffer(chunk, np.uint8)
        read += len(chunk)
    stream.read(1)  # the end, where zipfile compares the checksum
    return X


# .npz


def read_npz(path: Path) -> Table:
    """Return the arrays of an .npz file: `X`, or x_train and its like, or the only one.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npz"
    >>> np.savez(path, x_train=np.zeros((4, 2)), x_test=np.ones((3, 2)), y_train=np.zeros(4))
    >>> table = read_npz(path)
    >>> table.train.shape, table.validation, table.test.shape
    ((4, 2), None, (3, 2))
    """
    found = npz_members(path)
    if "x_train" in found and "x" in found:
        raise ValueError(f"`{path}` has both X and x_train: which is meant?")
    if "x_train" in found:
        validation, test = (
            next((read_member(path, found[key]) for key in keys if key in found), None)
            for keys in (VALIDATION_KEYS, ("x_test",))
        )
        return Table(read_member(path, found["x_train"]), validation, test)
    if "x" in found or len(found) == 1:
        return Table(read_member(path, found.get("x") or next(iter(found.values()))))
    listed = ", ".join(sorted(found)[:20]) or "none"
    raise ValueError(f"`{path}` must have an array `X` or `x_train`; its arrays: {listed}")


def npz_members(path: Path) -> dict[str, str]:
    """Return {key in lower case: name of the member} of an .npz; ValueError if it is none.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npz"
    >>> np.savez(path, X=np.eye(2))
    >>> npz_members(path)
    {'x': 'X.npy'}
    """
    try:
        with zipfile.ZipFile(path) as file:
            names = file.namelist()
    except FileNotFoundError:
        raise
    except BROKEN as error:
        raise ValueError(f"`{path}` is not an .npz file: {_line(error)}") from None
    return {name.removesuffix(".npy").lower(): name for name in names if name.endswith(".npy")}


def read_member(path: Path, member: str) -> NDArray[Any]:
    """Return one array of an .npz; ValueError if it is not a sound one of at most 16 GiB."""
    name = f"{path}: {member}"
    try:
        with zipfile.ZipFile(path) as file:
            info = file.getinfo(member)
            size, packed = info.file_size, info.compress_size
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError("it is compressed, but not by deflate")
            if size > MEMBER_LIMIT:
                raise ValueError(f"it unpacks to {size} bytes, more than {MEMBER_LIMIT}")
            if packed > path.stat().st_size or size > DEFLATE_LIMIT * packed:
                raise ValueError(f"it can't unpack to the {size} bytes it declares")
            with file.open(info) as stream:
                return _read_array(stream, size, name)  # type: ignore[arg-type]
    except BROKEN as error:
        line = _line(error)
        raise ValueError(line if line.startswith("`") else f"`{name}`: {line}") from None


def _line(error: BaseException) -> str:
    """Return what an error says, in one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


# .csv


def read_csv(path: Path) -> Table:
    r"""Return the numbers of a .csv file of commas, semicolons or tabs, in UTF-8.

    The first line is a header if none of its fields is a number. ValueError naming the file, the
    line and the column for a field that is empty or no finite number, and for lines of unlike
    length. A first column without a name that counts the rows, as pandas writes it, is left out.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.csv"
    >>> _ = path.write_text("age,height\n31,1.8\n44,?\n")
    >>> read_csv(path)
    Traceback (most recent call last):
    ValueError: `...my.csv`, line 3, column 2 ('height'): not a number: '?'
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_csv(file, str(path))
    except UnicodeDecodeError:
        raise ValueError(f"`{path}` is not text in UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"`{path}` is not a .csv file: {_line(error)}") from None


def _read_csv(file: TextIO, name: str) -> Table:
    lines = _capped(file, name)
    first_line = next(lines, "")
    delimiter = next((mark for mark in ",;\t" if mark in first_line), ",")
    rows = csv.reader(_and_then(first_line, lines), delimiter=delimiter)
    first = next(rows, [])
    if not any(first):
        raise ValueError(f"`{name}` must begin with a header or numbers, its first line is empty")
    header = not any(_is_number(field) for field in first)
    columns = tuple(field.strip() for field in first) if header else None
    values, numbers = array("d"), array("q")  # the numbers, and the line each row ends at
    if not header:
        _add(values, first, name, rows.line_num, columns)
        numbers.append(rows.line_num)
    blank = 0
    for row in rows:
        if not row:
            blank = blank or rows.line_num
            continue
        if blank:
            raise ValueError(f"`{name}`, line {blank}: empty")
        if len(row) != len(first):
            line = rows.line_num
            raise ValueError(
                f"`{name}`, line {line}: {len(row)} fields, but line 1 has {len(first)}"
            )
        _add(values, row, name, rows.line_num, columns)
        numbers.append(rows.line_num)
    if not numbers:
        raise ValueError(f"`{name}` has a header but no rows")
    X = np.frombuffer(values).reshape(len(numbers), len(first))
    bad = ~np.isfinite(X)
    if bad.any():
        i, j = (int(k) for k in np.unravel_index(int(bad.argmax()), bad.shape))
        where = _where(name, numbers[i], j, columns)
        raise ValueError(f"{where}: must be finite, got {X[i, j]}")
    if columns and not columns[0] and len(first) > 1:
        count = np.arange(len(X))
        if np.array_equal(X[:, 0], count) or np.array_equal(X[:, 0], count + 1):
            note = "the first column has no name and counts the rows: left out"
            return Table(X[:, 1:], columns=columns[1:], notes=(note,))
    return Table(X, columns=columns)


def _capped(file: TextIO, name: str) -> Iterator[str]:
    number = 0
    while line := file.readline(LINE_LIMIT + 1):
        number += 1
        if len(line) > LINE_LIMIT:
            raise ValueError(f"`{name}`, line {number}: longer than {LINE_LIMIT} characters")
        yield line


def _and_then(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field  # which Python's literals may have


def _add(values: "array[float]", row: list[str], name: str, line: int, columns: Columns) -> None:
    try:
        if "_" in ",".join(row):
            raise ValueError("underscore")
        values.extend(list(map(float, row)))
    except ValueError:
        j = next(j for j, field in enumerate(row) if not _is_number(field))
        what = f"not a number: {row[j][:40]!r}" if row[j].strip() else "empty"
        raise ValueError(f"{_where(name, line, j, columns)}: {what}") from None


def _where(name: str, line: int, j: int, columns: Columns) -> str:
    return f"`{name}`, line {line}, column {j + 1}" + (f" ({columns[j]!r})" if columns else "")


READERS = {".npy": read_npy, ".npz": read_npz, ".csv": read_csv}


# pandas


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
