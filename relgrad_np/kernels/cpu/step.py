"""`train_step` on CPU: the twin of `rules.train_step`, in one BLAS and a few compiled sweeps.

The same signature and, but for rounding, the same results. What it does not know (see `suits`) it
hands to the reference. It consumes the state that is passed in: W, and Adam's moments, are changed
in place; whoever needs them afterwards copies them before. A rejected step changes nothing: all
that can tell is computed before W is touched. The factors in `StepInfo` are nobody else's.
"""

import functools
from typing import Any

import numpy as np

from ...core.activations import Activation
from ...core.densities import Density
from ...core.network import Layer
from ...core.steps import Factors
from ...core.tracking import Tracked
from ...rules import base as rules
from ...rules.adam import Adam
from ...rules.base import Rule, State, StepInfo
from ...rules.plain import Exponential, Plain
from ...rules.recipe import FEW, Recipe, Running, Scalar
from ..constants import NAMES
from . import adam as moments
from . import passes
from . import whole_step as whole
from .compile import blas
from .elementwise import activation_constants, activation_sweep, density_constants, density_sweep
from .scratch import Plan, Rooms, changeable

Array = Any
ROOM = Rooms()
SIZES = ("noise", "adaptive", "constant")


def train_step(
    state: State,
    X: Array,
    *,
    activation: Activation,
    density: Density,
    rule: Any,
    weights: Array = None,
) -> tuple[State, StepInfo]:
    """Take one step on the batch X (N, D), as `rules.train_step`, in place.

    Cost: 4 L - 1 products of (N, D) by (D, D) size, W read L + L times and written L times; no
    (D, D) temporary while N < D. Raises as the reference.

    >>> import numpy as np, relgrad_np as rg
    >>> state = rg.init_state((rg.Layer(np.eye(2), np.zeros(2)),), rg.Plain(0.1))
    >>> model = {"activation": rg.activation("identity"), "density": rg.density("normal")}
    >>> state, info = train_step(state, np.ones((1, 2)), **model, rule=rg.Plain(0.1))
    >>> state.layers[0].b, state.t
    (array([-0.1, -0.1]), 1)
    """
    plan, layers = ROOM.plan, state.layers
    if (
        plan is None
        or weights is not None
        or not plan.holds(state, X, activation, density, rule)
        or (isinstance(rule, Recipe) and state.rule_state[0].seen * len(X) < FEW)
        or not ours(rule)
    ):
        if not suits(state, X, activation, density, rule, weights):
            return rules.train_step(
                state, X, activation=activation, density=density, rule=rule, weights=weights
            )
        constants = _constants(activation, density, layers[0].W.dtype)
        plan, layers = ROOM.planned(layers, X, activation, density, rule, constants)
    if not X.flags.carray:
        X = np.array(X, order="C")  # what is read-only would be another type to Numba
    if isinstance(rule, Adam):
        return _adam(rule, state, layers, X, plan, weights)
    return _multiplicative(rule, state, layers, X, plan, weights)


def _multiplicative(
    rule: Any, state: State, layers: Any, X: Array, plan: Plan, weights: Array
) -> tuple[State, StepInfo]:
    """Take the step of every rule but Adam."""
    room, B, dtype, tracked = plan.room, plan.B, plan.dtype, state.tracked
    (L, D), N = B.shape, len(X)
    n = min(N, D)
    K, u, sizes = np.empty((L, n, n), dtype), np.empty((L, N), dtype), np.empty((3, L), dtype)
    tracks = np.zeros((2, L))
    if tracked is not None:
        tracks[0], tracks[1] = tracked.logdet, tracked.sign
    share = room.share if weights is None else (weights / N).astype(dtype)
    kind = 0 if rule.kind == "plain" else 1
    charted = isinstance(rule, Recipe)
    parts = room.buffer(3 if charted else 2, L)
    common = (
        blas(dtype), X, plan.places, B, *plan.constants, share, weights is None, room.scratch,
        parts, K, u, sizes, tracks,
    )  # fmt: skip
    running: Any = None
    still: Any = room.same  # m and gain of each layer
    if charted:
        old = state.rule_state
        before, seen = plan.moments if plan.running is old else _stacked(old, plan), old[0].seen
        new, gain = np.empty((4, L, D), dtype), np.empty((L, D), dtype)
        L_p, L_J1, L_J2, finite = whole.charted(
            *common, _options(rule.learning_rate, rule.memory, rule.information, None,
            rule.size), bool(seen > 0), int(seen), before, new, gain, rule.tau, kind,
        )  # fmt: skip
        running = tuple(
            Running(new[0, k], new[1, k], new[3, k, 0, ...], new[2, k], np.asarray(old[0].seen + 1))
            for k in range(L)
        )
        Deltas, still = parts[2, :, 0], (new[0], gain)
    else:
        L_p, L_J1, L_J2, finite = whole.bare(
            *common, room.zeros, room.ones, rule.learning_rate, rule.tau, kind
        )
        Deltas = parts[0, :, 1]
    Ys, As = parts[0, :, 0], parts[1, :, 0]
    fs = tuple(map(Factors, Deltas, Ys, As, u, K, *still))
    if not finite:
        sizes[0] = 0
        fs = tuple(Factors(*map(np.zeros_like, f)) for f in fs)
        running = state.rule_state
        layers = state.layers
        ROOM.plan = None
    else:
        tracked = None if tracked is None else Tracked(tracks[0], tracks[1], None)
        ROOM.plan = plan._replace(running=running, moments=new) if charted else plan
    info = StepInfo(
        dtype.type(L_p), dtype.type(L_J1), None if tracked is None else np.float64(L_J2),
        _each(sizes[0]), _each(sizes[1]), np.bool_(not finite), fs,
    )  # fmt: skip
    return State(layers, running, tracked, state.t + 1), info


@functools.lru_cache(maxsize=16)
def _options(*values: Any) -> Array:
    """Return a recipe's options as the kernel reads them."""
    numbers = (-1.0 if x is None else x for x in values[:-1])
    return np.array([*numbers, SIZES.index(values[-1])], np.float64)


def _stacked(old: Any, plan: Plan) -> Array:
    """Return the running moments of all layers as one array (4, L, D); see `whole.charted`."""
    moments = np.zeros((4, *plan.B.shape), plan.dtype)
    for k, r in enumerate(old):
        moments[0, k], moments[1, k], moments[2, k] = r.mean, r.variance, r.information
        moments[3, k, 0] = r.x
    return moments


def _each(x: Array) -> tuple[Array, ...]:
    """Return the elements of x (L,) as arrays without axes."""
    return tuple(x[k, ...] for k in range(len(x)))


def _adam(
    rule: Adam, state: State, layers: Any, X: Array, plan: Plan, weights: Array
) -> tuple[State, StepInfo]:
    """Take Adam's step; the reference does where squares of R might overflow."""
    room, B, dtype, address, L = plan.room, plan.B, plan.dtype, blas(plan.dtype), len(plan.B)
    N, Z, hidden = len(X), room.scratch[0], max(L - 1, 1)
    S, T = room.scratch[1 : 1 + hidden], room.scratch[1 + hidden :]
    (YD, P), u = room.buffer(2, L), np.empty((L, N), dtype)
    share = room.share if weights is None else (weights / N).astype(dtype)
    L_p, L_J1 = passes.forward(
        address, X.ctypes.data, plan.places, B, *plan.constants, share, weights is None, Z, YD, S, T
    )
    sizes, norms = np.empty(L), np.full(L, np.nan, dtype)
    moments.backward(address, plan.places, B, YD, P, S, T, share, u, sizes)
    finite = np.isfinite(sizes.sum() + L_p + L_J1)
    largest, before = float(np.finfo(dtype).max) ** 0.4, state.rule_state
    if finite and state.t == 0:  # later on W can't have grown so far: a step of Adam is small
        sizes = np.array([*sizes, *(max(W.max(), -W.min()) for W, _ in layers)])
    if finite and not (sizes < largest).all():
        return rules.train_step(
            state, X, activation=plan.activation, density=plan.density, rule=rule, weights=weights
        )
    if finite:
        tick = 1 + state.t // rule.clock
        one, two = rule.beta1, rule.beta2
        rate, scale = rule.learning_rate / (1 - one**tick), 1 / (1 - two**tick)
        c = np.array([one, 1 - one, two, 1 - two, rate, scale, rule.epsilon], dtype)
        own, after = dtype.type(rule.bias == "augmented"), []
        for k, (m, v) in enumerate(before):
            m_W, v_W, m_b, v_b = changeable(m.W), changeable(v.W), m.b.copy(), v.b.copy()
            norms[k] = moments.adam(
                address, plan.places[k], m_W.ctypes.data, v_W.ctypes.data, B[k], m_b, v_b,
                YD[k, 1], P[k, 0], u[k], c, own,
            )  # fmt: skip
            after.append((Layer(m_W, m_b), Layer(v_W, v_b)))
        before = tuple(after)
    else:
        layers = state.layers
    ROOM.plan = plan if finite else None
    eta = np.full(L, rule.learning_rate if finite else 0.0, dtype)
    info = StepInfo(
        dtype.type(L_p), dtype.type(L_J1), None, _each(eta), _each(norms), np.bool_(not finite), ()
    )
    return State(layers, before, None, state.t + 1), info


def suits(
    state: State, X: Array, activation: Activation, density: Density, rule: Rule, weights: Array
) -> bool:
    """Say whether the kernels know all of this; else the reference takes the step.

    NumPy arrays of one dtype that fit together, contiguous W; smooth_leaky_relu, leaky_tanh or
    identity (any activation if L = 1), the five densities; the package's rules; no tracked inverse.
    Charts: not the first 20 samples.
    """
    if type(rule) not in RULES or not ours(rule) or not state.layers:
        return False
    first = state.layers[0].W
    if type(first) is not np.ndarray or first.ndim != 2:
        return False
    dtype, D = first.dtype, first.shape[0]
    if dtype not in (np.float32, np.float64):
        return False
    if type(X) is not np.ndarray or X.ndim != 2 or X.dtype != dtype or X.shape[1] != D:
        return False
    for W, b in state.layers:
        if type(W) is not np.ndarray or W.dtype != dtype or W.shape != (D, D):
            return False
        if type(b) is not np.ndarray or b.dtype != dtype or b.shape != (D,):
            return False
    if isinstance(rule, Recipe) and rule.memory is not None:
        N, seen = len(X), state.rule_state[0].seen
        if (seen + 1) * N < FEW or (seen > 0 and seen * N < FEW):
            return False
    if len(X) == 0 or (state.tracked is not None and state.tracked.inverse is not None):
        return False
    if weights is not None and (type(weights) is not np.ndarray or weights.dtype != dtype):
        return False
    if weights is not None and weights.shape != (len(X),):
        return False
    known = knows_activation(
        activation.name, tuple(activation.params.items()), activation.sigma,
        activation.dsigma, activation.log_dsigma, activation.dlog_dsigma,
    )  # fmt: skip
    return (known or len(state.layers) == 1) and knows_density(
        density.name, density.params.get("nu", 1.0), density.log_prob, density.score
    )


def ours(rule: Any) -> bool:
    """Say whether Adam's variant is one that the kernels know."""
    return not isinstance(rule, Adam) or (
        rule.side == "output" and rule.bias != "separate" and rule.clock > 0
    )


RULES = (Plain, Exponential, Recipe, Scalar, Adam)
POINTS = np.array([-40.0, -3.0, -0.5, 0.0, 0.7, 2.0, 30.0])


@functools.lru_cache(maxsize=16)
def knows_activation(name: str, params: tuple[tuple[str, float], ...], *functions: Any) -> bool:
    """Say whether the kernel of this name computes what these functions of an activation do."""
    if name not in ("smooth_leaky_relu", "leaky_tanh", "identity"):
        return False
    made = [np.empty_like(POINTS) for _ in functions]
    activation_sweep(POINTS, *activation_constants(name, dict(params), "float64"), *made)
    return all(np.allclose(f(POINTS), x, rtol=1e-12) for f, x in zip(functions, made, strict=True))


@functools.lru_cache(maxsize=16)
def knows_density(name: str, nu: float, *functions: Any) -> bool:
    """Say whether the kernel of this name computes what these functions of a density do."""
    if name not in NAMES:
        return False
    made = [np.empty_like(POINTS) for _ in functions]
    density_sweep(POINTS, *density_constants(name, {"nu": nu}, "float64"), *made)
    return all(np.allclose(f(POINTS), x, rtol=1e-12) for f, x in zip(functions, made, strict=True))


def _constants(activation: Activation, density: Density, dtype: Any) -> tuple[int, Any, int, Any]:
    """Return the codes and constants of both, kept."""
    parts = (activation.name, tuple(activation.params.items()))
    return _rounded(*parts, density.name, tuple(density.params.items()), dtype)


@functools.lru_cache(maxsize=64)
def _rounded(
    name: str, params: Any, density: str, others: Any, dtype: Any
) -> tuple[int, Any, int, Any]:
    bent = activation_constants(name, dict(params), dtype)
    return *bent, *density_constants(density, dict(others), dtype)
