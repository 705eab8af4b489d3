"""Mean and covariance of rows in any units, and the affine map that whitens them.

A column may hold 1e160 beside one of 1e-160, an offset of 1e8 standard deviations, or one entry of
1e30 among ordinary ones. So columns are scaled by powers of two first, which is exact, then
centred by their median, and the covariance is taken of that.
"""

from typing import NamedTuple

import numpy as np

from ..core.arrays import Array, from_numpy, namespace, to_numpy
from ..core.numerics import widest

MIDDLE = 1000  # rows, evenly spaced, whose median is the first guess of the mean
PASSES = 8  # at most, over rows that one whitening leaves correlated


class Moments(NamedTuple):
    """First and second moments of the columns z = x / unit, |z| <= 1.

    unit    (D,)    powers of two
    middle  (D,)    a point among the rows, from which they are measured: d = z - middle
    mean    (D,)    of d
    std     (D,)    of d, with 1/N; not below what rounding makes of z
    C       (D, D)  the covariance of d / std
    s, V    (D,), (D, D): its eigenvalues, ascending, and its eigenvectors, as columns
    clear   the columns are independent beyond doubt: s and V have half of their digits or more

    >>> Moments(*range(8)).clear
    7
    """

    unit: Array
    middle: Array
    mean: Array
    std: Array
    C: Array
    s: Array
    V: Array
    clear: bool


def moments(
    X: Array, eps: float | None = None, *, common: bool = False, weights: Array | None = None
) -> Moments:
    """Return the moments of the rows of X (N, D), as wide as the device of X can compute.

    `eps` is the rounding of z = x / unit, by default that of the dtype of X; `common` gives all
    columns the same unit and std; `weights` (N,), positive, multiply the rows.
    Cost: O(N D^2 + D^3), one copy of X.

    >>> found = moments(np.array([[1e200, 5.0], [3e200, 6.0], [1e200, 7.0], [3e200, 6.0]]))
    >>> found.std * found.unit, found.s, found.clear
    (array([1.00000000e+200, 7.07106781e-001]), array([1., 1.]), True)
    """
    xp = namespace(X, "X")
    eps = float(xp.finfo(X.dtype).eps) if eps is None else eps
    unit, middle, d = from_middle(X, common)
    share = 1 / d.shape[0] if weights is None else (weights / xp.sum(weights))[:, None]
    mean = xp.mean(d, axis=0) if weights is None else xp.sum(share * d, axis=0)  # (D,)
    d -= mean
    if weights is not None:
        d *= xp.sqrt(share)
    Sigma = d.T @ d  # (D, D); one array: its product with itself is symmetric, half the work
    Sigma = Sigma if weights is not None else Sigma * share
    rounding = eps * xp.abs(middle + mean)  # (D,)
    own = xp.sqrt(xp.clip(xp.linalg.diagonal(Sigma), min=0.0))  # (D,)
    std = _positive(xp.maximum(own, rounding))
    if common:
        std = xp.max(std) + xp.zeros_like(std)
    C = Sigma / std / std[:, None]
    fine = bool(xp.all(xp.isfinite(C)))
    s, V = xp.linalg.eigh(C if fine else xp.eye(C.shape[0], dtype=C.dtype, device=C.device))
    clear = fine and bool(xp.all(own > rounding)) and _clear(s)
    return Moments(unit, middle, mean, std, C, s, V, clear)


def _clear(s: Array) -> bool:
    """Say whether the eigenvalues s, ascending, are far above what rounding makes of them."""
    eps = float(namespace(s, "s").finfo(s.dtype).eps)
    return bool(float(s[0]) > eps**0.5 * float(s[-1]))


def _positive(std: Array) -> Array:
    """Return 1 where std is 0: a column of zeros, of which no unit is known."""
    xp = namespace(std, "std")
    return xp.where(std > 0, std, xp.ones_like(std))


def from_middle(X: Array, common: bool = False) -> tuple[Array, Array, Array]:
    """Return unit (D,), middle (D,) and d = X / unit - middle (N, D), see `Moments`.

    With `common` all columns have the same unit.

    >>> from_middle(np.array([[3.0], [5.0], [4.0]]))[1:]
    (array([0.5]), array([[-0.125], [ 0.125], [ 0.   ]]))
    """
    xp, N = namespace(X, "X"), X.shape[0]
    top = to_numpy(xp.max(xp.abs(X), axis=0)).astype(np.float64)  # (D,)
    _, power = np.frexp(np.where(np.isfinite(top), top, 1.0))
    power = np.clip(np.full_like(power, power.max()) if common else power, -1020, 1020)
    wide = xp.astype(X, widest(X), copy=True)  # (N, D)
    if wide.dtype == xp.float32:
        power = np.clip(power, -125, 125)
    unit = from_numpy(np.ldexp(1.0, power), wide)
    wide *= from_numpy(np.ldexp(1.0, -power), wide)
    few = np.sort(to_numpy(wide[:: -(-N // MIDDLE), :]), axis=0)
    middle = from_numpy(few[len(few) // 2], wide)
    wide -= middle
    return unit, middle, wide


def whitening(
    X: Array, eps: float, *, common: bool = False, principal: bool = False
) -> tuple[Array, Array, Moments]:
    """Return W (D, D) and b (D,) that give the rows u = W x + b mean 0 and covariance I, 1/N.

    Of all such W this is the one nearest to dividing each column by its std,

        W = P^(-1/2) V^(-1/2),    V the variances, P the correlations of the columns

    (ZCA-cor, Kessy, Lewin & Strimmer 2018), or with `principal` W = s^(-1/2) Q' V^(-1/2), where
    P = Q s Q'. With `common` V is one number for all columns: P is then the covariance, and W
    its ZCA. Directions that rounding by `eps` drowns, as u is computed, keep a variance below 1;
    with `common` those whose std is below sqrt(eps) of the largest, so that what one layer leaves
    without variance is not magnified by each of the next.
    If one whitening leaves correlations, which a P of condition above 1e8 does, what it made is
    whitened again. Nothing here is refused; not all is finite if X or its variances are not.

    Cost: that of `moments`, for each pass; one pass where P is well conditioned.

    >>> W, b, _ = whitening(np.array([[0.0], [2e9]]), 2.0**-52)
    >>> W, b
    (array([[1.e-09]]), array([-1.]))
    """
    xp = namespace(X, "X")
    found = moments(X, eps, common=common)
    s, V, std = found.s, found.V, found.std
    if found.clear:
        W = (V / xp.sqrt(s)).T  # principal components of unit variance
        W = (W if principal else V @ W) / std
        b = -(W @ (found.middle + found.mean))
        return W / found.unit, b, found
    unit, middle, d = from_middle(X, common)
    W = _whitened_again(d, middle, (V / xp.sqrt(xp.clip(s, min=_floor(s)))).T / std, eps)
    _, r, Vh = xp.linalg.svd(W * std)  # r = s^(-1/2); the rotation that is left out, W may have
    most = eps**-0.5 if common else 1 / (16 * X.shape[1] ** 0.5 * eps)
    r = xp.clip(r, max=most)[:, None]
    W = (r * Vh if principal else Vh.T @ (r * Vh)) / std
    b = -xp.mean(d @ W.T, axis=0) - W @ middle
    return W / unit, b, found


def _floor(s: Array) -> float:
    eps = float(namespace(s, "s").finfo(s.dtype).eps)
    return float(4 * s.shape[0] * eps * float(s[-1]))


def _whitened_again(d: Array, middle: Array, W: Array, eps: float) -> Array:
    """Return W of d (N, D) such that d W' is white, or drowned by the rounding of W (d + middle).

    A whitening made of moments knows a small variance to eps of the largest one. What it makes has
    that direction alone in one column, so its own variance is accurate, and whitened next.
    """
    xp = namespace(d, "d")
    for last in (False,) * (PASSES - 1) + (True,):
        T = d @ W.T  # (N, D)
        T -= xp.mean(T, axis=0)
        own = xp.sqrt(xp.mean(T * T, axis=0))  # (D,)
        size = xp.abs(d + middle) @ xp.abs(W).T + xp.abs(W @ middle)  # (N, D), of what is summed
        std = xp.maximum(own, 4 * eps * xp.sqrt(xp.mean(size * size, axis=0)))
        std = _positive(std)
        T /= std
        W = W / std[:, None]
        C = T.T @ T / T.shape[0]  # (D, D)
        lacking = xp.clip(1 - xp.linalg.diagonal(C), min=0.0)  # what is drowned counts as noise
        s, V = xp.linalg.eigh(C + xp.eye(C.shape[0], dtype=C.dtype, device=C.device) * lacking)
        W = (V / xp.sqrt(xp.clip(s, min=_floor(s)))).T @ W
        if last or _clear(s):
            break
    return W
