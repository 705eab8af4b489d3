"""The settings of a run, which its config.json holds.

The options of `fit` among them are declared in `fitting.options`, the others here. The flags of
`relgrad-np train` and the table of the documentation are made from both.
"""

from dataclasses import asdict, dataclass
from typing import Any

from ..core.arguments import whole
from ..datasets import Reading
from ..datasets.files.reading import MISSING
from ..fitting.declared import among, check_settings, declared, optional, setting, shared
from ..fitting.options import Options
from ..fitting.starts import KINDS
from ..rules.by_name import record_of, rule_of
from ..rules.presets import PRESETS
from .devices import NAMES

ACTIVATIONS = ("smooth_leaky_relu", "leaky_tanh", "identity")  # those that are onto R
DENSITIES = ("normal", "logistic", "laplace", "sech", "quartic", "student_t", "multivariate_t")
MISSING_SCORED = tuple(name for name in MISSING if name != "median")
DTYPES = ("float32", "float64")
OF_DATA = ("digits", "mnist", "fashion-mnist", "bsds300", "power", "gas", "hepmass", "miniboone")
PRESET_NAMES = (*PRESETS, "toys", *OF_DATA)


@dataclass(frozen=True)
class Settings:
    """The settings of a run, as plain values; what is "auto" on a command line is chosen before.

    The defaults are for who makes one by hand; `chosen_for` lets the data choose.

    ValueError or TypeError, by name, for what can't be used.

    >>> Settings(epochs=3).epochs, Settings().layers
    (3, 3)
    """

    layers: int = setting(3, "number of layers L", check=whole, auto=True)
    activation: str = setting(
        "smooth_leaky_relu", "what acts between the layers", choices=ACTIVATIONS, auto=True
    )
    alpha: float | None = setting(
        None, "parameter of the activation", unset="the activation's own", auto=True
    )
    beta: float | None = setting(
        None, "second parameter, of leaky_tanh", unset="the activation's own"
    )
    density: str = setting("normal", "base density of the latent", choices=DENSITIES, auto=True)
    init: str = setting("gaussianize", "how the layers start", choices=KINDS, auto=True)
    rule: str = shared(Options, "rule", auto=True)
    learning_rate: float | None = shared(Options, "learning_rate")
    schedule: str = shared(Options, "schedule")
    warmup: int = shared(Options, "warmup")
    batch_size: int | None = shared(Options, "batch_size", auto=True)
    epochs: int | None = shared(Options, "epochs", default=60, auto=True)
    patience: int | None = shared(Options, "patience", auto=True)
    tol: float | None = shared(Options, "tol")
    n_iter_no_change: int = shared(Options, "n_iter_no_change")
    seed: int = setting(0, "seed of all that is random")
    dtype: str = setting(
        "float64", "in which the layers are fitted", choices=DTYPES, check=among(DTYPES)
    )
    implementation: str | None = shared(Options, "implementation")
    preset: str | None = setting(
        None,
        "settings that belong together: of the authors' code, or tuned for a data set",
        choices=PRESET_NAMES,
        check=optional(among(PRESET_NAMES)),
    )
    average: float | None = shared(Options, "average")
    fresh_noise: bool = setting(False, "new dequantisation noise of images for each batch")
    device: str = setting("cpu", f"where the arrays are: {NAMES}")

    def __post_init__(self) -> None:
        object.__setattr__(self, "rule", rule_of(self.rule))
        check_settings(self)

    def plain(self) -> dict[str, Any]:
        """Return all as plain values, which make the same settings again: those of config.json.

        >>> from relgrad_np import Natural
        >>> settings = Settings(rule=Natural(damping=0.1))
        >>> settings.plain()["rule"], Settings(**settings.plain()) == settings
        ({'name': 'natural', 'damping': 0.1}, True)
        """
        return asdict(self) | {"rule": record_of(self.rule)}

    def of_fit(self) -> dict[str, Any]:
        """Return those that are options of `fit`, by name.

        >>> Settings(warmup=5).of_fit()["warmup"]
        5
        """
        return {name: getattr(self, name) for name in declared(Options) if hasattr(self, name)}


@dataclass(frozen=True)
class DataSettings:
    """How data of one's own are read: the flags that become a `Reading`.

    >>> DataSettings(drop="id,when").reading().drop
    ('id', 'when')
    """

    columns: str | None = setting(
        None, "columns to read, by name or by number from 0, with commas between", unset="all"
    )
    drop: str | None = setting(None, "columns to leave out", unset="none")
    sep: str | None = setting(
        None, "mark between the fields of a text: a character, tab or space", unset="found out"
    )
    decimal: str | None = setting(
        None, "decimal mark of a text, a point or a comma", unset="found out"
    )
    encoding: str | None = setting(
        None, "encoding of a text, such as cp1252", unset="UTF-8, unless it is found to be another"
    )
    missing: str = setting(
        "error", "missing values: refuse, drop their rows, or fill them", choices=MISSING
    )
    missing_marks: str | None = setting(
        None, "more marks of a missing value, as in --missing-marks=-9999,tba", unset="the usual"
    )
    dequantise: bool = setting(
        False, "add noise as wide as their step to columns of whole numbers or few values"
    )
    support: str | None = setting(
        None,
        "bounds of columns, as in age=0:120,income=0:,share=unit: log and logit before the model",
        unset="no bounds",
    )

    given: str | None = setting(
        None, "columns that the others are given: the model is p(the others | these)", unset="none"
    )

    def reading(self) -> Reading:
        """Return what a reader is asked for; ValueError for what can't be."""
        return Reading(**vars(self))


@dataclass(frozen=True)
class ScoredSettings(DataSettings):
    """How a file is read whose rows are scored: a row that was filled would be another one.

    >>> ScoredSettings().reading().missing
    'error'
    """

    missing: str = setting(
        "error", "missing values: refuse, or score the other rows", choices=MISSING_SCORED
    )


GROUPS = {  # how help lists the settings of a run
    "model": ("layers", "activation", "alpha", "beta", "density", "init"),
    "fit": (
        *("rule", "learning_rate", "schedule", "warmup", "batch_size", "epochs", "patience"),
        *("tol", "n_iter_no_change", "average", "fresh_noise", "preset", "seed"),
    ),
    "machine": ("dtype", "device", "implementation"),
}
