"""Split rows of your own in three and standardise them by the moments of the training rows."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bounds import ColumnBounds
from ..columns import few_values, grid_step, ruled_by_one_row, whole_numbers
from ..file_rows import FileRows, rows_of
from ..record import Dataset, GivenColumns, RawTable, first_columns, forward, in_model_space
from ..rows import LEAST_ROWS, Columns, chunks, column_list, floats, refuse
from ..transforms import Chain, DequantiseColumns, Standardise, Support, Transform
from .choice import bounded
from .reading import Reading

HELD_OUT = 10_000  # rows of validation, and of test, at most, of a memory-mapped file


def split_shuffled(
    name: str,
    raw: RawTable,
    rng: np.random.Generator,
    n: int | None,
    reading: Reading | None = None,
) -> Dataset:
    """Return 80 % train, 10 % validation, 10 % test of the shuffled rows, or the splits given.

    A split that is missing is cut from the end of the shuffled `train`, 10 % of it.
    `reading.dequantise` adds noise to discrete columns; without it a note names them.
    `reading.support`: columns with bounds. Neither is for columns that are given.

    >>> raw = RawTable(np.arange(40).reshape(20, 2) ** 2)
    >>> data = split_shuffled("squares", raw, np.random.default_rng(0), None)
    >>> data.train.shape, data.test.shape, data.notes[0]
    ((16, 2), (2, 2), 'int64 converted to float64')
    """
    reading = reading or Reading()
    columns, notes = raw.columns, list(raw.notes)
    X = _real(name, raw.train, notes)
    given = [None if part is None else _real(name, part, notes) for part in raw[1:3]]
    D = X.shape[1]
    for key, part in zip(("x_validation", "x_test"), given, strict=True):
        if part is not None and part.shape[1] != D:
            raise ValueError(
                f"`{name}` has {D} columns in x_train but {part.shape[1]} in its {key}"
            )
    for part in (X, *given):
        if part is not None:
            _require_finite(name, part, columns)
    N = len(X)
    _require_rows(name, N)
    cut = [N // 10 if part is None else 0 for part in given]  # validation, test
    order = rng.permutation(N)
    ends = N - sum(cut), N - cut[1]
    train = X[order[: ends[0]][:n]]
    validation = X[order[ends[0] : ends[1]]] if given[0] is None else given[0]
    test = X[order[ends[1] :]] if given[1] is None else given[1]
    moments = Standardise.fit(train, name, columns)  # refuses constants, before noise hides them
    context = given_of(moments, columns, reading.c)
    D, parts = X.shape[1] - reading.c, (train, validation, test)
    us = [floats(part[:, D:]) for part in parts]
    X, train, validation, test = (part[:, :D] for part in (X, *parts))
    given = [None if part is None else part[:, :D] for part in given]
    columns = None if columns is None else columns[:D]
    fixed = _noise_for(train, columns, reading.dequantise, notes)
    noised = train if not fixed else Chain(fixed).forward(train, rng)
    if reading.support:
        support = modelled(reading.support, context)
        fixed += (_support_of(name, support, columns, fixed, (X, *given), noised),)
    before = fixed[-1] if reading.support else None
    chain = Chain((*fixed, Standardise.fit(noised, name, columns, before)))
    parts = (train, validation, test)
    data = in_model_space(name, parts, chain, rng, notes=tuple(notes), columns=columns)
    if far := ruled_by_one_row(data.train):
        few = few_values(floats(train))
        far = [j for j in far if j not in few]
    if far:
        data = data._replace(notes=(*data.notes, _note_of_one_row(far, columns)))
    if context is None:
        return data
    pairs = zip((data.train, data.validation, data.test), us, strict=True)
    joined = [np.concatenate([Z, context.standardise.forward(u)], axis=1) for Z, u in pairs]
    return data._replace(given=context, train=joined[0], validation=joined[1], test=joined[2])


def given_of(moments: Standardise, columns: Columns, c: int) -> GivenColumns | None:
    """Return the last c columns, which are given, by the moments of all; None for c = 0.

    >>> given_of(Standardise((1.0, 2.0), (3.0, 4.0)), None, 1)
    GivenColumns(columns=('1',), standardise=Standardise(mean=(2.0,), std=(4.0,)))
    """
    if c == 0:
        return None
    D = len(moments.mean) - c
    names = tuple(map(str, range(D, D + c))) if columns is None else columns[D:]
    return GivenColumns(names, Standardise(moments.mean[D:], moments.std[D:]))


def modelled(
    support: tuple[ColumnBounds, ...], given: GivenColumns | None
) -> tuple[ColumnBounds, ...]:
    """Return the bounds; ValueError for those of a column that is given.

    >>> modelled((ColumnBounds("a", 0.0, None),), GivenColumns(("a",), Standardise((0,), (1,))))
    Traceback (most recent call last):
    ValueError: `support` bounds column 'a', which is given: bounds are for columns modelled
    """
    for one in support:
        if given is not None and str(one.column) in given.names:
            raise ValueError(
                f"`support` bounds column {one.column!r}, which is given: bounds are for columns"
                " modelled"
            )
    return support


def _support_of(
    name: str,
    support: tuple[ColumnBounds, ...],
    columns: Columns,
    noise: tuple[Transform, ...],
    parts: tuple[NDArray[Any] | None, ...],
    train: NDArray[Any],
) -> Support:
    """Return the bounds of the columns; a column with noise is as much wider at its upper end.

    `parts` are all rows as they are in the file, `train` those fitted, with their noise.
    """
    low, high = bounded(f"`{name}`", support, columns, train.shape[1])
    for one in noise:
        if isinstance(one, DequantiseColumns):
            high = tuple(
                None if h is None else h + step for h, step in zip(high, one.step, strict=True)
            )
    unfitted = Chain((*noise, Support(low, high, (0.0,) * len(low))))
    for part in parts:
        if part is not None:
            unfitted.require_inside(name, part, columns)
    return Support.fit(train, low, high, name, columns)


def _noise_for(
    train: NDArray[Any], columns: Columns, dequantise: bool, notes: list[str]
) -> tuple[Transform, ...]:
    """Return what dequantises the discrete columns, if it is asked for; name them in a note."""
    whole = whole_numbers(train)
    few = [int(j) for j in few_values(floats(train)) if j not in whole]
    if dequantise:
        steps = [
            grid_step(floats(train[:, j])) if j in {*whole, *few} else 0.0
            for j in range(train.shape[1])
        ]
        offsets = [float(train[:, j].min()) if step else 0.0 for j, step in enumerate(steps)]
        done = [j for j, step in enumerate(steps) if step]
        left = [j for j in few if not steps[j]]
        if done:
            notes.append(
                f"noise as wide as their step is added to columns {column_list(done, columns)}"
            )
        if left:
            notes.append(
                f"few values, but on no grid, in columns {column_list(left, columns)}: they are"
                " left as they are"
            )
        return (DequantiseColumns(tuple(offsets), tuple(steps)),) if done else ()
    if whole or few:
        listed = column_list(sorted({*whole, *few}), columns)
        notes.append(
            f"whole numbers or few values only in columns {listed}: their likelihood has no upper"
            " bound; Reading(dequantise=True) adds uniform noise as wide as their step"
        )
    return ()


def _note_of_one_row(which: list[int], columns: Columns) -> str:
    s = "s" * (len(which) > 1)
    return (
        f"in column{s} {column_list(which, columns)} one row has more than half of the variance,"
        " and so decides all means: look whether it is an error; where a column has a lower bound,"
        " take its logarithm by Reading(support=...)"
    )


def split_by_position(
    name: str,
    X: NDArray[Any] | FileRows,
    n: int | None,
    support: tuple[ColumnBounds, ...] | None = None,
) -> Dataset:
    """Return the same shares of rows that stay in their file; only held-out rows are read.

    The training rows are read once, in chunks, for their moments.
    """
    notes = [
        "left in its file: not shuffled before it is split by position into 80 % train, then"
        " 10 % validation and 10 % test; shuffle the file's rows if they are in an order",
    ]
    converted: list[str] = []
    mapped = _real(name, X, converted)
    notes += [f"{note} batch by batch" for note in converted]
    N = len(mapped)
    _require_rows(name, N)
    held_out = N // 10
    first, last = N - 2 * held_out, N - held_out  # rows at which validation and test begin
    train = rows_of(rows_of(mapped, 0, first), 0, n)
    kept = min(held_out, HELD_OUT)
    if kept < held_out:
        notes.append(
            f"the first {kept} of {held_out} validation rows, and of as many test rows, are used"
        )
    chain, _ = standardised(name, train, support, None)
    done = []
    for start in (first, last):
        rows = mapped[start : start + kept]
        _require_finite(name, rows, None, start)
        chain.require_inside(name, rows)
        done.append(forward(chain, rows))
    (validation, log_det), (test, log_det_test) = done
    log_dets = {"train": np.empty(0), "validation": log_det, "test": log_det_test}
    return Dataset(name, train, validation, test, log_dets, chain, lazy=True, notes=tuple(notes))


def standardised(
    name: str, train: Any, support: tuple[ColumnBounds, ...] | None, columns: Columns, c: int = 0
) -> tuple[Chain, GivenColumns | None]:
    """Return the way to model space of training rows that may stay in their file.

    The last c columns are given: they are in no chain.

    >>> standardised("X", np.array([[1.0], [3.0]]), None, None)[0]
    Chain(transforms=(Standardise(mean=(2.0,), std=(1.0,)),))
    """
    D, before = train.shape[1] - c, None
    if support:
        ends = bounded(f"`{name}`", support, columns, train.shape[1])
        before = Support.fit(train, *ends, name, columns)
    moments = Standardise.fit(train, name, columns, before)
    given = given_of(moments, columns, c)
    modelled(support or (), given)
    return first_columns(Chain((*([before] if before else []), moments)), D), given


def _real(name: str, X: Any, notes: list[str]) -> Any:
    """Return X if it is an (N, D) array of real numbers, bool as uint8; note a conversion."""
    if X.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` must hold real numbers, got {X.dtype}")
    if X.ndim != 2 or not X.size:
        advice = "; reshape it to one row for each sample" if X.ndim != 2 and X.size else ""
        raise ValueError(f"`{name}` must have shape (N, D), N >= 1, got {X.shape}{advice}")
    note = f"{X.dtype.name} converted to float64"
    if X.dtype.name not in ("float32", "float64") and note not in notes:
        notes.append(note)
    return X.view(np.uint8) if X.dtype == bool else X


def _require_finite(name: str, X: NDArray[Any], columns: Columns, first_row: int = 0) -> None:
    if X.dtype.kind == "f":
        for start, rows in chunks(*X.shape):
            Y = floats(X[rows])
            refuse(name, Y, ~np.isfinite(Y), "finite", first_row + start, columns)


def _require_rows(name: str, N: int) -> None:
    if N < LEAST_ROWS:
        raise ValueError(f"`{name}` must have at least {LEAST_ROWS} rows to split, got {N}")
