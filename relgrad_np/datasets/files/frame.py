"""Read a pandas DataFrame, without importing pandas unless there is one."""

import sys
from typing import Any

import numpy as np

from ..record import RawTable


def is_frame(value: Any) -> bool:
    """Say whether this is a DataFrame; where pandas has not been imported, nothing can be one.

    >>> is_frame([[1.0]])
    False
    """
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def read_frame(frame: Any) -> RawTable:
    """Return the numbers of a DataFrame; ValueError naming a column that holds anything else."""
    import pandas as pd

    columns = tuple(str(label) for label in frame.columns)
    X = np.empty(frame.shape, order="F")
    converted = []
    for j, label in enumerate(columns):
        column = frame.iloc[:, j]
        kind = column.dtype
        if not pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_complex_dtype(kind):
            raise ValueError(f"`DataFrame`, column {label!r}: must hold real numbers, got {kind}")
        X[:, j] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if str(kind).lower() not in ("float32", "float64"):
            converted.append(str(kind))
    notes = tuple(f"{kind} converted to float64" for kind in dict.fromkeys(converted))
    return RawTable(X, columns=columns, notes=notes)
