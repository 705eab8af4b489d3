"""Charts of a layer's output, in which a relative step may be taken: u = S (y - m), S diagonal.

The group is the same, only the metric changes: with W_u = S W, b_u = S (b - m), Delta_u = inv(S)
Delta, take the plain or exponential step of (W_u, b_u) and map back. In the layer's own
coordinates that is the step of (W, b - m) with the factors of

    Y_c = (Y - m) S^2,   Delta_c = Delta / S^2,   so that Y_c @ Delta_c.T = (Y - m) @ Delta.T,

and m added to b again: nothing else to write, and log|det W| is tracked as before. S = 1, m = 0 is
the paper's step; S = 1/std(Y), m = mean(Y) is the chart in which it is least stiff: with the bias
in the group, |Y_n|^2 contains |m|^2 in the same direction for all samples.
Derived by the developers of this package.
"""

from typing import NamedTuple

from ._array import Array, check
from .multiplicative import Factors, factors
from .network import Deltas, Layer, Layers, Tape


class Chart(NamedTuple):
    """A chart u = S (y - m) of one layer's output: S (D,), positive, and m (D,).

    >>> Chart(S=1.0, m=0.0).S
    1.0
    """

    S: Array
    m: Array


def chart_factors(
    layers: Layers, tape: Tape, deltas: Deltas, charts: tuple[Chart, ...]
) -> tuple[Layers, tuple[Factors, ...]]:
    """Return the layers (W, b - m) and the factors of their step in the charts, see `unshift`.

    Cost: as `factors`, and O(N D).

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.eye(1), np.ones(1)),), np.array([[3.0]])
    >>> chart = rg.Chart(np.array([2.0]), np.array([1.0]))
    >>> shifted, f = rg.chart_factors(layers, rg.Tape((y, y), (y,)), (-y,), (chart,))
    >>> shifted[0].b, f[0].Y, f[0].Delta
    (array([0.]), array([[8.]]), array([[-0.75]]))
    """
    check(layers)
    Ys = tuple((Y - m) * (S * S) for Y, (S, m) in zip(tape.Ys, charts, strict=True))
    scaled = tuple(Delta / (S * S) for Delta, (S, _) in zip(deltas, charts, strict=True))
    shifted = tuple(Layer(W, b - m) for (W, b), (_, m) in zip(layers, charts, strict=True))
    return shifted, factors(shifted, Tape(tape.Zs, Ys), scaled)


def unshift(layers: Layers, charts: tuple[Chart, ...]) -> Layers:
    """Return (W, b + m): what `chart_factors` took from the biases.

    >>> import numpy as np, relgrad_np as rg
    >>> rg.unshift((rg.Layer(np.eye(1), np.zeros(1)),), (rg.Chart(1.0, 5.0),))[0].b
    array([5.])
    """
    return tuple(Layer(W, b + m) for (W, b), (_, m) in zip(layers, charts, strict=True))


def squared_norm(f: Factors, S: Array) -> Array:
    """|xi|_F^2 in a chart, (), xi = Delta_u.T @ U + I, by N x N matrices where N < D.

        D + 2 sum(Delta_u * U) + sum((U @ U.T) * (Delta_u @ Delta_u.T))

    Cost: 2 N^2 D for N < D, N D^2 otherwise.

    >>> import numpy as np, relgrad_np as rg
    >>> f = rg.Factors(np.array([[-1.0, 0.0]]), np.array([[1.0, 2.0]]), None, None)
    >>> squared_norm(f, np.ones(2))  # xi = [[0, -2], [0, 1]]
    np.float64(5.0)
    """
    U, Delta_u = f.Y / S, f.Delta * S  # f.Y = (Y - m) S^2, f.Delta = Delta / S^2
    xp = check((Layer(U[:1, :1], U[0, :1]),))
    N, D = U.shape
    wide = N < D
    square = xp.sum((U @ U.T) * (Delta_u @ Delta_u.T) if wide else (Delta_u.T @ U) ** 2)
    return D + 2 * xp.sum(Delta_u * U) + square
