"""scikit-learn's own checks, and what they do not know of: likelihoods, latents, ICA."""

import pickle

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import relgrad_np as rg
from relgrad_np.estimator import RelativeGradientFlow
from relgrad_np.estimator import flow as flow_module
from relgrad_np.fitting.gaussian import gaussian_log_likelihood

FEW = {"epochs": 3, "random_state": 0}
PLAIN = {
    **{"n_layers": 2, "rule": "recipe", "density": "normal", "batch_size": 100, "epochs": None},
    **{"validation_fraction": None, "patience": None},
}


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    Z = rng.laplace(size=(400, 3))
    return np.tanh(Z @ rng.standard_normal((3, 3))) + Z @ rng.standard_normal((3, 3)) + 7.0


def small_flow(*args, **params):
    """A flow that leaves nothing to the rows: two layers by the recipe, no validation."""
    return RelativeGradientFlow(*args, **{**PLAIN, **params})


def expected_failures(estimator):
    """The one that scikit-learn's KernelDensity declares, too: 15 rows of 30 columns have no density."""
    return {"check_sample_weight_equivalence_on_dense_data": "needs data of full rank"}


@parametrize_with_checks(
    [
        RelativeGradientFlow(epochs=3),
        RelativeGradientFlow(n_layers=1, epochs=3),
        RelativeGradientFlow(rule="newton", epochs=5),
    ],
    expected_failed_checks=expected_failures,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def dense_log_likelihood(layers, x, act, dens):
    """log p of one row x (D,): J = W_L diag(sigma'(y_(L-1))) ... W_1, written out."""
    J, v = np.eye(len(x)), x
    for k, (W, b) in enumerate(layers):
        y = W @ v + b
        J = W @ J
        if k < len(layers) - 1:
            J, v = act.dsigma(y)[:, None] * J, act.sigma(y)
        else:
            v = y
    return dens.log_prob(v).sum() + np.linalg.slogdet(J)[1]


def test_the_score_is_base_density_plus_slogdet_of_the_dense_jacobian(X):
    flow = small_flow(n_layers=3, density="logistic", **FEW).fit(X)
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("logistic")
    truth = [dense_log_likelihood(flow.layers_, x, act, dens) for x in X[:50]]
    np.testing.assert_allclose(flow.score_samples(X[:50]), truth, rtol=1e-12)
    assert flow.score(X[:50]) == pytest.approx(np.mean(truth), rel=1e-12)


def test_there_and_back(X):
    flow = small_flow(n_layers=4, **FEW).fit(X)
    assert np.abs(flow.inverse_transform(flow.transform(X)) - X).max() < 1e-8


def test_pipeline_and_search(X):
    pipe = make_pipeline(StandardScaler(), small_flow(**FEW))
    scores = cross_val_score(pipe, X, cv=3)
    assert np.isfinite(scores).all()
    grid = {
        "relativegradientflow__n_layers": [1, 2],
        "relativegradientflow__density": ["normal", "sech"],
    }
    search = GridSearchCV(pipe, grid, cv=2).fit(X)
    assert search.best_score_ == max(search.cv_results_["mean_test_score"])
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_pandas_in_pandas_out(X):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(X, columns=["a", "b", "c"], index=range(5, 405))
    flow = small_flow(**FEW).set_output(transform="pandas").fit(frame)
    out = flow.transform(frame)
    assert list(out.columns) == list(flow.get_feature_names_out())
    assert list(out.index) == list(frame.index)
    assert list(flow.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        flow.transform(frame[["b", "a", "c"]])


@pytest.mark.parametrize("partial", [False, True])
def test_clone_and_pickle(X, partial):
    """Bitwise, and a pickled model goes on as the model itself would."""
    flow = small_flow(rule="exponential", **FEW).fit(X)
    if partial:
        flow.partial_fit(X[:200])
    other = pickle.loads(pickle.dumps(flow))
    np.testing.assert_array_equal(other.score_samples(X), flow.score_samples(X))
    again = clone(flow).fit(X)
    assert again.get_params() == flow.get_params()
    if partial:
        again.partial_fit(X[:200])
    np.testing.assert_array_equal(again.transform(X), flow.transform(X))
    for one in (flow, other):
        one.partial_fit(X[200:])
    np.testing.assert_array_equal(other.layers_[1].W, flow.layers_[1].W)


def test_partial_fit_never_changes_layers_behind_ones_back(X):
    flow = small_flow(batch_size=50, random_state=0).partial_fit(X[:100])
    held = [np.array(x) for layer in flow.layers_ for x in layer]
    kept = [x for layer in flow.layers_ for x in layer]
    flow.partial_fit(X[100:250])
    for x, y in zip(kept, held, strict=True):
        np.testing.assert_array_equal(x, y)
    assert np.abs(flow.layers_[0].W - kept[0]).max() > 0


def test_a_stream_goes_on_from_a_fit_with_what_its_rule_has_learned(X):
    """A single row moves the layers at once; without the record it would wait for twenty."""
    flow = small_flow(**FEW).fit(X)
    W = flow.layers_[0].W.copy()
    moved = [np.abs(flow.partial_fit(row[None]).layers_[0].W - W).max() for row in X[:2]]
    assert 0 < moved[0] < 0.1
    fresh = small_flow(**FEW).fit(X)
    fresh._learned = (None, None)
    assert np.array_equal(fresh.partial_fit(X[:1]).layers_[0].W, W)


def test_a_stream_may_take_another_rule_than_the_fit(X):
    flow = small_flow(**FEW).fit(X).set_params(rule="group_adam")
    before = flow.layers_[0].W.copy()
    assert np.abs(flow.partial_fit(X).layers_[0].W - before).max() > 0


def test_a_stream_can_be_pickled_and_goes_on_alike(X):
    flow = small_flow(random_state=0).partial_fit(X[:100])
    again = pickle.loads(pickle.dumps(flow))
    for one in (flow, again):
        one.partial_fit(X[100:])
    np.testing.assert_array_equal(flow.layers_[1].W, again.layers_[1].W)


def test_a_stream_takes_weights_and_refuses_what_is_not_finite(X):
    flow = small_flow(random_state=0).partial_fit(X[:100])
    before = flow.layers_
    bad = X[100:110].copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        flow.partial_fit(bad)
    with pytest.raises(ValueError, match="features"):
        flow.partial_fit(X[:5, :1])
    assert flow.layers_ is before
    with pytest.raises(ValueError, match="non-zero"):
        flow.partial_fit(X[100:110], sample_weight=np.zeros(10))
    assert flow.layers_ is before
    flow.partial_fit(X[100:200], sample_weight=np.r_[np.ones(50), np.zeros(50)])
    other = small_flow(random_state=0).partial_fit(X[:100]).partial_fit(X[100:150])
    np.testing.assert_allclose(flow.layers_[0].W, other.layers_[0].W, rtol=1e-12)


@pytest.mark.filterwarnings("error")
def test_epochs_that_run_out_are_told_in_scikit_learns_words(X):
    with pytest.warns(ConvergenceWarning, match=r"2 epochs ran out before `tol` 1e-12"):
        small_flow(epochs=2, tol=1e-12, density="laplace", random_state=0).fit(X)
    flow = small_flow(n_layers=1, epochs=200, tol=1e-3, n_iter_no_change=2, random_state=0).fit(X)
    assert flow.n_iter_ < 200
    assert max(flow.xi_) < 1


def test_a_rejected_step_says_so_and_changes_nothing(X):
    flow = small_flow(**FEW).fit(X)
    before = flow.score_samples(X)
    with pytest.raises(FloatingPointError, match="not finite"):
        flow.partial_fit(np.full((3, 3), 1e300))
    np.testing.assert_array_equal(flow.score_samples(X), before)


def test_warm_start_goes_on(X):
    flow = small_flow(warm_start=True, **FEW).fit(X)
    first = [np.array(layer.W) for layer in flow.layers_]
    flow.fit(X)
    assert any((a != layer.W).any() for a, layer in zip(first, flow.layers_, strict=True))
    cold = small_flow(**FEW).fit(X)
    np.testing.assert_array_equal(cold.layers_[0].W, first[0])


def test_weights_are_relative(X):
    """Three times the weights is the same fit, bit for bit: the same steps, the same rows held."""
    weights = np.random.default_rng(1).integers(0, 4, len(X))
    fits = [
        small_flow(**FEW, validation_fraction=0.2).fit(X, sample_weight=w)
        for w in (weights, 4 * weights, weights / 8)
    ]
    for one in fits[1:]:
        np.testing.assert_array_equal(one.layers_[0].W, fits[0].layers_[0].W)
        assert [e.t for e in one.history_] == [e.t for e in fits[0].history_]


def test_no_row_is_both_fitted_and_held_for_validation(monkeypatch):
    """Whole-number weights repeat no row before the split."""
    seen = {}

    def fit(layers, X, *model, **options):
        seen.update(X=X, **options)
        return fit_layers(layers, X, *model, **options)

    fit_layers = flow_module.fit_layers
    monkeypatch.setattr(flow_module, "fit_layers", fit)
    X = np.random.default_rng(0).standard_normal((300, 3))
    flow = small_flow(**FEW, validation_fraction=0.2)
    flow.fit(X, sample_weight=np.full(300, 3))
    both = {tuple(row) for row in seen["X"]} & {tuple(row) for row in seen["X_val"]}
    assert (len(seen["X"]), len(seen["X_val"]), both) == (240, 60, set())


def test_validation_is_weighted():
    """Rows of weight 0 that lie far away choose nothing: as if they were not there."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 3))
    X[::5] += 1000
    weights = np.ones(400)
    weights[::5] = 0
    flow = small_flow(**FEW, validation_fraction=0.25).fit(X, sample_weight=weights)
    assert all(-6 < e.validation < -3 for e in flow.history_)


@pytest.mark.parametrize(("dtype", "size", "value"), [("f4", 1e-3, 9.96921e36), ("f8", 1.0, 1e300)])
def test_a_row_too_far_out_to_be_computed_has_density_zero(dtype, size, value):
    """-inf, never NaN: an anomaly must be below any threshold. NaN itself stays refused."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((2000, 3)) * size).astype(dtype)
    flow = small_flow(**FEW).fit(X)
    for column in range(3):
        far = X[:3].copy()
        far[1, column] = value
        with np.errstate(all="ignore"):
            scores = flow.score_samples(far)
        assert np.isfinite(scores[[0, 2]]).all()
        assert scores[1] < -1e30
        assert not np.isnan(scores).any()


def test_ica():
    """One layer, super-Gaussian density: the sources come back, whatever the mixing's condition."""
    rng = np.random.default_rng(0)
    S = rng.laplace(size=(4000, 3))
    A = rng.standard_normal((3, 3)) * np.array([1.0, 1e3, 1e-3])
    flow = small_flow(n_layers=1, density="sech", epochs=30, random_state=0)
    found = flow.fit(S @ A.T + 5.0).transform(S @ A.T + 5.0)
    C = np.abs(np.corrcoef(found.T, S.T)[:3, 3:])
    assert sorted(C.argmax(axis=1)) == [0, 1, 2]
    assert C.max(axis=1).min() > 0.99
    np.testing.assert_allclose(flow.components_ @ flow.mixing_, np.eye(3), atol=1e-9)
    np.testing.assert_allclose((S @ A.T + 5.0 - flow.mean_) @ flow.components_.T, found, atol=1e-9)
    P = np.abs(flow.components_ @ A)  # a scaled permutation
    assert (np.sort(P / P.max(axis=1, keepdims=True), axis=1)[:, :-1] < 0.1).all()
    with pytest.raises(AttributeError, match="n_layers=1"):
        _ = small_flow(n_layers=2, **FEW).fit(S).components_


def test_samples(X):
    flow = small_flow(**FEW).fit(X)
    drawn = flow.sample(5000, random_state=1)
    np.testing.assert_array_equal(drawn, flow.sample(5000, random_state=1))
    assert np.abs(drawn.mean(axis=0) - X.mean(axis=0)).max() < 0.5 * X.std()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_layers": 0}, "`n_layers` must be a positive integer"),
        ({"activation": "relu"}, "unknown activation 'relu'"),
        ({"density": "cauchy"}, "unknown density 'cauchy'"),
        ({"activation": "softplus"}, "not onto R"),
        ({"rule": "sgd"}, "unknown rule 'sgd'"),
        ({"init": "random"}, "unknown init 'random'"),
        ({"validation_fraction": 1.5}, "`validation_fraction`"),
        ({"epochs": 0}, "`epochs`"),
        ({"batch_size": 2.5}, "`batch_size`"),
        ({"patience": 3}, "`patience` needs `validation_fraction`"),
        ({"learning_rate": -1.0}, "`learning_rate`"),
    ],
)
def test_bad_parameters(X, params, message):
    with pytest.raises(ValueError, match=message):
        small_flow(**params).fit(X)


def test_bad_data(X):
    with pytest.raises(ValueError, match=r"column 3 is an affine combination .* \(column 0\)"):
        small_flow(**FEW).fit(np.column_stack([X, X[:, 0]]))
    flow = small_flow(**FEW).fit(X)
    with pytest.raises(ValueError, match="must have shape"):
        flow.inverse_transform(X[:, :2])
    with pytest.raises(ValueError, match="must be finite"):
        flow.inverse_transform(np.full((2, 3), np.nan))
    with pytest.raises(ValueError, match="at least one non-zero"):
        flow.fit(X, sample_weight=np.zeros(len(X)))


LAPLACE = np.random.default_rng(0).laplace(size=(1000, 3))


@pytest.mark.parametrize(
    ("dtype", "units"),
    [
        ("f8", [1e-6, 1, 1e3]), ("f8", [1e160, 1, 1e-160]), ("f8", [1e-100, 1e100, 1]),
        ("f4", [1e-6, 1, 1e3]), ("f4", [1e10, 1e-10, 1]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("options", [{"n_layers": 1, "density": "sech"}, {}, {"init": "principal"}])
def test_a_fit_in_other_units_is_the_same_fit(options, dtype, units):
    """The score differs by sum log|units|, to rounding; the old start called this rank 2 of 3."""
    scores = [
        small_flow(**FEW, **options).fit(X).score(X)
        for X in (LAPLACE.astype(dtype), (LAPLACE * units).astype(dtype))
    ]
    moved = scores[1] + np.log(units).sum()
    assert moved == pytest.approx(scores[0], abs=1e-8 if dtype == "f8" else 1e-3)


def test_a_column_beside_itself_with_noise_is_fitted():
    noise = 3e-8 * np.random.default_rng(1).standard_normal(1000)
    flow = small_flow(**FEW).fit(np.column_stack([LAPLACE, LAPLACE[:, 0] + noise]))
    assert np.isfinite(flow.score(np.column_stack([LAPLACE, LAPLACE[:, 0] + noise])))


@pytest.mark.parametrize("init", ["gaussianize", "principal", "whiten", "orthogonal", "identity"])
def test_every_start_refuses_what_has_no_density(init):
    """Orthogonal layers on 20 rows of 50 columns once reached +791 in training, -1e26 in test."""
    rng, flow = np.random.default_rng(0), small_flow(**FEW, init=init)
    with pytest.raises(
        ValueError, match="`X` has 20 rows and 50 columns: a density needs more rows"
    ):
        flow.fit(rng.standard_normal((20, 50)))
    with pytest.raises(ValueError, match="`X` has the constant column 1: drop it or add noise"):
        flow.fit(LAPLACE * [1, 0, 1])
    with pytest.raises(ValueError, match="3 rows and 3 columns"):
        flow.fit(LAPLACE[:40], sample_weight=np.arange(40) < 3)


def test_the_pixels_that_never_change_are_named():
    from sklearn.datasets import load_digits

    with pytest.raises(ValueError, match="`X` has constant columns 0, 32, 39: drop them or add"):
        small_flow().fit(load_digits().data)


def test_columns_of_a_frame_are_called_by_name():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(LAPLACE, columns=["age", "height", "weight"])
    frame["sum"], frame["one"] = frame["age"] + frame["weight"], 1.0
    message = (
        r"`X` has the constant column 'one', and column 'sum' is an affine combination of the "
        r"others \(columns 'age', 'weight'\): drop them or add noise$"
    )
    with pytest.raises(ValueError, match=message):
        small_flow().fit(frame)


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_fit_that_diverges_keeps_the_best_it_had_and_says_so(X, spoiled, monkeypatch):
    from relgrad_np.fitting import loop

    def diverge(course, *rest):
        start = course.state.layers
        layers = tuple(rg.Layer(W * np.nan, b) for W, b in start) if spoiled else start
        result = rg.FitResult(layers, layers, 1, (), None, "diverged", 1)
        raise rg.FitDivergedError("the move is not finite at step 7", result)

    monkeypatch.setattr(loop, "take_epochs", diverge)
    with pytest.warns(rg.FitWarning, match="the fit diverged: the move is not finite at step 7"):
        flow = small_flow(**FEW).fit(X)
    assert np.isfinite(flow.score(X))


def test_a_fit_without_a_finite_start_raises(X, monkeypatch):
    def diverge(start, rows, *model, **options):
        raise rg.FitDivergedError("no", rg.FitResult(start, start, 0, (), None, "diverged", 1))

    monkeypatch.setattr(flow_module, "fit_layers", diverge)
    flow = small_flow(warm_start=True, **FEW)
    flow._fitted = tuple(rg.Layer(np.eye(3) * np.nan, np.zeros(3)) for _ in range(2))
    with pytest.raises(rg.FitDivergedError):
        flow.fit(X)


# All rows at once


def test_newton_fits_and_goes_on_from_where_it_is(X):
    flow = small_flow(rule="newton", epochs=5, warm_start=True, random_state=0)
    with pytest.warns(ConvergenceWarning, match="5 epochs ran out") as heard:
        first = flow.fit(X).score(X)
    assert len(heard) == 1
    assert flow.n_iter_ == 5
    with pytest.warns(ConvergenceWarning):
        assert flow.fit(X).score(X) > first
    free = small_flow(rule="newton", random_state=0).fit(X)
    assert free.n_iter_ > 10
    assert free.score(X) > flow.score(X)
    assert max(free.xi_) < 0.5


def test_newton_takes_weights_validation_patience_and_tol(X):
    counts = np.random.default_rng(0).integers(0, 3, len(X))
    options = {"rule": "newton", "n_layers": 1, "density": "sech", "init": "orthogonal"}
    few = small_flow(**options, random_state=0).fit(X, sample_weight=counts)
    many = small_flow(**options, random_state=0).fit(np.repeat(X, counts, axis=0))
    np.testing.assert_allclose(few.components_, many.components_, atol=1e-4)
    held = small_flow(rule="newton", validation_fraction=0.3, patience=3, random_state=0).fit(
        X[:60]
    )
    values = [epoch.validation for epoch in held.history_]
    assert held.n_iter_ - (int(np.argmax(values)) + 1) in (3, held.n_iter_ - 1)
    short = small_flow(rule="newton", tol=1e-2, n_iter_no_change=1, random_state=0).fit(X)
    assert short.n_iter_ < small_flow(rule="newton", random_state=0).fit(X).n_iter_


def test_newton_follows_no_stream(X):
    flow = small_flow(rule="newton", n_layers=1, density="sech")
    assert not hasattr(flow, "partial_fit")
    assert hasattr(small_flow(), "partial_fit")
    with pytest.raises(AttributeError) as raised:
        flow.partial_fit(X)
    assert "`partial_fit` needs a rule of minibatches" in str(raised.value.__cause__)
    fitted = flow.fit(X).set_params(rule="plain")
    before = fitted.components_.copy()
    assert np.abs(fitted.partial_fit(X).components_ - before).max() > 0


def test_a_stream_does_not_change_its_depth_silently(X):
    flow = small_flow(random_state=0).partial_fit(X[:100])
    before = flow.layers_
    flow.set_params(n_layers=3)
    with pytest.raises(ValueError, match="`n_layers` is 3, and the layers so far are 2"):
        flow.partial_fit(X[100:])
    assert flow.layers_ is before
    assert len(flow.fit(X).layers_) == 3


@pytest.mark.filterwarnings("error")
def test_a_normal_base_cannot_unmix_and_says_so_once():
    X = np.random.default_rng(0).laplace(size=(300, 2)) @ [[2.0, 1.0], [0.0, 1.0]]
    flow = small_flow(n_layers=1, rule="newton", random_state=0).fit(X)
    message = "a normal base cannot unmix.*relgrad_np.estimator.RelativeICA, or density='sech'"
    with pytest.warns(UserWarning, match=message) as heard:
        W, A = flow.components_, flow.mixing_
    assert len(heard) == 1
    assert heard[0].filename == __file__
    assert "\n" not in str(heard[0].message)
    np.testing.assert_allclose(W @ A, np.eye(2), atol=1e-9)
    again = flow.fit(X)
    with pytest.warns(UserWarning, match="`mixing_` only whitens"):
        _ = again.mixing_
    _ = again.mean_
    _ = small_flow(n_layers=1, density="sech", rule="newton").fit(X).components_


def test_too_few_rows_to_hold_any_have_their_gaussian():
    X = np.random.default_rng(3).standard_normal((30, 4)) + 9
    made = RelativeGradientFlow(random_state=0).fit(X)
    assert made.settings_.words.startswith("D = 4, N = 30: 1 layer by the recipe")
    assert abs(made.score(X) - gaussian_log_likelihood(X)) < 0.01
    assert len(RelativeGradientFlow(2, random_state=0).fit(X).layers_) == 2


def test_where_the_gaussian_is_better_on_validation_rows_it_is_what_the_rows_choose():
    """In one epoch a net of many layers is far from rows that are a Gaussian's."""
    X = np.random.default_rng(0).standard_normal((1000, 3)) @ np.diag([1.0, 5.0, 0.1]) + 9
    made = RelativeGradientFlow(epochs=1, random_state=0, implementation="reference").fit(X)
    assert made.settings_.words.startswith("D = 3, N = 800: 1 layer in closed form")
    assert len(made.layers_) == 1
    assert abs(made.score(X) - gaussian_log_likelihood(X)) < 0.02
    asked = RelativeGradientFlow(8, epochs=1, random_state=0, implementation="reference").fit(X)
    assert len(asked.layers_) == 8  # who asks for a depth has it
