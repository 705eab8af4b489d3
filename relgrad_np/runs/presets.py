"""Where the settings of a run come from: from the data, or from a preset that is asked for.

`chosen_for` lets the rows choose, by the table of `fitting.automatic`. A preset holds what was
tuned on one data set, or is published.
"""

from dataclasses import replace
from typing import Any

from ..core.arguments import one_of
from ..fitting.automatic import AUTO, ChosenSettings, choose_settings
from ..fitting.declared import declared
from ..fitting.newton.asked import OF_STEPS
from ..fitting.options import PASSES_OF_NEWTON
from ..rules.by_name import NEWTON
from ..rules.presets import PRESETS
from .settings import PRESET_NAMES, Settings

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
    """Return the preset of this data set, then the published choices, then those in `chosen`.

    None and "auto" in `chosen` are what was not chosen; "none" stands for None. A preset that is
    chosen by name comes before that of the data.

    >>> settings_for("digits", preset="published").init, settings_for("toy:moons", layers=3).layers
    ('orthogonal', 3)
    >>> settings_for("my.csv", preset="power").layers
    32
    """
    chosen = asked(chosen)
    name = one_of("preset", chosen.get("preset") or "published", PRESET_NAMES)
    known = BY_NAME | {"toys": TOY}
    own = known.get("toys" if data.startswith("toy:") else data, Settings())
    base = known.get(name, own)
    if "preset" in chosen and name in PRESETS:
        preset = PRESETS[name]
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
    return with_choices(base, chosen)


def chosen_for(
    N: int, D: int, *, c: int = 0, seconds: float | None = None, **chosen: Any
) -> tuple[Settings, ChosenSettings]:
    """Return settings that N training rows of D columns choose, and the table's choice.

    c: columns that are given, beside the D.

    What is in `chosen` holds, as in `settings_for`; `seconds`: see `choose_settings`.

    >>> chosen_for(2000, 2)[0].layers, chosen_for(2000, 2, layers="auto", rule="plain")[0].layers
    (32, 2)
    """
    chosen = asked(chosen)
    fields = {"n_layers" if name == "layers" else name: value for name, value in chosen.items()}
    of_table = {name: fields[name] for name in ChosenSettings._fields if name in fields}
    made = choose_settings(N, D, c=c, seconds=seconds, **of_table)
    values = made._asdict() | {"layers": made.n_layers}
    plain = {name: value for name, value in values.items() if name in declared(Settings)}
    if made.epochs is None and "epochs" not in chosen:
        del plain["epochs"]
    return with_choices(Settings(**plain), chosen), made


def asked(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return what was chosen: neither None nor "auto", and None for "none".

    >>> asked({"layers": "auto", "rule": None, "average": "none", "epochs": 3})
    {'average': None, 'epochs': 3}
    """
    given = {k: value for k, value in chosen.items() if value is not None and value != AUTO}
    return {key: None if value == "none" else value for key, value in given.items()}


def with_choices(base: Settings, chosen: dict[str, Any]) -> Settings:
    """Return settings with these choices, and what follows from the choice of a rule.

    >>> with_choices(POWER, {"rule": "adam"}).learning_rate
    0.01
    """
    if chosen.get("rule") == NEWTON:
        base = all_rows_at_once(base)
    elif chosen.get("rule") == "adam" and chosen.get("preset") not in PRESETS:
        base = replace(base, learning_rate=1e-2)  # its own 1e-3 hardly moves a start like ours
    elif "rule" in chosen and chosen["rule"] != base.rule:
        base = replace(base, learning_rate=None)
    if "activation" in chosen:
        base = replace(base, alpha=None, beta=None)
    return replace(base, **chosen)
