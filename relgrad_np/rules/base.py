"""The contract of rules: a rule proposes a move, `train_step` alone decides and applies it.

A rule holds its hyperparameters; a schedule is a new rule for each step. State is data, a step is a
pure function of it. A step is rejected where anything that it would return is not finite (the
objective, step sizes, norms, the rule's own state, the new layers): it is reported, and the state
stays as it was.
"""

from typing import Any, NamedTuple, Protocol

from ..core.activations import Activation
from ..core.arrays import Array, check, detached
from ..core.backprop import backprop
from ..core.brief import brief
from ..core.densities import Density
from ..core.network import Deltas, Layers, Tape, forward
from ..core.objective import data_terms
from ..core.steps import Directions, apply_step
from ..core.tracking import Tracked, track, track_step
from ..core.trees import all_finite, each_array, keep


@brief
class State(NamedTuple):
    """What training carries: layers, the rule's state, the tracker or None, t steps tried.

    >>> State((), (), None, 0).t
    0
    """

    layers: Layers
    rule_state: Any
    tracked: Tracked | None
    t: int


@brief
class Move(NamedTuple):
    """What a rule proposes: a direction and a step size eta > 0, (), for each layer.

    A direction is of low rank (`Factors`), of full rank (`FullRank`), or a `Layer` that is added.
    `norms`: bounds on |K| of factors, else |d|; for the record. `rule_state`: what the rule will
    remember if the move is made. `bound` >= eta (|K| + 1), where the rule knows one: then no
    device is asked for the size of K.

    >>> Move((), (), ()).rule_state is None
    True
    """

    directions: Directions
    eta: tuple[Array, ...]
    norms: tuple[Array, ...]
    rule_state: Any = None
    bound: float | None = None


@brief
class StepInfo(NamedTuple):
    """What `train_step` reports; terms in nats, means over the batch, before the step.

    L_J2: None if not tracked; of each layer `eta` (0 where rejected), `norms` and `directions`, as
    `Move` has them; no directions of an additive step, which is never undone.

    >>> StepInfo(-3.0, 1.0, 0.5, (), (), False).log_likelihood
    -1.5
    """

    L_p: Array
    L_J1: Array
    L_J2: Array | None
    eta: tuple[Array, ...]
    norms: tuple[Array, ...]
    rejected: Array
    directions: Directions = ()

    @property
    def log_likelihood(self) -> Array | None:
        """L_p + L_J1 + L_J2; None if L_J2 is not tracked."""
        return None if self.L_J2 is None else self.L_p + self.L_J1 + self.L_J2


class Rule(Protocol):
    """What `train_step` asks of a rule, a frozen dataclass; `fit` replaces its learning rate.

    `kind`: "plain" or "exponential" steps in the group, or "additive" ones; `tracks`: log|det W|
    stays known. A rule that remembers also has `start(layers)`, its state before the first step: a
    tree of tuples of arrays, as it is in every `Move`.
    """

    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def tracks(self) -> bool: ...  # noqa: D102
    def propose(self, state: State, tape: Tape, deltas: Deltas) -> Move: ...  # noqa: D102


def init_state(
    layers: Layers, rule: Rule, *, inverse: bool = False, tracked: Tracked | None = None
) -> State:
    """Return the state before the first step; log|det W| (and inv(W)) tracked where the rule can.

    `tracked`: what is known of the layers already; without it L determinants, cubic, are computed.

    >>> import numpy as np, relgrad_np as rg
    >>> rg.init_state((rg.Layer(np.eye(2), np.zeros(2)),), rg.Plain()).tracked.logdet
    array([0.])
    """
    start = getattr(rule, "start", None)
    remembered = None if start is None else start(layers)
    if not rule.tracks:
        return State(layers, remembered, None, 0)
    return State(layers, remembered, tracked or track(layers, inverse=inverse), 0)


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
    inverse or product of (D, D) matrices while N < D. Raises: see `arrays.check`. torch tensors are
    detached: no autograd graph grows from step to step.

    >>> import numpy as np, relgrad_np as rg
    >>> state = rg.init_state((rg.Layer(np.eye(2), np.zeros(2)),), rg.Plain(0.1))
    >>> model = {"activation": rg.activation("identity"), "density": rg.density("normal")}
    >>> state, info = rg.train_step(state, np.ones((1, 2)), **model, rule=rg.Plain(0.1))
    >>> state.layers[0].b, state.t
    (array([-0.1, -0.1]), 1)
    """
    state, X, weights = each_array(detached, (state, X, weights))
    tape = forward(state.layers, X, activation)
    deltas = backprop(state.layers, tape, activation, density, weights)
    xp = check(state.layers)
    terms = data_terms(state.layers, tape, activation, density)
    L_p, L_J1 = (xp.mean(term if weights is None else weights * term) for term in terms)
    made = make_move(state, rule, rule.propose(state, tape, deltas), L_p, L_J1)
    return each_array(detached, made)  # type: ignore[no-any-return]


def make_move(
    state: State, rule: Rule, move: Move, L_p: Array, L_J1: Array
) -> tuple[State, StepInfo]:
    """Make the move where all of it is finite, else keep the state; L_p, L_J1: the batch's means.

    The one place that decides. A device is not asked: both outcomes are computed, one is kept.
    TypeError if the rule proposed anything else than a Move.
    """
    if not isinstance(move, Move):
        name, got = type(rule).__name__, type(move).__name__
        raise TypeError(f"`{name}.propose` must return a Move, got {got}")
    xp = check(state.layers)
    L_J2 = None if state.tracked is None else xp.sum(state.tracked.logdet)
    finite = xp.isfinite(L_p + L_J1 + (0 if L_J2 is None else L_J2))
    finite = finite & all_finite(xp, (move.eta, move.norms, move.rule_state))
    eta = tuple(xp.where(finite, e, xp.zeros_like(e)) for e in move.eta)
    layers = apply_step(state.layers, move.directions, eta, kind=rule.kind, bound=move.bound)
    tracked = state.tracked
    if tracked is not None:
        tracked = track_step(tracked, move.directions, eta, kind=rule.kind)
    finite = finite & all_finite(xp, (layers, tracked))
    layers, rule_state, tracked = keep(xp, finite, (layers, move.rule_state, tracked), state[:3])
    eta = tuple(xp.where(finite, e, xp.zeros_like(e)) for e in eta)
    directions = () if rule.kind == "additive" else move.directions
    info = StepInfo(L_p, L_J1, L_J2, eta, move.norms, ~finite, directions)
    return State(layers, rule_state, tracked, state.t + 1), info
