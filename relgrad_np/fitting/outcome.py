"""What a fit returns: never less than it began with; and whether it has arrived.

Without validation rows the layers are compared on the rows that they were fitted to. There a fit
has no excuse for an end below its own start, or below the Gaussian of the same rows. With them the
best layers are known already, and are compared with the Gaussian of the rows that were fitted.
"""

import math
import warnings

import numpy as np

from ..core.activations import Activation
from ..core.arrays import Array, from_numpy, to_numpy
from ..core.context import context_of
from ..core.network import Layer, Layers
from .factorization import factorized
from .gaussian import gain_over_gaussian, gaussian_layers, gaussian_log_likelihood
from .newton.asked import Asked
from .options import Options
from .records import FitDivergedError, FitResult, FitWarning, NotConvergedWarning
from .regression import regressed
from .survey import MOST, Rows

SLACK = 0.01  # nats, of which nobody needs to hear; per dimension, where the better is returned
SAME = 1e-6  # nats per dimension, of which no start is better
NO_BETTER = "the start is returned, as no epoch was better than it"
SMALLER = "take a smaller learning rate, or fewer layers"
UNFINISHED = 0.5  # |xi~|^2 / D of a layer: above it, moves of that order are still to be made


def compared(result: FitResult, start: Layers, rows: Rows, *, depth: int = 4) -> FitResult:
    """Return the result with the best of its layers, its start and layers of the Gaussian.

    The Gaussian has layers where the base is normal and the activation affine far out. Warns with
    `FitWarning`, once, where the fit ended below its start or the Gaussian; `depth` frames up.
    Cost: up to four passes over the rows, and the moments.
    """
    result, words = best_of(result, start, rows)
    if words:
        warnings.warn(words, FitWarning, stacklevel=depth)
    return result


def after_divergence(error: FitDivergedError, start: Layers, rows: Rows) -> FitDivergedError:
    """Return the error with the best of what the fit had, its start and layers of the Gaussian.

    As it is where the start itself has no finite log-likelihood.
    """
    if value_of(start, rows) == -math.inf:
        return error
    return FitDivergedError(str(error), best_of(error.result, start, rows)[0])


def best_of(result: FitResult, start: Layers, rows: Rows) -> tuple[FitResult, str]:
    """Return the result with the best of its layers, and what is to be said of that, or nothing."""
    fitted, D = {"fit": result.best_layers}, start[0].b.shape[0]
    if result.layers is not result.best_layers:
        fitted["last"] = result.layers
    values: dict[str, float] = {name: value_of(x, rows) for name, x in fitted.items()}
    end = max(values.values())
    candidates = {**fitted, "start": start}
    values["start"] = value_of(start, rows)
    together, c = rows.all(), context_of(start)
    gaussian = -math.inf
    if together is not None:
        X, weights = together
        gaussian = gaussian_log_likelihood(regressed(X, c, weights)[0], weights)
    if gaussian == math.inf:  # rows without full rank have none
        gaussian = -math.inf
    if rows.density.name == "normal" and gaussian > max(values.values()) + SLACK:
        layers = gaussian_of(together[0], start, rows.activation) if together else None
        if layers is not None:
            candidates["gaussian"], values["gaussian"] = layers, value_of(layers, rows)
    name = max(candidates, key=lambda name: values[name])
    words, best, below = "", values[name], []
    if values["start"] > end + SLACK * D:
        below.append(f"{values['start'] - end:.3g} nats below its start")
    if gaussian > best + SLACK or (name == "gaussian" and gaussian > end + SLACK * D):
        below.append(f"{gaussian - end:.3g} nats below the Gaussian of the same rows")
    if below:
        kept = {"start": "its start is", "gaussian": "layers of the Gaussian are"}
        words = (
            f"on the rows it fits the fit ended at {end:.6g} nats, {' and '.join(below)}; "
            f"{kept.get(name, 'the best layers that it had are')} returned: "
            f"{advice(name, gaussian > best + SLACK, rows.density.name)}"
        )
    elif name == "start" and values["start"] > end + SAME * D and not _in_closed_form(start, rows):
        words = f"{NO_BETTER} on the rows that were fitted: {SMALLER}"
    if name == "fit":
        return result, words
    epoch = result.best_epoch if name == "last" else 0
    return result._replace(best_layers=candidates[name], best_epoch=epoch), words


def _in_closed_form(start: Layers, rows: Rows) -> bool:
    """Say whether a start may be the best there is: one layer, the Gaussian of the rows."""
    return len(start) == 1 and rows.density.name == "normal"


def gaussian_of(X: Array, start: Layers, activation: Activation) -> Layers | None:
    """Return layers that are the Gaussian of X, alike the start; None where there are none."""
    try:
        layers = gaussian_layers(X, len(start), activation, context_of(start))
    except ValueError:  # rows of deficient rank
        return None
    if layers is None:
        return None
    return tuple(Layer(*(from_numpy(x, start[0].W) for x in layer)) for layer in layers)


def advice(name: str, short: bool, density: str) -> str:
    """Return what to do about a fit that ended below what it is compared with."""
    if short and density != "normal":
        return "density='normal' or more layers come nearer to it, if these rows are like that"
    return "look for outliers in the rows, take more epochs, or a smaller learning rate"


def value_of(layers: Layers, rows: Rows) -> float:
    """Return the mean log-likelihood of the rows, nats; -inf for NaN."""
    with np.errstate(all="ignore"):
        value = rows.log_likelihood(layers, factorized(layers).total)
    return -math.inf if math.isnan(value) else value


def passed(result: FitResult) -> bool:
    """Say whether validation was best before the last tenth of the epochs: more are no remedy.

    >>> passed(FitResult((), (), 5, (), None, "epochs", 0))
    False
    """
    validated = [e for e in result.history if e.validation is not None]
    return bool(validated) and result.best_epoch < 0.9 * len(result.history)


def compared_in_validation(
    result: FitResult, rows: Rows, X_val: Array, weights: Array | None, *, depth: int = 4
) -> None:
    """Warn where the best layers are below the Gaussian of the fitted rows on rows X_val (n, D).

    By more than 0.01 nats and two standard errors of the mean difference, or by more than a nat for
    each dimension. `weights` (n, 1), of mean 1. Cost: two passes over X_val, and the moments.
    """
    X, start = rows.some(), result.best_layers
    if result.history and result.best_epoch == 0 and not _in_closed_form(start, rows):
        words = f"{NO_BETTER} on the validation rows: {SMALLER}"
        warnings.warn(words, FitWarning, stacklevel=depth)
    gaussian = None if X is None else gaussian_of(X, start[:1], rows.activation)
    if gaussian is None:
        return
    with np.errstate(all="ignore"):
        d = gain_over_gaussian(start, rows.activation, rows.density, gaussian, X_val)  # (n,)
        d = d if weights is None else d * to_numpy(weights)[:, 0]
        error = float(d.std()) / math.sqrt(len(d))
    below = -float(d.mean())
    if below > SLACK and (below > 2 * error or below > start[0].W.shape[0]):
        warnings.warn(
            f"on the validation rows the fit is {below:.3g} nats below the Gaussian of the rows "
            "that it fitted: take fewer layers, density='normal', or look for outliers",
            FitWarning,
            stacklevel=depth,
        )


def told(result: FitResult, rows: Rows, asked: Options) -> FitResult:
    """Return the result with |xi~| of its best layers; warn where the fit has not arrived.

    `NotConvergedWarning` where epochs ran out before `tol` was reached, or where a layer has
    |xi~|^2 / D above 0.5, unless validation was best long before. Cost: two passes and L products
    N D^2.
    """
    D, L = result.best_layers[0].b.shape[0], len(result.best_layers)
    if L * D * D > MOST:
        return result
    with np.errstate(all="ignore"):
        xi = rows.xi_norms(result.best_layers)
    result, worst = result._replace(xi=xi), max(x * x for x in xi) / D
    what = ""
    if asked.tol is not None and result.stop_reason == "epochs":
        what = f"{asked.passes} epochs ran out before `tol` {asked.tol} was reached"
    elif not worst <= UNFINISHED and result.stop_reason == "epochs" and not passed(result):
        what = f"after {asked.passes} epochs the fit is still far from a stationary point"
    if what:
        size = math.sqrt(worst)
        what = f"{what}: |xi| / sqrt(D) is {size:.2g} (0 at an optimum); take more epochs"
        warnings.warn(what, NotConvergedWarning, stacklevel=4)
    return result


def completed(
    result: FitResult,
    left: float,
    start: Layers,
    rows: Rows,
    asked: Asked,
    held: tuple[Array | None, Array | None],
    *,
    depth: int,
) -> FitResult:
    """Return what all rows at once led to, compared as any fit is, with xi of its best layers.

    `held`: the validation rows and their weights, or None each. `left`: the largest element of the
    gradient at its end. `NotConvergedWarning` where iterations ran out; warnings name the line
    `depth` frames up.
    """
    if result.stop_reason == "signal":
        return result
    spent = result.stop_reason == asked.spent
    if asked.compare and held[0] is not None:
        compared_in_validation(result, rows, *held, depth=depth + 1)
    elif asked.compare:
        better = compared(result, start, rows, depth=depth + 1)
        same = better.best_layers is result.best_layers
        result = better if same else better._replace(xi=None)
    if spent:
        words = "iterations" if asked.spent == "max_iter" else asked.spent
        nats = "" if asked.gain is None else f"{asked.gain:g} nats, or "
        warnings.warn(
            f"{asked.max_iter} {words} ran out before `tol` {nats}{asked.tol:g} was reached: the "
            f"largest element of the gradient is {left:.2g}; take more {words}",
            NotConvergedWarning,
            stacklevel=depth,
        )
    if result.xi is None:
        with np.errstate(all="ignore"):
            result = result._replace(xi=rows.xi_norms(result.best_layers))
    return result
