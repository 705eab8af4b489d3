"""The samples that a fit is given: what is refused of them, and which rows of validation count."""

from typing import Any

from ..core.arrays import Array, check_rows, from_numpy, namespace
from ..core.network import Layers
from .batches import Staged
from .options import require_finite, weighted


def require_samples(layers: Layers, X: Array, X_val: Array | None, transformed: bool) -> None:
    """Refuse, by name, samples that do not fit the layers, or are not finite."""
    apart = transformed or isinstance(X, Staged)  # rows of another dtype, or elsewhere
    check_rows(layers, **({} if apart else {"X": X}))
    require_finite("X", X)
    if X_val is not None:
        check_rows(layers, X_val=X_val)
        require_finite("X_val", X_val)


def in_use(X_val: Array | None, sample_weight_val: Any) -> tuple[Array | None, Array | None]:
    """Return the validation rows of positive weight, and their weights (n, 1) of mean 1 or None.

    >>> import numpy as np
    >>> in_use(np.array([[1.0], [2.0], [3.0]]), [3, 0, 1])[1]
    array([[1.5],
           [0.5]])
    """
    if X_val is None or sample_weight_val is None:
        return X_val, None
    rows, weights = weighted(sample_weight_val, X_val.shape[0], "sample_weight_val")
    xp = namespace(X_val, "X_val")
    X_val = xp.take(X_val, xp.asarray(rows, device=X_val.device), axis=0)
    return X_val, None if weights is None else from_numpy(weights[rows, None], X_val)
