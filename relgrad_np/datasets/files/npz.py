"""Read .npz files: the sizes that they declare are judged before anything is unpacked."""

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..record import RawTable
from .limits import BROKEN, one_line, require_modest
from .npy import read_array
from .opening import Archive, open_archive

DEFLATE_LIMIT = 1040  # bytes that one compressed byte may unpack to; deflate reaches 1032
VALIDATION_KEYS = ("x_validation", "x_valid", "x_val")


def read_npz(path: Path, limit: int | None = None) -> RawTable:
    """Return the rows of an .npz file: `X`, or x_train and the other splits, or the only array.

    `limit`: see `read_named`.

    >>> import numpy as np, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npz"
    >>> np.savez(path, x_train=np.zeros((4, 2)), x_test=np.ones((3, 2)), y_train=np.zeros(4))
    >>> raw = read_npz(path)
    >>> raw.train.shape, raw.validation, raw.test.shape
    ((4, 2), None, (3, 2))
    """
    with open_archive(path, f"`{path}`") as file:
        keys = {key.lower() for key in _members(file)}
    if "x_train" in keys and "x" in keys:
        raise ValueError(f"`{path}` has both X and x_train: which is meant?")
    if "x_train" in keys:
        validation = next((key for key in VALIDATION_KEYS if key in keys), "")
        splits = [key for key in ("x_train", validation, "x_test") if key in keys]
        found = read_named(path, splits, limit)
        return RawTable(found["x_train"], found.get(validation), found.get("x_test"))
    if "x" in keys or len(keys) == 1:
        (only,) = {"x"} & keys or keys
        return RawTable(read_named(path, [only], limit)[only])
    listed = ", ".join(sorted(keys)[:20]) or "none"
    raise ValueError(f"`{path}` must have an array `X` or `x_train`; its arrays: {listed}")


def read_named(
    path: Path, keys: Sequence[str], limit: int | None = None
) -> dict[str, NDArray[Any]]:
    """Return the arrays of these names, in lower case; the file may have them in upper case.

    ValueError if they would unpack to more than `limit` bytes, by default 64 MiB or 100 times the
    size of the file.

    >>> import numpy as np, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npz"
    >>> np.savez(path, X=np.eye(2))
    >>> read_named(path, ["x", "y"])
    Traceback (most recent call last):
    ValueError: `...my.npz` has no array `y`
    """
    with open_archive(path, f"`{path}`") as file:
        members = {key.lower(): info for key, info in _members(file).items()}
        for key in keys:
            if key not in members:
                raise ValueError(f"`{path}` has no array `{key}`")
        _require_modest(file, (members[key] for key in keys), f"`{path}`", limit)
        return {
            key: _read_member(file, members[key], f"`{path}: {members[key].filename}`")
            for key in keys
        }


def read_all(path: Path, limit: int | None = None) -> dict[str, NDArray[Any]]:
    """Return every array of an .npz that relgrad_np wrote, by its name.

    relgrad_np does not compress. Arrays that together are larger than the file are therefore
    refused, as are those larger than `limit` bytes, and reading asks for no more memory than the
    file has bytes. FileNotFoundError, or ValueError in one line in which "it" is the file.

    >>> import numpy as np, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.npz"
    >>> np.savez_compressed(path, x=np.zeros(10_000))
    >>> read_all(path)
    Traceback (most recent call last):
    ValueError: it declares 80128 bytes of arrays, but has ...
    """
    with open_archive(path, "it") as file:
        declared, there = sum(info.file_size for info in file.infolist()), file.size
        if declared > there:
            raise ValueError(f"it declares {declared} bytes of arrays, but has {there}")
        if limit is not None and declared > limit:
            raise ValueError(f"it has {declared} bytes of arrays, more than `limit`, {limit}")
        members = _members(file)
        if len(members) != len(file.infolist()):
            raise ValueError("it has a member that is no array, or two of one name")
        return {
            key: _read_member(file, info, f"its {info.filename}") for key, info in members.items()
        }


def _members(file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an .npz that are arrays, by the names of these."""
    return {
        info.filename.removesuffix(".npy"): info
        for info in file.infolist()
        if info.filename.endswith(".npy")
    }


def _require_modest(
    file: Archive, members: Iterable[zipfile.ZipInfo], name: str, limit: int | None
) -> None:
    """Refuse members that would unpack to more than is allowed, before any is unpacked."""
    declared = sum(info.file_size for info in members if info.file_size > info.compress_size)
    way_out = ", or write it by np.savez, uncompressed"
    require_modest(name, declared, file.size, limit, way_out)


def _read_member(file: Archive, info: zipfile.ZipInfo, name: str) -> NDArray[Any]:
    """Return one array of an .npz; ValueError if it is damaged or unpacks to too much."""
    size, packed = info.file_size, info.compress_size
    try:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError("it is compressed, but not by deflate")
        if packed > file.size or size > DEFLATE_LIMIT * packed:
            raise ValueError(f"it can't unpack to the {size} bytes it declares")
        with file.open(info) as stream:
            return read_array(stream, size, name)  # type: ignore[arg-type]
    except BROKEN as error:
        line = one_line(error)
        raise ValueError(line if line.startswith(name) else f"{name}: {line}") from None
