"""POWER, GAS, HEPMASS and MINIBOONE, prepared as Papamakarios et al. (2017) did."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.npy import npz_members, read_member, read_npy
from ..record import Dataset, in_model_space
from ..transforms import Batch, Chain, Standardise, floats, refuse

POWER_SEED = 42  # Papamakarios' own


POWER_NOISE = (0.001, 0.01, 1.0, 1.0, 1.0, 0.0)  # widths: kW, V, three of Wh, minutes


CORRELATED = 0.98  # columns of GAS that others repeat


SMALLEST = 10  # rows or images that can be split


def _power_npz(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    members = npz_members(path)
    columns: list[NDArray[Any]] = []
    for key in ("gap_w", "volt_c", "sm", "minute"):
        if key not in members:
            raise ValueError(f"`{path}` has no array `{key}`")
        x = read_member(path, members[key])
        x = x.reshape(len(x), -1) if x.ndim else x
        rows, width = len(columns[0]) if columns else len(x), 3 if key == "sm" else 1
        if x.dtype.kind not in "iu" or x.shape != (rows, width):
            raise ValueError(
                f"`{path}`: `{key}` must hold integers ({rows}, {width}), got {x.dtype} {x.shape}"
            )
        columns.append(x)
    X = np.hstack([columns[0] / 1000, columns[1] / 100, *columns[2:]])
    return power(path, X, n)


def _power_npy(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    X = _numbers(path, 8)
    return power(path, np.delete(X, (1, 3), axis=1), n)  # reactive power, intensity


def _power_text(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read UCI's own file; rows with a gap are dropped.

    Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;Sub_metering_1..3
    """
    values, count = array("d"), 0
    with path.open("rb") as file:
        header = file.readline(2**16).strip().lower().split(b";")
        if len(header) != 9 or not header[2].startswith(b"global_active"):
            raise ValueError(f"`{path}`, line 1: not the header of household_power_consumption.txt")
        for number, line in enumerate(_lines(file, path), start=2):
            fields = line.split(b";")
            if len(fields) != 9:
                raise ValueError(f"`{path}`, line {number}: {len(fields)} fields, not 9")
            if b"?" in line or not fields[8].strip():
                continue
            try:
                hours, minutes, _ = fields[1].split(b":")
                time = 60 * int(hours) + int(minutes)
                values.extend((*map(float, (fields[2], fields[4], *fields[6:])), time))
                count += 1
            except ValueError:
                raise ValueError(f"`{path}`, line {number}: not numbers: {line[:80]!r}") from None
    return power(path, np.array(values).reshape(count, 6), n)


def _lines(file: Any, path: Path) -> Iterator[bytes]:
    while line := file.readline(2**16):
        if len(line) == 2**16:
            raise ValueError(f"`{path}` has a line longer than {2**16} bytes")
        yield line


def power(path: Path, X: Batch, n: int | None) -> Dataset:
    """Return POWER by the published recipe from its six columns, rows in the order of time.

    Shuffled by RandomState(42), which then draws uniform noise for voltage (0.01), active power
    (0.001) and the three meters (1), in this order; the last tenth tests, the last tenth of the
    rest validates; standardised by the moments of train and validation.
    """
    _require(path, X, 6)
    N = len(X)
    rng = np.random.RandomState(POWER_SEED)  # the published stream
    order = np.arange(N)
    rng.shuffle(order)
    X = X[order]
    voltage, active, meters = rng.rand(N, 1), rng.rand(N, 1), rng.rand(N, 3)
    X += np.hstack([active, voltage, meters, np.zeros((N, 1))]) * POWER_NOISE
    columns = ("active_power", "voltage", "meter_1", "meter_2", "meter_3", "minute")
    note = (
        "split and noise are the published ones, whatever the seed: voltage 0.01 U, active power"
        " 0.001 U, meters U, time none"
    )
    return _published("power", X, n, (note,), columns)


def _published(
    name: str,
    X: Batch,
    n: int | None,
    notes: tuple[str, ...] = (),
    columns: tuple[str, ...] | None = None,
    standardise: Standardise | None = None,
) -> Dataset:
    """Cut the last tenth for test, the last tenth of the rest for validation; standardise."""
    N = len(X)
    last = N - int(0.1 * N)
    first = last - int(0.1 * last)
    standardise = standardise or Standardise.fit(X[:last], name, columns)
    parts = X[:first][:n], X[first:last], X[last:]
    return in_model_space(name, parts, Chain((standardise,)), notes=notes, columns=columns)


def _miniboone(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    return _published(name, _numbers(path, 43), n)


def _miniboone_partial(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Return what is left of MINIBOONE without its training rows, for a first try."""
    members = npz_members(path)
    parts = []
    for key in ("val", "test"):
        if key not in members:
            raise ValueError(f"`{path}` has no array `{key}`")
        parts.append(_require(path, floats(read_member(path, members[key])), 43))
    X, test = parts
    cut = len(X) - len(X) // 10
    note = (
        f"MINIBOONE's training rows are missing: its published validation rows stand in for them"
        f" ({cut} to train, {len(X) - cut} to validate); not comparable with published results"
    )
    return in_model_space(name, (X[:cut][:n], X[cut:], test), Chain(()), notes=(note,))


def _gas(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Return GAS: sixteen sensors, of which those that repeat others are dropped, or the eight."""
    X = read_npy(path).train
    X = _numbers(path, 16 if X.ndim == 2 and X.shape[1] == 16 else 8)
    kept = np.arange(X.shape[1])
    C = np.asarray(np.corrcoef(X.T) if len(kept) == 16 else np.eye(8)) > CORRELATED
    while (repeated := C[np.ix_(kept, kept)].sum(axis=0) > 1).any():
        kept = np.delete(kept, int(repeated.argmax()))
    if len(kept) != 8:
        raise ValueError(
            f"`{path}`: {len(kept)} of 16 columns are left once those correlated above"
            f" {CORRELATED} are dropped, not the published 8"
        )
    X = np.ascontiguousarray(X[:, kept])
    standardise = Standardise.fit(X, name)
    note = "standardised by the moments of all rows, test rows too, as published"
    return _published(name, X, n, (note,), standardise=standardise)


def _hepmass(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    beside = path.with_name("test.npy")
    if not beside.exists():
        raise FileNotFoundError(f"test.npy is missing beside {str(path)!r}")
    X, test = _numbers(path, 21), _numbers(beside, 21)
    cut = len(X) - int(0.1 * len(X))
    chain = Chain((Standardise.fit(X, name),))
    return in_model_space(name, (X[:cut][:n], X[cut:], test), chain)


def _numbers(path: Path, D: int) -> Batch:
    X = read_npy(path).train
    return _require(path, floats(X) if X.ndim == 2 else X, D)


def _require(path: Path, X: NDArray[Any], D: int) -> Batch:
    """Return X if it is a finite (N, D) array of enough rows to split."""
    if X.ndim != 2 or X.shape[1] != D or len(X) < SMALLEST:
        raise ValueError(f"`{path}` must have shape (N, {D}), N >= {SMALLEST}, got {X.shape}")
    refuse(str(path), X, ~np.isfinite(X), "finite")
    return X
