"""What can be said of estimated sources: their order and sign, and whether they may be trusted.

Pure functions of outputs Y (N, n) in rows, float64, or of their moments, and of `weights` (N,),
positive, or None for equal ones. Nothing depends on scale, sign or order of the columns, unless it
says so.
"""

from typing import Any, NamedTuple

import numpy as np

from ...core.arrays import Array
from ...core.curvatures import dscore_of
from ...core.densities import Density


class Standardized(NamedTuple):
    """U (N, n) of mean 0 and variance 1; the mean and the standard deviation (n,) of before.

    >>> Standardized("U", 0.0, 1.0).sd
    1.0
    """

    U: Array
    mean: Array
    sd: Array


def standardized(Y: Array, weights: Array | None = None) -> Standardized:
    """Return Y (N, n) with mean 0 and variance 1 (moments with 1/N) in each column.

    >>> standardized(np.array([[0.0], [4.0]])).U.tolist()
    [[-1.0], [1.0]]
    >>> standardized(np.array([[0.0], [4.0]]), np.array([3.0, 1.0])).mean
    array([1.])
    """
    mean = np.average(Y, axis=0, weights=weights)
    U = Y - mean
    sd = np.sqrt(np.average(U * U, axis=0, weights=weights))
    return Standardized(U / sd, mean, sd)


def fourth_order_rotation(Z: Array, weights: Array | None = None) -> Array:
    """Return a rotation (n, n) of white rows Z (N, n) that does not depend on how they are turned.

        E |z|^2 z z' = R' diag(lambda) R,  lambda falling

    It is the fourth-order blind identification of Cardoso (1989): where the sources have different
    kurtoses R unmixes them, roughly. Z Q' for an orthogonal Q gives R Q', up to signs: R Z is the
    same, so that a course that starts there does not see the mixing.

    >>> Z = np.random.default_rng(0).laplace(size=(500, 3))
    >>> Q = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    >>> R, R_turned = fourth_order_rotation(Z), fourth_order_rotation(Z @ Q.T)
    >>> bool(np.allclose(abs(Z @ R.T), abs(Z @ Q.T @ R_turned.T)))
    True
    """
    U = Z - np.average(Z, axis=0, weights=weights)
    size = np.sum(U * U, axis=1)  # (N,)
    share = size / size.mean() if weights is None else weights * size / np.mean(weights * size)
    return np.linalg.eigh((U * share[:, None]).T @ U)[1].T[::-1].copy()


class OutputMoments(NamedTuple):
    """Of each output y = u + E y, (n,): E log p(y), nats, and E u^2, E u^3, E u^4.

    >>> OutputMoments(-1.0, 1.0, 0.0, 3.0).fourth
    3.0
    """

    log_p: Array
    variance: Array
    third: Array
    fourth: Array


def output_moments(Y: Array, log_p: Array, weights: Array | None = None) -> OutputMoments:
    """Return the moments of outputs Y (N, n), and of their log-densities (N, n).

    >>> output_moments(np.array([[0.0], [4.0]]), np.zeros((2, 1))).fourth
    array([16.])
    """
    U = Y - np.average(Y, axis=0, weights=weights)
    square = U * U
    powers = (log_p, square, square * U, square * square)
    return OutputMoments(*(np.average(x, axis=0, weights=weights) for x in powers))


def nongaussianity(moments: OutputMoments) -> Array:
    """Return by how much each source is likelier than as a Gaussian of its variance, (n,), nats.

    >>> y = np.array([[-1.0], [1.0]])
    >>> nongaussianity(output_moments(y, -np.abs(y) - np.log(2))).round(3)
    array([-0.274])
    """
    found: Array = moments.log_p + 0.5 * np.log(2 * np.pi * np.e * moments.variance)
    return found


def order_and_sign(moments: OutputMoments) -> tuple[Array, Array]:
    """Return the order (n,) of sources by falling non-Gaussianity, and the sign (n,) of each.

    The sign makes the third central moment not negative. Neither depends on the mixing. Sources
    that are equally non-Gaussian, or symmetric, are told apart by the rows at hand.

    >>> U = np.array([[1.0, -1.0], [1.0, -1.0], [-2.0, 2.0]])
    >>> order_and_sign(output_moments(U, np.array([[0.1, 0.3]] * 3)))
    (array([1, 0]), array([ 1., -1.]))
    """
    order = np.argsort(-nongaussianity(moments), kind="stable")
    return order, np.where(moments.third[order] < 0, -1.0, 1.0)


def gaussian_p(moments: OutputMoments, N: float) -> Array:
    """Return the p value (n,) of Jarque and Bera's test that a source of N rows is Gaussian.

        p = exp(-J / 2),   J = N / 6 (S^2 + (K - 3)^2 / 4)

    with skewness S and kurtosis K. With weights w N is the number of rows of equal weight that know
    as much, (sum w)^2 / sum w^2. A high value means that nothing shows the source not to be
    Gaussian.

    >>> rng = np.random.default_rng(0)
    >>> Y = np.c_[rng.normal(size=1000), rng.uniform(size=1000)]
    >>> gaussian_p(output_moments(Y, Y), 1000) > 1e-3
    array([ True, False])
    """
    skewness = moments.third / moments.variance**1.5
    excess = moments.fourth / moments.variance**2 - 3
    p: Array = np.exp(-N / 12 * (skewness**2 + excess**2 / 4))
    return p


def indistinct(margin: Array, p: Array, level: float) -> list[int]:
    """Return the sources, two or more, that nothing tells apart from a mixture of one another.

    They are those whose p value is above `level`, if these are two or more: a rotation of Gaussian
    sources is as likely as they are. And those with a product of margins that is not above 1.

    >>> indistinct(np.array([2.0, 1.3, 1.2]), np.array([0.0, 0.5, 0.0]), 1e-3)
    []
    >>> indistinct(np.array([2.0, 1.3, 1.2]), np.array([0.0, 0.5, 0.4]), 1e-3)
    [1, 2]
    >>> indistinct(np.array([0.9, 1.3, 1.05]), np.array([0.0, 0.0, 0.0]), 1e-3)
    [0, 2]
    """
    flat = np.flatnonzero(p > level)
    found = set(flat.tolist()) if len(flat) > 1 else set()
    products = np.outer(margin, margin)
    np.fill_diagonal(products, np.inf)
    found |= set(np.flatnonzero((products <= 1).any(axis=1)).tolist())
    return sorted(found)


def matched(S: Array, T: Array) -> Array:
    """Return the |correlation| (n,) of each source of S (N, n) with its partner in T (N, m).

    The partners are those with the greatest sum of |correlation|; a source without one has 0.

    >>> S = np.random.default_rng(0).laplace(size=(200, 3))
    >>> matched(S, -2 * S[:, [1, 2, 0]] + 5).round(12)
    array([1., 1., 1.])
    """
    size, partner, _ = partners(S, T)
    return np.where(partner >= 0, size, 0.0)


def partners(S: Array, T: Array) -> tuple[Array, Array, Array]:
    """Return |correlation| (n,), index (n,) and sign (n,) of each source's partner in T.

    The index is -1 where T has no source left.

    >>> S = np.random.default_rng(0).laplace(size=(200, 2))
    >>> partners(S, S[:, ::-1] * [1, -1])[1:]
    (array([1, 0]), array([-1.,  1.]))
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    C = standardized(S).U.T @ standardized(T).U / len(S)  # (n, m)
    rows, columns = linear_sum_assignment(-np.abs(C))
    size, partner, sign = np.zeros(len(C)), np.full(len(C), -1), np.ones(len(C))
    size[rows], partner[rows] = np.abs(C)[rows, columns], columns
    sign[rows] = np.where(C[rows, columns] < 0, -1.0, 1.0)
    return size, partner, sign


def margins(of: Density, Y: Array) -> Array:
    """Return E psi' E u^2 / E psi u of outputs Y (N, n) under a density of score -psi, (n,).

    u are the centred outputs. Above 1 a source is stable among others of its like.

    >>> from relgrad_np import density
    >>> Y = np.random.default_rng(0).laplace(size=(1000, 1))
    >>> margins(density("sech"), Y) > 1.1, margins(density("quartic"), Y) > 1.1
    (array([ True]), array([False]))
    """
    U = Y - Y.mean(axis=0)
    psi, slope = -of.score(Y), -dscore_of(of.score, of.dscore)(Y)
    found: Array = slope.mean(axis=0) * (U * U).mean(axis=0) / (psi * U).mean(axis=0)
    return found


def random_rotation(rng: np.random.Generator, n: int) -> Any:
    """Return an orthogonal matrix (n, n), uniformly drawn.

    >>> Q = random_rotation(np.random.default_rng(0), 3)
    >>> bool(np.allclose(Q @ Q.T, np.eye(3)))
    True
    """
    Q, R = np.linalg.qr(rng.standard_normal((n, n)))
    return Q * np.sign(np.diagonal(R))
