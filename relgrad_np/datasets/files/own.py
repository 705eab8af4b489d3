"""Data of your own: a .npy (left in its file if large), .npz or .csv file, an array, a DataFrame.

Nothing here runs what a file holds: no pickle is ever opened. The size that a header announces is
compared with the bytes that are there before any memory is asked for. Each error is one line that
names the file and, where there is one, the line and the column.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..file_rows import FileRows
from ..record import Dataset, RawTable
from ..rows import Columns
from .csv import read_csv
from .frame import is_frame, read_frame
from .npy import read_npy, rows_of_npy
from .npz import read_npz
from .split import split_by_position, split_shuffled

LAZY_ABOVE = 512 * 2**20  # bytes of a .npy file beyond which its rows stay there
READERS: dict[str, Callable[[Path, int | None], RawTable]] = {
    ".npy": lambda path, _: RawTable(read_npy(path)),
    ".npz": read_npz,
    ".csv": lambda path, _: read_csv(path),
}


def is_own_file(name: str) -> bool:
    """Say whether `own_file` reads files with the ending of this name.

    >>> is_own_file("my data.CSV"), is_own_file("digits")
    (True, False)
    """
    return Path(name).suffix.lower() in READERS


def own_file(
    path: str | os.PathLike[str],
    rng: np.random.Generator,
    n: int | None = None,
    lazy_above: int = LAZY_ABOVE,
    limit: int | None = None,
) -> Dataset:
    r"""Return the Dataset of a .npy, .npz or .csv file.

    The rows are shuffled by `rng`; the first 80 % train, 10 % validate, 10 % test. An .npz with
    x_train and one or both of x_validation (x_valid, x_val) and x_test has been split already; a
    split that is missing is cut from the end of the shuffled x_train, 10 % of it. A .npy of more
    than `lazy_above` bytes is not shuffled, but split by position. An .npz may unpack to `limit`
    bytes, see `read_named`.

    FileNotFoundError, or ValueError for what can't be read as finite real numbers (N, D).

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.csv"
    >>> _ = path.write_text("a,b\n" + "".join(f"{i / 7},{i * i / 3}\n" for i in range(20)))
    >>> data = own_file(path, np.random.default_rng(0))
    >>> data.columns, data.train.shape, data.validation.shape, data.test.shape
    (('a', 'b'), (16, 2), (2, 2), (2, 2))
    """
    path = _existing(path)
    suffix = path.suffix.lower()
    if suffix == ".npy" and path.stat().st_size > lazy_above:
        return split_by_position(str(path), rows_of_npy(path), n)
    return split_shuffled(str(path), READERS[suffix](path, limit), rng, n)


def own_array(
    array: Any, rng: np.random.Generator, n: int | None = None, lazy_above: int = LAZY_ABOVE
) -> Dataset:
    """Return the Dataset of a 2-D array or a pandas DataFrame, split as a file would be.

    >>> data = own_array(np.arange(40).reshape(20, 2) ** 2, np.random.default_rng(0))
    >>> data.name, data.train.shape
    ('array', (16, 2))
    """
    if is_frame(array):
        return split_shuffled("DataFrame", read_frame(array), rng, n)
    if isinstance(array, np.memmap) and array.nbytes > lazy_above:
        return split_by_position("array", array, n)
    if isinstance(array, np.ndarray):
        return split_shuffled("array", RawTable(array), rng, n)
    raise TypeError(
        "`data` must be the name of a data set, a file, a NumPy array or a pandas DataFrame, got "
        f"{type(array).__name__}"
    )


def raw_rows(path: str | os.PathLike[str]) -> tuple[NDArray[Any] | FileRows, Columns]:
    """Return all rows of a file, unchanged and in their order, and the names of its columns.

    A .npy is read when its rows are asked for; the splits of an .npz follow one another.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npy"
    >>> np.save(path, np.arange(4).reshape(2, 2))
    >>> raw_rows(path)[0][:].tolist()
    [[0, 1], [2, 3]]
    """
    path = _existing(path)
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return rows_of_npy(path), None
    found = READERS[suffix](path, None)
    parts = [part for part in (found.train, found.validation, found.test) if part is not None]
    return np.concatenate(parts), found.columns


def _existing(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.is_file():
        what = "is no regular file" if path.exists() else "is not there"
        raise FileNotFoundError(f"the data file {str(path)!r} {what}")
    return path
