"""Text cells as numbers: decimal commas and thousands marks; and what a cell is that is no number.

pandas reads plain numbers by itself. What it leaves as text comes here.
"""

import re
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .reading import asking

EXPONENT = r"(?:[eE][+-]?\d+)?"
LONGEST = 60  # letters of a cell that is shown whole
MARKS = ("?", "-", "--", ".", "")  # of a missing value, beside those that pandas knows
DATE = re.compile(
    r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ]\d{1,2}:\d{2}.*)?$|\d{1,2}:\d{2}(:\d{2}.*)?$"
)
FIT_FOR_COMMA = re.compile(rf"[+-]?\d*,\d+{EXPONENT}$")
UNITS = re.compile(
    r"^[^\w+\-.,]+\s*[+-]?[\d.,]+$|^[+-]?[\d.,]+\s*[^\w\s.,]+$|^[+-]?[\d.,]+\s*[A-Za-z]{1,4}$"
)


class Converted(NamedTuple):
    """Cells as numbers (N,): NaN where they are missing, and where they are `bad`: no numbers."""

    numbers: NDArray[np.float64]
    bad: NDArray[np.bool_]
    note: str = ""


def convert(cells: Any, decimal: str, sep: str, given: bool) -> Converted:
    """Return a pandas Series of texts as numbers; `given`: the decimal mark was asked for.

    Thousands marks are a comma, a point (if the decimal mark is a comma), a blank or an apostrophe
    between groups of three digits. A comma that may be either is bad, unless commas separate the
    fields or the decimal mark is given.

    >>> import pandas as pd
    >>> convert(pd.Series(["1,234.5", "7", None]), ".", ";", False).numbers.tolist()
    [1234.5, 7.0, nan]
    >>> convert(pd.Series(["1,234", "7"]), ".", ";", False).bad.tolist()
    [True, False]
    """
    import pandas as pd

    missing = cells.isna()
    text = cells.astype(str).str.strip().str.replace("\u2212", "-", regex=False)  # a real minus
    missing |= text.isin(MARKS)
    group = "," if decimal == "." else "."
    plain = text.str.replace(",", ".", regex=False) if decimal == "," else text
    alien = text.str.contains("[_a-df-zA-DF-Z]" if decimal == "." else r"[_.a-df-zA-DF-Z]")
    words = text.str.fullmatch(r"[+-]?(?:inf|infinity)", case=False)
    numbers = pd.to_numeric(plain.where(~alien | words), errors="coerce")
    truth = text.str.lower().map({"true": 1.0, "false": 0.0})
    numbers = numbers.where(truth.isna() | missing, truth)
    left = numbers.isna() & ~missing
    note = ""
    if left.any():
        point = re.escape(decimal)
        for mark in (group, " ", "\u00a0", "\u202f", "'"):
            pattern = rf"[+-]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+(?:{point}\d*)?{EXPONENT}"
            grouped = left & text.str.fullmatch(pattern)
            clear = text[grouped].str.count(re.escape(mark)).gt(1) | text[grouped].str.contains(
                point
            )
            if mark == group and sep != "," and not given and not clear.any():
                continue
            if grouped.any():
                bare = text[grouped].str.replace(mark, "", regex=False)
                bare = bare.str.replace(",", ".", regex=False) if decimal == "," else bare
                numbers[grouped] = bare.astype(float)
                note = f"{mark!r} read as a thousands mark"
        left = numbers.isna() & ~missing
        if left.any():  # Fortran's exponents
            other = plain[left].str.replace(r"^([+-]?[\d.]+)[dD]([+-]?\d+)$", r"\1e\2", regex=True)
            numbers[left] = pd.to_numeric(other, errors="coerce").astype(float)
            left = numbers.isna() & ~missing
    return Converted(numbers.to_numpy(np.float64), left.to_numpy(bool), note)


def are_dates(x: NDArray[np.float64]) -> bool:
    """Say whether numbers are dates such as 20200131, of the years from 1900 to 2099.

    >>> are_dates(np.array([20200131.0, 19991224.0])), are_dates(np.array([20209931.0]))
    (True, False)
    """
    if not len(x) or not ((x >= 19000101) & (x <= 20991231) & (np.floor(x) == x)).all():
        return False
    month, day = x // 100 % 100, x % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def what_is(cell: str, decimal: str, others_are_numbers: bool) -> tuple[str, str]:
    """Return what a cell is that is no number, and the remedy; "{drop}" stands for leaving it out.

    >>> what_is("2020-01-31", ".", False)[0], what_is("1,5", ".", True)
    ('a date', ('not a number', "Reading(decimal=',') if the comma is its decimal mark"))
    """
    text = cell.strip()
    if len(text) > LONGEST:
        return "text, not a number", "{drop}, or mend it"
    if decimal == "." and re.match(r"[+-]?[1-9]\d{0,2},\d{3}$", text):
        return (
            "a decimal or a thousands comma",
            "Reading(decimal=',') or Reading(decimal='.') says which",
        )
    if FIT_FOR_COMMA.match(text) and decimal == ".":
        return "not a number", "Reading(decimal=',') if the comma is its decimal mark"
    if decimal == "," and re.match(rf"[+-]?\d*\.\d+{EXPONENT}$", text):
        return "not a number", "Reading(decimal='.') if the point is its decimal mark"
    if _is_date(text):
        return "a date", "{drop}, or write it as a number"
    if UNITS.match(text) and any(map(str.isdigit, text)):
        return "a number with a unit", "{drop}, or take the unit away"
    if others_are_numbers:
        advised = asking(missing_marks=[text])
        return "not a number", f"{advised} if it marks a missing value, or mend it"
    remedy = "{drop}, or write numbers for its values: 0 and 1 in a column for each"
    return "text, not a number", remedy


def _is_date(text: str) -> bool:
    if DATE.match(text):
        return True
    if not re.search(r"\d", text) or len(text) < 6 or not re.search(r"[-/: ]", text):
        return False
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bool(pd.notna(pd.to_datetime(text, errors="coerce")))
