"""Read .npy and .npz files: headers first, so that nothing is unpacked unseen."""

import struct
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..transforms import Columns

MEMBER_LIMIT = 16 * 2**30  # bytes that one array of an .npz may unpack to


DEFLATE_LIMIT = 1040  # bytes that one compressed byte may unpack to; deflate reaches 1032


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
