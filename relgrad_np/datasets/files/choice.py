"""Which columns of a table are read: those that are asked for, less an index that has no name."""

import re
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.arguments import nearest
from ..bounds import ColumnBounds
from ..rows import Columns, column_list
from .reading import Reading, asking

LARGEST = 2.0**53  # beyond it float64 does not hold every whole number
UNNAMED = re.compile(r"(Unnamed: \d+(_level_\d+)?|__index_level_\d+__|)$")


def is_unnamed(name: str) -> bool:
    """Say whether a column has no name, perhaps one that pandas made up for it.

    >>> is_unnamed(""), is_unnamed("Unnamed: 0"), is_unnamed("a")
    (True, True, False)
    """
    return UNNAMED.match(name) is not None


def chosen(
    name: str, columns: Columns, D: int, reading: Reading, wanted: Columns = None
) -> list[int]:
    """Return the indices of the columns to read, in order; ValueError for a name that is not there.

    Those that are given come last. `wanted` are the names of a model's columns: they are taken, in
    the model's order, and others are left out.

    >>> chosen("it", ("a", "b", "c"), 3, Reading(drop="b"))
    [0, 2]
    >>> chosen("it", ("a", "b", "c"), 3, Reading(given="a"))
    [1, 2, 0]
    >>> chosen("it", ("height", "b"), 2, Reading(columns="hieght"))
    Traceback (most recent call last):
    ValueError: it has no column 'hieght'; did you mean 'height'? Its columns: height, b
    """
    if columns is not None:
        twice = [one for one, n in Counter(columns).items() if n > 1 and not is_unnamed(one)]
        if twice:
            where = [str(j + 1) for j, one in enumerate(columns) if one == twice[0]]
            raise ValueError(
                f"{name} has {len(where)} columns called {twice[0]!r}, columns {', '.join(where)}:"
                " rename all but one"
            )
    if wanted is not None and reading.columns is None:
        numbers = [int(one) for one in wanted if one.isdecimal() and int(one) < D]
        if columns is not None:
            return [_place(name, one, columns, D) for one in wanted]
        if len(numbers) == len(wanted) < D:
            return numbers
    places = list(range(D))
    if reading.columns is not None:
        places = [_place(name, one, columns, D) for one in reading.columns]
        if len(set(places)) < len(places):
            raise ValueError(f"`columns` names a column of {name} twice")
    dropped = {_place(name, one, columns, D) for one in reading.drop or ()}
    given = [_place(name, one, columns, D) for one in reading.given or ()]
    if len(set(given)) < len(given):
        raise ValueError(f"`given` names a column of {name} twice")
    both = sorted(dropped & set(given))
    if both:
        raise ValueError(f"column {column_list(both[:1], columns)} is both given and dropped")
    places = [j for j in places if j not in dropped and j not in given]
    if not places:
        why = "all are given, and none is there to be modelled" if given else "all are dropped"
        raise ValueError(f"{name} has no column left: {why}")
    return places + given


def bounded(
    name: str, asked: tuple[ColumnBounds, ...], columns: Columns, D: int
) -> tuple[tuple[float | None, ...], tuple[float | None, ...]]:
    """Return the lower and the upper bound of each of D columns, None where it has none.

    >>> bounded("it", (ColumnBounds("b", 0.0, None),), ("a", "b"), 2)
    ((None, 0.0), (None, None))
    """
    low: list[float | None] = [None] * D
    high: list[float | None] = [None] * D
    for one in asked:
        if isinstance(one.column, int):
            if not 0 <= one.column < D:
                raise ValueError(f"{name} has no column {one.column}: it has {D}, from 0")
            j = one.column
        else:
            j = _place(name, one.column, columns, D)
        if low[j] is not None or high[j] is not None:
            raise ValueError(f"`support` has column {j} twice, by name and by number")
        low[j], high[j] = one.low, one.high
    return tuple(low), tuple(high)


def _place(name: str, one: str, columns: Columns, D: int) -> int:
    if columns is not None and one in columns:
        return columns.index(one)
    if one.isdecimal() and int(one) < D and (columns is None or is_unnamed(columns[int(one)])):
        return int(one)
    if columns is None:
        raise ValueError(f"{name} has no column {one}: its {D} columns have numbers, from 0")
    listed = ", ".join(columns[:20]) + ", ..." * (len(columns) > 20)
    near = nearest(one, columns)
    meant = f"; did you mean {near!r}? Its" if near else "; its"
    raise ValueError(f"{name} has no column {one!r}{meant} columns: {listed}")


def named(columns: Columns, places: list[int]) -> Columns:
    """Return the names of these columns; one without a name is called by its number.

    >>> named(("a", "", "c"), [1, 2])
    ('column_1', 'c')
    """
    if columns is None:
        return None if places == list(range(len(places))) else tuple(map(str, places))
    return tuple(f"column_{j}" if is_unnamed(columns[j]) else columns[j] for j in places)


def without_index(
    X: NDArray[Any], columns: Columns, places: list[int], reading: Reading
) -> tuple[list[int], str]:
    """Return which columns of X (N, k) stay, and a note on those that were left out as an index.

    `columns` are the names of all columns of the table, `places` those of X among them. An index
    has no name and holds distinct whole numbers; nothing is one that was asked for.

    >>> X = np.array([[4.0, 0.5], [2.0, 0.25]])
    >>> without_index(X, ("", "a"), [0, 1], Reading())
    ([1], 'column 0 has no name and holds distinct whole numbers: an index, left out')
    """
    if columns is None or reading.columns is not None or len(places) < 2:
        return list(range(len(places))), ""
    some = places[: len(places) - reading.c]  # nothing that is given
    index = [i for i, j in enumerate(some) if is_unnamed(columns[j]) and is_index(X[:, i])]
    if not index or len(index) == len(places):
        return list(range(len(places))), ""
    which = ", ".join(str(places[i]) for i in index)
    note = f"column {which} has no name and holds distinct whole numbers: an index, left out"
    return [i for i in range(len(places)) if i not in index], note


def is_index(x: NDArray[Any]) -> bool:
    """Say whether numbers are distinct and whole.

    >>> is_index(np.array([3, 1])), is_index(np.array([1.0, 1.0])), is_index(np.array([0.5, 1]))
    (True, False, False)
    """
    return bool(np.isfinite(x).all() and (np.floor(x) == x).all() and len(np.unique(x)) == len(x))


def rounded(X: NDArray[Any], columns: Columns) -> tuple[str, ...]:
    """Return a note on columns whose whole numbers float64 does not hold, if there are any.

    >>> rounded(np.array([[2.0**60, 1.0]]), ("id", "a"))[0].split(" are")[0]
    "whole numbers beyond 2^53 in columns 'id'"
    """
    beyond = np.flatnonzero(np.abs(np.nan_to_num(X)).max(axis=0, initial=0) > LARGEST)
    if not len(beyond):
        return ()
    listed = column_list(beyond, columns)
    return (
        f"whole numbers beyond 2^53 in columns {listed} are rounded; if they only name the rows:"
        f" {asking(drop=[str(j) if columns is None else columns[j] for j in beyond[:20]])}",
    )
