"""One training run on one data set: start, fit, judge on the test rows.

What `relgrad-np train` and `relgrad-np demo` share; `runs` writes it down. Every result stands
beside the closed-form Gaussian of the same training rows, and says its space.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np

from ..core.activations import activation
from ..core.arguments import one_of
from ..core.arrays import from_numpy, to_numpy
from ..core.densities import density
from ..core.network import Layer, Layers
from ..core.sampling import require_model
from ..datasets import Dataset, gaussian_log_likelihood
from ..datasets.guards import require_full_rank
from ..distributed.together import fit
from ..fitting.options import Options
from ..fitting.records import Epoch, FitResult
from ..fitting.snapshots import Keeper, Snapshot
from ..fitting.starts import init_layers
from ..rules.adam import Adam
from ..rules.base import Rule, State
from ..rules.by_name import make_rule
from ..rules.presets import PRESETS
from .devices import array_on, moved, placed
from .model import Model
from .report import Report, judge
from .settings import Settings

START_ROWS = 20_000  # that the whitening start looks at


class Run(NamedTuple):
    """A finished run: its report, the fit, and the model at its best epoch.

    >>> Run("report", "result", "model").model
    'model'
    """

    report: Report
    result: FitResult
    model: Model


class Prepared(NamedTuple):
    """The start of a fit, the other arguments of `fit`, and what one should know of the data.

    >>> Prepared((), {}, ("a note",)).notes
    ('a note',)
    """

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
    params = {name: getattr(settings, name) for name in ("alpha", "beta")}
    params = {name: value for name, value in params.items() if value is not None}
    act = activation(settings.activation, **params)
    dens = density(settings.density)
    require_model(act, dens)
    rng = np.random.default_rng(settings.seed)
    rule: Rule = make_rule(settings.rule, settings.learning_rate)
    if settings.preset is not None and isinstance(rule, Adam):
        rule = make_rule(PRESETS[settings.preset].rule, settings.learning_rate)
    options: dict[str, Any] = {
        "schedule": settings.schedule,
        "warmup": settings.warmup,
        "batch_size": settings.batch_size,
        "epochs": settings.epochs,
        "patience": settings.patience,
        "implementation": settings.implementation,
        "rng": rng,
        "average": settings.average,
    }
    Options(**{name: value for name, value in options.items() if name != "rng"})
    dtype = one_of("dtype", settings.dtype, ("float32", "float64"))
    first = to_model(data, data.train[:START_ROWS], "float64")
    notes = data.notes + require_full_rank(first, data.columns).advice
    if dtype == "float32":  # what differs in float64 may be the same there
        first = first.astype(dtype)
        require_full_rank(first, data.columns)
    D, L = first.shape[1], settings.layers
    like = array_on(settings.device, dtype)
    start = moved(init_layers(rng, D, L, kind=settings.init, X=first, activation=act), like)
    X, transform = rows_of(data, dtype, settings.fresh_noise)
    options |= {
        "X": placed(X, like, transform),
        "transform": transform,
        "activation": act,
        "density": dens,
        "rule": rule,
        "X_val": from_numpy(data.validation.astype(dtype), like),
    }
    return Prepared(start, options, notes)


def rows_of(data: Dataset, dtype: str, fresh_noise: bool) -> tuple[Any, Any]:
    """Return the training rows for `fit`, and the transform that brings them to model space.

    With fresh noise the rows are the pixels again, dequantised anew each time they are drawn, so
    that the noise can't be learnt by heart. ValueError where the data are not quantised.

    >>> from relgrad_np.datasets import load
    >>> pixels, transform = rows_of(load("digits"), "float32", True)
    >>> pixels.dtype, pixels.max(), transform(pixels[:5], np.random.default_rng(0)).dtype
    (dtype('uint8'), np.uint8(16), dtype('float32'))
    """
    if fresh_noise:
        if data.levels is None or data.lazy:
            raise ValueError(f"`fresh_noise` is for images, and {data.name!r} is none")
        kind = np.uint8 if data.levels <= 256 else np.uint16
        pixels = np.concatenate(
            [
                data.transforms.inverse(data.train[begin : begin + 4096]).astype(kind)
                for begin in range(0, len(data.train), 4096)
            ]
        )
        return pixels, lambda rows, rng: data.transforms.forward(rows, rng).astype(dtype)
    if data.lazy:
        return data.train, lambda rows, rng: to_model(data, rows, dtype)
    return data.train.astype(dtype), None


def watch_condition(say: Callable[[str], None], dtype: str) -> Callable[[Epoch, State], None]:
    """Return a callback that says once when a W gets close to what its dtype can hold.

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


def to_model(data: Dataset, rows: Any, dtype: str) -> Any:
    """Return training rows in model space: as they are, or transformed if the set is lazy.

    >>> from relgrad_np.datasets import load
    >>> to_model(load("toy:rings", n=50), np.ones((3, 2)), "float32").dtype
    dtype('float32')
    """
    return (data.transforms.forward(rows) if data.lazy else rows).astype(dtype)


def baseline(data: Dataset, X: Any) -> Any:
    """Return log p (N,) of X under the Gaussian fitted to all training rows.

    A lazy set is read in parts: 2 D stand-in rows of the same mean and covariance are fitted.

    >>> from relgrad_np.datasets import load
    >>> baseline(load("toy:rings", n=50), np.zeros((1, 2))).shape
    (1,)
    """
    if not data.lazy:
        return gaussian_log_likelihood(data.train, X)
    N, D = data.train.shape
    total, square = np.zeros(D), np.zeros((D, D))
    for begin in range(0, N, 2**16):
        rows = to_model(data, data.train[begin : begin + 2**16], "float64")
        total += rows.sum(axis=0)
        square += rows.T @ rows
    mean = total / N
    K = np.linalg.cholesky(square / N - np.outer(mean, mean))
    return gaussian_log_likelihood(mean + math.sqrt(D) * np.concatenate([K.T, -K.T]), X)


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

    `prepared` is what `prepare(settings, data)` gave, if it has been called; it serves once.
    `comm`: of rank 0, whose fit the other ranks share; see `fit`.

    >>> from relgrad_np.datasets import load
    >>> run = train(load("toy:sine", n=200), Settings(epochs=2))
    >>> run.report.data, len(run.result.history)
    ('toy:sine', 2)
    """
    start, options, _ = prepared or prepare(settings, data)
    gaussian = baseline(data, data.test)
    started = time.perf_counter() - (resume.seconds if resume else 0.0)
    result = fit(
        start,
        **options,
        progress=progress,
        callbacks=callbacks,
        keeper=keeper,
        resume=resume,
        comm=comm,
    )
    seconds = time.perf_counter() - started
    report = judge(data, result, options, gaussian, seconds)
    return Run(report, result, model_of(data, settings, result.best_layers, options))


def model_of(data: Dataset, settings: Settings, layers: Layers, options: dict[str, Any]) -> Model:
    """Return the model of these layers with what is needed to use it.

    >>> from relgrad_np.datasets import load
    >>> data = load("toy:rings", n=50)
    >>> layers, options, _ = prepare(Settings(init="identity"), data)
    >>> model_of(data, Settings(), layers, options).config["data"]
    'toy:rings'
    """
    config = {"data": data.name, "columns": data.columns, **asdict(settings)}
    layers = tuple(Layer(to_numpy(W), to_numpy(b)) for W, b in layers)
    return Model(layers, options["activation"], options["density"], data.transforms, config)
