"""`train_step` on CPU, compiled by Numba: the same signature and, up to rounding, the same results.

What the kernels do not support goes to the reference, see `supported`. The step consumes the state
that it is given: W, b and Adam's moments are changed in place. Copy them first if you need the old
ones. A rejected step changes nothing, because all that may not be finite is computed before W is
touched. The factors in `StepInfo` are the caller's own, for as long as they are held.
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
from ...rules.base import State, StepInfo
from ...rules.group_adam import GroupAdam
from ...rules.natural import Natural
from ...rules.recipe import Recipe, Record, Seen
from ...rules.scalar import RunningSize, Scalar
from ..supported import CPU, supports, supports_variant
from . import adam, group_adam, whole_step
from .cache import PreparedStep, ThreadCache, changeable
from .compile import gemm_address
from .elementwise import activation_constants, density_constants
from .natural_step import take_natural_step

Array = Any
CACHE = ThreadCache()


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
    prepared, layers = CACHE.prepared, state.layers
    if (
        prepared is None
        or weights is not None
        or not prepared.holds(state, X, activation, density, rule)
        or (isinstance(rule, Recipe) and not state.rule_state.use.known)
        or not supports_variant(rule)
    ):
        if not supports(CPU, state, X, activation, density, rule, weights):
            return rules.train_step(
                state, X, activation=activation, density=density, rule=rule, weights=weights
            )
        formulas = _formulas(activation, density, layers[0].W)
        prepared, layers = CACHE.prepare(layers, X, activation, density, rule, formulas)
    if not X.flags.carray:
        X = np.array(X, order="C")  # what is read-only would be another type to Numba
    if isinstance(rule, GroupAdam):
        after, info, CACHE.prepared = group_adam.step(rule, state, layers, X, prepared, weights)
        return after, info
    if isinstance(rule, Natural):
        after, info, taken = take_natural_step(rule, state, layers, X, prepared, weights)
        CACHE.prepared = prepared if taken else None
        return after, info
    step = _adam if isinstance(rule, Adam) else _multiplicative
    return step(rule, state, layers, X, prepared, weights)


def _multiplicative(
    rule: Any, state: State, layers: Any, X: Array, prepared: PreparedStep, weights: Array
) -> tuple[State, StepInfo]:
    """Take the step of every rule but Adam."""
    workspace, dtype, tracked = prepared.workspace, prepared.dtype, state.tracked
    (N, D), L = X.shape, len(layers)
    n = min(N, D)
    parts, sizes = workspace.lender.lend(), np.empty((3, L), dtype)
    K, u = np.empty((L, n, n), dtype), np.empty((L, N), dtype)
    logdets = np.zeros((2, L))
    if tracked is not None:
        logdets[0], logdets[1] = tracked.logdet, tracked.sign
    shared = workspace.equal if weights is None else ((weights / N).astype(dtype), False)
    m, gain = workspace.rows
    charts, after = workspace.neutral, state.rule_state
    if isinstance(rule, (Recipe, Scalar)):
        prepared, charts, after = _charted(rule, state, prepared)
        m, gain = charts[0][0], charts[0][-1]
    L_p, L_J1, L_J2, finite = whole_step.take_step(
        gemm_address(dtype), X, shared, prepared.layers, prepared.formulas, _numbers(rule),
        workspace.scratch, (parts, K, u), sizes, logdets, charts,
    )  # fmt: skip
    fs = tuple(
        [
            Factors(parts[0, k, 1], parts[0, k, 0], parts[1, k, 0], u[k], K[k], m[k], gain[k])
            for k in range(L)
        ]
    )
    if not finite:
        sizes[0] = 0
        after, layers = state.rule_state, state.layers
        CACHE.prepared = None
    else:
        tracked = None if tracked is None else Tracked(logdets[0], logdets[1], None)
        CACHE.prepared = prepared
    info = StepInfo(
        dtype.type(L_p), dtype.type(L_J1), None if tracked is None else np.float64(L_J2),
        _each(sizes[0]), _each(sizes[1]), np.bool_(not finite), fs,
    )  # fmt: skip
    return State(layers, after, tracked, state.t + 1), info


def _charted(
    rule: Any, state: State, prepared: PreparedStep
) -> tuple[PreparedStep, tuple[Any, int], Any]:
    """Return what the kernel reads and fills of a recipe's record, or of a scalar rule's.

    Third is that record after the step, whose arrays are views of what is to be filled.
    """
    (L, D), dtype, neutral = prepared.layers[1].shape, prepared.dtype, prepared.workspace.neutral[0]
    rows, numbers, gain = (
        np.empty((5, L, D), dtype),
        np.empty((3, L), dtype),
        np.empty((L, D), dtype),
    )
    if isinstance(rule, Scalar):
        v = np.zeros((3, L), dtype)
        v[0] = state.rule_state.v
        after: Any = RunningSize(numbers[0], state.rule_state.batches + 1)
        numbers[1:] = 0
        parts = (*neutral[:5], rows, v, numbers, gain)
        return prepared, (parts, int(state.rule_state.batches)), after
    use, seen = rule.in_window(np, state)
    if prepared.use is not use:
        each = np.stack([use.x, use.signal, use.norm, np.broadcast_to(use.moves, (L,))])
        mean = use.mean if rule.charts else prepared.workspace.neutral[0][0]
        constants = (*map(np.ascontiguousarray, (mean, use.variance, use.information)), each)
        prepared = prepared._replace(use=use, constants=constants)
    stacked = (
        prepared.stacked if prepared.seen is seen else (np.stack(seen[:5]), np.stack(seen[5:8]))
    )
    batches = np.asarray(seen.batches + 1, dtype)
    mean, variance, score, square, product = rows
    x, norm, largest = numbers
    known = Seen(mean, variance, score, square, product, x, norm, largest, batches)
    parts = (*prepared.constants, stacked[0], rows, stacked[1], numbers, gain)
    prepared = prepared._replace(seen=known, stacked=(rows, numbers))
    return prepared, (parts, int(seen.batches)), Record(use, known)


def _numbers(rule: Any) -> tuple[bool, int, float, float, float, bool, bool, int]:
    """Return the options of a rule as the kernel reads them, see `records.RuleNumbers`."""
    kind = 0 if rule.kind == "plain" else 1
    if isinstance(rule, Recipe):
        size = 0 if rule.size == "noise" else 2
        sizes = rule.learning_rate, rule.tau, rule.limit
        return True, kind, *sizes, rule.charts, rule.gains, size
    return isinstance(rule, Scalar), kind, rule.learning_rate, rule.tau, rule.tau, False, False, 1


def _each(x: Array) -> tuple[Array, ...]:
    """Return the elements of x (L,) as arrays without axes."""
    return tuple([x[k, ...] for k in range(len(x))])


def _adam(
    rule: Adam, state: State, layers: Any, X: Array, prepared: PreparedStep, weights: Array
) -> tuple[State, StepInfo]:
    """Take Adam's step; the reference takes it where squares of R might overflow."""
    workspace, dtype, blas = prepared.workspace, prepared.dtype, gemm_address(prepared.dtype)
    N, L = len(X), len(layers)
    parts, u = workspace.lender.lend(), np.empty((L, N), dtype)
    shared = workspace.equal if weights is None else ((weights / N).astype(dtype), False)
    largest, norms = np.empty(L), np.full(L, np.nan, dtype)
    L_p, L_J1 = adam.passes(
        blas, X, shared, prepared.layers, prepared.formulas, workspace.scratch,
        (parts, np.empty((L, 0, 0), dtype), u), largest,
    )  # fmt: skip
    finite = np.isfinite(largest.sum() + L_p + L_J1)
    limit, before = float(np.finfo(dtype).max) ** 0.4, state.rule_state
    if finite and state.t == 0:  # later on W can't have grown so far: a step of Adam is small
        largest = np.array([*largest, *(max(W.max(), -W.min()) for W, _ in layers)])
    if finite and not (largest < limit).all():
        return rules.train_step(
            state, X, activation=prepared.activation, density=prepared.density, rule=rule,
            weights=weights,
        )  # fmt: skip
    if finite:
        tick = 1 + state.t // rule.clock
        one, two = rule.beta1, rule.beta2
        rate, scale = rule.learning_rate / (1 - one**tick), 1 / (1 - two**tick)
        c = np.array([one, 1 - one, two, 1 - two, rate, scale, rule.epsilon], dtype)
        own, after = dtype.type(rule.bias == "augmented"), []
        addresses, b = prepared.layers
        for k, (m, v) in enumerate(before):
            m_W, v_W, m_b, v_b = changeable(m.W), changeable(v.W), m.b.copy(), v.b.copy()
            norms[k] = adam.update(
                blas, (addresses[k], m_W.ctypes.data, v_W.ctypes.data), (b[k], m_b, v_b),
                (parts[0, k, 1], parts[1, k, 0], u[k]), c, own,
            )  # fmt: skip
            after.append((Layer(m_W, m_b), Layer(v_W, v_b)))
        before = tuple(after)
    else:
        layers = state.layers
    CACHE.prepared = prepared if finite else None
    eta = np.full(L, rule.learning_rate if finite else 0.0, dtype)
    info = StepInfo(
        dtype.type(L_p), dtype.type(L_J1), None, _each(eta), _each(norms), np.bool_(not finite), ()
    )
    return State(layers, before, None, state.t + 1), info


def _formulas(activation: Activation, density: Density, W: Array) -> tuple[int, Any, int, Any]:
    """Return the codes and constants of both, kept."""
    parts = (activation.name, tuple(activation.params.items()))
    return _rounded(*parts, density.name, tuple(density.params.items()), W.dtype, len(W))


@functools.lru_cache(maxsize=64)
def _rounded(
    name: str, params: Any, density: str, others: Any, dtype: Any, D: int
) -> tuple[int, Any, int, Any]:
    codes = activation_constants(name, dict(params), dtype)
    return *codes, *density_constants(density, dict(others), dtype, D)
