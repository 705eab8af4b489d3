"""`train_step` on CPU, compiled by Numba: the same signature and, up to rounding, the same results.

What the kernels do not support goes to the reference, see `supported`. The step consumes the state
that it is given: W, b and Adam's moments are changed in place. Copy them first if you need the old
ones. A rejected step changes nothing, because all that may not be finite is computed before W is
touched. The factors in `StepInfo` are the caller's own, for as long as they are held. They have no
A where N >= D: the step is made without it.
"""

from typing import Any

import numpy as np

from ...core.activations import Activation
from ...core.densities import Density
from ...core.network import Layer
from ...core.steps import Factors
from ...rules import base as rules
from ...rules.adam import Adam
from ...rules.base import State, StepInfo
from ...rules.group_adam import GroupAdam
from ...rules.natural import Natural
from ...rules.recipe import Recipe
from ...rules.scalar import Scalar
from ..plans import Plan, Taken
from ..supported import CPU, supports, supports_variant
from . import adam, whole_step
from .arguments import NO_GUARD, charted, formulas, guarded, joining, numbers, shares, tracked
from .cache import PreparedStep, ThreadCache, changeable
from .compile import gemm_address
from .group_adam_step import take_group_adam_step
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
    full_rank = FULL_RANK.get(type(rule))
    if full_rank and (ready := prepare(state, X, activation, density, rule, weights)):
        prepared, layers = ready
        done = full_rank(rule, state, layers, carray(X), prepared, weights)
        after, info, CACHE.prepared = done
        return after, info
    plan = Plan(np.array([rule.learning_rate]))
    taken = attempt(state, X, plan, activation, density, rule, weights)
    if taken is None:
        return rules.train_step(
            state, X, activation=activation, density=density, rule=rule, weights=weights
        )
    L_p, L_J1, L_J2 = taken.terms[0]
    number, (eta, norms, _) = taken.sizes.dtype.type, taken.sizes[0]
    if not taken.n:
        eta[:] = 0
    info = StepInfo(
        number(L_p), number(L_J1), None if state.tracked is None else L_J2,
        _each(eta), _each(norms), np.bool_(not taken.n), taken.directions,
    )  # fmt: skip
    return taken.state._replace(t=state.t + 1), info


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
    (3, 3, array([-2.84, -2.49, -2.27]))
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
    if type(rule) in FULL_RANK:
        return None
    ready = prepare(state, batch, activation, density, rule, weight)
    if ready is None:
        return None
    prepared, layers = ready
    X = carray(X)
    if not several:
        X, weights = X[None], None if weights is None else weights[None]
    step = _adam if isinstance(rule, Adam) else _multiplicative
    return step(rule, state, layers, X, prepared, weights, plan)


def prepare(
    state: State, X: Array, activation: Activation, density: Density, rule: Any, weights: Array
) -> tuple[PreparedStep, Any] | None:
    """Return what is looked up for a step on X (N, D), and the layers; None: the reference's."""
    prepared = CACHE.prepared
    if (
        prepared is not None
        and weights is None
        and prepared.holds(state, X, activation, density, rule)
        and not (isinstance(rule, Recipe) and not state.rule_state.use.known)
        and supports_variant(rule)
    ):
        return prepared, state.layers
    if not supports(CPU, state, X, activation, density, rule, weights):
        return None
    codes = formulas(activation, density, state.layers[0].W)
    return CACHE.prepare(state.layers, X, activation, density, rule, codes)


def carray(X: Array) -> Array:
    """Return X in order C and writable: what is read-only would be another type to Numba."""
    return X if X.flags.carray else np.array(X, order="C")


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
    workspace, dtype, before = prepared.workspace, prepared.dtype, state.tracked
    m, gain = workspace.rows
    running, states = workspace.neutral, None
    if isinstance(rule, (Recipe, Scalar)):
        prepared, running, states, most = charted(rule, state, prepared)
        m, gain, X = running[0], running[4], X[:most]
    (K, N, _), (L, D, _) = X.shape, prepared.sizes
    parts = workspace.lender.lend()
    other = workspace.lender.lend() if K > 1 else parts
    products, ones = np.empty((L, min(N, D), min(N, D)), dtype), memory_of_u(prepared)
    logdets = np.zeros((K + 1, 2, L))
    if before is not None:
        logdets[0, 0], logdets[0, 1] = before.logdet, before.sign
    history = plan.rates[:K], np.empty((K, 3, L), dtype), np.empty((K, 3))
    judge, (average, made) = guarded(plan), joining(plan, state.t, K, layers)
    n, fine, taken, waiting = whole_step.take_steps(
        gemm_address(dtype), X, shares(workspace, weights, dtype), prepared.layers,
        prepared.formulas, numbers(rule), (workspace.scratch, (parts[0], other[0]), parts[1],
        products, ones), logdets, running, history, judge, average,
    )  # fmt: skip
    last = max(n, 1) - 1
    one = ones_beside(X[last], D, prepared)
    YD = parts[0] if last % 2 == 0 else other[0]
    if K == 1:
        As = parts[1, :, 0] if N < D else [None] * L
        fs = [
            Factors(YD[k, 1], YD[k, 0], As[k], ones[k], products[k], m[k], gain[k], one)
            for k in range(L)
        ]
    else:
        fs = [Factors(YD[k, 1], YD[k, 0], None, None, None, m[k], gain[k], one) for k in range(L)]
    then = state.rule_state, before
    if last > 0:
        then = states and states(last), before and tracked(logdets[last])
    after, CACHE.prepared = state, None
    if n:
        rule_state = state.rule_state if states is None else states(n)
        if isinstance(rule, Recipe):
            stacked = running[5][n % 3], running[6][n % 3]
            prepared = prepared._replace(seen=rule_state.seen, stacked=stacked)
        CACHE.prepared = prepared
        after = State(layers, rule_state, before and tracked(logdets[n]), state.t + n)
    _, sizes, terms = history
    return Taken(after, n, not fine, terms, sizes, judge[0], made, taken, waiting, tuple(fs), then)


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
    workspace, dtype, K, L = prepared.workspace, prepared.dtype, len(X), len(layers)
    limit, before = float(np.finfo(dtype).max) ** 0.4, state.rule_state
    # later on W can't have grown so far: a step of Adam is small
    if state.t == 0 and not all(max(W.max(), -W.min()) < limit for W, _ in layers):
        return None
    moments = [[changeable(x.W) for x in pair] for pair in before]
    matrices = np.array([[W.ctypes.data for W in pair] for pair in moments]).T.copy()  # (2, L)
    biases = np.array([[x.b for x in pair] for pair in before]).swapaxes(0, 1).copy()
    one, two = rule.beta1, rule.beta2
    ticks = [1 + t // rule.clock for t in range(state.t, state.t + K)]
    rates = np.array([[1 - one**tick, 1 / (1 - two**tick)] for tick in ticks])
    rates = np.column_stack([plan.rates[:K] * plan.rate, rates])
    history = rates, np.empty((K, 3, L), dtype), np.empty((K, 3))
    history[1][:, 1] = np.nan
    own = float(rule.bias == "augmented")
    parts, u = workspace.lender.lend(), memory_of_u(prepared)
    average, made = joining(plan, state.t, K, layers)
    n, fine, taken, waiting = adam.take_steps(
        gemm_address(dtype), X, shares(workspace, weights, dtype), prepared.layers,
        prepared.formulas, (one, 1 - one, two, 1 - two, rule.epsilon, own, limit),
        (workspace.scratch, (parts[0], parts[0]), parts[1], np.empty((L, 0, 0), dtype), u),
        (matrices, biases), history, average,
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
    _, sizes, terms = history
    then = before, None
    return Taken(after, n, n < K, terms, sizes, NO_GUARD[0], made, taken, waiting, (), then)


def memory_of_u(prepared: PreparedStep) -> Array:
    """Return memory for u of all layers, (L, N), or with context (L, N, c + 1)."""
    L, N = len(prepared.bs), prepared.shape[0]
    return np.empty((L, N, *prepared.bs[0].shape[1:]), prepared.dtype)


def ones_beside(X: Array, D: int, prepared: PreparedStep) -> Any:
    """Return what biases are multiplied with, 1, or with context U~ (N, c + 1) of rows (x, u)."""
    if prepared.bs[0].ndim == 1:
        return 1.0
    return np.concatenate([X[:, D:], np.ones_like(X[:, :1])], axis=1)


def _each(x: Array) -> tuple[Array, ...]:
    """Return the elements of x (L,) as arrays without axes."""
    return tuple([x[k, ...] for k in range(len(x))])


# what takes the step of a rule whose directions have full rank: one a call
FULL_RANK: dict[type[Any], Any] = {
    GroupAdam: take_group_adam_step,
    Natural: take_natural_step,
}
