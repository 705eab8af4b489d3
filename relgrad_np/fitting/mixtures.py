"""A mixture of Gaussians, scikit-learn's, whose size the validation rows choose.

It is what a user would take instead of a net, so that it stands beside one, and a member of an
ensemble. It needs scikit-learn, which is imported where it is used.
"""

import warnings
from typing import Any

from ..core.arrays import Array

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 22, 30)
FLOORS = (1e-6, 1e-3, 1e-2, 1e-1)  # what is added to the variances, in units of the columns'
SMALL = 1500  # rows up to which each floor looks for its own number of components
MOST = 20_000  # rows that a mixture is fitted to
ENTRIES = 2e9  # N D^2 components that are fitted in a second, all iterations together
CALLS = 5e-3  # seconds for any mixture
UNLIMITED = 60.0  # seconds, where no limit is given


def chosen_mixture(X: Array, held: Array, seed: int, seconds: float | None = None) -> Any:
    """Return the `GaussianMixture` of X (N, D) under which the rows `held` (n, D) are likeliest.

    The columns are to have variances of about 1. At most 20,000 rows are fitted. More components
    are tried until two numbers in a row have done worse, and several floors of the variances.
    `seconds`: about how long that may take, by a count of the work.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.choice([-1.0, 1.0], (600, 1)) + rng.standard_normal((600, 1)) / 9
    >>> chosen_mixture(X[:400], X[400:], 0).n_components
    2
    """
    X = X[:MOST]
    left = UNLIMITED if seconds is None else seconds

    def cost(k: int) -> float:
        return CALLS + float(X.size * X.shape[1] * k) / ENTRIES

    found: list[tuple[float, int, Any]] = []  # value, order, model

    def attempt(k: int, floor: float) -> Any:
        nonlocal left
        left -= cost(k)
        model = _mixture(X, k, floor, seed)
        found.append((float(model.score(held)), -len(found), model))
        return found[-1][0]

    for floor in FLOORS if len(X) <= SMALL else FLOORS[:1]:
        values: list[float] = []
        for k in COMPONENTS:
            if 2 * k > len(X) or (found and left < cost(k)):
                break
            values.append(attempt(k, floor))
            if len(values) > 2 and max(values[-2:]) < max(values[:-2]):
                break
    best = max(found, key=lambda one: one[:2])[2]
    for floor in FLOORS[1:] if len(X) > SMALL else ():
        if left >= cost(best.n_components):
            attempt(best.n_components, floor)
    return max(found, key=lambda one: one[:2])[2]


def _mixture(X: Array, components: int, floor: float, seed: int) -> Any:
    """Fit a mixture; what it says of iterations that did not suffice is no news."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(components, reg_covar=floor, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(X)
