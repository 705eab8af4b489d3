"""One training run on one data set: start, fit, judge on the test rows, write the run folder.

What `relgrad-np train` and `relgrad-np demo` share. Every result stands beside the closed-form
Gaussian of the same training rows, and says its space.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ._arguments import one_of
from .activations import activation
from .adam import Adam
from .checkpoint import Model, save
from .datasets import Dataset, bits_per_dim, gaussian_log_likelihood
from .densities import density
from .fit import Epoch, FitResult, check_options, fit, make_rule
from .generative import require_onto, sample
from .initial import init_layers
from .network import Layers
from .objective import log_likelihood
from .presets import PRESETS
from .rules import Rule, State


@dataclass(frozen=True)
class Settings:
    """The choices of a run; the defaults are those for the digits.

    Measured on the digits (three seeds of the split): two layers, whitening start, plain step
    0.03 with linear decay, logistic base.

    >>> Settings().layers
    2
    """

    layers: int = 2
    activation: str = "smooth_leaky_relu"
    alpha: float | None = None
    density: str = "logistic"
    init: str = "whiten"
    rule: str = "plain"
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


TOY = Settings(layers=16, density="normal", init="identity", batch_size=200, epochs=80)


def settings_for(data: str, **chosen: Any) -> Settings:
    """Return the defaults for this data set, then the preset's choices, then those in `chosen`.

    >>> settings_for("digits", preset="published").init, settings_for("toy:moons", layers=3).layers
    ('orthogonal', 3)
    """
    base = TOY if data.startswith("toy:") else Settings()
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
    if "activation" in chosen and "alpha" not in chosen:
        base = replace(base, alpha=None)
    if "rule" in chosen and "learning_rate" not in chosen:
        base = replace(base, learning_rate=None)
    return replace(base, **chosen)


class Report(NamedTuple):
    """What a run gave: log-likelihoods in nats per sample in model space, unless named otherwise.

    `test_se2` is two standard errors of the mean over test rows; bits/dim are of pixel space, None
    where the data are not images.

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

    def text(self) -> str:
        """Return the report in a few lines.

        >>> print(Report("toy", -1.0, 0.1, -2.0, None, None, 3, "epochs", 0, 1.0, 2, 9).text())
        toy: test log-likelihood -1.000 +- 0.100 nats (2 s.e., 9 rows, standardised space, D = 2)
        Gaussian of the same training rows: -2.000 nats; the model is 1.000 nats above it
        best epoch 3; 1.0 s of fitting
        """
        gap = self.test - self.gaussian
        space = "standardised logit space" if self.test_bits_per_dim else "standardised space"
        lines = [
            f"{self.data}: test log-likelihood {self.test:.3f} +- {self.test_se2:.3f} nats "
            f"(2 s.e., {self.n_test} rows, {space}, D = {self.D})",
            f"Gaussian of the same training rows: {self.gaussian:.3f} nats; the model is "
            f"{abs(gap):.3f} nats {'above' if gap > 0 else 'BELOW'} it",
        ]
        if self.test_bits_per_dim is not None:
            lines.append(
                f"pixel space: {self.test_bits_per_dim:.3f} bits/dim, Gaussian "
                f"{self.gaussian_bits_per_dim:.3f}"
            )
        return "\n".join([*lines, f"best epoch {self.best_epoch}; {self.seconds:.1f} s of fitting"])


class Run(NamedTuple):
    """A finished run: its report, the fit, and the model at its best epoch.

    >>> Run("report", "result", "model").model
    'model'
    """

    report: Report
    result: FitResult
    model: Model


def prepare(settings: Settings, data: Dataset) -> tuple[Layers, dict[str, Any]]:
    """Return the start, and the arguments of `fit` that the settings stand for.

    >>> from relgrad_np.datasets import load
    >>> layers, options = prepare(Settings(layers=3, init="identity"), load("toy:rings", n=50))
    >>> len(layers), options["batch_size"]
    (3, 100)
    """
    params = {} if settings.alpha is None else {"alpha": settings.alpha}
    act = activation(settings.activation, **params)
    require_onto(act)
    rng = np.random.default_rng(settings.seed)
    X = data.train.astype(one_of("dtype", settings.dtype, ("float32", "float64")))
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
    }
    check_options(**options)
    start = init_layers(rng, X.shape[1], settings.layers, kind=settings.init, X=X, activation=act)
    return start, options | {
        "X": X,
        "activation": act,
        "density": density(settings.density),
        "rule": rule,
        "X_val": data.validation.astype(X.dtype),
    }


def train(
    data: Dataset,
    settings: Settings,
    *,
    progress: bool = False,
    callbacks: tuple[Callable[[Epoch, State], Any], ...] = (),
) -> Run:
    """Fit a model to the training rows and judge its best epoch on the test rows.

    >>> from relgrad_np.datasets import load
    >>> run = train(load("toy:sine", n=200), Settings(epochs=2))
    >>> run.report.data, len(run.result.history)
    ('toy:sine', 2)
    """
    start, options = prepare(settings, data)
    gaussian = gaussian_log_likelihood(data.train, data.test)
    started = time.perf_counter()
    result = fit(start, **options, progress=progress, callbacks=callbacks)
    seconds = time.perf_counter() - started
    report = judge(data, result, options, gaussian, seconds)
    return Run(report, result, model_of(data, settings, result.best_layers, options))


def model_of(data: Dataset, settings: Settings, layers: Layers, options: dict[str, Any]) -> Model:
    """Return the model of these layers with what is needed to use it.

    >>> from relgrad_np.datasets import load
    >>> data = load("toy:rings", n=50)
    >>> layers, options = prepare(Settings(init="identity"), data)
    >>> model_of(data, Settings(), layers, options).config["data"]
    'toy:rings'
    """
    config = {"data": data.name, **asdict(settings)}
    return Model(layers, options["activation"], options["density"], data.transforms, config)


def judge(
    data: Dataset, result: FitResult, options: dict[str, Any], gaussian: Any, seconds: float
) -> Report:
    """Return the report of a fit; evaluated in float64 whatever the fit's dtype.

    >>> from relgrad_np.datasets import load
    >>> data = load("toy:rings", n=50)
    >>> layers, options = prepare(Settings(init="identity"), data)
    >>> result = FitResult(layers, layers, 0, (), None, "epochs", 0)
    >>> judge(data, result, options, np.full(10, -2.8), 0.0).gaussian
    -2.8
    """
    layers = tuple(
        type(layer)(*(p.astype(np.float64) for p in layer)) for layer in result.best_layers
    )
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
        test_se2=2 * float(per_sample.std(ddof=1)) / math.sqrt(len(per_sample)),
        gaussian=float(gaussian.mean()),
        test_bits_per_dim=float(bits[0].mean()) if bits else None,
        gaussian_bits_per_dim=float(bits[1].mean()) if bits else None,
        best_epoch=result.best_epoch,
        stop_reason=result.stop_reason,
        n_rejected=result.n_rejected,
        seconds=seconds,
        D=D,
        n_test=len(per_sample),
    )


def new_folder(path: Path) -> Path:
    """Make the run folder; FileExistsError if anything of this name is there.

    >>> import tempfile
    >>> new_folder(Path(tempfile.mkdtemp()) / "run").is_dir()
    True
    """
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        raise FileExistsError(
            f"the run folder {str(path)!r} exists: name another with --out, or remove it"
        ) from None
    return path


def write_history(path: Path, epoch: Epoch) -> None:
    """Append one epoch to a file of JSON lines.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
    >>> write_history(path, Epoch(1, 10, 0.1, 0.1, None, -3.1, None, 0.2))
    >>> json.loads(path.read_text())["validation"]
    -3.1
    """
    with path.open("a") as file:
        file.write(json.dumps(epoch._asdict()) + "\n")


def write_run(folder: Path, data: Dataset, run: Run) -> None:
    """Write model.npz, report.json, and (with matplotlib) curve.png and samples.png.

    >>> write_run.__name__
    'write_run'
    """
    save(folder / "model.npz", run.model)
    (folder / "report.json").write_text(json.dumps(run.report._asdict(), indent=2) + "\n")
    draw(folder, data, run)


def draw(folder: Path, data: Dataset, run: Run, prefix: str = "") -> list[Path]:
    """Draw the learning curve and the samples; returns the files, none without matplotlib.

    >>> draw.__name__
    'draw'
    """
    try:
        from . import plots
    except ModuleNotFoundError:
        return []
    files = [folder / f"{prefix}curve.png", folder / f"{prefix}samples.png"]
    history, model = run.result.history, run.model
    validation_gaussian = float(gaussian_log_likelihood(data.train, data.validation).mean())
    plots.learning_curve(
        files[0],
        [e.epoch for e in history],
        [e.train for e in history],
        [e.validation for e in history],
        validation_gaussian,
        f"{data.name}: {len(model.layers)} layers, {run.model.config['rule']} rule",
    )
    layers = tuple(type(layer)(*(p.astype(np.float64) for p in layer)) for layer in model.layers)
    rng = np.random.default_rng(run.model.config["seed"])
    n = 36 if data.image_shape else 5000
    X, _ = sample(layers, rng, n, model.activation, model.density)
    if data.image_shape:
        real = data.transforms.inverse(data.test[:36])
        plots.image_grid(
            files[1],
            real,
            data.transforms.inverse(X),
            data.image_shape,
            ("held-out data", "samples of the model"),
        )
    else:
        plots.density_2d(
            files[1],
            data.test,
            X,
            lambda x: log_likelihood(layers, x, model.activation, model.density).per_sample,
            data.name,
        )
    return files
