"""The curvature of a layer inside a net: its Fisher information, solved in a chart.

For a move u -> (I + eps) u + t of a layer's centred outputs, with A = E u u', B = E delta delta',
and fourth moments closed as those of Gaussians are,

    F(eps) = B eps A + eps',      F(t) = B t

With context u are residuals of the regression of outputs on it, and T^ (D, c + 1) stands for t,
see `frame`. They are uncorrelated, E u^ u^' = I, and F(T^) = B T^.

The transposition is that of K-FAC's missing part: log|det(I + eps)|. tr(eps^2) keeps its value when
eps is conjugated, so there are coordinates in which A is the identity and B diagonal, and then only
pairs E_ij, E_ji are coupled.
"""

from typing import NamedTuple

from ...core.arrays import Array, namespace
from ...core.context import as_columns
from .lbfgs import Precondition

DAMPING = 0.1  # mu, beside lam, which is 1 of a unit that the model describes
LEAST = 1.0  # of lam: below, a pair has no positive curvature


class JointChart(NamedTuple):
    """T (D, D), its inverse, and lam (D,): T A T' = I, inv(T)' B inv(T) = diag(lam).

    >>> JointChart("T", "V", "lam").lam
    'lam'
    """

    T: Array
    V: Array
    lam: Array


def joint_chart(A: Array, B: Array) -> JointChart:
    """Return the chart in which A (D, D) is the identity and B (D, D) diagonal.

        A = P S P',   S^(1/2) P' B P S^(1/2) = Q diag(lam) Q',   T = Q' S^(-1/2) P'

    Eigenvalues of A that rounding drowns count as eps of the largest. Cost: two
    eigendecompositions.

    >>> import numpy as np
    >>> chart = joint_chart(np.diag([4.0, 1.0]), np.diag([1.0, 3.0]))
    >>> chart.lam
    array([3., 4.])
    """
    xp = namespace(A, "A")
    S, P = xp.linalg.eigh(A)
    tiny = float(xp.finfo(A.dtype).eps) * xp.max(S) + float(xp.finfo(A.dtype).smallest_normal)
    root = xp.sqrt(xp.maximum(S, xp.zeros_like(S) + tiny))  # (D,)
    left = P * root  # (D, D), P S^(1/2)
    lam, Q = xp.linalg.eigh(left.T @ B @ left)
    return JointChart(Q.T @ (P / root).T, left @ Q, lam)


def solved(chart: JointChart, G: Array, g: Array, mu: float, least: float) -> tuple[Array, Array]:
    """Return eps (D, D) and t, like g, of (F + mu) (eps, t) = (G, g), lam raised to `least`.

        E_ij = ((lam_j + mu) G_ij - G_ji) / ((lam_i + mu) (lam_j + mu) - 1),  G in the chart
        t_i  = g_i / (lam_i + mu)

    back from the chart: eps = inv(T) E T. The diagonal obeys the same formula, E_ii = G_ii /
    (lam_i + mu + 1). g is (D,), or (D, c + 1) with context. Cost: four products
    (D, D) x (D, D).

    >>> import numpy as np
    >>> one = JointChart(np.eye(1), np.eye(1), np.full(1, 2.0))
    >>> solved(one, np.full((1, 1), 3.0), np.ones(1), 0.0, 1.0)
    (array([[1.]]), array([0.5]))
    """
    xp = namespace(G, "G")
    T, V, lam = chart
    d = xp.maximum(lam, xp.zeros_like(lam) + least) + mu  # (D,)
    G_T = V.T @ (G @ T.T)  # (D, D)
    E = (d[None, :] * G_T - G_T.T) / (d[:, None] * d[None, :] - 1)
    return V @ (E @ T), V @ ((V.T @ g) / (d if g.ndim == 1 else d[:, None]))


def fisher(charts: list[JointChart], mu: float = DAMPING) -> Precondition:
    """Return the inverse of F + mu of each layer, over L, of xi~ (L, D, D + c + 1).

    The L: moves of layers that agree add up, so their common direction has L times the curvature.

    >>> import numpy as np
    >>> charts = [JointChart(np.eye(1), np.eye(1), np.ones(1))]
    >>> fisher(charts)(np.array([[[2.1, 1.1]]]))
    array([[[1., 1.]]])
    """

    def solve(v: Array) -> Array:
        xp, (L, D, columns) = namespace(v, "v"), v.shape
        parts = []
        for k, chart in enumerate(charts):
            g = v[k, :, D] if columns == D + 1 else v[k, :, D:]
            eps, t = solved(chart, v[k, :, :D], g, mu, LEAST)
            parts.append(xp.concat([eps, as_columns(t)], axis=1) / L)  # (D, D + c + 1)
        return xp.stack(parts)

    return solve
