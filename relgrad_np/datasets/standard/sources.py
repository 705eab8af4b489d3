"""Where the files of the standard sets may lie, and which reader each of them has."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..record import Dataset
from .bsds300 import from_hdf5, from_photographs
from .images import images_idx, images_npz
from .power import power_npy, power_npz, power_text
from .uci import gas, hepmass, miniboone, miniboone_partial

Reader = Callable[[str, Path, np.random.Generator, int | None], Dataset]
DEBIAN = Path("/usr/share/datasets")  # where Debian's dataset-fashion-mnist puts its files
ARCHIVE = 'the archive "Preprocessed datasets for MAF experiments" on Zenodo'


class Source(NamedTuple):
    """Where a data set may lie in a folder, with its readers, and what to say if it is not there.

    `readers` are pairs of a path within a folder and the reader of what lies there; `files` and
    `origin` are words for the user; `folders` are looked in after the usual ones.
    """

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

    If `data_dir` is given, only this folder is searched; else the folder that the environment
    variable RELGRAD_DATA names, then the cache folder. FileNotFoundError if it is in none of them.

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
            if path.exists() and _is_meant(name, folder, path):
                return reader(name, path, rng, n)
    where = ", ".join(str(folder) for folder in folders)
    raise FileNotFoundError(
        f"no data for {name!r}: looked for {source.files} in {where} (choose the folder with"
        f" --data-dir, `data_dir` or RELGRAD_DATA); available from {source.origin}"
    )


def data_folders(data_dir: str | os.PathLike[str] | None = None) -> list[Path]:
    """Return the folders in which standard files are looked for, in this order.

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


def _is_meant(name: str, folder: Path, path: Path) -> bool:
    """Tell MNIST from Fashion-MNIST, whose files have the same names, by the name of the folder."""
    if path.parent != folder or "idx3" not in path.name:
        return True
    return ("fashion" in folder.name.lower()) == (name == "fashion-mnist")


def _image_source(stem: str, folders: tuple[str, ...], origin: str, *places: Path) -> Source:
    npz = tuple((f"{name}.npz", images_npz) for name in dict.fromkeys((stem, folders[-1])))
    idx = tuple(
        (f"{folder}{name}{packed}", images_idx)
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
            ("power/data.npy", power_npy),
            ("power_maf6.npz", power_npz),
            ("household_power_consumption.txt", power_text),
            ("power/household_power_consumption.txt", power_text),
        ),
        "power/data.npy, power_maf6.npz or household_power_consumption.txt",
        'the UCI repository, "Individual household electric power consumption" (unzip it), or '
        + ARCHIVE,
    ),
    "bsds300": Source(
        (
            ("BSDS300/BSDS300.hdf5", from_hdf5),
            ("BSDS300.hdf5", from_hdf5),
            ("BSDS300/images", from_photographs),
        ),
        "BSDS300.hdf5 or the folder BSDS300/images with its train and test",
        "the Berkeley Segmentation Dataset (its images), or " + ARCHIVE,
    ),
    "miniboone": Source(
        (
            ("miniboone/data.npy", miniboone),
            ("miniboone.npy", miniboone),
            ("miniboone_partial.npz", miniboone_partial),
        ),
        "miniboone/data.npy, miniboone.npy or miniboone_partial.npz",
        ARCHIVE,
    ),
    "gas": Source(
        (("gas/data.npy", gas), ("gas.npy", gas)),
        "gas/data.npy or gas.npy",
        ARCHIVE
        + "; its ethylene_CO.pickle is not opened here, for a pickle can run code: convert it once"
        ' with pandas.read_pickle(FILE).drop(columns=["Meth", "Eth", "Time"]).to_numpy()',
    ),
    "hepmass": Source(
        (("hepmass/train.npy", hepmass),),
        "hepmass/train.npy and hepmass/test.npy (21 columns, signal only)",
        ARCHIVE + ", whose 1000_train.csv and 1000_test.csv its authors' code turns into these",
    ),
}
STANDARD = tuple(SOURCES)
