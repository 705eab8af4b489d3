"""One compiled call for a step: at small sizes each call from Python costs as much as its work."""

import math
from typing import Any

import numpy as np

from . import charts, passes, update
from .compile import compiled, place


@compiled
def bare(
    address: Any, X: Any, W: Any, B: Any, bent: Any, a: Any, code: Any, c: Any, share: Any,
    equal: Any, scratch: Any, parts: Any, K: Any, u: Any, sizes: Any, tracks: Any, zeros: Any,
    ones: Any, eta: Any, tau: Any, kind: Any,
) -> Any:  # fmt: skip
    """Take the plain (kind 0) or exponential (1) step in place; return L_p, L_J1, L_J2, finite.

    `scratch`: see `rooms.Room`; `parts` (2, L, 2, N, D): [Y; Delta] and [A; Delta @ W]; sizes
    (3, L): eta and |K| are filled; tracks (2, L): log|det W| and its sign, moved on. Where
    something is not finite nothing but `parts`, K, u and sizes changes.
    """
    L, YD, P = len(W), parts[0], parts[1]
    Z, S, T = scratch[0], scratch[1 : 1 + max(L - 1, 1)], scratch[1 + max(L - 1, 1) :]
    L_p, L_J1 = passes.forward(
        address, place(X)[0], W, B, bent, a, code, c, share, equal, Z, YD, S, T
    )
    total = passes.backward(address, W, B, YD, P, S, T, share, zeros, K, u, sizes[1])
    L_J2 = 0.0
    for k in range(L):
        L_J2 += tracks[0, k]
        sizes[0, k] = eta
    finite = math.isfinite(L_p + L_J1 + L_J2 + total)
    if finite:
        update.step(
            address, W, B, YD, YD, 1, P, K, u, sizes[0], tau, zeros, ones, sizes[1], sizes[1],
            tracks[0], tracks[1], Z, kind,
        )  # fmt: skip
    return L_p, L_J1, L_J2, finite


@compiled
def charted(
    address: Any, X: Any, W: Any, B: Any, bent: Any, a: Any, code: Any, c: Any, share: Any,
    equal: Any, scratch: Any, parts: Any, K: Any, u: Any, sizes: Any, tracks: Any, options: Any,
    old: Any, t: Any, before: Any, moments: Any, gain: Any, tau: Any, kind: Any,
) -> Any:  # fmt: skip
    """As `bare`, the recipe's step; parts (3, L, 2, N, D): in the third, the Deltas of the charts.

    before, moments (4, L, D), if `old`: running mean, variance, information, and x in the first
    column; `moments` are the new ones; gain (L, D) is filled. `options`: see `charts.backward`.
    """
    L, YD, P, Deltas = len(W), parts[0], parts[1], parts[2]
    Z, S, T = scratch[0], scratch[1 : 1 + max(L - 1, 1)], scratch[1 + max(L - 1, 1) :]
    L_p, L_J1 = passes.forward(
        address, place(X)[0], W, B, bent, a, code, c, share, equal, Z, YD, S, T
    )
    x = np.zeros(L, B.dtype)
    if old:
        moments[:] = before
        x[:] = before[3, :, 0]
    total = charts.backward(
        address, W, B, YD, P, S, T, share, K, u, sizes[1], sizes[2], options, old, t, moments, x,
        gain, Deltas, sizes[0],
    )  # fmt: skip
    moments[3, :, 0] = x
    L_J2 = 0.0
    for k in range(L):
        L_J2 += tracks[0, k]
    finite = math.isfinite(L_p + L_J1 + L_J2 + total)
    if finite:
        update.step(
            address, W, B, YD, Deltas, 0, P, K, u, sizes[0], tau, moments[0], gain, sizes[1],
            sizes[2], tracks[0], tracks[1], Z, kind,
        )  # fmt: skip
    return L_p, L_J1, L_J2, finite
