"""Who is asked for p(x | u): this package, zuko's flows, mixtures, and regressions with a Gaussian.

A contender sees the training rows of a `Given`, and returns log p of others. What it chooses, it
chooses by the held rows. One thread.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import logsumexp

from .sets import Array, Given

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
RATES = (5e-4, 2e-3)  # learning rates of zuko's flows; the better by validation is kept
PATIENCE = 20  # epochs without a better validation that end a fit of theirs
BATCH = {True: 100, False: 256}  # rows: of few (up to 10,000), of many

LogDensity = Callable[[Array, Array], Array]
Contender = Callable[[Given], tuple[LogDensity, dict[str, Any]]]


def until(seconds: float) -> Callable[..., bool]:
    """Return a function that says whether so many processor seconds have passed since now."""
    end = time.process_time() + seconds
    return lambda *_: time.process_time() > end


# ours


def ours(data: Given, features: Any = None) -> tuple[LogDensity, dict[str, Any]]:
    """Fit `ConditionalFlow` with the settings that the rows choose."""
    from relgrad_np.estimator import ConditionalFlow, RelativeGradientFlow

    model = ConditionalFlow(RelativeGradientFlow(random_state=data.seed), features=features)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not arrived: validation has stopped it
        model.fit(data.x, context=data.u, callbacks=[until(data.seconds)])
    choice = {
        "chosen": model.settings_.words, "epochs": model.n_iter_, "best": model.best_epoch_,
        "stopped by": model.stop_reason_,
    }  # fmt: skip

    def log_density(x: Array, u: Array) -> Array:
        return model.score_samples(x, context=u)

    def sample(u: Array, n: int, seed: int) -> Array:
        return model.sample(n, context=u[None, :], random_state=seed)[0]

    log_density.sample = sample  # type: ignore[attr-defined]
    return log_density, choice


def with_features(data: Given) -> tuple[LogDensity, dict[str, Any]]:
    """Fit the same with cubic splines of each context variable, knots at three quantiles."""
    from sklearn.preprocessing import SplineTransformer

    return ours(data, SplineTransformer(3, knots="quantile", include_bias=False))


# zuko


def standardised(data: Given) -> tuple[list[Array], Array, Array]:
    """Return mean and deviation of x and of u over the training rows, and the same of the rest.

    The list has x and u, standardised; then their (mean, deviation), stacked.
    """
    moments = [np.stack([a.mean(axis=0), a.std(axis=0)]) for a in (data.x, data.u)]
    rows = [(a - m[0]) / m[1] for a, m in zip((data.x, data.u), moments, strict=True)]
    return rows, moments[0], moments[1]


def zuko_flow(data: Given, kind: str) -> tuple[LogDensity, dict[str, Any]]:
    """Fit zuko's NSF or MAF in float32 by Adam, once by each rate; the best held rows decide.

    Each of the two fits may take as long as one of ours.
    """
    import torch

    (x, u), of_x, of_u = standardised(data)
    rows = [torch.tensor(a, dtype=torch.float32) for a in (x, u)]
    best, kept, choice = -math.inf, None, {}
    for rate in RATES:
        value, model, epochs, ended = trained(data, kind, rate, rows)
        if value > best:
            best, kept = value, model
            choice = {"rate": rate, "epochs": epochs, "ended by itself": ended}

    def log_density(x: Array, u: Array) -> Array:
        at = [
            torch.tensor((a - m[0]) / m[1], dtype=torch.float32) for a, m in ((x, of_x), (u, of_u))
        ]
        with torch.no_grad():
            parts = [kept(b).log_prob(a) for a, b in zip(*(t.split(4096) for t in at), strict=True)]
        return torch.cat(parts).numpy().astype(np.float64) - np.log(of_x[1]).sum()

    def sample(u: Array, n: int, seed: int) -> Array:
        torch.manual_seed(seed)
        with torch.no_grad():
            at = torch.tensor((u - of_u[0]) / of_u[1], dtype=torch.float32)
            found = kept(at).sample((n,)).numpy()
        return found * of_x[1] + of_x[0]

    log_density.sample = sample  # type: ignore[attr-defined]
    return log_density, choice


def trained(data: Given, kind: str, rate: float, rows: Any) -> tuple[float, Any, int, bool]:
    """Return the best value on the held rows, the flow that had it, epochs, and how it ended."""
    import torch
    import zuko

    torch.set_num_threads(1)
    torch.manual_seed(data.seed)
    make = {"nsf": zuko.flows.NSF, "maf": zuko.flows.MAF}[kind]
    transforms = {"nsf": 3, "maf": 5}[kind]
    sizes = {"transforms": transforms, "hidden_features": (64, 64), "randperm": True}
    model = make(data.x.shape[1], data.u.shape[1], **sizes)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    held = torch.tensor(data.held)
    (x, u), (x_val, u_val) = ([a[mask] for a in rows] for mask in (~held, held))
    late, batch = until(data.seconds), BATCH[len(x) <= 10_000]
    best, kept, since, epochs = -math.inf, None, 0, 0
    while since < PATIENCE and not late():
        for part in torch.randperm(len(x)).split(batch):
            loss = -model(u[part]).log_prob(x[part]).mean()
            optimiser.zero_grad()
            loss.backward()
            if torch.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)):
                optimiser.step()
            if late():
                break
        with torch.no_grad():
            value = float(model(u_val).log_prob(x_val).mean())
        epochs, since = epochs + 1, since + 1
        if value > best:
            best, since = value, 0
            kept = {k: v.clone() for k, v in model.state_dict().items()}
    model.load_state_dict(kept)
    return best, model, epochs, since >= PATIENCE


def nsf(data: Given) -> tuple[LogDensity, dict[str, Any]]:
    """Fit zuko's conditional neural spline flow."""
    return zuko_flow(data, "nsf")


def maf(data: Given) -> tuple[LogDensity, dict[str, Any]]:
    """Fit zuko's conditional masked autoregressive flow."""
    return zuko_flow(data, "maf")


# mixtures


def mixture(data: Given) -> tuple[LogDensity, dict[str, Any]]:
    """Fit a mixture of Gaussians to (x, u); given u it is one of x, in closed form.

    The number of components is the best of the held rows by log p(x | u).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    (x, u), of_x, of_u = standardised(data)
    both, held, late = np.concatenate([x, u], axis=1), data.held, until(data.seconds)
    best, kept, number = -math.inf, None, 0
    for k in COMPONENTS:
        model = GaussianMixture(k, reg_covar=1e-5, random_state=data.seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(both[~held])
        value = conditional(model, x[held], u[held]).mean()
        if value > best:
            best, kept, number = value, model, k
        if late():
            break

    def log_density(x: Array, u: Array) -> Array:
        found = conditional(kept, (x - of_x[0]) / of_x[1], (u - of_u[0]) / of_u[1])
        return found - np.log(of_x[1]).sum()

    return log_density, {"components": number, "tried up to": k}


def conditional(model: Any, x: Array, u: Array) -> Array:
    """Return log p(x | u) (n,) of a mixture of Gaussians of rows (x, u): log p(x, u) - log p(u)."""
    D, weights = x.shape[1], np.log(model.weights_)
    of_u = np.stack(
        [
            gaussian(u - mean[D:], covariance[D:, D:])
            for mean, covariance in zip(model.means_, model.covariances_, strict=True)
        ],
        axis=1,
    )
    return model.score_samples(np.concatenate([x, u], axis=1)) - logsumexp(of_u + weights, axis=1)


def gaussian(off: Array, covariance: Array) -> Array:
    """Return the log-density (n,) of deviations (n, D) from the mean of a Gaussian."""
    root = np.linalg.cholesky(covariance)
    e = np.linalg.solve(root, off.T).T
    D = off.shape[1]
    return -0.5 * (e * e).sum(axis=1) - np.log(np.diag(root)).sum() - D / 2 * math.log(2 * math.pi)


# regressions


def residual(data: Given, make: Callable[[], Any]) -> tuple[LogDensity, dict[str, Any]]:
    """Fit regressors of each column of x, and one Gaussian to the residuals of the held rows."""
    held = data.held
    models = [make().fit(data.u[~held], column[~held]) for column in data.x.T]

    def mean(u: Array) -> Array:
        return np.stack([model.predict(u) for model in models], axis=1)

    off = data.x[held] - mean(data.u[held])
    covariance = off.T @ off / len(off)
    return lambda x, u: gaussian(x - mean(u), covariance), {}


def linear(data: Given) -> tuple[LogDensity, dict[str, Any]]:
    """Fit scikit-learn's LinearRegression, with a Gaussian of the residuals."""
    from sklearn.linear_model import LinearRegression

    return residual(data, LinearRegression)


def boosted(data: Given) -> tuple[LogDensity, dict[str, Any]]:
    """Fit scikit-learn's HistGradientBoostingRegressor, with a Gaussian of the residuals."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    return residual(data, lambda: HistGradientBoostingRegressor(random_state=data.seed))


CONTENDERS: dict[str, Contender] = {
    "linear regression": linear,
    "boosting": boosted,
    "mixture": mixture,
    "maf": maf,
    "nsf": nsf,
    "ours": ours,
    "ours, splines": with_features,
}
