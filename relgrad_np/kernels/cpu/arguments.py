"""What the compiled functions are called with, made of a rule, its state and a plan.

`records` names every array, and `whole_step` says what it is for.
"""

import functools
import sys
from typing import Any

import numpy as np

from ...core.activations import Activation
from ...core.densities import Density
from ...core.network import Layer, Layers
from ...core.tracking import Tracked
from ...rules.base import State
from ...rules.recipe import Recipe, Record, Seen
from ...rules.scalar import RunningSize, Scalar
from ..plans import Plan, most_steps
from .cache import PreparedStep
from .elementwise import activation_constants, density_constants

Array = Any
NO_GUARD = (np.array([0.0, 0.0, 0.0, 1.0]), 0.0, False, False)
NO_AVERAGE = (0, 1, 0, 0, False, np.zeros((2, 1), np.int64), np.zeros((2, 1), np.int64))


def charted(rule: Any, state: State, prepared: PreparedStep) -> tuple[PreparedStep, Any, Any, int]:
    """Return what the kernel reads and fills of a recipe's record, or of a scalar rule's.

    Third is a function: the rule's state after i steps, whose arrays are views of what is filled.
    Fourth: how many steps these constants are for.
    """
    (L, D, _), dtype, neutral = prepared.sizes, prepared.dtype, prepared.workspace.neutral
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
        mean, variance, score, square, product = rows[i % 3]
        x, norm, largest = numbers[i % 3]
        batches = np.asarray(seen.batches + i, dtype)
        known = Seen(mean, variance, score, square, product, x, norm, largest, batches)
        return Record(use, known)

    running = (*prepared.constants, gain, rows, numbers, int(seen.batches))
    return prepared, running, after, most_steps(rule, state._replace(rule_state=record))


def numbers(rule: Any) -> tuple[bool, int, float, float, bool, bool, int]:
    """Return the options of a rule but its learning rate, see `records.RuleNumbers`."""
    kind = 0 if rule.kind == "plain" else 1
    if isinstance(rule, Recipe):
        return (
            True,
            kind,
            rule.tau,
            rule.limit,
            rule.charts,
            rule.gains,
            0 if rule.size == "noise" else 2,
        )
    return isinstance(rule, Scalar), kind, rule.tau, rule.tau, False, False, 1


def tracked(row: Array) -> Tracked:
    """Return the tracker of a row (2, L) of log|det W| and signs."""
    return Tracked(row[0], row[1], None)


def shares(workspace: Any, weights: Array, dtype: Any) -> tuple[Array, bool]:
    """Return the samples' weights / N, (K, N) or (1, N), and whether they are all equal."""
    if weights is None:
        return workspace.equal  # type: ignore[no-any-return]
    return (weights / weights.shape[1]).astype(dtype), False


def guarded(plan: Plan) -> tuple[Array, float, bool, bool, float]:
    """Return the fields of `records.Guarded`."""
    if plan.usual is None:
        return (*NO_GUARD, plan.rate)
    return np.array(plan.usual), float(plan.undo), True, plan.judged, plan.rate


def joining(plan: Plan, t: int, K: int, layers: Layers) -> tuple[Any, Layers | None]:
    """Return the fields of `records.Averaging`, and the layers that the average will be in.

    None for those if no layers can join it in K steps: then nothing is written.
    """
    plans = plan.joining
    if plans is None:
        return NO_AVERAGE, None
    every, made = plans.every, None
    if plans.waiting or (t + K - 1) // every > t // every:
        made = plans.room or tuple(Layer(np.empty_like(W), np.empty_like(b)) for W, b in layers)
    old = _addresses(plans.layers)
    new = old if made is None else _addresses(made)
    return (every, plans.many, t, plans.taken, plans.waiting, old, new), made


def _addresses(layers: Layers) -> Array:
    """Return the addresses of the Ws and bs, (2, L)."""
    return np.array([[W.ctypes.data for W, _ in layers], [b.ctypes.data for _, b in layers]])


def formulas(activation: Activation, density: Density, W: Array) -> tuple[int, Any, int, Any]:
    """Return the codes and constants of both, kept, for the dtype and size of W (D, D)."""
    parts = (activation.name, tuple(activation.params.items()))
    return _rounded(*parts, density.name, tuple(density.params.items()), W.dtype, len(W))


@functools.lru_cache(maxsize=64)
def _rounded(
    name: str, params: Any, density: str, others: Any, dtype: Any, D: int
) -> tuple[int, Any, int, Any]:
    codes = activation_constants(name, dict(params), dtype)
    return *codes, *density_constants(density, dict(others), dtype, D)
