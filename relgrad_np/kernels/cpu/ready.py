"""Whether the kernels are compiled, and compiling them before anything is timed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...core.network import Layer
from ...rules.adam import Adam
from ...rules.base import State, init_state
from ...rules.group_adam import GroupAdam
from ...rules.natural import Natural
from ...rules.recipe import Recipe, Record
from ..supported import CPU, supports
from . import adam, group_adam, natural, whole_step
from .stored import has_code


def tiny(state: State, activation: Any, density: Any, rule: Any) -> tuple[State, Any] | None:
    """Return a state and a batch that need the same machine code, or None where none is needed.

    Types alone decide what is compiled: the dtype, the kind of rule, and whether the layers know
    of a context. None: the kernels leave such a step to the reference.

    >>> import relgrad_np as rg
    >>> layers = rg.init_layers(np.random.default_rng(0), 9, 1, dtype="float32")
    >>> state, model = rg.init_state(layers, rg.Plain()), (rg.activation("elu"), rg.density("sech"))
    >>> small, X = tiny(state, *model, rg.Plain())
    >>> small.layers[0].W.shape, X.dtype
    ((2, 2), dtype('float32'))
    """
    first, tracked = state.layers[0].W, state.tracked
    if type(rule) not in CPU.rules or type(first) is not np.ndarray:
        return None
    if tracked is not None and tracked.inverse is not None:
        return None
    b = np.zeros((2, 2) if state.layers[0].b.ndim == 2 else 2, first.dtype)
    layers = tuple(Layer(np.eye(2, dtype=first.dtype), b) for _ in state.layers[:2])
    X = np.linspace(-1, 1, 40 + 20 * (b.ndim - 1), dtype=first.dtype).reshape(20, -1)
    small = init_state(layers, rule)
    if isinstance(rule, Recipe):  # whose constants must be known to the kernels
        use, seen = small.rule_state
        use = use._replace(variance=use.variance + 1, known=use.known + 1)
        small = small._replace(rule_state=Record(use, seen))
    return (small, X) if supports(CPU, small, X, activation, density, rule, None) else None


def is_ready(state: State, activation: Any, density: Any, rule: Any) -> bool:
    """Say whether steps from this state need no compiling, here or by code that is stored."""
    if _kind(state, rule) in DONE or tiny(state, activation, density, rule) is None:
        return True
    kernel, (W, b) = ENTRIES.get(type(rule), whole_step.take_steps), state.layers[0]
    return has_code(kernel, W.dtype, b.ndim)


def prepare(
    step: Callable[..., Any], state: State, activation: Any, density: Any, rule: Any
) -> None:
    """Compile or load what steps from this state need, by this `step` on a tiny batch."""
    if _kind(state, rule) in DONE:
        return
    if (small := tiny(state, activation, density, rule)) is not None:
        with np.errstate(all="ignore"):
            step(*small, activation=activation, density=density, rule=rule)
        DONE.add(_kind(state, rule))


def _kind(state: State, rule: Any) -> tuple[str, int, Any]:
    """Return what the machine code depends on."""
    W, b = state.layers[0]
    return str(W.dtype), b.ndim, type(rule) if type(rule) in ENTRIES else None


# what is compiled for these rules; the others share `whole_step.take_steps`
ENTRIES = {
    Adam: adam.take_steps,
    GroupAdam: group_adam.take_step,
    Natural: natural.natural_step,
}
DONE: set[tuple[str, int, Any]] = set()  # what this process has compiled or loaded
