"""The faults E1 to E8: weights, interrupts, units, pickles, messages, NaN and torch.

Each function yields checks. Right values come from `judge.gaussian`, from a fit of the rows as they
were, or from the words that a message needs.
"""

import importlib.util
import pickle
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import relgrad_np as rg

from .checks import Check, fits, found
from .interrupts import implementations, interrupted_often
from .judge import SLACK, estimator, fitted, gaussian

Array = Any
MODEL = rg.activation("smooth_leaky_relu"), rg.density("normal")


def e1() -> Iterator[Check]:
    """Whole weights: no row is both fitted and held, and only their ratios count."""
    X = np.random.default_rng(0).normal(size=(300, 3))

    def find(weight: Any) -> tuple[str, bool]:
        models = [estimator(2, 0, validation_fraction=0.2, epochs=3) for _ in range(2)]
        models[0].fit(X)
        models[1].fit(X, sample_weight=np.full(300, weight))
        steps = [model.history_[-1].t for model in models]
        held = [model.history_[-1].validation for model in models]
        came = f"steps {steps[0]} and {steps[1]}, validation {held[0]:.6g} and {held[1]:.6g}"
        return came, steps[0] == steps[1] and abs(held[0] - held[1]) < 1e-9

    for weight in (3, 2.5):
        what = f"all weights {weight}, beside none"
        yield found(what, "the same steps and validation", lambda w=weight: find(w))


def e2() -> Iterator[Check]:
    """Rows of weight 0 do not count in validation."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 3))
    weights = np.where(np.arange(600) < 300, 1.0, 0.0)
    X[300:] += 1000

    def find() -> tuple[str, bool]:
        model = estimator(1, 0, validation_fraction=0.2).fit(X, sample_weight=weights)
        came, right = model.history_[-1].validation, gaussian(X[:300]).mean
        # sixty held rows of variance 3/2 in their log-likelihood: 0.16 nats are one standard error
        return f"{came:.4g} beside {right:.4g}", abs(came - right) < 0.7

    yield found("half the rows 1000 off, of weight 0", "the Gaussian's, within 0.7", find)


def e3() -> Iterator[Check]:
    """Interrupts in `partial_fit` leave layers and log|det| of one state."""
    for name in implementations():
        yield interrupted_often("partial_fit", name, 8)


def e4() -> Iterator[Check]:
    """Units do not decide the rank."""
    X = np.random.default_rng(0).laplace(size=(1000, 3))
    for units, dtype in (
        ([1e-6, 1, 1e3], np.float64),
        ([1e-3, 1, 1e3], np.float32),
        ([1e160, 1, 1], np.float64),
    ):

        def find(units: Any = units, dtype: Any = dtype) -> tuple[str, bool]:
            right = estimator(1, 0, density="sech").fit(X.astype(dtype)).score(X.astype(dtype))
            right -= float(np.log(units).sum())
            rows = (X * units).astype(dtype)
            came = estimator(1, 0, density="sech").fit(rows).score(rows)
            return f"{came:.6g}, right {right:.6g}", abs(came - right) <= SLACK

        text = ", ".join(f"{unit:g}" for unit in units)
        yield found(f"units {text}, {np.dtype(dtype)}", "less sum log|units|", find)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2))
    X = np.column_stack([X, X[:, 0] + 3e-8 * rng.normal(size=1000)])
    yield fits("X beside X + 3e-8 noise", X, estimator(1, 0))
    X = rng.normal(size=(1000, 3))
    X[7, 0] = 1e12
    yield fits("a cell of 1e12", X, estimator(1, 0))


def e5() -> Iterator[Check]:
    """Estimators with densities and activations of their own parameters can be pickled."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    for what, settings in (
        ("student_t, nu = 3", {"density": rg.density("student_t", nu=3)}),
        ("leaky_tanh, beta = 0.2", {"activation": rg.activation("leaky_tanh", beta=0.2)}),
    ):

        def find(settings: Any = settings) -> tuple[str, bool]:
            model = estimator(2, 0, epochs=1, **settings).fit(X)
            again = pickle.loads(pickle.dumps(model))
            apart = again.score(X) - model.score(X)
            return f"{apart:g} nats apart", apart == 0

        yield found(what, "the same score", find)


def message(model: Any, X: Array) -> str:
    """Return the error's or the warnings' text of a fit."""
    error, caught = fitted(model, X)
    return str(error) if error is not None else "; ".join(str(w.message) for w in caught)


def says(what: str, text: str, words: list[str], never: list[str]) -> Check:
    """Check that a message has these words, and none of those."""
    there = [re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) for word in words]
    ok = all(there) and not any(word in text for word in never)
    right = "names " + ", ".join(words) + "".join(f", not {word!r}" for word in never)
    return Check(what, right, text[:120] or "no word", ok)


def e6() -> Iterator[Check]:
    """Messages name the parameters, the columns, and what is lacking."""
    from sklearn.datasets import load_digits

    X = np.random.default_rng(0).normal(size=(50, 3))
    text = message(estimator(2, 0, patience=3), X)
    yield says("patience alone", text, ["`validation_fraction`"], ["X_val"])
    text = message(estimator(2, 0), load_digits().data)
    yield says("digits: columns 0, 32, 39 are constant", text, ["0", "32", "39"], [])
    X = np.random.default_rng(0).normal(size=(50, 2000))
    text = message(estimator(1, 0), X)
    yield says("50 rows, 2000 columns", text, ["50", "2000", "rows"], ["drop"])
    text = message(estimator(2, 0, init="orthogonal"), X[:20, :50])
    yield says("20 rows, 50 columns, init orthogonal", text, ["20", "50", "rows"], [])


def e7() -> Iterator[Check]:
    """A row far out has the log-likelihood -inf or a finite one, never NaN."""
    X = np.random.default_rng(0).normal(size=(2000, 3)) * 1e-3
    for dtype, size in ((np.float32, 9.96921e36), (np.float64, 1e300), (np.float64, 1.7e308)):
        for L in (1, 2, 3):

            def find(dtype: Any = dtype, size: float = size, L: int = L) -> tuple[str, bool]:
                model = estimator(L, 0, epochs=1).fit(X.astype(dtype))
                rows = X[:3].astype(dtype)
                rows[1] = size
                rows[2, 0] = -size
                with np.errstate(all="ignore"):
                    each = model.score_samples(rows)
                return str(each), not np.isnan(each).any() and bool((each[1:] < -1e4).all())

            what = f"rows of {size:g}, {np.dtype(dtype)}, L = {L}"
            yield found(what, "no NaN, below -1e4", find)


def e8() -> Iterator[Check]:
    """Rows of torch that require a gradient leave layers that require none, or are refused."""
    what, right = "torch, X requires grad", "layers without grad, or one line of refusal"
    if importlib.util.find_spec("torch") is None:
        yield Check(what, right, "skipped: no torch", None)
        return
    import torch

    def find() -> tuple[str, bool]:
        X = torch.randn(200, 3, dtype=torch.float64, requires_grad=True)
        rng = np.random.default_rng(0)
        start = rg.init_layers(rng, 3, 2, like=X.detach())
        try:
            result = rg.fit(start, X, *MODEL, rng=rng, epochs=2)
        except (TypeError, ValueError) as error:
            return f"{type(error).__name__}: {error}", "\n" not in str(error)
        needs = [x.requires_grad for layer in result.best_layers for x in layer]
        return f"{sum(needs)} of {len(needs)} require grad", not any(needs)

    yield found(what, right, find)


FAULTS: dict[str, Callable[[], Iterator[Check]]] = {
    "E1": e1, "E2": e2, "E3": e3, "E4": e4, "E5": e5, "E6": e6, "E7": e7, "E8": e8,
}  # fmt: skip
