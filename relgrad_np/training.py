"""One training run on one data set: start, fit, judge on the test rows.

What `relgrad-np train` and `relgrad-np demo` share; `runs` writes it down. Every result stands
beside the closed-form Gaussian of the same training rows, and says its space.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ._arguments import one_of
from ._array import from_numpy, to_numpy
from .activations import activation
from .adam import Adam
from .checkpoint import Model, in_float64
from .datasets import Dataset, bits_per_dim, gaussian_log_likelihood
from .datasets.guards import require_full_rank
from .densities import density
from .devices import array_on, moved, placed
from .fit import check_options, fit, make_rule
from .generative import require_model
from .history import Epoch, FitResult, Keeper, Snapshot
from .initial import init_layers
from .network import Layer, Layers
from .objective import log_likelihood
from .presets import PRESETS
from .rules import Rule, State


@dataclass(frozen=True)
class Settings:
    """The choices of a run; `settings_for` has those for the data sets known by name.

    Chosen on validation rows: on the digits (seed 0) three layers, Gaussianising start and recipe
    end above two layers, whitening start and plain step 0.03; the toys and POWER by the natural
    gradient in deep nets, BSDS300 by depth, leaky_tanh, a base with one scale for the whole row,
    and Adam in the group (see `validation`).

    >>> Settings().layers
    3
    """

    layers: int = 3
    activation: str = "smooth_leaky_relu"
    alpha: float | None = None
    beta: float | None = None
    density: str = "normal"
    init: str = "gaussianize"
    rule: str = "recipe"
    learning_rate: float | None = None
    schedule: str = "linear"
    warmup: int = 0
    batch_size: int = 100
    epochs: int = 60
    patience: int | None = None
    seed: int = 0
    dtype: str = "float64"
    implementation: str | None = None
    preset: str | None = None
    average: float | None = 0.1
    fresh_noise: bool = False
    device: str = "cpu"


DIGITS = Settings(fresh_noise=True)
TOY = Settings(layers=48, init="principal", rule="natural", batch_size=2000, epochs=120)
LARGE = Settings(layers=2, batch_size=200, epochs=15, dtype="float32", fresh_noise=True)
PATCHES = Settings(
    layers=24,
    activation="leaky_tanh",
    alpha=0.3,
    beta=0.7,
    density="multivariate_t",
    init="whiten",
    rule="group_adam",
    batch_size=500,
    epochs=8,
    dtype="float32",
)
POWER = Settings(
    layers=32, density="student_t", init="principal", rule="natural", batch_size=2000, epochs=5
)
LOW = Settings(layers=8, batch_size=500, epochs=5)
START_ROWS = 20_000  # that the whitening start looks at


BY_NAME = {
    "digits": DIGITS,
    "mnist": LARGE,
    "fashion-mnist": LARGE,
    "bsds300": PATCHES,
    "power": POWER,
    "gas": LOW,
    "hepmass": LOW,
    "miniboone": replace(LOW, layers=2),
}


def settings_for(data: str, **chosen: Any) -> Settings:
    """Return the defaults for this data set, then the preset's choices, then those in `chosen`.

    >>> settings_for("digits", preset="published").init, settings_for("toy:moons", layers=3).layers
    ('orthogonal', 3)
    """
    base = TOY if data.startswith("toy:") else BY_NAME.get(data, Settings())
    chosen = {key: value for key, value in chosen.items() if value is not None}
    if "preset" in chosen:
        preset = PRESETS[one_of("preset", chosen["preset"], PRESETS)]
        base = replace(
            base,
            activation=preset.activation,
            alpha=preset.activation_params["alpha"],
            init=preset.init,
            schedule=preset.schedule,
            batch_size=preset.batch_size,
            rule="adam",
            learning_rate=None,
        )
    if chosen.get("rule") == "adam" and base.rule != "adam" and "preset" not in chosen:
        base = replace(base, learning_rate=1e-2)  # its own 1e-3 hardly moves a start like ours
    elif "rule" in chosen and chosen["rule"] != base.rule:
        base = replace(base, learning_rate=None)
    if "activation" in chosen:
        base = replace(base, alpha=None, beta=None)
    return replace(base, **chosen)


class Report(NamedTuple):
    """What a run gave: log-likelihoods in nats per sample in model space, unless named otherwise.

    `test_se2` is two standard errors of the mean over test rows; bits/dim are of pixel space, None
    where the data are not images; `fell`: how far below its best the validation ended, if more
    than a tenth of a nat and a tenth of what the model gained over the Gaussian.

    >>> Report("digits", -1.0, 0.1, -2.0, None, None, 3, "epochs", 0, 1.0, 2, 10).test
    -1.0
    """

    data: str
    test: float
    test_se2: float
    gaussian: float
    test_bits_per_dim: float | None
    gaussian_bits_per_dim: float | None
    best_epoch: int
    stop_reason: str
    n_rejected: int
    seconds: float
    D: int
    n_test: int
    fell: float | None = None
    space: str = "standardised space"
    n_undone: int = 0

    def text(self) -> str:
        """Return the report in a few lines.

        >>> print(Report("toy", -1.0, 0.1, -2.0, None, None, 3, "epochs", 0, 1.0, 2, 9).text())
        toy: test log-likelihood -1.000 +- 0.100 nats (2 s.e., 9 rows, standardised space, D = 2)
        Gaussian of the same training rows: -2.000 nats; the model is 1.000 nats above it
        best epoch 3; 1.0 s of fitting
        """
        gap = self.test - self.gaussian
        lines = [
            f"{self.data}: test log-likelihood {self.test:.3f} +- {self.test_se2:.3f} nats "
            f"(2 s.e., {self.n_test} rows, {self.space}, D = {self.D})",
            f"Gaussian of the same training rows: {self.gaussian:.3f} nats; the model is "
            f"{abs(gap):.3f} nats {'above' if gap > 0 else 'BELOW'} it",
        ]
        if self.test_bits_per_dim is not None:
            lines.append(
                f"pixel space: {self.test_bits_per_dim:.3f} bits/dim, Gaussian "
                f"{self.gaussian_bits_per_dim:.3f}"
            )
        if self.fell:
            lines.append(
                f"validation fell by {self.fell:.3f} nats from the best epoch to the last: "
                "a smaller learning rate may go further"
            )
        if self.n_undone:
            lines.append(f"{self.n_undone} steps were undone: a smaller learning rate is calmer")
        best = f"best epoch {self.best_epoch}" if self.best_epoch else "no epoch beat the start"
        return "\n".join([*lines, f"{best}; {self.seconds:.1f} s of fitting"])


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
    check_options(**options)
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


def judge(
    data: Dataset, result: FitResult, options: dict[str, Any], gaussian: Any, seconds: float
) -> Report:
    """Return the report of a fit; evaluated in float64 whatever the fit's dtype.

    >>> from relgrad_np.datasets import load
    >>> data = load("toy:rings", n=50)
    >>> layers, options, _ = prepare(Settings(init="identity"), data)
    >>> result = FitResult(layers, layers, 0, (), None, "epochs", 0)
    >>> judge(data, result, options, np.full(10, -2.8), 0.0).gaussian
    -2.8
    """
    layers = in_float64(result.best_layers)
    terms = log_likelihood(layers, data.test, options["activation"], options["density"])
    per_sample, D = terms.per_sample, data.test.shape[1]
    image = data.image_shape is not None
    bits = (
        [bits_per_dim(p, data.log_det["test"], D) for p in (per_sample, gaussian)]
        if image
        else None
    )
    return Report(
        data=data.name,
        test=float(per_sample.mean()),
        test_se2=two_errors(per_sample),
        gaussian=float(gaussian.mean()),
        test_bits_per_dim=float(bits[0].mean()) if bits else None,
        gaussian_bits_per_dim=float(bits[1].mean()) if bits else None,
        best_epoch=result.best_epoch,
        stop_reason=result.stop_reason,
        n_rejected=result.n_rejected,
        seconds=seconds,
        D=D,
        n_test=len(per_sample),
        fell=_fell(result, float(per_sample.mean() - gaussian.mean())),
        space=space_of(data),
        n_undone=result.n_undone,
    )


def two_errors(values: Any) -> float:
    """Return two standard errors of a mean, NaN for one value.

    >>> two_errors(np.array([1.0, 3.0]))
    2.0
    """
    return 2 * float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan


def space_of(data: Dataset) -> str:
    """Name the space of a set's log-likelihoods by its transforms.

    >>> from relgrad_np.datasets import load
    >>> space_of(load("digits"))
    'standardised logit space'
    """
    names = [type(transform).__name__ for transform in data.transforms.transforms]
    words = ["standardised"] * ("Standardise" in names) + ["logit"] * ("Logit" in names)
    return " ".join([*(words or ["data"]), "space"])


def _fell(result: FitResult, gain: float) -> float | None:
    """Return how far the validation ended below its best, where that is worth a line."""
    values = [e.validation for e in result.history if e.validation is not None]
    if not values:
        return None
    fall = max(values) - values[-1]
    return min(fall, 1e300) if fall > max(0.1, 0.1 * abs(gain)) else None
