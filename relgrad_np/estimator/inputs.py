"""Tables that are given to an estimator: taken, or refused by the names of their columns."""

import contextlib
import importlib
import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
from sklearn.utils.validation import validate_data

from ..datasets.columns import on_a_grid
from ..datasets.files.frame import is_frame
from ..datasets.files.missing import missing_counts
from ..datasets.rows import column_list

DTYPES = (np.float64, np.float32)


def numeric(X: Any, called: str = "X") -> Any:
    """Return X, a sparse DataFrame as a dense one; ValueError naming columns that are no numbers.

    `called`: what X is called in messages.

    >>> numeric([[1.0]])
    [[1.0]]
    """
    if isinstance(X, np.ma.MaskedArray) and np.ma.getmaskarray(X).any():
        n = int(np.ma.getmaskarray(X).any(axis=-1).sum())
        raise ValueError(
            f"`{called}` must have no missing values, but entries of {n} rows are masked: drop"
            " these rows, or fill them"
        )
    if type(X).__name__ == "LazyFrame":
        raise TypeError(f"`{called}` must hold rows, got a LazyFrame: call its collect() first")
    if isinstance(X, Iterator):
        raise TypeError(f"`{called}` must be an array of rows, got a {type(X).__name__}")
    if not is_frame(X):
        return X
    twice = [str(name) for name, n in Counter(X.columns).items() if n > 1]
    if twice:
        raise ValueError(f"`{called}` has several columns called {twice[0]!r}: rename all but one")
    wrong = {}
    for j, name in enumerate(X.columns):
        column = X.iloc[:, j] if hasattr(X, "iloc") else X.to_series(j)
        if not _is_numeric(column):
            wrong[str(name)] = str(column.dtype)
    if wrong:
        listed = ", ".join(f"{name!r} ({kind})" for name, kind in list(wrong.items())[:20])
        named = "columns=" * hasattr(X, "iloc") + repr(list(wrong)[:20])
        raise ValueError(
            f"`{called}` must hold numbers, but not so its columns {listed}: drop them by"
            f" {called}.drop({named}), or encode them"
        )
    if hasattr(X, "iloc") and any(hasattr(kind, "fill_value") for kind in X.dtypes):
        kinds = {name: kind for name, kind in X.dtypes.items() if hasattr(kind, "fill_value")}
        X = X.astype({name: kind.subtype for name, kind in kinds.items()})
    return X


def validated(
    estimator: Any, X: Any, *, reset: bool, dtypes: Any = DTYPES, ensure_min_samples: int = 1
) -> Any:
    """Return X as a finite array (N, D) of one of the dtypes, else of the first of them.

    Its columns are those of `fit`, by number and name; with `reset` they are kept as those.

    >>> from sklearn.base import BaseEstimator
    >>> validated(BaseEstimator(), [[1, 2]], reset=True)
    array([[1., 2.]])
    """
    X = numeric(X)
    with missing_by_column(X):
        return validate_data(
            estimator, X, reset=reset, dtype=dtypes, ensure_min_samples=ensure_min_samples
        )


def warn_of_grids(X: Any, names: Any, *, depth: int = 4) -> bool:
    """Warn, by column, of few whole numbers or few values in X (N, D); say whether there are any.

    A deep density of them has no best: its likelihood grows as it narrows to spikes.

    >>> warn_of_grids(np.random.default_rng(0).normal(size=(99, 2)), None)
    False
    """
    which = on_a_grid(X)
    if which:
        listed = column_list(which, None if names is None else tuple(map(str, names)))
        warnings.warn(
            f"whole numbers or few values only in columns {listed} of `X`: their likelihood has no"
            " upper bound; add uniform noise as wide as their step, as"
            " relgrad_np.datasets.load(X, reading=Reading(dequantise=True)) does",
            UserWarning,
            stacklevel=depth,
        )
    return bool(which)


def as_output(estimator: Any, X: Any) -> Any:
    """Return drawn rows X (N, D), as a DataFrame where `set_output` has asked for one.

    Its columns have the names of those that were fitted, so that it can be scored. What is asked
    for is `set_output(transform="pandas")` of the estimator, or `transform_output` of scikit-learn.

    >>> from sklearn.base import BaseEstimator
    >>> as_output(BaseEstimator(), np.ones((1, 2)))
    array([[1., 1.]])
    """
    names = getattr(estimator, "feature_names_in_", None)
    own = getattr(estimator, "_sklearn_output_config", {}).get("transform")
    kind = own or sklearn.get_config()["transform_output"]
    if names is None or kind not in ("pandas", "polars"):
        return X
    library = importlib.import_module(kind)
    return library.DataFrame({str(name): X[:, j] for j, name in enumerate(names)})


def _is_numeric(column: Any) -> bool:
    """Say whether a column holds numbers, or texts and objects that are all numbers."""
    kind = column.dtype
    try:
        if hasattr(column, "iloc"):
            import pandas as pd

            if not pd.api.types.is_numeric_dtype(kind):
                if pd.api.types.is_datetime64_any_dtype(kind):
                    return False
                column.astype(float)
        elif not kind.is_numeric():
            import polars as pl

            if kind not in (pl.String, pl.Boolean):
                return False
            column.cast(pl.Float64)
    except Exception:  # each library raises its own
        return False
    return True


@contextlib.contextmanager
def missing_by_column(X: Any, called: str = "X") -> Iterator[None]:
    """Let an error about NaN or infinity in a DataFrame count such values of each column.

    >>> with missing_by_column([[np.nan]]):
    ...     raise ValueError("Input X contains NaN.")
    Traceback (most recent call last):
    ValueError: Input X contains NaN.
    """
    try:
        yield
    except ValueError as error:
        wrong = [word for word in ("NaN", "infinity") if f"contains {word}" in str(error)]
        if not wrong or not is_frame(X):
            raise
        if wrong == ["NaN"]:
            words, remedy = "missing values", ", or fill them"
            counts = X.isna().sum() if hasattr(X, "iloc") else X.fill_nan(None).null_count().row(0)
        else:
            words, remedy = "infinite values", ""
            counts = np.isinf(np.asarray(X, dtype=np.float64)).sum(axis=0)
        listed = missing_counts(np.asarray(counts), tuple(map(str, X.columns)))
        raise ValueError(
            f"Input {called} contains {wrong[0]}, {words} by column: {listed}; drop these rows or"
            f" columns{remedy}"
        ) from None
