"""The curvature of one layer: units couple in pairs only, so that it is solved in closed form.

For a move u -> (I + E) u + t of the centred outputs, y = m + u, the curvature of minus the mean
log-likelihood couples E_ij with E_ji, and E_ii with t_i, as far as outputs are independent:

    [[h_ij, 1], [1, h_ji]]      h_ij = k_i E u_j^2,  k_i = E psi'_i,  psi = -score
    [[h_ii + 1, c_i], [c_i, k_i]]      h_ii = E psi'_i u_i^2,  c_i = E psi'_i u_i

With context u are residuals of the regression of outputs on it, and a row of T^ (D, c + 1) stands
for t_i, see `frame`. As far as outputs are independent of the context, too, E psi'_i u^ u^' is
k_i I, and E psi'_i u_i u^ is c_i for the 1 and 0 for the others: each of these has the curvature
k_i, and is coupled to none.

Source: Ablin, Cardoso & Gramfort (2018), "Faster independent component analysis by preconditioning
with Hessian approximations", here with the bias in the group.
"""

from typing import NamedTuple

from ...core.arrays import Array, namespace
from ...core.numerics import eye
from .lbfgs import Precondition

LEAST = 0.01  # eigenvalues of the 2 x 2 blocks are raised to it


class PairMoments(NamedTuple):
    """Of each unit, (D,): k = E psi', c = E psi' u, own = E psi' u^2, variance = E u^2, E psi^2.

    >>> PairMoments(1.0, 0.0, 1.0, 1.0, 1.0).c
    0.0
    """

    k: Array
    c: Array
    own: Array
    variance: Array
    information: Array


def settled(moments: PairMoments) -> PairMoments:
    """Put E psi^2 where E psi' is below LEAST: the two are equal where the model is right.

    So a Laplace base has k = 1, although its psi' is 0 almost everywhere: the mass of psi' is at
    the kink, where no row is. Its own moments, E psi' u and E psi' u^2, vanish in the model, too.

    >>> import numpy as np
    >>> zero, one = np.zeros(1), np.ones(1)
    >>> settled(PairMoments(zero, zero, zero, 2 * one, one)).k
    array([1.])
    """
    xp = namespace(moments.k, "k")
    return moments._replace(k=xp.where(moments.k >= LEAST, moments.k, moments.information))


def pairwise(moments: PairMoments) -> Precondition:
    """Return the inverse of the 2 x 2 blocks, of xi~ = [G, g], (1, D, D + c + 1).

        E_ij = (h_ji G_ij - G_ji) / (h_ij h_ji - 1)

    where the smaller eigenvalue of a block is below 0.01, its diagonal is raised by the difference,
    so that all blocks are positive. Cost: O(D^2).

    >>> import numpy as np
    >>> one = np.ones(2)
    >>> solved = pairwise(PairMoments(2 * one, 0 * one, 2 * one, one, one))  # [[2, 1], [1, 2]]
    >>> solved(np.array([[[0.0, 3.0, 4.0], [0.0, 3.0, 0.0]]]))
    array([[[ 0.,  2.,  2.],
            [-1.,  1.,  0.]]])
    """
    xp = namespace(moments.k, "k")
    k, c, own, variance, _ = settled(moments)
    H = k[:, None] * variance[None, :]  # (D, D), h_ij
    H = H + _missing(H, H.T, xp.ones_like(H))
    a = own + 1
    lift = _missing(a, k, c)  # (D,)
    a, k = a + lift, k + lift
    I = eye(xp, H)  # noqa: E741
    # on the diagonal, which is solved apart, nothing is divided by 0
    below = H * H.T * (1 - I) + 2 * I - 1

    def solve(v: Array) -> Array:
        D = v.shape[1]
        G, g_u, g = v[0, :, :D], v[0, :, D:-1], v[0, :, -1]  # (D, D), (D, c), (D,)
        G_ii = xp.sum(G * I, axis=1)  # (D,)
        determinant = a * k - c * c
        E_ii, t = (k * G_ii - c * g) / determinant, (a * g - c * G_ii) / determinant
        E = (H.T * G - G.T) / below * (1 - I) + E_ii[:, None] * I
        return xp.concat([E, g_u / k[:, None], t[:, None]], axis=1)[None, ...]

    return solve


def _missing(a: Array, b: Array, c: Array) -> Array:
    """Return what the smaller eigenvalue of [[a, c], [c, b]] lacks to LEAST, elementwise."""
    xp = namespace(a, "a")
    least = (a + b - xp.sqrt((a - b) ** 2 + 4 * c * c)) / 2
    return xp.maximum(LEAST - least, xp.zeros_like(least))
