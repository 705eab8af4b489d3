"""`fit(rule="newton")`: the options that mean something, what is compared, told and resumed."""

import math
import warnings

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.fitting import loop, outcome
from relgrad_np.fitting.batches import Batches, Staged
from relgrad_np.fitting.gaussian import gaussian_log_likelihood
from relgrad_np.fitting.newton.asked import OF_STEPS
from relgrad_np.fitting.options import Options
from relgrad_np.fitting.survey import Rows
from relgrad_np.fitting.team import Team
from relgrad_np.rules.by_name import NAMES, NEWTON, RULES, make_rule
from relgrad_np.runs.checkpoint import read_snapshot, write_snapshot

ACT, NORMAL, SECH = rg.activation("smooth_leaky_relu"), rg.density("normal"), rg.density("sech")


def data(N=400, D=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.laplace(size=(N, D)) @ (rng.uniform(-1, 1, (D, D)).T + np.eye(D)) + 0.5


def start(X, L=2, kind="whiten"):
    return rg.init_layers(np.random.default_rng(0), X.shape[1], L, kind=kind, X=X, activation=ACT)


def fit(X, layers=None, density=SECH, **options):
    layers = start(X) if layers is None else layers
    rng = np.random.default_rng(1)
    return rg.fit(layers, X, ACT, density, **{"rule": NEWTON, "rng": rng, **options})


def mean(layers, X, density=SECH, weights=None):
    terms = rg.log_likelihood(layers, X, ACT, density).per_sample
    return float(np.average(terms, weights=weights))


def same(one, two, **tolerance):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a.W, b.W, **{"rtol": 0, **tolerance})
        np.testing.assert_allclose(a.b, b.b, **{"rtol": 0, **tolerance})


def test_the_name_is_known_where_names_are_and_is_no_rule_of_steps():
    assert list(NAMES) == [*RULES, NEWTON]
    with pytest.raises(ValueError, match=r"group_adam, newton; did you mean 'newton'\?$"):
        Options(rule="newtons")
    with pytest.raises(ValueError, match="`rule` 'newton' has no step for a batch"):
        make_rule(NEWTON)


# The options


@pytest.mark.parametrize("L", [1, 2])
def test_it_is_newton_and_needs_no_other_option(L):
    X = data(1000)
    by_fit, directly = (
        fit(X, start(X, L), epochs=30),
        rg.newton(start(X, L), X, ACT, SECH, max_iter=30),
    )
    same(by_fit.layers, directly.layers)
    assert by_fit.xi == directly.xi
    assert (by_fit.stop_reason, directly.stop_reason) in (("tol", "tol"), ("epochs", "max_iter"))
    assert [e.train for e in by_fit.history] == [e.train for e in directly.history]


def test_an_epoch_is_an_iteration_and_they_end_with_one_warning():
    X = data()
    with pytest.warns(rg.NotConvergedWarning, match="3 epochs ran out before `tol` 1e-06") as heard:
        result = fit(X, epochs=3)
    assert [one.filename == __file__ for one in heard] == [True]
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    assert result.stop_reason == "epochs"
    with pytest.warns(rg.NotConvergedWarning, match="3 iterations ran out") as heard:
        rg.newton(start(X), X, ACT, SECH, max_iter=3)
    assert [one.filename == __file__ for one in heard] == [True]


def test_tol_is_the_gain_of_an_epoch_in_nats():
    X = data()
    result = fit(X, tol=1e-2, n_iter_no_change=2)
    gains = np.diff([mean(start(X), X), *(epoch.train for epoch in result.history)])
    assert result.stop_reason == "tol"
    assert (gains[-2:] < 1e-2).all()
    assert (gains[:-2] >= 1e-2).any()
    assert len(result.history) < len(fit(X).history)
    with pytest.warns(rg.NotConvergedWarning, match=r"ran out before `tol` 0.01 nats, or 1e-06"):
        fit(X, epochs=2, tol=1e-2)


def test_patience_and_weights_of_validation_rows():
    X, other = data(60, 4), data(200, 4, seed=3)
    weights = np.random.default_rng(0).integers(0, 3, 200)
    layers = start(X)
    options = {"X_val": other, "patience": 4, "sample_weight_val": weights}
    result = fit(X, layers, **options)
    values = [mean(layers, other, weights=weights), *(e.validation for e in result.history)]
    assert result.best_epoch == int(np.argmax(values))
    assert mean(result.best_layers, other, weights=weights) == pytest.approx(max(values), rel=1e-12)
    assert result.stop_reason == "patience"
    assert len(result.history) == result.best_epoch + 4
    same(rg.newton(layers, X, ACT, SECH, **options).best_layers, result.best_layers)
    repeated = fit(X, layers, X_val=np.repeat(other, weights, axis=0), patience=4)
    same(repeated.best_layers, result.best_layers)
    unweighted = fit(X, layers, X_val=other, patience=4)
    assert unweighted.history[0].validation != pytest.approx(result.history[0].validation, abs=1e-9)


def test_a_weight_counts_as_repetition():
    X, counts = data(80), np.random.default_rng(0).integers(0, 4, 80)
    few = fit(X, start(X, 1), sample_weight=counts)
    many = fit(np.repeat(X, counts, axis=0), start(X, 1))
    same(few.layers, many.layers, atol=1e-5)
    assert few.history[-1].train == pytest.approx(many.history[-1].train, rel=1e-9)


def test_callbacks_and_a_bar(capsys):
    X, seen = data(), []
    layers = start(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(
            X, layers, progress=True,
            callbacks=[lambda epoch, state: seen.append(mean(state.layers, X)) or state.t == 12],
        )  # fmt: skip
    assert result.stop_reason == "callback"
    np.testing.assert_allclose([epoch.train for epoch in result.history], seen, rtol=1e-9)
    assert "log p" in capsys.readouterr().err


OTHERS = {
    "learning_rate": 0.1, "schedule": "cosine", "warmup": 3, "batch_size": 50,
    "implementation": "reference", "average": 0.3, "undo": 3.0, "refresh": 7, "track_inverse": True,
}  # fmt: skip


@pytest.mark.parametrize("name", [*OF_STEPS, "transform", "comm"])
def test_what_means_nothing_is_refused_by_name(name):
    more = {"transform": lambda rows, rng: rows, "comm": Team()}
    options = {"rule": NEWTON, "rng": np.random.default_rng(0), name: (OTHERS | more)[name]}
    with pytest.raises(ValueError, match=f"^`{name}` means nothing with the rule 'newton'"):
        loop.fit(start(data()), data(), ACT, SECH, **options)


def test_what_is_refused_of_other_fits_is_refused_here():
    X = data()
    for name, value in (("patience", 3), ("sample_weight_val", np.ones(3))):
        with pytest.raises(ValueError, match=f"`{name}` needs `X_val`"):
            fit(X, **{name: value})
    with pytest.raises(TypeError, match="`rng` must be"):
        fit(X, rng=0)
    with pytest.raises(ValueError, match="multivariate_t does not act elementwise"):
        fit(X, density=rg.density("multivariate_t"))
    with pytest.raises(ValueError, match="must not be `Staged`"):
        fit(Staged(X, np.zeros(1)), start(X))


def test_a_default_or_none_is_as_good_as_nothing():
    X = data()
    usual = {name: getattr(Options(), name) for name in OF_STEPS}
    none = dict.fromkeys(("batch_size", "average", "undo", "refresh", "learning_rate"))
    plain = fit(X, epochs=5)
    same(fit(X, epochs=5, **usual).layers, plain.layers)
    same(fit(X, epochs=5, **none).layers, plain.layers)


@pytest.mark.parametrize("rule", ["recipe", "plain"])
def test_no_batch_size_means_all_rows(rule):
    """One step an epoch, on the whole mean: the same as a size of N."""
    X = data(150)
    options = {"rule": rule, "epochs": 4, "compare": False}
    result = fit(X, batch_size=None, **options)
    assert [epoch.t for epoch in result.history] == [1, 2, 3, 4]
    same(result.layers, fit(X, batch_size=150, **options).layers)
    assert fit(X, batch_size=50, **options).history[-1].t == 12


# What is compared


@pytest.mark.parametrize("by", ["fit", "newton"])
def test_a_base_that_the_gaussian_beats_is_named_once(by):
    X = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    layers = start(X, 1)
    with pytest.warns(rg.FitWarning, match="below the Gaussian.*density='normal'") as heard:
        result = fit(X, layers) if by == "fit" else rg.newton(layers, X, ACT, SECH)
    assert [(one.category, one.filename) for one in heard] == [(rg.FitWarning, __file__)]
    assert result.best_layers is result.layers
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(X, layers, compare=False)
        rg.newton(layers, X, ACT, SECH, compare=False)


def test_a_fit_below_the_gaussian_returns_layers_that_are_it():
    X = 100 * data() + 1000
    layers = start(X, 3, "orthogonal")
    with pytest.warns(UserWarning, match="ran out|returned") as heard:
        result = fit(X, layers, NORMAL, epochs=1)
    assert {one.category for one in heard} == {rg.FitWarning, rg.NotConvergedWarning}
    assert len(heard) == 2
    assert mean(result.best_layers, X, NORMAL) == pytest.approx(
        gaussian_log_likelihood(X), abs=1e-6
    )
    assert result.best_epoch == 0
    rows = Rows(Batches(X, None, None, None, None, Team()), ACT, NORMAL, 3)
    assert result.xi == rows.xi_norms(result.best_layers)
    with pytest.warns(rg.NotConvergedWarning):
        alone = fit(X, layers, NORMAL, epochs=1, compare=False)
    assert mean(alone.best_layers, X, NORMAL) < mean(result.best_layers, X, NORMAL) - 1


def test_xi_of_a_start_that_is_best_is_the_starts():
    """A first stage has moved the point before: its xi is not that of the start."""
    X, other = data(3200, 2), data(400, 2, seed=5)
    layers = rg.fit(
        start(other, 1), other, ACT, SECH, rule=NEWTON, rng=np.random.default_rng(0)
    ).layers
    result = fit(X, layers, X_val=other, patience=2)
    assert result.best_epoch == 0
    rows = Rows(Batches(X, None, None, None, None, Team()), ACT, SECH, 2)
    assert result.xi == pytest.approx(rows.xi_norms(layers), rel=1e-9)


@pytest.mark.parametrize("have", ["worse", "nan", "better"])
def test_a_divergence_leaves_the_best_of_what_there_is(have):
    X = data()
    layers = start(X, 2, "gaussianize")
    other = {
        "worse": tuple(rg.Layer(W, b + 9) for W, b in layers),
        "nan": tuple(rg.Layer(W * math.nan, b) for W, b in layers),
        "better": fit(X, layers, NORMAL, epochs=5, compare=False).layers,
    }[have]
    error = rg.FitDivergedError("it fell", rg.FitResult(other, other, 1, (), None, "diverged", 1))
    rows = Rows(Batches(X, None, None, None, None, Team()), ACT, NORMAL, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = outcome.after_divergence(error, layers, rows)
    assert str(after) == "it fell"
    best = after.result.best_layers
    assert best is (other if have == "better" else layers)
    bad = tuple(rg.Layer(W * math.nan, b) for W, b in layers)
    assert outcome.after_divergence(error, bad, rows) is error


def test_a_fit_that_diverges_compares_before_it_raises():
    """From far away, in a step: the Gaussian is what is best, and the error holds it."""
    X = 100 * data() + 1000

    def overflow(state, rows, **options):
        after, info = rg.train_step(state, rows, **options)
        return after._replace(layers=tuple(rg.Layer(W * 1e200, b) for W, b in after.layers)), info

    options = {"rule": "plain", "implementation": overflow}
    layers = start(X, 2, "orthogonal")
    for compare, least in ((True, gaussian_log_likelihood(X) - 1e-6), (False, -math.inf)):
        with pytest.raises(rg.FitDivergedError, match="objective is not finite") as raised:
            fit(X, layers, NORMAL, compare=compare, **options)
        value = mean(raised.value.result.best_layers, X, NORMAL)
        assert value >= least
    assert value < gaussian_log_likelihood(X) - 1


# Snapshots


class StopAt:
    """Keeps a snapshot, through a file, when step t is done, and stops the fit."""

    def __init__(self, folder, t):
        self.folder, self.t, self.stop, self.kept = folder, t, None, []

    def due(self, t, end):
        self.stop = 15 if t >= self.t else None
        return self.stop is not None or end

    def write(self, snapshot):
        write_snapshot(self.folder / "step-1.npz", snapshot, "run")
        self.kept.append(snapshot)


@pytest.mark.parametrize("validated", [False, True])
@pytest.mark.parametrize("L", [1, 2])
def test_a_fit_that_is_stopped_and_goes_on_is_the_same(tmp_path, L, validated):
    """With its memory; of several layers bit by bit."""
    X = data(200)
    more = {"X_val": data(300, seed=4), "patience": 30} if validated else {}
    layers = start(X, L)
    whole = fit(X, layers, **more)
    stopped = fit(X, layers, keeper=StopAt(tmp_path, 5), **more)
    snapshot = read_snapshot(tmp_path / "step-1.npz", "run")
    assert len(snapshot.state.rule_state) == 5  # moves that are remembered
    at = next(i for i, e in enumerate(stopped.history) if e.epoch >= 5) + 1
    assert stopped.stop_reason == "signal"
    assert len(stopped.history) in (at, at + 1)
    resumed = fit(X, layers, resume=snapshot, **more)
    assert resumed.stop_reason == whole.stop_reason
    assert resumed.best_epoch == whole.best_epoch
    assert len(resumed.history) == len(whole.history)
    same(resumed.layers, whole.layers, atol=0 if L > 1 else 1e-7)
    same(resumed.best_layers, whole.best_layers, atol=0 if L > 1 else 1e-7)
    without = snapshot._replace(state=snapshot.state._replace(rule_state=()))
    forgot = fit(X, layers, resume=without, **more)  # planted: the memory is lost
    differ = [e.train for e in forgot.history] != [e.train for e in whole.history]
    assert differ


def test_a_finished_fit_is_kept_and_stays_finished(tmp_path):
    X, keeper = data(200), StopAt(tmp_path, 10**6)
    result = fit(X, start(X, 1), keeper=keeper)
    assert len(keeper.kept) == 1
    snapshot = read_snapshot(tmp_path / "step-1.npz", "run")
    again = fit(X, start(X, 1), resume=snapshot)
    assert again.stop_reason == result.stop_reason == "tol"
    assert len(again.history) == len(result.history)
    same(again.layers, result.layers)


def test_a_snapshot_of_another_fit_is_refused(tmp_path):
    X = data(200)
    fit(X, keeper=StopAt(tmp_path, 3))
    snapshot = read_snapshot(tmp_path / "step-1.npz", "run")
    with pytest.raises(ValueError, match="`epochs` can't change on resume: it was 500, now 7"):
        fit(X, resume=snapshot, epochs=7)
    with pytest.raises(ValueError, match="`X` can't change"):
        fit(data(200, seed=2), start(X), resume=snapshot)
    with pytest.raises(ValueError, match="`rule` can't change"):
        fit(X, resume=snapshot, rule="plain", epochs=500)
