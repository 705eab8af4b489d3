"""The loop: shuffle, batch, step, record, stop.

Batches are near equal parts of a fresh permutation, at most `batch_size` rows each, so that no
epoch ends in a tiny, noisy one. A schedule is a factor of the learning rate, a function of t / T.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from ..core.activations import Activation
from ..core.arguments import generator
from ..core.arrays import Array, check, copied, detached, from_numpy, namespace
from ..core.densities import Density
from ..core.network import Layer, Layers
from ..core.sampling import require_model
from ..kernels.choose import Workload, choose, consumes, name_of, prepare, resolve
from ..rules.base import Rule, State, StepInfo, init_state
from ..rules.recipe import Recipe
from .average import RunningAverage
from .bad_steps import BadSteps
from .batches import Batch, Batches, Staged
from .judge import Judge
from .options import Options, options_from, require_finite, shows_options, weighted
from .outcome import compared, told
from .progress import Progress
from .records import Epoch, FitResult
from .schedule import rule_of, sized
from .snapshots import Keeper, Snapshot, begun_with, fingerprint
from .survey import Rows, measured
from .team import team_of


@shows_options
def fit(
    layers: Layers,
    X: Array,
    activation: Activation,
    density: Density,
    *,
    rng: np.random.Generator,
    X_val: Array | None = None,
    sample_weight: Any = None,
    sample_weight_val: Any = None,
    transform: Callable[[Array, np.random.Generator], Array] | None = None,
    progress: bool = False,
    callbacks: Sequence[Callable[[Epoch, State], Any]] = (),
    keeper: Keeper | None = None,
    resume: Snapshot | None = None,
    comm: Any = None,
    **options: Any,
) -> FitResult:
    """Maximise the mean log-likelihood of X (N, D) from `layers` on, by minibatch steps.

    Parameters
    ----------
    layers : tuple of Layer
        The start, see `init_layers`; copied, never changed.
    X, X_val : arrays (N, D)
        Samples to fit, and to validate and stop by; library, device and dtype of the layers. What
        torch's autograd knows of layers and samples is left behind.
    rule : "recipe", "natural", "plain", "exponential", "scalar", "adam", "group_adam", or a rule
        The default is robust (see `recipe`); "natural" is for deep nets of few
        dimensions, L (D^2 + D) up to about a thousand (see `natural`); "plain" with
        schedule="constant" is the paper's own step; "scalar" sizes it by one running scalar for
        each layer; "group_adam" is for a dozen layers or more of some dozens of dimensions (see
        `group_adam`). A rule of your own is a frozen dataclass that follows `Rule`.
    learning_rate : float
        Default: the rule's own. The recipe bears three times of it.
    schedule : "linear" (to 0), "constant", "cosine" (to 0), "harmonic" (to 1/10)
    warmup : int
        Steps over which the learning rate first rises linearly.
    batch_size, epochs : int
        Most rows of a batch (an epoch is cut into equal parts), and passes over the rows.
    rng : numpy.random.Generator
        Shuffles, and is what `transform` draws from; nothing else is random.
    patience : int
        Stop after so many epochs without a better validation; needs X_val.
    tol, n_iter_no_change : float, int
        Stop when no epoch of the last so many has gained this much over the one before, in nats of
        the mean log-likelihood; no validation rows are needed. `NotConvergedWarning` if epochs run
        out before that.
    compare : bool
        Return what is best on the rows that are fitted: the layers of the fit, its start or, with a
        normal base, layers that are the Gaussian of these rows; `FitWarning`, once, where the fit
        ended below its start or the Gaussian. With X_val the validation has chosen, the start
        included. And return `xi`, how far the layers are from a stationary point;
        `NotConvergedWarning` where |xi|^2 / D of a layer is above 0.5. It costs a few passes over
        the rows.
    implementation : "reference", "numba", "cupy", a function, or None
        Which `train_step` takes the steps; None: the fastest that is installed, "numba" for NumPy
        arrays, "cupy" for CuPy arrays. Their results differ by rounding. The first use of "numba"
        compiles for about 20 s, and says so; None leaves a fit to the reference whose steps it
        takes less time for (`worth.reference_seconds`), unless compiled code is stored already. A
        resumed fit goes on with the one that it began with. A function is one of your own, see
        `extend.backend`.
    transform : function of (rows of X, rng)
        Brings each batch to model space; X may then be anything with rows, such as a memory-mapped
        file of integers. Rows that stay on the host while the layers are on a device: `Staged`.
    sample_weight : (N,) numbers, not negative
        The weighted mean is maximised; weights are relative. A row of weight 2 counts as two rows,
        one of weight 0 is left out. A batch takes its step with its own weights, of mean 1, and
        with eta times its share, so that the steps of an epoch add up to the whole.
    sample_weight_val : (N,) numbers, not negative
        The weights of the rows of X_val, of whose log-likelihood the weighted mean is validated.
    average : float in (0, 1)
        The layers are averaged over about this last part of the steps, and the average, too, is a
        candidate for the best layers (without X_val it is the best); the very last step, which no
        batch has judged, is not in it. Where D is large it takes at most 5 % of the time. None: no
        average; nor with rule "natural", whose layers go too far for a mean of them to be a net.
    undo : float
        A batch whose log-likelihood is not finite, or so many mean deviations below the running
        mean, shows that the step before it was bad. That step is undone by its own inverse and
        counted, and the next steps are smaller: half, then 2 % more with each step. Judged once
        for each batch, from the 21st on; without a tracked log|det W| never. None: never, and a
        device is asked only every 32 steps how they went. An epoch whose mean log-likelihood is
        below that of the best one by more than its noise is taken back, too: the fit goes on from
        there at half the rate.
    refresh : int
        Steps between audits of the tracked log|det W|, which are cubic; each epoch's end is one.
        Where it has drifted it is replaced.
    track_inverse : bool
        Track inv(W), too: `state.tracked.inverse` for callbacks, `sample` uses it.
    progress : bool
        A bar with the exact log-likelihood of the batch and the rate (needs tqdm).
    callbacks : functions of (Epoch, State)
        Called after each epoch; one that returns something true stops the fit.
    keeper, resume : Keeper, Snapshot
        Who writes snapshots, and the one to go on from: the same arguments, then the same result.
    comm : mpi4py.MPI.Comm, or Ranks
        Fit on several ranks, each called with the same arguments: the batches are shared, the
        result is the same on all and, up to rounding, that of one process. See `ranks.Ranks`.

    Returns
    -------
    FitResult
        `best_layers` are the best in validation; without X_val the average, or the last layers
        where there is none.

    Raises
    ------
    FitDivergedError (a FloatingPointError)
        The objective is not finite; names step and layer, keeps the last good layers.
    ValueError, TypeError
        Arguments, by name; samples that are not finite, by row and column.

    Cost: a train_step for each batch, L factorisations for each epoch; with the recipe two passes
    over the rows before the first step.

    >>> import numpy as np, relgrad_np as rg
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((500, 2)) * [1.0, 3.0]
    >>> result = rg.fit(rg.init_layers(rng, 2, 1), X, rg.activation("identity"),
    ...                 rg.density("normal"), rng=rng, epochs=5, learning_rate=0.1)
    >>> result.history[0].train < result.history[-1].train, result.stop_reason
    (True, 'epochs')
    """
    asked, team = options_from(options), team_of(comm)
    require_model(activation, density)
    require_samples(layers, X, X_val, transform is not None)
    for name, given in (("patience", asked.patience), ("sample_weight_val", sample_weight_val)):
        if given is not None and X_val is None:
            raise ValueError(f"`{name}` needs `X_val`")
    X, X_val = detached(X), detached(X_val)
    implementation = team.implementation(asked.implementation)
    step = resolve(implementation, layers[0].W)
    batches = Batches(X, sample_weight, asked.batch_size, transform, generator(rng), team)
    rule = rule_of(asked, batches.each)
    own = tuple(Layer(copied(W), copied(b)) for W, b in layers)
    state = init_state(own, rule, inverse=asked.track_inverse)
    X_val, of_val = in_use(X_val, sample_weight_val)
    weights = batches.weights, of_val
    terms = terms_of(asked, rule, activation, density, transform, X, X_val, weights)
    team.agree(terms, state, rng, rule, batches.N, batches.each, resume)
    average = asked.average if getattr(rule, "averages", True) else None
    total = asked.epochs * batches.each
    if implementation is None:
        work = Workload(total, math.ceil(batches.N / batches.each), begun_with(resume))
        step = choose(step, state, activation, density, rule, work)
        terms |= {"implementation": name_of(step)} if isinstance(layers[0].W, np.ndarray) else {}
    prepare(step, state, activation, density, rule)
    judged = team.validation_part(X_val), team.validation_part(of_val)
    rows = Rows(batches, activation, density, layers[0].b.shape[0])
    course = Progress(
        state,
        Judge(activation, density, *judged, team.mean),
        BadSteps(asked.undo, rule.kind),
        RunningAverage(layers, (average or 0.0) * total, batches.N // batches.each),
        terms,
        refresh=asked.refresh,
        consumed=consumes(step),
    )
    model = {"activation": activation, "density": density}
    step, keeper = partial(team.step, step), team.keeper(keeper)
    if resume is not None:
        course.restore(resume)
        rng.bit_generator.state = resume.rng_epoch
    elif isinstance(rule, Recipe):
        with np.errstate(all="ignore"):
            seen = measured(course.state, rule, rows, step, model)
        if seen.bad is not None:
            raise course.diverged(seen.bad)
        course.began(seen)
    bar = progress_bar(total, course.state.t) if progress and team.rank == 0 else None
    with np.errstate(all="ignore"):  # what is not finite is found and named below
        while course.epoch <= asked.epochs and not course.stop_reason:
            course.rng_epoch = rng.bit_generator.state
            now = resume.rng_now if resume is not None and course.batch else None
            resume = None
            for batch in batches.epoch(course.batch, now):
                eta = sized(rule.learning_rate, asked, course.state.t, total)
                info = stepped(course, step, batch, batches, rule, eta, model)
                show(bar, course.state.t, info)
                end = course.batch == batches.each
                if end:
                    record = course.end_epoch(eta, jitter(rule, eta * course.best_yet.rate, layers))
                    stops = [call(record, course.kept(course.state)) for call in callbacks]
                    if team.any(any(stops)):
                        course.stop_reason = "callback"
                    elif asked.patience and record.epoch - course.best_epoch >= asked.patience:
                        course.stop_reason = "patience"
                    elif asked.tol and gained(course.history, asked.n_iter_no_change) < asked.tol:
                        course.stop_reason = "tol"
                if keeper is not None and keeper.due(course.state.t, end):
                    keeper.write(course.snapshot(rng))
                if keeper is not None and keeper.stop is not None:
                    course.stop_reason = course.stop_reason or "signal"
                if course.stop_reason:
                    break
    show(bar)
    course.stop_reason = course.stop_reason or "epochs"
    result = course.result()
    if not asked.compare or course.stop_reason == "signal":
        return result
    if X_val is None:
        result = compared(result, layers, rows)
    return told(result, rows, asked)


def jitter(rule: Rule, rate: float, layers: Layers) -> float:
    """Return what steps at this rate cost in equilibrium, in nats, as long as they go on.

    A layer's steps of size eta = rate / L / x cost about eta |xi|^2 / 4 = rate D / L / 4. Of other
    rules than the recipe it is not known, and epochs may fall by D / 4.

    >>> jitter(Recipe(), 0.4, (Layer(np.eye(10), np.zeros(10)),))
    1.0
    """
    D: int = layers[0].b.shape[0]
    return (rate if isinstance(rule, Recipe) else 1.0) * D / 4


def gained(history: Sequence[Epoch], epochs: int) -> float:
    """Return the largest gain of the last so many epochs, nats; inf while there are fewer.

    >>> gained([], 1)
    inf
    """
    values = [entry.train for entry in history[-epochs - 1 :]]
    if len(values) <= epochs or None in values:
        return math.inf
    return float(np.max(np.diff(np.array(values, float))))


def stepped(
    course: Progress,
    step: Callable[..., tuple[State, StepInfo]],
    batch: Batch,
    batches: Batches,
    rule: Rule,
    eta: float,
    model: dict[str, Any],
) -> StepInfo:
    """Take a step on the batch; where it shows the one before to be bad, undo that and try again.

    Raises `FitDivergedError` where there is nothing to undo.
    """
    while True:
        size = eta * batch.share * course.bad_steps.caution * course.best_yet.rate
        now = replace(rule, learning_rate=size)  # type: ignore[type-var]
        after, info = step(course.state, batch.X, batch.counts, **model, rule=now, **batch.extra)
        batches.ahead()  # while the device is at work
        if not course.is_bad(info):
            course.note(
                after, info, batch.share * sum(batch.counts), batch.X if batches.lasting else None
            )
            return info
        if not course.take_back(after, info):
            raise course.diverged(batch.X)


def require_samples(layers: Layers, X: Array, X_val: Array | None, transformed: bool) -> None:
    """Refuse, by name, samples that do not fit the layers, or are not finite."""
    apart = transformed or isinstance(X, Staged)  # rows of another dtype, or elsewhere
    check(layers, **({} if apart else {"X": X}))
    require_finite("X", X)
    if X_val is not None:
        check(layers, X_val=X_val)
        require_finite("X_val", X_val)


def terms_of(
    asked: Options,
    rule: Rule,
    activation: Activation,
    density: Density,
    transform: Any,
    X: Array,
    X_val: Array | None,
    weights: tuple[Any, Any],
) -> dict[str, str]:
    """Return in words what a fit is asked for: ranks compare it, and a resumed fit must be alike.

    >>> from relgrad_np import Plain, activation, density
    >>> model = activation("identity"), density("normal")
    >>> terms_of(Options(), Plain(), *model, None, np.ones((2, 1)), None, (None, None))["epochs"]
    '15'
    """
    named = {name: str(getattr(asked, name)) for name in TERMS}
    return {
        **named,
        "rule": repr(rule),
        "activation": f"{activation.name} {activation.params}",
        "density": f"{density.name} {density.params}",
        "transform": str(transform is not None),
        "X": fingerprint(X),
        "X_val": fingerprint(X_val),
        "sample_weight": fingerprint(None if weights[0] is None else weights[0][:, None]),
        "sample_weight_val": fingerprint(weights[1]),
    }


def in_use(X_val: Array | None, sample_weight_val: Any) -> tuple[Array | None, Array | None]:
    """Return the validation rows of positive weight, and their weights (n, 1) of mean 1 or None.

    >>> in_use(np.array([[1.0], [2.0], [3.0]]), [3, 0, 1])[1]
    array([[1.5],
           [0.5]])
    """
    if X_val is None or sample_weight_val is None:
        return X_val, None
    rows, weights = weighted(sample_weight_val, X_val.shape[0], "sample_weight_val")
    xp = namespace(X_val, "X_val")
    X_val = xp.take(X_val, xp.asarray(rows, device=X_val.device), axis=0)
    return X_val, None if weights is None else from_numpy(weights[rows, None], X_val)


TERMS = (
    *("schedule", "warmup", "batch_size", "epochs", "patience", "tol", "n_iter_no_change"),
    *("average", "undo", "refresh", "track_inverse"),
)


def progress_bar(total: int, done: int) -> Any:
    """Return a bar of this many steps; ModuleNotFoundError without tqdm."""
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        raise ModuleNotFoundError("progress needs tqdm: pip install 'relgrad-np[demo]'") from None
    return tqdm(total=total, initial=done, unit="step", dynamic_ncols=True)


def show(bar: Any, t: int = 0, info: StepInfo | None = None) -> None:
    """Move the bar on by a step, or close it, if there is one."""
    if bar is None:
        return
    if info is None:
        bar.close()
        return
    bar.update()
    if info.log_likelihood is not None and t % 10 == 0:
        bar.set_postfix_str(f"log p {float(info.log_likelihood):.2f} nats")
