"""A scikit-learn density model as the keyword arguments of `check_flow`: log p and samples."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import numpy as np

from ...truths.records import Array


def from_sklearn(
    made: Any, *, D: int | None = None, X: Array | None = None, name: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:  # fmt: skip
    """Return the arguments of `check_flow` for a fitted estimator that has score_samples(X).

    Its log p is judged, and its samples where it has `sample(n)`; they are drawn anew at each call
    whatever `random_state` says. `X` (N, D): rows to judge at; else 64 samples. ValueError for what
    isn't fitted.

    >>> import pytest; mixture = pytest.importorskip("sklearn.mixture")
    >>> made = mixture.GaussianMixture(2).fit(np.random.default_rng(0).normal(size=(90, 2)))
    >>> sorted(from_sklearn(made))
    ['D', 'X', 'X_from', 'log_prob', 'name', 'notes', 'sample']
    """
    if not hasattr(made, "score_samples"):
        raise ValueError(f"{type(made).__name__} has no score_samples(X), the log density of rows")
    D = D or getattr(made, "n_features_in_", None)
    if D is None:
        raise ValueError(f"{type(made).__name__} isn't fitted: fit it first, or give D")
    draw = _Draw(made, seed) if hasattr(made, "sample") else None
    notes = () if draw else ("it has no sample(n): its density alone is judged",)
    X_from = None
    if X is None and draw is not None:
        X, X_from = draw(64), "drawn by its sample(n)"
    found = {
        "D": int(D), "name": name or type(made).__name__, "log_prob": made.score_samples,
        "sample": draw, "X": X, "notes": notes,
        "X_from": X_from,
    }  # fmt: skip
    return {key: value for key, value in found.items() if value is not None}


class _Draw:
    """Draws rows with another seed at each call, whatever random_state the estimator has.

    They are shuffled: mixtures return one component after the other.
    """

    def __init__(self, made: Any, seed: int) -> None:
        self.made, self.seed = made, seed
        self.takes_it = "random_state" in inspect.signature(made.sample).parameters

    def __call__(self, n: int) -> Array:
        self.seed += 1
        if self.takes_it:
            found = self.made.sample(n, random_state=self.seed)
        else:
            model = copy.copy(self.made)
            if hasattr(model, "random_state"):
                model.random_state = np.random.RandomState(self.seed)
            found = model.sample(n)
        rows = np.asarray(found[0] if isinstance(found, tuple) else found)
        return np.random.default_rng(self.seed).permutation(rows)
