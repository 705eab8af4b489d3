"""The records of the wing: raw rows as a source holds them, and the data set made of them.

Columns that a model is given stand behind the others in a row, standardised:

    log p(x | u) = log p_model(z | v) + log |d z / d x|      v = (u - mean) / std

A row of model space is (z, v), D + c columns. What is given has no density, and so no log-det.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..core.brief import brief
from .rows import Batch, Columns, chunks
from .transforms import Chain, Standardise

SPLITS = ("train", "validation", "test")


@brief
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


@brief
class GivenColumns(NamedTuple):
    """The columns of context of a model: names, None where they have none, and moments.

    >>> given = GivenColumns(("hour",), Standardise((12.0,), (7.0,)))
    >>> given.to_dict()
    {'columns': ['hour'], 'mean': [12.0], 'std': [7.0]}
    >>> GivenColumns.from_dict(given.to_dict()) == given, given.c
    (True, 1)
    """

    columns: tuple[str, ...] | None
    standardise: Standardise

    @property
    def c(self) -> int:
        """How many there are."""
        return len(self.standardise.mean)

    @property
    def names(self) -> tuple[str, ...]:
        """What they are called: u0, u1, ... where they have no names."""
        return self.columns or tuple(f"u{j}" for j in range(self.c))

    def to_dict(self) -> dict[str, Any]:
        """Return what a model's config holds of them as `context`."""
        mean, std = self.standardise.mean, self.standardise.std
        names = None if self.columns is None else list(self.columns)
        return {"columns": names, "mean": list(mean), "std": list(std)}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> Self:
        """Return what `to_dict` wrote; ValueError for what does not fit."""
        standardise, names = Standardise(record["mean"], record["std"]), record["columns"]
        if names is not None and len(names) != len(standardise.mean):
            raise ValueError(f"it names {len(names)} of {len(standardise.mean)} given columns")
        return cls(None if names is None else tuple(map(str, names)), standardise)


def forward_given(
    chain: Chain, given: GivenColumns | None, X: Any, rng: np.random.Generator | None = None
) -> tuple[Batch, Batch]:
    """Return rows (N, D + c) of model space, and log |d z / d x| (N,), of rows (x, u) of data.

    >>> chain = Chain((Standardise((0.0,), (2.0,)),))
    >>> Z, log_det = forward_given(chain, GivenColumns(None, Standardise((5.0,), (1.0,))), [[4, 6]])
    >>> Z, log_det.round(3)
    (array([[2., 1.]]), array([-0.693]))
    """
    if given is None:
        return chain.forward_with_log_det(X, rng)
    X = np.asarray(X)
    D = X.shape[1] - given.c
    Z, log_det = chain.forward_with_log_det(X[:, :D], rng)
    return np.concatenate([Z, given.standardise.forward(X[:, D:])], axis=1), log_det


def first_columns(chain: Chain, D: int) -> Chain:
    """Return a chain of bounds and moments for its first D columns alone.

    >>> first_columns(Chain((Standardise((0.0, 1.0), (2.0, 3.0)),)), 1)
    Chain(transforms=(Standardise(mean=(0.0,), std=(2.0,)),))
    """
    cut = []
    for one in chain.transforms:
        fields = vars(one)
        cut.append(type(one)(**{name: value[:D] for name, value in fields.items()}))
    return Chain(tuple(cut))


@brief
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
