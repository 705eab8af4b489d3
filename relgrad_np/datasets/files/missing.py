"""Missing values: counted by column and refused all at once, or their rows dropped, or filled."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..record import RawTable
from ..rows import Columns, chunks, column_list, floats
from .reading import Reading, asking

Where = Callable[[int, int], str]
NINES = tuple(float("9" * n) for n in range(2, 9))
OTHERS = (99.9, 999.9, 9999.9, 99.99, 999.99, 999.25, 9999.25)
FILLS = (*NINES, *OTHERS, 32768.0, 2147483648.0, 9.96921e36, 9.97e36, 1e20, 1e30, 1e35, 1e36)
HUGE = 1e18  # beyond it two numbers that agree to a thousandth are taken for the same mark

UNFILLED = "gaps can't be filled as in a fit: the score would be that of another row"


def settled(name: str, raw: RawTable, reading: Reading, *, scored: bool = False) -> RawTable:
    """Return the table without missing values, as `reading.missing` says; with notes.

    `scored`: each row is to be scored as it is, so an error offers to leave out rows, and no more.

    ValueError, in one line that counts the missing values of each column, or that says where the
    first infinite number is.

    >>> raw = RawTable(np.array([[1.0, 2.0], [3.0, np.nan], [5.0, -9.0]]), columns=("a", "b"))
    >>> settled("it", raw, Reading(missing="drop", missing_marks=[-9])).train
    array([[1., 2.]])
    """
    notes = list(raw.notes)
    train = _part(name, raw.train, raw, reading, notes, scored)
    validation, test = (
        None if part is None else _part(name, part, raw, reading, notes, scored)
        for part in (raw.validation, raw.test)
    )
    return RawTable(train, validation, test, raw.columns, tuple(notes), raw.where)


def _part(
    name: str, X: NDArray[Any], raw: RawTable, reading: Reading, notes: list[str], scored: bool
) -> NDArray[Any]:
    if X.ndim != 2 or not X.size:
        return X  # to be refused by its shape
    where = raw.where if raw.where is not None and X is raw.train else place_in(raw.columns)
    if X.dtype.kind not in "f":
        if not reading.missing_marks or X.dtype.kind not in "iu":
            return X
        X = floats(X)
    X = marked(X, reading)
    Y = floats(X) if X.dtype.itemsize > 8 else X
    bad = ~np.isfinite(Y)
    if not bad.any():
        notes += suspects(X, raw.columns)
        return X
    X, lost = Y, np.isnan(Y)
    require_no_infinity(name, X, bad & ~lost, where)
    if reading.missing == "error":
        raise ValueError(refusal(name, X, lost, raw.columns, where, scored))
    gone = lost.any(axis=1)
    if reading.missing == "drop":
        if gone.all():
            counts = missing_counts(lost.sum(axis=0), raw.columns)
            raise ValueError(
                f"`{name}` has no row without missing values: {counts}; leave columns out:"
                f" {asking(drop=_most_lost(lost, raw.columns))}"
            )
        notes.append(f"{int(gone.sum())} of {len(X)} rows have missing values: left out")
        X = X[~gone]
    else:
        X = _filled(name, X, lost, raw.columns, notes)
    notes += suspects(X, raw.columns)
    return X


def _filled(
    name: str, X: NDArray[Any], lost: NDArray[np.bool_], columns: Columns, notes: list[str]
) -> NDArray[Any]:
    """Return X with the median of its column in each missing cell."""
    X = np.array(X)
    for j in map(int, np.flatnonzero(lost.any(axis=0))):
        rest = X[~lost[:, j], j]
        if not len(rest):
            raise ValueError(f"`{name}` has no value at all in column {column_list([j], columns)}")
        X[lost[:, j], j] = np.median(rest)
    counts = missing_counts(lost.sum(axis=0), columns)
    notes.append(f"missing values filled with the median, a spike in the density: {counts}")
    return X


def marked(X: NDArray[Any], reading: Reading) -> NDArray[Any]:
    """Return X with NaN in place of the numbers among `reading.missing_marks`.

    >>> marked(np.array([[9.96921e36, 1.0]]), Reading(missing_marks="9.97e36,NA"))
    array([[nan,  1.]])
    >>> marked(np.array([[np.inf, -np.inf, 1.0]]), Reading(missing_marks="inf"))
    array([[ nan, -inf,   1.]])
    """
    marks = []
    for mark in reading.missing_marks or ():
        try:
            marks.append(float(mark))
        except ValueError:
            continue  # a text: the reader of text files knows it
    if not marks:
        return X
    X = np.array(X)
    for mark in marks:
        near = 1e-3 * abs(mark) if abs(mark) > HUGE else abs(np.float32(mark) - mark)
        X[np.abs(X - mark) <= near if np.isfinite(mark) else mark == X] = np.nan
    return X


def require_no_infinity(name: str, X: Any, bad: NDArray[np.bool_], where: Where) -> None:
    """Raise ValueError for the first infinite number, with its place."""
    if bad.any():
        row, j = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
        raise ValueError(
            f"`{name}` must be finite, got {X[row, j]} at {where(row, j)}; if it marks a missing"
            f" value: {asking(missing_marks=[str(X[row, j])], missing='drop')}"
        )


def refusal(
    name: str,
    X: NDArray[Any],
    lost: NDArray[np.bool_],
    columns: Columns,
    where: Where,
    scored: bool = False,
) -> str:
    """Return the line that counts the missing values, says where the first is, and what to do."""
    row, j = (int(i) for i in np.unravel_index(int(lost.argmax()), lost.shape))
    counts = lost.sum(axis=0)
    remedies = (
        f"{asking(missing='drop')} leaves out these rows, {asking(missing='median')} fills them,"
        f" {asking(drop=_most_lost(lost, columns))} leaves out the columns"
    )
    if scored:  # no column of a model can be left out
        remedies = f"{asking(missing='drop')} scores the others; {UNFILLED}"
    return (
        f"`{name}` must be finite, got nan at {where(row, j)}; missing values by column:"
        f" {missing_counts(counts, columns)}, in {int(lost.any(axis=1).sum())} of {len(X)} rows:"
        f" {remedies}"
    )


def _most_lost(lost: NDArray[np.bool_], columns: Columns) -> list[str]:
    """Return the first columns that have missing values, by name or number."""
    return [
        str(j) if columns is None else columns[j] for j in np.flatnonzero(lost.any(axis=0))[:10]
    ]


def missing_counts(counts: NDArray[Any], columns: Columns) -> str:
    """Return how many values of which columns are missing, those with the most first.

    >>> missing_counts(np.array([0, 2, 7]), ("a", "b", "c"))
    "'c' 7, 'b' 2"
    """
    order = [int(j) for j in np.argsort(-counts, kind="stable") if counts[j]]
    shown = [f"{column_list([j], columns)} {int(counts[j])}" for j in order[:20]]
    return ", ".join(shown) + ", ..." * (len(order) > 20)


def place_in(columns: Columns) -> Where:
    """Return what says where an entry of an array is.

    >>> place_in(("a", "b"))(3, 1)
    "row 3, column 'b'"
    """
    return lambda row, j: f"row {row}, column {column_list([j], columns)}"


def suspects(X: NDArray[Any], columns: Columns) -> list[str]:
    """Return a note on numbers that repeat far from all others, as marks of missing values do.

    >>> x = np.append(np.random.default_rng(0).normal(size=97), [-9999.0] * 3)
    >>> suspects(x[:, None], ("a",))[0].split(":")[0]
    "a mark of missing values? column 'a' has -9999 3 times"
    """
    if X.dtype.kind != "f" or X.ndim != 2 or not len(X):
        return []
    low, high = np.full(X.shape[1], np.inf), np.full(X.shape[1], -np.inf)
    for _, rows in chunks(*X.shape):
        low = np.minimum(low, X[rows].min(axis=0))
        high = np.maximum(high, X[rows].max(axis=0))
    found: dict[float, list[str]] = {}
    with np.errstate(over="ignore"):
        for j in range(X.shape[1]):
            for value in {float(low[j]), float(high[j])}:
                if not _may_mark(value):
                    continue
                x = X[:, j]
                rest = x[x != value]
                times = len(x) - len(rest)
                if not len(rest):
                    continue
                gap, spread = np.abs(rest - value).min(), np.ptp(rest)
                if gap > spread and (times > 1 or (abs(value) > 1e15 and gap > 1e6 * spread)):
                    often = "once" if times == 1 else f"{times} times"
                    found.setdefault(value, []).append(
                        f"{column_list([j], columns)} has {value:g} {often}"
                    )
    return [
        f"a mark of missing values? column {', '.join(shown[:10])}:"
        f" {asking(missing_marks=[value], missing='drop')} leaves those rows out"
        for value, shown in found.items()
    ]


def _may_mark(value: float) -> bool:
    """Say whether people mark missing values by this number."""
    size = abs(value)
    return size > 1e15 or any(abs(size - mark) <= 1e-3 * mark * (mark > HUGE) for mark in FILLS)
