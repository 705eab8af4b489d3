"""Between the columns of a table and the space that a flow works in: bounds, and their log-dets.

A flow that was fitted without bounds works on the columns themselves, and nothing here is done.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..datasets.bounds import intervals
from ..datasets.files.choice import bounded
from ..datasets.transforms import Chain, Support
from ..fitting.records import Epoch
from ..rules.base import State

Array = Any


def chain_of(support: Any, X: Array, names: Any) -> Chain:
    """Return the way of rows X (N, D) to model space, as `support` asks; no step without bounds.

    ValueError, in one line, for rows on a bound or beyond it, counted by column.

    >>> chain_of({0: (0, None)}, np.array([[1.0], [1.0]]), None).support.words()
    '0 above 0'
    """
    asked = intervals(support)
    if not asked:
        return Chain(())
    columns = None if names is None else tuple(map(str, names))
    low, high = bounded("`X`", asked, columns, X.shape[1])
    return Chain((Support.fit(X, low, high, "X", columns),))


def alike(chain: Chain, other: Chain) -> bool:
    """Say whether two have the same bounds, so that layers of one can go on in the other.

    >>> alike(Chain(()), Chain(()))
    True
    """
    ends = [
        None if one.support is None else (one.support.low, one.support.high)
        for one in (chain, other)
    ]
    return ends[0] == ends[1]


def to_model(chain: Chain, X: Array, names: Any = None) -> tuple[Array, Any]:
    """Return rows X (N, D) in model space, in their dtype, and log|det dz/dx|, (N,) or 0.

    What is random on the way, the noise of a model of the command line, is drawn from seed 0.

    >>> to_model(Chain(()), np.ones((1, 2)))
    (array([[1., 1.]]), 0.0)
    """
    if not chain.transforms:
        return X, 0.0
    chain.require_inside("X", X, None if names is None else tuple(map(str, names)))
    Z, log_det = chain.forward_with_log_det(X, np.random.default_rng(0))
    return Z.astype(X.dtype), log_det


def to_data(chain: Chain, Z: Array) -> Array:
    """Return the rows (N, D) whose image is Z, in its dtype; inside all bounds in that, too.

    >>> to_data(Chain((Support((0.0,), (1.0,), (0.0,)),)), np.array([[99.0]], "f4"))
    array([[0.99999994]], dtype=float32)
    """
    if not chain.transforms:
        return Z
    with np.errstate(over="ignore"):  # of float32, as where a flow without bounds overflows
        X = chain.inverse(np.asarray(Z, np.float64)).astype(Z.dtype)
    first = chain.transforms[0]
    return first.inside(X) if isinstance(first, Support) else X


def mean_of(log_det: Any, rows: Array, weights: Any) -> float:
    """Return the weighted mean log-det of some rows, 0 for none.

    >>> mean_of(np.array([1.0, 3.0, 9.0]), np.array([0, 1]), None)
    2.0
    """
    if np.ndim(log_det) == 0 or not len(rows):
        return 0.0
    of_rows = None if weights is None else weights[rows]
    if of_rows is not None and not of_rows.any():
        return 0.0
    return float(np.average(log_det[rows], weights=of_rows))


def said(chain: Chain) -> str:
    """Return what a warning with log-likelihoods of model space is to add.

    >>> said(Chain(()))
    ''
    """
    support = chain.support
    return "" if support is None else f" (log-likelihoods of the columns' {support.maps})"


def in_data_space(
    call: Callable[[Epoch, State], Any], train: float, validation: float
) -> Callable[[Epoch, State], Any]:
    """Return a callback of `fit` that gets epochs in data space, see `moved`.

    >>> seen = []
    >>> call = in_data_space(lambda epoch, state: seen.append(epoch.train), 1.0, 0.0)
    >>> call(Epoch(1, 10, 0.1, 0.1, -3.0, None, None, 0.2), None)
    >>> seen
    [-2.0]
    """
    return lambda epoch, state: call(moved(epoch, train, validation), state)


def moved(epoch: Epoch, train: float, validation: float) -> Epoch:
    """Return an epoch in data space: the mean log-dets of both sets of rows added, in nats.

    >>> moved(Epoch(1, 10, 0.1, 0.1, -3.0, None, None, 0.2), 1.0, 0.0).train
    -2.0
    """
    if not train and not validation:
        return epoch

    def plus(value: float | None, more: float) -> float | None:
        return None if value is None else value + more

    return epoch._replace(
        train=plus(epoch.train, train),
        validation=plus(epoch.validation, validation),
        averaged=plus(epoch.averaged, validation),
    )
