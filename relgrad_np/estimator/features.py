"""The context of a `ConditionalFlow` as numbers that the layers see: standardised features.

A layer's bias is an affine function of them. The relative gradient by its slopes has the units of
the context, so all features have mean 0 and variance 1; a feature that does not vary becomes 0.
"""

from typing import Any, Self

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_array

from ..datasets.files.frame import is_frame
from ..datasets.record import GivenColumns
from ..datasets.transforms import Standardise
from .inputs import missing_by_column, numeric

Array = Any
STILL = 1e-12  # of the largest size: a feature that varies by less is constant
OF_STILL = 1e300  # what such a feature is divided by


class ContextFeatures:
    """What makes standardised features (M, f) of a context (M, c), and what that was like in `fit`.

    names    of the columns, None where they have none
    n        c
    made_by  the fitted transformer, None where the features are the context itself
    mean, scale   arrays (f,)

    >>> made = ContextFeatures(None)
    >>> made.fit([[1.0, 7.0], [3.0, 7.0]])
    array([[-1.,  0.],
           [ 1.,  0.]])
    >>> made.of([[2.0, 8.0]])
    array([[0.e+000, 1.e-300]])
    """

    names: tuple[str, ...] | None = None
    n: int = 0

    def __init__(self, transformer: Any) -> None:
        self.made_by = None if transformer is None else clone(transformer)

    def fit(self, context: Any, weights: Array | None = None) -> Array:
        """Return the features of a context (N, c), whose moments are those of weighted rows."""
        table = self._table(context)
        self.names, self.n = names_of(context), table.shape[1]
        F = table if self.made_by is None else dense(self.made_by.fit_transform(table))
        require_finite(F)
        if weights is not None and (len(weights) != len(F) or not weights.any()):
            weights = None  # whoever asks says what is wrong
        self.mean = np.average(F, axis=0, weights=weights)
        std = np.sqrt(np.average((F - self.mean) ** 2, axis=0, weights=weights))
        self.scale = np.where(std > STILL * np.abs(F).max(axis=0), std, OF_STILL)
        return (F - self.mean) / self.scale

    def of(self, context: Any) -> Array:
        """Return the features (M, f) of a context (M, c); ValueError for other columns."""
        table = self._table(context)
        self._require_same(names_of(context), table.shape[1])
        F = table if self.made_by is None else dense(self.made_by.transform(table))
        require_finite(F)
        return (F - self.mean) / self.scale

    def to_file(self) -> GivenColumns:
        """Return what a file holds of them; ValueError where a transformer makes them."""
        if self.made_by is not None:
            raise ValueError(
                f"`features` is a {type(self.made_by).__name__}, which a model file can't hold:"
                " pickle the estimator, or make the features yourself and fit without `features`"
            )
        return GivenColumns(self.names, Standardise(tuple(self.mean), tuple(self.scale)))

    @classmethod
    def from_file(cls, given: GivenColumns) -> Self:
        """Return what `to_file` returned, as it was."""
        made = cls(None)
        made.mean, made.scale = (
            np.array(part) for part in (given.standardise.mean, given.standardise.std)
        )
        made.names, made.n = given.columns, len(made.mean)
        return made

    def _table(self, context: Any) -> Any:
        """Return the context as finite numbers (M, c), or as the transformer is to get it."""
        if context is None:
            raise ValueError("`context=` is needed: what each row of `X` is given, (N, c)")
        if self.made_by is None:
            U = numeric(context, "context")
            with missing_by_column(U, "context"):
                return check_array(U, dtype=np.float64, input_name="context")
        if is_frame(context):
            return context
        how = {"accept_sparse": True, "ensure_all_finite": False, "input_name": "context"}
        return check_array(context, dtype=None, **how)

    def _require_same(self, names: tuple[str, ...] | None, n: int) -> None:
        """Refuse columns of other names, of another order, or of another number."""
        listed = "" if self.names is None else f": {', '.join(self.names)}"
        if n != self.n:
            raise ValueError(
                f"`context` must have {self.n} column{'s' * (self.n > 1)}{listed}, got {n}"
            )
        if names is not None and self.names is not None and names != self.names:
            same = "in this order" if sorted(names) == sorted(self.names) else "of these names"
            got = ", ".join(names)
            raise ValueError(f"`context` must have columns {same}{listed}; got {got}")


def names_of(table: Any) -> tuple[str, ...] | None:
    """Return the names of a DataFrame's columns, None where they are no texts.

    >>> names_of([[1.0]])
    """
    if not is_frame(table) or not all(isinstance(name, str) for name in table.columns):
        return None
    return tuple(table.columns)


def dense(F: Any) -> Array:
    """Return features as a dense array (M, f) of float64.

    >>> dense(np.ones((2, 1), "f4")).dtype
    dtype('float64')
    """
    return np.asarray(F.toarray() if hasattr(F, "toarray") else F, dtype=np.float64)


def require_finite(F: Array) -> None:
    """Refuse what is no table (M, f) of finite features.

    >>> require_finite(np.array([[np.inf]]))
    Traceback (most recent call last):
    ValueError: `features` must make finite numbers of `context`, got inf in its column 0
    """
    if F.ndim != 2 or not F.shape[1]:
        raise ValueError(f"`features` must make a table (M, f) of `context`, got shape {F.shape}")
    bad = np.argwhere(~np.isfinite(F))
    if len(bad):
        i, j = bad[0]
        raise ValueError(
            f"`features` must make finite numbers of `context`, got {F[i, j]} in its column {j}"
        )
