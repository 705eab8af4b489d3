"""What a user would take instead: mixtures, kernels, and two flows of another library.

A contender is a function from a `Split` to a `Fitted`: it sees training and validation rows, never
the test's. All train on the training rows alone; what has a choice to make makes it as it says.
One thread. `ours` has the contenders of this package.
"""

import importlib
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from .sets import Array, Split

COMPONENTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30)
FLOORS = (1e-6, 1e-3, 1e-2, 1e-1)  # what is added to the variances, times that of a column
MIXTURE_SECONDS = 90.0
KERNEL_ROWS = 2_000
BANDWIDTHS = np.geomspace(0.02, 2.0, 30)
FLOW_SECONDS = 60.0
SMALL = 2_000
EVALUATED = 4_096  # rows at a time


@dataclass(frozen=True)
class Fitted:
    """A density: log p of rows (n, D), and what was chosen."""

    log_density: Callable[[Array], Array]
    choice: dict[str, Any] = field(default_factory=dict)


Contender = Callable[[Split], Fitted]


def gaussian(data: Split) -> Fitted:
    """Fit the Gaussian of the training rows' mean and covariance."""
    model = mixture(data, 1, 1e-6)
    return Fitted(model.score_samples)


# mixtures


def mixture(data: Split, components: int, floor: float) -> Any:
    """Fit scikit-learn's mixture of Gaussians with full covariances, from one k-means start."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(components, reg_covar=floor, random_state=data.seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(data.train)


def affordable(data: Split) -> list[int]:
    """Return the numbers of components that leave two training rows for each."""
    return [k for k in COMPONENTS if k == 1 or 2 * k <= len(data.train)]


def gmm_bic(data: Split) -> Fitted:
    """Choose the number of components by BIC, at scikit-learn's `reg_covar`.

    Mixtures with a component of fewer than 2 D rows are passed over: BIC is blind to a likelihood
    that grows without bound where a covariance becomes singular, and would take them.
    """
    began, models = time.process_time(), []
    n, D = data.train.shape
    for k in affordable(data):
        model = mixture(data, k, 1e-6)
        if k == 1 or n * model.weights_.min() >= 2 * D:
            models.append(model)
        if time.process_time() - began > MIXTURE_SECONDS:
            break
    best = min(models, key=lambda model: model.bic(data.train))
    return Fitted(best.score_samples, {"components": best.n_components, "tried up to": k})


def gmm_validation(data: Split) -> Fitted:
    """Choose the number of components and `reg_covar` by the validation rows.

    All pairs where training rows are few; else the floors at the best number alone.
    """
    began = time.process_time()
    scored: dict[tuple[int, float], tuple[float, Any]] = {}

    def best() -> tuple[int, float]:
        return max(scored, key=lambda pair: scored[pair][0])

    def attempt(k: int, floor: float) -> None:
        if not scored or time.process_time() - began < MIXTURE_SECONDS:
            model = mixture(data, k, floor)
            scored[k, floor] = (float(model.score(data.validation)), model)

    floors = FLOORS if len(data.train) <= 1_500 else FLOORS[:1]
    for k in affordable(data):
        for floor in floors:
            attempt(k, floor)
    for floor in FLOORS:
        if (best()[0], floor) not in scored:
            attempt(best()[0], floor)
    k, floor = best()
    tried = max(pair[0] for pair in scored)
    choice = {"components": k, "reg_covar": floor, "tried up to": tried}
    return Fitted(scored[k, floor][1].score_samples, choice)


# kernels


def kernel_density(rows: Array, at: Array, bandwidth: float) -> Array:
    """Return what scikit-learn's Gaussian `KernelDensity` of these rows says at others."""
    n, D = rows.shape
    parts = []
    for first in range(0, len(at), 512):
        squares = cdist(at[first : first + 512], rows, "sqeuclidean")
        parts.append(logsumexp(squares / (-2 * bandwidth**2), axis=1))
    return np.concatenate(parts) - np.log(n) - D * np.log(bandwidth * np.sqrt(2 * np.pi))


def kde(data: Split) -> Fitted:
    """Choose the bandwidth by five-fold cross-validation on at most 2,000 training rows.

    It is then made smaller for the rows that the final density has more, by n^(-1/(D + 4)).
    """
    rows = data.train[: KERNEL_ROWS * 5 // 4]
    fold = np.arange(len(rows)) % 5
    total = np.zeros(len(BANDWIDTHS))
    for k in range(5):
        squares = cdist(rows[fold == k], rows[fold != k], "sqeuclidean")
        for i, h in enumerate(BANDWIDTHS):
            near = logsumexp(squares / (-2 * h**2), axis=1).mean()
            total[i] += near - rows.shape[1] * np.log(h)
    found = float(BANDWIDTHS[total.argmax()])
    n = 0.8 * len(rows)
    h = found * (n / len(data.train)) ** (1 / (rows.shape[1] + 4))
    return Fitted(lambda at: kernel_density(data.train, at, h), {"bandwidth": round(h, 4)})


# flows


def nsf(data: Split) -> Fitted:
    """Fit zuko's autoregressive neural spline flow."""
    import zuko

    return flow(data, lambda size: zuko.flows.NSF(data.train.shape[1], 0, **size))


def maf(data: Split) -> Fitted:
    """Fit zuko's masked autoregressive flow."""
    import zuko

    return flow(data, lambda size: zuko.flows.MAF(data.train.shape[1], 0, **size), transforms=5)


def flow_size(n: int, D: int) -> dict[str, Any]:
    """Return transforms and hidden units for n training rows of D columns."""
    small = n < SMALL or D == 2
    return {
        "transforms": 3 if small else 4,
        "hidden_features": (64, 64) if small else (128, 128),
        "randperm": True,
    }


def flow(data: Split, make: Callable[[dict[str, Any]], Any], **other: Any) -> Fitted:
    """Train a flow of zuko's in float32, by Adam; keep the best of the validation rows.

    Where 15 epochs (and 150 steps) bring less than .001 nats, the best is taken up again with a
    rate three times smaller, once or (large sets) twice; then it ends, or after 60 seconds of
    processor time.
    """
    import torch

    began = time.process_time()
    torch.set_num_threads(1)
    torch.manual_seed(data.seed)
    train = torch.tensor(data.train, dtype=torch.float32)
    validation = torch.tensor(data.validation, dtype=torch.float32)
    size = {**flow_size(*train.shape), **other}
    model = make(size)
    batch = int(np.clip(len(train) // 10, 32, 512))
    rate, cuts, since, epochs = 2e-3, 0, 0, 0
    optimiser = torch.optim.Adam(model.parameters(), rate)
    best, mark, kept = -np.inf, -np.inf, {}
    patience = max(15, -(-150 // -(-len(train) // batch)))
    while time.process_time() - began < FLOW_SECONDS:
        epoch(model, optimiser, train, batch, began + FLOW_SECONDS)
        epochs, since = epochs + 1, since + 1
        value = float(densities(model, validation).mean())
        if value > best:
            best, kept = value, {k: v.clone() for k, v in model.state_dict().items()}
        if value > mark + 1e-3:
            mark, since = value, 0
        elif since >= patience:
            if cuts == (1 if len(train) < SMALL else 2):
                break
            model.load_state_dict(kept)
            rate, cuts, since = rate / 3, cuts + 1, 0
            optimiser = torch.optim.Adam(model.parameters(), rate)
    model.load_state_dict(kept)
    ended = time.process_time() - began < FLOW_SECONDS
    choice = {**size, "batch": batch, "epochs": epochs, "ended by itself": ended}
    return Fitted(lambda at: densities(model, torch.tensor(at, dtype=torch.float32)), choice)


def epoch(model: Any, optimiser: Any, train: Any, batch: int, until: float) -> None:
    """Take a step on each batch of the rows, gradients clipped; end early where time is over."""
    import torch

    for rows in train[torch.randperm(len(train))].split(batch):
        loss = -model().log_prob(rows).mean()
        optimiser.zero_grad()
        loss.backward()
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)):
            optimiser.step()
        if time.process_time() > until:
            return


def densities(model: Any, rows: Any) -> Array:
    """Return log p of rows under a flow, without gradients."""
    import torch

    with torch.no_grad():
        parts = [model().log_prob(part) for part in rows.split(EVALUATED)]
    return torch.cat(parts).numpy().astype(np.float64)


CONTENDERS: dict[str, Contender] = {
    "gaussian": gaussian,
    "gmm_bic": gmm_bic,
    "gmm_validation": gmm_validation,
    "kde": kde,
    "zuko_nsf": nsf,
    "zuko_maf": maf,
}


def contender(name: str) -> Contender:
    """Return a contender of here, or of `ours`; ValueError that lists the choices."""
    from .ours import OURS, grid

    if name.startswith("grid:"):
        return grid(name.removeprefix("grid:"))
    if name.startswith("zuko"):
        importlib.import_module("zuko")  # before the clock runs
    both = {**CONTENDERS, **OURS}
    if name not in both:
        raise ValueError(f"no contender {name!r}; there are {', '.join(both)}, grid:SETTINGS")
    return both[name]
