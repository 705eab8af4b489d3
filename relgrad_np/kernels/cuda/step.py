"""`train_step` on a CUDA device, for CuPy arrays: the same signature and, up to rounding, results.

cuBLAS makes the products and updates W by one GEMM with beta; one kernel of `sources` does all
that comes between two products. Nothing in a step waits for the device: caps and flags are arrays
without axes there, and a rejected step is one of eta = 0 whose factors are set to 0, so that W + 0
is W. The step consumes the state that it is given, as that on CPU does, and hands what it does not
support to the reference. float32 is full: CuPy takes TF32 only if the environment says
CUPY_TF32=1.
"""

from typing import Any

import array_api_compat as compat
import cupy
import cupyx
import numpy as np

from ...core.activations import Activation
from ...core.densities import Density
from ...core.network import Layer
from ...core.steps import Factors
from ...core.trees import all_finite, keep
from ...rules import base as rules
from ...rules.adam import Adam
from ...rules.base import State, StepInfo
from ...rules.recipe import K_in_chart, Recipe, Record, weight
from ...rules.scalar import Scalar
from .. import constants
from ..supported import Backend, supports
from .device import CACHE, Pass, blocks_of_row, gemm, launch, sweep_blocks
from .update import KIND, follow, limit_of, move

Array = Any
BACKEND = Backend(cupy.ndarray, ("smooth_leaky_relu", "identity"), unknown=True)


def train_step(
    state: State,
    X: Array,
    *,
    activation: Activation,
    density: Density,
    rule: Any,
    weights: Array = None,
) -> tuple[State, StepInfo]:
    """Take one step on the batch X (N, D), as `rules.train_step`, in place, without waiting.

    Cost: 4 L - 1 products of (N, D) by (D, D) size, W read L + L times and written L times; no
    (D, D) temporary while N < D, but one for each layer with Adam. Raises as the reference.
    """
    if not supports(BACKEND, state, X, activation, density, rule, weights):
        return rules.train_step(
            state, X, activation=activation, density=density, rule=rule, weights=weights
        )
    (N, D), L, dtype = X.shape, len(state.layers), X.dtype
    scratch, n = CACHE.scratch(L, N, D, dtype), min(N, D)
    arena = cupy.empty(4 * L * N * D + L * n * n + L * N, dtype)
    YD, P = (arena[i * 2 * L * N * D :][: 2 * L * N * D].reshape(L, 2, N, D) for i in range(2))
    K = arena[4 * L * N * D :][: L * n * n].reshape(L, n, n)
    u = arena[4 * L * N * D + L * n * n :].reshape(L, N)
    share = scratch.share if weights is None else weights / N
    step = Pass(scratch, dtype, share, arena, YD, P, K, u)
    Ws = [W if W.flags.c_contiguous else cupy.ascontiguousarray(W) for W, _ in state.layers]
    if len({W.data.ptr for W in Ws}) < L:  # one array as the W of two layers
        Ws = [W.copy() for W in Ws]
    bs = [cupy.ascontiguousarray(b) for _, b in state.layers]
    with cupyx.errstate(linalg="ignore"):  # to look at cuSOLVER's status would be to wait
        _forward(step, cupy.ascontiguousarray(X), Ws, bs, activation, density)
        if isinstance(rule, Adam):
            return _adam(step, state, rule, Ws, bs)
        return _multiplicative(step, state, rule, Ws, bs)


def _forward(
    step: Pass, X: Array, Ws: Any, bs: Any, activation: Activation, density: Density
) -> None:
    """Fill Ys, the last Delta, S, T and the rows' sums of log sigma' and log p."""
    scratch, dtype, (L, _, N, D) = step.scratch, step.dtype, step.YD.shape
    alpha = constants.leaky_numbers(activation.params.get("alpha", 1.0), dtype.name)
    code, c = constants.density_numbers(density.name, density.params, dtype.name)
    Z = X
    for k, (W, b) in enumerate(zip(Ws, bs, strict=True)):
        Y = step.YD[k, 0]
        gemm("N", "T", Z, W, Y)
        if k < L - 1:
            launch(
                dtype, "leaky_sweep", N, Y, b, *alpha, scratch.Z, scratch.S[k], scratch.T[k],
                scratch.terms[k], N, D,
            )  # fmt: skip
            Z = scratch.Z
        else:
            launch(
                dtype, "density_sweep", N, Y, b, code, *c, step.share, step.YD[k, 1],
                scratch.terms[k], N, D,
            )  # fmt: skip


def _product(step: Pass, W: Array, k: int) -> None:
    """P_k = [Y; Delta] @ W_k, which reads W once, and from it the Delta of layer k - 1."""
    scratch, (_, _, N, D) = step.scratch, step.YD.shape
    rows = 2 * N if k > 0 else N
    gemm("N", "N", step.YD[k].reshape(2 * N, D)[:rows], W, step.P[k].reshape(2 * N, D)[:rows])
    if k > 0:
        launch(
            step.dtype, "delta_sweep", N * blocks_of_row(D), step.P[k, 1], scratch.S[k - 1],
            scratch.T[k - 1], step.share, step.YD[k - 1, 1], N, D, blocks_of_row(D),
        )  # fmt: skip


def _decide(step: Pass, logdet: Array, size: Array, rate: Any, rule: Any, kind: int) -> Any:
    """Return eta and the like (2 + 5 L), L_J2 and whether the step is rejected; fill `finite`."""
    scratch, dtype, (L, _, N, D) = step.scratch, step.dtype, step.YD.shape
    n = D if kind == 2 else min(N, D)
    out, wide = cupy.empty(2 + 5 * L, dtype), cupy.empty((), np.float64)
    rejected = cupy.empty((), np.bool_)
    tau, tiny = dtype.type(limit_of(rule)), dtype.type(np.finfo(dtype).tiny)
    squares = scratch.squares.reshape(-1)[: L * n]
    launch(
        dtype, "decide", 1, scratch.terms, step.share, logdet, scratch.marks, scratch.sums,
        scratch.most, squares, size, dtype.type(rate), tau, tiny, kind, L, N, n, out, wide,
        scratch.finite, rejected,
    )  # fmt: skip
    return out, wide, rejected


def _multiplicative(
    step: Pass, state: State, rule: Any, Ws: Any, bs: Any
) -> tuple[State, StepInfo]:
    """Take the plain or the exponential step, in charts if the rule is a recipe."""
    scratch, dtype, (L, _, N, D) = step.scratch, step.dtype, step.YD.shape
    n, kind = min(N, D), KIND[rule.kind]
    size, rate, after = scratch.ones, rule.learning_rate, state.rule_state
    Deltas = [step.YD[k, 1] for k in range(L)]
    ms, gains = [scratch.zeros[:D]] * L, [scratch.ones[:D]] * L
    Ss: list[Any] = [None] * L
    rows: list[Any] = [None] * L
    made: list[Any] = [None] * L
    if isinstance(rule, Recipe):
        before = after = rule.in_window(cupy, state)
    for k in range(L - 1, -1, -1):
        if isinstance(rule, Recipe):
            Deltas[k], ms[k], gains[k], Ss[k], rows[k] = _chart(step, after, rule, k)
        _product(step, Ws[k], k)
        Y, Delta, A, K = step.YD[k, 0], Deltas[k], step.P[k, 0], step.K[k]
        gemm(*(("N", "T", Y, Delta) if N < D else ("T", "N", Delta, Y)), K)
        launch(dtype, "dots", N, Y, A, bs[k], ms[k], step.u[k], scratch.marks[k], N, D)
        # elements of Delta.T @ [A, u], which move W and b, are at most this; inf makes a NaN
        most = cupy.sum(cupy.abs(Delta)) * (cupy.sum(cupy.abs(A)) + cupy.sum(cupy.abs(step.u[k])))
        scratch.marks[k, :1] += 0 * most
        f = made[k] = Factors(Delta, Y, A, step.u[k], K, ms[k], gains[k])
        own = K if Ss[k] is None else cupy.ascontiguousarray(K_in_chart(f, Ss[k]))
        squares = scratch.squares.reshape(-1)[k * n : (k + 1) * n]
        launch(dtype, "extents", 2 * n, own, scratch.sums[k], scratch.most[k], squares, n)
    if isinstance(rule, Recipe):
        x = cupy.stack([rule.measured(f, S) for f, S in zip(made, Ss, strict=True)])
        seen = rule.with_batch(cupy, after.seen, rows, x, scratch.zeros[:L])
        size, rate, after = rule.rate(cupy, after.use, seen, x, N, L), 1.0, Record(after.use, seen)
    elif isinstance(rule, Scalar):
        size, after = rule.rate(cupy, after, tuple(made))
        rate = 1.0
    if isinstance(rule, (Recipe, Scalar)):  # what is remembered must be finite, too
        size = cupy.ascontiguousarray(size.astype(dtype))
        fine = all_finite(cupy, (after, size))
        scratch.marks[0, :1] += cupy.where(fine, 0.0, cupy.nan)
    tracked = state.tracked
    logdet = scratch.wide if tracked is None else tracked.logdet
    out, L_J2, rejected = _decide(step, logdet, size, rate, rule, kind)
    count = step.arena.size
    launch(dtype, "clear_unless", sweep_blocks(count), scratch.finite, step.arena, count)
    fs, layers, scale_of = [], [], []
    each = isinstance(rule, Recipe) and rule.gains
    for k, (W, b) in enumerate(zip(Ws, bs, strict=True)):
        Delta = Deltas[k]
        if isinstance(rule, Recipe):  # charts that are not finite must not reach W
            zeros, ones = scratch.zeros[:D], scratch.ones[:D]
            Ss[k] = cupy.where(rejected, ones, Ss[k])
            ms[k], gains[k] = (cupy.where(rejected, zeros, x) for x in (ms[k], gains[k]))
            launch(dtype, "clear_unless", sweep_blocks(N * D), scratch.finite, Delta, N * D)
        f = Factors(Delta, step.YD[k, 0], step.P[k, 0], step.u[k], step.K[k], ms[k], gains[k])
        b_1, scale = move(step, rule, f, W, b, out, k, each, Ss[k])
        layers.append(Layer(W, b_1))
        scale_of.append(scale)
        fs.append(f)
    if tracked is not None:
        tracked = follow(step, tracked, out, scale_of, kind, each)
    if isinstance(rule, Recipe):
        norms = out[2 + L : 2 + 2 * L]
        norm = before.seen.norm + weight(before.seen) * (norms - before.seen.norm)
        largest = cupy.maximum(before.seen.largest, norms)
        seen = after.seen._replace(norm=norm, largest=largest)
        after = Record(after.use, seen)
    after = keep(cupy, ~rejected, after, state.rule_state)
    stepped = State(tuple(layers), after, tracked, state.t + 1)
    return stepped, _info(step, out, L_J2 if state.tracked else None, rejected, tuple(fs))


def _chart(step: Pass, record: Record, rule: Recipe, k: int) -> Any:
    """Bring layer k's Y and Delta to the recipe's chart: Y in place, Delta to memory of its own."""
    xp, Y, Delta = compat.array_namespace(step.YD), step.YD[k, 0], step.YD[k, 1]
    (S, m), gain, rows = rule.look(xp, Y, Delta, record, k)
    Delta = Delta * gain / (S * S)
    Y[...] = (Y - m) * (S * S)
    return Delta, m, gain, S, rows


def _adam(step: Pass, state: State, rule: Adam, Ws: Any, bs: Any) -> tuple[State, StepInfo]:
    """Take Adam's step: R, then whether all of it is finite, then everything in place."""
    scratch, dtype, (L, _, N, D) = step.scratch, step.dtype, step.YD.shape
    R = [(cupy.empty((D, D), dtype), cupy.empty(D, dtype)) for _ in range(L)]
    for k in range(L - 1, -1, -1):
        _product(step, Ws[k], k)
        Delta, A, u = step.YD[k, 1], step.P[k, 0], step.u[k]
        launch(
            dtype, "dots", N, step.YD[k, 0], A, bs[k], scratch.zeros[:D], u, scratch.marks[k], N, D
        )
        gemm("T", "N", Delta, A, R[k][0])
        gemm("T", "N", Delta, u.reshape(N, 1), R[k][1].reshape(D, 1))
        launch(dtype, "square_rows", D, R[k][0], Ws[k], scratch.squares[k], D)
    out, _, rejected = _decide(step, scratch.wide, scratch.ones, rule.learning_rate, rule, 2)
    before = state.rule_state
    tick, real = 1 + state.t // rule.clock, dtype.type
    rate, correction = rule.learning_rate / (1 - rule.beta1**tick), 1 / (1 - rule.beta2**tick)
    numbers = [real(x) for x in (rule.beta1, 1 - rule.beta1, rule.beta2, 1 - rule.beta2)]
    numbers += [real(x) for x in (rate, correction, rule.epsilon)]
    bs = [b.copy() for b in bs]
    for k, (m, v) in enumerate(before):
        own_b = real(rule.bias == "augmented")
        for r, own, p, m_p, v_p in (
            (R[k][0], real(1), Ws[k], m.W, v.W),
            (R[k][1], own_b, bs[k], m.b, v.b),
        ):
            launch(
                dtype, "adam", sweep_blocks(p.size), scratch.finite, r, own, p, m_p, v_p, *numbers,
                p.size,
            )  # fmt: skip
    layers = tuple(Layer(W, b) for W, b in zip(Ws, bs, strict=True))
    info = _info(step, out, None, rejected, ())
    return State(layers, before, None, state.t + 1), info


def _info(step: Pass, out: Array, L_J2: Array, rejected: Array, fs: Any) -> StepInfo:
    L = len(step.YD)
    eta, norms = (tuple(out[2 + i * L + k] for k in range(L)) for i in (0, 1))
    return StepInfo(out[0], out[1], L_J2, eta, norms, rejected, fs)
