"""`train_step` and the multiplicative rules: state is data, a step is a pure function of it.

A rule holds its hyperparameters; a schedule is a new rule for each step. A step whose objective
or factors are not finite is rejected: it is reported, and leaves the layers as they were.
"""

from typing import Any, NamedTuple, Protocol

from ..core.activations import Activation
from ..core.arrays import Array, check
from ..core.backprop import backprop
from ..core.densities import Density
from ..core.network import Deltas, Layers, Tape, forward
from ..core.objective import data_terms
from ..core.steps import Steps
from ..core.tracking import Tracked, track


class State(NamedTuple):
    """What training carries: layers, the rule's state, the tracker or None, t steps tried.

    >>> State((), (), None, 0).t
    0
    """

    layers: Layers
    rule_state: Any
    tracked: Tracked | None
    t: int


class StepInfo(NamedTuple):
    """What `train_step` reports; terms in nats, means over the batch, before the step.

    L_J2: None if not tracked; of each layer `eta`, `norms` (bounds on |K|; Adam: |R_W|_F), factors.

    >>> StepInfo(-3.0, 1.0, 0.5, (), (), False).log_likelihood
    -1.5
    """

    L_p: Array
    L_J1: Array
    L_J2: Array | None
    eta: tuple[Array, ...]
    norms: tuple[Array, ...]
    rejected: Array
    factors: Steps = ()

    @property
    def log_likelihood(self) -> Array | None:
        """L_p + L_J1 + L_J2; None if L_J2 is not tracked."""
        return None if self.L_J2 is None else self.L_p + self.L_J1 + self.L_J2


class Rule(Protocol):
    """What `train_step` asks of a rule, a frozen dataclass; `tracks`: log|det W| stays known.

    `step` returns layers, rule state (None at the start), tracker, eta, norms and factors, all but
    the norms unchanged unless `finite`, (), holds. `fit` replaces the learning rate.
    """

    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def tracks(self) -> bool: ...  # noqa: D102
    def step(self, state: State, tape: Tape, deltas: Deltas, finite: Array) -> Any: ...  # noqa: D102


def init_state(layers: Layers, rule: Rule, *, inverse: bool = False) -> State:
    """Return the state before the first step; log|det W| (and inv(W)) tracked where the rule can.

    >>> import numpy as np, relgrad_np as rg
    >>> rg.init_state((rg.Layer(np.eye(2), np.zeros(2)),), rg.Plain()).tracked.logdet
    array([0.])
    """
    return State(layers, None, track(layers, inverse=inverse) if rule.tracks else None, 0)


def train_step(
    state: State,
    X: Array,
    *,
    activation: Activation,
    density: Density,
    rule: Rule,
    weights: Array = None,
) -> tuple[State, StepInfo]:
    """Take one step on the batch X (N, D), with `weights` (N,) of mean 1 if given; pure.

    Cost: 4 L - 1 products of (N, D) by (D, D) size for the multiplicative rules; no determinant,
    inverse or product of (D, D) matrices while N < D. Raises: see `_array.check`.

    >>> import numpy as np, relgrad_np as rg
    >>> state = rg.init_state((rg.Layer(np.eye(2), np.zeros(2)),), rg.Plain(0.1))
    >>> model = {"activation": rg.activation("identity"), "density": rg.density("normal")}
    >>> state, info = rg.train_step(state, np.ones((1, 2)), **model, rule=rg.Plain(0.1))
    >>> state.layers[0].b, state.t
    (array([-0.1, -0.1]), 1)
    """
    tape = forward(state.layers, X, activation)
    deltas = backprop(state.layers, tape, activation, density, weights)
    xp = check(state.layers)
    terms = data_terms(state.layers, tape, activation, density)
    L_p, L_J1 = (xp.mean(term if weights is None else weights * term) for term in terms)
    L_J2 = None if state.tracked is None else xp.sum(state.tracked.logdet)
    finite = xp.isfinite(L_p + L_J1 + (0 if L_J2 is None else L_J2))
    layers, rule_state, tracked, eta, norms, fs = rule.step(state, tape, deltas, finite)
    info = StepInfo(L_p, L_J1, L_J2, eta, norms, ~(finite & xp.isfinite(sum(norms))), fs)
    return State(layers, rule_state, tracked, state.t + 1), info
