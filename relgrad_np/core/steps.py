"""The step is multiplicative, W+ = (I + eta xi) W with xi = Delta.T @ Y + I: identity plus rank N.

So one rank-N update makes it. K, the smaller of Y @ Delta.T (N, N) and Delta.T @ Y (D, D), is all
that a bound, an exponential or a determinant needs. For N < D no (D, D) x (D, D) product occurs.
A step may be taken in a chart, affine coordinates of the layer's output: the same group, another
metric. Derived in docs/mathematics.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from .arguments import each_layer, one_of
from .arrays import Array, check, check_parts, namespace
from .network import Deltas, Layer, Layers, Tape
from .numerics import eye, phi1, phi1_times


class Factors(NamedTuple):
    """One layer's step: Delta, Y, A = Y @ W, all (N, D), u = Y @ b + 1 (N,), and K (see above).

    `m` (D,): what a chart takes from b during the step, u = Y @ (b - m) + 1; else 0. `gain` (D,):
    how much of the step each unit takes, Delta has it already and the identity in xi too; else 1.

    >>> Factors("Delta", "Y", "A", "u", "K").A
    'A'
    """

    Delta: Array
    Y: Array
    A: Array
    u: Array
    K: Array = None
    m: Array = 0.0
    gain: Array = 1.0


Steps = tuple[Factors, ...]


class Chart(NamedTuple):
    """A chart S (y - m) of a layer's output in which its step is taken: S > 0 and m, both (D,).

    >>> Chart(S=1.0, m=0.0).S
    1.0
    """

    S: Array
    m: Array


def factors(layers: Layers, tape: Tape, deltas: Deltas) -> Steps:
    """Return the factors of each layer's relative gradient: R_W = Delta.T @ A + W, R_b alike.

    Cost: one product (N, D) x (D, D), and K with N D min(N, D). Raises: see `_array.check`.

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))[0].A
    array([[6.]])
    """
    check_parts(layers, Ys=tape.Ys, deltas=deltas)
    YWs = tape.YWs or tuple(Y @ W for (W, _), Y in zip(layers, tape.Ys, strict=True))
    parts = zip(layers, tape.Ys, deltas, YWs, strict=True)
    bare = (
        Factors(Delta, Y, A, Y @ b + 1, None, 0 * b, 0 * b + 1) for (_, b), Y, Delta, A in parts
    )
    return tuple(with_K(f) for f in bare)


def with_K(f: Factors) -> Factors:
    """Fill in K: Y @ Delta.T (N, N) or Delta.T @ Y (D, D), the smaller one."""
    N, D = f.Y.shape
    return f if f.K is not None else f._replace(K=f.Y @ f.Delta.T if N < D else f.Delta.T @ f.Y)


def in_charts(layers: Layers, factors: Steps, charts: tuple[Chart, ...]) -> Steps:
    """Return the factors of the step in the charts U = (Y - m) S, Delta_u = Delta / S, mapped back.

    There W_u = S W, b_u = S (b - m). Back in y it is the step of (W, b - m) with U S, Delta_u / S.

    >>> import numpy as np
    >>> f = Factors(np.array([[-3.0]]), np.array([[3.0]]), None, None)
    >>> in_charts((Layer(np.eye(1), np.ones(1)),), (f,), (Chart(np.full(1, 2.0), np.ones(1)),))[0].Y
    array([[8.]])
    """
    made = []
    for (W, b), f, (S, m) in zip(layers, factors, charts, strict=True):
        Y = (f.Y - m) * (S * S)  # (N, D)
        made.append(Factors(f.Delta / (S * S), Y, Y @ W, Y @ (b - m) + 1, None, m, f.gain))
    return tuple(with_K(f) for f in made)


def apply_step(
    layers: Layers,
    factors: Steps,
    eta: Any,
    *,
    kind: str = "plain",
    charts: tuple[Chart, ...] | None = None,
    bound: float | None = None,
) -> Layers:
    """Step by eta > 0 (a number, or one for each layer) along the relative gradient, upwards.

        plain        W+ = (1 + eta) (W + Delta.T @ (c A)),  c = eta / (1 + eta)
                     b+ = (1 + eta) (b + Delta.T @ (c u))
        exponential  W~+ = exp(eta xi~) W~; with K = Y @ Delta.T and phi1(M) = (e^M - 1) / M,
                     W+ = e^eta (W + Delta.T @ phi1(eta K) @ (eta A))
                     b+ = e^eta (b + Delta.T @ phi1(eta K) @ (eta (u - 1)))
                             + Delta.T @ phi1(eta (K + I)) @ (eta 1)

    With a gain, 1 + eta gain or e^(eta gain) stand before the brackets: still a product of two
    group elements. Factors of `in_charts` carry their m; `charts` brings plain factors there.
    Cost: one product (D, N) x (N, D); the exponential O(N^3 + N^2 D) more. It reads the size of K
    unless `bound` >= eta (|K| + 1) is given. ValueError for a bad eta or kind.

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> f = rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))  # R_W = -3 * 6 + 2 = -16
    >>> rg.apply_step(layers, f, 0.1)[0].W
    array([[0.4]])
    """
    factors = factors if charts is None else in_charts(layers, factors, charts)
    xp = check_parts(layers, **{p: [getattr(f, p) for f in factors] for p in Factors._fields[:3]})
    stepped = []
    for (W, b), f, (e, c, scale) in zip(layers, factors, sizes(factors, eta, kind), strict=True):
        if kind == "plain":
            W_1 = scale[:, None] * (W + f.Delta.T @ (c * f.A))  # (D, D)
            b_1 = scale * (b - f.m + f.Delta.T @ (c * f.u))  # (D,)
        else:
            K, one = e * with_K(f).K, e + 0 * f.u  # (N,)
            P, P_1 = phi1(K, bound).__matmul__, partial(phi1_times, K + e * eye(xp, K), bound)
            W_1 = scale[:, None] * (W + _through(P, f, e * f.A))  # (D, D)
            b_1 = scale * (b - f.m + _through(P, f, e * (f.u - 1))) + _through(P_1, f, one)
        stepped.append(Layer(W_1, b_1 + f.m))
    check(stepped)
    return tuple(stepped)


def _through(P: Callable[[Array], Array], f: Factors, F: Array) -> Array:
    """Delta.T @ P(Y @ Delta.T) @ F = P(Delta.T @ Y) @ Delta.T @ F, whichever P is the smaller."""
    return f.Delta.T @ P(F) if f.Y.shape[0] < f.Y.shape[1] else P(f.Delta.T @ F)


def sizes(factors: Steps, eta: Any, kind: str) -> list[tuple[Array, Array, Array]]:
    """Return eta, c = eta / (1 + eta) or eta, (), and the scale 1 + eta gain or e^(eta gain), (D,).

    Of each layer, rounded to the working dtype.
    """
    Y = factors[0].Y
    xp = namespace(Y, "Y")
    one_of("kind", kind, ("plain", "exponential"))
    etas = each_layer("eta", eta, len(factors), type(Y))
    etas = [xp.asarray(e, dtype=Y.dtype, device=Y.device) for e in etas]
    gains = [xp.ones_like(f.Delta[0, :]) * f.gain for f in factors]
    if kind == "plain":
        return [(e, e / (1 + e), 1 + e * gain) for e, gain in zip(etas, gains, strict=True)]
    return [(e, e, xp.exp(e * gain)) for e, gain in zip(etas, gains, strict=True)]


def as_factors(layer: Layer, d: Array, chart: Chart) -> Factors:
    """Return the factors of the step along d (D, D + 1) in this chart of the layer's output.

    D + 1 rows hold any direction of the group: with d = (M, t) in the chart, (S^-1 M S, S^-1 t)
    = (M_y, t_y) in y - m,

        Delta.T = [I, t_y - 1],  Y = [M_y - I; 0]:   Delta.T @ Y + I = M_y,  Delta.T @ 1 = t_y.

    >>> import numpy as np
    >>> layer, chart = Layer(np.eye(1), np.ones(1)), Chart(np.full(1, 2.0), np.zeros(1))
    >>> f = as_factors(layer, np.array([[3.0, 4.0]]), chart)
    >>> f.Delta.T @ f.Y, f.Delta.T @ np.ones(2)
    (array([[2.]]), array([2.]))
    """
    W, b = layer
    xp, (S, m) = namespace(d, "d"), chart
    identity = eye(xp, W)
    M, t = d[:, :-1] * (S[None, :] / S[:, None]) - identity, d[:, -1] / S
    Y = xp.concat([M, 0 * M[:1, :]], axis=0)  # (D + 1, D)
    Delta = xp.concat([identity, t[None, :] - 1], axis=0)  # (D + 1, D)
    return with_K(Factors(Delta, Y, Y @ W, Y @ (b - m) + 1, None, m, xp.ones_like(m)))
