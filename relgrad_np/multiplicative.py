"""The step is multiplicative, W+ = (I + eta xi) W with xi = Delta.T @ Y + I: identity plus rank N.

So one rank-N update makes it, and log|det W|, its sign and inv(W) can be carried along exactly.
K, the smaller of Y @ Delta.T (N, N) and Delta.T @ Y (D, D), is all that a determinant, an
exponential or a bound needs. For N < D no (D, D) x (D, D) product occurs. Derived in the README.
"""

import math
from typing import Any, NamedTuple

from ._arguments import number, one_of
from ._array import Array, check, check_parts, namespace
from ._numerics import eye, phi1
from .network import Deltas, Layer, Layers, Tape
from .ordinary import checked_inverse


class Factors(NamedTuple):
    """One layer's step: Delta, Y, A = Y @ W, all (N, D), u = Y @ b + 1 (N,), and K (see above).

    >>> Factors("Delta", "Y", "A", "u", "K").A
    'A'
    """

    Delta: Array
    Y: Array
    A: Array
    u: Array
    K: Array = None


Steps = tuple[Factors, ...]


class Tracked(NamedTuple):
    """Carried along: logdet (L,), sign (L,), both float64; inverse, L arrays (D, D), or None.

    >>> Tracked(0.0, 1.0, None).sign
    1.0
    """

    logdet: Array
    sign: Array
    inverse: tuple[Array, ...] | None


def factors(layers: Layers, tape: Tape, deltas: Deltas) -> Steps:
    """Return the factors of each layer's relative gradient: R_W = Delta.T @ A + W, R_b alike.

    Cost: one product (N, D) x (D, D), and K with N D min(N, D). Raises: see `_array.check`.

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))[0].A
    array([[6.]])
    """
    check_parts(layers, Ys=tape.Ys, deltas=deltas)
    triples = zip(layers, tape.Ys, deltas, strict=True)
    return tuple(with_K(Factors(Delta, Y, Y @ W, Y @ b + 1)) for (W, b), Y, Delta in triples)


def with_K(f: Factors) -> Factors:
    """Fill in K: Y @ Delta.T (N, N) or Delta.T @ Y (D, D), the smaller one."""
    N, D = f.Y.shape
    return f if f.K is not None else f._replace(K=f.Y @ f.Delta.T if N < D else f.Delta.T @ f.Y)


def apply_step(
    layers: Layers, factors: Steps, eta: Any, *, kind: str = "plain", bound: float | None = None
) -> Layers:
    """Step by eta > 0 (a number, or one for each layer) along the relative gradient, upwards.

        plain        W+ = (1 + eta) W + Delta.T @ (eta A)
                     b+ = (1 + eta) b + Delta.T @ (eta u)
        exponential  W~+ = exp(eta xi~) W~; with K = Y @ Delta.T and phi1(M) = (e^M - 1) / M,
                     W+ = e^eta (W + Delta.T @ phi1(eta K) @ (eta A))
                     b+ = e^eta (b + Delta.T @ phi1(eta K) @ (eta (u - 1)))
                             + Delta.T @ phi1(eta (K + I)) @ (eta 1)

    Cost: one product (D, N) x (N, D); the exponential O(N^3 + N^2 D) more. It reads the size of K
    unless `bound` >= eta (|K| + 1) is given. ValueError for a bad eta or kind.

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> f = rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))  # R_W = -3 * 6 + 2 = -16
    >>> rg.apply_step(layers, f, 0.1)[0].W
    array([[0.4]])
    """
    xp = check_parts(layers, **{p: [getattr(f, p) for f in factors] for p in Factors._fields[:3]})
    stepped = []
    for (W, b), f, (e, scale) in zip(layers, factors, _sizes(factors, eta, kind), strict=True):
        if kind == "plain":
            W_1 = scale * W + f.Delta.T @ (e * f.A)  # (D, D)
            b_1 = scale * b + f.Delta.T @ (e * f.u)  # (D,)
        else:
            K = with_K(f).K
            P, P_1 = phi1(e * K, bound), phi1(e * (K + eye(xp, K)), bound)
            W_1 = scale * (W + _through(P, f, e * f.A))  # (D, D)
            b_1 = scale * (b + _through(P, f, e * (f.u - 1))) + _through(P_1, f, e + 0 * f.u)
        stepped.append(Layer(W_1, b_1))
    check(stepped)
    return tuple(stepped)


def _through(P: Array, f: Factors, F: Array) -> Array:
    """Delta.T @ P(Y @ Delta.T) @ F = P(Delta.T @ Y) @ Delta.T @ F, whichever P is the smaller."""
    return f.Delta.T @ (P @ F) if f.Y.shape[0] < f.Y.shape[1] else P @ (f.Delta.T @ F)


def track(layers: Layers, *, inverse: bool = False) -> Tracked:
    """Start tracking log|det W|, its sign and, on request, inv(W); cubic in D, once.

    >>> import numpy as np, relgrad_np as rg
    >>> rg.track((rg.Layer(np.array([[-2.0]]), np.array([1.0])),)).sign
    array([-1.])
    """
    xp = check(layers)
    pairs = [xp.linalg.slogdet(xp.astype(W, xp.float64)) for W, _ in layers]
    sign, logdet = (xp.stack(column) for column in zip(*pairs, strict=True))
    Vs = [checked_inverse(W, f"W of layer {k}") for k, (W, _) in enumerate(layers) if inverse]
    return Tracked(logdet, sign, tuple(Vs) or None)


def track_step(tracked: Tracked, factors: Steps, eta: Any, *, kind: str = "plain") -> Tracked:
    """Follow log|det W|, its sign and, if tracked, V = inv(W) through `apply_step`.

        plain        log|det W+| = log|det W| + D log(1 + eta) + log|det(I + c K)|
                     V+ = (V - V @ Delta.T @ c inv(I + c Y @ Delta.T) @ Y) / (1 + eta)
        exponential  log|det W+| = log|det W| + eta (D + sum(Delta * Y)); no determinant at all
                     V+ = e^-eta (V - V @ Delta.T @ eta phi1(-eta Y @ Delta.T) @ Y)

    with c = eta / (1 + eta), and 1 + eta, e^eta as the step rounded them. Cost: plain
    O(min(N, D)^3), exponential O(N); V: O(N D^2).

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> f = rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))
    >>> bool(np.isclose(rg.track_step(rg.track(layers), f, 0.1).logdet[0], np.log(0.4)))
    True
    """
    signs, logdets, Vs = [], [], []
    if len(factors) != (L := tracked.logdet.shape[0]):
        raise ValueError(f"`factors` must be of all {L} layers, got {len(factors)}")
    for k, (f, (e, scale)) in enumerate(zip(factors, _sizes(factors, eta, kind), strict=True)):
        xp, (N, D) = namespace(f.Y, "Y"), f.Y.shape
        K, e64, scale64 = (xp.astype(x, xp.float64) for x in (with_K(f).K, e, scale))
        F = f.Y if N < D else K  # V+ = (V - V @ Delta.T @ Q @ Y) / scale; Q @ K for N >= D
        if kind == "plain":
            I_cK = eye(xp, K) + e64 / scale64 * K
            sign, logdet = xp.linalg.slogdet(I_cK)
            QF = xp.linalg.solve(I_cK, e64 / scale64 * F) if tracked.inverse else F
        else:
            sign, logdet = xp.ones_like(e64), e64 * xp.linalg.trace(K)
            QF = phi1(-e64 * K) @ (e64 * F) if tracked.inverse else F
        signs.append(tracked.sign[k] * sign)
        logdets.append(tracked.logdet[k] + D * xp.log(scale64) + logdet)
        if tracked.inverse:
            V, QF = tracked.inverse[k], xp.astype(QF, f.Y.dtype)
            Vs.append((V - ((V @ f.Delta.T) @ QF if N < D else V @ QF)) / scale)  # (D, D)
    return Tracked(xp.stack(logdets), xp.stack(signs), tuple(Vs) or None)


def _sizes(factors: Steps, eta: Any, kind: str) -> list[tuple[Array, Array]]:
    """Return eta and the scale 1 + eta or e^eta of each layer, (), rounded to the working dtype."""
    Y, L = factors[0].Y, len(factors)
    xp = namespace(Y, "Y")
    one_of("kind", kind, ("plain", "exponential"))
    etas = list(eta) if isinstance(eta, (tuple, list)) else [eta] * L
    if len(etas) != L or any(getattr(e, "ndim", 0) for e in etas):
        raise ValueError(f"`eta` must be a number, or a tuple of {L} numbers, one for each layer")
    etas = [e if type(e) is type(Y) else number("eta", e, 0, math.inf, "positive") for e in etas]
    etas = [xp.asarray(e, dtype=Y.dtype, device=Y.device) for e in etas]
    return [(e, 1 + e if kind == "plain" else xp.exp(e)) for e in etas]
