"""`train_step` on CPU, compiled by Numba: the same signature and, up to rounding, the same results.

What the kernels do not support goes to the reference, see `supported`. The step consumes the state
that it is given: W, b and Adam's moments are changed in place. Copy them first if you need the old
ones. A rejected step changes nothing, because all that may not be finite is computed before W is
touched. The factors in `StepInfo` are the caller's own, for as long as they are held.
"""

from typing import Any

import numpy as np

from ...core.activations import Activation
from ...core.densities import Density
from ...rules import base as rules
from ...rules.base import State, StepInfo
from .many_steps import CACHE, Plan, attempt

__all__ = ["CACHE", "train_step"]
Array = Any


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


def _each(x: Array) -> tuple[Array, ...]:
    """Return the elements of x (L,) as arrays without axes."""
    return tuple([x[k, ...] for k in range(len(x))])
