"""How files and folders are written: complete or not at all, and never through a link.

What is written stands beside its destination first, under a name that nobody can guess and that was
free, `.NAME.xxxxxxxx.partial`. A lock on it says that its writer is alive. What a killed writer has
left is removed by the next one that writes the same name.
"""

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ModuleNotFoundError:  # no flock on this system
    fcntl = None  # type: ignore[assignment]

NO_LINK = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """Open a file that becomes `path`, complete and on the disk, if the block raises no error.

    OSError names `path` and leaves an older file of this name alone. A link of this name is
    replaced, and what it leads to is left alone.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> with atomic(path) as file:
    ...     _ = file.write(b"hello")
    >>> path.read_text(), [p.name for p in path.parent.iterdir()]
    ('hello', ['x'])
    """
    partial = beside(path)
    try:
        remove_leftovers(path)
        with partial.open("xb") as file:  # x: it must be new, so it is no link
            claim(file.fileno())
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


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder that becomes `path`, with all that the block writes into it, or nothing.

    OSError where something of this name is there.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> with new_folder(path) as folder:
    ...     _ = (folder / "y").write_text("hello")
    >>> [p.name for p in path.iterdir()]
    ['y']
    """
    remove_leftovers(path)
    partial = beside(path)
    partial.mkdir()
    lock = None
    try:
        if fcntl is not None:
            lock = os.open(partial, os.O_RDONLY | NO_LINK)
            claim(lock)
        yield partial
        partial.rename(path)
    finally:
        if lock is not None:
            os.close(lock)
        shutil.rmtree(partial, ignore_errors=True)


def open_safely(path: Path, flags: int) -> int:
    """Open a regular file to write to it; OSError if it is a link or anything else.

    >>> import tempfile
    >>> link = Path(tempfile.mkdtemp()) / "link"
    >>> link.symlink_to(os.devnull)
    >>> open_safely(link, os.O_WRONLY)
    Traceback (most recent call last):
    OSError: [Errno ...] Too many levels of symbolic links: ...
    """
    number = os.open(path, flags | NO_LINK | NO_WAIT, 0o666)
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise OSError(f"{str(path)!r} is no regular file")
    return number


def own_subfolder(path: Path) -> None:
    """Make a folder if it is not there; OSError if it is a link, through which others are changed.

    >>> import tempfile
    >>> own_subfolder(Path(tempfile.mkdtemp()) / "x")
    """
    if path.is_symlink():
        raise OSError(f"{str(path)!r} is a link: files would be written and removed elsewhere")
    path.mkdir(exist_ok=True)


def beside(path: Path) -> Path:
    """Return a name for what is to become `path`.

    >>> beside(Path("a/x")).name[:3], beside(Path("a/x")).suffix
    ('.x.', '.partial')
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.partial")


def remove_leftovers(path: Path, name: str | None = None) -> None:
    """Remove what dead writers of `path` have left; with a name, of all that is so called beside.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> beside(path).mkdir()
    >>> remove_leftovers(path)
    >>> list(path.parent.iterdir())
    []
    """
    start = f".{path.name}." if name is None else name
    with contextlib.suppress(OSError):  # such as a folder that can't be listed
        for entry in list(os.scandir(path.parent)):
            if entry.name.startswith(start) and entry.name.endswith(".partial"):
                _remove(Path(entry.path))


def _remove(partial: Path) -> None:
    """Remove a leftover, unless its writer is alive; a link itself, and not what it leads to."""
    with contextlib.suppress(OSError):
        mode = partial.lstat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            partial.unlink()
            return
        number = os.open(partial, os.O_RDONLY | NO_LINK | NO_WAIT)
        try:
            claim(number)
            if stat.S_ISDIR(mode):
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink()
        finally:
            os.close(number)


def claim(number: int) -> None:
    """Lock an open file or folder for as long as it is open; BlockingIOError if another has it.

    >>> with open(os.devnull) as file:
    ...     claim(file.fileno())
    """
    if fcntl is not None:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, on systems that can flush a folder to disk."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
