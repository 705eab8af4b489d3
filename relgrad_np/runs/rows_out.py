"""Write rows to a file, part by part: .npy, .csv, .tsv (with a header), .parquet; atomically."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..fitting.storage.writing import atomic

ENDINGS = (".npy", ".csv", ".tsv", ".parquet", ".csv.gz")


def write_rows(path: Path, parts: Iterable[Any], columns: tuple[str, ...]) -> None:
    """Write the rows of all parts (n, D) to a new file, in the form that its ending says.

    ModuleNotFoundError for .parquet without pyarrow. OSError leaves nothing behind.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.csv"
    >>> write_rows(path, [np.ones((1, 2)), np.zeros((1, 2))], ("a", "b"))
    >>> path.read_text().split()
    ['a,b', '1,1', '0,0']
    """
    name = path.name.lower()
    with atomic(path) as file:
        if name.endswith(".npy"):
            _write_npy(file, parts)
        elif name.endswith(".parquet"):
            _write_parquet(file, parts, columns)
        elif name.endswith(".gz"):
            with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as packed:
                _write_text(packed, parts, columns, ",")
        else:
            _write_text(file, parts, columns, "\t" if name.endswith(".tsv") else ",")


def _write_text(file: Any, parts: Iterable[Any], columns: tuple[str, ...], sep: str) -> None:
    quoted = [
        '"' + name.replace('"', '""') + '"' if set(name) & set(f'"\n\r{sep}') else name
        for name in columns
    ]
    file.write((sep.join(quoted) + "\n").encode())
    for rows in parts:
        np.savetxt(file, rows, delimiter=sep, fmt="%.17g")


def _write_npy(file: BinaryIO, parts: Iterable[Any]) -> None:
    """Write an array whose number of rows is known when it has been written."""
    begin, N, D = file.tell(), 0, 0
    for rows in parts:
        if not N:
            D = rows.shape[1]
            _header(file, 10**15, D)  # as long as any
            start = file.tell()
        file.write(np.ascontiguousarray(rows, np.float64).data)
        N += len(rows)
    end = file.tell()
    file.seek(begin)
    _header(file, N, D)
    if file.tell() != start:  # padded to the same multiple of 64 bytes
        raise ValueError("the header of a .npy file has changed its length")
    file.seek(end)


def _header(file: BinaryIO, N: int, D: int) -> None:
    about = {"descr": "<f8", "fortran_order": False, "shape": (N, D)}
    np.lib.format.write_array_header_1_0(file, about)


def _write_parquet(file: BinaryIO, parts: Iterable[Any], columns: tuple[str, ...]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ModuleNotFoundError:
        raise ModuleNotFoundError("files .parquet need pyarrow: pip install pyarrow") from None
    schema = pa.schema([(name, pa.float64()) for name in columns])
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        for rows in parts:
            arrays = [pa.array(np.ascontiguousarray(x)) for x in rows.T]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
