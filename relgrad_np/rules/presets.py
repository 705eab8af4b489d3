"""Settings by name; `published` is what the authors' code does, which is not our default."""

from dataclasses import dataclass

from .adam import Adam
from .base import Rule


@dataclass(frozen=True)
class Preset:
    """A set of choices for a model and its fit; None leaves a choice to the caller.

    >>> PRESETS["published"].batch_size
    10
    """

    activation: str
    activation_params: dict[str, float]
    init: str
    rule: Rule
    schedule: str
    batch_size: int


PRESETS = {
    "published": Preset(
        activation="smooth_leaky_relu",
        activation_params={"alpha": 0.01},
        init="orthogonal",
        rule=Adam(bias="published", clock=0),  # its clock ticks once an epoch
        schedule="constant",
        batch_size=10,
    )
}
