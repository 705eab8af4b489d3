"""Rows that stay in their file: they are read when they are asked for, and never mapped.

A memory-mapped file that becomes shorter ends the process by SIGBUS, which no `except` sees. A read
ends early instead, and that can be said.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIECE = 2**20  # bytes that are read at a time


def read_at(number: int, n: int, place: int) -> bytes:
    """Return up to n bytes of an open file, from a place on; fewer at its end.

    >>> read_at(os.open(os.devnull, os.O_RDONLY), 3, 0)
    b''
    """
    if hasattr(os, "pread"):
        return os.pread(number, n, place)
    os.lseek(number, place, os.SEEK_SET)  # on other systems; a file of one thread
    return os.read(number, n)


class Descriptor:
    """A file that is open to be read for as long as somebody refers to it.

    >>> Descriptor(os.open(os.devnull, os.O_RDONLY)).number > 2
    True
    """

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        """Close it."""
        os.close(self.number)


class FileRows:
    """The matrix (N, D) in a file, from `offset` on; an index returns its rows as an array.

    An index is a slice, whole numbers or booleans, with or without one for the columns. `part` has
    some of the rows, unread. ValueError, in one line, where the file has become too short.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> _ = path.write_bytes(np.arange(6.0).tobytes())
    >>> file = Descriptor(os.open(path, os.O_RDONLY))
    >>> X = FileRows(file, path, np.dtype(float), (3, 2), 0)
    >>> X[1:], X[[2, 0], 0], X.part(1, 2).shape
    (array([[2., 3.], [4., 5.]]), array([4., 0.]), (1, 2))
    """

    ndim, in_file = 2, True

    def __init__(
        self,
        file: Descriptor,
        path: Path,
        dtype: np.dtype[Any],
        shape: tuple[int, int],
        offset: int,
        fortran: bool = False,
        column: int | None = None,
    ) -> None:
        self.file, self.path, self.dtype, self.shape = file, path, dtype, shape
        self.offset, self.fortran = offset, fortran
        self.column = shape[0] if column is None else column  # rows of the whole file
        self.size = shape[0] * shape[1]
        self.nbytes = self.size * dtype.itemsize

    def __len__(self) -> int:
        """Return N."""
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        """Return all rows."""
        return self[:] if dtype is None else self[:].astype(dtype)

    def __getitem__(self, index: Any) -> NDArray[Any]:
        """Read rows."""
        rows, columns = index if isinstance(index, tuple) else (index, slice(None))
        if isinstance(rows, slice):
            begin, end, step = rows.indices(len(self))
            which: Any = range(begin, end, step)
            found = self._run(begin, len(which)) if step == 1 else self._some(which)
        else:
            which = np.asarray(rows)
            which = np.flatnonzero(which) if which.dtype == bool else which
            if which.size and not (-len(self) <= which.min() and which.max() < len(self)):
                raise IndexError(f"rows of {len(self)} are from 0 on, got {which.min()} or more")
            found = self._some((which % len(self)).reshape(-1).tolist())
            if not which.ndim:
                found = found[0]
        return found[..., columns]

    def part(self, begin: int, end: int) -> "FileRows":
        """Return the rows from begin to end, unread."""
        begin, end, _ = slice(begin, end).indices(len(self))
        before = begin * (1 if self.fortran else self.shape[1]) * self.dtype.itemsize
        shape = max(0, end - begin), self.shape[1]
        return self._with(self.dtype, shape, self.offset + before)

    def view(self, dtype: Any) -> "FileRows":
        """Return the same bytes as numbers of another dtype of this size."""
        return self._with(np.dtype(dtype), self.shape, self.offset)

    def _with(self, dtype: np.dtype[Any], shape: tuple[int, int], offset: int) -> "FileRows":
        return FileRows(self.file, self.path, dtype, shape, offset, self.fortran, self.column)

    def _run(self, begin: int, n: int) -> NDArray[Any]:
        """Return n rows that follow one another."""
        D, size = self.shape[1], self.dtype.itemsize
        if not self.fortran:
            found = np.empty((n, D), self.dtype)
            self._fill(found, self.offset + begin * D * size)
            return found
        columns = np.empty((D, n), self.dtype)
        for j in range(D):
            self._fill(columns[j], self.offset + (j * self.column + begin) * size)
        return columns.T

    def _some(self, rows: Any) -> NDArray[Any]:
        """Return rows from here and there."""
        D, size = self.shape[1], self.dtype.itemsize
        width = (1 if self.fortran else D) * size
        columns = range(D) if self.fortran else range(1)
        starts = [self.offset + j * self.column * size for j in columns]
        places = [start + row * width for start in starts for row in rows]
        number = self.file.number
        data = b"".join([read_at(number, width, place) for place in places])
        if len(data) != len(places) * width:
            self._refuse()
        found = np.frombuffer(bytearray(data), self.dtype)
        return found.reshape(D, -1).T if self.fortran else found.reshape(-1, D)

    def _fill(self, array: NDArray[Any], place: int) -> None:
        """Read into an array, from this place of the file."""
        flat: Any = array.reshape(-1).view(np.uint8)  # the same memory
        left = memoryview(flat)
        while left:
            data = read_at(self.file.number, min(len(left), PIECE), place)
            if not data:
                self._refuse()
            left[: len(data)] = data
            left, place = left[len(data) :], place + len(data)

    def _refuse(self) -> None:
        raise ValueError(
            f"`{self.path}` has become shorter while it was read: it had {self.column} rows"
        )


def rows_of(X: Any, begin: int | None, end: int | None) -> Any:
    """Return the rows from begin to end of an array or a file, unread.

    >>> rows_of(np.eye(2), 1, None)
    array([[0., 1.]])
    """
    if not isinstance(X, FileRows):
        return X[begin:end]
    return X.part(begin or 0, len(X) if end is None else end)
