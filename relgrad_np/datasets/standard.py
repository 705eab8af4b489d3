"""Standard data sets, from the public files in which they are passed on.

The model space of each is the space in which its log-likelihoods are published, so that results
compare: logit space for images, standardised columns for the UCI sets, patches as they are for
BSDS300 (Papamakarios, Pavlakou and Murray, 2017).
"""

import os
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .files import npz_members, read_member, read_npy
from .idx import read_idx
from .photographs import COUNTS, patches, read_hdf5, read_photographs
from .record import Dataset, in_model_space
from .transforms import Batch, Chain, Dequantise, Logit, Standardise, floats, refuse

Reader = Callable[[str, Path, np.random.Generator, "int | None"], Dataset]

IMAGE_SHAPE = (28, 28)
PIXELS = 784
LEVELS = 256
DEBIAN = Path("/usr/share/datasets")  # where Debian's dataset-fashion-mnist puts its files
ARCHIVE = 'the archive "Preprocessed datasets for MAF experiments" on Zenodo'
POWER_SEED = 42  # Papamakarios' own
POWER_NOISE = (0.001, 0.01, 1.0, 1.0, 1.0, 0.0)  # widths: kW, V, three of Wh, minutes
CORRELATED = 0.98  # columns of GAS that others repeat
SMALLEST = 10  # rows or images that can be split


class Source(NamedTuple):
    """Where a data set may lie in a folder, how it is then read, and what to tell who has none."""

    readers: tuple[tuple[str, Reader], ...]
    files: str
    origin: str
    folders: tuple[Path, ...] = ()


def load_standard(
    name: str,
    rng: np.random.Generator,
    n: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Return the standard data set `name`, with at most n training rows.

    Looked for in `data_dir` alone if it is given, else in the folder that the environment variable
    RELGRAD_DATA names, then in the cache folder. FileNotFoundError if it is in none of them.

    >>> import tempfile
    >>> load_standard("gas", np.random.default_rng(0), None, tempfile.mkdtemp())
    Traceback (most recent call last):
    FileNotFoundError: no data for 'gas': looked for gas/data.npy or gas.npy in ...
    """
    source = SOURCES[name]
    folders = [*data_folders(data_dir), *(() if data_dir else source.folders)]
    for folder in folders:
        for relative, reader in source.readers:
            path = folder / relative
            if path.exists() and _meant(name, folder, path):
                return reader(name, path, rng, n)
    where = ", ".join(str(folder) for folder in folders)
    raise FileNotFoundError(
        f"no data for {name!r}: looked for {source.files} in {where} (choose the folder with"
        f" --data-dir, `data_dir` or RELGRAD_DATA); to be had from {source.origin}"
    )


def data_folders(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the folders in which standard files are looked for, the first first.

    >>> [str(folder) for folder in data_folders("my data")]
    ['my data']
    """
    if data_dir is not None:
        return [Path(data_dir)]
    named = os.environ.get("RELGRAD_DATA")
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [*([Path(named)] if named else []), Path(cache) / "relgrad_np"]


def _meant(name: str, folder: Path, path: Path) -> bool:
    """MNIST and Fashion-MNIST have the same file names: what lies in a plain folder is MNIST."""
    if path.parent != folder or "idx3" not in path.name:
        return True
    return ("fashion" in folder.name.lower()) == (name == "fashion-mnist")


# Images


def _image_npz(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    members = npz_members(path)
    for key in ("x_train", "x_test"):
        if key not in members:
            raise ValueError(f"`{path}` has no array `{key}`")
    train, test = (read_member(path, members[key]) for key in ("x_train", "x_test"))
    return _images(name, path, train, test, rng, n)


def _image_idx(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    stem = path.name.removesuffix(".gz").replace("train", "t10k")
    test = next(
        (p for p in (path.with_name(stem), path.with_name(stem + ".gz")) if p.exists()), None
    )
    if test is None:
        raise FileNotFoundError(f"{stem} (.gz or not) is missing beside {str(path)!r}")
    return _images(name, path, read_idx(path), read_idx(test), rng, n)


def _images(
    name: str,
    path: Path,
    x_train: NDArray[Any],
    x_test: NDArray[Any],
    rng: np.random.Generator,
    n: int | None,
) -> Dataset:
    """Return images as published: the last sixth of x_train validates (10,000 of 60,000).

    x/255 + U/255, divided by the maximum, then logit(1e-6 + (1 - 2e-6) x). The maximum is taken
    to be 256/255, which bounds it and which it approaches (to 1e-8 in the 39 million pixels of
    the training images), so that the transform does not depend on the draw of the noise and has
    a known Jacobian: together (x + U) / 256, Dequantise(256).
    """
    for X in (x_train, x_test):
        if X.dtype != np.uint8 or X.shape[1:] not in (IMAGE_SHAPE, (PIXELS,)) or not len(X):
            raise ValueError(
                f"`{path}` must hold images (N, 784) or (N, 28, 28) of uint8, got {X.dtype}"
                f" {X.shape}"
            )
    x_train, x_test = (X.reshape(-1, PIXELS) for X in (x_train, x_test))
    cut = len(x_train) - len(x_train) // 6
    if len(x_train) < SMALLEST:
        raise ValueError(f"`{path}` must have {SMALLEST} images at least, got {len(x_train)}")
    return in_model_space(
        name,
        (x_train[:cut][:n], x_train[cut:], x_test),
        Chain((Dequantise(LEVELS), Logit())),
        rng,
        levels=float(LEVELS),
        image_shape=IMAGE_SHAPE,
        notes=("log-likelihoods are in logit space, as published; bits/dim in pixel space",),
    )


# UCI


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


# BSDS300


def _bsds_photographs(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Draw patches: 90 % of the photographs in train, by name, for training, the rest validates."""
    photographs, test = read_photographs(path / "train"), read_photographs(path / "test")
    if len(photographs) < 2 or not test:
        raise ValueError(
            f"`{path}` must have two .jpg photographs in train and one in test at least, got"
            f" {len(photographs)} and {len(test)}"
        )
    cut = len(photographs) - max(len(photographs) // 10, 1)
    groups = photographs[:cut], photographs[cut:], test
    counts = (COUNTS[0] if n is None else min(n, COUNTS[0]), *COUNTS[1:])
    parts = [
        patches(group, count, stream)
        for group, count, stream in zip(groups, counts, rng.spawn(3), strict=True)
    ]
    note = (
        f"patches redrawn by the published recipe from {cut}, {len(photographs) - cut} and"
        f" {len(test)} photographs; log-likelihoods are of the patches, not standardised"
    )
    return in_model_space(name, (parts[0], parts[1], parts[2]), Chain(()), notes=(note,))


def _bsds_hdf5(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    found = read_hdf5(path)
    train, validation, test = (_require(path, floats(found[key]), 63) for key in found)
    note = "log-likelihoods are of the patches, not standardised, as published"
    return in_model_space(name, (train[:n], validation, test), Chain(()), notes=(note,))


# Where each may lie


def _image_source(stem: str, folders: tuple[str, ...], origin: str, *places: Path) -> Source:
    npz = tuple((f"{name}.npz", _image_npz) for name in dict.fromkeys((stem, folders[-1])))
    idx = tuple(
        (f"{folder}{name}{packed}", _image_idx)
        for folder in (*(f"{folder}/" for folder in folders), "")
        for name in ("train-images-idx3-ubyte", "train-images.idx3-ubyte")
        for packed in ("", ".gz")
    )
    files = (
        f"{stem}.npz (x_train, x_test), or train-images-idx3-ubyte and t10k-images-idx3-ubyte"
        f" (.gz or not) there or in its folder {folders[0]}"
    )
    return Source((*npz, *idx), files, origin, places)


SOURCES: dict[str, Source] = {
    "mnist": _image_source(
        "mnist",
        ("mnist", "MNIST/raw"),
        "the mnist.npz of Keras, torchvision's MNIST folder, or the MNIST database's own IDX files",
    ),
    "fashion-mnist": _image_source(
        "fashion-mnist",
        ("fashion-mnist", "FashionMNIST/raw", "fashion_mnist"),
        "Zalando Research's fashion-mnist repository, or Debian's package dataset-fashion-mnist",
        DEBIAN,
    ),
    "power": Source(
        (
            ("power/data.npy", _power_npy),
            ("power_maf6.npz", _power_npz),
            ("household_power_consumption.txt", _power_text),
            ("power/household_power_consumption.txt", _power_text),
        ),
        "power/data.npy, power_maf6.npz or household_power_consumption.txt",
        'the UCI repository, "Individual household electric power consumption" (unzip it), or '
        + ARCHIVE,
    ),
    "bsds300": Source(
        (
            ("BSDS300/BSDS300.hdf5", _bsds_hdf5),
            ("BSDS300.hdf5", _bsds_hdf5),
            ("BSDS300/images", _bsds_photographs),
        ),
        "BSDS300.hdf5 or the folder BSDS300/images with its train and test",
        "the Berkeley Segmentation Dataset (its images), or " + ARCHIVE,
    ),
    "miniboone": Source(
        (
            ("miniboone/data.npy", _miniboone),
            ("miniboone.npy", _miniboone),
            ("miniboone_partial.npz", _miniboone_partial),
        ),
        "miniboone/data.npy, miniboone.npy or miniboone_partial.npz",
        ARCHIVE,
    ),
    "gas": Source(
        (("gas/data.npy", _gas), ("gas.npy", _gas)),
        "gas/data.npy or gas.npy",
        ARCHIVE
        + "; its ethylene_CO.pickle is not opened here, for a pickle can run code: convert it once"
        ' with pandas.read_pickle(FILE).drop(columns=["Meth", "Eth", "Time"]).to_numpy()',
    ),
    "hepmass": Source(
        (("hepmass/train.npy", _hepmass),),
        "hepmass/train.npy and hepmass/test.npy (21 columns, signal only)",
        ARCHIVE + ", whose 1000_train.csv and 1000_test.csv its authors' code turns into these",
    ),
}
STANDARD = tuple(SOURCES)
