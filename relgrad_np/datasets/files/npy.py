"""Read .npy files and streams: the header first, then exactly the bytes that it announces.

`name` stands for the file in error messages, with its quotes. No pickle is ever opened.
"""

import io
import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..file_rows import Descriptor, FileRows
from .limits import BROKEN, HEADER_LIMIT, one_line
from .opening import open_regular


def read_header(
    stream: BinaryIO, size: int, name: str
) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return the shape of the array in a .npy of `size` bytes, whether it is Fortran's, the dtype.

    ValueError unless real numbers of this shape fill the bytes that follow.
    """
    try:
        start = stream.read(8)  # its magic word and its version
        version = np.lib.format.read_magic(io.BytesIO(start))
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"its format is version {version[0]}.{version[1]}, not 1.0 or 2.0")
        declared = stream.read(2 * version[0])
        length = int.from_bytes(declared, "little")
        if length > HEADER_LIMIT:  # it need not be there: read no more than that
            raise ValueError(f"its header has {length} bytes, more than {HEADER_LIMIT}")
        header = io.BytesIO(declared + stream.read(length))
        before = len(start) + len(declared) + length  # the data
        read = np.lib.format.read_array_header_1_0
        read = read if version == (1, 0) else np.lib.format.read_array_header_2_0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # at headers of Python 2, and at odd escapes
            shape, fortran, dtype = read(header)
    except BROKEN as error:
        raise ValueError(f"{name} is not a .npy file: {one_line(error)}") from None
    if dtype.kind not in "biuf":
        what = "Python objects, which would run code" if dtype.hasobject else str(dtype)
        raise ValueError(f"{name} must hold real numbers, got {what}")
    count = dtype.itemsize  # in Python's integers, which do not overflow
    for length in shape:
        count *= length
    there = size - before
    if min(shape, default=0) < 0 or count != there:
        raise ValueError(f"{name} has {there} bytes of data, but its header says {shape} {dtype}")
    return shape, fortran, dtype


def read_array(stream: BinaryIO, size: int, name: str) -> NDArray[Any]:
    """Return the array in a .npy of `size` bytes; its header is checked before memory is asked for.

    >>> import io
    >>> read_array(io.BytesIO(b"0.1, 0.2"), 8, "it")
    Traceback (most recent call last):
    ValueError: it is not a .npy file: ...
    """
    shape, fortran, dtype = read_header(stream, size, name)
    X = np.empty(shape, dtype, order="F" if fortran else "C")
    flat = X.reshape(-1, order="A").view(np.uint8)  # the same memory
    read = 0
    while read < len(flat):
        chunk = stream.read(min(len(flat) - read, 2**24))
        if not chunk:
            raise ValueError(f"{name} ends after {read} of {len(flat)} bytes of data")
        flat[read : read + len(chunk)] = np.frombuffer(chunk, np.uint8)
        read += len(chunk)
    stream.read(1)  # zipfile compares the checksum when it meets the end
    return X


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file."""
    with open_regular(path) as stream:
        return read_array(stream, os.fstat(stream.fileno()).st_size, f"`{path}`")


def rows_of_npy(path: Path) -> FileRows:
    """Return the array (N, D) of a .npy file, whose rows are read when they are asked for.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npy"
    >>> np.save(path, np.eye(3))
    >>> rows_of_npy(path)[[2]]
    array([[0., 0., 1.]])
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        shape, fortran, dtype = read_header(stream, size, f"`{path}`")
        if len(shape) != 2 or not all(shape):
            raise ValueError(f"`{path}` must have shape (N, D), N >= 1, got {shape}")
        file, offset = Descriptor(os.dup(stream.fileno())), stream.tell()
    return FileRows(file, path, dtype, shape, offset, fortran)
