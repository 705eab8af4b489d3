"""How a text file writes a table: encoding, separator, decimal mark, header; found by looking."""

import codecs
import csv
import itertools
import re
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from .reading import Reading

LOOKED_AT = 2**18  # bytes at the beginning of a file
ROWS = 200  # of them, at most, that are looked at
SPACE = " "  # as a separator: any run of blanks
MARKS = ("\t", ";", "|", ",", SPACE)
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
EXPONENT = r"(?:[eE][+-]?\d+)?"
PLAIN = re.compile(rf"[+-]?(?:\d+\.?\d*|\.\d+){EXPONENT}$|[+-]?(?:inf|infinity|nan)$", re.I)
EITHER = re.compile(rf"[+-]?(?:\d{{1,3}}(?:[ \u00a0\u202f']\d{{3}})+|\d*)(?:[.,]\d*)*{EXPONENT}$")
ABSENT = frozenset(["", "?", "-", "--", ".", "na", "n/a", "nan", "null", "none", "#n/a", "<na>"])


class Dialect(NamedTuple):
    """How a table is written; `lead` lines stand before its first row, `first` is that row's line.

    `columns`: names of all columns, "" for one without; None without a header. `fields`: how many
    fields a row has; `trailing`: the last one is empty in every row.
    """

    encoding: str
    sep: str
    decimal: str
    lead: int
    columns: tuple[str, ...] | None
    fields: int
    trailing: bool
    comment: str | None
    notes: tuple[str, ...]


def encoding_of(sample: bytes, name: str) -> str:
    """Return the encoding of a text that begins with these bytes; ValueError if it is no text.

    >>> encoding_of("größe".encode(), "it"), encoding_of("größe".encode("cp1252"), "it")
    ('utf-8', 'cp1252')
    """
    for mark, encoding in BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return encoding
    zeros = sample.count(0)
    if zeros:
        if zeros > len(sample) // 4:
            return "utf-16-le" if sample[1::2].count(0) > sample[::2].count(0) else "utf-16-be"
        raise ValueError(f"{name} is not text: it has zero bytes")
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


BINARY = {  # how files begin that are no text
    b"PK\x03\x04": "a spreadsheet or an archive: export it as .csv",
    b"\xd0\xcf\x11\xe0": "a spreadsheet or document: export it as .csv",
    b"PAR1": "a .parquet file: give it that ending",
    b"ARROW1": "a .feather file: give it that ending",
    b"\x93NUMPY": "a .npy file: give it that ending",
    b"\x89HDF": "an HDF5 file: give it the ending .h5",
    b"MATLAB": "a .mat file: give it that ending",
    b"\x1f\x8b": "compressed by gzip: give it the ending .csv.gz",
    b"BZh": "compressed by bzip2: give it the ending .csv.bz2",
    b"\xfd7zXZ": "compressed by xz: give it the ending .csv.xz",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: give it the ending .csv.zst",
    b"SQLite": "a data base: export the table as .csv",
}
TEXTUAL = {  # how texts begin that are no tables
    b"%pdf-": "a PDF: export the table as .csv",
    b"<!doctype": "HTML: export the table as .csv",
    b"<html": "HTML: export the table as .csv",
    b"<table": "HTML: export the table as .csv",
    b"<?xml": "XML: export the table as .csv",
    b"{": "JSON: write the table as .csv or .parquet",
    b"[{": "JSON: write the table as .csv or .parquet",
    b"@relation": "an ARFF file: export it as .csv",
}
CONTROL = re.compile(rb"[^\t\n\x0b\x0c\r\x20-\xff]")


def require_table(sample: bytes, name: str) -> None:
    r"""Refuse a file that begins as something else than a table in text does.

    >>> require_table(b"PAR1\x15\x04", "it")
    Traceback (most recent call last):
    ValueError: it is no table in text, but a .parquet file: give it that ending
    >>> require_table(b"PAR1,PAR2", "it")
    """
    start = sample[:200].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    binary = CONTROL.search(sample[:200]) is not None
    for begin, what in (BINARY if binary else TEXTUAL).items():
        if (sample if binary else start).startswith(begin):
            raise ValueError(f"{name} is no table in text, but {what}")


def dialect_of(sample: bytes, complete: bool, path: Path, reading: Reading) -> Dialect:
    r"""Return how a file is written that begins with `sample`; `complete`: that is all of it.

    ValueError, with the line, for what is no table.

    >>> found = dialect_of(b"a;b\n1,5;2\n", True, Path("my.csv"), Reading())
    >>> found.sep, found.decimal, found.columns, found.fields
    (';', ',', ('a', 'b'), 2)
    """
    name = f"`{path}`"
    require_table(sample, name)
    encoding, notes = reading.encoding or encoding_of(sample, name), []
    if encoding == "cp1252" and reading.encoding is None:
        notes.append(
            "not text in UTF-8: read as Windows-1252; Reading(encoding=...) says otherwise"
        )
    text = codecs.getincrementaldecoder(encoding)("replace").decode(sample)
    lines = re.split("\r\n|\n|\r", text)
    lines = lines if complete or len(lines) == 1 else lines[:-1]
    lead, comments, sep = 0, [], reading.sep
    for line in lines:  # an Excel hint, comments and empty lines
        hint = re.match(r"sep=(.)$", line.strip())
        if hint and not lead:
            sep = sep or hint[1]
        elif line.startswith(("#", "%")):
            comments.append(line[1:].strip())
        elif line.strip(" \t"):
            break
        elif not lead and any(map(str.strip, lines)):
            raise ValueError(f"{name} must begin with a header or numbers, its first line is empty")
        lead += 1
    comment = lines[lead - 1][0] if comments else None
    rest = lines[lead : lead + ROWS]
    if not any(rest):
        raise ValueError(
            f"{name} is empty: its first line is empty" if not comments else f"{name} has no rows"
        )
    sep = sep or _separator(rest, reading.decimal)
    rows = split_lines(rest, sep)
    if reading.sep is None and reading.decimal is None and _may_be_decimal(rows, sep):
        raise ValueError(
            f"{name}, line {lead + 2}: a decimal comma, or a name of the row before the number?"
            " Reading(decimal=',') or Reading(sep=',') says which"
        )
    decimal = reading.decimal or _decimal(rows, sep)
    first, body = rows[0], rows[1:]
    header = _is_header(first, body, decimal)
    columns: tuple[str, ...] | None = None
    if header:
        columns, lead = tuple(field.strip() for field in first), lead + _height(rest, first, sep)
        body = rows[1:]
        if _is_count(first):
            notes.append("the first line counts the columns: taken for a header")
        elif _are_scale(first):
            notes.append("the first line has rising whole numbers: taken for a header")
        blank = next((i for i, line in enumerate(lines[lead:]) if line.strip()), 0)
        _require_one_header(name, lead + blank, body, decimal)
    elif comments and len(split_lines(comments[-1:], sep)[0]) == len(first):
        columns, body = tuple(split_lines(comments[-1:], sep)[0]), rows
        notes.append("the names of the columns are those of the last comment")
    else:
        body = rows
    width = len(body[0]) if body else len(first)
    trailing = width > 1 and all(len(row) == width and not row[-1].strip() for row in body)
    trailing = trailing and (columns is None or len(columns) < width or not columns[width - 1])
    if columns is not None and len(columns) == width - 1:
        columns = (*columns, "") if trailing else ("", *columns)  # R writes row names without one
    elif columns is not None and len(columns) == width + 1 and not columns[-1]:
        columns = columns[:-1]  # a mark at the end of the header alone
    elif columns is not None and len(columns) != width:
        line = lead + 1
        raise ValueError(f"{name}, line {line}: {width} fields, but its header has {len(columns)}")
    return Dialect(encoding, sep, decimal, lead, columns, width, trailing, comment, tuple(notes))


def split_lines(lines: list[str], sep: str) -> list[list[str]]:
    """Return the fields of lines that are not empty.

    >>> split_lines(["1, 2", "", "3,4"], ","), split_lines(["1   2"], SPACE)
    ([['1', '2'], ['3', '4']], [['1', '2']])
    """
    if sep == SPACE:
        return [line.split() for line in lines if line.strip()]
    reader = csv.reader(
        (line + "\n" for line in lines), delimiter=sep, skipinitialspace=sep != "\t"
    )
    try:
        return [row for row in reader if row]
    except csv.Error:
        return [line.split(sep) for line in lines if line]


def is_number(field: str, decimal: str = ".") -> bool:
    """Say whether a field is a number with this decimal mark.

    >>> is_number("1,5"), is_number("1,5", ","), is_number("1_000")
    (False, True, False)
    """
    field = field.strip()
    if decimal == ",":
        field = "x" if "." in field else field.replace(",", ".")
    return PLAIN.match(field) is not None


def _is_text(field: str, decimal: str) -> bool:
    """Say whether a field is neither a number nor a mark of a missing one."""
    return field.strip().lower() not in ABSENT and not is_number(field, decimal)


def _may_be_decimal(rows: list[list[str]], sep: str) -> bool:
    """Say whether a comma that cuts each row in two whole numbers may be a decimal comma.

    The header has one name only, which names of the rows (as R writes them) would explain as well.
    """
    body = rows[1:]
    two = bool(body) and all(len(row) == 2 and all(map(str.isdecimal, row)) for row in body)
    return two and sep == "," and len(rows[0]) == 1


def _separator(lines: list[str], decimal: str | None) -> str:
    """Return the mark that cuts all lines alike, and into the most numbers."""
    marks = [mark for mark in MARKS if mark != decimal]
    best, best_score = ";" if decimal == "," else ",", (False, 0.0)
    for mark in marks:
        rows = split_lines(lines, mark)
        counts = Counter(len(row) for row in rows[1:] or rows)
        width, times = counts.most_common(1)[0] if counts else (0, 0)
        if width < 2:
            continue
        cells = [field.strip() for row in rows[1:] or rows for field in row]
        numbers = sum(bool(cell) and EITHER.match(cell) is not None for cell in cells)
        score = (
            times == counts.total() and len(rows[0]) in (width - 1, width),
            numbers / max(len(cells), 1),
        )
        if score > best_score:
            best, best_score = mark, score
    return best


def _decimal(rows: list[list[str]], sep: str) -> str:
    """Return the decimal mark: a comma where it alone explains the cells."""
    if sep == ",":
        return "."
    cells = [cell.strip() for row in rows for cell in row if EITHER.match(cell.strip())]
    commas = [cell for cell in cells if "," in cell]
    if not commas or any(
        cell.rfind(".") > cell.rfind(",") for cell in cells if "." in cell and "," in cell
    ):
        return "."
    if any("." in cell for cell in commas):  # 1.234,5
        return ","
    if any(cell.count(",") > 1 for cell in commas) or any(
        cell.count(".") == 1 and not re.match(r"[+-]?\d{1,3}\.\d{3}$", cell) for cell in cells
    ):
        return "."
    grouped = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}$")
    return "." if all(grouped.match(cell) for cell in commas) else ","


def _is_count(fields: list[str]) -> bool:
    """Say whether fields count from 0, perhaps after an empty one: pandas' names of no names."""
    named = fields[1:] if fields and not fields[0].strip() else fields
    return len(fields) > 1 and [field.strip() for field in named] == [
        str(j) for j in range(len(named))
    ]


def _are_scale(fields: list[str]) -> bool:
    """Say whether fields are rising whole numbers of three digits or more: years, wavelengths."""
    if len(fields) < 2 or not all(field.strip().isdecimal() for field in fields):
        return False
    numbers = [int(field) for field in fields]
    return numbers[0] >= 100 and all(a < b for a, b in itertools.pairwise(numbers))


def _is_header(first: list[str], body: list[list[str]], decimal: str) -> bool:
    """Say whether the first row has names.

    It has if none of its fields is a number, if it counts the columns where the rows have other
    than whole numbers, or if a field is a text above numbers.
    """
    if not any(is_number(field, decimal) for field in first):
        return True
    if _is_count(first):
        fractions = [
            any("." in row[j] or "," in row[j] for row in body if j < len(row))
            for j in range(len(first))
        ]
        if not first[0].strip() or (body and all(fractions)):
            return True
    if _are_scale(first) and body and all("." in x or "," in x for row in body for x in row):
        return True
    return any(
        _is_text(field, decimal)
        and bool(body)
        and all(j < len(row) and is_number(row[j], decimal) for row in body[:20])
        for j, field in enumerate(first)
    )


def _require_one_header(name: str, lead: int, body: list[list[str]], decimal: str) -> None:
    """Refuse a second line of names or units."""
    if len(body) > 1 and all(_is_text(field, decimal) for field in body[0] if field.strip()):
        later = [field for row in body[1:] for field in row]
        texts = [j for j, _ in enumerate(body[0])]
        if (
            any(all(is_number(row[j], decimal) for row in body[1:] if j < len(row)) for j in texts)
            and later
        ):
            raise ValueError(
                f"{name}, line {lead + 1}: a second line of names or units: keep one header line"
            )


def _height(lines: list[str], first: list[str], sep: str) -> int:
    """Return over how many lines the header goes: a quoted name may have line ends."""
    for height in range(1, len(lines) + 1):
        if split_lines(lines[:height], sep)[:1] == [first]:
            return height
    return 1
