"""The two records of the wing: raw rows as a source holds them, and the data set made of them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .given import GivenColumns, forward_given
from .rows import Batch, Columns, chunks
from .transforms import Chain

SPLITS = ("train", "validation", "test")


class RawTable(NamedTuple):
    """Rows as a file holds them: `train` (N, D), with the other splits if the file has them.

    `where(row, column)` says in words where an entry of `train` stands in the file.
    """

    train: NDArray[Any]
    validation: NDArray[Any] | None = None
    test: NDArray[Any] | None = None
    columns: Columns = None
    notes: tuple[str, ...] = ()
    where: Callable[[int, int], str] | None = None


class Dataset(NamedTuple):
    """Three splits (N, D) in model space, with the transforms that brought them there.

    `log_det[split]` (N,) is log |d model space / d data| at each row. `levels` and `image_shape`
    are None unless the rows are images. If `lazy`, `train` is `FileRows` or a memory-mapped array
    (N, D) of the file's own rows and dtype, `transforms.forward(batch)` brings a batch of them to
    model space, and log_det["train"] is empty. `notes` say what a reader of the results should
    know; `columns` are the names of the columns, None where they have none. With `given` columns a
    row has these, standardised, behind its D: it is (N, D + c).

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
    levels: float | None = None
    image_shape: tuple[int, int] | None = None
    lazy: bool = False
    notes: tuple[str, ...] = ()
    columns: Columns = None
    given: GivenColumns | None = None

    @property
    def c(self) -> int:
        """How many columns are given."""
        return 0 if self.given is None else self.given.c

    @property
    def D(self) -> int:
        """How many columns are modelled."""
        return int(self.test.shape[1]) - self.c

    def split(self, rows: Any) -> tuple[Any, Any]:
        """Return the columns modelled (n, D) and those given (n, c) of rows (n, D + c)."""
        return rows[:, : self.D], rows[:, self.D :]


def forward(
    chain: Chain,
    X: Any,
    rng: np.random.Generator | None = None,
    *,
    given: GivenColumns | None = None,
) -> tuple[Batch, Batch]:
    """Return `forward_given(chain, given, X, rng)`, computed in chunks to save memory.

    >>> from .transforms import Dequantise
    >>> Z, log_det = forward(Chain((Dequantise(2),)), np.array([[0], [1]]), np.random.default_rng())
    >>> (Z < [[0.5], [1]]).all(), log_det.round(4)
    (np.True_, array([-0.6931, -0.6931]))
    """
    N, D = X.shape
    Z, log_det = np.empty((N, D)), np.empty(N)
    for _, rows in chunks(N, D):
        Z[rows], log_det[rows] = forward_given(chain, given, X[rows], rng)
    return Z, log_det


def in_model_space(
    name: str,
    parts: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    chain: Chain,
    rng: np.random.Generator | None = None,
    **others: Any,
) -> Dataset:
    """Return the Dataset of the raw splits `parts`, each brought to model space by `chain`.

    `others` are further fields of the Dataset.

    >>> X = np.array([[0.5]])
    >>> in_model_space("three rows", (X, X, X), Chain(())).test
    array([[0.5]])
    """
    done = [forward(chain, part, rng) for part in parts]
    log_det = {split: terms for split, (_, terms) in zip(SPLITS, done, strict=True)}
    train, validation, test = (Z for Z, _ in done)
    return Dataset(name, train, validation, test, log_det, chain, **others)
