"""BSDS300: 8 x 8 patches of grey photographs, on which densities of natural images are compared."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..files.limits import most_unpacked, one_line
from ..record import Dataset, in_model_space
from ..rows import Batch, chunks, floats
from ..transforms import Chain
from .published import require_rows

SIDE = 8
COLUMNS = SIDE * SIDE - 1
LEVELS = 256
COUNTS = (1_000_000, 50_000, 250_000)  # patches of the published train, validation and test
PIXEL_LIMIT = 2**26  # of one photograph


def from_photographs(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Draw patches from the folders train and test; a tenth of those in train validate."""
    photographs, test = read_photographs(path / "train"), read_photographs(path / "test")
    if len(photographs) < 2 or not test:
        raise ValueError(
            f"`{path}` must have two .jpg photographs in train and one in test at least, got"
            f" {len(photographs)} and {len(test)}"
        )
    cut = len(photographs) - max(len(photographs) // 10, 1)  # the last by name validate
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


def from_hdf5(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read the published patches."""
    found = read_hdf5(path)
    train, validation, test = (require_rows(path, floats(X), COLUMNS) for X in found.values())
    note = "log-likelihoods are of the patches, not standardised, as published"
    return in_model_space(name, (train[:n], validation, test), Chain(()), notes=(note,))


def patches(
    photographs: list[NDArray[np.uint8]], n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return n patches (n, 63), dequantised, less their mean, without their last pixel.

        P = (x + U) / 256,  U uniform on [0, 1)^64;  P - mean(P);  the first 63 entries

    Photograph, row, column and noise are drawn from one generator each, so that a smaller n gives
    the first of the same patches.

    >>> grey = np.arange(100, dtype=np.uint8).reshape(10, 10)
    >>> patches([grey, grey], 3, np.random.default_rng(0)).shape
    (3, 63)
    """
    which, down, across, noise = rng.spawn(4)
    choice = which.integers(len(photographs), size=n)
    heights, widths = np.array([photograph.shape for photograph in photographs]).T
    rows = (down.random(n) * (heights[choice] - SIDE + 1)).astype(np.intp)
    columns = (across.random(n) * (widths[choice] - SIDE + 1)).astype(np.intp)
    pixels = np.empty((n, SIDE, SIDE), np.uint8)
    order = np.argsort(choice, kind="stable")
    cuts = np.searchsorted(choice[order], np.arange(len(photographs) + 1))
    for k, photograph in enumerate(photographs):
        mine = order[cuts[k] : cuts[k + 1]]
        pixels[mine] = sliding_window_view(photograph, (SIDE, SIDE))[rows[mine], columns[mine]]
    X: Batch = np.empty((n, COLUMNS))
    for _, part in chunks(n, SIDE * SIDE):
        x = pixels[part].reshape(-1, SIDE * SIDE)
        P = (x + noise.random(x.shape)) / LEVELS
        X[part] = (P - P.mean(axis=1, keepdims=True))[:, :-1]
    return X


def read_photographs(folder: Path) -> list[NDArray[np.uint8]]:
    """Return the .jpg files of a folder in grey, in the order of their names.

    ModuleNotFoundError without Pillow; ValueError naming a file that is not a sound photograph.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the photographs of BSDS300 need Pillow: pip install "pillow"', name=error.name
        ) from None
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    found = []
    for path in files:
        try:
            with Image.open(path, formats=("JPEG",)) as image:
                if image.width * image.height > PIXEL_LIMIT:
                    raise ValueError(f"{image.width} x {image.height} pixels are too many")
                grey = np.asarray(image.convert("L"))
        except Exception as error:  # a decoder raises errors of every kind
            raise ValueError(f"`{path}` is not a sound JPEG file: {one_line(error)}") from None
        if min(grey.shape) < SIDE:
            raise ValueError(f"`{path}` must have 8 x 8 pixels at least, got {grey.shape}")
        found.append(grey)
    return found


def read_hdf5(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays train, validation and test (N, 63) of Papamakarios' BSDS300.hdf5.

    ModuleNotFoundError without h5py; ValueError for a file that is not of this form.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'BSDS300.hdf5 needs h5py: pip install "h5py"', name=error.name
        ) from None
    found: dict[str, NDArray[Any]] = {}
    try:
        with h5py.File(path, "r") as file:
            for key in ("train", "validation", "test"):
                link = file.get(key, getlink=True)
                data = file.get(key) if isinstance(link, h5py.HardLink) else None
                if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
                    raise ValueError(f"it has no array `{key}` of its own")
                if data.dtype.kind != "f" or data.ndim != 2 or data.shape[1] != COLUMNS:
                    raise ValueError(
                        f"its `{key}` must hold floats (N, {COLUMNS}), got {data.dtype}"
                        f" {data.shape}"
                    )
                if data.nbytes > (most := most_unpacked(path.stat().st_size, None)):
                    raise ValueError(f"its `{key}` unpacks to more than {most} bytes")
                found[key] = data[:]
    except Exception as error:  # a decoder raises errors of every kind
        raise ValueError(f"`{path}` is not a sound BSDS300.hdf5: {one_line(error)}") from None
    return found
