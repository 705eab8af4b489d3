"""Open files that others may have made: regular files only, and archives whose contents are few.

A pipe or a device is refused, and never waited for. Of an archive nothing is unpacked here.
"""

import contextlib
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from .limits import BROKEN, one_line

DIRECTORY_LIMIT = 2**22  # bytes of an archive's directory; it costs ten times that to read


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read it; OSError, or ValueError if it is a pipe or a device.

    >>> open_regular(Path(os.devnull))
    Traceback (most recent call last):
    ValueError: it is no regular file
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = open(os.open(path, flags), "rb")  # noqa: SIM115
    mode = os.fstat(file.fileno()).st_mode
    if not stat.S_ISREG(mode):
        file.close()
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(21, "Is a directory", str(path))
        raise ValueError("it is no regular file")
    return file


def read_small(path: Path, most: int = 2**20) -> bytes:
    """Return the contents of a regular file; ValueError if it has more than so many bytes.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> _ = path.write_bytes(b"hello")
    >>> read_small(path)
    b'hello'
    >>> read_small(path, 4)
    Traceback (most recent call last):
    ValueError: it is larger than 4 bytes
    """
    with open_regular(path) as file:
        found = file.read(most + 1)
    if len(found) > most:
        raise ValueError(f"it is larger than {most} bytes")
    return found


class Archive(zipfile.ZipFile):
    """A zip file, open to be read; `size` is that of the file itself, in bytes."""

    size = 0


@contextlib.contextmanager
def open_archive(path: Path, name: str) -> Iterator[Archive]:
    """Open a zip file whose members have different names and are no links; else ValueError.

    `name` stands for the file in the message. FileNotFoundError, IsADirectoryError.
    """
    try:
        file = open_regular(path)
    except ValueError as error:
        raise ValueError(f"{name} is not an .npz file: {error}") from None
    with file:
        source = _Source(file)
        try:
            archive = Archive(source)
        except BROKEN as error:
            raise ValueError(f"{name} is not an .npz file: {one_line(error)}") from None
        source.most = None
        archive.size = os.fstat(file.fileno()).st_size
        seen: set[str] = set()
        for info in archive.infolist():
            parts = info.filename.replace("\\", "/").split("/")
            if parts[0] == "" or ".." in parts:
                raise ValueError(f"{name} has a member outside of itself, {_short(info)}")
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ValueError(f"{name} has a link among its members, {_short(info)}")
            if (key := info.filename.lower()) in seen:
                raise ValueError(f"{name} has two members of one name, {_short(info)}")
            seen.add(key)
        with archive:
            yield archive


def _short(info: zipfile.ZipInfo) -> str:
    return repr(info.filename[:60])


class _Source:
    """A file of which no more than `most` bytes are read at a time; None for any number."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.most: int | None = DIRECTORY_LIMIT
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, n: int = -1) -> Any:
        """Return the next n bytes, or all that are left."""
        if self.most is None:
            return self.file.read(n)
        n = n if n >= 0 else os.fstat(self.file.fileno()).st_size - self.file.tell()
        if n > self.most:
            raise ValueError(f"its directory has {n} bytes, more than {self.most}")
        return self.file.read(n)
