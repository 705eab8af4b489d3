"""Read .h5 (HDF5, also MATLAB 7.3) and .mat files: the array X or x_train, or the only table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..record import RawTable
from .limits import BROKEN, one_line
from .npz import VALIDATION_KEYS
from .packed import needs

MATLAB_73 = b"MATLAB 7.3"


def read_hdf5(path: Path) -> RawTable:
    """Return the rows of an HDF5 file: its dataset X, or x_train and others, or the only table."""
    return _read(path, transposed=False)


def read_mat(path: Path) -> RawTable:
    """Return the rows of a .mat file: its variable X, or x_train and others, or the only table."""
    with path.open("rb") as file:
        if file.read(10) == MATLAB_73:  # HDF5, whose axes MATLAB counts the other way round
            return _read(path, transposed=True)
    import scipy.io

    try:
        tables = {
            key: shape
            for key, shape, kind in scipy.io.whosmat(path)
            if len(shape) == 2
            and min(shape)
            and kind not in ("cell", "struct", "char", "object", "unknown")
        }
        names, others = _selected(path, tables)
        found = scipy.io.loadmat(path, variable_names=names)
    except Exception as error:  # SciPy raises many kinds where a file is damaged
        line = one_line(error)
        raise ValueError(
            line if line.startswith("`") else f"`{path}` is not a .mat file: {line}"
        ) from None
    return _table([np.asarray(found[key]) for key in names], names, others)


def _read(path: Path, transposed: bool) -> RawTable:
    try:
        import h5py
    except ModuleNotFoundError:
        raise needs("h5py", path.suffix.lower()) from None
    try:
        with h5py.File(path, "r") as file:
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
            arrays = [file[key][()] for key in names]
    except (*BROKEN, RuntimeError) as error:
        line = one_line(error)
        raise ValueError(
            line if line.startswith("`") else f"`{path}` is not an HDF5 file: {line}"
        ) from None
    return _table([X.T for X in arrays] if transposed else arrays, names, others)


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


READERS: dict[str, Callable[[Path], RawTable]] = {
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".hdf": read_hdf5,
    ".mat": read_mat,
}
