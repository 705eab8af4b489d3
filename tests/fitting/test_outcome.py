"""What a fit returns, and what it says of that: the start, the Gaussian, convergence."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.fitting import falls, loop, outcome
from relgrad_np.fitting.batches import Batches
from relgrad_np.fitting.gaussian import gaussian_log_likelihood
from relgrad_np.fitting.survey import Rows
from relgrad_np.fitting.team import Team

from ..laws.problems import afterwards

ACT, DENS = rg.activation("smooth_leaky_relu"), rg.density("normal")
AS_ERRORS = pytest.mark.filterwarnings("error")


def data(N=400, D=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.laplace(size=(N, D)) @ rng.uniform(-1, 1, (D, D)).T + 0.5


def start(X, L=2, kind="gaussianize"):
    rng = np.random.default_rng(0)
    return rg.init_layers(rng, X.shape[1], L, kind=kind, X=X, activation=ACT)


def fit(X, layers=None, density=DENS, **options):
    layers = start(X) if layers is None else layers
    return rg.fit(layers, X, ACT, density, rng=np.random.default_rng(1), **options)


def mean(layers, X, density=DENS):
    return float(rg.log_likelihood(layers, X, ACT, density).mean)


@afterwards
def spoil(before, after):
    """Each step adds something that no likelihood asked for."""
    layers = tuple(rg.Layer(W, b + 1.0) for W, b in after.layers)
    return after._replace(layers=layers)


def test_a_fit_that_ends_below_its_start_returns_it_and_says_so():
    X = data()
    layers = start(X)
    options = {"implementation": spoil, "rule": "plain", "undo": None, "epochs": 2}
    with pytest.warns(rg.FitWarning, match="nats below its start.* its start is returned") as heard:
        result = fit(X, layers, **options)
    assert len([one for one in heard if one.category is rg.FitWarning]) == 1
    assert result.best_layers is layers
    assert result.best_epoch == 0
    spoiled = fit(X, layers, compare=False, **options)
    assert mean(spoiled.best_layers, X) < mean(layers, X) - 1
    assert spoiled.xi is None


def test_a_fit_below_the_gaussian_returns_layers_that_are_it():
    """From an orthogonal start far from the rows, in one epoch; L = 3."""
    X = 100 * data() + 1000
    with pytest.warns(rg.FitWarning, match="layers of the Gaussian are returned"):
        result = fit(X, start(X, 3, "orthogonal"), epochs=1)
    assert mean(result.best_layers, X) == pytest.approx(gaussian_log_likelihood(X), abs=1e-6)
    assert len(result.best_layers) == 3


def test_a_base_that_no_gaussian_fits_is_named():
    X = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    with pytest.warns(rg.FitWarning, match="density='normal'"):
        fit(X, start(X, 1), rg.density("sech"))


def said_of_validation(X, X_val, **options):
    """What a fit far from good says of its validation rows, and by how much it is below there."""
    with pytest.warns(rg.FitWarning, match="on the validation rows") as heard:
        result = fit(X, start(X, 2, "orthogonal"), X_val=X_val, epochs=1, **options)
    (words,) = [str(one.message) for one in heard if one.category is rg.FitWarning]
    return float(words.split(" is ")[1].split()[0]), result.best_layers


def test_a_fit_below_the_gaussian_on_its_validation_rows_says_by_how_much():
    X, X_val = np.split(3 * data(600) + 5, [400])
    for rule in ("recipe", "newton"):
        said, layers = said_of_validation(X, X_val, rule=rule)
        of_rows = rg.fitting.gaussian.gaussian_layers(X, 1, ACT)
        assert said == pytest.approx(mean(of_rows, X_val) - mean(layers, X_val), rel=0.01)


def test_validation_knows_of_no_row_without_weight():
    (X, X_val), far = np.split(3 * data(600) + 5, [400]), np.full((50, 3), 1e3)
    weights = {"sample_weight": np.r_[np.ones(400), np.zeros(50)],
               "sample_weight_val": np.r_[np.ones(200), np.zeros(50)]}  # fmt: skip
    noisy = np.r_[X, far + X[:50]], np.r_[X_val, far]
    said, layers = said_of_validation(*noisy, **weights)
    of_rows = rg.fitting.gaussian.gaussian_layers(X, 1, ACT)
    assert said == pytest.approx(mean(of_rows, X_val) - mean(layers, X_val), rel=0.01)


@AS_ERRORS
def test_a_fit_as_good_as_the_gaussian_says_nothing_of_validation():
    rng = np.random.default_rng(0)
    X, X_val = rng.normal(size=(500, 2)) + 7, rng.normal(size=(100, 2)) + 7
    fit(X, start(X, 1), X_val=X_val, epochs=20)


@AS_ERRORS
@pytest.mark.parametrize("L", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_good_fit_says_nothing(L, seed):
    X = data(1000, seed=seed)
    result = fit(X, start(X, L))
    assert mean(result.best_layers, X) >= mean(start(X, L), X)
    assert all(x * x / 3 < outcome.UNFINISHED for x in result.xi)


def test_where_validation_chooses_the_rows_fitted_do_not():
    X = data()
    options = {"implementation": spoil, "rule": "plain", "undo": None, "epochs": 2}
    with pytest.warns(rg.FitWarning) as heard:
        result = fit(X, X_val=data(seed=1), **options)
    said = [str(one.message) for one in heard if one.category is rg.FitWarning]
    assert [text.split(": ")[0] for text in said] == [f"{outcome.NO_BETTER} on the validation rows"]
    assert result.best_epoch == 0


def test_a_fit_just_below_its_start_returns_it_and_says_so():
    @afterwards
    def spoil_a_little(before, after):
        return after._replace(layers=tuple(rg.Layer(W, b + 1e-3) for W, b in before.layers))

    options = {"implementation": spoil_a_little, "rule": "plain", "undo": None, "epochs": 1}
    X = data()
    with pytest.warns(rg.FitWarning, match=f"{outcome.NO_BETTER} on the rows that were") as heard:
        result = fit(X, **options)
    assert len([one for one in heard if one.category is rg.FitWarning]) == 1
    assert result.best_epoch == 0


def test_weights_count_where_layers_are_compared():
    """Half of the rows lie far away and hardly count: the start of the others is kept."""
    X = np.concatenate([data(200), data(200, seed=1) + 30])
    weights = np.repeat([1.0, 1e-9], 200)
    layers = start(X[:200], 1)
    result = fit(X, layers, sample_weight=weights, epochs=3)
    assert mean(result.best_layers, X[:200]) >= mean(layers, X[:200]) - 1e-6


def test_xi_is_the_dense_one():
    """|[xi, G_b]| of all rows in the chart of standardised outputs; 0 at the closed form."""
    X = data()
    result = fit(X, start(X, 2), epochs=1)
    tape = rg.forward(result.best_layers, X, ACT)
    deltas = rg.backprop(result.best_layers, tape, ACT, DENS)
    for found, Y, Delta in zip(result.xi, tape.Ys, deltas, strict=True):
        U, Delta_u = (Y - Y.mean(axis=0)) / Y.std(axis=0), Delta * Y.std(axis=0)
        xi = np.column_stack([Delta_u.T @ U + np.eye(3), Delta_u.sum(axis=0)])
        assert found == pytest.approx(np.linalg.norm(xi), rel=1e-9)
    best = rg.fit(start(X, 1), X, ACT, DENS, rng=np.random.default_rng(0), epochs=1)
    assert best.xi[0] < 1e-10


def test_a_fit_that_is_far_away_says_so():
    X = 50 * data()
    with pytest.warns(rg.NotConvergedWarning, match=r"\|xi\| / sqrt\(D\) is"):
        fit(X, start(X, 2, "orthogonal"), rg.density("sech"), epochs=1)


def test_tol_ends_a_fit_that_has_arrived_without_validation_rows():
    X = data(1000)
    result = fit(X, start(X, 1), rg.density("sech"), epochs=200, tol=1e-3, n_iter_no_change=3)
    assert result.stop_reason == "tol"
    assert 4 <= len(result.history) < 100
    gains = np.diff([epoch.train for epoch in result.history])
    assert (gains[-3:] < 1e-3).all()
    with pytest.warns(rg.NotConvergedWarning, match="2 epochs ran out before `tol`"):
        fit(X, start(X, 1), rg.density("sech"), epochs=2, tol=1e-9)


def test_gained_waits_for_enough_epochs():
    epochs = [rg.Epoch(i, i, 0.1, 0.1, train, None, None, 0.0) for i, train in enumerate((0, 3, 4))]
    assert loop.gained(epochs, 3) == math.inf
    assert loop.gained(epochs, 2) == 3
    assert loop.gained(epochs, 1) == 1


@dataclass(frozen=True)
class Astray(rg.Plain):
    """Some steps away from the likelihood."""

    def propose(self, state, tape, deltas):
        sign = -1.0 if 60 <= state.t < 68 else 1.0
        return super().propose(state, tape, tuple(sign * Delta for Delta in deltas))


def test_an_epoch_that_falls_is_taken_back_at_half_the_rate():
    """No undo sees the steps that go astray; without the going back the layers stay worse."""
    X = data(2000)
    options = {"rule": Astray(0.05), "batch_size": 100, "epochs": 4, "schedule": "constant"}
    saved = fit(X, start(X, 2, "whiten"), undo=1e9, compare=False, **options)
    fallen = fit(X, start(X, 2, "whiten"), undo=None, compare=False, **options)
    assert [epoch.fell for epoch in saved.history] == [False, False, False, True]
    assert saved.n_falls == 1
    assert mean(saved.layers, X) > mean(fallen.layers, X)


def test_a_second_fall_in_a_row_goes_back_further():
    best = falls.Best(-3.0, "before", "after")
    once, back = falls.after_epoch(best, -9.0, [-9.0] * 4, 0.1, "now")
    assert (back, once.rate, once.value) == ("after", 0.5, -3.0)
    twice, back = falls.after_epoch(once, -9.0, [-9.0] * 4, 0.1, "now")
    assert (back, twice.rate, twice.falls) == ("before", 0.25, 2)
    calm, back = falls.after_epoch(twice, -3.05, [-3.0] * 4, 0.1, "now")
    assert back is None
    assert (calm.value, calm.in_a_row) == (-3.0, 0)


@pytest.mark.parametrize("sees_all", [True, False])
def test_every_rank_compares_with_the_gaussian_of_all_rows_or_with_none(sees_all):
    """Or ranks would return unlike layers: the Gaussian of one half is not that of the other."""

    class Half(Team):
        def validation_part(self, X_val):
            return X_val[: len(X_val) // 2]

        def sees_all(self):
            return sees_all

    X = np.concatenate([data(200), 30 + data(200)])
    batches = Batches(X, None, 100, None, np.random.default_rng(0), Half())
    rows = Rows(batches, ACT, DENS, 3)
    assert sum(len(part) for part, _ in rows.chunks()) == 200
    if not sees_all:
        assert rows.all() is None
        return
    np.testing.assert_array_equal(rows.all()[0], X)


@pytest.mark.filterwarnings("error::relgrad_np.FitWarning")
def test_rows_that_have_no_gaussian_are_compared_with_none():
    """N <= D, and a constant column: its log-likelihood has no bound."""
    rng = np.random.default_rng(0)
    for X in (rng.normal(size=(5, 8)), np.column_stack([data(50), np.ones(50)])):
        layers = rg.init_layers(rng, X.shape[1], 1)
        result = rg.fit(layers, X, ACT, rg.density("sech"), rule="plain", rng=rng, epochs=1)
        assert np.isfinite(result.best_layers[0].W).all()
