"""Many steps in one compiled call, and one step as the case of one: the same bits either way.

`take_steps` has a stack of batches, and what else `fit` does at each step: the guard judges every
step by the batch after it, and layers join the running average. It stops before a batch that is not
finite or shows that the step before it was bad; its caller takes over there, one step at a time.
"""

import functools
import sys
from typing import Any, NamedTuple

import numpy as np

from ...core.activations import Activation
from ...core.densities import Density
from ...core.network import Layer, Layers
from ...core.steps import Factors
from ...core.tracking import Tracked
from ...rules.adam import Adam
from ...rules.base import State
from ...rules.recipe import SHORT, WINDOW, Recipe, Record, Seen
from ...rules.scalar import RunningSize, Scalar
from ..supported import CPU, supports, supports_variant
from . import adam, whole_step
from .cache import PreparedStep, ThreadCache, changeable
from .compile import gemm_address
from .elementwise import activation_constants, density_constants

Array = Any
CACHE = ThreadCache()


class Joining(NamedTuple):
    """A running average that layers join after steps t that are multiples of `every`.

    `layers` is the average of `taken` layers, and is kept; it is about `many` at most. `waiting`:
    the layers before the first step are to join it, too. `room`: layers whose memory is free.
    """

    every: int
    many: int
    taken: int
    waiting: bool
    layers: Layers
    room: Layers | None = None


class Plan(NamedTuple):
    """What K steps are taken with: learning rates (K,), and what goes with them in a fit.

    `weights` (K, N) or None; the guard's `usual` numbers, see `rules.guard`, with the `undo` mean
    deviations that are bad, or None without a guard; `judged`: whether there was a step that the
    first batch judges; `rate` multiplies all learning rates.
    """

    rates: Array
    weights: Array = None
    usual: tuple[float, float, float, float] | None = None
    undo: float = 0.0
    judged: bool = False
    rate: float = 1.0
    joining: Joining | None = None


class Taken(NamedTuple):
    """What became of them: n steps were taken, which led to `state`.

    `stopped`: the next batch is bad, not finite, or the reference's. Of each step `terms` (K, 3),
    L_p, L_J1, L_J2 (NaN with Adam), and `sizes` (K, 3, L), eta first, then norms. The guard's
    `usual` numbers; `average` is the new one of `joined` layers or None, and the last layers are
    `waiting` for it. Of the last step: its `directions`, what undoing needs of them, and the
    `rule_state` and tracker `before` it.
    """

    state: State
    n: int
    stopped: bool
    terms: Array
    sizes: Array
    usual: Array
    average: Layers | None
    joined: int
    waiting: bool
    directions: tuple[Factors, ...]
    before: tuple[Any, Tracked | None]

    @property
    def values(self) -> Array:
        """The log-likelihood of each batch before its step, (n,), float64; NaN with Adam."""
        terms = self.terms[: self.n]
        parts = terms[:, :2].astype(self.sizes.dtype)
        return (parts[:, 0] + parts[:, 1]) + terms[:, 2]

    @property
    def etas(self) -> Array:
        """The mean step size of each step, (n,), float64."""
        return np.mean(self.sizes[: self.n, 0].astype(np.float64), axis=1)


NO_GUARD = (np.array([0.0, 0.0, 0.0, 1.0]), 0.0, False, False, 1.0)
NO_AVERAGE = (0, 1, 0, 0, False, np.zeros((2, 1), np.int64), np.zeros((2, 1), np.int64))


def most_steps(rule: Any, state: State) -> int:
    """Return how many steps from this state one call may take at most.

    A recipe's constants are the same in all of them.

    >>> import relgrad_np as rg
    >>> layers = (rg.Layer(np.eye(2), np.zeros(2)),)
    >>> state = rg.init_state(layers, rg.Recipe())._replace(t=95)
    >>> most_steps(rg.Recipe(window=50), state)
    1
    """
    if not isinstance(rule, Recipe):
        return sys.maxsize
    window, use = rule.window or WINDOW, state.rule_state.use
    short = not use.calm and bool(use.moves)
    left = window - state.t % window
    return min(left, SHORT - state.t % SHORT) if short else left


def take_steps(
    state: State, X: Array, plan: Plan, *, activation: Activation, density: Density, rule: Any
) -> Taken | None:
    """Take up to K steps on batches X (K, N, D) in place; None where the reference takes them.

    The results are bitwise those of one step at a time by `train_step`, whatever K is.

    >>> import relgrad_np as rg
    >>> state = rg.init_state((rg.Layer(np.eye(2), np.zeros(2)),), rg.Plain())
    >>> model = {"activation": rg.activation("identity"), "density": rg.density("normal")}
    >>> plan = Plan(np.array([0.1, 0.1, 0.1]))
    >>> taken = take_steps(state, np.ones((3, 4, 2)), plan, **model, rule=rg.Plain())
    >>> taken.n, taken.state.t, taken.values.round(2)
    (3, 3, array([-2.84, -2.59, -2.39]))
    """
    return attempt(state, X, plan, activation, density, rule, plan.weights)


def attempt(
    state: State,
    X: Array,
    plan: Plan,
    activation: Activation,
    density: Density,
    rule: Any,
    weights: Array,
) -> Taken | None:
    """Take steps as `take_steps`; or one, on a batch X (N, D) with weights (N,) or None."""
    several = getattr(X, "ndim", 0) == 3
    batch = X[0] if several else X
    weight = weights[0] if several and weights is not None else weights
    prepared, layers = CACHE.prepared, state.layers
    if (
        prepared is None
        or weights is not None
        or not prepared.holds(state, batch, activation, density, rule)
        or (isinstance(rule, Recipe) and not state.rule_state.use.known)
        or not supports_variant(rule)
    ):
        if not supports(CPU, state, batch, activation, density, rule, weight):
            return None
        formulas = _formulas(activation, density, layers[0].W.dtype)
        prepared, layers = CACHE.prepare(layers, batch, activation, density, rule, formulas)
    if not X.flags.carray:
        X = np.array(X, order="C")  # what is read-only would be another type to Numba
    if not several:
        X, weights = X[None], None if weights is None else weights[None]
    step = _adam if isinstance(rule, Adam) else _multiplicative
    return step(rule, state, layers, X, prepared, weights, plan)


def _multiplicative(
    rule: Any,
    state: State,
    layers: Any,
    X: Array,
    prepared: PreparedStep,
    weights: Array,
    plan: Plan,
) -> Taken:
    """Take the steps of every rule but Adam."""
    workspace, dtype, tracked = prepared.workspace, prepared.dtype, state.tracked
    m, gain = workspace.rows
    running, states = workspace.neutral, None
    if isinstance(rule, (Recipe, Scalar)):
        prepared, running, states, most = _charted(rule, state, prepared)
        m, gain, X = running[0], running[4], X[:most]
    (K, N, D), L = X.shape, len(layers)
    parts = workspace.lender.lend()
    other = workspace.lender.lend() if K > 1 else parts
    products, ones = np.empty((L, min(N, D), min(N, D)), dtype), np.empty((L, N), dtype)
    logdets = np.zeros((K + 1, 2, L))
    if tracked is not None:
        logdets[0, 0], logdets[0, 1] = tracked.logdet, tracked.sign
    history = plan.rates[:K], np.empty((K, 3, L), dtype), np.empty((K, 3))
    guarded, joining, made = _guarded(plan), *_joining(plan, state.t, K, layers)
    n, fine, taken, waiting = whole_step.take_steps(
        gemm_address(dtype), X, _shares(workspace, weights, dtype), prepared.layers,
        prepared.formulas, _numbers(rule), (workspace.scratch, (parts[0], other[0]), parts[1],
        products, ones), logdets, running, history, guarded, joining,
    )  # fmt: skip
    last = max(n, 1) - 1
    YD = parts[0] if last % 2 == 0 else other[0]
    if K == 1:
        A = parts[1]
        fs = [
            Factors(YD[k, 1], YD[k, 0], A[k, 0], ones[k], products[k], m[k], gain[k])
            for k in range(L)
        ]
    else:
        fs = [
            Factors(YD[k, 1], YD[k, 0], None, None, m=m[k], gain=gain[k]) for k in range(L)
        ]
    known = state.rule_state, tracked
    before = (
        known if last == 0 else (states and states(last), tracked and _tracked(logdets[last]))
    )
    after, CACHE.prepared = state, None
    if n:
        rule_state = state.rule_state if states is None else states(n)
        if isinstance(rule, Recipe):
            prepared = prepared._replace(
                seen=rule_state.seen, stacked=(running[5][n % 3], running[6][n % 3])
            )
        CACHE.prepared = prepared
        after = State(layers, rule_state, tracked and _tracked(logdets[n]), state.t + n)
    return Taken(
        after, n, not fine, history[2], history[1], guarded[0], made, taken, waiting, tuple(fs),
        before,
    )  # fmt: skip


def _charted(rule: Any, state: State, prepared: PreparedStep) -> tuple[PreparedStep, Any, Any, int]:
    """Return what the kernel reads and fills of a recipe's record, or of a scalar rule's.

    Third is a function: the rule's state after i steps, whose arrays are views of what is filled.
    Fourth: how many steps these constants are for.
    """
    (L, D), dtype, neutral = prepared.layers[1].shape, prepared.dtype, prepared.workspace.neutral
    rows, gain = np.empty((3, 5, L, D), dtype), np.empty((L, D), dtype)
    if isinstance(rule, Scalar):
        numbers, old = np.zeros((3, 3, L), dtype), state.rule_state
        numbers[0, 0], rows[0] = old.v, 0
        running = (*neutral[:4], gain, rows, numbers, int(old.batches))
        return (
            prepared,
            running,
            lambda i: RunningSize(numbers[i % 3, 0], old.batches + i),
            sys.maxsize,
        )
    record = rule.in_window(np, state)
    use, seen = record
    if prepared.use is not use:
        each = np.stack([use.x, use.signal, use.norm, np.broadcast_to(use.moves, (L,))])
        mean = use.mean if rule.charts else neutral[0]
        constants = (*map(np.ascontiguousarray, (mean, use.variance, use.information)), each)
        prepared = prepared._replace(use=use, constants=constants)
    numbers = np.empty((3, 3, L), dtype)
    if prepared.seen is seen:
        rows[0], numbers[0] = prepared.stacked
    else:
        rows[0], numbers[0] = seen[:5], seen[5:8]

    def after(i: int) -> Record:
        at, few = rows[i % 3], numbers[i % 3]
        return Record(use, Seen(*at, *few, np.asarray(seen.batches + i, dtype)))

    running = (*prepared.constants, gain, rows, numbers, int(seen.batches))
    return prepared, running, after, most_steps(rule, state._replace(rule_state=record))


def _numbers(rule: Any) -> tuple[bool, int, float, float, bool, bool, int]:
    """Return the options of a rule but its learning rate, see `records.RuleNumbers`."""
    kind = 0 if rule.kind == "plain" else 1
    if isinstance(rule, Recipe):
        return True, kind, rule.tau, rule.limit, rule.charts, rule.gains, 0 if rule.size == "noise" else 2
    return isinstance(rule, Scalar), kind, rule.tau, rule.tau, False, False, 1


def _tracked(row: Array) -> Tracked:
    """Return the tracker of a row (2, L) of log|det W| and signs."""
    return Tracked(row[0], row[1], None)


def _shares(workspace: Any, weights: Array, dtype: Any) -> tuple[Array, bool]:
    """Return the samples' weights / N, (K, N) or (1, N), and whether they are all equal."""
    if weights is None:
        return workspace.equal  # type: ignore[no-any-return]
    return (weights / weights.shape[1]).astype(dtype), False


def _guarded(plan: Plan) -> tuple[Array, float, bool, bool, float]:
    """Return the fields of `records.Guarded`."""
    if plan.usual is None:
        return (*NO_GUARD[:4], plan.rate)
    return np.array(plan.usual), float(plan.undo), True, plan.judged, plan.rate


def _joining(plan: Plan, t: int, K: int, layers: Layers) -> tuple[Any, Layers | None]:
    """Return the fields of `records.Averaging`, and the layers that the average will be in.

    None for those if no layers can join it in K steps: then nothing is written.
    """
    joining = plan.joining
    if joining is None:
        return NO_AVERAGE, None
    every, made = joining.every, None
    if joining.waiting or (t + K - 1) // every > t // every:
        made = joining.room or tuple(Layer(np.empty_like(W), np.empty_like(b)) for W, b in layers)
    old = _addresses(joining.layers)
    new = old if made is None else _addresses(made)
    return (every, joining.many, t, joining.taken, joining.waiting, old, new), made


def _addresses(layers: Layers) -> Array:
    """Return the addresses of the Ws and bs, (2, L)."""
    return np.array([[W.ctypes.data for W, _ in layers], [b.ctypes.data for _, b in layers]])


def _adam(
    rule: Adam,
    state: State,
    layers: Any,
    X: Array,
    prepared: PreparedStep,
    weights: Array,
    plan: Plan,
) -> Taken | None:
    """Take Adam's steps; None where the reference takes the first: squares of R might overflow."""
    workspace, dtype, (K, N, D), L = prepared.workspace, prepared.dtype, X.shape, len(layers)
    limit, before = float(np.finfo(dtype).max) ** 0.4, state.rule_state
    # later on W can't have grown so far: a step of Adam is small
    if state.t == 0 and not all(max(W.max(), -W.min()) < limit for W, _ in layers):
        return None
    moments = [[changeable(x.W) for x in pair] for pair in before]
    matrices = np.array([[W.ctypes.data for W in pair] for pair in moments]).T.copy()  # (2, L)
    biases = np.array([[x.b for x in pair] for pair in before]).swapaxes(0, 1).copy()  # (2, L, D)
    one, two = rule.beta1, rule.beta2
    ticks = [1 + t // rule.clock for t in range(state.t, state.t + K)]
    rates = np.array([[1 - one**tick, 1 / (1 - two**tick)] for tick in ticks])
    rates = np.column_stack([plan.rates[:K] * plan.rate, rates])
    history = rates, np.empty((K, 3, L), dtype), np.empty((K, 3))
    history[1][:, 1] = np.nan
    numbers = (one, 1 - one, two, 1 - two, rule.epsilon, float(rule.bias == "augmented"), limit)
    parts, u = workspace.lender.lend(), np.empty((L, N), dtype)
    joining, made = _joining(plan, state.t, K, layers)
    n, fine, taken, waiting = adam.take_steps(
        gemm_address(dtype), X, _shares(workspace, weights, dtype), prepared.layers,
        prepared.formulas, numbers, (workspace.scratch, (parts[0], parts[0]), parts[1],
        np.empty((L, 0, 0), dtype), u), (matrices, biases), history, joining,
    )  # fmt: skip
    if n == 0 and fine:
        return None
    after, CACHE.prepared = state, None
    if n:
        CACHE.prepared = prepared
        remembered = tuple(
            (Layer(m, biases[0, k]), Layer(v, biases[1, k])) for k, (m, v) in enumerate(moments)
        )
        after = State(layers, remembered, None, state.t + n)
    return Taken(
        after, n, n < K, history[2], history[1], NO_GUARD[0], made, taken, waiting, (),
        (before, None),
    )  # fmt: skip


def _formulas(activation: Activation, density: Density, dtype: Any) -> tuple[int, Any, int, Any]:
    """Return the codes and constants of both, kept."""
    parts = (activation.name, tuple(activation.params.items()))
    return _rounded(*parts, density.name, tuple(density.params.items()), dtype)


@functools.lru_cache(maxsize=64)
def _rounded(
    name: str, params: Any, density: str, others: Any, dtype: Any
) -> tuple[int, Any, int, Any]:
    codes = activation_constants(name, dict(params), dtype)
    return *codes, *density_constants(density, dict(others), dtype)
