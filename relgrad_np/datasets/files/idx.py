"""Read IDX, the format of MNIST's own files: a magic number, the lengths, and the bytes."""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .limits import most_unpacked
from .opening import open_regular

SIZE_LIMIT = 2**30  # bytes, unpacked; MNIST has 47 million
UNSIGNED_BYTES = 0x08


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of unsigned bytes in an IDX file, gzipped or not.

        0, 0, 8, ndim; ndim lengths of four bytes, big-endian; then exactly their product of bytes

    ValueError for anything else, and for more than 1 GiB.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two-idx2-ubyte"
    >>> _ = path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 1, 0, 0, 0, 2, 17, 255]))
    >>> read_idx(path)
    array([[ 17, 255]], dtype=uint8)
    """
    with open_regular(path) as file:
        packed, length = file.read(2) == b"\x1f\x8b", os.fstat(file.fileno()).st_size
    most = min(SIZE_LIMIT, most_unpacked(length, None)) if packed else SIZE_LIMIT
    try:
        with gzip.open(path, "rb") if packed else open_regular(path) as stream:
            head = stream.read(4)
            if len(head) < 4 or head[:3] != bytes([0, 0, UNSIGNED_BYTES]) or not 1 <= head[3] <= 4:
                raise ValueError(f"`{path}` is not an IDX file of unsigned bytes: it has {head!r}")
            lengths = stream.read(4 * head[3])
            if len(lengths) < 4 * head[3]:
                raise ValueError(f"`{path}` ends in its header")
            shape = struct.unpack(f">{head[3]}I", lengths)
            size = math.prod(shape)
            if size > most:
                raise ValueError(f"`{path}` says that it has {size} bytes, more than {most}")
            data = bytearray()
            while len(data) <= size and (chunk := stream.read(min(size + 1, 2**24))):
                data += chunk
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"`{path}` is not a sound gzip file: {error}") from None
    if len(data) != size:
        there = f"{len(data)}" if len(data) < size else "more"
        raise ValueError(
            f"`{path}` says that it has {size} bytes of data, {shape}, but has {there}"
        )
    return np.frombuffer(data, np.uint8).reshape(shape)
