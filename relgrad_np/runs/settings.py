"""The settings of a run, which its config.json holds, and the defaults for known data sets.

The options of `fit` among them are declared in `fitting.options`, the others here. The flags of
`relgrad-np train` and the table of the documentation are made from both.
"""

from dataclasses import dataclass, replace
from typing import Any

from ..core.arguments import one_of, whole
from ..datasets import Reading
from ..datasets.files.reading import MISSING
from ..fitting.declared import among, check_settings, declared, optional, setting, shared
from ..fitting.newton.asked import OF_STEPS
from ..fitting.options import PASSES_OF_NEWTON, Options
from ..fitting.starts import KINDS
from ..rules.by_name import NEWTON
from ..rules.presets import PRESETS
from .devices import NAMES

ACTIVATIONS = ("smooth_leaky_relu", "leaky_tanh", "identity")  # those that are onto R
DENSITIES = ("normal", "logistic", "laplace", "sech", "quartic", "student_t", "multivariate_t")
DTYPES = ("float32", "float64")


@dataclass(frozen=True)
class Settings:
    """The settings of a run, with the defaults for data of one's own; see `settings_for`.

    ValueError or TypeError, by name, for what can't be used.

    >>> Settings(epochs=3).epochs, Settings().layers
    (3, 3)
    """

    layers: int = setting(3, "number of layers L", check=whole)
    activation: str = setting(
        "smooth_leaky_relu", "what acts between the layers", choices=ACTIVATIONS
    )
    alpha: float | None = setting(None, "parameter of the activation", unset="the activation's own")
    beta: float | None = setting(
        None, "second parameter, of leaky_tanh", unset="the activation's own"
    )
    density: str = setting("normal", "base density of the latent", choices=DENSITIES)
    init: str = setting("gaussianize", "how the layers start", choices=KINDS)
    rule: str = shared(Options, "rule")
    learning_rate: float | None = shared(Options, "learning_rate")
    schedule: str = shared(Options, "schedule")
    warmup: int = shared(Options, "warmup")
    batch_size: int | None = shared(Options, "batch_size")
    epochs: int | None = shared(Options, "epochs", default=60)
    patience: int | None = shared(Options, "patience")
    tol: float | None = shared(Options, "tol")
    n_iter_no_change: int = shared(Options, "n_iter_no_change")
    seed: int = setting(0, "seed of all that is random")
    dtype: str = setting(
        "float64", "in which the layers are fitted", choices=DTYPES, check=among(DTYPES)
    )
    implementation: str | None = shared(Options, "implementation")
    preset: str | None = setting(
        None,
        "settings that belong together, such as those of the authors' code",
        choices=PRESETS,
        check=optional(among(PRESETS)),
    )
    average: float | None = shared(Options, "average")
    fresh_noise: bool = setting(False, "dequantise images anew for each batch")
    device: str = setting("cpu", f"where the arrays are: {NAMES}")

    def __post_init__(self) -> None:
        check_settings(self)

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

    def reading(self) -> Reading:
        """Return what a reader is asked for; ValueError for what can't be."""
        return Reading(**vars(self))


GROUPS = {  # how help lists the settings of a run
    "model": ("layers", "activation", "alpha", "beta", "density", "init"),
    "fit": (
        *("rule", "learning_rate", "schedule", "warmup", "batch_size", "epochs", "patience"),
        *("tol", "n_iter_no_change", "average", "fresh_noise", "preset", "seed"),
    ),
    "machine": ("dtype", "device", "implementation"),
}


# Chosen on validation rows. On the digits (seed 0) three layers, the Gaussianising start and the
# recipe end above two layers, the whitening start and a plain step of 0.03. The toys and POWER gain
# by the natural gradient in deep nets, BSDS300 by depth, leaky_tanh, a base with one scale for the
# whole row, and Adam in the group. See `validation`.

DIGITS = Settings(fresh_noise=True)
TOY = Settings(layers=48, init="principal", rule="natural", batch_size=250, epochs=60)
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
    layers=32, density="student_t", init="principal", rule="natural", batch_size=500, epochs=5
)
LOW = Settings(layers=8, batch_size=500, epochs=5)
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


PATIENCE = 20  # iterations: validation rises and falls on the way of second order


def all_rows_at_once(base: Settings) -> Settings:
    """Return these settings for the rule "newton": those of steps of batches have no meaning.

    >>> all_rows_at_once(POWER).batch_size, all_rows_at_once(POWER).density
    (100, 'student_t')
    """
    usual = {name: getattr(Settings, name) for name in OF_STEPS if hasattr(Settings, name)}
    return replace(
        base, **usual, rule=NEWTON, epochs=PASSES_OF_NEWTON, patience=PATIENCE, fresh_noise=False
    )


def settings_for(data: str, **chosen: Any) -> Settings:
    """Return the defaults for this data set, then the preset's choices, then those in `chosen`.

    None in `chosen` is what was not chosen; "none" stands for None.

    >>> settings_for("digits", preset="published").init, settings_for("toy:moons", layers=3).layers
    ('orthogonal', 3)
    """
    base = TOY if data.startswith("toy:") else BY_NAME.get(data, Settings())
    given = {key: value for key, value in chosen.items() if value is not None}
    chosen = {key: None if value == "none" else value for key, value in given.items()}
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
    if chosen.get("rule") == NEWTON:
        base = all_rows_at_once(base)
    elif chosen.get("rule") == "adam" and base.rule != "adam" and "preset" not in chosen:
        base = replace(base, learning_rate=1e-2)  # its own 1e-3 hardly moves a start like ours
    elif "rule" in chosen and chosen["rule"] != base.rule:
        base = replace(base, learning_rate=None)
    if "activation" in chosen:
        base = replace(base, alpha=None, beta=None)
    return replace(base, **chosen)
