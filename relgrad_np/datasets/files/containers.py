"""Read .h5 (HDF5, also MATLAB 7.3) and .mat files: the array X or x_train, or the only table."""

import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..memory import require_memory
from ..record import RawTable
from .limits import BROKEN, most_unpacked, one_line, require_modest
from .npz import VALIDATION_KEYS
from .opening import open_regular
from .packed import needs
from .sizes import mat_unpacked

MATLAB_73 = b"MATLAB 7.3"
GZIP, SHUFFLE, FLETCHER, SCALE_OFFSET, LZF = 1, 2, 3, 6, 32000  # HDF5's numbers
FILTERS = (GZIP, SHUFFLE, FLETCHER, SCALE_OFFSET, LZF)
CHECKSUM = 4  # bytes that FLETCHER adds


def read_hdf5(path: Path, limit: int | None = None) -> RawTable:
    """Return the rows of an HDF5 file: its dataset X, or x_train and others, or the only table.

    `limit`: bytes that they may unpack to.
    """
    return _read(path, False, limit)


def read_mat(path: Path, limit: int | None = None) -> RawTable:
    """Return the rows of a .mat file: its variable X, or x_train and others, or the only table.

    `limit`: bytes that all variables may unpack to.
    """
    with open_regular(path) as file:
        if file.read(10) == MATLAB_73:  # HDF5, whose axes MATLAB counts the other way round
            return _read(path, True, limit)
        size = os.fstat(file.fileno()).st_size
        most = most_unpacked(size, limit)
        try:
            unpacked = mat_unpacked(file, most)
            require_modest(f"`{path}`", unpacked, size, limit)
            file.seek(0)
            return _read_mat(path, file)
        except Exception as error:  # SciPy raises many kinds where a file is damaged
            line = one_line(error)
            raise ValueError(
                line if line.startswith("`") else f"`{path}` is not a .mat file: {line}"
            ) from None


def _read_mat(path: Path, file: BinaryIO) -> RawTable:
    import scipy.io

    tables = {
        key: shape
        for key, shape, kind in scipy.io.whosmat(file)
        if len(shape) == 2
        and min(shape)
        and kind not in ("cell", "struct", "char", "object", "unknown")
    }
    names, others = _selected(path, tables)
    file.seek(0)
    found = scipy.io.loadmat(file, variable_names=names)
    return _table([np.asarray(found[key]) for key in names], names, others)


def _read(path: Path, transposed: bool, limit: int | None) -> RawTable:
    try:
        import h5py
    except ModuleNotFoundError:
        raise needs("h5py", path.suffix.lower()) from None
    try:
        with open_regular(path) as stream, h5py.File(stream, "r") as file:
            tables: dict[str, tuple[int, ...]] = {}

            def look(key: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and item.ndim == 2 and item.dtype.kind in "biuf":
                    tables[key] = item.shape
                if isinstance(item, h5py.Group) and "pandas_type" in item.attrs:
                    raise ValueError(
                        f"`{path}` was written by pandas' to_hdf: read it with pandas.read_hdf and"
                        " write it with to_parquet"
                    )

            file.visititems(look)
            names, others = _selected(path, tables)
            declared = sum(file[key].nbytes for key in names)
            require_modest(f"`{path}`", declared, os.fstat(stream.fileno()).st_size, limit)
            require_memory(3 * declared, f"reading `{path}`", "write it as .npy or .parquet")
            for key in names:
                _require_own(file[key], f"`{path}`, table {key!r}")
            arrays = [file[key][()] for key in names]
    except (*BROKEN, RuntimeError) as error:
        line = one_line(error)
        raise ValueError(
            line if line.startswith("`") else f"`{path}` is not an HDF5 file: {line}"
        ) from None
    return _table([X.T for X in arrays] if transposed else arrays, names, others)


def _require_own(table: Any, name: str) -> None:
    """Refuse a table whose numbers are in other files, or that unpacks to more than its shape.

    HDF5 inflates a chunk to whatever comes: so each is inflated here, no further than its size.
    """
    if table.is_virtual or table.external:
        raise ValueError(f"{name} is in other files: write it into one")
    plan = table.id.get_create_plist()
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if unknown := [one for one in filters if one not in FILTERS]:
        raise ValueError(f"{name} is packed by filter {unknown[0]}: pack it by gzip")
    if GZIP not in filters:
        return
    if filters[-1] not in (GZIP, FLETCHER) or filters.count(GZIP) > 1:
        raise ValueError(f"{name} is packed twice: pack it by gzip alone")
    size = math.prod(table.chunks) * table.dtype.itemsize + CHECKSUM
    for i in range(table.id.get_num_chunks()):
        about = table.id.get_chunk_info(i)
        if about.filter_mask & 1 << filters.index(GZIP):
            continue
        _, packed = table.id.read_direct_chunk(about.chunk_offset)
        if len(zlib.decompressobj().decompress(packed, size + 1)) > size:
            raise ValueError(f"{name} has a chunk of more than {size} bytes")


def _selected(path: Path, tables: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the keys to read, the training rows first, and all other keys."""
    keys = {key.lower(): key for key in tables}
    if "x_train" in keys:
        names = [keys["x_train"]]
        names += [keys[key] for key in VALIDATION_KEYS if key in keys][:1]
        names += [keys[key] for key in ("x_test",) if key in keys]
    elif "x" in keys:
        names = [keys["x"]]
    elif len(keys) == 1:
        names = list(tables)
    else:
        listed = ", ".join(f"{key} {shape}" for key, shape in list(tables.items())[:20]) or "none"
        raise ValueError(
            f"`{path}` must have a table `X` or `x_train`, or one table only; its tables: {listed}"
        )
    return names, [key for key in tables if key not in names]


def _table(arrays: list[NDArray[Any]], names: list[str], others: list[str]) -> RawTable:
    named = dict(zip([name.lower() for name in names], arrays, strict=True))
    validation = next((named[key] for key in VALIDATION_KEYS if key in named), None)
    notes = (f"read {', '.join(names)}; not read: {', '.join(others[:20])}",) if others else ()
    return RawTable(arrays[0], validation, named.get("x_test"), notes=notes)


READERS: dict[str, Callable[[Path, int | None], RawTable]] = {
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".hdf": read_hdf5,
    ".mat": read_mat,
}
