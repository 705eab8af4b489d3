"""One factorisation of each W at the end of an epoch: determinant, sign and condition number."""

from typing import Any, NamedTuple

import numpy as np
from scipy.linalg import lapack

from ..core.arrays import check, from_numpy, to_numpy
from ..core.network import Layers
from ..core.numerics import widest
from ..core.tracking import Tracked, track

LARGEST_MOVED = 1024  # D up to which W is brought from a device to be factorised


class Factorized(NamedTuple):
    """Exact log|det W| and signs of all layers, as `Tracked`; the worst condition, its layer.

    `total`: sum of log|det W|, nats; `condition`: 1-norm, estimated, None where W stayed on a
    device.
    """

    exact: Tracked
    total: float
    condition: float | None
    layer: int | None


def factorized(layers: Layers) -> Factorized:
    """Factorise each W once, P L U in float64, and read off what an epoch's end needs.

    The condition number |W|_1 |inv(W)|_1 is LAPACK's estimate, O(D^2) once there are factors. A W
    on a device is brought to the host up to D = 1024; above, its library gives the determinant.
    Cost: L factorisations, 2/3 D^3 each.

    >>> from relgrad_np import Layer
    >>> layers = Layer(-np.eye(2), np.ones(2)), Layer(np.diag([1.0, 4.0]), np.ones(2))
    >>> found = factorized(layers)
    >>> found.exact.sign.tolist(), found.condition, found.layer
    ([1.0, 1.0], 4.0, 1)
    """
    xp = check(layers)
    D = layers[0].b.shape[0]
    if D > LARGEST_MOVED and not isinstance(layers[0].W, np.ndarray):
        exact = track(layers)
        return Factorized(exact, float(to_numpy(exact.logdet).sum()), None, None)
    found = np.array([_one(to_numpy(W)) for W, _ in layers])  # (L, 3)
    like = xp.zeros(1, dtype=widest(layers[0].W), device=layers[0].W.device)
    exact = Tracked(from_numpy(found[:, 0], like), from_numpy(found[:, 1], like), None)
    worst = int(np.argmax(found[:, 2]))  # a NaN counts as the largest
    return Factorized(exact, float(found[:, 0].sum()), float(found[worst, 2]), worst)


def _one(W: Any) -> tuple[float, float, float]:
    """Return log|det W|, the sign and the condition number of one matrix."""
    W = np.asarray(W, np.float64)
    size = np.abs(W).sum(axis=0).max()
    if not np.isfinite(size):
        return np.nan, np.nan, np.nan
    LU, pivots, _ = lapack.dgetrf(W.T)  # Fortran's order: nothing is copied to be turned
    diagonal = np.diagonal(LU)
    swaps = np.count_nonzero(pivots != np.arange(len(pivots)))
    sign = np.prod(np.sign(diagonal)) * (-1) ** swaps
    with np.errstate(divide="ignore"):
        logdet = np.log(np.abs(diagonal)).sum()
        reciprocal, _ = lapack.dgecon(LU, size, norm="I")  # of W.T: rows are columns of W
        return float(logdet), float(sign), float(1 / np.float64(reciprocal))
