"""Arrays and a JSON header in one .npz file, written atomically and checked by a checksum.

A file is written beside its destination (`atomic`), flushed to disk and renamed, so that a file of
this name is either complete or not there. `digest`, the SHA-256 of header and arrays, is checked on
reading. There is no pickle in it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ...datasets.files.npz import read_all
from .writing import atomic

Arrays = dict[str, Any]


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


def read(path: Path, limit: int | None = None) -> tuple[dict[str, Any], Arrays]:
    """Return header and arrays; ValueError if the file is damaged or of another kind.

    No more than `limit` bytes of arrays, and never more than the file has, are read. The message is
    one line in which "it" is the file.

    >>> read(Path("none.npz"))
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'none.npz'
    """
    arrays = read_all(path, limit)
    for name in ("header", "digest"):
        if name not in arrays:
            raise ValueError(f"it has no {name!r}")
    text, digest = arrays.pop("header"), arrays.pop("digest")
    if not np.array_equal(digest, _digest(text, arrays)):
        raise ValueError("its contents do not match its checksum")
    try:
        header = json.loads(text.tobytes())
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return header, arrays


def _digest(text: Any, arrays: Arrays) -> Any:
    """Return the SHA-256 of the header and of every array's name, type, shape and bytes."""
    found = hashlib.sha256(text.tobytes())
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        plain: Any = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        found.update(plain)
    return np.frombuffer(found.digest(), dtype=np.uint8)
