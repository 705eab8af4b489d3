"""What a user would take instead of a net, on the same rows: a mixture, and a kernel density.

Both are scikit-learn's. Their sizes are chosen on the validation rows, as the net's epoch is.
"""

import math
from typing import Any

import numpy as np

from ..datasets import Dataset

COMPONENTS = (1, 2, 3, 5, 8, 13, 20, 30)
BANDWIDTHS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4)  # in units of Scott's rule
MIXED = 20_000  # training rows that a mixture is fitted to, at most
KERNELS = 20_000  # training rows that are kernels, at most
CHOSEN_ON = 2000  # validation rows that choose, at most


def require_scikit_learn() -> None:
    """Refuse, by what to install, where scikit-learn is not."""
    try:
        import sklearn.mixture  # noqa: F401
    except ModuleNotFoundError:
        raise ValueError("`--compare` needs scikit-learn: pip install scikit-learn") from None


def others(data: Dataset, seed: int = 0) -> dict[str, float]:
    """Return the mean test log-likelihoods, in nats and model space, of mixture and kernel density.

    >>> from relgrad_np.datasets import load
    >>> found = others(load("toy:moons", n=300))
    >>> [name.split(",")[0] for name in found]
    ['Gaussian mixture', 'kernel density']
    """
    require_scikit_learn()
    rng = np.random.default_rng(seed)
    X = np.asarray(data.train[: max(MIXED, KERNELS)], dtype=np.float64)
    X = data.transforms.forward(X) if data.lazy else X
    held = data.validation[rng.permutation(len(data.validation))[:CHOSEN_ON]]
    found = {}
    for name, model in (mixture(X[:MIXED], held, seed), kernels(X[:KERNELS], held)):
        found[name] = float(model.score_samples(data.test).mean())
    return found


def mixture(X: Any, held: Any, seed: int) -> tuple[str, Any]:
    """Return the mixture of Gaussians of X (N, D) that the held rows (n, D) choose, and its name.

    >>> X = np.random.default_rng(0).standard_normal((200, 1))
    >>> mixture(np.concatenate([X - 9, X + 9]), np.concatenate([X - 9, X + 9]) + 0.1, 0)[0]
    'Gaussian mixture, 2 components'
    """
    import warnings

    from sklearn.mixture import GaussianMixture

    made = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of one that has not converged, or has an empty component
        for k in COMPONENTS:
            if k * (X.shape[1] + 1) > len(X):
                break
            model = GaussianMixture(k, random_state=seed, reg_covar=1e-6).fit(X)
            made.append((float(model.score(held)), -k, model))
            best = max(made, key=lambda one: one[:2])
            if len(made) > 2 and best not in made[-2:]:  # more components only get worse
                break
    k = -best[1]
    return f"Gaussian mixture, {k} component{'s' * (k > 1)}", best[2]


def kernels(X: Any, held: Any) -> tuple[str, Any]:
    """Return the kernel density of X (N, D) whose bandwidth the held rows (n, D) choose, named.

    >>> X = np.random.default_rng(0).standard_normal((500, 1))
    >>> kernels(X[:400], X[400:])[0][:25]
    'kernel density, bandwidth'
    """
    from sklearn.neighbors import KernelDensity

    N, D = X.shape
    scott = N ** (-1 / (D + 4)) * math.exp(float(np.log(X.std(axis=0)).mean()))
    tried = [KernelDensity(bandwidth=scott * factor).fit(X) for factor in BANDWIDTHS]
    best = max(tried, key=lambda model: float(model.score(held)))
    return f"kernel density, bandwidth {best.bandwidth:.2g}", best
