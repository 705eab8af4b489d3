"""What a loader returns: three splits in model space, how they came there, and what to know."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .transforms import Batch, Chain, chunks

SPLITS = ("train", "validation", "test")


class Dataset(NamedTuple):
    """Three splits (N, D) in model space, and what led there.

    `log_det[split]` (N,) is log |d model space / d data| at each row; `levels` and `image_shape`
    are None for what is not an image. If `lazy`, `train` is a memory-mapped (N, D) array of the
    file's own rows and dtype, `transforms.forward(batch)` brings a batch to model space, and
    log_det["train"] is empty. `notes` say what a reader of the results should know; `columns`
    are the names of the columns, None where there are none.

    >>> from relgrad_np.datasets import load
    >>> load("toy:sine", n=50).train.shape
    (50, 2)
    """

    name: str
    train: Any
    validation: Batch
    test: Batch
    log_det: dict[str, Batch]
    transforms: Chain
    levels: float | None
    image_shape: tuple[int, int] | None
    lazy: bool = False
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None


def forward(chain: Chain, X: Any, rng: np.random.Generator | None = None) -> tuple[Batch, Batch]:
    """Return chain.forward_with_log_det(X, rng), computed in chunks: little beyond the result.

    >>> from .transforms import Dequantise
    >>> Z, log_det = forward(Chain((Dequantise(2),)), np.array([[0], [1]]), np.random.default_rng())
    >>> (Z < [[0.5], [1]]).all(), log_det.round(4)
    (np.True_, array([-0.6931, -0.6931]))
    """
    N, D = X.shape
    Z, log_det = np.empty((N, D)), np.empty(N)
    for _, rows in chunks(N, D):
        Z[rows], log_det[rows] = chain.forward_with_log_det(X[rows], rng)
    return Z, log_det


def in_model_space(
    name: str,
    parts: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    chain: Chain,
    rng: np.random.Generator | None = None,
    *,
    levels: float | None = None,
    image_shape: tuple[int, int] | None = None,
    notes: tuple[str, ...] = (),
    columns: tuple[str, ...] | None = None,
) -> Dataset:
    """Return the Dataset of the raw splits `parts`, each brought to model space by `chain`.

    >>> X = np.array([[0.5]])
    >>> in_model_space("three rows", (X, X, X), Chain(())).test
    array([[0.5]])
    """
    done = [forward(chain, part, rng) for part in parts]
    log_det = {split: terms for split, (_, terms) in zip(SPLITS, done, strict=True)}
    return Dataset(
        name=name,
        train=done[0][0],
        validation=done[1][0],
        test=done[2][0],
        log_det=log_det,
        transforms=chain,
        levels=levels,
        image_shape=image_shape,
        notes=notes,
        columns=columns,
    )
