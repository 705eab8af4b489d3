"""The loop: shuffle, batch, step, record, stop.

Batches are near equal parts of a fresh permutation, at most `batch_size` rows each, so that no
epoch ends in a tiny, noisy one. A schedule is a factor of the learning rate, a function of t / T.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.activations import Activation
from ..core.arguments import generator
from ..core.arrays import Array, copied, detached
from ..core.densities import Density
from ..core.network import Layer, Layers
from ..core.sampling import require_model
from ..kernels.choose import Workload, choose, consumes, name_of, prepare, resolve
from ..rules.base import Rule, State, init_state
from ..rules.by_name import NEWTON
from ..rules.recipe import Recipe
from .advance import Steps
from .average import RunningAverage
from .bad_steps import BadSteps
from .bar import close, progress_bar, show
from .batches import Batches
from .given import in_use, require_samples
from .judge import Judge
from .newton.asked import Asked, require_meaning
from .newton.whole import fit_all_rows
from .options import Options, options_from, shows_options
from .outcome import after_divergence, compared, compared_in_validation, completed, told
from .progress import Progress
from .records import Epoch, FitDivergedError, FitResult, gained
from .schedule import rule_of
from .snapshots import (
    Keeper,
    Snapshot,
    asked_next,
    begun_with,
    fingerprint,
    is_told,
    require_fits,
)
from .survey import Rows, measured
from .team import team_of
from .watched import Watched


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
    rule : "recipe", "natural", "plain", "exponential", "scalar", "adam", "group_adam", "newton"
        The default is robust (see `recipe`); "natural" is for deep nets of few
        dimensions, L (D^2 + D) up to about 2,000 (see `natural`); "plain" with
        schedule="constant" is the paper's own step; "scalar" sizes it by one running scalar for
        each layer; "group_adam" is for a dozen layers or more of some dozens of dimensions (see
        `group_adam`). A rule of your own is a frozen dataclass that follows `Rule`. "newton" is
        `newton`: all rows at once and by second order, for few layers; an epoch is one of its
        iterations. Options that are about steps of batches mean nothing with it, and are refused
        unless they have their defaults or are None; and so are `transform` and `comm`.
    learning_rate : float
        Default: the rule's own. The recipe bears three times of it.
    schedule : "linear" (to 0), "constant", "cosine" (to 0), "harmonic" (to 1/10)
    warmup : int
        Steps over which the learning rate first rises linearly.
    batch_size, epochs : int, or None
        Most rows of a batch (an epoch is cut into equal parts), None for all of them; and passes
        over the rows, None for 15, or 500 with "newton", which ends when it has arrived.
    rng : numpy.random.Generator
        Shuffles, and is what `transform` draws from; nothing else is random, and nothing at all
        with "newton".
    patience : int
        Stop after so many epochs without a better validation; needs X_val.
    tol, n_iter_no_change : float, int
        Stop when no epoch of the last so many has gained this much over the one before, in nats of
        the mean log-likelihood; no validation rows are needed. `NotConvergedWarning` if epochs run
        out before that. With "newton" that is a second reason to stop: it always stops where no
        element of its relative gradient exceeds 1e-6, and warns if epochs run out before either.
    compare : bool
        Return what is best on the rows that are fitted: the layers of the fit, its start or, with a
        normal base, layers that are the Gaussian of these rows; `FitWarning`, once, where the fit
        ended below its start or the Gaussian. With X_val the validation has chosen, the start
        included, and `FitWarning` says where that or the Gaussian is better. And return `xi`, how
        far the layers are from a stationary point; `NotConvergedWarning` where |xi|^2 / D of a
        layer is above 0.5. It costs a few passes over the rows.
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
        Who writes snapshots, and the one to go on from: the same arguments, then the same result;
        with "newton" the same up to rounding.
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
        The objective is not finite; names step and layer. Its `result` has the last good layers,
        and as `best_layers` what `compare` or validation finds to be best of what the fit had.
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
    if isinstance(asked.rule, str) and asked.rule == NEWTON:
        require_meaning(asked, transform=transform, comm=comm)
        watched = Watched(tuple(callbacks), progress, keeper, resume)
        batches = Batches(X, sample_weight, None, None, generator(rng), team)
        held = in_use(X_val, sample_weight_val)
        return at_once(layers, batches, activation, density, held, asked, watched)
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
    total = asked.passes * batches.each
    if implementation is None:
        work = Workload(total, math.ceil(batches.N / batches.each), begun_with(resume))
        step = choose(step, state, activation, density, rule, work)
        terms |= {"implementation": name_of(step)} if isinstance(layers[0].W, np.ndarray) else {}
    if resume is not None:
        require_fits(resume, own, terms)  # before kernels are compiled for it
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
    steps, keeper = Steps(step, batches, rule, model, asked), team.keeper(keeper)
    if resume is not None:
        course.restore(resume)
        rng.bit_generator.state = resume.rng_epoch
    watched = Watched(tuple(callbacks), progress and team.rank == 0, keeper, resume)
    try:
        with np.errstate(all="ignore"):  # what is not finite is found and named below
            if resume is None and isinstance(rule, Recipe):
                seen = measured(course.state, rule, rows, steps.one, model)
                if seen.bad is not None:
                    raise course.diverged(seen.bad)
                course.began(seen)
            take_epochs(course, steps, batches, watched)
    except FitDivergedError as error:
        if not asked.compare or X_val is not None:
            raise
        raise after_divergence(error, layers, rows) from None
    course.stop_reason = course.stop_reason or "epochs"
    result = course.result()
    if not asked.compare or course.stop_reason == "signal":
        return result
    if X_val is None:
        result = compared(result, layers, rows)
    else:
        compared_in_validation(result, rows, X_val, of_val)
    return told(result, rows, asked)


def at_once(
    layers: Layers,
    batches: Batches,
    activation: Activation,
    density: Density,
    held: tuple[Array | None, Array | None],
    asked: Options,
    watched: Watched,
) -> FitResult:
    """Fit all rows at once, by `newton`; `held` are X_val and its weights, or None each."""
    X_val, weights = held[0], (batches.weights, held[1])
    terms = terms_of(asked, NEWTON, activation, density, None, batches.X, X_val, weights)
    wanted = Asked.of(asked)
    found = fit_all_rows(layers, batches, activation, density, held, wanted, watched, terms)
    rows = Rows(batches, activation, density, layers[0].b.shape[0])
    return completed(*found, layers, rows, wanted, held, depth=5)


def take_epochs(course: Progress, steps: Steps, batches: Batches, watched: Watched) -> None:
    """Go through epochs and batches, from where the course is, until something stops it."""
    rng, keeper, asked, layers = batches.rng, watched.keeper, steps.asked, course.state.layers
    resume = watched.resume
    bar = progress_bar(steps.total, course.state.t) if watched.progress else None
    while course.epoch <= asked.passes and not course.stop_reason:
        course.rng_epoch = rng.bit_generator.state
        now = resume.rng_now if resume is not None and course.batch else None
        resume, end = None, False
        upcoming = batches.epoch(course.batch, now)
        while not end and not course.stop_reason:
            value = steps.advance(course, upcoming, asked_next(keeper, course.state.t))
            show(bar, course.state.t, value)
            end = course.batch == batches.each
            if end:
                eta = steps.rate(course.state.t - 1)
                rate = eta * course.best_yet.rate
                record = course.end_epoch(eta, jitter(steps.rule, rate, layers))
                stops = [call(record, course.kept(course.state)) for call in watched.callbacks]
                stop = batches.team.any(any(stops))
                course.stop_reason = "callback" if stop else enough(asked, record, course)
            told = is_told(keeper, end, bool(course.stop_reason) or course.epoch > asked.passes)
            if keeper is not None and keeper.due(course.state.t, told):
                keeper.write(course.snapshot(rng))
            if keeper is not None and keeper.stop is not None:
                course.stop_reason = course.stop_reason or "signal"
    close(bar)


def enough(asked: Options, record: Epoch, course: Progress) -> str:
    """Return why a fit is to end after this epoch, or nothing."""
    if asked.patience and record.epoch - course.best_epoch >= asked.patience:
        return "patience"
    if asked.tol and gained(course.history, asked.n_iter_no_change) < asked.tol:
        return "tol"
    return ""


def jitter(rule: Rule, rate: float, layers: Layers) -> float:
    """Return what steps at this rate cost in equilibrium, in nats, as long as they go on.

    A layer's steps of size eta = rate / L / x cost about eta |xi|^2 / 4 = rate D / L / 4. Of other
    rules than the recipe it is not known, and epochs may fall by D / 4.

    >>> jitter(Recipe(), 0.4, (Layer(np.eye(10), np.zeros(10)),))
    1.0
    """
    D: int = layers[0].b.shape[0]
    return (rate if isinstance(rule, Recipe) else 1.0) * D / 4


def terms_of(
    asked: Options,
    rule: Rule | str,
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
        "epochs": str(asked.passes),
        "rule": repr(rule),
        "activation": f"{activation.name} {activation.params}",
        "density": f"{density.name} {density.params}",
        "transform": str(transform is not None),
        "X": fingerprint(X),
        "X_val": fingerprint(X_val),
        "sample_weight": fingerprint(None if weights[0] is None else weights[0][:, None]),
        "sample_weight_val": fingerprint(weights[1]),
    }


TERMS = (
    *("schedule", "warmup", "batch_size", "epochs", "patience", "tol", "n_iter_no_change"),
    *("average", "undo", "refresh", "track_inverse"),
)
