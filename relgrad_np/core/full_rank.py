"""A direction of full rank: any element of the Lie algebra of the affine group, D x (D + 1).

The relative gradient of a batch is identity plus rank N, and its step costs a few products
(`steps`). A rule that divides it by a matrix or element by element ends with a direction
d~ = [[M, t], [0, 0]] of full rank. Its step, in the chart u = S (y - m) of the layer's output, is

    W~_u+ = exp(eta d~) W~_u,   W_u = S W,   b_u = S (b - m)

and exp(eta M) = I + phi1(eta M) eta M. The determinant is still free: log|det W| moves by
eta tr(M). The price is a few products of (D, D) matrices. With context, b and t are (D, c + 1).
"""

from typing import NamedTuple

from .arrays import Array
from .brief import brief
from .context import as_bias, scaled
from .numerics import phi1


@brief
class Chart(NamedTuple):
    """A chart S (y - m) of a layer's output in which its step is taken: S > 0 (D,), m (D,) or as b.

    >>> Chart(S=1.0, m=0.0).S
    1.0
    """

    S: Array
    m: Array


@brief
class FullRank(NamedTuple):
    """One layer's direction d = [M, t] (D, D + 1) in the chart S (y - m); S (D,), m (D,) or as b.

    >>> FullRank("d", "S", "m").d
    'd'
    """

    d: Array
    S: Array
    m: Array


def exp_step(
    W: Array, b: Array, f: FullRank, eta: Array, bound: float | None
) -> tuple[Array, Array]:
    """Return W+ and b+ of the step by eta, (), of either sign: -eta undoes the step by eta.

    `bound` >= |eta M| spares reading the size of M. Cost: about 8 products (D, D) x (D, D).

    >>> import numpy as np
    >>> f = FullRank(np.array([[np.log(2.0), 0.0]]), np.ones(1), np.zeros(1))
    >>> exp_step(np.array([[3.0]]), np.array([1.0]), f, np.asarray(1.0), None)
    (array([[6.]]), array([2.]))
    """
    D, S = W.shape[0], f.S
    M, t = f.d[:, :D], f.d[:, D] if b.ndim == 1 else f.d[:, D:]
    P = phi1(eta * M, bound)  # (D, D)
    d_W = P @ (eta * (M @ (S[:, None] * W)))  # (D, D), of W_u
    d_b = P @ (eta * (M @ scaled(S, b - as_bias(f.m, b)) + t))  # (D,), of b_u
    return W + d_W / S[:, None], b + (d_b / S if b.ndim == 1 else d_b / S[:, None])


def exp_inverse(V: Array, f: FullRank, eta: Array) -> Array:
    """Return inv(W+) = inv(W) inv(S) exp(-eta M) S, with V = inv(W).

    >>> import numpy as np
    >>> f = FullRank(np.array([[np.log(2.0), 0.0]]), np.ones(1), np.zeros(1))
    >>> exp_inverse(np.array([[0.25]]), f, np.asarray(1.0))
    array([[0.125]])
    """
    M = f.d[:, : V.shape[0]]
    return V - (((V / f.S) @ phi1(-eta * M)) @ (eta * M)) * f.S  # (D, D)
