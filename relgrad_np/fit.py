"""The loop: shuffle, batch, step, record, stop.

Batches are near equal parts of a fresh permutation, at most `batch_size` rows each, so that no
epoch ends in a tiny, noisy one. A schedule is a factor of the learning rate, a function of t / T.
"""

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import array_api_compat as compat
import numpy as np

from ._arguments import generator, number, one_of, whole
from ._array import Array, check, from_numpy, to_numpy
from .activations import Activation
from .adam import Adam
from .backprop import backprop
from .densities import Density
from .generative import require_model
from .implementations import resolve
from .multiplicative import Tracked, track
from .network import Layer, Layers, forward
from .objective import data_terms, log_abs_det
from .recipe import Recipe
from .rules import Exponential, Plain, Rule, State, StepInfo, init_state

RULES: dict[str, Callable[..., Any]] = {
    "plain": Plain,
    "exponential": Exponential,
    "recipe": Recipe,
    "adam": Adam,
}
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
    sum of log|det W|; `learning_rate`: of the last step; `eta`: mean used, after caps;
    `condition`: the largest condition number of a W, and its `layer` (None above D = 1024).

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
    condition: float | None = None
    layer: int | None = None


class Snapshot(NamedTuple):
    """All that a fit needs to go on, bitwise as if nothing had happened.

    `state`: layers, rule state, tracker, t; `epoch` to be worked on and the `batch`es of it already
    done; the generator before that epoch's permutation and now; the best layers so far; history;
    `seen`: log-likelihood (NaN if untracked), mean eta and weight of each batch of the epoch;
    `terms`: what the fit was asked for, with hashes of its data, so that no other one resumes it.

    >>> Snapshot._fields[1:3]
    ('epoch', 'batch')
    """

    state: State
    epoch: int
    batch: int
    rng_epoch: Mapping[str, Any]
    rng_now: Mapping[str, Any]
    best_layers: Layers
    best_epoch: int
    best: float
    history: tuple[Epoch, ...]
    seen: tuple[tuple[float, float, float], ...]
    seconds: float
    n_rejected: int
    terms: dict[str, str]
    stop_reason: str = ""


class Keeper(Protocol):
    """Who keeps snapshots; `fit` asks after each step. See `checkpoint.Keeper`.

    A `stop` that is not None ends the fit.
    """

    stop: int | None

    def due(self, t: int, end: bool) -> bool:
        """Say whether a snapshot should be written now."""

    def write(self, snapshot: Snapshot) -> None:
        """Write it."""


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
    transform: Callable[[Array, np.random.Generator], Array] | None = None,
    sample_weight: Any = None,
    progress: bool = False,
    callbacks: Sequence[Callable[[Epoch, State], Any]] = (),
    keeper: Keeper | None = None,
    resume: Snapshot | None = None,
) -> FitResult:
    """Maximise the mean log-likelihood of X (N, D) from `layers` on, by minibatch steps.

    Parameters
    ----------
    layers : tuple of Layer
        The start, see `init_layers`; copied, never changed.
    X, X_val : arrays (N, D)
        Samples to fit, and to validate and stop by; library, device and dtype of the layers.
    rule : "plain", "exponential", "recipe", "adam", or a rule
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
    transform : function of (rows of X, rng)
        Brings each batch to model space; X may then be anything with rows, such as a memory-mapped
        file of integers.
    sample_weight : (N,) numbers, not negative
        The weighted mean is maximised; weights are relative. A row of weight 2 counts as two rows,
        one of weight 0 is left out. A batch takes its step with its own weights, of mean 1, and
        with eta times its share, so that the steps of an epoch add up to the whole.
    progress : bool
        A bar with log-likelihood and rate (needs tqdm).
    callbacks : functions of (Epoch, State)
        Called after each epoch; one that returns something true stops the fit.
    keeper, resume : Keeper, Snapshot
        Who writes snapshots, and the one to go on from: the same arguments, then the same result.

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
    require_model(activation, density)
    xp = check(layers) if transform else check(layers, X=X)
    require_finite("X", X)
    if X_val is not None:
        check(layers, X_val=X_val)
        require_finite("X_val", X_val)
    elif patience is not None:
        raise ValueError("`patience` needs `X_val`")
    warmup, batch_size, epochs, patience = check_options(
        schedule, warmup, batch_size, epochs, patience, implementation, rng
    )
    base, factor = make_rule(rule, learning_rate), SCHEDULES[schedule]
    step = resolve(implementation)
    rows_in, weights = weighted(sample_weight, X.shape[0])
    batches = math.ceil(len(rows_in) / batch_size)
    if isinstance(base, Adam) and base.clock == 0:
        base = replace(base, clock=batches)
    total = epochs * batches

    terms = {
        "rule": repr(base),
        "schedule": schedule,
        "warmup": str(warmup),
        "batch_size": str(batch_size),
        "epochs": str(epochs),
        "patience": str(patience),
        "X": fingerprint(X),
        "X_val": fingerprint(X_val),
        "sample_weight": fingerprint(None if weights is None else weights[:, None]),
    }
    own = tuple(Layer(xp.asarray(W, copy=True), xp.asarray(b, copy=True)) for W, b in layers)
    watch = _Watch(init_state(own, base), activation, density, X_val, terms)
    if resume is not None:
        watch.restore(resume, own)
        rng.bit_generator.state = resume.rng_epoch
    bar = _progress_bar(total, watch.state.t) if progress else None
    with np.errstate(all="ignore"):  # what is not finite is found and named below
        while watch.epoch <= epochs and not watch.stop_reason:
            watch.rng_epoch = rng.bit_generator.state
            order = rows_in[rng.permutation(len(rows_in))]
            if resume is not None and watch.batch > 0:  # the batches done may have drawn, too
                rng.bit_generator.state = resume.rng_now
            resume = None
            for rows in np.array_split(order, batches)[watch.batch :]:
                t = watch.state.t
                eta = base.learning_rate * factor(t / total) * min(1.0, (t + 1) / (warmup + 1))
                share, extra = 1.0, {}
                if weights is not None:
                    share = float(weights[rows].mean())
                    like = watch.state.layers[0].W
                    extra = {"weights": from_numpy(weights[rows] / share, like)}
                batch = _rows(X, rows, xp)
                if transform is not None:
                    batch = transform(batch, rng)
                state, info = step(
                    watch.state,
                    batch,
                    activation=activation,
                    density=density,
                    rule=replace(base, learning_rate=eta * share),  # type: ignore[type-var]
                    **extra,
                )
                watch.step(state, info, share * len(rows))
                if bool(info.rejected):
                    raise watch.diverged(batch)
                if bar is not None:
                    bar.update()
                    if info.log_likelihood is not None and state.t % 10 == 0:
                        bar.set_postfix_str(f"log p {float(info.log_likelihood):.2f} nats")
                end = watch.batch == batches
                if end:
                    record = watch.record(eta)
                    stops = [callback(record, state) for callback in callbacks]
                    if any(stops):
                        watch.stop_reason = "callback"
                    elif patience is not None and record.epoch - watch.best_epoch >= patience:
                        watch.stop_reason = "patience"
                if keeper is not None and keeper.due(state.t, end):
                    keeper.write(watch.snapshot(rng))
                if keeper is not None and keeper.stop is not None:
                    watch.stop_reason = watch.stop_reason or "signal"
                if watch.stop_reason:
                    break
    if bar is not None:
        bar.close()
    watch.stop_reason = watch.stop_reason or "epochs"
    return watch.result()


def weighted(sample_weight: Any, N: int) -> tuple[Any, Any]:
    """Return the rows in use, (n,), and weights (N,) of mean 1 over them, or None for equal ones.

    >>> weighted([2, 0, 1, 1], 4)[0]
    array([0, 2, 3])
    """
    if sample_weight is None:
        return np.arange(N), None
    weights = np.asarray(sample_weight)
    if weights.shape != (N,) or weights.dtype.kind not in "biuf":
        raise ValueError(
            f"`sample_weight` must be numbers of shape ({N},), got {weights.dtype} of shape "
            f"{weights.shape}"
        )
    weights = weights.astype(float)
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any():
        raise ValueError("`sample_weight` must be finite, not negative, and not all 0")
    rows = np.flatnonzero(weights > 0)
    return rows, None if np.ptp(weights[rows]) == 0 else weights / weights[rows].mean()


def _rows(X: Array, rows: Any, xp: Any) -> Array:
    """Return these rows of X, in X's library; a memory-mapped file is read no further."""
    if isinstance(X, np.ndarray):
        return np.asarray(X[rows])
    return xp.take(X, xp.asarray(rows, device=compat.device(X)), axis=0)


def check_options(
    schedule: str,
    warmup: int,
    batch_size: int,
    epochs: int,
    patience: int | None,
    implementation: str | None,
    rng: Any,
) -> tuple[int, int, int, int | None]:
    """Refuse, by name, what `fit` could not use; so that a caller can ask before it begins.

    Returns warmup, batch_size, epochs, patience as Python's integers.

    >>> check_options("linear", 0, 10, 3, None, None, np.random.default_rng(0))
    (0, 10, 3, None)
    """
    one_of("schedule", schedule, SCHEDULES)
    if not isinstance(warmup, (int, np.integer)) or isinstance(warmup, bool) or warmup < 0:
        raise ValueError(f"`warmup` must be a number of steps, 0 or more, got {warmup!r}")
    batch_size, epochs = whole("batch_size", batch_size), whole("epochs", epochs)
    patience = None if patience is None else whole("patience", patience)
    generator(rng)
    resolve(implementation)
    return int(warmup), batch_size, epochs, patience


def require_finite(name: str, X: Array) -> None:
    """Refuse samples that are NaN or infinite, naming the first one's row and column.

    Looks at 65,536 rows at a time, so that a memory-mapped file is not copied.
    """
    if isinstance(X, np.ndarray) and X.dtype.kind in "biu":
        return
    for start in range(0, X.shape[0], 2**16):
        part = X[start : min(start + 2**16, X.shape[0]), :]
        xp = compat.array_namespace(part)
        if not bool(xp.all(xp.isfinite(part))):
            row, column = np.argwhere(~np.isfinite(to_numpy(part)))[0]
            value, row = to_numpy(part)[row, column], start + row
            raise ValueError(f"`{name}` must be finite, got {value} in row {row}, column {column}")


class _Watch:
    """Where the loop is and what it has seen: state, cursor, history, the best layers."""

    def __init__(
        self,
        state: State,
        activation: Activation,
        density: Density,
        X_val: Any,
        terms: dict[str, str],
    ) -> None:
        self.activation, self.density, self.X_val = activation, density, X_val
        self.terms = terms
        self.state, self.epoch, self.batch = state, 1, 0
        self.rng_epoch: Mapping[str, Any] = {}
        self.history: list[Epoch] = []
        self.seen: list[tuple[float, float, float]] = []
        self.stop_reason, self.n_rejected = "", 0
        self.started = time.perf_counter()
        self.best_layers, self.best_epoch, self.best = state.layers, 0, -math.inf
        self.good_layers = state.layers
        if X_val is not None:  # the start may be better than all that follows
            with np.errstate(all="ignore"):
                self.best = self.validate(float(log_abs_det(state.layers)))

    def validate(self, exact: float) -> float:
        """Return the mean log-likelihood of X_val, -inf for NaN; `exact` is sum log|det W|."""
        layers = self.state.layers
        tape = forward(layers, self.X_val, self.activation)
        L_p, L_J1 = data_terms(layers, tape, self.activation, self.density)
        value = float(np.mean(to_numpy(L_p + L_J1))) + exact
        return value if math.isfinite(value) else -math.inf

    def step(self, state: State, info: StepInfo, weight: float) -> None:
        """Note a step on a batch of this total weight."""
        value = math.nan if info.L_J2 is None else float(info.L_p + info.L_J1 + info.L_J2)
        self.seen.append((value, float(np.mean([float(e) for e in info.eta])), weight))
        self.state, self.batch = state, self.batch + 1
        self.n_rejected += int(bool(info.rejected))

    def record(self, eta: float) -> Epoch:
        """End the epoch: validate, note it, keep the best layers."""
        state = self.state
        exact = float(log_abs_det(state.layers))
        train = drift = validation = None
        if state.tracked is not None:
            train = float(np.average([s[0] for s in self.seen], weights=[s[2] for s in self.seen]))
            drift = float(np.sum(to_numpy(state.tracked.logdet))) - exact
            if not abs(drift) <= 1e-3 + 1e-6 * abs(exact):  # seen in the history; start afresh
                tracked = track(state.layers, inverse=state.tracked.inverse is not None)
                self.state = state = state._replace(tracked=tracked)
        if self.X_val is not None:
            validation = self.validate(exact)
        used = float(np.mean([s[1] for s in self.seen]))
        seconds = time.perf_counter() - self.started
        worst = worst_condition(state.layers)
        entry = Epoch(self.epoch, state.t, eta, used, train, validation, drift, seconds, *worst)
        self.history.append(entry)
        if math.isfinite(exact) and validation != -math.inf:
            self.good_layers = state.layers
        if validation is None or validation > self.best:
            self.best_layers, self.best_epoch = state.layers, self.epoch
            self.best = -math.inf if validation is None else validation
        self.epoch, self.batch, self.seen = self.epoch + 1, 0, []
        return entry

    def snapshot(self, rng: np.random.Generator) -> Snapshot:
        """Return where we are."""
        now = rng.bit_generator.state
        return Snapshot(
            state=self.state,
            epoch=self.epoch,
            batch=self.batch,
            rng_epoch=self.rng_epoch if self.batch else now,
            rng_now=now,
            best_layers=self.best_layers,
            best_epoch=self.best_epoch,
            best=self.best,
            history=tuple(self.history),
            seen=tuple(self.seen),
            seconds=time.perf_counter() - self.started,
            n_rejected=self.n_rejected,
            terms=self.terms,
            stop_reason=self.stop_reason,
        )

    def restore(self, snapshot: Snapshot, own: Layers) -> None:
        """Go back to a snapshot; ValueError unless it is of a fit in these very terms."""
        if not isinstance(snapshot, Snapshot):
            raise TypeError(f"`resume` must be a Snapshot, got {type(snapshot).__name__}")
        xp = check(own)
        shapes = [[x.shape for x in layer] for layer in own]
        if [[x.shape for x in layer] for layer in snapshot.state.layers] != shapes:
            raise ValueError("`resume` must be a snapshot of layers of these shapes")
        if str(snapshot.state.layers[0].W.dtype) != (dtype := str(own[0].W.dtype).split(".")[-1]):
            raise ValueError(f"`resume` must be a snapshot of {dtype} layers")
        for name, term in self.terms.items():
            if snapshot.terms.get(name) != term:
                was = snapshot.terms.get(name)
                raise ValueError(f"`{name}` can't change on resume: it was {was}, now {term}")

        def move(x: Any) -> Any:
            return xp.asarray(x, device=compat.device(own[0].W))

        self.state = _each_array(move, snapshot.state)
        self.best_layers = _each_array(move, snapshot.best_layers)
        self.epoch, self.batch = snapshot.epoch, snapshot.batch
        self.best_epoch, self.best = snapshot.best_epoch, snapshot.best
        self.history, self.seen = list(snapshot.history), list(snapshot.seen)
        self.n_rejected, self.good_layers = snapshot.n_rejected, self.best_layers
        self.stop_reason = snapshot.stop_reason
        self.started = time.perf_counter() - snapshot.seconds

    def result(self) -> FitResult:
        """Wrap up."""
        return FitResult(
            self.state.layers,
            self.best_layers,
            self.best_epoch,
            tuple(self.history),
            self.state.tracked,
            self.stop_reason,
            self.n_rejected,
        )

    def diverged(self, batch: Array) -> FitDivergedError:
        """Name the first layer whose output or delta is not finite on this batch."""
        self.stop_reason, t = "diverged", self.state.t
        layers = self.state.layers
        tape = forward(layers, batch, self.activation)
        deltas = backprop(layers, tape, self.activation, self.density)
        logdets = [log_abs_det((layer,)) for layer in layers]
        parts = [("output", tape.Ys), ("log|det W|", logdets), ("delta", deltas)]
        found = (
            f"the {what} of layer {k}"
            for what, arrays in parts
            for k, x in enumerate(arrays)
            if not np.isfinite(to_numpy(x)).all()
        )
        self.state = self.state._replace(layers=self.good_layers, tracked=None)
        first = next(found, "the log-likelihood of the latent")
        return FitDivergedError(
            f"the objective is not finite at step {t}: first {first}; the best layers and those of "
            "the last epoch with a finite objective are kept; try a smaller learning rate",
            self.result(),
        )


def fingerprint(X: Any) -> str:
    """Tell rows (N, D) from others: their shape, and a hash of up to 1,000 of them.

    >>> fingerprint(np.ones((3, 2)))[:4], fingerprint(None)
    ('3x2 ', 'None')
    """
    if X is None:
        return "None"
    step = max(1, X.shape[0] // 1000)
    rows = np.ascontiguousarray(to_numpy(X[::step, :]))
    return f"{X.shape[0]}x{X.shape[1]} {hashlib.sha256(rows.tobytes()).hexdigest()[:16]}"


def worst_condition(layers: Layers) -> tuple[float | None, int | None]:
    """Return the largest condition number of a W, and whose; None above D = 1024: it is cubic.

    >>> worst_condition((Layer(np.eye(2), np.ones(2)), Layer(np.diag([1.0, 4.0]), np.ones(2))))
    (4.0, 1)
    """
    if layers[0].b.shape[0] > 1024:
        return None, None
    conditions = [float(np.linalg.cond(to_numpy(W).astype(np.float64))) for W, _ in layers]
    worst = int(np.argmax(conditions))
    return conditions[worst], worst


def _each_array(move: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `move` to every array of a tree of tuples."""
    if isinstance(tree, tuple):
        parts = [_each_array(move, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return move(tree) if isinstance(tree, np.ndarray) else tree


def _progress_bar(total: int, done: int) -> Any:
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        raise ModuleNotFoundError("progress needs tqdm: pip install 'relgrad-np[demo]'") from None
    return tqdm(total=total, initial=done, unit="step", dynamic_ncols=True)
