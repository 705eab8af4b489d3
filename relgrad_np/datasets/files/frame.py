"""Read a DataFrame of pandas or polars, without importing either unless there is one."""

import sys
from typing import Any

import numpy as np

from ..record import RawTable
from .choice import chosen, named
from .reading import Reading, asking


def is_frame(value: Any) -> bool:
    """Say whether this is a DataFrame; where no such library is imported, nothing can be one.

    >>> is_frame([[1.0]])
    False
    """
    for library in ("pandas", "polars"):
        module = sys.modules.get(library)
        if module is not None and isinstance(value, module.DataFrame):
            return True
    return False


def read_frame(frame: Any, reading: Reading | None = None) -> RawTable:
    """Return the numbers of a DataFrame; ValueError naming a column that holds anything else."""
    columns = tuple(str(label) for label in frame.columns)
    reading = reading or Reading()
    picks = any(asked is not None for asked in (reading.columns, reading.drop, reading.given))
    places = list(range(len(columns)))
    if picks:
        places = chosen("`DataFrame`", columns, len(columns), reading)
    X = np.empty((len(frame), len(places)), order="F")
    converted = []
    for i, j in enumerate(places):
        column = frame.iloc[:, j] if hasattr(frame, "iloc") else frame.to_series(j)
        kind = str(column.dtype)
        X[:, i] = _numbers(column, columns[j])
        if kind.lower().removeprefix("sparse[").split(",")[0] not in ("float32", "float64"):
            converted.append(kind)
    notes = tuple(f"{kind} converted to float64" for kind in dict.fromkeys(converted))
    return RawTable(X, columns=named(columns, places) if picks else columns, notes=notes)


def _numbers(column: Any, label: str) -> Any:
    """Return a column as float64, NaN where it has no value."""
    kind = column.dtype
    if hasattr(column, "iloc"):
        import pandas as pd

        if pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
            return column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        import polars as pl

        if kind.is_numeric() or kind == pl.Boolean:
            return column.cast(pl.Float64).to_numpy()
    raise ValueError(
        f"`DataFrame`, column {label!r}: must hold real numbers, got {kind}; leave it out by"
        f" {asking(drop=[label])}, or encode it"
    )
