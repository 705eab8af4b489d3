"""MNIST and Fashion-MNIST, from Keras' .npz or the IDX files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.idx import read_idx
from ..files.npz import read_named
from ..record import Dataset, in_model_space
from ..rows import LEAST_ROWS
from ..transforms import Chain, Dequantise, Logit

IMAGE_SHAPE = (28, 28)
PIXELS = 784
LEVELS = 256


def images_npz(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read x_train and x_test of an .npz file."""
    found = read_named(path, ("x_train", "x_test"))
    return _images(name, path, found["x_train"], found["x_test"], rng, n)


def images_idx(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read the IDX file of the training images, and that of the test images beside it."""
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

    Published are x/255 + U/255, divided by the maximum, then logit(1e-6 + (1 - 2e-6) x). Here the
    maximum is taken to be 256/255, its upper bound; in the 39 million pixels of the training images
    it comes as near as 1e-8. So the transform does not depend on the draw of the noise, and its
    Jacobian is known: together it is (x + U) / 256, Dequantise(256).
    """
    for X in (x_train, x_test):
        if X.dtype != np.uint8 or X.shape[1:] not in (IMAGE_SHAPE, (PIXELS,)) or not len(X):
            raise ValueError(
                f"`{path}` must hold images (N, 784) or (N, 28, 28) of uint8, got {X.dtype}"
                f" {X.shape}"
            )
    x_train, x_test = (X.reshape(-1, PIXELS) for X in (x_train, x_test))
    cut = len(x_train) - len(x_train) // 6
    if len(x_train) < LEAST_ROWS:
        raise ValueError(f"`{path}` must have {LEAST_ROWS} images at least, got {len(x_train)}")
    return in_model_space(
        name,
        (x_train[:cut][:n], x_train[cut:], x_test),
        Chain((Dequantise(LEVELS), Logit())),
        rng,
        levels=float(LEVELS),
        image_shape=IMAGE_SHAPE,
        notes=("log-likelihoods are in logit space, as published; bits/dim in pixel space",),
    )
