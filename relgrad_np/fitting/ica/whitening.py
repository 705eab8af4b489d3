"""Where ICA begins: rows of mean 0 and unit covariance, of as many directions as there are."""

from typing import Any, NamedTuple

import numpy as np

from ...core.arrays import Array
from ...datasets import moments
from ...datasets.rank import MARGIN, triangle

TIE = 1e-12  # added to a sum whose sign is asked for


class Whitening(NamedTuple):
    """The affine map z = K (x - mean) to white rows, float64, and what it leaves out.

    mean (D,); K (n, D); inverse (D, n): x = mean + inverse z, plus what is left out. rank: of the
    rows. rest (k, D), sd (k,): orthonormal directions that are left out although rows vary along
    them, and by how much.

    >>> white = whitening(np.array([[0.0, 1.0], [2.0, 1.0], [0.0, -1.0], [2.0, -1.0]]))
    >>> white.mean, abs(white.K).sum(), white.rank
    (array([1., 0.]), np.float64(2.0), 2)
    """

    mean: Array
    K: Array
    inverse: Array
    rank: int
    rest: Array
    sd: Array

    def deviation(self) -> float:
        """Return the root of the variance of all columns together."""
        size = float(np.abs(self.inverse).max())
        squares = np.square(self.inverse / size).sum() + np.square(self.sd / size).sum()
        return size * float(np.sqrt(squares))

    def logdet(self) -> float:
        """Return log of the volume by which K magnifies its row space, and 1 / sd the rest."""
        K, units = self.K, 0.0
        if K.shape[0] == K.shape[1]:  # columns may have units so far apart that some would be 0
            size = np.abs(K).max(axis=0)
            K, units = K / size, float(np.log(size).sum())
        s = np.linalg.svd(K, compute_uv=False)
        return float(np.log(s).sum() - np.log(self.sd).sum()) + units


def whitening(X: Array, n_components: int | None = None, weights: Array | None = None) -> Whitening:
    """Return the whitening of X (N, D), finite, to n = min(n_components, rank) directions.

    With n below the rank these are the principal directions, of largest variance in the units of
    the columns; else all, whatever the units. `weights` (N,), positive, multiply the rows. A
    direction counts as none where rows vary by rounding alone, by the dtype of X. ValueError where
    no column varies. Cost: N D^2 and D^3, some times more where the condition exceeds 1e8.
    """
    N, D = X.shape
    found = moments.moments(X, weights=weights)
    mean = (found.middle + found.mean) * found.unit
    std, none = found.std * found.unit, np.empty((0, D))
    if found.clear and (n_components is None or n_components >= D):
        root = np.sqrt(found.s)[:, None]  # (D, 1)
        K = found.V.T / root / std
        return Whitening(mean, K, (found.V.T * root * std).T, D, none, np.empty(0))
    d = X / found.unit - found.middle - found.mean  # (N, D)
    share = np.full(N, 1 / N) if weights is None else weights / weights.sum()
    Y = d * np.sqrt(share)[:, None]
    s, Vh = _directions(Y, found.std, _rounding(X, found, share))
    n, rank = n_components, len(s)
    if not rank:
        raise ValueError("`X` has no column that varies")
    if n is not None and n < rank:
        unit = found.unit / found.unit.max()  # from here on in the units of the columns
        sd, Vh = _directions(Y * unit, np.ones(D), np.zeros(D))
        sd = sd * found.unit.max()
        K, inverse = Vh[:n] / sd[:n, None], Vh[:n].T * sd[:n]
        return Whitening(mean, K, inverse, rank, Vh[n:rank], sd[n:rank])
    K = Vh / s[:, None] / found.std  # (n, D) of d
    for _ in range(2):  # the smallest variances were known to few digits
        Z = d @ K.T
        variances, V = np.linalg.eigh((Z * share[:, None]).T @ Z)
        K = (V / np.sqrt(variances)).T @ K
    Z = d @ K.T
    inverse = (d * share[:, None]).T @ Z  # (D, n)
    return Whitening(mean, K / found.unit, inverse * found.unit[:, None], rank, none, np.empty(0))


def _directions(Y: Array, std: Array, rounding: Array) -> tuple[Array, Array]:
    """Return the sd (n,), descending, and right singular vectors (n, D) of Y / std, Y (N, D).

    Those whose sd is no more than `rounding` (D,) of the columns, or of the sum, are left out.
    """
    _, s, Vh = np.linalg.svd(triangle(Y / std), full_matrices=False)
    noise = np.sqrt(((Vh * rounding / std) ** 2).sum(axis=1))
    own = float(np.finfo(np.float64).eps) * len(std) ** 0.5 * s[0] if len(s) else 0.0
    kept = s > MARGIN * (noise + own)
    return s[kept], Vh[kept] * np.sign(Vh[kept].sum(axis=1) + TIE)[:, None]


def _rounding(X: Array, found: Any, share: Array) -> Array:
    """Return how far rounding by the dtype of X moves a column x / unit, rms, (D,)."""
    size = np.sqrt(share @ np.square(X / found.unit))
    return float(np.finfo(X.dtype).eps) * size
