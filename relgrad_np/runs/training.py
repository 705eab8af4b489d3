"""One training run on one data set: start, fit, judge on the test rows.

The commands `train` and `demo` share it; `folder` writes it down. Every result stands beside the
closed-form Gaussian of the same training rows, and says which space it is in.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.activations import Activation, activation
from ..core.arrays import from_numpy, to_numpy
from ..core.brief import brief
from ..core.densities import Density, density
from ..core.network import Layer, Layers
from ..core.sampling import require_model
from ..datasets import Dataset, require_full_rank
from ..datasets.findings import FEW
from ..datasets.rank import determined
from ..datasets.rows import column_list
from ..distributed.together import fit
from ..fitting.records import Epoch, FitResult
from ..fitting.snapshots import Keeper, Snapshot
from ..fitting.starts import init_layers
from ..fitting.storage.model import Model
from ..rules.base import Rule, State
from ..rules.by_name import NEWTON, make_rule, words_of
from ..rules.presets import PRESETS
from .devices import array_on, moved, placed
from .needs import require_room
from .report import RunReport, judge, shown
from .rows import baseline, rows_of, to_model
from .settings import Settings

START_ROWS = 20_000  # rows that the start looks at


@brief
class Run(NamedTuple):
    """A finished run: its report, the fit, and the model at its best epoch."""

    report: RunReport
    result: FitResult
    model: Model


@brief
class Prepared(NamedTuple):
    """The start of a fit, the other arguments of `fit`, and notes on the data."""

    start: Layers
    options: dict[str, Any]
    notes: tuple[str, ...]


def prepare(settings: Settings, data: Dataset) -> Prepared:
    """Return the start, and the arguments of `fit` that the settings stand for.

    ValueError, by name, for settings that can't be used and data whose rank is not full.

    >>> from relgrad_np.datasets import load
    >>> made = prepare(Settings(layers=3, init="identity"), load("toy:rings", n=50))
    >>> len(made.start), made.options["batch_size"], made.notes
    (3, 100, ())
    """
    act, dens = parts_of(settings)
    rng = np.random.default_rng(settings.seed)
    rule: str | Rule = settings.rule
    if settings.preset in PRESETS and rule == "adam":
        rule = PRESETS[settings.preset].rule
    dtype = settings.dtype
    if rule == NEWTON and settings.fresh_noise:
        raise ValueError(
            f"`fresh_noise` needs a rule of minibatches: {NEWTON!r} sees the same rows"
        )
    rule = rule if rule == NEWTON else make_rule(rule, settings.learning_rate)
    require_room(settings, rule, data, START_ROWS)
    X, transform = rows_of(data, dtype, settings.fresh_noise)
    if rule == NEWTON and transform is not None:  # a lazy set: all rows at once, now
        X, transform = to_model(data, X, dtype), None
    first = to_model(data, data.train[:START_ROWS], "float64")
    notes = data.notes + advice_on(first, data)
    if dtype == "float32":  # what differs in float64 may be the same there
        first = first.astype(dtype)
        advice_on(first, data)
    D, L, c = data.D, settings.layers, data.c
    like = array_on(settings.device, dtype)
    made = init_layers(rng, D, L, kind=settings.init, X=first, activation=act, context=c)
    start = moved(made, like)
    options = settings.of_fit() | {
        "rule": rule,
        "learning_rate": settings.learning_rate if rule == NEWTON else None,  # else in the rule
        "X": placed(X, like, transform),
        "transform": transform,
        "activation": act,
        "density": dens,
        "X_val": from_numpy(data.validation.astype(dtype), like),
        "rng": rng,
    }
    return Prepared(start, options, notes)


def advice_on(rows: Any, data: Dataset) -> tuple[str, ...]:
    """Return what `require_full_rank` advises, less what the notes on the data have said already.

    >>> from relgrad_np.datasets import load
    >>> data = load("toy:rings", n=50)
    >>> advice_on(data.train, data)
    ()
    """
    x, _ = data.split(rows)
    found = require_full_rank(x, data.columns)
    which = determined(rows, data.c) if data.given is not None else []
    if data.given is not None and which:
        raise ValueError(
            f"given {column_list(range(data.c), data.given.names)}, columns"
            f" {column_list(which, data.columns)} have no density: they are affine combinations of"
            " what is given and the others: drop them, or add noise"
        )
    said = any("dequantise=True" in note for note in data.notes)
    return tuple(one for one in found.advice if not (said and one.startswith(FEW)))


def parts_of(settings: Settings) -> tuple[Activation, Density]:
    """Return activation and base density; ValueError for two that make no density of the data.

    >>> parts_of(Settings(density="sech"))[1].name
    'sech'
    """
    params = {name: getattr(settings, name) for name in ("alpha", "beta")}
    params = {name: value for name, value in params.items() if value is not None}
    act, dens = activation(settings.activation, **params), density(settings.density)
    require_model(act, dens)
    return act, dens


def outline(data: Dataset, settings: Settings, prepared: Prepared) -> list[tuple[str, str]]:
    """Return what is about to be fitted, as names and values.

    >>> from relgrad_np.datasets import load
    >>> data, settings = load("toy:rings", n=50), Settings(layers=2, init="identity")
    >>> dict(outline(data, settings, prepare(settings, data)))["model"]
    '2 layers of smooth_leaky_relu, normal base, 12 parameters, float64, start identity'
    """
    N, D, c = len(data.train), data.D, data.c
    L, columns, support = settings.layers, data.columns, data.transforms.support
    space = data.transforms.space
    space = "each column standardised" if space == "standardised space" else space
    size = min(settings.batch_size or N, N)
    epochs = prepared.options["epochs"]
    if settings.rule == NEWTON:
        fit_words = f"rule {NEWTON}, all rows at once, at most {epochs} iterations"
    else:
        steps = math.ceil(N / size) * (epochs or 1)
        fit_words = (
            f"rule {words_of(settings.rule)}, batches of {size}, "
            f"{epochs} epoch{'s' * (epochs != 1)}: {steps:,} steps{patience_words(settings)}"
        )
    return [
        ("data", shown(data.name)),
        ("rows", f"{N:,} train, {len(data.validation):,} validation, {len(data.test):,} test"),
        ("columns", f"{D:,}{'' if columns is None else f': {few_of(columns)}'}"),
        *(() if data.given is None else (("given", f"{c:,}: {few_of(data.given.names)}"),)),
        *(() if support is None else (("support", support.words(columns)),)),
        ("space", f"the model sees {space}"),
        (
            "model",
            f"{L} layer{'s' * (L > 1)} of {settings.activation}, {settings.density} base, "
            f"{L * D * (D + 1 + c):,} parameters, {settings.dtype}, start {settings.init}",
        ),
        ("fit", fit_words),
    ]


def patience_words(settings: Settings) -> str:
    """Say when a fit ends before its last epoch.

    >>> patience_words(Settings(patience=5)), patience_words(Settings(patience=None))
    (', or less: it ends after 5 epochs without a better validation', '')
    """
    n = settings.patience
    if n is None:
        return ""
    return f", or less: it ends after {n} epoch{'s' * (n != 1)} without a better validation"


def few_of(names: Sequence[str], length: int = 100) -> str:
    """Return as many names as a line or two holds, and how many more there are.

    >>> few_of("abc"), few_of(["height", "weight", "age"], 14)
    ('a, b, c', 'height, weight and 1 more')
    """
    sizes = np.cumsum([len(name) + 2 for name in names])
    kept = max(1, int((sizes <= length + 2).sum()))
    more = f" and {len(names) - kept} more" * (kept < len(names))
    return ", ".join(" ".join(name.split()) for name in names[:kept]) + more


def watch_condition(say: Callable[[str], None], dtype: str) -> Callable[[Epoch, State], None]:
    """Return a callback that says once when the condition of a W gets near what its dtype bears.

    >>> said = []
    >>> watch = watch_condition(said.append, "float32")
    >>> watch(Epoch(3, 9, 0.1, 0.1, None, None, None, 0.0, 2e6, 1), None)
    >>> said
    ['epoch 3: W of layer 1 has condition 2.0e+06, of 8.4e+06 that float32 can bear']
    """
    limit = 1 / float(np.finfo(dtype).eps)
    done: list[int] = []

    def watch(epoch: Epoch, state: State) -> None:
        if not done and epoch.condition is not None and not epoch.condition <= 0.1 * limit:
            done.append(epoch.epoch)
            say(
                f"epoch {epoch.epoch}: W of layer {epoch.layer} has condition "
                f"{epoch.condition:.1e}, of {limit:.1e} that {dtype} can bear"
            )

    return watch


def train(
    data: Dataset,
    settings: Settings,
    *,
    progress: bool = False,
    callbacks: tuple[Callable[[Epoch, State], Any], ...] = (),
    keeper: Keeper | None = None,
    resume: Snapshot | None = None,
    prepared: Prepared | None = None,
    comm: Any = None,
) -> Run:
    """Fit a model to the training rows and judge its best epoch on the test rows.

    `prepared` is what `prepare(settings, data)` returned, if it was called before; it serves once,
    because its generator moves on. `comm` is that of rank 0 of several ranks; see `fit`.

    >>> from relgrad_np.datasets import load
    >>> run = train(load("toy:sine", n=200), Settings(epochs=2))
    >>> run.report.data, len(run.result.history)
    ('toy:sine', 2)
    """
    start, options, _ = prepared or prepare(settings, data)
    gaussian = baseline(data, data.test)
    result = fit(
        start,
        **options,
        progress=progress,
        callbacks=callbacks,
        keeper=keeper,
        resume=resume,
        comm=comm,
    )
    report = judge(data, result, options, gaussian, result.seconds)
    return Run(report, result, model_of(data, settings, result.best_layers, options))


def model_of(data: Dataset, settings: Settings, layers: Layers, options: dict[str, Any]) -> Model:
    """Return the model of these layers with what is needed to use it.

    >>> from relgrad_np.datasets import load
    >>> data = load("toy:rings", n=50)
    >>> layers, options, _ = prepare(Settings(init="identity"), data)
    >>> model_of(data, Settings(), layers, options).config["data"]
    'toy:rings'
    """
    config = {"data": data.name, "columns": data.columns, **settings.plain()}
    if data.given is not None:
        config["context"] = data.given.to_dict()
    layers = tuple(Layer(to_numpy(W), to_numpy(b)) for W, b in layers)
    return Model(layers, options["activation"], options["density"], data.transforms, config)
