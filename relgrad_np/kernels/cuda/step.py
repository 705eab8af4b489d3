"""`train_step` on a CUDA device: the twin of `rules.train_step` for CuPy arrays, in place.

Products by cuBLAS, W updated by one GEMM with beta; everything between two products in one kernel
of `sources`. Nothing in a step waits for the device: caps and flags are arrays without axes there,
and a rejected step is one of eta = 0 whose factors are set to 0, so that W + 0 is W. It consumes
the state that is passed in, as `cpu` does, and hands what it does not know (`suits`) to the
reference. Full float32: CuPy asks for TF32 only where the environment names CUPY_TF32=1.
"""

import functools
import threading
from typing import Any, NamedTuple

import array_api_compat as compat
import cupy
import cupyx
import numpy as np
from cupy import cublas

from ...core.activations import Activation
from ...core.densities import Density
from ...core.network import Layer
from ...core.numerics import eye, phi1, phi1_times
from ...core.steps import Factors
from ...core.tracking import Tracked
from ...core.trees import keep
from ...rules import base as rules
from ...rules.adam import Adam
from ...rules.base import Rule, State, StepInfo
from ...rules.plain import Exponential, Plain
from ...rules.recipe import K_in_chart, Recipe, Running, Scalar
from .. import constants
from ..constants import NAMES
from . import sources
from . import stand_ins as twins

Array = Any
ROOMS = 4  # shapes for which scratch memory is kept
SMALL = 128  # (n, n) up to here one block of threads eliminates; above, cuSOLVER's Cholesky
THREADS, COLUMNS, ROWS, BLOCKS = 256, 32, 8, 4096
KIND = {"plain": 0, "exponential": 1}


@functools.cache
def _kernel(dtype: str, name: str) -> Any:
    """Return the kernel of this name, compiled by NVRTC for this dtype at its first launch."""
    return _module(dtype).get_function(name)


@functools.cache
def _module(dtype: str) -> Any:
    return cupy.RawModule(code=sources.CODE, options=sources.options(dtype))


def _launch(dtype: Any, name: str, count: int, *args: Any, block: Any = None) -> None:
    """Launch with `count` blocks, at most; Python's integers are passed as 64 bits."""
    grid = (max(1, min(count, 2**30)),)
    passed = tuple(np.int64(a) if isinstance(a, int) else a for a in args)
    _kernel(dtype.name, name)(grid, block or (THREADS,), passed)


def _sweep_blocks(count: int) -> int:
    return min(BLOCKS, -(-count // THREADS))


def _parts(D: int) -> int:
    """Return how many blocks share a row: four numbers for each thread."""
    return -(-D // (4 * THREADS))


def gemm(ta: str, tb: str, A: Array, B: Array, C: Array, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """C <- alpha op(A) @ op(B) + beta C; alpha, beta: both numbers, or both on the device."""
    cublas.gemm(ta, tb, A, B, out=C, alpha=alpha, beta=beta)


class Room(NamedTuple):
    """Scratch memory for one shape, and constants on the device."""

    Z: Array
    S: Array
    T: Array
    F: Array
    share: Array
    zeros: Array
    ones: Array
    one: Array
    wide: Array  # float64 zeros (L,)
    terms: Array
    marks: Array
    sums: Array
    most: Array
    squares: Array
    finite: Array
    M: Array


class _Rooms(threading.local):
    def __init__(self) -> None:
        self.known: dict[Any, Room] = {}

    def room(self, L: int, N: int, D: int, dtype: Any) -> Room:
        where = cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr
        key = L, N, D, dtype.char, *where
        if (found := self.known.pop(key, None)) is None:
            while len(self.known) >= ROOMS:
                del self.known[next(iter(self.known))]
            found = _made(L, N, D, dtype)
        self.known[key] = found
        return found


def _made(L: int, N: int, D: int, dtype: Any) -> Room:
    n, wide = min(N, D), np.float64
    S, T = (cupy.empty((max(L - 1, 1), N, D), dtype) for _ in range(2))
    ones = cupy.ones(max(N, D, L), dtype)
    return Room(
        Z=cupy.empty((N, D), dtype), S=S, T=T, F=cupy.empty((N, D), dtype),
        share=cupy.full(N, 1.0 / N, dtype), zeros=cupy.zeros(max(N, D), dtype), ones=ones,
        one=ones[0], wide=cupy.zeros(L, wide),
        terms=cupy.empty((L, N), wide), marks=cupy.empty((L, N), wide),
        sums=cupy.empty((L, 2 * n), wide), most=cupy.empty((L, n), wide),
        squares=cupy.empty((L, D), wide), finite=cupy.zeros(1, np.int32),
        M=cupy.empty((L, n, n) if n <= SMALL else 1, wide),
    )  # fmt: skip


ROOM = _Rooms()


class Pass(NamedTuple):
    """What a step works on; arena: YD and P (L, 2, N, D), K (L, n, n), u (L, N), side by side."""

    room: Room
    dtype: Any
    share: Array
    arena: Array
    YD: Array
    P: Array
    K: Array
    u: Array


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
    if not suits(state, X, activation, density, rule, weights):
        return rules.train_step(
            state, X, activation=activation, density=density, rule=rule, weights=weights
        )
    (N, D), L, dtype = X.shape, len(state.layers), X.dtype
    room, n = ROOM.room(L, N, D, dtype), min(N, D)
    arena = cupy.empty(4 * L * N * D + L * n * n + L * N, dtype)
    YD, P = (arena[i * 2 * L * N * D :][: 2 * L * N * D].reshape(L, 2, N, D) for i in range(2))
    K = arena[4 * L * N * D :][: L * n * n].reshape(L, n, n)
    u = arena[4 * L * N * D + L * n * n :].reshape(L, N)
    share = room.share if weights is None else weights / N
    step = Pass(room, dtype, share, arena, YD, P, K, u)
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
    room, dtype, (L, _, N, D) = step.room, step.dtype, step.YD.shape
    alpha = constants.leaky_numbers(activation.params.get("alpha", 1.0), dtype.name)
    code, c = constants.density_numbers(density.name, density.params, dtype.name)
    Z = X
    for k, (W, b) in enumerate(zip(Ws, bs, strict=True)):
        Y = step.YD[k, 0]
        gemm("N", "T", Z, W, Y)
        if k < L - 1:
            _launch(
                dtype, "leaky_sweep", N, Y, b, *alpha, room.Z, room.S[k], room.T[k],
                room.terms[k], N, D,
            )  # fmt: skip
            Z = room.Z
        else:
            _launch(
                dtype, "density_sweep", N, Y, b, code, *c, step.share, step.YD[k, 1],
                room.terms[k], N, D,
            )  # fmt: skip


def _product(step: Pass, W: Array, k: int) -> None:
    """P_k = [Y; Delta] @ W_k, which reads W once, and from it the Delta of layer k - 1."""
    room, (_, _, N, D) = step.room, step.YD.shape
    rows = 2 * N if k > 0 else N
    gemm("N", "N", step.YD[k].reshape(2 * N, D)[:rows], W, step.P[k].reshape(2 * N, D)[:rows])
    if k > 0:
        _launch(
            step.dtype, "delta_sweep", N * _parts(D), step.P[k, 1], room.S[k - 1],
            room.T[k - 1], step.share, step.YD[k - 1, 1], N, D, _parts(D),
        )  # fmt: skip


def _decide(step: Pass, logdet: Array, size: Array, rate: Any, rule: Any, kind: int) -> Any:
    """Return eta and the like (2 + 5 L), L_J2 and whether the step is rejected; fill `finite`."""
    room, dtype, (L, _, N, D) = step.room, step.dtype, step.YD.shape
    n = D if kind == 2 else min(N, D)
    out, wide = cupy.empty(2 + 5 * L, dtype), cupy.empty((), np.float64)
    rejected = cupy.empty((), np.bool_)
    tau, tiny = dtype.type(getattr(rule, "tau", 0.0)), dtype.type(np.finfo(dtype).tiny)
    squares = room.squares.reshape(-1)[: L * n]
    _launch(
        dtype, "decide", 1, room.terms, step.share, logdet, room.marks, room.sums, room.most,
        squares, size, dtype.type(rate), tau, tiny, kind, L, N, n, out, wide, room.finite,
        rejected,
    )  # fmt: skip
    return out, wide, rejected


def _multiplicative(
    step: Pass, state: State, rule: Any, Ws: Any, bs: Any
) -> tuple[State, StepInfo]:
    """Take the plain or the exponential step, in charts if the rule is a recipe."""
    room, dtype, (L, _, N, D) = step.room, step.dtype, step.YD.shape
    n, kind = min(N, D), KIND[rule.kind]
    size, rate = room.ones, rule.learning_rate
    Deltas = [step.YD[k, 1] for k in range(L)]
    ms, gains = [room.zeros[:D]] * L, [room.ones[:D]] * L
    Ss: list[Any] = [None] * L
    running: list[Any] = [None] * L
    if isinstance(rule, Recipe):
        size, rate = cupy.empty(L, dtype), 1.0
    for k in range(L - 1, -1, -1):
        charted = None
        if isinstance(rule, Recipe):
            charted = _chart(step, state, rule, k)
            Deltas[k], ms[k], gains[k], Ss[k], running[k] = charted
        _product(step, Ws[k], k)
        Y, Delta, A, K = step.YD[k, 0], Deltas[k], step.P[k, 0], step.K[k]
        gemm(*(("N", "T", Y, Delta) if N < D else ("T", "N", Delta, Y)), K)
        _launch(dtype, "dots", N, Y, A, bs[k], ms[k], step.u[k], room.marks[k], N, D)
        own = K
        if charted is not None:
            f = Factors(Delta, Y, A, step.u[k], K, ms[k], gains[k])
            own = cupy.ascontiguousarray(K_in_chart(f, Ss[k]))
            size[k], running[k] = _sized(rule, state, f, Ss[k], running[k], k, L)
        squares = room.squares.reshape(-1)[k * n : (k + 1) * n]
        _launch(dtype, "extents", 2 * n, own, room.sums[k], room.most[k], squares, n)
    tracked = state.tracked
    logdet = room.wide if tracked is None else tracked.logdet
    out, L_J2, rejected = _decide(step, logdet, size, rate, rule, kind)
    count = step.arena.size
    _launch(dtype, "clear_unless", _sweep_blocks(count), room.finite, step.arena, count)
    fs, layers, scale_of = [], [], []
    each = isinstance(rule, Recipe) and rule.information is not None
    for k, (W, b) in enumerate(zip(Ws, bs, strict=True)):
        Delta = Deltas[k]
        if isinstance(rule, Recipe):  # charts that are not finite must not reach W
            zeros, ones = room.zeros[:D], room.ones[:D]
            Ss[k] = cupy.where(rejected, ones, Ss[k])
            ms[k], gains[k] = (cupy.where(rejected, zeros, x) for x in (ms[k], gains[k]))
            _launch(dtype, "clear_unless", _sweep_blocks(N * D), room.finite, Delta, N * D)
        f = Factors(Delta, step.YD[k, 0], step.P[k, 0], step.u[k], step.K[k], ms[k], gains[k])
        b_1, scale = _move(step, rule, f, W, b, out, k, each, Ss[k])
        layers.append(Layer(W, b_1))
        scale_of.append(scale)
        fs.append(f)
    if tracked is not None:
        tracked = _tracked(step, tracked, out, scale_of, kind, each)
    if isinstance(rule, Recipe):
        running = keep(cupy, ~rejected, tuple(running), state.rule_state)
    after = State(
        tuple(layers), running if isinstance(rule, Recipe) else None, tracked, state.t + 1
    )
    return after, _info(step, out, L_J2 if state.tracked else None, rejected, tuple(fs))


def _chart(step: Pass, state: State, rule: Recipe, k: int) -> Any:
    """Bring layer k's Y and Delta to the recipe's chart: Y in place, Delta to memory of its own."""
    xp, Y = compat.array_namespace(step.YD), step.YD[k, 0]
    old = state.rule_state[k]
    chart, *moment = rule.chart(xp, Y, old)
    f, F = rule.inform(xp, Factors(step.YD[k, 1], Y, None, None), chart, old)
    S, m = chart
    Delta = f.Delta / (S * S)
    Y[...] = (Y - m) * (S * S)
    return Delta, m, xp.ones_like(m) * f.gain, S, (moment, F)


def _sized(
    rule: Recipe, state: State, f: Factors, S: Array, parts: Any, k: int, L: int
) -> tuple[Array, Running]:
    """Return the recipe's eta before the cap, and the running record."""
    (mean, variance), F = parts
    old = state.rule_state[k]
    eta, x = rule.step_size(compat.array_namespace(S), f, S, old, L)
    return eta, Running(mean, variance, x, F, old.seen + 1)


def _move(
    step: Pass, rule: Any, f: Factors, W: Array, b: Array, out: Array, k: int, each: bool, S: Array
) -> tuple[Array, Array]:
    """Take layer k's step: W in place; return b and the scale."""
    room, dtype, (L, _, N, D) = step.room, step.dtype, step.YD.shape
    eta, c, alpha, beta = (out[2 + i * L + k : 3 + i * L + k] for i in (0, 2, 3, 4))
    kind, scale = KIND[rule.kind], beta
    if each:
        scale = cupy.empty(D, dtype)
        _launch(dtype, "scales", _sweep_blocks(D), eta, f.gain, kind, scale, D)
    u, other, factor, A = f.u, room.zeros[:D], c, f.A
    if kind == 1:
        u, other, A = _exponentiated(step, rule, f, eta[0], scale, S)
        if N >= D:  # A is P(Delta.T @ Y) @ Delta.T @ (eta A), (D, D)
            if each:
                _launch(dtype, "scale_rows", D * _parts(D), A, scale, D, _parts(D))
                _launch(dtype, "scale_rows", D * _parts(D), W, scale, D, _parts(D))
                W += A
            else:
                W += A
                W *= scale
    if kind == 0 or N < D:
        if each:
            F = room.Z  # free since the forward pass
            parts = _parts(D)
            _launch(dtype, "weigh", N * parts, f.Delta, scale, c, F, N, D, parts)
            _launch(dtype, "scale_rows", D * parts, W, scale, D, parts)
            gemm("T", "N", F, A, W, room.one, room.one)
        else:
            gemm("T", "N", f.Delta, A, W, alpha[0], beta[0])
    b_1 = cupy.empty(D, dtype)
    _launch(
        dtype, "move_bias", -(-D // COLUMNS), room.finite, f.Delta, u, b, f.m, scale, int(each),
        factor, other, b_1, N, D, block=(COLUMNS, ROWS),
    )  # fmt: skip
    return b_1, scale


def _exponentiated(
    step: Pass, rule: Any, f: Factors, eta: Array, scale: Array, S: Array
) -> tuple[Array, Array, Array]:
    """Return u and the other term of b's step, and F = phi1(eta K) @ A for that of W.

    In a chart with N >= D it is S K / S whose size the cap knows: phi1 of that, brought back.
    """
    room, (_, _, N, D) = step.room, step.YD.shape
    xp, bound = compat.array_namespace(f.K), rule.tau
    own = f.K if S is None else K_in_chart(f, S)
    P = phi1(eta * own, bound)
    M, more = eta * own + eta * eye(xp, own), bound + rule.learning_rate
    if N < D:
        F = room.F
        gemm("N", "N", P, f.A, F)
        other = f.Delta.T @ phi1_times(M, more, eta * room.ones[:N])
        return P @ (f.u - 1), other, F
    into = room.ones[:D] if S is None else S
    P = P * (into[None, :] / into[:, None])
    F = P @ (f.Delta.T @ (eta * f.A))
    other = phi1_times(M, more, into * (f.Delta.T @ (eta * room.ones[:N]))) / into
    own_b = P @ (f.Delta.T @ (eta * (f.u - 1)))
    return room.zeros[:N], other + scale * own_b, F


def _tracked(
    step: Pass, tracked: Tracked, out: Array, scale_of: Any, kind: int, each: bool
) -> Tracked:
    """Follow log|det W| and its sign, with the scale and c that the step used."""
    room, (L, _, N, D) = step.room, step.YD.shape
    n = min(N, D)
    scale = cupy.concatenate(scale_of) if each else out[2 + 4 * L :]
    c = out[2 + 2 * L : 2 + 3 * L]
    logdet, sign = cupy.empty(L, np.float64), cupy.empty(L, np.float64)
    way = 2 if kind == 0 and n > SMALL else kind
    _launch(
        step.dtype, "track", L, step.K, c, scale, int(each), tracked.logdet, tracked.sign, way,
        room.M, logdet, sign, L, n, D,
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


def _adam(step: Pass, state: State, rule: Adam, Ws: Any, bs: Any) -> tuple[State, StepInfo]:
    """Take Adam's step: R, then whether all of it is finite, then everything in place."""
    room, dtype, (L, _, N, D) = step.room, step.dtype, step.YD.shape
    R = [(cupy.empty((D, D), dtype), cupy.empty(D, dtype)) for _ in range(L)]
    for k in range(L - 1, -1, -1):
        _product(step, Ws[k], k)
        Delta, A, u = step.YD[k, 1], step.P[k, 0], step.u[k]
        _launch(dtype, "dots", N, step.YD[k, 0], A, bs[k], room.zeros[:D], u, room.marks[k], N, D)
        gemm("T", "N", Delta, A, R[k][0])
        gemm("T", "N", Delta, u.reshape(N, 1), R[k][1].reshape(D, 1))
        _launch(dtype, "square_rows", D, R[k][0], Ws[k], room.squares[k], D)
    out, _, rejected = _decide(step, room.wide, room.ones, rule.learning_rate, rule, 2)
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
            _launch(
                dtype, "adam", _sweep_blocks(p.size), room.finite, r, own, p, m_p, v_p, *numbers,
                p.size,
            )  # fmt: skip
    layers = tuple(Layer(W, b) for W, b in zip(Ws, bs, strict=True))
    info = _info(step, out, None, rejected, ())
    return State(layers, before, None, state.t + 1), info


def _info(step: Pass, out: Array, L_J2: Array, rejected: Array, fs: Any) -> StepInfo:
    L = len(step.YD)
    eta, norms = (tuple(out[2 + i * L + k] for k in range(L)) for i in (0, 1))
    return StepInfo(out[0], out[1], L_J2, eta, norms, rejected, fs)


def suits(
    state: State, X: Array, activation: Activation, density: Density, rule: Rule, weights: Array
) -> bool:
    """Say whether the kernels know all of this; else the reference takes the step.

    CuPy arrays of one dtype that fit together, contiguous W and moments; smooth_leaky_relu or
    identity (any activation if L = 1), the five densities; the package's rules, the output side,
    the bias in the group or as published; no tracked inverse.
    """
    if type(rule) not in RULES or not state.layers:
        return False
    if isinstance(rule, Adam) and (rule.side, rule.bias == "separate", rule.clock > 0) != OURS:
        return False
    first = state.layers[0].W
    if not isinstance(first, cupy.ndarray) or first.ndim != 2:
        return False
    D, dtype = first.shape[0], first.dtype
    if dtype not in (np.float32, np.float64) or X is None or len(X.shape) != 2 or 0 in X.shape:
        return False
    wanted: list[tuple[Any, Any]] = [(X, (X.shape[0], D))]
    for W, b in state.layers:
        wanted += [(W, (D, D)), (b, (D,))]
    if weights is not None:
        wanted.append((weights, (X.shape[0],)))
    for x, shape in wanted:
        if not isinstance(x, cupy.ndarray) or x.dtype != dtype or x.shape != shape:
            return False
        if x.device != first.device:
            return False
    if state.tracked is not None and state.tracked.inverse is not None:
        return False
    known = knows_activation(
        activation.name, activation.params.get("alpha", 1.0), activation.sigma,
        activation.dsigma, activation.log_dsigma, activation.dlog_dsigma,
    )  # fmt: skip
    return (known or len(state.layers) == 1) and knows_density(
        density.name, density.params.get("nu", 1.0), density.log_prob, density.score
    )


RULES = (Plain, Exponential, Recipe, Scalar, Adam)
OURS = ("output", False, True)  # Adam's side, bias="separate", clock > 0
POINTS = np.array([-40.0, -3.0, -0.5, 0.0, 0.7, 2.0, 30.0])


@functools.lru_cache(maxsize=16)
def knows_activation(name: str, alpha: float, *functions: Any) -> bool:
    """Say whether the kernel computes what these functions of an activation do, on the host."""
    if name not in ("smooth_leaky_relu", "identity"):
        return False
    made = twins.leaky(alpha, POINTS)
    return all(np.allclose(f(POINTS), x, rtol=1e-12) for f, x in zip(functions, made, strict=True))


@functools.lru_cache(maxsize=16)
def knows_density(name: str, nu: float, *functions: Any) -> bool:
    """Say whether the kernel computes what these functions of a density do, on the host."""
    if name not in NAMES:
        return False
    made = twins.base(name, {"nu": nu}, POINTS)
    return all(np.allclose(f(POINTS), x, rtol=1e-12) for f, x in zip(functions, made, strict=True))
