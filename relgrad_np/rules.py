"""`train_step` and the multiplicative rules: state is data, a step is a pure function of it.

A rule holds its hyperparameters; a schedule is a new rule for each step. A step whose objective
or factors are not finite is rejected: it is reported, and leaves the layers as they were.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from ._arguments import store
from ._array import Array, check
from ._numerics import norm_bound
from .activations import Activation
from .backprop import backprop
from .densities import Density
from .multiplicative import Factors, Steps, apply_step, factors
from .network import Deltas, Layers, Tape, forward
from .objective import data_terms
from .tracking import Tracked, track, track_step


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


@dataclass(frozen=True)
class Plain:
    """W+ = (I + eta xi) W, with eta_k = min(learning_rate, tau / |K_k|), K as in `Factors`.

    tau < 1 keeps I + eta xi invertible whatever the data; |K| is bounded by `norm_bound`.

    >>> Plain(0.01).kind, Plain(0.01).tracks
    ('plain', True)
    """

    learning_rate: float = 0.03
    tau: float = 0.7
    kind: ClassVar[str] = "plain"
    tracks: ClassVar[bool] = True

    def __post_init__(self) -> None:
        store(self, "learning_rate", 0.0, float("inf"), "positive")
        store(self, "tau", 0.0, 1 - 2**-24, "in (0, 1)")

    def step(self, state: State, tape: Tape, deltas: Deltas, finite: Array) -> Any:
        """Cap eta, take the rank-N step, track it; where not finite the step is none, eta = 0."""
        xp = check(state.layers)
        fs = factors(state.layers, tape, deltas)
        norms = tuple(norm_bound(f.K) + xp.sum(0 * f.A) + xp.sum(0 * f.u) for f in fs)
        finite = finite & xp.isfinite(sum(norms))
        caps = (xp.minimum(self.tau / K, xp.full_like(K, self.learning_rate)) for K in norms)
        etas = tuple(xp.where(finite, cap, xp.zeros_like(cap)) for cap in caps)
        fs = tuple(Factors(*(xp.where(finite, x, xp.zeros_like(x)) for x in f)) for f in fs)
        bound = self.tau + self.learning_rate
        layers = apply_step(state.layers, fs, etas, kind=self.kind, bound=bound)
        tracked = state.tracked and track_step(state.tracked, fs, etas, kind=self.kind)
        return layers, None, tracked, etas, norms, fs


@dataclass(frozen=True)
class Exponential(Plain):
    """W~+ = exp(eta xi~) W~: the same first-order move along the group's own curve, same cap.

    >>> Exponential(0.01).kind
    'exponential'
    """

    kind: ClassVar[str] = "exponential"


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
