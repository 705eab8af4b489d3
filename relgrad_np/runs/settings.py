"""The choices of a run, and those for the data sets known by name."""

from dataclasses import dataclass, replace
from typing import Any

from ..core.arguments import one_of
from ..rules.presets import PRESETS


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
