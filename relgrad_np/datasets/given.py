"""Columns that a model is given: they stand behind the others in a row, and are standardised.

    log p(x | u) = log p_model(z | v) + log |d z / d x|      v = (u - mean) / std

A row of model space is (z, v), D + c columns. What is given has no density, and so no log-det.
"""

from typing import Any, NamedTuple, Self

import numpy as np

from .rows import Batch
from .transforms import Chain, Standardise


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
