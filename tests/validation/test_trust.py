"""The judge of fits on dirty data: what it lets pass, and what it must not.

Planted mistakes: a fit that is worse than its Gaussian and says nothing; one that has NaN in its
layers; one that raises, or refuses what has full rank; a model whose W is of another step than its b.
"""

import doctest
import functools
import importlib
import signal
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import relgrad_np as rg
from validation import interrupts, rises, streams, trust
from validation.dirty import COUNT, KINDS, RANK, condition, dirty
from validation.judge import (
    estimator,
    fit_warnings,
    fitted,
    gaussian,
    is_refusal,
    judged,
    judged_unseen,
)

# the sets


def test_the_same_seed_is_the_same_set():
    for seed in (0, 20, 58, 299):
        (name, X), (again, Y) = dirty(seed), dirty(seed)
        assert name == again
        np.testing.assert_array_equal(X, Y)
    assert not np.array_equal(dirty(0)[1], dirty(9)[1])


def test_every_set_is_finite_and_of_full_rank_and_every_kind_occurs():
    names, sizes = set(), set()
    for seed in range(COUNT):
        name, X = dirty(seed)
        assert X.dtype == np.float64
        assert np.isfinite(X).all()
        assert X.shape[0] >= X.shape[1] + 2
        scaled = (X - X.mean(axis=0)) / np.abs(X - X.mean(axis=0)).max(axis=0)
        values = np.linalg.svd(scaled / scaled.std(axis=0), compute_uv=False)
        assert values[-1] > RANK * values[0]
        names.update(name.split(" + "))
        sizes.add(X.shape)
    assert names == set(KINDS)
    assert min(N for N, _ in sizes) < 20
    assert max(N for N, _ in sizes) > 2000
    assert {D for _, D in sizes} == set(range(1, 11))


@pytest.mark.parametrize("kind", KINDS)
def test_dirt_leaves_what_it_is_given(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    kept = X.copy()
    Y = KINDS[kind](rng, X)
    np.testing.assert_array_equal(X, kept)
    assert Y.shape != X.shape or not np.array_equal(X, Y)


def test_a_set_of_lower_rank_is_seen():
    X = np.random.default_rng(0).normal(size=(50, 3))
    assert condition(X) > 0.5
    assert condition(X * [1e-8, 1, 1e8]) == pytest.approx(condition(X), rel=1e-6)
    assert condition(np.column_stack([X, X[:, 0]])) < RANK
    assert condition(np.column_stack([X, np.full(50, 1e6)])) == 0
    assert condition(X[:3]) == 0


# the closed form


def test_the_gaussian_is_the_closed_form():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 4)) + 3
    Sigma = np.cov(X.T, bias=True)
    right = -0.5 * (4 * (1 + np.log(2 * np.pi)) + np.linalg.slogdet(Sigma)[1])
    best = gaussian(X)
    assert best.mean == pytest.approx(right, abs=1e-12)
    Y = (X @ best.W.T + best.b).astype(float)
    np.testing.assert_allclose(np.cov(Y.T, bias=True), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(Y.mean(axis=0), 0, atol=1e-12)
    units = np.array([1e-8, 1e8, 1e100, 1])
    moved = gaussian(X * units + 1e6 * units)
    assert moved.mean == pytest.approx(right - np.log(units).sum(), abs=1e-8)


def test_the_gaussian_of_an_outlier_is_the_known_one():
    X = np.random.default_rng(0).normal(size=(1000, 3))
    X[7, 0] = 1e6
    assert gaussian(X).mean == pytest.approx(-14.603, abs=5e-4)


# the judge, with planted fits

X = np.random.default_rng(0).normal(size=(300, 3)) @ np.array([[2.0, 0, 0], [1, 1, 0], [0, 3, 1]])


def spoiled(change, warn=None):
    """A fit whose layers are changed afterwards, with a warning or without."""

    def fit(model, X):
        error, _ = fitted(model, X)
        model._fitted = tuple(change(layer) for layer in model.layers_)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if warn is not None:
                warnings.warn("the fit ended below its start", warn, stacklevel=1)
        return error, caught

    return fit


def worse(layer):
    return rg.Layer(2 * layer.W, layer.b)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("L", [1, 2])
def test_a_fit_worse_than_its_gaussian_is_flagged_and_with_a_warning_accepted(L, dtype):
    rows = X.astype(dtype)
    assert judged(rows, estimator(L, 0)).faults == ()
    silent = judged(rows, estimator(L, 0), spoiled(worse))
    assert len(silent.faults) == 2, "below the start, and below the Gaussian"
    assert not silent.warned
    for kind in fit_warnings():
        said = judged(rows, estimator(L, 0), spoiled(worse, kind))
        assert said.faults == ()
        assert said.warned
    other = judged(rows, estimator(L, 0), spoiled(worse, RuntimeWarning))
    assert len(other.faults) == 2, "of another warning nobody learns that the fit is bad"
    assert other.other == 1


def test_a_fit_worse_than_the_gaussian_on_unseen_rows_is_flagged():
    def cheap(*planted):
        def fit(model, X):
            model.set_params(**estimator(1, 0).get_params())
            return spoiled(*planted)(model, X)

        return fit

    assert judged_unseen(X, 0, cheap(lambda layer: layer)).faults == ()
    silent = judged_unseen(X, 0, cheap(worse))
    assert "below the Gaussian on unseen rows" in silent.faults[0]
    assert silent.gaussian < -5 * silent.error
    assert judged_unseen(X, 0, cheap(worse, fit_warnings()[0])).faults == ()
    assert judged_unseen(X, 0, lambda model, X: (OverflowError("range"), [])).faults


def test_nan_is_flagged_even_with_a_warning():
    def nan(layer):
        return rg.Layer(layer.W, layer.b * np.nan)

    verdict = judged(X, estimator(2, 0), spoiled(nan, fit_warnings()[0]))
    assert "layers_ not finite" in verdict.faults


def test_exceptions_are_flagged_and_refusals_counted():
    def raises(error):
        return lambda model, X: (error, [])

    crash = judged(X, estimator(2, 0), raises(FloatingPointError("step 3: not finite")))
    assert crash.faults
    assert not crash.refused
    rank = ValueError("`X` has rank 2 of 3 at layer 1")
    deep = judged(X, estimator(2, 0), raises(rank))
    assert deep.refused
    assert deep.faults == ()
    assert judged(X, estimator(1, 0), raises(rank)).faults, "the Gaussian of these rows exists"
    two_lines = ValueError("rank\nof X")
    assert judged(X, estimator(2, 0), raises(two_lines)).faults
    assert not is_refusal(TypeError("rank"))


def test_one_layer_that_is_better_than_the_best_is_flagged():
    assert judged(X, estimator(1, 0)).near
    model = estimator(1, 0)
    honest = type(model).score_samples
    model.score_samples = lambda X: honest(model, X) + 1
    assert any("above" in fault for fault in judged(X, model).faults)


# the claims


@functools.cache
def verdict():
    return judged(X, estimator(1, 0))


def line(**changes):
    fit = {"L": 1, "dtype": "float64", **verdict()._asdict(), **changes}
    return {"dirt": "outliers + scales", "N": 300, "D": 3, "seed": 0, "fits": [fit]}


def test_claims_hold_of_good_fits_and_fail_of_bad_ones():
    assert all(claim.ok for claim in trust.claims_of([line()]))
    for changes in (
        {"faults": ("raised: FloatingPointError: no",)},
        {"faults": ("NaN in score_samples",)},
        {"faults": ("3 nats below its start, no warning",)},
        {"faults": ("3 nats below the Gaussian, no warning",)},
        {"near": False},
    ):
        assert sum(not claim.ok for claim in trust.claims_of([line(**changes)])) == 1, changes
    many = [line() for _ in range(99)]
    assert all(claim.ok for claim in trust.claims_of([*many, line(near=False, warned=True)]))
    too_many = [*many[:90], *(line(near=False, warned=True) for _ in range(10))]
    assert not all(claim.ok for claim in trust.claims_of(too_many))


def test_the_table_counts_a_set_under_each_of_its_kinds():
    rows = trust.by_kind([line(faults=("NaN in score_samples",))]).splitlines()
    counted = {row.split(" | ")[0].strip("| "): row.split(" | ")[1] for row in rows[2:]}
    assert counted == dict.fromkeys(KINDS, "0") | {"outliers": "1", "scales": "1", "all": "1"}


def test_what_is_kept_is_as_it_was_found(tmp_path):
    from validation.store import Store

    found = trust.fits(17, [(1, "float64")])
    kept = Store(tmp_path).run("trust", {"seed": 17}, lambda: found)
    again = Store(tmp_path).run("trust", {"seed": 17}, dict)
    assert kept["fits"] == again["fits"]
    assert [c.ok for c in trust.claims_of([again])] == [c.ok for c in trust.claims_of([found])]


def test_a_part_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit):
        trust.main(["dirt"])
    assert "no part 'dirt'" in capsys.readouterr().err


# second order


def test_newton_raises_the_likelihood_of_dirty_problems():
    found = list(rises.checks(15))
    assert [check.ok for check in found] == [True] * 3, found


def test_problems_are_of_every_kind():
    made = [rises.problem(seed) for seed in range(120)]
    for part in ("density", "activation"):
        names = {getattr(one, part).name for one in made}
        assert names == set({"density": rises.DENSITIES, "activation": rises.ACTIVATIONS}[part])
    assert {len(one.layers) for one in made} == {1, 2, 3}
    assert {one.X.shape[1] for one in made} == set(range(1, 9))
    assert all(kind in " ".join(one.name for one in made) for kind in KINDS)
    assert 20 < sum(one.weights is not None for one in made) < 100
    assert max(len(one.X) for one in made) <= 500


@pytest.mark.parametrize("mistake", ["a step down", "weights", "the tracker"])
def test_a_fit_that_falls_is_seen(mistake):
    """Planted: a shift after the third iteration, weights that do not count, a tracker 1e-8 off."""

    def wrong(layers, X, activation, density, *, callbacks, sample_weight, **options):
        def record(epoch, state):
            if mistake == "a step down" and epoch.epoch == 3:
                moved = tuple(rg.Layer(W, b + 3.0) for W, b in state.layers)
                state = state._replace(layers=moved)
            callbacks[0](epoch, state)

        weights = None if mistake == "weights" else sample_weight
        result = rg.newton(
            layers, X, activation, density, callbacks=[record], sample_weight=weights, **options
        )
        off = 1e-8 if mistake == "the tracker" else 0.0
        tracked = result.tracked._replace(logdet=result.tracked.logdet + off)
        return result._replace(tracked=tracked)

    seeds = 40 if mistake == "weights" else 12  # of which few have weights that change much
    seen = [rises.rise(rises.problem(seed), wrong) for seed in range(seeds)]
    if mistake == "the tracker":
        assert all(one.drift > rises.DRIFT for one in seen)
    else:
        assert sum(one.falls > 0 for one in seen) > (6 if mistake == "a step down" else 3)


# interrupts and streams


def test_a_model_of_two_steps_is_seen():
    """W of one step beside b of another, and a log|det| that is not that of the layers."""
    rows = X + 50
    model = estimator(1, 0, implementation="reference").partial_fit(rows)
    right = gaussian(rows).mean
    assert interrupts.tracked(model) is not None, "or nothing is compared with it"
    assert interrupts.fault(model, rows, right) == ""
    stream = model._stream
    kept = stream.kept.state.layers

    def have(change):
        changed = tuple(rg.Layer(*change(*layer)) for layer in kept)
        state = stream.kept.state._replace(layers=changed)
        stream.kept = stream.kept._replace(layers=changed, state=state)

    have(lambda W, b: (1.1 * W, b))
    assert "log|det|" in interrupts.fault(model, rows, right)
    have(lambda W, b: (W, b + 2))
    assert "score" in interrupts.fault(model, rows, right)
    have(lambda W, b: (W, b + np.nan))
    assert interrupts.fault(model, rows, right) == "layers_ not finite"


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="this system has no SIGALRM")
def test_an_interrupt_comes_in_time_or_not_at_all():
    def forever():
        while True:
            pass

    assert interrupts.interrupted(forever, 0.01)
    assert not interrupts.interrupted(lambda: None, 10.0)


def test_a_stream_moves_and_turns():
    drifting = streams.drifting(np.random.default_rng(0), streams.WHOLE, 3, False)
    first, last = drifting[:5000], drifting[-5000:]
    moved = np.linalg.norm(last.mean(axis=0) - first.mean(axis=0))
    assert moved == pytest.approx(4, abs=0.3)
    assert np.cov(first.T)[0, 0] > 1.5 * np.cov(last.T)[0, 0]
    parts = list(streams.batches(np.random.default_rng(0), drifting[:3000]))
    np.testing.assert_array_equal(np.concatenate(parts), drifting[:3000])
    assert len({len(part) for part in parts}) > 3


@pytest.mark.parametrize("name", ["dirty", "judge", "checks", "trust", "rises"])
def test_the_examples_in_docstrings(name):
    found = doctest.testmod(importlib.import_module(f"validation.{name}"))
    assert found.attempted > 0
    assert found.failed == 0
