"""Read .parquet and .feather files by pyarrow: whole, or in runs of rows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..memory import require_memory
from ..record import RawTable
from ..rows import Columns
from .choice import chosen, named, rounded, without_index
from .limits import one_line, require_modest
from .opening import open_regular
from .packed import needs
from .reading import Reading, asking
from .sizes import feather_unpacked, parquet_unpacked

INDEX = re.compile(r"__index_level_\d+__$")  # of a DataFrame, as pandas writes it
RUN = 2**20  # numbers of a run of rows that is read at a time
BUFFER = 2**20  # bytes of a column that are read ahead


class Streamed(NamedTuple):
    """A table that is read in runs of rows: its length, columns, dtype, and the runs (n, D)."""

    N: int
    columns: Columns
    dtype: np.dtype[Any]
    runs: Iterator[NDArray[Any]]
    notes: tuple[str, ...]


def read_arrow(
    path: Path, reading: Reading, wanted: Columns = None, limit: int | None = None
) -> RawTable:
    """Return the numbers of a .parquet or .feather file; NaN stands for a missing value.

    ValueError naming all columns that hold anything but numbers.
    """
    streamed = stream_arrow(path, reading, wanted, limit)
    shape = streamed.N, len(streamed.columns or ())
    size = 3 * shape[0] * shape[1] * streamed.dtype.itemsize  # it, a copy, what is unpacked
    require_memory(
        size, f"reading `{path}`", "read fewer columns by Reading(columns=...), or write it as .npy"
    )
    X = np.empty(shape, streamed.dtype)
    at = 0
    for run in streamed.runs:
        X[at : at + len(run)] = run
        at += len(run)
    places = list(range(X.shape[1]))
    keep, note = without_index(X, streamed.columns, places, reading)
    X = X[:, keep] if note else X
    notes = (*streamed.notes, *([note] if note else []))
    named_columns = named(streamed.columns, keep)
    if any(note.startswith(("int64", "uint64")) for note in notes):
        notes += rounded(X, named_columns)
    return RawTable(X, columns=named_columns, notes=notes)


def size_of(path: Path) -> tuple[int, int]:
    """Return the numbers of rows and columns of a .parquet file, from its footer alone."""
    with _Damage(path), open_regular(path) as file:
        import pyarrow.parquet

        about = pyarrow.parquet.read_metadata(file)
        return about.num_rows, about.num_columns


def stream_arrow(
    path: Path, reading: Reading, wanted: Columns = None, limit: int | None = None
) -> Streamed:
    """Return a .parquet or .feather file as runs of rows, of which one is in memory at a time.

    ValueError if its pages or buffers say that they unpack to more than `limit` bytes, or if its
    rows would take more as numbers of eight bytes.
    """
    name = f"`{path}`"
    file = _Parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _Feather(path)
    columns = tuple(file.schema.names)
    places = chosen(name, columns, len(columns), reading, wanted)
    some = places[: len(places) - reading.c]  # nothing that is given
    index = [j for j in some if reading.columns is None and INDEX.match(columns[j])]
    if len(index) < len(places):
        places = [j for j in places if j not in index]
    if not places or not file.N:
        raise ValueError(f"{name} has no {'rows' if places else 'columns'}")
    kinds = [_kind(file.schema.field(j)) for j in places]
    wrong = [j for j, kind in zip(places, kinds, strict=True) if kind is None]
    if wrong:
        first = file.schema.field(wrong[0])
        names = [columns[j] for j in wrong]
        more = f" (as do {', '.join(map(repr, names[1:20]))})" if len(names) > 1 else ""
        raise ValueError(
            f"{name}, column {wrong[0] + 1} ({names[0]!r}) holds {_what(str(first.type))}, not"
            f" numbers{more}: {asking(drop=names[:20])}, or write numbers for the values"
        )
    picked = [columns[j] for j in places]
    with _Damage(path):
        declared = max(file.unpacked(picked), 8 * file.N * len(picked))
    require_modest(
        name,
        declared,
        path.stat().st_size,
        limit,
        ", or read fewer columns by Reading(columns=...)",
    )
    dtype = np.dtype(np.float32 if all(kind == "float32" for kind in kinds) else np.float64)
    kept = [kind for kind in dict.fromkeys(kinds) if kind not in ("float32", "float64")]
    notes = tuple(f"{kind} converted to {dtype}" for kind in kept)
    if index:
        notes = (*notes, "the index of a DataFrame is left out")
    return Streamed(file.N, tuple(picked), dtype, _runs(path, file, picked, dtype), notes)


def _runs(
    path: Path, file: "_Parquet | _Feather", picked: list[str], dtype: np.dtype[Any]
) -> Iterator[NDArray[Any]]:
    """Yield runs of rows; ValueError where they are not as many as the file has said."""
    n, seen = max(1, RUN // len(picked)), 0
    with _Damage(path):
        for batch in file.batches(n, picked):
            batch.validate()
            seen += batch.num_rows
            if seen > file.N:
                break
            X = np.empty((batch.num_rows, len(picked)), dtype)
            for i, one in enumerate(picked):
                X[:, i] = _numbers(batch.column(batch.schema.names.index(one)))
            yield X
    if seen != file.N:
        raise ValueError(f"`{path}` says that it has {file.N} rows, but has {seen} or more")


class _File:
    """A regular file that is open for as long as somebody refers to it."""

    def __init__(self, path: Path) -> None:
        self.stream = open_regular(path)

    def __del__(self) -> None:
        if hasattr(self, "stream"):
            self.stream.close()


class _Parquet(_File):
    """A .parquet file that is open: its schema, its rows, and what its pages unpack to."""

    def __init__(self, path: Path) -> None:
        with _Damage(path):
            import pyarrow.parquet

            super().__init__(path)
            self.file = pyarrow.parquet.ParquetFile(
                self.stream, pre_buffer=False, buffer_size=BUFFER
            )
            self.schema, self.N = self.file.schema_arrow, self.file.metadata.num_rows

    def unpacked(self, picked: list[str]) -> int:
        """Return the bytes that the pages of these columns declare."""
        return parquet_unpacked(self.stream, self.file.metadata, set(picked))

    def batches(self, n: int, picked: list[str]) -> Iterator[Any]:
        """Yield batches of at most n rows."""
        found: Iterator[Any] = self.file.iter_batches(n, columns=picked, use_threads=False)
        return found


class _Feather(_File):
    """A .feather file that is open; it is read from its first message to its last."""

    def __init__(self, path: Path) -> None:
        with _Damage(path):
            import pyarrow as pa

            super().__init__(path)
            if self.stream.read(6) != b"ARROW1":
                raise ValueError(
                    f"`{path}` is not a .feather file of the second version: write it again by"
                    " pyarrow"
                )
            self.stream.seek(8)
            self.declared, self.N = feather_unpacked(self.stream)
            self.stream.seek(8)
            self.schema = pa.ipc.open_stream(pa.PythonFile(self.stream, "r")).schema

    def unpacked(self, picked: list[str]) -> int:
        """Return the bytes that the buffers of all columns declare."""
        return self.declared

    def batches(self, n: int, picked: list[str]) -> Iterator[Any]:
        """Yield batches of at most n rows."""
        import pyarrow as pa

        self.stream.seek(8)
        fields = [self.schema.names.index(name) for name in picked]
        options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
        for batch in pa.ipc.open_stream(pa.PythonFile(self.stream, "r"), options=options):
            batch.validate()
            for start in range(0, batch.num_rows, n):
                yield batch.slice(start, n)


def _kind(field: Any) -> str | None:
    """Return the name of a type of numbers, None for any other."""
    import pyarrow as pa

    kind = field.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind):
        return str(kind)
    if pa.types.is_floating(kind):
        return {"float": "float32", "double": "float64", "halffloat": "float16"}[str(kind)]
    return None


WORDS = {  # what a type begins with, and what it is called
    "timestamp": "dates",
    "date": "dates",
    "time": "times",
    "duration": "durations",
    "dictionary": "categories",
    "string": "texts",
    "large_string": "texts",
    "list": "lists",
    "null": "nothing but missing values",
}


def _what(kind: str) -> str:
    return next((words for start, words in WORDS.items() if kind.startswith(start)), kind)


def _numbers(column: Any) -> NDArray[Any]:
    """Return a column of a run as floats, NaN where it is null."""
    import pyarrow as pa

    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    values: NDArray[Any] = column.to_numpy(zero_copy_only=False)  # whole numbers with nulls: floats
    return values


class _Damage:
    """Turn what pyarrow raises at a damaged file into one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, ModuleNotFoundError):
            raise needs("pyarrow", self.path.suffix.lower()) from None
        if isinstance(error, MemoryError):  # pyarrow's, too
            return
        own = error is not None and type(error).__module__.startswith("pyarrow")
        own = own or (isinstance(error, ValueError) and not str(error).startswith("`"))
        if own or (isinstance(error, OSError) and not isinstance(error, FileNotFoundError)):
            text = f"`{self.path}` is not a sound {self.path.suffix.lower()} file, or is cut short"
            raise ValueError(f"{text}: {one_line(error)}") from None
