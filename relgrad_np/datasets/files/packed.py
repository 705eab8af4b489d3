"""Open a file that may be compressed: .gz, .bz2, .xz, .zst; the one place that unpacks text."""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from .limits import most_unpacked, one_line
from .opening import open_regular

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def inner_suffix(name: str) -> str:
    """Return the suffix of a name, in lower case, without that of its compression.

    >>> inner_suffix("my.CSV.gz"), inner_suffix("my.npy"), inner_suffix("digits")
    ('.csv', '.npy', '')
    """
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in SUFFIXES else path.suffix


@contextlib.contextmanager
def unpacked(path: Path, limit: int | None = None) -> Iterator[BinaryIO]:
    """Open the bytes of a file, unpacked; ValueError where its compression is damaged.

    ValueError, too, where more than `limit` bytes are read that were packed, by default 64 MiB or
    100 times the size of the file: they are counted as they come.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv.gz"
    >>> _ = path.write_bytes(gzip.compress(b"1,2")[:-9])
    >>> with unpacked(path) as stream:
    ...     stream.read()
    Traceback (most recent call last):
    ValueError: `...a.csv.gz` is not a sound .gz file, or is cut short: ...
    """
    suffix = path.suffix.lower()
    try:
        with open_regular(path) as file:
            if suffix not in SUFFIXES:
                yield file
                return
            most = most_unpacked(os.fstat(file.fileno()).st_size, limit)
            with contextlib.closing(_unpacking(file, suffix)) as stream:
                counted = Counted(stream, f"`{path}`", most)
                yield cast(BinaryIO, io.BufferedReader(counted, 2**18))
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _unsound(path, suffix, error) from None
    except OSError as error:
        if suffix in SUFFIXES and error.errno is None:  # bz2's own
            raise _unsound(path, suffix, error) from None
        raise
    except Exception as error:
        if type(error).__name__ == "ZstdError":
            raise _unsound(path, suffix, error) from None
        raise


def _unsound(path: Path, suffix: str, error: Exception) -> ValueError:
    text = f"`{path}` is not a sound {suffix} file, or is cut short: {one_line(error)}"
    return ValueError(text)


def _unpacking(file: BinaryIO, suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.open(file, "rb")
    if suffix == ".bz2":
        return bz2.open(file, "rb")
    if suffix == ".xz":
        return lzma.open(file, "rb")
    try:
        import zstandard
    except ModuleNotFoundError:
        raise needs("zstandard", ".zst") from None
    return zstandard.open(file, "rb", closefd=False)


class Counted(io.RawIOBase):
    """Bytes that are being unpacked, no more than `most` of them; ValueError at the next one.

    >>> Counted(io.BytesIO(b"hello"), "it", 4).read(9)
    Traceback (most recent call last):
    ValueError: it unpacks to more than 4 bytes: unpack it first, or give more as `limit`
    """

    def __init__(self, stream: Any, name: str, most: int) -> None:
        super().__init__()
        self.stream, self.name, self.most, self.given = stream, name, most, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as there are bytes; return how many."""
        found = self.stream.read(min(len(buffer), self.most + 1 - self.given))
        self.given += len(found)
        if self.given > self.most:
            raise ValueError(
                f"{self.name} unpacks to more than {self.most} bytes: unpack it first, or give more"
                " as `limit`"
            )
        buffer[: len(found)] = found
        return len(found)


def needs(package: str, what: str) -> ModuleNotFoundError:
    """Return the error that says which package reads such files, and how to get it.

    >>> needs("pyarrow", ".parquet")
    ModuleNotFoundError('files .parquet need pyarrow: pip install pyarrow')
    """
    return ModuleNotFoundError(f"files {what} need {package}: pip install {package}", name=package)
