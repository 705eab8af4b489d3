"""Data by name: `load` finds the loader of a named set, a file or an array."""

import os
from typing import Any

import numpy as np

from ..core.arguments import one_of, whole
from .digits import IMAGE_SHAPE, LEVELS, digits
from .files.own import LAZY_ABOVE, is_own_file, own_array, own_file
from .files.reading import Reading
from .record import SPLITS, Dataset
from .rows import Batch
from .standard.sources import STANDARD, load_standard
from .toy import TOYS, toy
from .transforms import Chain, Dequantise, Logit, Standardise, Transform

NAMES = ("digits", *(f"toy:{name}" for name in TOYS))


def load(
    name: Any,
    seed: int = 0,
    n: int | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    lazy_above: int = LAZY_ABOVE,
    reading: Reading | None = None,
    limit: int | None = None,
) -> Dataset:
    """Return a data set: a name, a file of one's own, or an array or DataFrame.

    digits     shuffled; 1,257 train, 270 validation, 270 test; Dequantise, Logit, Standardise
    toy:NAME   n train (10,000), n // 5 validation and as many test; Standardise
    mnist, fashion-mnist, power, bsds300, miniboone, gas, hepmass
               standard files, looked for in `data_dir`, else in RELGRAD_DATA and the cache folder
               (`datasets.standard`); splits and model space are the published ones, so that
               log-likelihoods compare with published ones
    FILE       text such as .csv, perhaps compressed; .parquet, .feather, .h5, .mat, .npy, .npz:
               rows shuffled, 80 % train, 10 % validation, 10 % test, unless the file has x_train,
               x_validation, x_test; Standardise (`datasets.files`)
    array or DataFrame (pandas, polars)
               as a file

    The rows of a .npy file (or np.memmap) of more than `lazy_above` bytes stay in the file; those
    of a .parquet file of as much are laid out in a temporary file. Then `lazy` is True, `train` has
    them as they are there, and `transforms.forward(batch)` brings them to model space. `reading`
    says which columns of a file, array or DataFrame are read, and what becomes of missing values
    (`Reading`). `limit`: bytes to which a compressed file of your own may unpack; None: 64 MiB, or
    100 times the size of the file if that is more.

    `n` caps the training rows: the first n after the set's own shuffle are kept. All randomness
    comes from `numpy.random.default_rng(seed)`; moments are those of the training rows.

    ValueError for an unknown name, for what a file should not hold, or for `n` with the digits,
    whose number is fixed. FileNotFoundError for a file that is not there; it says where to get it.

    >>> data = load("digits", seed=1)
    >>> data.train.shape, data.test.shape, data.image_shape, data.levels
    ((1257, 64), (270, 64), (8, 8), 17.0)
    >>> data = load(np.random.default_rng(0).normal(size=(50, 3)))
    >>> data.name, data.train.shape, data.validation.shape, data.test.shape
    ('array', (40, 3), (5, 3), (5, 3))
    """
    rng = np.random.default_rng(seed)
    n = n if n is None else whole("n", n)
    if not isinstance(name, (str, os.PathLike)):
        return own_array(name, rng, n, lazy_above, reading)
    name = os.fspath(name)
    if name not in NAMES and name not in STANDARD and is_own_file(name):
        return own_file(name, rng, n, lazy_above, reading, limit)
    one_of("data", name, (*NAMES, *STANDARD, "a file such as my.csv"))
    if reading is not None and reading != Reading():
        raise ValueError(f"`reading` is for data of your own; {name!r} is read as published")
    if name in STANDARD:
        return load_standard(name, rng, n, data_dir)
    if name != "digits":
        n = 10_000 if n is None else n
        held_out = max(n // 5, 1)
        X = toy(name.removeprefix("toy:"), n + 2 * held_out, rng)
        return _split(name, X, (n, n + held_out), (), rng)
    if n is not None:
        raise ValueError(f"`n` must be None for digits, which are 1797 images, got {n}")
    X = rng.permutation(digits())
    return _split(name, X, (1257, 1527), (Dequantise(LEVELS), Logit()), rng, LEVELS, IMAGE_SHAPE)


def _split(
    name: str,
    X: Batch,
    cuts: tuple[int, int],
    fixed: tuple[Transform, ...],
    rng: np.random.Generator,
    levels: float | None = None,
    image_shape: tuple[int, int] | None = None,
) -> Dataset:
    """Cut X in three; apply the `fixed` transforms, then Standardise as fitted to the first part.

    Standardise needs the noise of the training rows, so the noise is drawn before the chain is
    known, once for each part.
    """
    parts = [Chain(fixed).forward_with_log_det(part, rng) for part in np.split(X, cuts)]
    standardise = Standardise.fit(parts[0][0])
    Zs = [standardise.forward(Y) for Y, _ in parts]
    log_det = {
        split: before + standardise.log_det(Y)
        for split, (Y, before) in zip(SPLITS, parts, strict=True)
    }
    chain = Chain((*fixed, standardise))
    return Dataset(name, Zs[0], Zs[1], Zs[2], log_det, chain, levels, image_shape)
