"""The faults R1 to R9: small inputs that spoiled a fit, or a stream of `partial_fit`, once.

Each function yields checks. Right values come from `judge.gaussian`, or from a run without the bad
row. Tolerances: 0.01 nats for a fit of fixed rows (far under what a wrong fit loses, well over what
stopping at the last step leaves), 0.1 nats for a stream of batches at a constant rate, whose noise
costs some hundredths.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import relgrad_np as rg

from .checks import Check, close, fits, found
from .interrupts import implementations
from .judge import SLACK, estimator, evaluated, fit_warnings, fitted, gaussian

Array = Any
STREAM = 0.1  # nats, of a stream at a constant rate
MODEL = rg.activation("smooth_leaky_relu"), rg.density("normal")


def streamed(model: Any, batches: Any) -> tuple[int, int]:
    """Feed batches to `partial_fit`; return how many were fed, and how many it refused."""
    fed = refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for X in batches:
            fed += 1
            try:
                model.partial_fit(X)
            except (ValueError, FloatingPointError):
                refused += 1
    return fed, refused


def score(model: Any, X: Array) -> float:
    """Return the mean log-likelihood of X (N, D)."""
    with np.errstate(all="ignore"):
        return float(model.score(X))


def r1() -> Iterator[Check]:
    """An outlier of 1e6 in one cell."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3))
    X[7, 0] = 1e6
    for rule in ("recipe", "natural", "plain", "group_adam"):
        yield fits(f"{rule}, L = 1", X, estimator(1, 0, rule=rule))
    for L in (2, 3):
        yield fits(f"recipe, L = {L}", X, estimator(L, 0))


def r2() -> Iterator[Check]:
    """-9999 for missing values in 0.1 to 1 % of the cells, ten seeds."""
    for L in (1, 2, 3):
        wrong = []
        for seed, part in enumerate(np.linspace(0.001, 0.01, 10)):
            rng = np.random.default_rng(seed)
            X = rng.normal(size=(1000, 4)) @ rng.normal(size=(4, 4))
            X[rng.random(X.shape) < part] = -9999
            if not (check := fits("", X, estimator(L, seed))).ok:
                wrong.append(check.came)
        worst = f"; {wrong[0]}" if wrong else ""
        yield Check(f"L = {L}", "10 of 10 right", f"{10 - len(wrong)} of 10{worst}", not wrong)


def r3() -> Iterator[Check]:
    """A start that does not know the units or the mean of the rows."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3)) @ rng.normal(size=(3, 3))
    for what, rows in (("100 X", 100 * X), ("X + 1000", X + 1000), ("100 X + 1000", 100 * X + 1e3)):
        right = "not below the Gaussian, or warned"
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                start = rg.init_layers(np.random.default_rng(0), D=3, L=2)
                result = rg.fit(start, rows, *MODEL, rng=np.random.default_rng(0))
        except (ValueError, FloatingPointError) as error:
            yield Check(what, right, f"{type(error).__name__}: {error}", False)
            continue
        gain = evaluated(result.best_layers, rows, np.float64, MODEL) - gaussian(rows).mean
        warned = any(issubclass(w.category, fit_warnings()) for w in caught)
        yield Check(what, right, f"{gain:+.4g} nats{', warned' * warned}", warned or gain >= -SLACK)


def r4() -> Iterator[Check]:
    """A stream whose density moves far away from the first batch's."""
    for scale, count in ((1e-3, 1000), (1.0, 100), (1.0, 1000)):
        rng = np.random.default_rng(0)
        model = estimator(1, 0)
        streamed(model, [scale * rng.normal(size=(1000, 3))])
        streamed(model, (5 + rng.normal(size=(50, 3)) for _ in range(count)))
        rows = 5 + rng.normal(size=(10_000, 3))
        what = f"from N(0, {scale:g}) to N(5, 1), {count} batches of 50"
        yield close(what, gaussian(rows).mean, score(model, rows), STREAM)


def stepped(rule: Any, first: Array) -> tuple[int, float, float]:
    """Take a step on the first batch, then on 200 good ones.

    Return how many of the good ones were rejected, by how much W has moved, and the score less
    the Gaussian's.
    """
    rng = np.random.default_rng(1)
    start = rg.init_layers(rng, 3, 1)
    state = rg.init_state(start, rule)
    model = {"activation": MODEL[0], "density": MODEL[1], "rule": rule}
    rejected = 0
    with np.errstate(all="ignore"):
        state, _ = rg.train_step(state, first, **model)
        for _ in range(200):
            state, info = rg.train_step(state, 1 + 2 * rng.normal(size=(100, 3)), **model)
            rejected += bool(info.rejected)
    rows = 1 + 2 * rng.normal(size=(10_000, 3))
    moved = float(np.abs(state.layers[0].W - start[0].W).max())
    return rejected, moved, evaluated(state.layers, rows, np.float64, MODEL) - gaussian(rows).mean


def after_a_bad_batch(rule: Any, bad: float) -> Check:
    """Check that good batches are accepted and fitted after a first one with a bad cell."""
    first = np.random.default_rng(0).normal(size=(100, 3))
    first[0, 0] = bad

    def find() -> tuple[str, bool]:
        rejected, moved, gain = stepped(rule, first)
        came = f"{rejected} rejected, W moved by {moved:.2g}, {gain:+.3g} nats"
        return came, rejected == 0 and moved > 0 and abs(gain) <= STREAM

    name = type(rule).__name__
    return found(f"{name}, first batch with {bad:g}", "accepted, within 0.1 nats", find)


def r5() -> Iterator[Check]:
    """The natural rule after a batch that is not finite, or too large for float32."""
    yield after_a_bad_batch(rg.Natural(), np.nan)
    X = np.random.default_rng(0).normal(size=(1000, 3))

    def find() -> tuple[str, bool]:
        model = estimator(1, 0, rule="natural")
        streamed(model, [X])
        bad = X.copy()
        bad[0, 0] = np.nan
        _, refused = streamed(model, [bad])
        _, others = streamed(model, [2 * X + 1] * 20)
        gain = score(model, 2 * X + 1) - gaussian(2 * X + 1).mean
        came = f"NaN refused {refused} of 1, good {others} of 20, then {gain:+.3g} nats"
        return came, (refused, others) == (1, 0) and abs(gain) <= STREAM

    yield found("partial_fit with NaN, then good rows", "refused, then fitted", find)
    far = X.astype(np.float32)
    far[3, 0] = 1e11
    yield fits("fit, float32, a cell of 1e11", far, estimator(1, 0, rule="natural"))


def r6() -> Iterator[Check]:
    """A first step that is rejected, and good batches after it."""
    for rule in (rg.Recipe(), rg.Scalar()):
        yield after_a_bad_batch(rule, np.nan)
    X = np.random.default_rng(0).normal(size=(1000, 3))

    def find() -> tuple[str, bool]:
        model = estimator(1, 0)
        fitted(model, X)
        streamed(model, [X * 1e200])
        _, refused = streamed(model, [X] * 20)
        gain = score(model, X) - gaussian(X).mean
        return f"{refused} of 20 refused, {gain:+.3g} nats", refused == 0 and abs(gain) <= STREAM

    yield found("fit, partial_fit(X * 1e200), then X", "X accepted, within 0.1 nats", find)


def r7() -> Iterator[Check]:
    """A row so far out that its square overflows."""
    for dtype, size in ((np.float32, 1e12), (np.float64, 1e100), (np.float32, 1e25)):
        X = np.random.default_rng(0).normal(size=(1000, 3)).astype(dtype)
        bad = X[:100].copy()
        bad[50, 0] = size
        for name in implementations():

            def find(name: str = name, X: Array = X, bad: Array = bad) -> tuple[str, bool]:
                model = estimator(1, 0, implementation=name)
                streamed(model, [X, bad])
                finite = all(np.isfinite(x).all() for layer in model.layers_ for x in layer)
                _, refused = streamed(model, [2 * X + 1] * 20)
                gain = score(model, 2 * X + 1) - gaussian(2 * X + 1).mean
                came = f"finite {finite}, {refused} of 20 refused, {gain:+.3g} nats"
                return came, finite and refused == 0 and abs(gain) <= STREAM

            what = f"partial_fit with {size:g}, {np.dtype(dtype)}, {name}"
            yield found(what, "finite; then fitted within 0.1", find)
            far = X.copy()
            far[7, 0] = size
            what = f"fit with {size:g}, {np.dtype(dtype)}, {name}"
            yield fits(what, far, estimator(1, 0, implementation=name))


def r8() -> Iterator[Check]:
    """One bad row in a stream that then moves."""
    scores = []
    for bad in (1e4, None):
        rng = np.random.default_rng(0)
        model = estimator(1, 0)
        streamed(model, [rng.normal(size=(2000, 5))])
        batch = rng.normal(size=(50, 5))
        if bad is not None:
            batch[10, 0] = bad
        streamed(model, [batch])
        streamed(model, (4 + rng.normal(size=(50, 5)) for _ in range(300)))
        scores.append(score(model, 4 + rng.normal(size=(10_000, 5))))
    yield close("300 good batches after a row of 1e4", scores[1], scores[0], STREAM)


def r9() -> Iterator[Check]:
    """Single rows after many: each moves the model, and by no more than its share."""
    rng = np.random.default_rng(0)
    X, rows = rng.normal(size=(300, 3)), rng.normal(size=(16, 3))
    model = estimator(1, 0)
    streamed(model, [X])
    before, still = score(model, X), 0
    for row in rows:
        old = model.layers_[0].W.copy()
        streamed(model, [row[None, :]])
        still += bool((old == model.layers_[0].W).all())
    yield Check("16 rows, one a call", "each moves W", f"{16 - still} of 16 did", still == 0)
    yield close("the 300 rows after them", before, score(model, X), 0.05)


FAULTS: dict[str, Callable[[], Iterator[Check]]] = {
    "R1": r1, "R2": r2, "R3": r3, "R4": r4, "R5": r5, "R6": r6, "R7": r7, "R8": r8, "R9": r9,
}  # fmt: skip
