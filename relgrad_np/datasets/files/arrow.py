"""Read .parquet and .feather files by pyarrow: whole, or in runs of rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..record import RawTable
from ..rows import Columns
from .choice import chosen, named, without_index
from .limits import one_line
from .packed import needs
from .reading import Reading

RUN = 2**20  # numbers of a run of rows that is read at a time
BUFFER = 2**20  # bytes of a column that are read ahead


class Streamed(NamedTuple):
    """A table that is read in runs of rows: its length, columns, dtype, and the runs (n, D)."""

    N: int
    columns: Columns
    dtype: np.dtype[Any]
    runs: Iterator[NDArray[Any]]
    notes: tuple[str, ...]


def read_arrow(path: Path, reading: Reading, wanted: Columns = None) -> RawTable:
    """Return the numbers of a .parquet or .feather file; NaN stands for a missing value.

    ValueError naming all columns that hold anything but numbers.
    """
    streamed = stream_arrow(path, reading, wanted)
    X = np.empty((streamed.N, len(streamed.columns or ())), streamed.dtype)
    at = 0
    for run in streamed.runs:
        X[at : at + len(run)] = run
        at += len(run)
    places = list(range(X.shape[1]))
    keep, note = without_index(X, streamed.columns, places, reading)
    X = X[:, keep] if note else X
    notes = (*streamed.notes, note) if note else streamed.notes
    return RawTable(X, columns=named(streamed.columns, keep), notes=notes)


def size_of(path: Path) -> tuple[int, int]:
    """Return the numbers of rows and columns of a .parquet file, from its footer alone."""
    with _Damage(path):
        import pyarrow.parquet

        about = pyarrow.parquet.read_metadata(path)
        return about.num_rows, about.num_columns


def stream_arrow(path: Path, reading: Reading, wanted: Columns = None) -> Streamed:
    """Return a .parquet or .feather file as runs of rows, of which one is in memory at a time."""
    name, suffix = f"`{path}`", path.suffix.lower()
    with _Damage(path):
        if suffix in (".parquet", ".pq"):
            import pyarrow.parquet

            file = pyarrow.parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER)
            schema, N = file.schema_arrow, file.metadata.num_rows
        else:
            import pyarrow.feather

            file = pyarrow.feather.read_table(path, memory_map=True)
            schema, N = file.schema, file.num_rows
    columns = tuple(schema.names)
    places = chosen(name, columns, len(columns), reading, wanted)
    if not places or not N:
        raise ValueError(f"{name} has no {'rows' if places else 'columns'}")
    kinds = [_kind(schema.field(j)) for j in places]
    wrong = [j for j, kind in zip(places, kinds, strict=True) if kind is None]
    if wrong:
        first = schema.field(wrong[0])
        names = [columns[j] for j in wrong]
        more = f" (as do {', '.join(map(repr, names[1:20]))})" if len(names) > 1 else ""
        raise ValueError(
            f"{name}, column {wrong[0] + 1} ({names[0]!r}) holds {_what(str(first.type))}, not"
            f" numbers{more}: --drop {','.join(names)!r}, or write numbers for the values"
        )
    dtype = np.dtype(np.float32 if all(kind == "float32" for kind in kinds) else np.float64)
    picked = [columns[j] for j in places]

    def runs() -> Iterator[NDArray[Any]]:
        n = max(1, RUN // len(picked))
        with _Damage(path):
            if suffix in (".parquet", ".pq"):
                batches = file.iter_batches(batch_size=n, columns=picked, use_threads=False)
            else:
                batches = file.select(picked).to_batches(max_chunksize=n)
            for batch in batches:
                X = np.empty((batch.num_rows, len(picked)), dtype)
                for i, one in enumerate(picked):
                    X[:, i] = _numbers(batch.column(batch.schema.names.index(one)))
                yield X

    kept = [kind for kind in dict.fromkeys(kinds) if kind not in ("float32", "float64")]
    notes = tuple(f"{kind} converted to {dtype}" for kind in kept)
    return Streamed(N, tuple(picked), dtype, runs(), notes)


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
        own = error is not None and type(error).__module__.startswith("pyarrow")
        if own or (isinstance(error, OSError) and not isinstance(error, FileNotFoundError)):
            text = f"`{self.path}` is not a sound {self.path.suffix.lower()} file, or is cut short"
            raise ValueError(f"{text}: {one_line(error)}") from None
