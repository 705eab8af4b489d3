"""The loop: shuffle, batch, step, record, stop.

Batches are near equal parts of a fresh permutation, at most `batch_size` rows each, so that no
epoch ends in a tiny, noisy one. A schedule is a factor of the learning rate, a function of t / T.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.activations import Activation
from ..core.arguments import generator
from ..core.arrays import Array, check, from_numpy
from ..core.densities import Density
from ..core.network import Layer, Layers
from ..core.sampling import require_model
from ..kernels.choose import consumes, resolve
from ..rules.adam import Adam
from ..rules.base import State, init_state
from ..rules.by_name import make_rule
from .batches import Feed, Staged
from .options import SCHEDULES, options_from, require_finite, shows_options, weighted
from .records import Epoch, FitResult
from .snapshots import Keeper, Snapshot, fingerprint
from .team import Alone
from .trees import copied
from .watch import Watch


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
        Samples to fit, and to validate and stop by; library, device and dtype of the layers.
    rule : "recipe", "natural", "plain", "exponential", "scalar", "adam", "group_adam", or a rule
        The default is robust in every D, L and N (see `recipe`); "natural" is for deep nets of few
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
    implementation : "reference", "numba", "cupy", a function, or None
        Which twin of `train_step` takes the steps; None: the fastest at hand, which is "numba" for
        NumPy arrays where Numba is installed, "cupy" for CuPy arrays. Their results differ by
        rounding. A function is a twin of your own, see `extend.backend`.
    transform : function of (rows of X, rng)
        Brings each batch to model space; X may then be anything with rows, such as a memory-mapped
        file of integers. Rows that stay on the host while the layers are on a device: `Staged`.
    sample_weight : (N,) numbers, not negative
        The weighted mean is maximised; weights are relative. A row of weight 2 counts as two rows,
        one of weight 0 is left out. A batch takes its step with its own weights, of mean 1, and
        with eta times its share, so that the steps of an epoch add up to the whole. With unequal
        weights the recipe holds no outliers down: it would take heavy rows for such.
    average : float in (0, 1)
        The layers are averaged over about this last part of the steps, and the average, too, is a
        candidate for the best layers (without X_val it is the best); the very last step, which no
        batch has judged, is not in it. None: no average; nor with rule "natural", whose layers go
        too far for a mean of them to be a net.
    undo : float
        A batch whose log-likelihood is not finite, or so many mean deviations below the running
        mean, tells that the step before it was bad: that is undone by its low-rank inverse,
        counted, and the next steps are smaller: half, then 2 % more with each step. Judged once
        for each batch, from the 21st on; without a tracked log|det W| never. None: never, and a
        device is asked only every 32 steps how they went.
    refresh : int
        Steps between audits of the tracked log|det W| against slogdet, cubic; each epoch's end is
        one. Where it has drifted it starts afresh.
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
        result is the same on all and that of one process but for rounding. See `ranks.Ranks`.

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
    asked = options_from(options)
    generator(rng)
    team = Alone() if comm is None else comm
    require_model(activation, density)
    apart = transform is not None or isinstance(X, Staged)
    check(layers, **({} if apart else {"X": X}))
    require_finite("X", X)
    if X_val is not None:
        check(layers, X_val=X_val)
        require_finite("X_val", X_val)
    elif asked.patience is not None:
        raise ValueError("`patience` needs `X_val`")
    batch_size, epochs, track_inverse = asked.batch_size, asked.epochs, asked.track_inverse
    base, factor = make_rule(asked.rule, asked.learning_rate), SCHEDULES[asked.schedule]
    rise = asked.warmup + 1
    step = resolve(team.implementation(asked.implementation), layers[0].W)
    rows_in, weights = weighted(sample_weight, X.shape[0])
    N = team.total(len(rows_in))
    batches = math.ceil(N / batch_size)
    if isinstance(base, Adam) and base.clock == 0:
        base = replace(base, clock=batches)
    total = epochs * batches
    average = asked.average if getattr(base, "averages", True) else None

    if weights is not None and getattr(base, "outliers", None) is not None:
        base = replace(base, outliers=None)  # type: ignore[type-var]  # a heavy row is no outlier
    if track_inverse and not base.tracks:
        raise ValueError("`track_inverse` needs a multiplicative rule: nothing is tracked with it")
    terms = {
        "rule": repr(base),
        "activation": f"{activation.name} {activation.params}",
        "density": f"{density.name} {density.params}",
        "transform": str(transform is not None),
        "track_inverse": str(track_inverse),
        "schedule": asked.schedule,
        "warmup": str(asked.warmup),
        "batch_size": str(batch_size),
        "epochs": str(epochs),
        "patience": str(asked.patience),
        "average": str(average),
        "undo": str(asked.undo),
        "refresh": str(asked.refresh),
        "X": fingerprint(X),
        "X_val": fingerprint(X_val),
        "sample_weight": fingerprint(None if weights is None else weights[:, None]),
    }
    own = tuple(Layer(copied(W), copied(b)) for W, b in layers)
    state = init_state(own, base, inverse=track_inverse)
    team.meet(terms, state, rng, base, N, batches, resume)
    watch = Watch(
        state,
        activation,
        density,
        team.own(X_val),
        terms,
        kind=getattr(base, "kind", ""),
        undo=asked.undo,
        horizon=(average or 0.0) * total,
        refresh=asked.refresh,
        consumed=consumes(step),
        mean=team.mean,
    )
    step, keeper = team.step(step), team.keeper(keeper)
    if resume is not None:
        watch.restore(resume, own)
        rng.bit_generator.state = resume.rng_epoch
    bar = _progress_bar(total, watch.state.t) if progress and team.rank == 0 else None
    with np.errstate(all="ignore"):  # what is not finite is found and named below
        while watch.epoch <= epochs and not watch.stop_reason:
            watch.rng_epoch = rng.bit_generator.state
            parts = team.parts(rows_in, rng, batches)
            if resume is not None and watch.batch > 0:  # the batches done may have drawn, too
                rng.bit_generator.state = resume.rng_now
            resume = None
            parts = parts[watch.batch :]
            # a transform gets all rows: its draws are those of one process
            fetched = [r if transform else team.mine(r, counts) for r, counts in parts]
            feed = Feed(X, fetched, transform, lambda: team.generator(rng))
            for rows, counts in parts:
                t = watch.state.t
                eta = base.learning_rate * factor(t / total) * min(1.0, (t + 1) / rise)
                share, extra = 1.0, team.extra(counts)
                if weights is not None:
                    share = float(weights[rows].mean())
                    like = watch.state.layers[0].W
                    mine = team.mine(weights[rows], counts)
                    extra |= {"weights": from_numpy(mine / share, like)}
                batch = feed.take()
                batch = team.mine(batch, counts) if transform else batch
                while True:
                    size = eta * share * float(watch.guard.caution)
                    state, info = step(
                        watch.state,
                        batch,
                        activation=activation,
                        density=density,
                        rule=replace(base, learning_rate=size),  # type: ignore[type-var]
                        **extra,
                    )
                    feed.ahead()  # while the device is at work
                    if not watch.is_bad(info):
                        break
                    if not watch.take_back(state, info):
                        raise watch.diverged(batch)
                lasts = not isinstance(X, Staged)  # else its memory will hold another batch
                watch.step(state, info, share * sum(counts), batch if lasts else None)
                state = watch.state
                if bar is not None:
                    bar.update()
                    if info.log_likelihood is not None and state.t % 10 == 0:
                        bar.set_postfix_str(f"log p {float(info.log_likelihood):.2f} nats")
                end = watch.batch == batches
                if end:
                    record = watch.record(eta)
                    stops = [callback(record, watch.kept(state)) for callback in callbacks]
                    if team.any(any(stops)):
                        watch.stop_reason = "callback"
                    elif asked.patience and record.epoch - watch.best_epoch >= asked.patience:
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


def _progress_bar(total: int, done: int) -> Any:
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        raise ModuleNotFoundError("progress needs tqdm: pip install 'relgrad-np[demo]'") from None
    return tqdm(total=total, initial=done, unit="step", dynamic_ncols=True)
