"""The loop: shuffle, batch, step, record, stop.

Batches are near equal parts of a fresh permutation, at most `batch_size` rows each, so that no
epoch ends in a tiny, noisy one. A schedule is a factor of the learning rate, a function of t / T.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import array_api_compat as compat
import numpy as np

from ._arguments import number, one_of, whole
from ._array import Array, check, to_numpy
from .activations import Activation
from .adam import Adam
from .backprop import backprop
from .densities import Density
from .generative import require_onto
from .implementations import resolve
from .multiplicative import Tracked
from .network import Layer, Layers, forward
from .objective import data_terms, log_abs_det
from .rules import Exponential, Plain, Rule, State, StepInfo, init_state

RULES: dict[str, Callable[..., Any]] = {"plain": Plain, "exponential": Exponential, "adam": Adam}
SCHEDULES: dict[
    str, Callable[[float], float]
] = {  # factor of the learning rate, s = t / T in [0, 1)
    "linear": lambda s: 1 - s,
    "constant": lambda s: 1.0,
    "cosine": lambda s: 0.5 * (1 + math.cos(math.pi * s)),
    "harmonic": lambda s: 1 / (1 + 9 * s),
}


class Epoch(NamedTuple):
    """One entry of the history, log-likelihoods in nats per sample.

    `train`: mean over the epoch's batches, each before its step (None where log|det W| is not
    tracked); `validation`: after the epoch (None without X_val); `drift`: tracked minus exact
    sum of log|det W|; `learning_rate`: of the last step; `eta`: mean used, after caps.

    >>> Epoch(1, 10, 0.1, 0.1, -3.0, -3.1, 0.0, 0.2).validation
    -3.1
    """

    epoch: int
    t: int
    learning_rate: float
    eta: float
    train: float | None
    validation: float | None
    drift: float | None
    seconds: float


class FitResult(NamedTuple):
    """What `fit` returns; `best_layers` are those of `best_epoch`, 0 for the start.

    >>> FitResult((), (), 0, (), None, "epochs", 0).stop_reason
    'epochs'
    """

    layers: Layers
    best_layers: Layers
    best_epoch: int
    history: tuple[Epoch, ...]
    tracked: Tracked | None
    stop_reason: str
    n_rejected: int


class FitDivergedError(FloatingPointError):
    """The objective was not finite; `result` holds the last good layers and the history.

    >>> issubclass(FitDivergedError, FloatingPointError)
    True
    """

    def __init__(self, message: str, result: FitResult) -> None:
        super().__init__(message)
        self.result = result


def make_rule(rule: str | Rule, learning_rate: float | None = None) -> Rule:
    """Return the rule of this name, or the rule itself, at this learning rate if one is given.

    >>> make_rule("exponential", 0.02).learning_rate
    0.02
    """
    made = RULES[one_of("rule", rule, RULES)]() if isinstance(rule, str) else rule
    if learning_rate is None:
        return made
    number("learning_rate", learning_rate, 0, math.inf, "positive")
    return replace(made, learning_rate=float(learning_rate))  # type: ignore[type-var]


def fit(
    layers: Layers,
    X: Array,
    activation: Activation,
    density: Density,
    *,
    rule: str | Rule = "plain",
    learning_rate: float | None = None,
    schedule: str = "linear",
    warmup: int = 0,
    batch_size: int = 100,
    epochs: int = 15,
    rng: np.random.Generator,
    X_val: Array | None = None,
    patience: int | None = None,
    implementation: str | None = None,
    progress: bool = False,
    callbacks: Sequence[Callable[[Epoch, State], Any]] = (),
) -> FitResult:
    """Maximise the mean log-likelihood of X (N, D) from `layers` on, by minibatch steps.

    Parameters
    ----------
    layers : tuple of Layer
        The start, see `init_layers`; copied, never changed.
    X, X_val : arrays (N, D)
        Samples to fit, and to validate and stop by; library, device and dtype of the layers.
    rule : "plain", "exponential", "adam", or a rule
        A rule of your own is a frozen dataclass that follows `Rule`.
    learning_rate : float
        Default: the rule's own.
    schedule : "linear" (to 0), "constant", "cosine" (to 0), "harmonic" (to 1/10)
    warmup : int
        Steps over which the learning rate first rises linearly.
    batch_size : int
        Upper bound; the epoch is cut into equal parts.
    rng : numpy.random.Generator
        Shuffles; nothing else is random.
    patience : int
        Stop after so many epochs without a better validation; needs X_val.
    implementation : "reference" or None
        Which twin of `train_step` takes the steps; None: the fastest at hand.
    progress : bool
        A bar with log-likelihood and rate (needs tqdm).
    callbacks : functions of (Epoch, State)
        Called after each epoch; one that returns something true stops the fit.

    Returns
    -------
    FitResult
        `best_layers` are the best in validation, without X_val the last.

    Raises
    ------
    FitDivergedError (a FloatingPointError)
        The objective is not finite; names step and layer, keeps the last good layers.
    ValueError, TypeError
        Arguments, by name; samples that are not finite, by row and column.

    Cost: a train_step for each batch, L determinants for each epoch.

    >>> import numpy as np, relgrad_np as rg
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 2)) * [1.0, 3.0]
    >>> result = rg.fit(rg.init_layers(rng, 2, 1), X, rg.activation("identity"),
    ...                 rg.density("normal"), rng=rng, epochs=5, learning_rate=0.1)
    >>> result.history[0].train < result.history[-1].train, result.stop_reason
    (True, 'epochs')
    """
    require_onto(activation)
    xp = check(layers, X=X)
    require_finite("X", X)
    if X_val is not None:
        check(layers, X_val=X_val)
        require_finite("X_val", X_val)
    elif patience is not None:
        raise ValueError("`patience` needs `X_val`")
    check_options(schedule, warmup, batch_size, epochs, patience, implementation, rng)
    base, factor = make_rule(rule, learning_rate), SCHEDULES[schedule]
    step = resolve(implementation)
    N = X.shape[0]
    batches = math.ceil(N / batch_size)
    if isinstance(base, Adam) and base.clock == 0:
        base = replace(base, clock=batches)
    total = epochs * batches

    state = init_state(
        tuple(Layer(xp.asarray(W, copy=True), xp.asarray(b, copy=True)) for W, b in layers), base
    )
    watch = _Watch(state, activation, density, X_val)
    bar = _progress_bar(total) if progress else None
    started = time.perf_counter()
    with np.errstate(all="ignore"):  # what is not finite is found and named below
        for epoch in range(1, epochs + 1):
            infos: list[StepInfo] = []
            for rows in np.array_split(rng.permutation(N), batches):
                t = state.t
                eta = base.learning_rate * factor(t / total) * min(1.0, (t + 1) / (warmup + 1))
                batch = xp.take(X, xp.asarray(rows, device=compat.device(X)), axis=0)
                state, info = step(
                    state,
                    batch,
                    activation=activation,
                    density=density,
                    rule=replace(base, learning_rate=eta),  # type: ignore[type-var]
                )
                infos.append(info)
                if bool(info.rejected):
                    raise watch.diverged(state, batch)
                if bar is not None:
                    bar.update()
                    if info.log_likelihood is not None and state.t % 10 == 0:
                        bar.set_postfix_str(f"log p {float(info.log_likelihood):.2f} nats")
            record = watch.record(epoch, state, infos, eta, time.perf_counter() - started)
            stops = [callback(record, state) for callback in callbacks]
            if any(stops):
                watch.stop_reason = "callback"
            elif patience is not None and epoch - watch.best_epoch >= patience:
                watch.stop_reason = "patience"
            if watch.stop_reason != "epochs":
                break
    if bar is not None:
        bar.close()
    return watch.result(state)


def check_options(
    schedule: str,
    warmup: int,
    batch_size: int,
    epochs: int,
    patience: int | None,
    implementation: str | None,
    rng: Any,
) -> None:
    """Refuse, by name, what `fit` could not use; so that a caller can ask before it begins."""
    one_of("schedule", schedule, SCHEDULES)
    for name, value in (("batch_size", batch_size), ("epochs", epochs)):
        whole(name, value)
    for name, optional in (("warmup", warmup or None), ("patience", patience)):
        if optional is not None:
            whole(name, optional)
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"`rng` must be a numpy.random.Generator, got {type(rng).__name__}")
    resolve(implementation)


def require_finite(name: str, X: Array) -> None:
    """Refuse samples that are NaN or infinite, naming the first one's row and column."""
    xp = compat.array_namespace(X)
    if not bool(xp.all(xp.isfinite(X))):
        row, column = np.argwhere(~np.isfinite(to_numpy(X)))[0]
        value = to_numpy(X)[row, column]
        raise ValueError(f"`{name}` must be finite, got {value} in row {row}, column {column}")


class _Watch:
    """What the loop has seen: history, the best layers, and why it stopped."""

    def __init__(self, state: State, activation: Activation, density: Density, X_val: Any) -> None:
        self.activation, self.density, self.X_val = activation, density, X_val
        self.history: list[Epoch] = []
        self.best_layers, self.best_epoch, self.best = state.layers, 0, -math.inf
        self.stop_reason = "epochs"

    def record(
        self, epoch: int, state: State, infos: list[StepInfo], eta: float, seconds: float
    ) -> Epoch:
        """Validate, note the epoch, keep the best layers."""
        exact = float(log_abs_det(state.layers))
        train = drift = None
        if state.tracked is not None:
            seen = [info.L_p + info.L_J1 + info.L_J2 for info in infos]
            train = float(np.mean([float(value) for value in seen]))
            drift = float(np.sum(to_numpy(state.tracked.logdet))) - exact
        validation = None
        if self.X_val is not None:
            tape = forward(state.layers, self.X_val, self.activation)
            L_p, L_J1 = data_terms(state.layers, tape, self.activation, self.density)
            validation = float(np.mean(to_numpy(L_p + L_J1))) + exact
            validation = validation if math.isfinite(validation) else -math.inf
        used = float(np.mean([float(e) for info in infos for e in info.eta]))
        entry = Epoch(epoch, state.t, eta, used, train, validation, drift, seconds)
        self.history.append(entry)
        if validation is None or validation > self.best:
            self.best_layers, self.best_epoch = state.layers, epoch
            self.best = -math.inf if validation is None else validation
        return entry

    def result(self, state: State) -> FitResult:
        """Wrap up."""
        return FitResult(
            state.layers,
            self.best_layers,
            self.best_epoch,
            tuple(self.history),
            state.tracked,
            self.stop_reason,
            int(self.stop_reason == "diverged"),
        )

    def diverged(self, state: State, batch: Array) -> FitDivergedError:
        """Name the first layer whose output or delta is not finite on this batch."""
        self.stop_reason = "diverged"
        tape = forward(state.layers, batch, self.activation)
        deltas = backprop(state.layers, tape, self.activation, self.density)
        finite = [np.isfinite(to_numpy(x)).all() for x in (*tape.Ys, *deltas)]
        L = len(deltas)
        bad = next((k % L for k, good in enumerate(finite) if not good), L - 1)
        what = "output" if not all(finite[:L]) else "delta" if not all(finite) else "log-likelihood"
        return FitDivergedError(
            f"the objective is not finite at step {state.t}: first the {what} of layer {bad}; "
            "the last good layers are kept; try a smaller learning rate",
            self.result(state),
        )


def _progress_bar(total: int) -> Any:
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        raise ModuleNotFoundError("progress needs tqdm: pip install 'relgrad-np[demo]'") from None
    return tqdm(total=total, unit="step", dynamic_ncols=True)
