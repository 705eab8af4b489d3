"""Read .csv files: numbers in columns; an error names the file, the line and the column."""

import csv
from array import array
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TextIO

import numpy as np

from ..record import RawTable
from ..rows import Columns
from .limits import one_line

LINE_LIMIT = 2**20  # characters in a line of a .csv file


def read_csv(path: Path) -> RawTable:
    r"""Return the numbers of a .csv file of commas, semicolons or tabs, in UTF-8.

    The first line is a header if none of its fields is a number. A first column that has no name
    and counts the rows is left out; pandas writes one. ValueError, with line and column, for a
    field that is empty or not a finite number, and for lines that differ in length.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.csv"
    >>> _ = path.write_text("age,height\n31,1.8\n44,?\n")
    >>> read_csv(path)
    Traceback (most recent call last):
    ValueError: `...my.csv`, line 3, column 2 ('height'): not a number: '?'
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _read_csv(file, str(path))
    except UnicodeDecodeError:
        raise ValueError(f"`{path}` is not text in UTF-8") from None
    except csv.Error as error:
        raise ValueError(f"`{path}` is not a .csv file: {one_line(error)}") from None


def _read_csv(file: TextIO, name: str) -> RawTable:
    lines = _limited(file, name)
    first_line = next(lines, "")
    delimiter = next((mark for mark in ",;\t" if mark in first_line), ",")
    rows = csv.reader(chain([first_line], lines), delimiter=delimiter)
    first = next(rows, [])
    if not any(first):
        raise ValueError(f"`{name}` must begin with a header or numbers, its first line is empty")
    header = not any(_is_number(field) for field in first)
    columns = tuple(field.strip() for field in first) if header else None
    values, ends = array("d"), array("q")  # the numbers, and the line at which each row ends
    if not header:
        _append(values, first, name, rows.line_num, columns)
        ends.append(rows.line_num)
    blank = 0  # the first empty line; allowed only where nothing follows
    for row in rows:
        if not row:
            blank = blank or rows.line_num
            continue
        if blank:
            raise ValueError(f"`{name}`, line {blank}: empty")
        if len(row) != len(first):
            line = rows.line_num
            raise ValueError(
                f"`{name}`, line {line}: {len(row)} fields, but line 1 has {len(first)}"
            )
        _append(values, row, name, rows.line_num, columns)
        ends.append(rows.line_num)
    if not ends:
        raise ValueError(f"`{name}` has a header but no rows")
    X = np.frombuffer(values).reshape(len(ends), len(first))
    bad = ~np.isfinite(X)
    if bad.any():
        i, j = (int(k) for k in np.unravel_index(int(bad.argmax()), bad.shape))
        where = _where(name, ends[i], j, columns)
        raise ValueError(f"{where}: must be finite, got {X[i, j]}")
    if columns and not columns[0] and len(first) > 1:
        count = np.arange(len(X))
        if np.array_equal(X[:, 0], count) or np.array_equal(X[:, 0], count + 1):
            note = "the first column has no name and counts the rows: left out"
            return RawTable(X[:, 1:], columns=columns[1:], notes=(note,))
    return RawTable(X, columns=columns)


def _limited(file: TextIO, name: str) -> Iterator[str]:
    """Yield the lines; ValueError at one that is longer than LINE_LIMIT, before it is all read."""
    number = 0
    while line := file.readline(LINE_LIMIT + 1):
        number += 1
        if len(line) > LINE_LIMIT:
            raise ValueError(f"`{name}`, line {number}: longer than {LINE_LIMIT} characters")
        yield line


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return "_" not in field  # Python's float reads 1_000


def _append(values: "array[float]", row: list[str], name: str, line: int, columns: Columns) -> None:
    """Append the numbers of a row; ValueError for the first field that is none."""
    try:
        if "_" in ",".join(row):
            raise ValueError("underscore")
        values.extend(list(map(float, row)))
    except ValueError:
        j = next(j for j, field in enumerate(row) if not _is_number(field))
        what = f"not a number: {row[j][:40]!r}" if row[j].strip() else "empty"
        raise ValueError(f"{_where(name, line, j, columns)}: {what}") from None


def _where(name: str, line: int, j: int, columns: Columns) -> str:
    return f"`{name}`, line {line}, column {j + 1}" + (f" ({columns[j]!r})" if columns else "")
