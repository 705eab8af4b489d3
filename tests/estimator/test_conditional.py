"""`ConditionalFlow`: densities of x given u, within scikit-learn's conventions."""

import pickle
import warnings
from unittest.mock import MagicMock

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    OneHotEncoder,
    PolynomialFeatures,
    SplineTransformer,
    StandardScaler,
)
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.validation import _num_samples

import relgrad_np as rg
from relgrad_np.estimator import (
    ConditionalFlow,
    FlowEnsemble,
    RelativeGradientFlow,
    conditional,
)
from relgrad_np.estimator.chosen import regression_of
from relgrad_np.fitting.automatic import choose_settings
from relgrad_np.fitting.gaussian import regression_unless_worse

FEW = {
    **{"n_layers": 2, "activation": "smooth_leaky_relu", "density": "normal", "rule": "recipe"},
    **{"init": "gaussianize", "batch_size": 100, "epochs": 2, "random_state": 0},
    **{"implementation": "reference", "patience": None, "validation_fraction": None},
}


def flow(features=None, **params):
    return ConditionalFlow(RelativeGradientFlow(**FEW | params), features=features)


@pytest.fixture(scope="module")
def rows():
    """x (300, 2) and u (300, 2): what x is, and how wide it spreads, depends on u."""
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (300, 2)) * [1, 50] + [0, 1000]
    t = (u - [0, 1000]) / [1, 50]
    x = t @ [[2, 1], [-1, 3]] + np.exp(t[:, :1]) * rng.standard_normal((300, 2)) + 5
    return x, u


@pytest.fixture(scope="module")
def fitted(rows):
    return flow().fit(rows[0], context=rows[1])


class WithConstantContext(ConditionalFlow):
    """Given something that is always the same, it is a flow, of which scikit-learn has checks."""

    def fit(self, X, y=None, sample_weight=None):
        context = np.ones((_num_samples(X), 1))
        return super().fit(X, context=context, sample_weight=sample_weight)

    def score_samples(self, X):
        return super().score_samples(X, context=np.ones((1, 1)))

    def transform(self, X):
        return super().transform(X, context=np.ones((1, 1)))

    def fit_transform(self, X, y=None, **how):
        return self.fit(X, y, **how).transform(X)

    @property
    def predict(self):
        raise AttributeError("it takes a context, and the checks give it X")

    def score(self, X, y=None):
        return float(self.score_samples(X).mean())


WORDS = ("param", "clone", "attribute", "dict_", "pickle", "n_features_in", "feature_names")
WORDS += ("sample_weight", "set_output", "doc", "tags", "unfitted", "repr", "mixin", "mutable")
CHECKS = [  # of what is not `inputs.validated`, with which a flow passes the others
    check
    for _, check in estimator_checks_generator(
        WithConstantContext(RelativeGradientFlow(**FEW | {"n_layers": 1, "epochs": 1})),
        legacy=True,
    )
    if any(word in check.func.__name__ for word in WORDS)
    and check.func.__name__ != "check_sample_weight_equivalence_on_dense_data"  # 15 rows of 30
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.func.__name__)
def test_scikit_learns_checks(check):
    check(WithConstantContext(RelativeGradientFlow(**FEW | {"n_layers": 1, "epochs": 1})))


def test_parameters_are_nested_and_cloned(fitted, rows):
    model = ConditionalFlow().set_params(flow__n_layers=3, features=PolynomialFeatures(2))
    assert model.get_params()["flow__n_layers"] == 3
    model.set_params(features__degree=4)
    again = clone(model)
    assert (again.flow.n_layers, again.features.degree) == (3, 4)
    assert again.flow is not model.flow
    assert (
        repr(ConditionalFlow(RelativeGradientFlow(3)))
        == "ConditionalFlow(flow=RelativeGradientFlow(n_layers=3))"
    )
    assert fitted.flow_ is not fitted.flow
    assert not hasattr(fitted.flow, "layers_")
    with pytest.raises(ValueError, match="Invalid parameter 'n_layers'"):
        ConditionalFlow().set_params(n_layers=3)
    with pytest.raises(TypeError, match="`flow` must be a RelativeGradientFlow or None, got Flow"):
        ConditionalFlow(FlowEnsemble()).fit(rows[0], context=rows[1])


@pytest.mark.parametrize("name", ["score_samples", "score", "transform"])
def test_nothing_is_asked_before_a_fit(name, rows):
    with pytest.raises(NotFittedError):
        getattr(ConditionalFlow(), name)(rows[0], context=rows[1])


@pytest.mark.parametrize("name", ["sample", "predict", "quantiles", "grid", "plot_history"])
def test_nothing_is_drawn_before_a_fit(name, rows):
    given = {"quantiles": (0.5, rows[1]), "sample": (1,), "plot_history": ()}.get(name, (rows[1],))
    with pytest.raises(NotFittedError):
        getattr(ConditionalFlow(), name)(*given)


def test_one_layer_is_the_gaussian_linear_regression(rows):
    x, u = rows
    model = flow(n_layers=1).fit(x, context=u)
    line = LinearRegression().fit(u, x)
    E = x - line.predict(u)  # (N, D)
    C = E.T @ E / len(x)
    log_p = (
        -np.einsum("ni,ij,nj->n", E, np.linalg.inv(C), E) / 2
        - np.linalg.slogdet(2 * np.pi * C)[1] / 2
    )
    found = model.score_samples(x, context=u)
    assert np.abs(found - log_p).max() < 1e-9
    assert (
        np.abs(model.score_samples(x, context=u[::-1]) - log_p).max() > 1
    )  # planted: rows mixed up
    drawn = model.predict(u[:5], n_samples=4000)
    assert np.abs(drawn - line.predict(u[:5])).max() < 6 * np.sqrt(C.max() / 4000)
    latent = model.transform(x, context=u)
    assert np.cov(latent.T, bias=True) == pytest.approx(np.eye(2), abs=1e-9)


@pytest.mark.parametrize(
    "features",
    [
        None,
        RBFSampler(n_components=8, random_state=0),
        make_pipeline(StandardScaler(), PolynomialFeatures(2)),  # with a column of ones
        SplineTransformer(4, sparse_output=True),  # of sum one
    ],
    ids=str,
)
def test_a_density_of_x_whatever_the_features(rows, features):
    x, u = rows
    before = repr(features)
    model = flow(features, density="logistic").fit(x[:, :1], context=u)
    grids = model.grid(u[:2])
    step = grids.axes[0][1] - grids.axes[0][0]
    assert grids.log_p.shape == (2, 200)
    assert np.exp(grids.log_p).sum(axis=1) * step == pytest.approx(1, abs=0.01)
    assert repr(features) == before
    assert (
        features is None
        or not hasattr(features, "n_features_in_")
        or model.features_ is not features
    )
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.sample(3, context=u[:4]), model.sample(3, context=u[:4]))
    np.testing.assert_array_equal(
        again.score_samples(x[:, :1], context=u), model.score_samples(x[:, :1], context=u)
    )


def test_features_buy_what_the_context_itself_cannot(rows):
    u = rows[1][:, :1] * 3
    x = np.cos(u) + 0.1 * rows[0][:, :1] / 5
    line, curve = (
        flow(f).fit(x, context=u).score(x, context=u) for f in (None, SplineTransformer(8))
    )
    assert curve > line + 0.5


def test_a_grid_of_two_columns_and_what_is_drawn_agree(fitted, rows):
    u = rows[1][0]
    found = fitted.grid(u, size=120)
    p = np.exp(found.log_p)
    steps = [axis[1] - axis[0] for axis in found.axes]
    assert p.shape == (120, 120)
    assert p.sum() * np.prod(steps) == pytest.approx(1, abs=0.01)
    margin = p.sum(axis=1) / p.sum()
    drawn = fitted.sample(4000, context=[u])[0]
    mean = margin @ found.axes[0]
    assert (
        abs(fitted.predict([u], n_samples=4000)[0, 0] - mean)
        < 5 * drawn[:, 0].std() / np.sqrt(4000) + steps[0]
    )
    at = np.interp(fitted.quantiles(0.25, [u])[0, 0], found.axes[0], margin.cumsum())
    assert at == pytest.approx(0.25, abs=0.04)
    assert fitted.quantiles([0.1, 0.9], rows[1][:3]).shape == (2, 3, 2)
    own = fitted.grid(rows[1][:3], axes=(np.linspace(0, 9, 5), np.linspace(-1, 1, 7)))
    assert own.log_p.shape == (3, 5, 7)
    assert own.log_p[1, 2, 3] == pytest.approx(fitted.score([[4.5, 0.0]], context=rows[1][1:2]))
    with pytest.raises(ValueError, match=r"`axes` must be 2 arrays \(n,\)"):
        fitted.grid(u, axes=np.linspace(0, 1, 5))
    with pytest.raises(ValueError, match="one or two dimensions, and X has 3 columns"):
        flow().fit(np.c_[rows[0], rows[0][:, 0] ** 2], context=rows[1]).grid(u)


@pytest.mark.parametrize("sign", [1, -1])  # of an odd number of the W, and of an even one
def test_quantiles_of_one_column_are_those_of_its_draws(rows, sign, monkeypatch):
    x, u = np.exp(rows[0][:, :1] / 5), rows[1]
    model = flow(support={0: (0, None)}).fit(x, context=u)
    W, b = model.layers_[-1]
    model.flow_._fitted = (*model.layers_[:-1], rg.Layer(sign * W, sign * b))
    drawn = model.sample(8000, context=u[:3])[..., 0]  # (3, 8000)
    monkeypatch.setattr(conditional, "NUMBERS", 8)  # several parts
    found = model.quantiles([0.1, 0.8], u[:3])
    below = (drawn < found).mean(axis=2)  # (2, 3)
    np.testing.assert_allclose(below, [[0.1] * 3, [0.8] * 3], atol=0.03)
    assert model.quantiles(0.1, u[:3]).tolist() == found[0].tolist()
    assert model.quantiles([], u[:3]).shape == (0, 3, 1)


def test_draws_are_each_given_their_own_row_and_come_again(fitted, rows, monkeypatch):
    _, u = rows
    far = np.array([[-1.0, 950.0], [1.0, 1050.0]])
    drawn = fitted.sample(500, context=far)
    assert drawn.shape == (2, 500, 2)
    assert abs(drawn[0].mean(0) - drawn[1].mean(0)).min() > 1
    np.testing.assert_array_equal(fitted.sample(500, context=far), drawn)  # the flow's own seed
    np.testing.assert_array_equal(
        fitted.predict(u[:2], random_state=3),
        fitted.sample(1000, context=u[:2], random_state=3).mean(1),
    )
    assert (fitted.sample(500, context=far, random_state=3) != drawn).all()
    monkeypatch.setattr("relgrad_np.estimator.conditional.NUMBERS", 600)
    parts = fitted.sample(500, context=far)  # by parts, and of no other distribution
    assert parts.shape == drawn.shape
    assert abs(parts.mean(1) - drawn.mean(1)).max() < 6 * drawn.std() / np.sqrt(500)
    assert fitted.predict(far, n_samples=500).shape == (2, 2)
    with pytest.raises(ValueError, match="`n_samples` must be a positive integer, got 0"):
        fitted.sample(0, context=far)


def bad(u, kind):
    worse = u.copy()
    worse[7, 1] = np.nan if kind == "nan" else np.inf
    return {
        "nan": worse,
        "inf": worse,
        "none": None,
        "rows": u[:9],
        "columns": u[:, :1],
        "flat": u[:, 0],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "Input context contains NaN"), ("inf", "Input context contains infinity"),
        ("none", "`context=` is needed"), ("rows", "`context` must have a row for each of `X`, 300, got 9"),
        ("columns", "`context` must have 2 columns, got 1"), ("flat", "Expected 2D array"),
    ],
)  # fmt: skip
def test_contexts_that_are_refused(fitted, rows, kind, message):
    x, u = rows
    if kind != "columns":
        with pytest.raises(ValueError, match=message):
            flow().fit(x, context=bad(u, kind))
    with pytest.raises(ValueError, match=message):
        fitted.score_samples(x, context=bad(u, kind))


def test_few_rows_and_features_that_are_not_finite_are_refused(rows):
    x, u = rows
    with pytest.raises(
        ValueError, match="`X` has 10 rows to fit, 2 columns, and 14 features of its"
    ):
        flow(PolynomialFeatures(4, include_bias=False)).fit(x[:10], context=u[:10])
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match="finite numbers of `context`, got inf"),
    ):
        flow(PolynomialFeatures(2)).fit(x, context=u * 1e200)


def test_one_row_of_context_serves_for_all_and_a_constant_one_says_nothing(fitted, rows):
    x, u = rows
    np.testing.assert_array_equal(
        fitted.score_samples(x, context=u[:1]),
        fitted.score_samples(x, context=np.repeat(u[:1], 300, axis=0)),
    )
    plain = RelativeGradientFlow(**FEW).fit(x)
    for constant in (0.1, 1e9):
        model = flow().fit(x, context=np.full((300, 1), constant))
        np.testing.assert_allclose(
            model.score_samples(x, context=[[3.0]]), plain.score_samples(x), rtol=1e-9
        )


def test_tables_go_by_name(rows):
    pd = pytest.importorskip("pandas")
    x, u = (
        pd.DataFrame(rows[0], columns=["p", "q"]),
        pd.DataFrame(rows[1], columns=["hour", "load"]),
    )
    model = flow(support={"p": (-50, None)}).fit(x, context=u)
    assert list(model.feature_names_in_) == ["p", "q"]
    assert model.context_names_in_ == ("hour", "load")
    expected = model.score_samples(x, context=u)
    np.testing.assert_array_equal(model.score_samples(x, context=rows[1]), expected)  # by position
    for other, words in (
        (u[["load", "hour"]], "in this order"),
        (u.set_axis(["a", "b"], axis=1), "of these"),
    ):
        with pytest.raises(
            ValueError, match=f"`context` must have columns {words}.*: hour, load; got"
        ):
            model.score_samples(x, context=other)
    with pytest.raises(ValueError, match="must have 2 columns: hour, load, got 1"):
        model.sample(1, context=u[["hour"]])
    with pytest.raises(ValueError, match="feature names"):
        model.score_samples(x[["q", "p"]], context=u)
    named = u.assign(day=pd.Categorical(["sun", "mon", "mon"] * 100))
    with pytest.raises(
        ValueError, match=r"`context` must hold numbers, but not so .*'day' \(category\): .*encode"
    ):
        flow().fit(x, context=named)
    gaps = u.mask(u["hour"] > 0.9)
    with pytest.raises(
        ValueError, match="Input context contains NaN, missing values by column: 'hour'"
    ):
        flow().fit(x, context=gaps)
    encoded = flow(OneHotEncoder(handle_unknown="ignore")).fit(
        x, context=named[["day"]]
    )  # sparse, not of full rank
    assert encoded.sample(2, context=pd.DataFrame({"day": ["sun", "?"]})).shape == (2, 2, 2)
    pl = pytest.importorskip("polars")
    found = model.score_samples(pl.from_pandas(x), context=pl.from_pandas(u))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_weights_are_repeated_rows(rows):
    x, u = rows
    weights = np.random.default_rng(1).integers(0, 3, 300)
    often = np.repeat(np.arange(300), weights)
    how = {"n_layers": 1, "batch_size": None, "epochs": 15}
    one = flow(**how).fit(x, context=u, sample_weight=weights)
    other = flow(**how).fit(x[often], context=u[often])
    expected = other.score(x[often], context=u[often])
    assert one.score(x, context=u, sample_weight=weights) == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(one._features.mean, other._features.mean, rtol=1e-12)
    without = flow(**how).fit(x, context=u)
    assert without.score(x[often], context=u[often]) < expected - 1e-3


def test_metadata_is_routed(rows):
    x, u = rows
    with sklearn.config_context(enable_metadata_routing=True):
        asks = (
            flow(epochs=1)
            .set_fit_request(context=True, sample_weight=True)
            .set_score_request(context=True, sample_weight=True)
        )
        params = {"context": u, "sample_weight": np.ones(300)}
        scores = cross_val_score(asks, x, params=params, cv=2)
        one, other = np.arange(150), np.arange(150, 300)
        by_hand = [
            flow(epochs=1).fit(x[a], context=u[a]).score(x[b], context=u[b])
            for a, b in ((other, one), (one, other))
        ]
        assert scores == pytest.approx(by_hand)
        search = GridSearchCV(asks, {"flow__n_layers": [1]}, cv=2, error_score="raise").fit(
            x, **params
        )
        assert search.best_params_["flow__n_layers"] == 1
        assert search.score(x, context=u) == pytest.approx(
            search.best_estimator_.score(x, context=u)
        )
        pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), asks).fit(
            x, **params
        )
        width = np.log(x.std(axis=0)).sum()  # the scaler's x has other units
        alone = flow(epochs=1).fit(x, context=u).score(x, context=u)
        assert pipe.score(x, context=u) == pytest.approx(alone + width)
        with pytest.raises(ValueError, match="context"):
            cross_val_score(flow(), x, params={"context": u}, cv=2)


def test_bounds_of_x_are_exact(rows):
    x, u = np.exp(rows[0][:, :1] / 4), rows[1]
    model = flow(support={0: (0, None)}).fit(x, context=u)
    logs = flow().fit(np.log(x), context=u)
    expected = logs.score_samples(np.log(x), context=u) - np.log(x[:, 0])
    np.testing.assert_allclose(model.score_samples(x, context=u), expected, rtol=1e-9)
    assert (model.sample(50, context=u) > 0).all()
    found = model.grid(u[0], axes=[np.array([-1.0, 0.0, 1.0])])
    assert np.isneginf(found.log_p).tolist() == [True, True, False]
    with pytest.raises(ValueError, match="on or beyond the bounds"):
        model.score_samples(-x, context=u)


def test_a_fit_is_watched_and_stopped_as_that_of_a_flow(rows):
    x, u = rows
    seen = []
    model = flow(epochs=9, validation_fraction=0.2, patience=5)
    model.fit(
        x, context=u, callbacks=[lambda epoch, state: seen.append(epoch.train) or len(seen) == 3]
    )
    assert [entry.train for entry in model.history_] == seen
    assert (model.n_iter_, model.stop_reason_, len(model.xi_)) == (3, "callback", 2)
    assert model.history_[-1].validation is not None
    assert model.layers_[0].b.shape == (2, 3)
    axes = MagicMock()
    assert model.plot_history(axes) is axes
    assert axes.plot.call_args_list[0].args[0] == [1, 2, 3]
    single = flow().fit(x.astype("f4"), context=u)
    assert single.sample(2, context=u).dtype == single.transform(x, context=u).dtype == np.float32
    with pytest.raises(ValueError, match="this flow is of a ConditionalFlow"):
        model.flow_.score(x)
    model.flow_.fit(x)  # which has no context then
    assert model.flow_.layers_[0].b.shape == (2,)


def test_a_warm_start_goes_on_with_the_features_that_it_had(rows):
    x, u = rows
    how = {"schedule": "constant", "epochs": 5, "density": "logistic"}
    model = flow(warm_start=True, **how).fit(x, context=u)
    last, mean = model.history_[-1].train, model._features.mean
    model.fit(x, context=u)
    assert model.history_[0].train > last - 0.01
    assert flow(**how).fit(x, context=u).history_[0].train < last - 0.01
    model.fit(x[:200], context=u[:200])
    assert model._features.mean is mean


def test_what_the_rows_choose_counts_the_slopes():
    assert choose_settings(1000, 2, c=20).n_layers < choose_settings(1000, 2).n_layers
    assert choose_settings(1000, 2, c=20).words.startswith("D = 2, c = 20, N = 1,000: ")
    rng = np.random.default_rng(0)
    u = rng.standard_normal((60, 3))
    x = u[:, :1] + rng.standard_normal((60, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = ConditionalFlow(
            RelativeGradientFlow(epochs=1, random_state=0, implementation="reference")
        ).fit(x, context=u)
    assert model.settings_ == regression_of(choose_settings(48, 1, c=3, epochs=1))  # x is linear


def test_a_flow_gives_way_to_a_regression_unless_it_is_better_on_validation_rows():
    rng = np.random.default_rng(0)
    u, heavy = rng.standard_normal((2, 2000, 1)), rng.laplace(size=(2, 2000, 1))
    for x, base, kept in ((heavy, "laplace", False), (heavy, "logistic", True)):
        rows, held = np.concatenate([x + 2 * u, u], axis=2)
        layers = (rg.Layer(np.eye(1), np.array([[-2.0, 0.0]])),)
        if kept:  # a flow that forgets the context
            layers = (rg.Layer(np.eye(1), np.zeros((1, 2))),)
        made = regression_unless_worse(
            layers, rg.activation("identity"), rg.density(base), rows, held, 1
        )
        assert (made is not None) == kept


def test_a_grid_has_points():
    rng = np.random.default_rng(0)
    x, u = rng.standard_normal((2, 50, 1))
    model = ConditionalFlow(RelativeGradientFlow(1, rule="recipe", epochs=1)).fit(x, context=u)
    with pytest.raises(ValueError, match="`size` must be"):
        model.grid(u[0], size=0)
