"""Open a file that may be compressed: .gz, .bz2, .xz, .zst; the one place that unpacks text."""

import bz2
import contextlib
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from .limits import one_line

SUFFIXES = (".gz", ".bz2", ".xz", ".zst")


def inner_suffix(name: str) -> str:
    """Return the suffix of a name, in lower case, without that of its compression.

    >>> inner_suffix("my.CSV.gz"), inner_suffix("my.npy"), inner_suffix("digits")
    ('.csv', '.npy', '')
    """
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in SUFFIXES else path.suffix


@contextlib.contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open the bytes of a file, unpacked; ValueError where its compression is damaged.

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
        with contextlib.closing(_open(path, suffix)) as stream:
            yield cast(BinaryIO, stream)
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


def _open(path: Path, suffix: str) -> Any:
    if suffix == ".gz":
        return gzip.open(path, "rb")
    if suffix == ".bz2":
        return bz2.open(path, "rb")
    if suffix == ".xz":
        return lzma.open(path, "rb")
    if suffix == ".zst":
        try:
            import zstandard
        except ModuleNotFoundError:
            raise needs("zstandard", ".zst") from None
        return zstandard.open(path, "rb")
    return path.open("rb")


def needs(package: str, what: str) -> ModuleNotFoundError:
    """Return the error that says which package reads such files, and how to get it.

    >>> needs("pyarrow", ".parquet")
    ModuleNotFoundError('files .parquet need pyarrow: pip install pyarrow')
    """
    return ModuleNotFoundError(f"files {what} need {package}: pip install {package}", name=package)
