"""What a multiplicative step gives for free: log|det W|, its sign and inv(W), carried along.

Exactly, by Sylvester's and Woodbury's identities; the exponential step needs no determinant.
"""

from typing import Any, NamedTuple

import numpy as np

from .arrays import Array, check, detached, from_numpy, namespace
from .brief import brief
from .full_rank import FullRank, exp_inverse
from .network import Layer, Layers
from .numerics import eye, phi1, widest
from .ordinary import checked_inverse
from .steps import Directions, Factors, scales, sizes, with_K


@brief
class Tracked(NamedTuple):
    """Carried along: logdet (L,), sign (L,), `widest`; inverse, L arrays (D, D), or None.

    >>> Tracked(0.0, 1.0, None).sign
    1.0
    """

    logdet: Array
    sign: Array
    inverse: tuple[Array, ...] | None


def track(layers: Layers, *, inverse: bool = False) -> Tracked:
    """Start tracking log|det W|, its sign and, on request, inv(W); cubic in D, once.

    >>> import numpy as np, relgrad_np as rg
    >>> rg.track((rg.Layer(np.array([[-2.0]]), np.array([1.0])),)).sign
    array([-1.])
    """
    xp = check(layers)
    pairs = [xp.linalg.slogdet(xp.astype(W, widest(W))) for W, _ in layers]
    sign, logdet = (xp.stack(column) for column in zip(*pairs, strict=True))
    Vs = [checked_inverse(W, f"W of layer {k}") for k, (W, _) in enumerate(layers) if inverse]
    return Tracked(logdet, sign, tuple(Vs) or None)


def track_step(tracked: Tracked, factors: Directions, eta: Any, *, kind: str = "plain") -> Tracked:
    """Follow log|det W|, its sign and, if tracked, V = inv(W) through `apply_step`.

        plain        log|det W+| = log|det W| + D log(1 + eta) + log|det(I + c K)|
                     V+ = (V - V @ Delta.T @ c inv(I + c Y @ Delta.T) @ Y) / (1 + eta)
        exponential  log|det W+| = log|det W| + eta (D + sum(Delta * Y)); no determinant at all
                     V+ = e^-eta (V - V @ Delta.T @ eta phi1(-eta Y @ Delta.T) @ Y)
        full rank    log|det W+| = log|det W| + eta tr(M)

    with c = eta / (1 + eta), and 1 + eta, e^eta as the step rounded them. Cost: plain
    O(min(N, D)^3), exponential O(N); V: O(N D^2).

    >>> import numpy as np, relgrad_np as rg
    >>> layers, y = (rg.Layer(np.array([[2.0]]), np.array([1.0])),), np.array([[3.0]])
    >>> f = rg.factors(layers, rg.Tape((y, y), (y,)), (-y,))
    >>> bool(np.isclose(rg.track_step(rg.track(layers), f, 0.1).logdet[0], np.log(0.4)))
    True
    """
    L = tracked.logdet.shape[0]
    signs, logdets, Vs = [], [], []
    for k, (f, e) in enumerate(zip(factors, sizes(factors, eta, kind, L), strict=True)):
        V = tracked.inverse[k] if tracked.inverse else None
        before = tracked.logdet[k]
        if isinstance(f, FullRank):
            sign, logdet, V = _after_full_rank(before, V, f, e)
        elif isinstance(f, Factors):
            sign, logdet, V = _after_low_rank(before, V, f, e, kind)
        else:
            raise ValueError("`factors` must be multiplicative: no additive step can be tracked")
        xp = namespace(logdet, "logdet")
        signs.append(tracked.sign[k] * sign)
        logdets.append(logdet)
        Vs.append(V)
    return Tracked(xp.stack(logdets), xp.stack(signs), tuple(Vs) if tracked.inverse else None)


def _after_low_rank(
    before: Array, V: Array, f: Factors, e: Array, kind: str
) -> tuple[Array, Array, Array]:
    """Return by what the sign changes, the new log|det W|, and the inverse if there was one."""
    xp, (N, D), (c, scale) = namespace(f.Y, "Y"), f.Y.shape, scales(f, e, kind)
    K, c64, scale64 = (xp.astype(x, widest(x)) for x in (with_K(f).K, c, scale))
    F = f.Y if N < D else K  # V+ = (V - V @ Delta.T @ Q @ Y) / scale; Q @ K for N >= D
    if kind == "plain":
        I_cK = eye(xp, K) + c64 * K
        sign, logdet = xp.linalg.slogdet(I_cK)
        QF = F if V is None else xp.linalg.solve(I_cK, c64 * F)
    else:
        sign, logdet = xp.ones_like(c64), c64 * xp.linalg.trace(K)
        QF = F if V is None else phi1(-c64 * K) @ (c64 * F)
    if V is not None:
        QF = xp.astype(QF, f.Y.dtype)
        V = (V - ((V @ f.Delta.T) @ QF if N < D else V @ QF)) / scale  # (D, D)
    return sign, before + xp.sum(xp.log(scale64)) + logdet, V


def _after_full_rank(before: Array, V: Array, f: FullRank, e: Array) -> tuple[Array, Array, Array]:
    """Return the same of a step of full rank, which never changes a sign."""
    xp, M = namespace(f.d, "d"), f.d[:, : f.d.shape[0]]
    e64, M64 = xp.astype(e, widest(e)), xp.astype(M, widest(M))
    V = None if V is None else exp_inverse(V, f, e)
    return xp.ones_like(e64), before + e64 * xp.linalg.trace(M64), V


DRIFT = 1e-3, 1e-6  # nats that an audit lets pass, and per nat of sum log|det W|


ERROR = 1e-4  # and what it lets pass of the inverses


class Audit(NamedTuple):
    """What an audit found, and the tracker to go on with: a new one if the old was too far off.

    `drift`: tracked minus exact sum of log|det W|, nats; `error`: the root mean square of an
    element of V @ W - I times sqrt(D), from four random vectors, the worst layer's; None if no
    inverse is tracked; `refreshed`.
    """

    drift: float
    error: float | None
    refreshed: bool
    tracked: Tracked


def audit(tracked: Tracked, layers: Layers, *, exact: Tracked | None = None) -> Audit:
    """Compare what is tracked with the layers; start a new tracker where it has drifted.

    Refreshed if |drift| > 1e-3 + 1e-6 |sum log|det W||, or a sign is wrong, or the inverses' error
    is above 1e-4. `exact`: log|det W| and signs where they are known already. Cost: else L
    determinants, cubic in D; L inverses where refreshed.

    >>> import numpy as np, relgrad_np as rg
    >>> layers = (rg.Layer(2 * np.eye(2), np.ones(2)),)
    >>> tracked = rg.track(layers)
    >>> rg.audit(tracked, layers).refreshed, rg.audit(tracked._replace(sign=-1.0), layers).refreshed
    (False, True)
    """
    xp = check(layers)
    fresh, Vs = exact or track(layers), tracked.inverse
    total = float(detached(xp.sum(fresh.logdet)))
    drift = float(detached(xp.sum(tracked.logdet))) - total
    if tuple(fresh.logdet.shape) != tuple(tracked.logdet.shape):
        raise ValueError(f"`tracked` must be of {len(layers)} layers")
    pairs = [] if Vs is None else list(zip(Vs, layers, strict=True))
    error = float(np.max([_error(V, W) for V, (W, _) in pairs])) if pairs else None  # NaN stays
    good = abs(drift) <= DRIFT[0] + DRIFT[1] * abs(total)
    good = good and bool(xp.all(tracked.sign == fresh.sign)) and (error is None or error <= ERROR)
    if not good:
        fresh = track(layers, inverse=True) if Vs is not None else fresh
    return Audit(drift, error, not good, tracked if good else fresh)


def _error(V: Array, W: Array) -> float:
    """Estimate |V W - I|_F / sqrt(D) by how V @ (W @ z) differs from random z."""
    z = from_numpy(np.random.default_rng(0).standard_normal((W.shape[0], 4)), W)
    xp = check((Layer(W, W[:, 0]),))
    return float(detached(xp.sqrt(xp.mean((V @ (W @ z) - z) ** 2))))
