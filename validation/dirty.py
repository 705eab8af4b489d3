"""Data as people have them: `dirty(seed)` returns one of three hundred sets, each of full rank.

A clean set is N rows of a correlated Gaussian, 20 <= N <= 3000, 1 <= D <= 10. Each kind of dirt is
a function of (rng, X) that returns X with the dirt in it. Seeds go through the kinds in turn, and
in every third round there are two kinds at once. What has not full rank in its own units is drawn
again, so that every set has a closed-form Gaussian.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
COUNT = 300
SENTINELS = (-9999.0, 9999.0, -1.0, 1e20, 999.0)
RANK = 1e-6  # least over largest singular value of standardised columns


def clean(rng: np.random.Generator, N: int, D: int) -> Array:
    """Return N rows (N, D) of a Gaussian whose columns are correlated."""
    mixing = np.eye(D) + 0.7 * rng.normal(size=(D, D)) / np.sqrt(D)  # (D, D)
    return rng.normal(size=(N, D)) @ mixing.T


def outliers(rng: np.random.Generator, X: Array) -> Array:
    """Put 1e1 to 1e12 into one cell of up to 1 % of the rows."""
    X, (N, D) = X.copy(), X.shape
    count = max(1, int(rng.uniform(0, 0.01) * N))
    rows = rng.choice(N, count, replace=False)
    size = 10.0 ** rng.uniform(1, 12)
    X[rows, rng.integers(D, size=count)] = size * rng.choice([-1, 1], size=count)
    return X


def sentinels(rng: np.random.Generator, X: Array) -> Array:
    """Put one mark for a missing value into 0.1 to 2 % of the cells."""
    X = X.copy()
    mask = rng.random(X.shape) < 10 ** rng.uniform(-3, np.log10(0.02))  # (N, D)
    mask[rng.integers(X.shape[0]), rng.integers(X.shape[1])] = True
    X[mask] = rng.choice(SENTINELS)
    return X


def heavy_tails(rng: np.random.Generator, X: Array) -> Array:
    """Divide each row by what makes it one of Student's t, from three degrees of freedom to one."""
    dof = rng.uniform(1, 3)
    return X / np.sqrt(rng.chisquare(dof, size=(len(X), 1)) / dof)


def offsets(rng: np.random.Generator, X: Array) -> Array:
    """Shift each column by 1 to 1e6, up or down."""
    D = X.shape[1]
    return X + 10 ** rng.uniform(0, 6, D) * rng.choice([-1, 1], D)


def scales(rng: np.random.Generator, X: Array) -> Array:
    """Give each column a unit of its own, 1e-8 to 1e8."""
    return X * 10 ** rng.uniform(-8, 8, X.shape[1])


def duplicates(rng: np.random.Generator, X: Array) -> Array:
    """Keep a tenth to a half of the rows, at least 2 D + 2, and repeat them."""
    N, D = X.shape
    kept = min(N, max(2 * D + 2, int(rng.uniform(0.1, 0.5) * N)))
    return X[np.concatenate([np.arange(kept), rng.integers(kept, size=N - kept)])]


def integers(rng: np.random.Generator, X: Array) -> Array:
    """Round to whole numbers, or draw counts, some of which are rare."""
    if rng.random() < 0.5:
        return np.round(X * rng.uniform(1, 5))
    return rng.poisson(np.exp(np.clip(X, -4, 4) * 0.7)).astype(float)


def drift(rng: np.random.Generator, X: Array) -> Array:
    """Let mean and scale move from the first row to the last; rows stay in this order."""
    t = np.linspace(0, 1, len(X))[:, None]  # (N, 1)
    return X * np.exp(t * rng.uniform(-2, 2)) + t * rng.normal(scale=10, size=X.shape[1])


def few(rng: np.random.Generator, X: Array) -> Array:
    """Keep D + 2 to D + 20 rows."""
    return X[: X.shape[1] + int(rng.integers(2, 21))]


KINDS: dict[str, Callable[[np.random.Generator, Array], Array]] = {
    "outliers": outliers,
    "sentinels": sentinels,
    "heavy tails": heavy_tails,
    "offsets": offsets,
    "scales": scales,
    "duplicates": duplicates,
    "integers": integers,
    "drift": drift,
    "few rows": few,
}


def condition(X: Array) -> float:
    """Return the least over the largest singular value of the standardised columns, 0 if constant.

    >>> round(condition(np.array([[0.0, 0.0], [1e6, 0.0], [0.0, 1e-6], [1e6, 1e-6]])), 12)
    1.0
    """
    X = np.asarray(X, dtype=np.float64)
    middle = X - X.mean(axis=0)  # (N, D)
    largest = np.abs(middle).max(axis=0)  # first by the largest, so that no square overflows
    if not np.isfinite(largest).all() or (largest <= 1e-14 * np.abs(X).max(axis=0)).any():
        return 0.0
    middle = middle / largest
    values = np.linalg.svd(middle / middle.std(axis=0), compute_uv=False)  # (min(N, D),)
    full = len(X) > X.shape[1]
    return float(values[-1] / values[0]) if full else 0.0


def drawn(rng: np.random.Generator, names: list[str]) -> Array:
    """Return a clean set (N, D) with these kinds of dirt, one after another."""
    D = int(rng.integers(1, 11))
    N = int(np.exp(rng.uniform(np.log(20), np.log(3000))))
    X = clean(rng, max(N, D + 2), D)
    for name in names:
        X = KINDS[name](rng, X)
    return X


def dirty(seed: int) -> tuple[str, Array]:
    """Return the name of the dirt and the rows (N, D), float64, of full rank; the same each time.

    >>> name, X = dirty(0)
    >>> name, X.shape == dirty(0)[1].shape
    ('outliers', True)
    """
    rng = np.random.default_rng([seed, 20])
    order = list(KINDS)
    names = [order[seed % len(order)]]
    if seed // len(order) % 3 == 2:
        names.append(str(rng.choice([other for other in order if other != names[0]])))
    while True:
        X = drawn(rng, names)
        if condition(X) > RANK:
            return " + ".join(names), X
