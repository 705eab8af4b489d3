"""What a user would take instead of a net, on the same rows: a mixture, and a kernel density.

Both are scikit-learn's. Their sizes are chosen on the validation rows, as the net's epoch is.
"""

import math
from typing import Any

import numpy as np

from ..core.objective import log_likelihood
from ..datasets import Dataset
from ..fitting.mixtures import chosen_mixture
from ..fitting.storage.model import Model, in_float64
from .report import RunReport, two_errors

BANDWIDTHS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)  # in units of Scott's rule
KERNELS = 20_000  # training rows that are kernels, at most
CHOSEN_ON = 2000  # validation rows that choose, at most


def require_scikit_learn() -> None:
    """Refuse, by what to install, where scikit-learn is not."""
    try:
        import sklearn.mixture  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError("`--compare` needs scikit-learn: pip install scikit-learn") from None


def others(data: Dataset, seed: int = 0) -> dict[str, Any]:
    """Return log p (n,) of the test rows, in nats and model space, by mixture and kernel density.

    >>> from relgrad_np.datasets import load
    >>> found = others(load("toy:moons", n=60))
    >>> [name.split(",")[0] for name in found]
    ['Gaussian mixture', 'kernel density']
    """
    require_scikit_learn()
    rng = np.random.default_rng(seed)
    X = np.asarray(data.train[:KERNELS], dtype=np.float64)
    X = data.transforms.forward(X) if data.lazy else X
    held = data.validation[rng.permutation(len(data.validation))[:CHOSEN_ON]]
    mixture = chosen_mixture(X, held, seed)
    k = mixture.n_components
    name = f"Gaussian mixture, {k} component{'s' * (k > 1)}"
    found = {name: mixture, **kernels(X, held)}
    return {name: model.score_samples(data.test) for name, model in found.items()}


def with_others(report: RunReport, model: Model, data: Dataset, seed: int = 0) -> RunReport:
    """Return the report of a model with the others, and how sure their distances from it are.

    >>> from relgrad_np.datasets import load
    >>> from relgrad_np.runs.settings import Settings
    >>> from relgrad_np.runs.training import train
    >>> data = load("toy:moons", n=60)
    >>> run = train(data, Settings(layers=1, epochs=1))
    >>> report = with_others(run.report, run.model, data)
    >>> report.others.keys() == report.others_se2.keys()
    True
    """
    parts = model.activation, model.density
    own = log_likelihood(in_float64(model.layers), data.test, *parts).per_sample  # (n,)
    found = others(data, seed)
    means = {name: float(log_p.mean()) for name, log_p in found.items()}
    errors = {name: two_errors(own - log_p) for name, log_p in found.items()}
    known = {name: None if math.isnan(error) else error for name, error in errors.items()}
    return report._replace(others=means, others_se2=known)


def kernels(X: Any, held: Any) -> dict[str, Any]:
    """Return the kernel density of X (N, D) whose bandwidth the held rows (n, D) choose, by name.

    >>> X = np.random.default_rng(0).standard_normal((500, 1))
    >>> next(iter(kernels(X[:400], X[400:])))[:25]
    'kernel density, bandwidth'
    """
    from sklearn.neighbors import KernelDensity

    N, D = X.shape
    scott = N ** (-1 / (D + 4)) * math.exp(float(np.log(X.std(axis=0)).mean()))
    tried = [KernelDensity(bandwidth=scott * factor).fit(X) for factor in BANDWIDTHS]
    best = max(tried, key=lambda model: float(model.score(held)))
    return {f"kernel density, bandwidth {best.bandwidth:.2g}": best}
