"""What the kernels support. Everything else is left to the reference, which supports all of it.

The activation and the density are compared with the core's by their values at some points: a name
alone does not say what somebody else's function computes.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..core.activations import Activation, activation
from ..core.densities import Density, density
from ..rules.adam import Adam
from ..rules.base import Rule, State
from ..rules.group_adam import GroupAdam
from ..rules.natural import Natural
from ..rules.plain import Exponential, Plain
from ..rules.recipe import Recipe
from ..rules.scalar import Scalar
from .constants import DENSITIES

RULES = (Plain, Exponential, Recipe, Scalar, Adam)
POINTS = np.array([-40.0, -3.0, -0.5, 0.0, 0.7, 2.0, 30.0])


class Backend(NamedTuple):
    """What one set of kernels has: its arrays, its activations, its rules.

    `rules` and `densities`: those of all kernels, unless it has more. `unknown`: whether they can
    take a recipe's steps while its constants are not known. `context`: whether they know biases
    (D, c + 1); all know b (D,).
    """

    array: type[Any]
    activations: tuple[str, ...]
    unknown: bool = False
    rules: tuple[type[Any], ...] = RULES
    densities: tuple[str, ...] = DENSITIES
    context: bool = False


# what the kernels of `cpu` have; those of `cuda` know CuPy's arrays, and say it themselves
CPU = Backend(
    np.ndarray,
    ("smooth_leaky_relu", "leaky_tanh", "identity"),
    rules=(*RULES, GroupAdam, Natural),
    densities=(*DENSITIES, "multivariate_t"),
    context=True,
)


def supports(
    backend: Backend,
    state: State,
    X: Any,
    activation: Activation,
    density: Density,
    rule: Rule,
    weights: Any,
) -> bool:
    """Say whether the kernels of this backend can take the step; if not, the reference takes it.

    They take arrays of one library, device and dtype, whose shapes fit; the package's rules, Adam
    on the output side with its bias in the group or as published; no tracked inverse. With one
    layer the activation doesn't matter.

    >>> import relgrad_np as rg
    >>> state = rg.init_state((rg.Layer(np.eye(2), np.zeros(2)),), rg.Plain())
    >>> model = rg.activation("softplus"), rg.density("normal")
    >>> backend = Backend(np.ndarray, ("identity",))
    >>> supports(backend, state, np.ones((1, 2)), *model, rg.Plain(), None)
    True
    """
    if type(rule) not in backend.rules or not supports_variant(rule) or not state.layers:
        return False
    if state.tracked is not None and state.tracked.inverse is not None:
        return False
    if not _fit_together(backend, state.layers, X, weights):
        return False
    if isinstance(rule, Natural) and density.name not in DENSITIES:
        return False  # its passes have the samples side by side, and a row is not together
    if isinstance(rule, Recipe) and not backend.unknown and not state.rule_state.use.known:
        return False
    known = activation.name in backend.activations and knows(activation)
    known = known or len(state.layers) == 1
    return known and density.name in backend.densities and knows(density)


def supports_variant(rule: Any) -> bool:
    """Say whether the kernels have this variant of Adam; the other rules have none.

    >>> supports_variant(Adam(side="input")), supports_variant(Plain())
    (False, True)
    """
    return not isinstance(rule, Adam) or (
        rule.side == "output" and rule.bias != "separate" and rule.clock > 0
    )


def _fit_together(backend: Backend, layers: Any, X: Any, weights: Any) -> bool:
    """Say whether all of these are arrays of its type, of one device and dtype, and fit."""
    array, (first, b) = backend.array, layers[0]
    if type(first) is not array or first.ndim != 2 or first.dtype not in (np.float32, np.float64):
        return False
    if type(X) is not array or X.ndim != 2 or 0 in X.shape:
        return False
    N, D = X.shape[0], first.shape[0]
    given = b.shape[1:] if type(b) is array and b.ndim == 2 and b.shape[1] else ()
    if given and not backend.context:
        return False
    expected: list[tuple[Any, Any]] = [(X, (N, D + given[0] - 1 if given else D))]
    for W, b in layers:
        expected += [(W, (D, D)), (b, (D, *given))]
    if weights is not None:
        expected.append((weights, (N,)))
    return all(
        type(x) is array
        and x.dtype == first.dtype
        and x.shape == shape
        and x.device == first.device
        for x, shape in expected
    )


def knows(part: Activation | Density) -> bool:
    """Say whether the functions of an activation or density are those of the core, by that name.

    >>> from dataclasses import replace
    >>> knows(density("sech")), knows(replace(density("sech"), name="normal"))
    (True, False)
    """
    maker = density if isinstance(part, Density) else activation
    return _is_the_cores(maker, part.name, tuple(part.params.items()), _functions(part))


@functools.lru_cache(maxsize=32)
def _is_the_cores(
    maker: Callable[..., Any], name: str, params: tuple[tuple[str, float], ...], functions: Any
) -> bool:
    """Compare these functions with those of the core, at some points."""
    try:
        own = maker(name, **dict(params))
    except ValueError:  # the core has no such name, or no such parameters
        return False
    return own.params == dict(params) and all(
        np.allclose(f(POINTS), g(POINTS), rtol=1e-12)
        for f, g in zip(functions, _functions(own), strict=True)
    )


def _functions(part: Activation | Density) -> tuple[Callable[[Any], Any], ...]:
    """Return the functions that a step calls."""
    if isinstance(part, Density):
        return part.log_prob, part.score
    return part.sigma, part.dsigma, part.log_dsigma, part.dlog_dsigma
