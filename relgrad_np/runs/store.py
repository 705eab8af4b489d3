"""Arrays and a JSON header in one .npz file, written atomically and checked by a checksum.

A file is written beside its destination, flushed to disk and renamed, so that a file of this name
is either complete or not there. `digest`, the SHA-256 of header and arrays, is checked on reading.
There is no pickle in it.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..datasets.files.npz import read_all

Arrays = dict[str, Any]


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file that becomes `path`, complete and on the disk, if the block raises no error.

    OSError names `path` and leaves an older file of this name alone.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> with atomic(path) as file:
    ...     _ = file.write(b"hello")
    >>> path.read_text(), [p.name for p in path.parent.iterdir()]
    ('hello', ['x'])
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.errno is None:  # NumPy's, where the disk is full
            raise OSError(f"`{path}` can't be written, is the disk full? {error}") from None
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        partial.unlink(missing_ok=True)


def write(path: Path, header: dict[str, Any], arrays: Arrays) -> None:
    """Write header and NumPy arrays to `path`; OSError leaves an older file of this name alone.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.npz"
    >>> write(path, {"a": 1}, {"v": np.arange(3.0)})
    >>> read(path)
    ({'a': 1}, {'v': array([0., 1., 2.])})
    """
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with atomic(path) as file:
        np.savez(file, header=text, digest=_digest(text, arrays), **arrays)


def read(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Return header and arrays; ValueError if the file is damaged or of another kind.

    The message is one line in which "it" is the file.

    >>> read(Path("none.npz"))
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'none.npz'
    """
    arrays = read_all(path)
    for name in ("header", "digest"):
        if name not in arrays:
            raise ValueError(f"it has no {name!r}")
    text, digest = arrays.pop("header"), arrays.pop("digest")
    if not np.array_equal(digest, _digest(text, arrays)):
        raise ValueError("its contents do not match its checksum")
    try:
        return json.loads(text.tobytes()), arrays
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None


def _digest(text: Any, arrays: Arrays) -> Any:
    """Return the SHA-256 of the header and of every array's name, type, shape and bytes."""
    found = hashlib.sha256(text.tobytes())
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        plain: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        found.update(plain)
    return np.frombuffer(found.digest(), dtype=np.uint8)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, on systems that can flush a folder to disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
