"""POWER, from UCI's own text or from either of the forms in which it is passed on."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..files.npz import read_named
from ..record import Dataset
from ..rows import Batch
from .published import read_numbers, require_rows, split_by_tenths

SEED = 42  # of the published shuffle and noise
NOISE = (0.001, 0.01, 1.0, 1.0, 1.0, 0.0)  # widths: kW, V, three times Wh, minutes
COLUMNS = ("active_power", "voltage", "meter_1", "meter_2", "meter_3", "minute")
LINE_LIMIT = 2**16  # bytes


def power(path: Path, X: Batch, n: int | None) -> Dataset:
    """Return POWER by the published recipe from its six columns, rows in the order of time.

    The rows are shuffled by RandomState(42), which then draws uniform noise for voltage (0.01),
    active power (0.001) and the three meters (1), in this order. The last tenth tests, and the last
    tenth of the rest validates. Columns are standardised by the moments of train and validation.
    """
    require_rows(path, X, 6)
    N = len(X)
    rng = np.random.RandomState(SEED)  # the published stream
    order = np.arange(N)
    rng.shuffle(order)
    X = X[order]
    voltage, active, meters = rng.rand(N, 1), rng.rand(N, 1), rng.rand(N, 3)
    X += np.hstack([active, voltage, meters, np.zeros((N, 1))]) * NOISE
    note = (
        "split and noise are the published ones, whatever the seed: voltage 0.01 U, active power"
        " 0.001 U, meters U, time none"
    )
    return split_by_tenths("power", X, n, (note,), COLUMNS)


def power_npz(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read power_maf6.npz: whole numbers of W, of hundredths of a volt, of Wh, and of minutes."""
    widths = {"gap_w": 1, "volt_c": 1, "sm": 3, "minute": 1}
    found = read_named(path, tuple(widths))
    rows = len(found["gap_w"]) if found["gap_w"].ndim else 1
    for key, x in found.items():
        x = x.reshape(len(x), -1) if x.ndim else x
        if x.dtype.kind not in "iu" or x.shape != (rows, widths[key]):
            raise ValueError(
                f"`{path}`: `{key}` must hold integers ({rows}, {widths[key]}), got {x.dtype}"
                f" {x.shape}"
            )
        found[key] = x
    watts, volts, *rest = found.values()
    return power(path, np.hstack([watts / 1000, volts / 100, *rest]), n)


def power_npy(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read Papamakarios' data.npy of eight columns; reactive power and intensity are dropped."""
    return power(path, np.delete(read_numbers(path, 8), (1, 3), axis=1), n)


def power_text(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read UCI's own file; rows with a gap are dropped.

    Date;Time;Global_active_power;Global_reactive_power;Voltage;Global_intensity;Sub_metering_1..3
    """
    values, count = array("d"), 0
    with path.open("rb") as file:
        header = file.readline(LINE_LIMIT).strip().lower().split(b";")
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
    while line := file.readline(LINE_LIMIT):
        if len(line) == LINE_LIMIT:
            raise ValueError(f"`{path}` has a line longer than {LINE_LIMIT} bytes")
        yield line
