"""Read a table of numbers from a text file, by pandas; an error says line, column and remedy."""

import contextlib
import csv
import io
import re
import warnings
from ast import literal_eval
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..record import RawTable
from ..rows import Columns
from .cells import MARKS, are_dates, convert, what_is
from .choice import LARGEST, chosen, is_unnamed, named, without_index
from .dialect import LOOKED_AT, SPACE, Dialect, dialect_of
from .limits import one_line
from .packed import SUFFIXES, needs, unpacked
from .reading import Reading, asking


def read_text(
    path: Path, reading: Reading, wanted: Columns = None, limit: int | None = None
) -> RawTable:
    r"""Return the numbers of a text file: .csv, .tsv and others, perhaps compressed.

    Encoding, separator, decimal mark and header are found by looking, where `reading` does not say
    them. NaN stands for a missing cell. ValueError, in one line with line, column and remedy, for
    a cell that is no number and for lines that differ in length.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "my.csv"
    >>> _ = path.write_text("age,height\n31,1.8\n44,tall\n")
    >>> read_text(path, Reading())
    Traceback (most recent call last):
    ValueError: `...my.csv`, line 3, column 2 ('height'): not a number: 'tall'; ...
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise needs("pandas", path.suffix.lower()) from None
    with unpacked(path, limit) as stream:
        sample = stream.read(LOOKED_AT)
        while path.suffix.lower() in SUFFIXES and stream.read(2**20):
            pass  # all of it is counted before pandas keeps any
        found = dialect_of(sample, len(sample) < LOOKED_AT, path, reading)
    name, width = f"`{path}`", found.fields - found.trailing
    columns = None if found.columns is None else found.columns[:width]
    places = chosen(name, columns, width, reading, wanted)
    file = TextTable(path, found, limit)
    try:
        frame = _frame(pd, file, sorted({*places, width - 1}))
    except UnicodeDecodeError:
        if reading.encoding is not None:
            raise ValueError(f"{name} is not text in {found.encoding}") from None
        found = found._replace(encoding="cp1252")
        file = TextTable(path, found, limit)
        frame = _frame(pd, file, sorted({*places, width - 1}))
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        file.require_fields(name)
        line = re.sub("Error tokenizing data. C error: ", "", one_line(error))
        raise ValueError(f"{name} is not a table: {line}") from None
    if width == 1:  # blank lines at the end are no missing values
        filled = np.flatnonzero(frame[0].notna().to_numpy())
        frame = frame.iloc[: filled[-1] + 1 if len(filled) else 0]
    elif frame[width - 1].isna().any():
        file.require_fields(name)
    if frame.shape[1] < found.fields:  # then pandas says nothing of a line that is too long
        file.require_fields(name)
    if not len(frame):
        raise ValueError(f"{name} has a header but no rows")
    some = places[: len(places) - reading.c]  # nothing that is given
    texts = [j for j in some if _is_row_names(frame[j], columns, j, found, reading)]
    places = [j for j in places if j not in texts]
    X, notes = _numbers(name, frame, places, found, columns, file, reading)
    if texts:
        notes.append("column 0 has no name and holds texts: names of the rows, left out")
    some = places[: len(places) - reading.c]
    left = [i for i, j in enumerate(some) if _is_blank(X[:, i], columns, j)]
    if left:
        keep = [i for i in range(len(places)) if i not in left]
        X, places = X[:, keep], [places[i] for i in keep]
    keep, note = without_index(X, columns, places, reading)
    if len(keep) < len(places):
        X, places = X[:, keep], [places[i] for i in keep]
    notes = [*found.notes, *notes, *([note] if note else [])]

    def where(row: int, i: int) -> str:
        return file.where(row, places[i], columns)

    return RawTable(X, columns=named(columns, places), notes=tuple(notes), where=where)


def _frame(pd: Any, file: "TextTable", used: list[int]) -> Any:
    """Return the cells as pandas reads them: numbers, or texts where it finds anything else."""
    found = file.found
    with unpacked(file.path, file.limit) as stream, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns of is looked at
        odd = "replace" if found.encoding == "cp1252" else "strict"  # its last resort: no number
        text = io.TextIOWrapper(stream, found.encoding, odd, newline="")
        for _ in range(found.lead):
            text.readline()
        return pd.read_csv(
            text,
            sep=r"\s+" if found.sep == SPACE else found.sep,
            header=None,
            names=list(range(found.fields)),
            usecols=None if len(used) == found.fields else used,
            decimal=found.decimal,
            comment=found.comment,
            na_values=[mark for mark in MARKS if mark],
            skipinitialspace=found.sep != "\t",
            skip_blank_lines=found.fields > 1,
            float_precision="round_trip",
            low_memory=False,
        )


def _numbers(
    name: str,
    frame: Any,
    places: list[int],
    found: Dialect,
    columns: Columns,
    file: "TextTable",
    reading: Reading,
) -> tuple[NDArray[np.float64], list[str]]:
    """Return the columns as numbers (N, k), and notes; ValueError listing those that are none."""
    X = np.empty((len(frame), len(places)), order="F")
    notes: list[str] = []
    wrong: list[tuple[int, int, str, bool]] = []  # column, row, cell, whether others are numbers
    rounded = []
    for i, j in enumerate(places):
        cells = frame[j]
        if cells.dtype.kind in "iufb":
            X[:, i] = cells.to_numpy()
            if cells.dtype.kind in "iu" and np.abs(X[:, i]).max() > LARGEST:
                rounded.append(_called(columns, j))
            elif cells.dtype.kind in "iu" and are_dates(X[:, i]):
                name_of = _called(columns, j)
                notes.append(f"column {name_of} holds dates, as it seems: {_drop([name_of])}")
            continue
        if reading.missing_marks:
            cells = cells.where(~cells.astype(str).str.strip().isin(reading.missing_marks))
        made = convert(cells, found.decimal, found.sep, reading.decimal is not None)
        X[:, i] = made.numbers
        if made.bad.any():
            row = int(made.bad.argmax())
            some = bool(np.isfinite(made.numbers).sum() >= made.bad.sum())
            wrong.append((j, row, str(cells.iloc[row]), some))
        elif made.note:
            notes.append(f"column {_called(columns, j)}: {made.note}")
        elif (
            np.isfinite(X[:, i]).any()
            and np.nanmax(np.abs(X[:, i])) > LARGEST
            and cells.str.fullmatch(r"\d{16,}").any()
        ):
            rounded.append(_called(columns, j))
    if wrong:
        raise ValueError(_refusal(name, wrong, found, columns, file))
    if rounded:
        notes.append(
            f"whole numbers beyond 2^53 in columns {', '.join(rounded)} are rounded; if they only"
            f" name the rows: {_drop([*rounded])}"
        )
    return X, notes


def _refusal(
    name: str,
    wrong: list[tuple[int, int, str, bool]],
    found: Dialect,
    columns: Columns,
    file: "TextTable",
) -> str:
    """Return the line that refuses columns with cells that are no numbers."""
    j, row, cell, some = wrong[0]
    what, remedy = what_is(cell, found.decimal, some)
    alike = [j for j, _, text, others in wrong if what_is(text, found.decimal, others)[0] == what]
    names = [_called(columns, one) for one in alike]
    more = f" (as in column {', '.join(names[1:20])})" if len(names) > 1 else ""
    others = [_called(columns, one) for one, *_ in wrong if one not in alike]
    s, have = ("", "has") if len(others) == 1 else ("s", "have")
    rest = f"; column{s} {', '.join(others[:20])} {have} other cells that are no numbers"
    rest = rest if others else ""
    if columns is not None and cell.strip() == columns[j]:
        what, remedy, rest = "the header again", "delete the line", ""
    remedy = remedy.replace("{drop}", _drop(names))
    shown = cell if len(cell) <= 40 else cell[:37] + "..."
    return f"{name}, {file.where(row, j, columns)}: {what}: {shown!r}{more}; {remedy}{rest}"


def _called(columns: Columns, j: int) -> str:
    return str(j) if columns is None or is_unnamed(columns[j]) else repr(columns[j])


def _drop(names: list[str]) -> str:
    """Return the advice to leave columns out, which `_called` has named."""
    return asking(drop=[literal_eval(name) if name[0] in "'\"" else name for name in names[:20]])


def _is_blank(x: NDArray[np.float64], columns: Columns, j: int) -> bool:
    """Say whether a column has neither a name nor a number."""
    return columns is not None and is_unnamed(columns[j]) and bool(np.isnan(x).all())


def _is_row_names(cells: Any, columns: Columns, j: int, found: Dialect, reading: Reading) -> bool:
    """Say whether a first column that has no name itself names the rows: most cells are texts."""
    unnamed = columns is not None and len(columns) > 1 and j == 0 and is_unnamed(columns[0])
    if not unnamed or reading.columns is not None or cells.dtype.kind in "iufb":
        return False
    return bool(convert(cells, found.decimal, found.sep, True).bad.mean() > 0.5)


class TextTable:
    """The lines of a table in a text file, read again only to say where something is."""

    def __init__(self, path: Path, found: Dialect, limit: int | None) -> None:
        self.path, self.found, self.limit = path, found, limit

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line at which each row ends, and its fields; blank lines are no rows."""
        lead, sep = self.found.lead, self.found.sep
        with unpacked(self.path, self.limit) as stream:
            lines = io.TextIOWrapper(stream, self.found.encoding, "replace", newline="")
            for _ in range(lead):
                lines.readline()
            if sep == SPACE:
                for number, line in enumerate(lines, lead + 1):
                    if self._is_row(line.split()):
                        yield number, line.split()
                return
            reader = csv.reader(lines, delimiter=sep, skipinitialspace=sep != "\t")
            for row in reader:
                if self._is_row(row) or (not row and self.found.fields == 1):
                    yield lead + reader.line_num, row

    def _is_row(self, row: list[str]) -> bool:
        comment = self.found.comment
        return bool(row) and not (comment is not None and row[0].startswith(comment))

    def where(self, row: int, j: int, columns: Columns) -> str:
        """Return the line and the column of a cell, in words."""
        line = f"row {row} (from 0)"
        with contextlib.suppress(csv.Error):
            line = next(f"line {n}" for i, (n, _) in enumerate(self.rows()) if i == row)
        if columns is None:
            return f"{line}, column {j} (from 0)"
        return f"{line}, column {j + 1} ({columns[j]!r})"

    def require_fields(self, name: str) -> None:
        """Refuse the first line that has other than as many fields as the rest."""
        width = self.found.fields
        try:
            for number, row in self.rows():
                if len(row) == width - 1 and self.found.trailing:
                    continue
                if len(row) != width and (width > 1 or len(row) > 1):
                    what = "its header" if self.found.columns else "its first row"
                    raise ValueError(
                        f"{name}, line {number}: {len(row)} fields, but {what} has {width}; mend"
                        " the line, or give Reading(sep=...) if another mark separates the fields"
                    )
        except csv.Error as error:
            raise ValueError(f"{name} is not a table: {one_line(error)}") from None
