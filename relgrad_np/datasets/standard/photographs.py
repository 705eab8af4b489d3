"""BSDS300: 8 x 8 patches of grey photographs, as published densities of natural images use them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..transforms import Batch, chunks

SIDE = 8
COLUMNS = SIDE * SIDE - 1
LEVELS = 256
COUNTS = (1_000_000, 50_000, 250_000)  # patches of the published train, validation and test
PIXEL_LIMIT = 2**26  # of one photograph
BYTE_LIMIT = 16 * 2**30  # of one array of an HDF5 file, unpacked


def patches(
    photographs: list[NDArray[np.uint8]], n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return n patches (n, 63): dequantised, their mean subtracted, their last pixel dropped.

        P = (x + U) / 256,  U uniform on [0, 1)^64;  P - mean(P);  the first 63 entries

    Photograph, place and noise are drawn from generators of their own, so that fewer patches are
    the first of more.

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
        except Exception as error:  # a decoder's errors are of every kind
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"`{path}` is not a sound JPEG file: {reason}") from None
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
                if data.nbytes > BYTE_LIMIT:
                    raise ValueError(f"its `{key}` unpacks to more than {BYTE_LIMIT} bytes")
                found[key] = data[:]
    except Exception as error:  # a decoder's errors are of every kind
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"`{path}` is not a sound BSDS300.hdf5: {reason}") from None
    return found
