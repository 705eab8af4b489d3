"""Data to fit: named sets, split and brought to model space by transforms that are recorded."""

import math
from typing import Any, NamedTuple

import numpy as np

from .._arguments import one_of, whole
from .digits import IMAGE_SHAPE, LEVELS, digits
from .toy import TOYS, toy
from .transforms import (
    Batch,
    Chain,
    Dequantise,
    Logit,
    Standardise,
    Transform,
    batch,
    bits_per_dim,
    from_dict,
)

NAMES = ("digits", *(f"toy:{name}" for name in TOYS))
SPLITS = ("train", "validation", "test")

__all__ = [
    "NAMES",
    "SPLITS",
    "TOYS",
    "Chain",
    "Dataset",
    "Dequantise",
    "Logit",
    "Standardise",
    "Transform",
    "bits_per_dim",
    "digits",
    "from_dict",
    "gaussian_log_likelihood",
    "load",
    "toy",
]


class Dataset(NamedTuple):
    """Three splits (N, D) in model space, and what led there.

    `log_det[split]` (N,) is log |d model space / d data| at each row; `levels` and `image_shape`
    are None for what is not an image.

    >>> load("toy:sine", n=50).train.shape
    (50, 2)
    """

    name: str
    train: Batch
    validation: Batch
    test: Batch
    log_det: dict[str, Batch]
    transforms: Chain
    levels: float | None
    image_shape: tuple[int, int] | None


def load(name: str, seed: int = 0, n: int | None = None) -> Dataset:
    """Return the data set `name`: "digits", or "toy:" and the name of a toy.

    digits     shuffled; 1,257 train, 270 validation, 270 test; Dequantise, Logit, Standardise
    toy:NAME   n train (10,000), n // 5 validation and as many test; Standardise

    All randomness is from `numpy.random.default_rng(seed)`; moments are those of the training
    rows. ValueError for an unknown name, or for `n` with the digits, whose number is fixed.

    >>> data = load("digits", seed=1)
    >>> data.train.shape, data.test.shape, data.image_shape, data.levels
    ((1257, 64), (270, 64), (8, 8), 17.0)
    """
    one_of("data", name, NAMES)
    rng = np.random.default_rng(seed)
    if name != "digits":
        n = 10_000 if n is None else whole("n", n)
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
    """Cut X in three; apply the `fixed` transforms, then Standardise as fitted on the first."""
    parts = [Chain(fixed).forward_with_log_det(part, rng) for part in np.split(X, cuts)]
    standardise = Standardise.fit(parts[0][0])
    Zs = [standardise.forward(Y) for Y, _ in parts]
    log_det = {
        split: before + standardise.log_det(Y)
        for split, (Y, before) in zip(SPLITS, parts, strict=True)
    }
    chain = Chain((*fixed, standardise))
    return Dataset(name, Zs[0], Zs[1], Zs[2], log_det, chain, levels, image_shape)


def gaussian_log_likelihood(train: Any, X: Any) -> Batch:
    """Return log N(x; m, C) (N,), nats, for each row of X: the baseline that a model has to beat.

    m and C are the maximum-likelihood moments (1/N) of the rows of `train`, factored by Cholesky
    after standardising, so that columns of unlike units do no harm.

    ValueError for constant columns, LinAlgError if C otherwise has not full rank (to 64 eps D).
    Cost: O(N D^2 + D^3).

    >>> import numpy as np
    >>> gaussian_log_likelihood(np.array([[-1.0], [1.0]]), np.array([[0.0], [1.0]]))
    array([-0.91893853, -1.41893853])
    """
    train = batch("train", train)
    N, D = train.shape
    X = batch("X", X, D)
    standardise = Standardise.fit(train, "train")
    Y = standardise.forward(train)  # (N, D)
    C = Y.T @ Y / N  # (D, D), a correlation matrix
    rank = int((np.linalg.eigvalsh(C) > 64 * np.finfo(float).eps * D).sum())
    if rank < D:
        raise np.linalg.LinAlgError(
            f"the covariance of `train`, {N} rows, has rank {rank}, not {D}: drop columns that"
            " depend on others, add rows or add noise"
        )
    K = np.linalg.cholesky(C)  # C = K @ K.T
    whitened = np.linalg.solve(K, standardise.forward(X).T)  # (D, N)
    log_volume = np.log(np.diag(K)).sum() + D / 2 * math.log(2 * math.pi)
    result: Batch = standardise.log_det(X) - (whitened**2).sum(axis=0) / 2 - log_volume
    return result
