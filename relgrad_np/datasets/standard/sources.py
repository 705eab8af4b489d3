"""Standard data sets, from the public files in which they are passed on.

The model space of each is the space in which its log-likelihoods are published, so that results
compare: logit space for images, standardised columns for the UCI sets, patches as they are for
BSDS300 (Papamakarios, Pavlakou and Murray, 2017).
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..record import Dataset, in_model_space
from ..transforms import Chain, floats
from .images import _image_idx, _image_npz
from .photographs import COUNTS, patches, read_hdf5, read_photographs
from .uci import (
    _gas,
    _hepmass,
    _miniboone,
    _miniboone_partial,
    _power_npy,
    _power_npz,
    _power_text,
    _require,
)

Reader = Callable[[str, Path, np.random.Generator, "int | None"], Dataset]


DEBIAN = Path("/usr/share/datasets")  # where Debian's dataset-fashion-mnist puts its files


ARCHIVE = 'the archive "Preprocessed datasets for MAF experiments" on Zenodo'


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
