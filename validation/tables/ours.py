"""The contenders of this package: what `auto` chooses, and single settings of a grid."""

import warnings
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.fitting.automatic import ChosenSettings, choose_settings
from relgrad_np.fitting.gaussian import regression_unless_worse

from .contenders import Contender, Fitted
from .sets import Array, Split

NUMBERS = {"n_layers": int, "alpha": float, "batch_size": int, "epochs": int, "patience": int}


def net(data: Split, settings: ChosenSettings, closed: bool = False) -> Fitted:
    """Fit a net with these settings; the best epoch of the validation rows is kept.

    `closed`: the Gaussian is kept where no epoch is better, as `RelativeGradientFlow()` does.
    """
    of_act = {} if settings.alpha is None else {"alpha": settings.alpha}
    model = rg.activation(settings.activation, **of_act), rg.density(settings.density)
    rng = np.random.default_rng(data.seed)
    D = data.train.shape[1]
    start = rg.init_layers(
        rng, D, settings.n_layers, kind=settings.init, X=data.train, activation=model[0]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not arrived: validation has stopped it
        result = rg.fit(
            start,
            data.train,
            *model,
            rng=rng,
            X_val=data.validation,
            rule=settings.rule,
            batch_size=settings.batch_size,
            epochs=settings.epochs,
            patience=settings.patience,
        )

    layers, names = result.best_layers, ("n_layers", "rule", "density", "alpha")
    if closed:
        plain = regression_unless_worse(layers, *model, data.train, data.validation, 0)
        if plain is not None:
            layers, model = plain, (rg.activation("identity"), rg.density("normal"))
            settings = settings._replace(n_layers=1, density="normal")

    def log_density(X: Array) -> Array:
        return rg.log_likelihood(layers, X, *model).per_sample

    choice = {
        **{name: getattr(settings, name) for name in names},
        "epochs": len(result.history),
        "best": result.best_epoch,
    }
    return Fitted(log_density, choice)


def auto(data: Split) -> Fitted:
    """Fit what the numbers of rows and columns choose."""
    return net(data, choose_settings(*data.train.shape), closed=True)


def ensemble(data: Split) -> Fitted:
    """Fit the mean density of flows around that choice, of a Gaussian and of a mixture."""
    from relgrad_np.estimator import FlowEnsemble

    model = FlowEnsemble(random_state=data.seed).fit(data.train, X_val=data.validation)
    names = [f"{one.n_layers} {one.rule} {one.density} {one.alpha}" for one in model.settings_]
    choice = {"flows": names, "weights": [round(float(w), 3) for w in model.weights_]}
    return Fitted(model.score_samples, choice)


OURS: dict[str, Contender] = {"auto": auto, "ensemble": ensemble}


def grid(settings: str) -> Contender:
    """Return the contender of some settings, as `n_layers=8,rule=natural`; the rest is chosen.

    ValueError for what is no setting. `default` is what the package did before it chose.
    """
    if settings == "default":
        return lambda data: net(data, choose_settings(0, 1)._replace(epochs=60))
    given: dict[str, Any] = {}
    for pair in settings.split(","):
        name, value = pair.split("=")
        if name not in ChosenSettings._fields:
            raise ValueError(f"no setting {name!r}; there are {', '.join(ChosenSettings._fields)}")
        given[name] = NUMBERS.get(name, str)(value)
    return lambda data: net(data, choose_settings(*data.train.shape, **given))
