"""The step itself, on the device: W in place, b, and the tracked log|det W|."""

from typing import Any

import array_api_compat as compat
import cupy
import numpy as np

from ...core.numerics import eye, phi1, phi1_times
from ...core.steps import Factors
from ...core.tracking import Tracked
from ...rules.recipe import K_in_chart
from .device import SMALL, Pass, blocks_of_row, gemm, launch, sweep_blocks

Array = Any
COLUMNS, ROWS = 32, 8  # threads of a block that sums columns of Delta
KIND = {"plain": 0, "exponential": 1}


def limit_of(rule: Any) -> float:
    """Return most of eta |K|, 0 for a rule without one."""
    return float(getattr(rule, "limit", getattr(rule, "tau", 0.0)))


def move(
    step: Pass, rule: Any, f: Factors, W: Array, b: Array, out: Array, k: int, each: bool, S: Array
) -> tuple[Array, Array]:
    """Take layer k's step: W in place; return b and the scale."""
    scratch, dtype, (L, _, N, D) = step.scratch, step.dtype, step.YD.shape
    eta, c, alpha, beta = (out[2 + i * L + k : 3 + i * L + k] for i in (0, 2, 3, 4))
    kind, scale = KIND[rule.kind], beta
    if each:
        scale = cupy.empty(D, dtype)
        launch(dtype, "scales", sweep_blocks(D), eta, f.gain, kind, scale, D)
    u, other, factor, A = f.u, scratch.zeros[:D], c, f.A
    if kind == 1:
        u, other, A = _exponentiated(step, rule, f, eta[0], scale, S)
        if N >= D:  # A is P(Delta.T @ Y) @ Delta.T @ (eta A), (D, D)
            if each:
                launch(dtype, "scale_rows", D * blocks_of_row(D), A, scale, D, blocks_of_row(D))
                launch(dtype, "scale_rows", D * blocks_of_row(D), W, scale, D, blocks_of_row(D))
                W += A
            else:
                W += A
                W *= scale
    if kind == 0 or N < D:
        if each:
            F = scratch.Z  # free since the forward pass
            parts = blocks_of_row(D)
            launch(dtype, "weigh", N * parts, f.Delta, scale, c, F, N, D, parts)
            launch(dtype, "scale_rows", D * parts, W, scale, D, parts)
            gemm("T", "N", F, A, W, scratch.one, scratch.one)
        else:
            gemm("T", "N", f.Delta, A, W, alpha[0], beta[0])
    b_1 = cupy.empty(D, dtype)
    launch(
        dtype, "move_bias", -(-D // COLUMNS), scratch.finite, f.Delta, u, b, f.m, scale, int(each),
        factor, other, b_1, N, D, block=(COLUMNS, ROWS),
    )  # fmt: skip
    return b_1, scale


def _exponentiated(
    step: Pass, rule: Any, f: Factors, eta: Array, scale: Array, S: Array
) -> tuple[Array, Array, Array]:
    """Return u and the other term of b's step, and F = phi1(eta K) @ A for that of W.

    In a chart with N >= D it is S K / S whose size the cap knows: phi1 of that, brought back.
    """
    scratch, (_, _, N, D) = step.scratch, step.YD.shape
    xp, bound = compat.array_namespace(f.K), limit_of(rule)
    own = f.K if S is None else K_in_chart(f, S)
    P = phi1(eta * own, bound)
    M, more = eta * own + eta * eye(xp, own), bound + rule.learning_rate
    if N < D:
        F = scratch.F
        gemm("N", "N", P, f.A, F)
        other = f.Delta.T @ phi1_times(M, more, eta * scratch.ones[:N])
        return P @ (f.u - 1), other, F
    into = scratch.ones[:D] if S is None else S
    P = P * (into[None, :] / into[:, None])
    F = P @ (f.Delta.T @ (eta * f.A))
    other = phi1_times(M, more, into * (f.Delta.T @ (eta * scratch.ones[:N]))) / into
    own_b = P @ (f.Delta.T @ (eta * (f.u - 1)))
    return scratch.zeros[:N], other + scale * own_b, F


def follow(
    step: Pass, tracked: Tracked, out: Array, scale_of: Any, kind: int, each: bool
) -> Tracked:
    """Follow log|det W| and its sign, with the scale and c that the step used."""
    scratch, (L, _, N, D) = step.scratch, step.YD.shape
    n = min(N, D)
    scale = cupy.concatenate(scale_of) if each else out[2 + 4 * L :]
    c = out[2 + 2 * L : 2 + 3 * L]
    logdet, sign = cupy.empty(L, np.float64), cupy.empty(L, np.float64)
    way = 2 if kind == 0 and n > SMALL else kind
    launch(
        step.dtype, "track", L, step.K, c, scale, int(each), tracked.logdet, tracked.sign, way,
        scratch.M, logdet, sign, L, n, D,
    )  # fmt: skip
    if way == 2:
        logdet += cupy.stack([_log_det(step.K[k], c[k]) for k in range(L)])
    return Tracked(logdet, sign, None)


def _log_det(K: Array, c: Array) -> Array:
    """Return log det(I + c K) > -inf for |c K| <= tau < 1, by Cholesky of (I + c K)' (I + c K).

    That is positive definite, and no rows need exchanging: cuSOLVER's LU spends its time there.
    """
    M = c.astype(np.float64) * K.astype(np.float64)
    G = M.T @ M + (M + M.T) + eye(compat.array_namespace(M), M)
    return cupy.log(cupy.diagonal(cupy.linalg.cholesky(G))).sum()
