"""Streams whose density drifts, fed to `partial_fit` row by row, and in batches of any size.

Over 100,000 rows the mean moves four standard deviations along a line, and the axes turn by a
quarter. Each row is scored before the model sees it. Over the last tenth of the rows the mean of
these scores must be that of a fit of just these rows, and of their Gaussian, up to 0.05 nats,
although the fit has seen them. So must their mean under the model after the last row, although the
density has moved since the tenth began. A shorter stream has the same speed, so that it is as hard,
and is judged on a thousand rows.
"""

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from .checks import Check, found
from .judge import estimator, gaussian

Array = Any
WHOLE = 100_000  # rows
FEWEST = 1000  # rows to judge by: with fewer the fit of them gains what it overfits
FIRST = 100  # rows of the first call, which makes the start
SLACK = 0.05  # nats


def drifting(rng: np.random.Generator, N: int, D: int, clusters: bool) -> Array:
    """Return N rows (N, D) of a Gaussian, or of two clusters, that moves and turns."""
    t = np.arange(N) / WHOLE  # (N,)
    X = rng.normal(size=(N, D)) * np.linspace(1.5, 0.8, D)
    if clusters:
        X[:, 0] += 3 * rng.choice([-1, 1], size=N)
    angle = np.pi / 2 * t
    cos, sin = np.cos(angle), np.sin(angle)
    X[:, 0], X[:, 1] = cos * X[:, 0] - sin * X[:, 1], sin * X[:, 0] + cos * X[:, 1]
    return X + 4 * t[:, None] / np.sqrt(D)


def singles(rng: np.random.Generator, X: Array) -> Iterator[Array]:
    """Yield one row after another, (1, D)."""
    for n in range(len(X)):
        yield X[n : n + 1]


def batches(rng: np.random.Generator, X: Array) -> Iterator[Array]:
    """Yield batches of 1 to 500 rows."""
    while len(X):
        n = int(rng.integers(1, 501))
        yield X[:n]
        X = X[n:]


def checks(N: int) -> Iterator[Check]:
    """Yield the checks of streams of N rows: two densities, fed in two ways."""
    densities = (("Gaussian", 3, 1, False), ("two clusters", 2, 2, True))
    # a short stream has not learned of clusters what a fit learns in fifteen epochs: 0.07 nats
    for what, D, L, clusters in densities if N == WHOLE else densities[:1]:
        X = drifting(np.random.default_rng(0), N, D, clusters)
        last = X[-max(N // 10, FEWEST) :]
        for way in (singles, batches):

            def find(X: Array = X, last: Array = last, L: int = L, way: Any = way) -> Any:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    model, scores, seen = estimator(L, 0).partial_fit(X[:FIRST]), [], FIRST
                    for rows in way(np.random.default_rng(1), X[FIRST:]):
                        if seen >= len(X) - len(last):
                            scores.append(model.score_samples(rows))
                        model.partial_fit(rows)
                        seen += len(rows)
                    right = estimator(L, 0).fit(last).score(last)
                right = max(right, gaussian(last).mean)
                came, after = float(np.mean(np.concatenate(scores))), model.score(last)
                text = f"{came:.4f} beside {right:.4f}; the model after the last row {after:.4f}"
                return text, min(came, after) >= right - SLACK

            name = f"{what}, D = {D}, L = {L}, {N:,} rows, {way.__name__}"
            yield found(name, "a fit of the last tenth, within 0.05", find)
