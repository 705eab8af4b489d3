"""Many steps in one call: what they are taken with, and what became of them.

Kernels that take many steps in one call do at each what `fit` does at one: the guard judges a step
by the batch after it, and layers join the running average. They stop before a batch that is not
finite or shows that the step before it was bad. Their caller takes over there, one step at a time.
"""

import sys
from typing import Any, NamedTuple

import numpy as np

from ..core.arrays import Array
from ..core.network import Layers
from ..core.steps import Factors
from ..core.tracking import Tracked
from ..rules.base import State
from ..rules.recipe import SHORT, WINDOW, Recipe


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
    def eta(self) -> tuple[Array, ...]:
        """The step size of each layer in the last step, arrays without axes."""
        last = self.sizes[self.n - 1, 0]
        return tuple([last[k, ...] for k in range(len(last))])

    @property
    def etas(self) -> Array:
        """The mean step size of each step, (n,), float64."""
        return np.mean(self.sizes[: self.n, 0].astype(np.float64), axis=1)


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
