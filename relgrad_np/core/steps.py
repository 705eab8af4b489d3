"""The step is multiplicative, W+ = (I + eta xi) W with xi = Delta.T @ Y + I: identity plus rank N.

So one rank-N update makes it. K, the smaller of Y @ Delta.T (N, N) and Delta.T @ Y (D, D), is all
that a bound, an exponential or a determinant needs. For N < D no (D, D) x (D, D) product occurs.
A step in a chart, affine coordinates of the output, has another metric: docs/mathematics.md.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from .arguments import each_layer, require_kind
from .arrays import Array, check, check_parts, namespace
from .brief import brief
from .context import as_bias, as_columns, each_row, require_one, scaled, times
from .full_rank import Chart, FullRank, exp_step
from .network import Deltas, Layer, Layers, Tape
from .numerics import eye, phi1, phi1_times


@brief
class Factors(NamedTuple):
    """One layer's step: Delta, Y, A = Y @ W, all (N, D), u = Y @ b + one (N,), and K (see above).

    `m` (D,): what a chart takes from b during the step, u = Y @ (b - m) + 1; else 0. `gain` (D,):
    how much of the step each unit takes, Delta has it already and the identity in xi too; else 1.
    `one`: U~ (N, c + 1) with context, else 1; u has its shape; m is (D,), or as b.

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
    one: Array = 1.0


Steps = tuple[Factors, ...]
Directions = tuple[Factors | FullRank | Layer, ...]  # one for each layer
KINDS = {Factors: ("plain", "exponential"), FullRank: ("exponential",), Layer: ("additive",)}


def factors(layers: Layers, tape: Tape, deltas: Deltas) -> Steps:
    """Return the factors of each layer's relative gradient: R_W = Delta.T @ A + W, R_b alike.

    Cost: one product (N, D) x (D, D), and K with N D min(N, D). Raises: see `arrays.check`.

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))[0].A
    array([[6.]])
    """
    check_parts(layers, Ys=tape.Ys, deltas=deltas)
    YWs = tape.YWs or tuple(Y @ W for (W, _), Y in zip(layers, tape.Ys, strict=True))
    one = require_one(layers, tape.one)
    bare = (
        Factors(Delta, Y, A, Y @ b + one, None, 0 * W[:, 0], 0 * W[:, 0] + 1, one)
        for (W, b), Y, Delta, A in zip(layers, tape.Ys, deltas, YWs, strict=True)
    )
    return tuple(with_K(f) for f in bare)


def with_K(f: Factors) -> Factors:
    """Fill in K: Y @ Delta.T (N, N) or Delta.T @ Y (D, D), the smaller one."""
    N, D = f.Y.shape
    return f if f.K is not None else f._replace(K=f.Y @ f.Delta.T if N < D else f.Delta.T @ f.Y)


def in_charts(layers: Layers, factors: Directions, charts: tuple[Chart, ...]) -> Steps:
    """Return the factors of the step in the charts U = (Y - m) S, Delta_u = Delta / S, mapped back.

    There W_u = S W, b_u = S (b - m). Back in y it is the step of (W, b - m) with U S, Delta_u / S.

    >>> import numpy as np
    >>> f = Factors(np.array([[-3.0]]), np.array([[3.0]]), None, None)
    >>> in_charts((Layer(np.eye(1), np.ones(1)),), (f,), (Chart(np.full(1, 2.0), np.ones(1)),))[0].Y
    array([[8.]])
    """
    made = []
    for (W, b), f, (S, m) in zip(layers, factors, charts, strict=True):
        if not isinstance(f, Factors):
            raise ValueError("`charts` are for factors: other directions have none, or their own")
        Y = (f.Y - times(m, f.one)) * (S * S)  # (N, D)
        u = Y @ (b - as_bias(m, b)) + f.one
        made.append(f._replace(Delta=f.Delta / (S * S), Y=Y, A=Y @ W, u=u, K=None, m=m))
    return tuple(with_K(f) for f in made)


def apply_step(
    layers: Layers,
    factors: Directions,
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
        additive     W+ = W + eta d_W,  b+ = b + eta d_b: not a step in the group

    With a gain, 1 + eta gain or e^(eta gain) stand before the brackets: still a product of two
    group elements. Factors of `in_charts` carry their m; `charts` brings plain factors there.
    Directions of full rank (`FullRank`) are stepped along exponentially, a `Layer` additively.
    Cost: one product (D, N) x (N, D); the exponential O(N^3 + N^2 D) more. It reads the size of K
    unless `bound` >= eta (|K| + 1) is given. ValueError for a bad eta or kind.

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> f = rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))  # R_W = -3 * 6 + 2 = -16
    >>> rg.apply_step(layers, f, 0.1)[0].W
    array([[0.4]])
    """
    directions = factors if charts is None else in_charts(layers, factors, charts)
    check_directions(layers, directions, ("Delta", "Y", "A"))
    etas = sizes(directions, eta, kind, len(layers))
    stepped = []
    for (W, b), f, e in zip(layers, directions, etas, strict=True):
        if isinstance(f, Layer):
            stepped.append(Layer(W + e * f.W, b + e * f.b))
        elif isinstance(f, FullRank):
            stepped.append(Layer(*exp_step(W, b, f, e, bound)))
        else:
            stepped.append(_low_rank_step(Layer(W, b), f, e, kind, bound))
    check(stepped)
    return tuple(stepped)


def _low_rank_step(layer: Layer, f: Factors, e: Array, kind: str, bound: float | None) -> Layer:
    (W, b), (c, scale), m = layer, scales(f, e, kind), as_bias(f.m, layer.b)
    if kind == "plain":
        W_1 = scale[:, None] * (W + f.Delta.T @ (c * f.A))  # (D, D)
        b_1 = scaled(scale, b - m + f.Delta.T @ (c * f.u))  # (D,)
    else:
        K, one = e * with_K(f).K, e * each_row(f.one, f.Y)  # (N,), or (N, c + 1)
        I, K_2 = eye(namespace(K, "K"), K), None if one.ndim == 1 else K @ K  # noqa: E741
        square = None if K_2 is None else K_2 + e * (2 * K + e * I)  # of K + e I
        P = phi1(K, bound, K_2).__matmul__
        P_1 = partial(phi1_times, K + e * I, bound, square=square)
        W_1 = scale[:, None] * (W + _through(P, f, e * f.A))  # (D, D)
        b_1 = scaled(scale, b - m + _through(P, f, e * (f.u - f.one))) + _through(P_1, f, one)
    return Layer(W_1, b_1 + m)


def _through(P: Callable[[Array], Array], f: Factors, F: Array) -> Array:
    """Delta.T @ P(Y @ Delta.T) @ F = P(Delta.T @ Y) @ Delta.T @ F, whichever P is the smaller."""
    return f.Delta.T @ P(F) if f.Y.shape[0] < f.Y.shape[1] else P(f.Delta.T @ F)


def sizes(directions: Directions, eta: Any, kind: str, L: int) -> list[Array]:
    """Return eta of each of L layers as an array (); ValueError where kind or number do not fit."""
    if len(directions) != L:
        raise ValueError(f"`factors` must be of {L} layers, got {len(directions)}")
    for f in directions:
        require_kind(kind, type(f).__name__, KINDS[type(f)])
    first = directions[0][0]
    xp, etas = namespace(first, "factors"), each_layer("eta", eta, L, type(first))
    return [xp.asarray(e, dtype=first.dtype, device=first.device) for e in etas]


def check_directions(layers: Layers, directions: Directions, parts: Sequence[str]) -> None:
    """Check the arrays of directions against the layers; `parts`: those of factors in use."""
    for name in parts:
        check_parts(layers, **{name: [getattr(f, name, layers[0].W[:1, :]) for f in directions]})
    for k, ((W, b), f) in enumerate(zip(layers, directions, strict=True)):
        shape = W.shape[0], W.shape[0] + as_columns(b).shape[1]
        if isinstance(f, FullRank) and f.d.shape != shape:
            raise ValueError(f"`d` of layer {k} must have shape {shape}, got {tuple(f.d.shape)}")
        if isinstance(f, Factors):
            require_one(layers, f.one)


def scales(f: Factors, eta: Array, kind: str) -> tuple[Array, Array]:
    """Return c = eta / (1 + eta), or eta, (), and the scale 1 + eta gain or e^(eta gain), (D,).

    Rounded to the working dtype, as the step and its tracker use them.
    """
    xp = namespace(f.Delta, "Delta")
    gain = xp.ones_like(f.Delta[0, :]) * f.gain
    return (eta / (1 + eta), 1 + eta * gain) if kind == "plain" else (eta, xp.exp(eta * gain))
