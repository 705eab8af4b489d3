"""Judges a fit by what needs no trust: its own start, and the closed-form Gaussian of its rows.

Only the public names of the package are used. The Gaussian is computed here, in long doubles, by
an orthogonalisation of its own, so that neither units nor outliers nor offsets cost it digits.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import relgrad_np as rg
from relgrad_np.estimator import RelativeGradientFlow as F

from .dirty import RANK, condition

Array = Any
SLACK = 0.01  # nats a row
DECIDED = {"float32": 1e-3, "float64": RANK}  # a `condition` above it leaves no doubt
REFUSALS = ("rank", "row", "column", "constant")


def fit_warnings() -> tuple[type[Warning], ...]:
    """Return the warnings by which a fit says that it is not to be trusted."""
    from sklearn.exceptions import ConvergenceWarning

    own = getattr(rg, "FitWarning", None)
    return (ConvergenceWarning, *(() if own is None else (own,)))


class Gaussian(NamedTuple):
    """The maximum likelihood Gaussian of rows: its mean log-likelihood, and y = W x + b (D,).

    >>> X = np.array([[-1.0], [1.0]])
    >>> round(gaussian(X).mean, 6), float(gaussian(X).W[0, 0])
    (-1.418939, 1.0)
    """

    mean: float
    W: Array
    b: Array


def gaussian(X: Array) -> Gaussian:
    """Return the Gaussian of the rows X (N, D) by Gram-Schmidt, done twice, in long doubles.

    mean = -D/2 (1 + log 2 pi) - sum_i log r_i, where r_i is the standard deviation of what column i
    has left beside the columns before it.
    """
    X = np.asarray(X, dtype=np.longdouble)
    D = X.shape[1]
    mu = X.mean(axis=0)  # (D,)
    Q = X - mu  # (N, D), becomes orthogonal
    mu = mu + Q.mean(axis=0)  # what rounding left
    Q = Q - Q.mean(axis=0)
    W = np.eye(D, dtype=np.longdouble)  # Q = (X - mu) W'
    logs = np.longdouble(0)
    for i in range(D):
        for j in (*range(i), *range(i)):
            share = (Q[:, i] * Q[:, j]).mean()
            Q[:, i] -= share * Q[:, j]
            W[i] -= share * W[j]
        largest = np.abs(Q[:, i]).max()
        r = largest * np.sqrt(((Q[:, i] / largest) ** 2).mean())
        Q[:, i] /= r
        W[i] /= r
        logs += np.log(r)
    mean = -D / 2 * (1 + np.log(2 * np.pi)) - logs
    return Gaussian(float(mean), W, -(W @ mu))


def evaluated(layers: Any, X: Array, dtype: Any, model: tuple[Any, Any]) -> float:
    """Return the mean log-likelihood of X (N, D) as it is computed in this dtype."""
    with np.errstate(all="ignore"):
        cast = tuple(rg.Layer(np.asarray(W, dtype), np.asarray(b, dtype)) for W, b in layers)
        each = rg.log_likelihood(cast, np.asarray(X, dtype), *model).per_sample  # (N,)
        return float(np.mean(each, dtype=np.float64))


class Verdict(NamedTuple):
    """What a fit was found to be; `faults` is empty where it can be trusted.

    `start`, `gaussian`: score less that of the start, and less the Gaussian's; None where there is
    none. `allowed`: what this dtype loses. `near`: of one layer with the normal base, whether the
    score is within `SLACK` of the Gaussian. `other`: warnings of other classes.
    """

    faults: tuple[str, ...]
    refused: bool = False
    warned: bool = False
    start: float | None = None
    gaussian: float | None = None
    allowed: float = 0.0
    near: bool | None = None
    other: int = 0


def start_of(X: Array, model: Any) -> Any:
    """Return the layers that this estimator starts from, or None where there are none."""
    asked = model.get_params()
    act = rg.activation(asked["activation"])
    rng = np.random.default_rng(0)  # drawn from by "orthogonal" only
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return rg.init_layers(
                rng, X.shape[1], asked["n_layers"], kind=asked["init"], X=X, activation=act
            )
    except (ValueError, FloatingPointError):
        return None


def fitted(model: Any, X: Array) -> tuple[Any, list[Any]]:
    """Return the exception or None, and the warnings, of a fit."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(X)
        except Exception as error:  # which one is what is judged
            return error, caught
    return None, caught


def is_refusal(error: BaseException) -> bool:
    """Say whether an error is one clear line about the rank or the rows.

    >>> is_refusal(ValueError("`X` has rank 2 of 3")), is_refusal(ValueError("math domain error"))
    (True, False)
    """
    text = str(error)
    one_line = isinstance(error, ValueError) and bool(text) and "\n" not in text
    return one_line and any(word in text for word in REFUSALS)


class Ending(NamedTuple):
    """How a fit ended: `error` in a line, "" where there was none, and whether it is a refusal.

    `warned`: whether it says that it is not to be trusted. `other`: warnings of other classes.
    """

    error: str
    refused: bool
    warned: bool
    other: int


def ending(model: Any, X: Array, fit: Callable[[Any, Array], Any]) -> Ending:
    """Fit an estimator to the rows X (N, D), and say how that ended.

    >>> def fit(model, X):
    ...     return ValueError("`X` has rank 2 of 3"), []
    >>> ending(None, np.eye(3), fit)
    Ending(error='ValueError: `X` has rank 2 of 3', refused=True, warned=False, other=0)
    """
    error, caught = fit(model, X)
    warned = sum(issubclass(w.category, fit_warnings()) for w in caught)
    other = len(caught) - warned
    if error is None:
        return Ending("", False, bool(warned), other)
    text = f"{type(error).__name__}: {str(error)[:90]}"
    return Ending(text, is_refusal(error), bool(warned), other)


def judged(X: Array, model: Any, fit: Callable[[Any, Array], Any] = fitted) -> Verdict:
    """Fit an estimator to the rows X (N, D), of full rank, and judge what came.

    Faults: an exception that is no clear refusal; a refusal by one layer of the normal base where
    the rows are of full rank beyond doubt, because there the closed form exists; NaN; without a
    warning, a score below the start's or the Gaussian's by more than `SLACK` and what the dtype
    loses. It loses what the closed form's own layers lose when they are rounded and evaluated; and
    in float32 what the fitted layers' score differs by in float64.
    """
    error, refused, warned, other = ending(model, X, fit)
    asked = model.get_params()
    one = asked["n_layers"] == 1 and asked["density"] == "normal"
    if error:
        wrong = not refused or (one and condition(X) > DECIDED[str(X.dtype)])
        kind = "refused though of full rank" if refused else "raised"
        return Verdict((f"{kind}: {error}",) if wrong else (), refused, warned, other=other)
    with np.errstate(all="ignore"):
        each = np.asarray(model.score_samples(X))  # (N,)
    score = float(np.mean(each, dtype=np.float64))
    faults = []
    if not all(np.isfinite(x).all() for layer in model.layers_ for x in layer):
        faults.append("layers_ not finite")
    if np.isnan(each).any():
        faults.append("NaN in score_samples")
    if faults:
        return Verdict(tuple(faults), False, warned, other=other)
    parts = rg.activation(asked["activation"]), rg.density(asked["density"])
    best = gaussian(X)
    start = start_of(X, model)
    own = evaluated(((best.W, best.b),), X, X.dtype, (parts[0], rg.density("normal")))
    allowed = lost(own, best.mean)
    if X.dtype != np.float64:
        allowed += lost(score, evaluated(model.layers_, X, np.float64, parts))
    above_start = None if start is None else score - evaluated(start, X, X.dtype, parts)
    above = score - best.mean
    low = -SLACK - allowed
    if not warned:
        if not np.isfinite(score):
            faults.append(f"score {score}, no warning")
        if above_start is not None and above_start < low:
            faults.append(f"{-above_start:.4g} nats below its start, no warning")
        if above < low:
            faults.append(f"{-above:.4g} nats below the Gaussian, no warning")
    near = abs(above) <= SLACK + allowed if one else None
    if one and above > SLACK + allowed:
        faults.append(f"{above:.4g} nats above what a Gaussian can have")
    return Verdict(tuple(faults), False, warned, above_start, above, allowed, near, other)


class Unseen(NamedTuple):
    """What a fit is worth on rows that it has not seen; `faults` is empty where it can be trusted.

    `gaussian`: its mean log-likelihood less that of the Gaussian of the same training rows, and the
    standard error of that, both in nats; None where there is none.
    """

    faults: tuple[str, ...]
    refused: bool = False
    warned: bool = False
    gaussian: float | None = None
    error: float | None = None


def judged_unseen(X: Array, seed: int, fit: Callable[[Any, Array], Any] = fitted) -> Unseen:
    """Fit the estimator as it comes to 70 % of the rows X (N, D), and judge it by the others.

    Faults: an exception that is no clear refusal, NaN; without a warning, a mean below that of the
    training rows' Gaussian by more than `SLACK` and four standard errors of the difference.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(X))
    training, unseen = X[order[: int(0.7 * len(X))]], X[order[int(0.7 * len(X)) :]]
    model = F(random_state=seed)
    if condition(training) <= RANK:  # the row that made the rank is among the others
        return Unseen((), refused=True)
    error, refused, warned, _ = ending(model, training, fit)
    if error:
        return Unseen(() if refused else (f"raised: {error}",), refused, warned)
    with np.errstate(all="ignore"):
        each = np.asarray(model.score_samples(unseen), dtype=np.longdouble)  # (N',)
    if np.isnan(each).any():
        return Unseen(("NaN in score_samples",), False, warned)
    best = gaussian(training)
    y = unseen @ best.W.T + best.b  # (N', D)
    log_det = np.log(np.diag(best.W)).sum()
    right = log_det - (y**2 + np.log(2 * np.pi)).sum(axis=1) / 2  # (N',)
    above = each - right
    mean, deviation = float(above.mean()), float(above.std() / np.sqrt(len(above)))
    low = not np.isfinite(mean) or mean < -SLACK - 4 * deviation
    text = f"{-mean:.4g} +- {deviation:.2g} nats below the Gaussian on unseen rows, no warning"
    return Unseen((text,) if low and not warned else (), False, warned, mean, deviation)


def lost(one: float, other: float) -> float:
    """Return by how much two evaluations differ, 0 where one is not finite.

    >>> lost(1.0, 1.5), lost(float("-inf"), 0.0)
    (0.5, 0.0)
    """
    return abs(one - other) if np.isfinite([one, other]).all() else 0.0


def estimator(L: int, seed: int, **settings: Any) -> Any:
    """Return the estimator with the settings of `fit`: it fits all rows, and none judge it."""
    of_fit = {"rule": "recipe", "density": "normal", "batch_size": 100, "epochs": None}
    of_fit |= {"activation": "smooth_leaky_relu", "init": "gaussianize"}
    none = {"validation_fraction": None, "patience": None}
    return F(n_layers=L, random_state=seed, **{**of_fit, **none, **settings})
