"""Data of your own: a file of any of the usual kinds, an array, or a DataFrame.

Nothing here runs what a file holds: no pickle is ever opened. Each error is one line that names the
file, where there is one the line and the column, and what to do. A .npy or .parquet file that is
large stays on disk.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.arguments import nearest
from ..file_rows import FileRows
from ..record import Dataset, RawTable
from ..rows import Columns
from . import containers
from .arrow import Streamed, read_arrow, size_of, stream_arrow
from .choice import chosen, named, without_index
from .copied import runs_of, split_copied
from .frame import is_frame, read_frame
from .missing import marked, settled
from .npy import read_npy, rows_of_npy
from .npz import read_npz
from .packed import SUFFIXES, inner_suffix
from .reading import Reading
from .split import split_by_position, split_shuffled
from .text import read_text

LAZY_ABOVE = 512 * 2**20  # bytes of numbers beyond which a .npy or .parquet file stays on disk
TEXTS = (".csv", ".tsv", ".txt", ".dat", ".data", ".asc", ".tab", ".psv")
ARROW = (".parquet", ".pq", ".feather", ".arrow")
ARRAYS: dict[str, Callable[[Path, int | None], RawTable]] = {
    ".npy": lambda path, _: RawTable(read_npy(path)),
    ".npz": read_npz,
    **containers.READERS,
}
ENDINGS = (*TEXTS, *ARROW, *ARRAYS)
CODE = "would run code when it is opened: save the rows as .npy or .parquet"
OTHERS = {
    CODE: (".pkl", ".pickle", ".joblib", ".pt"),
    "is a spreadsheet: export the sheet as .csv": (".xlsx", ".xls", ".ods"),
    "is JSON: write the table as .csv or .parquet": (".json", ".jsonl", ".ndjson"),
    "is an archive: unpack it first": (".zip", ".tar", ".tgz", ".7z", ".rar"),
    "is compressed in another way: unpack it first": (".z", ".lz4", ".lzma", ".br"),
    "is of another program: export it as .csv": (
        *(".sav", ".dta", ".sas7bdat", ".rds", ".rdata", ".arff", ".sqlite", ".db"),
    ),
}
REFUSED = {ending: why for why, endings in OTHERS.items() for ending in endings}


def is_own_file(name: str) -> bool:
    """Say whether a name is that of a file, by its ending or because it is there.

    >>> is_own_file("my data.CSV"), is_own_file("my.tsv.gz"), is_own_file("digits")
    (True, True, False)
    """
    ending = inner_suffix(name)
    return ending in ENDINGS or ending in REFUSED or Path(name).is_file()


def own_file(
    path: str | os.PathLike[str],
    rng: np.random.Generator,
    n: int | None = None,
    lazy_above: int = LAZY_ABOVE,
    reading: Reading | None = None,
    limit: int | None = None,
) -> Dataset:
    r"""Return the Dataset of a file of your own.

    Text (.csv, .tsv, .txt and others, perhaps .gz, .bz2, .xz or .zst) is read by pandas, .parquet
    and .feather by pyarrow, .h5 by h5py, .mat by SciPy. The rows are shuffled by `rng`; the first
    80 % train, 10 % validate, 10 % test. A file with x_train and one or both of x_validation
    (x_valid, x_val) and x_test has been split already; a split that is missing is cut from the end
    of the shuffled x_train, 10 % of it. A .npy of more than `lazy_above` bytes is not shuffled, but
    split by position. A .parquet of more numbers than that, or such a .npy of which a part is read,
    is laid out in a temporary file (`copied`). What is compressed may unpack to `limit` bytes
    (`limits`).

    FileNotFoundError, or ValueError for what can't be read as finite real numbers (N, D).

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npy"
    >>> np.save(path, np.arange(40).reshape(20, 2) ** 2)
    >>> data = own_file(path, np.random.default_rng(0))
    >>> data.columns, data.train.shape, data.validation.shape, data.test.shape
    (None, (16, 2), (2, 2), (2, 2))
    """
    path, reading = _existing(path), reading or Reading()
    suffix, name = path.suffix.lower(), str(path)
    if suffix == ".npy" and path.stat().st_size > lazy_above:
        X = rows_of_npy(path)
        if not reading.selects and not reading.dequantise:
            return split_by_position(name, X, n, reading.support)
        places = chosen(f"`{name}`", None, X.shape[1], reading)
        dtype = np.dtype(np.float32 if X.dtype == np.float32 else np.float64)
        columns = tuple(str(j) for j in places)
        return _copied(
            name, Streamed(len(X), columns, dtype, runs_of(X, places), ()), rng, n, reading
        )
    if suffix in (".parquet", ".pq"):
        N, D = size_of(path)
        if 8 * N * len(reading.columns or range(D)) > lazy_above:
            return _copied(name, stream_arrow(path, reading, limit=limit), rng, n, reading)
    raw = settled(name, read_raw(path, reading, limit=limit), reading)
    return split_shuffled(name, raw, rng, n, reading)


def _copied(
    name: str, table: Streamed, rng: np.random.Generator, n: int | None, reading: Reading
) -> Dataset:
    if reading.dequantise:
        raise ValueError(
            f"`{name}` is too large for Reading(dequantise=True): add the noise to the file itself"
        )
    return split_copied(name, table, rng, n, reading)


def read_raw(
    path: Path, reading: Reading, wanted: Columns = None, limit: int | None = None
) -> RawTable:
    """Return the rows of a file as it holds them, with the columns that are asked for.

    `wanted` are the names of a model's columns: these are taken, where the file has names.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npy"
    >>> np.save(path, np.arange(6).reshape(2, 3))
    >>> read_raw(path, Reading(drop="1")).train.tolist()
    [[0, 2], [3, 5]]
    """
    ending, name = inner_suffix(path.name), f"`{path}`"
    if ending in REFUSED:
        raise ValueError(f"{name} {REFUSED[ending]}")
    if path.suffix.lower() in SUFFIXES and ending in (*ARROW, *ARRAYS):
        raise ValueError(f"{name} is compressed: unpack it first, or compress text instead")
    if ending in ARROW:
        return read_arrow(path, reading, wanted, limit)
    if ending in ARRAYS:
        return _columns_of(name, ARRAYS[ending](path, limit), reading, wanted)
    return read_text(path, reading, wanted, limit)


def _columns_of(name: str, raw: RawTable, reading: Reading, wanted: Columns = None) -> RawTable:
    """Return an array's columns that are asked for, by their numbers."""
    if (reading.columns or reading.drop or reading.given or wanted) and raw.train.ndim == 2:
        places = chosen(name, raw.columns, raw.train.shape[1], reading, wanted)
        if places == list(range(raw.train.shape[1])):
            return raw
        validation, test = (
            None if part is None else part[:, places] for part in (raw.validation, raw.test)
        )
        return raw._replace(
            train=raw.train[:, places],
            validation=validation,
            test=test,
            columns=named(raw.columns, places),
        )
    return raw


def own_array(
    array: Any,
    rng: np.random.Generator,
    n: int | None = None,
    lazy_above: int = LAZY_ABOVE,
    reading: Reading | None = None,
) -> Dataset:
    """Return the Dataset of a 2-D array or a DataFrame of pandas or polars, split as a file is.

    >>> data = own_array(np.arange(40).reshape(20, 2) ** 2, np.random.default_rng(0))
    >>> data.name, data.train.shape
    ('array', (16, 2))
    """
    reading = reading or Reading()
    if isinstance(array, np.memmap) and array.nbytes > lazy_above and not reading.selects:
        return split_by_position("array", array, n, reading.support)
    if is_frame(array):
        name, raw = "DataFrame", read_frame(array, reading)
        keep, note = without_index(raw.train, raw.columns, list(range(raw.train.shape[1])), reading)
        if note:
            columns = tuple((raw.columns or ())[j] for j in keep)
            raw = raw._replace(train=raw.train[:, keep], columns=columns, notes=(*raw.notes, note))
    elif isinstance(array, np.ndarray):
        name, raw = "array", _columns_of("`array`", RawTable(array), reading)
    else:
        raise TypeError(
            "`data` must be the name of a data set, a file, a NumPy array or a DataFrame of pandas"
            f" or polars, got {type(array).__name__}"
        )
    if raw.train.ndim == 2 and raw.train.size:
        raw = settled(name, raw, reading)
    return split_shuffled(name, raw, rng, n, reading)


def raw_rows(
    path: str | os.PathLike[str], reading: Reading | None = None, wanted: Columns = None
) -> tuple[NDArray[Any] | FileRows, tuple[str, ...]]:
    """Return all rows of a file, in their order, and notes.

    A .npy is read when its rows are asked for; the splits of an .npz follow one another. `wanted`
    are the names of a model's columns, which are taken where the file has names. Where the model
    has none, a note says that columns go by position. With `reading.missing` "drop" rows with
    missing values stay, with NaN in them. ValueError for missing values otherwise.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npy"
    >>> np.save(path, np.arange(4).reshape(2, 2))
    >>> raw_rows(path)[0][:].tolist()
    [[0, 1], [2, 3]]
    """
    path, reading = _existing(path), reading or Reading()
    if path.suffix.lower() == ".npy" and not reading.selects:
        X = rows_of_npy(path)
        if wanted is None or X.shape[1] == len(wanted):
            return X, ()
    found = read_raw(path, reading, wanted)
    parts = [part for part in (found.train, found.validation, found.test) if part is not None]
    found = found._replace(train=parts[0] if len(parts) == 1 else np.concatenate(parts))
    found = found._replace(validation=None, test=None)
    if wanted is None and found.columns is not None:
        names = ", ".join(found.columns[:6]) + ", ..." * (len(found.columns) > 6)
        note = f"the model has no names of columns: those of the file go by position, {names}"
        found = found._replace(notes=(*found.notes, note))
    if reading.missing != "drop":
        return settled(str(path), found, reading, scored=True)[0], found.notes
    return marked(found.train, reading), found.notes


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.is_file():
        if path.exists():
            raise FileNotFoundError(f"the data file {str(path)!r} is no regular file")
        near = like_it(path)
        meant = "" if near is None else f"; did you mean {near!r}?"
        raise FileNotFoundError(f"the data file {str(path)!r} is not there{meant}")
    return path


def like_it(path: Path) -> str | None:
    """Return the name of the file beside it that was probably meant, None if there is no such.

    >>> like_it(Path("nowhere/my.csv")) is None
    True
    """
    try:
        with os.scandir(path.parent) as entries:
            names = [entry.name for _, entry in zip(range(1000), entries, strict=False)]
    except OSError:
        return None
    return nearest(path.name, [name for name in names if is_own_file(name)])
