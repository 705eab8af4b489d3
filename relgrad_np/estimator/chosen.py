"""What an estimator is fitted with: its parameters, and what the rows choose for "auto"."""

import math
from typing import Any, NamedTuple

from ..core.activations import Activation
from ..core.activations import activation as make_activation
from ..core.densities import Density
from ..core.densities import density as make_density
from ..core.sampling import require_model
from ..fitting.automatic import AUTO, USUAL, ChosenSettings, choose_settings, validation_share
from ..rules.by_name import NEWTON

NAMES = ("n_layers", "rule", "init", "density", "activation", "batch_size", "epochs", "patience")
LEAST_PATIENCE = 10  # epochs, where validation rows are given and the settings are not the table's
PATIENCE_OF_NEWTON = 20  # iterations


class Parameters(NamedTuple):
    """The settings of a fit, and the part of the rows that is held for validation, or None."""

    settings: ChosenSettings
    validation_fraction: float | None


def parameters_for(flow: Any, N: int, D: int, c: int = 0) -> Parameters:
    """Return what `flow` is fitted with on N rows of D columns, those for validation included.

    c: columns of context, beside the D.

    Validation rows are held where the settings are the table's, which need them, or where
    `patience` is a number.
    """
    given = given_to(flow)
    share = flow.validation_fraction
    automatic = isinstance(share, str) and share == AUTO
    if automatic:
        share = validation_share(N, D + c)
    n = N if not isinstance(share, float) else max(1, N - math.ceil(share * N))
    how: dict[str, Any] = {"c": c, "seconds": flow.seconds, "held": share is not None}
    settings = choose_settings(n, D, **how, **given)
    if automatic and share is not None and not stops(n, D, given, c):
        share, how["held"] = None, False
        settings = choose_settings(N, D, **how, **given)
    if share is None and "patience" not in given:
        settings = settings._replace(patience=None)
    elif settings.patience is None and "patience" not in given:
        settings = settings._replace(patience=usual_patience(settings))
    return Parameters(settings, share)


def stops(n: int, D: int, given: dict[str, Any], c: int = 0) -> bool:
    """Say whether validation stops a fit with these settings, unless another patience is given.

    >>> stops(100, 2, {"n_layers": 1}), stops(100, 2, {"patience": None})
    (False, True)
    """
    rest = {name: value for name, value in given.items() if name != "patience"}
    if given.get("patience") is not None:
        return True
    return choose_settings(n, D, c=c, **rest).patience is not None


def usual_patience(settings: ChosenSettings) -> int:
    """Return the patience of a fit that has validation rows and no settings of the table's.

    >>> usual_patience(USUAL._replace(epochs=100)), usual_patience(USUAL._replace(rule="newton"))
    (20, 20)
    """
    if isinstance(settings.rule, str) and settings.rule == NEWTON:
        return PATIENCE_OF_NEWTON
    return max(LEAST_PATIENCE, (settings.epochs or 0) // 5)


def given_to(flow: Any) -> dict[str, Any]:
    """Return the parameters of `flow` that are not "auto", by the names of `ChosenSettings`."""
    values = {name: getattr(flow, name) for name in NAMES}
    return {n: v for n, v in values.items() if not (isinstance(v, str) and v == AUTO)}


def settings_now(flow: Any) -> ChosenSettings:
    """Return the settings of the last fit, or the usual ones, under what is given to `flow` now."""
    given = given_to(flow)
    if "activation" in given:
        given["alpha"] = None
    settings: ChosenSettings = getattr(flow, "settings_", USUAL)
    return settings._replace(**given)


def asks_for_depth(flow: Any) -> bool:
    """Say whether the number of layers, and the base, are left to the rows."""
    return not given_to(flow).keys() & {"n_layers", "density"}


def regression_of(settings: ChosenSettings) -> ChosenSettings:
    """Return settings of the Gaussian regression on a context that was kept in place of a flow.

    >>> regression_of(USUAL).words
    '1 layer in closed form: no deeper flow was better on the validation rows'
    """
    words = "1 layer in closed form: no deeper flow was better on the validation rows"
    before = settings.words.rsplit(": ", 1)[0]
    words = f"{before}: {words}" if before else words
    return settings._replace(n_layers=1, density="normal", words=words)


def parts_of(settings: ChosenSettings) -> tuple[Activation, Density]:
    """Return activation and base density; ValueError for two that make no density of the data.

    >>> parts_of(USUAL)[0].params
    {'alpha': 0.3}
    """
    act, dens = settings.activation, settings.density
    if isinstance(act, str):
        act = make_activation(act, **({} if settings.alpha is None else {"alpha": settings.alpha}))
    if isinstance(dens, str):
        dens = make_density(dens)
    require_model(act, dens)
    return act, dens
