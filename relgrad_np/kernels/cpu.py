"""`train_step` on CPU: the twin of `rules.train_step`, in one BLAS and a few compiled sweeps.

The same signature and, but for rounding, the same results. What it does not know (see `suits`) it
hands to the reference. It consumes the state that is passed in: W, and Adam's moments, are changed
in place; whoever needs them afterwards copies them before. A rejected step changes nothing: all
that can tell is computed before W is touched. The factors in `StepInfo` are nobody else's.
"""

import functools
import math
import sys
import threading
from typing import Any, NamedTuple

import numpy as np

from .. import rules
from ..activations import Activation
from ..adam import Adam
from ..densities import Density
from ..multiplicative import Factors
from ..network import Layer
from ..recipe import FEW, Recipe, Running, Scalar
from ..rules import Exponential, Plain, Rule, State, StepInfo
from ..tracking import Tracked
from . import charts, moments, passes, update
from ._compile import blas
from .sweep import DENSITIES, density_constants, density_sweep, leaky_constants, leaky_sweep

Array = Any
_LENT = [np.empty(0)]
FREE = sys.getrefcount(_LENT[0])  # of an array that only a list holds
ROOMS = 4  # shapes for which scratch memory is kept: batches come in two sizes


class Room(NamedTuple):
    """Scratch memory for one shape, and buffers that are handed out while nobody holds them."""

    Z: Array
    S: Array
    T: Array
    share: Array
    zeros: Array
    ones: Array
    same: tuple[list[Array], list[Array]]  # read-only rows of them, to be handed out
    lent: list[Array]

    def buffer(self, L: int) -> Array:
        """Return an array (L, 2, N, D) that nobody else holds, old if there is one."""
        for i in range(len(self.lent)):
            if sys.getrefcount(self.lent[i]) == FREE:
                return self.lent[i]
        made = np.empty((L, 2, *self.Z.shape), self.Z.dtype)
        if len(self.lent) < 6:
            self.lent.append(made)
        return made


class _Rooms(threading.local):
    def __init__(self) -> None:
        self.known: dict[Any, Room] = {}

    def room(self, L: int, N: int, D: int, dtype: Any) -> Room:
        key = L, N, D, dtype.char
        if (found := self.known.pop(key, None)) is None:
            while len(self.known) >= ROOMS:
                del self.known[next(iter(self.known))]
            S, T = np.empty((2, max(L - 1, 1), N, D), dtype)
            zeros, ones = np.zeros((L, D), dtype), np.ones((L, D), dtype)
            zero, one = (np.broadcast_to(x[0], (D,)) for x in (zeros, ones))
            same = ([zero] * L, [one] * L)
            Z, share = np.empty((N, D), dtype), np.full(N, 1.0 / N, dtype)
            found = Room(Z, S, T, share, zeros, ones, same, [])
        self.known[key] = found
        return found


ROOM = _Rooms()


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
    if not suits(state, X, activation, density, rule, weights):
        return rules.train_step(
            state, X, activation=activation, density=density, rule=rule, weights=weights
        )
    W_0, (N, D), L = state.layers[0].W, X.shape, len(state.layers)
    dtype = W_0.dtype
    room, address = ROOM.room(L, N, D, dtype), blas(dtype)
    alpha, code, c = _constants(activation, density, dtype)
    share = room.share if weights is None else (weights / N).astype(dtype)
    Ws = [_own(W) for W, _ in state.layers]
    if len(set(map(id, Ws))) < L:  # one array as the W of two layers
        Ws = [W.copy() for W in Ws]
    places = np.array([W.ctypes.data for W in Ws])
    B = np.array([b for _, b in state.layers])  # (L, D)
    YD, u = room.buffer(L), np.empty((L, N), dtype)
    X = np.ascontiguousarray(X)
    L_p, L_J1 = passes.forward(
        address, X.ctypes.data, places, B, alpha, code, c, share, weights is None,
        room.Z, YD, room.S, room.T,
    )  # fmt: skip
    P = room.buffer(L)
    back = YD, P, room.S, room.T, share
    L_J2 = None if state.tracked is None else state.tracked.logdet.sum()
    terms = dtype.type(L_p), dtype.type(L_J1)
    finite = math.isfinite(L_p + L_J1 + (0.0 if L_J2 is None else float(L_J2)))
    if isinstance(rule, Adam):
        return _adam(rule, state, address, places, Ws, B, back, u, terms, finite) or (
            rules.train_step(
                state, X, activation=activation, density=density, rule=rule, weights=weights
            )
        )
    n, norms = min(N, D), np.empty(L, dtype)
    K = np.empty((L, n, n), dtype)
    if isinstance(rule, Recipe):
        total, Deltas, m, gain, eta, running = _charted(
            rule, state, room, address, places, B, back, K, u, norms
        )
        which, m_k, gain_k = 0, list(m), list(gain)
    else:
        total = passes.backward(address, places, B, *back, room.zeros, K, u, norms)
        Deltas, which, m, gain, running = YD, 1, room.zeros, room.ones, None
        eta = np.empty(L, dtype)
        eta.fill(rule.learning_rate)
        m_k, gain_k = room.same
    finite = finite and math.isfinite(total)
    tracked, layers = state.tracked, state.layers
    fs = tuple(
        Factors(Deltas[k, which], YD[k, 0], P[k, 0], u[k], K[k], m_k[k], gain_k[k])
        for k in range(L)
    )
    if finite:
        logdet = np.zeros(L) if tracked is None else tracked.logdet.copy()
        sign = np.ones(L) if tracked is None else tracked.sign.copy()
        update.step(
            address, places, B, YD, Deltas, which, P, K, u, eta, rule.tau, m, gain, norms,
            logdet, sign,
            room.Z, int(rule.kind == "exponential"),
        )  # fmt: skip
        layers = tuple(map(Layer, Ws, B))
        tracked = None if tracked is None else Tracked(logdet, sign, None)
    else:
        eta = np.zeros(L, dtype)
        fs = tuple(Factors(*map(np.zeros_like, f)) for f in fs)
        running = state.rule_state if state.rule_state else running
    info = StepInfo(terms[0], terms[1], L_J2, _each(eta), _each(norms), np.bool_(not finite), fs)
    return State(layers, running, tracked, state.t + 1), info


def _each(x: Array) -> tuple[Array, ...]:
    """Return the elements of x (L,) as arrays without axes."""
    return tuple(x[k, ...] for k in range(len(x)))


def _adam(
    rule: Adam, state: State, address: int, places: Array, Ws: Any, B: Array,
    back: tuple[Array, ...], u: Array, terms: Any, finite: bool,
) -> tuple[State, StepInfo] | None:  # fmt: skip
    """Take Adam's step; None where R is so large that its squares might overflow."""
    (YD, P, *_), L, dtype = back, len(B), B.dtype
    sizes, norms = np.empty(L), np.full(L, np.nan, dtype)
    moments.backward(address, places, B, *back, u, sizes)
    finite = finite and math.isfinite(sizes.sum())
    largest = float(np.finfo(dtype).max) ** 0.4
    if finite and not (sizes < largest).all():
        return None
    layers, before = state.layers, state.rule_state
    if finite:
        if not before:  # later on W can't have grown so far: a step of Adam is small
            if not all(float(max(W.max(), -W.min())) < largest for W in Ws):
                return None
            before = tuple(
                (
                    Layer(np.zeros_like(W), np.zeros_like(b)),
                    Layer(np.zeros_like(W), np.zeros_like(b)),
                )
                for W, b in layers
            )
        tick = 1 + state.t // rule.clock
        one, two = rule.beta1, rule.beta2
        rate, scale = rule.learning_rate / (1 - one**tick), 1 / (1 - two**tick)
        c = np.array([one, 1 - one, two, 1 - two, rate, scale, rule.epsilon], dtype)
        own, after = dtype.type(rule.bias == "augmented"), []
        for k, (m, v) in enumerate(before):
            m_W, v_W, m_b, v_b = _own(m.W), _own(v.W), m.b.copy(), v.b.copy()
            norms[k] = moments.adam(
                address, places[k], m_W.ctypes.data, v_W.ctypes.data, B[k], m_b, v_b, YD[k, 1],
                P[k, 0], u[k], c, own,
            )  # fmt: skip
            after.append((Layer(m_W, m_b), Layer(v_W, v_b)))
        before = tuple(after)
        layers = tuple(Layer(W, b) for W, b in zip(Ws, B, strict=True))
    eta = np.full(L, rule.learning_rate if finite else 0.0, dtype)
    info = StepInfo(terms[0], terms[1], None, _each(eta), _each(norms), np.bool_(not finite), ())
    return State(layers, before, None, state.t + 1), info


def _charted(
    rule: Recipe, state: State, room: Room, address: int, places: Array, B: Array,
    back: tuple[Array, ...], K: Array, u: Array, norms: Array,
) -> Any:  # fmt: skip
    """Fill P, K, u and the norms of the step in charts; return the rest."""
    (L, D), dtype = B.shape, B.dtype
    old, moments = state.rule_state, np.empty((3, L, D), dtype)
    x, gain = np.zeros(L, dtype), np.empty((L, D), dtype)
    if old:
        for k, r in enumerate(old):
            moments[0, k], moments[1, k], moments[2, k], x[k] = (
                r.mean,
                r.variance,
                r.information,
                r.x,
            )
    Deltas, sizes = room.buffer(L), np.empty(L, dtype)
    options = np.array(
        [
            rule.learning_rate,
            -1.0 if rule.memory is None else rule.memory,
            -1.0 if rule.information is None else rule.information,
            -1.0 if rule.outliers is None else rule.outliers,
            ("noise", "adaptive", "constant").index(rule.size),
        ]
    )
    total = charts.backward(
        address, places, B, *back, K, u, norms, options, bool(old), state.t, moments, x,
        gain, Deltas, sizes,
    )  # fmt: skip
    running = tuple(
        Running(moments[0, k], moments[1, k], x[k, ...], moments[2, k]) for k in range(L)
    )
    return total, Deltas, moments[0], gain, sizes, running


def suits(
    state: State, X: Array, activation: Activation, density: Density, rule: Rule, weights: Array
) -> bool:
    """Say whether the kernels know all of this; else the reference takes the step.

    NumPy arrays of one dtype that fit together, contiguous W; smooth_leaky_relu or identity (any
    activation if L = 1), the five densities; the package's rules; no tracked inverse. Charts: only
    N < D, and not the first 20 samples.
    """
    if type(rule) not in RULES or not state.layers:
        return False
    if isinstance(rule, Adam) and (rule.side, rule.bias == "separate", rule.clock > 0) != OURS:
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
        N, t = len(X), state.t
        if N >= D or (t + 1) * N < FEW or (t > 0 and t * N < FEW):
            return False
    if len(X) == 0 or (state.tracked is not None and state.tracked.inverse is not None):
        return False
    if weights is not None and (type(weights) is not np.ndarray or weights.dtype != dtype):
        return False
    if weights is not None and weights.shape != (len(X),):
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
    """Say whether the kernel of this name computes what these functions of an activation do."""
    if name not in ("smooth_leaky_relu", "identity"):
        return False
    made = [np.empty_like(POINTS) for _ in functions]
    leaky_sweep(POINTS, leaky_constants(alpha, "float64"), *made)
    return all(np.allclose(f(POINTS), x, rtol=1e-12) for f, x in zip(functions, made, strict=True))


@functools.lru_cache(maxsize=16)
def knows_density(name: str, nu: float, *functions: Any) -> bool:
    """Say whether the kernel of this name computes what these functions of a density do."""
    if name not in (*DENSITIES, "student_t"):
        return False
    made = [np.empty_like(POINTS) for _ in functions]
    density_sweep(POINTS, *density_constants(name, {"nu": nu}, "float64"), *made)
    return all(np.allclose(f(POINTS), x, rtol=1e-12) for f, x in zip(functions, made, strict=True))


def _constants(activation: Activation, density: Density, dtype: Any) -> tuple[Any, int, Any]:
    alpha, nu = activation.params.get("alpha", 1.0), density.params.get("nu", 1.0)
    return _rounded(alpha, density.name, nu, dtype)


@functools.lru_cache(maxsize=64)
def _rounded(alpha: float, name: str, nu: float, dtype: Any) -> tuple[Any, int, Any]:
    return leaky_constants(alpha, dtype), *density_constants(name, {"nu": nu}, dtype)


def _own(W: Array) -> Array:
    """Return W itself if it may be changed in place, else a copy."""
    return W if W.flags.carray else np.array(W, order="C")
