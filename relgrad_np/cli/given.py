"""What `sample --given` says: values of the columns that a model is given, or a file of rows."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.arguments import nearest
from ..datasets.files.own import is_own_file, raw_rows
from ..datasets.files.reading import Reading, listed
from ..datasets.record import Dataset, GivenColumns
from ..datasets.transforms import Standardise
from ..fitting.storage.model import Model, given_columns
from ..runs.rows import to_model

LOOKED_AT = 20_000  # training rows of which one is an example
OF_FILE = ("sep", "decimal", "encoding", "missing", "missing_marks")  # what `evaluate` asks


class GivenRows(NamedTuple):
    """Rows (M, c) of given columns in their own units, with names; `one`: they are values alone.

    >>> GivenRows(np.ones((1, 1)), ("hour",), Standardise((0.0,), (1.0,)), True).columns
    ('hour',)
    """

    rows: Any
    columns: tuple[str, ...]
    standardise: Standardise
    one: bool


def given_rows(model: Model, config: dict[str, Any], text: str | None) -> GivenRows | None:
    """Return what a model is to be given, None where it is given nothing.

    `text`: values such as "hour=7,place=2", or the name of a file. ValueError, by name, for what is
    missing, unknown or no number; FileNotFoundError.
    """
    given = given_columns(model)
    if given is None:
        if text is not None:
            raise ValueError("`--given`: the model has no given columns")
        return None
    if text is None or not text.strip():
        values = ",".join(f"{name}=..." for name in given.names)
        raise ValueError(f"`--given` is needed: {values}, or a FILE of rows with these columns")
    if "=" in text and not is_own_file(text):
        return GivenRows(values_of(text, given), given.names, given.standardise, True)
    marks = config.get("reading", {}).get("missing_marks")
    try:
        rows, _ = raw_rows(Path(text), Reading(missing_marks=marks), given.columns)
    except ValueError as error:  # without the flags that mend it elsewhere
        raise ValueError(str(error).partition(": Reading(missing")[0]) from None
    rows = np.asarray(rows[:], dtype=np.float64)  # (M, c)
    if rows.shape[1] != given.c:
        names = ", ".join(given.names)
        raise ValueError(f"`{text}` has {rows.shape[1]} columns, and {given.c} are given: {names}")
    return GivenRows(rows, given.names, given.standardise, False)


def values_of(text: str, given: GivenColumns) -> Any:
    """Return the values (1, c) of given columns that a text says, by name or by number.

    A number, from 0, counts the given columns in their order, unless one has a number for a name.

    >>> hours = GivenColumns(("hour", "place"), Standardise((0.0, 0.0), (1.0, 1.0)))
    >>> values_of("place=2, hour=7", hours)
    array([[7., 2.]])
    >>> values_of("1=2,0=7", hours)
    array([[7., 2.]])
    >>> values_of("hour=7,palce=2", hours)
    Traceback (most recent call last):
    ValueError: `--given` has no column 'palce'; did you mean 'place'? Given are: hour, place
    """
    names, found = ", ".join(given.names), dict[str, float]()
    numbers = {} if any(map(str.isdecimal, given.names)) else dict(enumerate(given.names))
    for one in listed(text) or ():
        name, _, value = (part.strip() for part in one.rpartition("="))
        name = numbers.get(int(name), name) if name.isdecimal() else name
        if name not in given.names:
            near = nearest(name, given.names)
            meant = "given" if near is None else f"did you mean {near!r}? Given"
            raise ValueError(f"`--given` has no column {name!r}; {meant} are: {names}")
        if name in found:
            raise ValueError(f"`--given` has {name!r} twice")
        try:
            found[name] = float(value)
        except ValueError:
            found[name] = math.nan
        if not math.isfinite(found[name]):
            raise ValueError(f"`--given`: {name} must be a finite number, got {value!r}")
    lost = [name for name in given.names if name not in found]
    if lost:
        raise ValueError(f"`--given` lacks {', '.join(lost)}; given are: {names}")
    return np.array([[found[name] for name in given.names]])


def kept_of(config: dict[str, Any]) -> dict[str, Any]:
    """Return how other files of a run's kind are read: which columns, and what marks a gap.

    >>> kept_of({"reading": {"given": "hour", "sep": ";"}})["given"]
    'hour'
    """
    asked = config.get("reading", {})
    return {key: asked.get(key) for key in ("missing_marks", "columns", "drop", "given")}


def asked_again(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what `evaluate` is to be asked for files like the one that a run was fitted to.

    `kept_of` has the rest. No score is that of a row that was filled.

    >>> asked_again({"sep": ";", "missing": "median", "missing_marks": "-9"})
    {'sep': ';', 'missing': 'drop'}
    """
    again = {name: asked.get(name) for name in ("sep", "decimal", "encoding")}
    if asked.get("missing", "error") != "error":
        again["missing"] = "drop"
    return {name: value for name, value in again.items() if value is not None}


def example_of(data: Dataset) -> str:
    """Return values that columns may be given, as `sample` takes them: those of a training row.

    It is the row nearest to the medians, for means of dummies are no row's.

    >>> given = GivenColumns(("a", "b"), Standardise((1.0, 0.0), (2.0, 1.0)))
    >>> rows = np.array([[0.0, 9.0, 9.0], [0.0, 0.1, 0.0], [0.0, -9.0, 1.0]])
    >>> example_of(Dataset("mine", rows, rows, rows, {}, None, given=given))
    'a=1.2,b=0'
    """
    if data.given is None:
        return ""
    _, u = data.split(to_model(data, data.train[:LOOKED_AT], "float64"))  # (n, c)
    row = u[np.argmin(((u - np.median(u, axis=0)) ** 2).sum(axis=1))]
    standardise = data.given.standardise
    values = standardise.inverse(row[None])[0]  # (c,)
    values[abs(values) < 1e-9 * np.asarray(standardise.std)] = 0.0  # zero, up to rounding
    found = (f"{name}={value:.8g}" for name, value in zip(data.given.names, values, strict=True))
    return ",".join(f'"{one}"' if "," in one else one for one in found)
