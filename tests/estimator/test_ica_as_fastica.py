"""What scikit-learn's tests ask of FastICA, of RelativeICA: its interface, and what it separates."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from relgrad_np.estimator import RelativeICA

FUNS = ["logcosh", "exp", "cube"]
WHITENINGS = ["unit-variance", "arbitrary-variance", False]
DTYPES = ["float64", "float32"]


def correlations(found, S):
    """|correlation| of each source of S (N, m) with the best of those found (N, n), (m,)."""
    n = found.shape[1]
    return np.abs(np.corrcoef(found.T, S.T)[:n, n:]).max(axis=0)


def standard(X):
    return (X - X.mean(axis=0)) / X.std(axis=0)


def uniform(dtype="float64", n=100, D=10, seed=0):
    return np.random.RandomState(seed).random_sample((n, D)).astype(dtype)


def needs_more(estimator):
    """15 rows of 30 columns: each source is a single row, and they are alike but for rounding."""
    return {"check_sample_weight_equivalence_on_dense_data": "needs more rows than columns"}


@parametrize_with_checks(
    [RelativeICA(), RelativeICA(density="extended", whiten="arbitrary-variance")],
    expected_failed_checks=needs_more,
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def square_and_heavy(seed, noise=0.0, dtype="float64"):
    """A square wave and Cauchy draws, turned by 0.6: sources (1000, 2) and mixtures."""
    rng = np.random.RandomState(seed)
    S = np.c_[np.sign(np.sin(np.linspace(0, 100, 1000))), rng.standard_t(1, 1000)]
    S = standard(S).astype(dtype)
    A = np.array([[np.cos(0.6), np.sin(0.6)], [np.sin(0.6), -np.cos(0.6)]], dtype)
    X = S @ A.T
    return S, standard(X + noise * rng.standard_normal(X.shape).astype(dtype)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_sources_are_found(seed, noise, dtype):
    """With "auto": one of the two is sub-Gaussian, and no density of FastICA's names is both's."""
    S, X = square_and_heavy(seed, noise, dtype)
    ica = RelativeICA(random_state=0)
    found = ica.fit_transform(X)
    assert found.dtype == ica.components_.dtype == X.dtype
    assert correlations(found, S).min() > (0.9 if noise else 0.99)
    assert correlations(X, S).min() < 0.9  # nothing is found by leaving X as it is


@pytest.mark.parametrize("whiten", WHITENINGS)
@pytest.mark.parametrize("fun", FUNS)
def test_the_names_of_functions_serve(fun, whiten):
    """Each unmixes its kind of sources, "cube" the sub-Gaussian and the others the super-."""
    rng = np.random.default_rng(0)
    S = rng.uniform(-1, 1, (2000, 2)) if fun == "cube" else rng.laplace(size=(2000, 2))
    X = S @ np.array([[1.0, 2.0], [1.5, 1.0]]).T
    if whiten is False:
        X = FastICA(whiten="unit-variance").fit(X).whitening_ @ (X - X.mean(axis=0)).T
        X = X.T * np.sqrt(len(X[0]))
    assert correlations(RelativeICA(fun=fun, whiten=whiten).fit_transform(X), S).min() > 0.99
    wrong = "logcosh" if fun == "cube" else "cube"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = RelativeICA(fun=wrong, whiten=whiten).fit_transform(X)
    assert correlations(other, S).min() < 0.99


@pytest.mark.parametrize("whiten", WHITENINGS)
def test_a_function_is_refused(whiten):
    """FastICA takes one that returns its derivative as well, and refuses np.tanh."""
    with pytest.raises(
        ValueError, match=r"^`fun` must be a name: .*relgrad_np.Density as `density`$"
    ):
        RelativeICA(fun=np.tanh, whiten=whiten).fit(uniform())
    with pytest.raises(ValueError, match="unknown fun 'relu'; choose from logcosh"):
        RelativeICA(fun="relu").fit(uniform())


def few_of_six(seed, noise=0.0):
    """A sine and steps, mixed into six columns."""
    rng, t = np.random.RandomState(seed), np.linspace(0, 100, 1000)
    S = standard(np.c_[np.sin(t), np.ceil(np.sin(np.pi * t))])
    X = S @ rng.standard_normal((6, 2)).T
    return S, X + noise * rng.standard_normal(X.shape)


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("seed", [0, 1])
def test_more_mixtures_than_sources(seed, noise):
    S, X = few_of_six(seed, noise)
    ica = RelativeICA(n_components=2)
    found = ica.fit_transform(X)
    assert ica.components_.shape == ica.whitening_.shape == (2, 6)
    assert ica.mixing_.shape == (6, 2)
    np.testing.assert_allclose(found, (X - ica.mean_) @ ica.components_.T, atol=1e-10)
    assert correlations(found, S).min() > (0.99 if noise else 0.999)


def test_iterations_that_run_out_are_told():
    _, X = few_of_six(0)
    with pytest.warns(ConvergenceWarning, match=r"did not converge: 1 iterations ran out before"):
        few = RelativeICA(n_components=2, max_iter=1, tol=1e-14).fit(X)
    assert not few.converged_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enough = RelativeICA(n_components=2).fit(X)
    assert enough.converged_


def test_n_components_without_whitening_is_ignored_with_a_warning():
    X = uniform(D=3)
    with pytest.warns(UserWarning, match="Ignoring n_components with whiten=False"):
        ica = RelativeICA(n_components=1, whiten=False).fit(X)
    assert ica.mixing_.shape == (3, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RelativeICA(n_components=3, whiten=False, density="quartic").fit(uniform(n=2000, D=3))


@pytest.mark.filterwarnings("ignore:Ignoring n_components with whiten=False")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("whiten", WHITENINGS)
@pytest.mark.parametrize("n", [5, 10, None])
def test_shapes_and_round_trips(n, whiten, dtype):
    X = uniform(dtype)
    ica = RelativeICA(n, whiten=whiten, random_state=0)
    S = ica.fit_transform(X)
    kept = 10 if whiten is False or n is None else n
    assert S.shape == (100, kept)
    assert ica.components_.shape == (kept, 10)
    assert ica.mixing_.shape == (10, kept)
    assert ica.mean_.shape == (10,)
    again = ica.inverse_transform(S)
    assert again.shape == X.shape
    close = 1e-9 if dtype == "float64" else 1e-3
    if kept == 10:
        assert np.abs(again - X).max() < close
    else:
        assert np.abs(again - X).max() > 0.1
        np.testing.assert_allclose(ica.transform(again), S, atol=close)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("whiten", "n"), [("unit-variance", 5), (False, None)])
def test_fit_transform_is_fit_and_transform(whiten, n, dtype):
    X = uniform(dtype)
    one = RelativeICA(n, whiten=whiten).fit_transform(X)
    other = RelativeICA(n, whiten=whiten).fit(X).transform(X)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_array_has_the_dtype_of_the_data(dtype):
    ica = RelativeICA(5).fit(uniform(dtype))
    for name in ("components_", "mixing_", "mean_", "whitening_"):
        assert getattr(ica, name).dtype == dtype, name
    assert ica.transform(uniform(dtype)).dtype == dtype
    assert ica.inverse_transform(ica.transform(uniform(dtype))).dtype == dtype


def test_sources_have_unit_variance_if_asked_for():
    X = uniform()
    S = RelativeICA(whiten="unit-variance").fit_transform(X)
    np.testing.assert_allclose(S.var(axis=0), 1, rtol=1e-9)
    arbitrary = RelativeICA(whiten="arbitrary-variance").fit_transform(X)
    assert np.abs(arbitrary.var(axis=0) - 1).max() > 0.01
    np.testing.assert_allclose(standard(arbitrary), standard(S), atol=1e-9)


@pytest.mark.parametrize("whiten", [True, "zca", 1, None])
def test_another_whitening_is_refused(whiten):
    with pytest.raises(ValueError, match=r"unknown whiten .*; choose from unit-variance"):
        RelativeICA(whiten=whiten).fit(uniform())


def test_a_first_unmixing_of_another_shape_is_refused():
    X = uniform(D=3)
    for shape in ((4, 4), (3,), (2, 3)):
        with pytest.raises(ValueError, match=r"`w_init` has invalid shape .*\(3, 3\)"):
            RelativeICA(w_init=np.ones(shape)).fit(X)
    for bad in (1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="`w_init` must be finite and invertible"):
            RelativeICA(w_init=bad * np.ones((3, 3))).fit(X)


def test_more_components_than_columns_are_cut_with_a_warning():
    with pytest.warns(UserWarning, match="n_components is too large: it will be set to 3"):
        ica = RelativeICA(4).fit(uniform(D=3))
    assert ica.components_.shape == (3, 3)


def test_a_seed_makes_it_reproducible():
    X = uniform()
    one, other = (RelativeICA(n_init=3, random_state=7).fit(X).components_ for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_names_and_frames():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(uniform(D=3), columns=["a", "b", "c"], index=range(7, 107))
    ica = RelativeICA(2).set_output(transform="pandas")
    S = ica.fit_transform(frame)
    assert list(ica.get_feature_names_out()) == ["relativeica0", "relativeica1"] == list(S.columns)
    assert list(S.index) == list(frame.index)
    assert list(ica.feature_names_in_) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names"):
        ica.transform(frame[["b", "a", "c"]])


@pytest.mark.parametrize("whiten", WHITENINGS)
def test_data_stay_as_they_were_and_their_order_in_memory_does_not_matter(whiten):
    X = uniform()
    before, ica = X.copy(), RelativeICA(whiten=whiten)
    S = ica.fit(X).transform(X)
    ica.inverse_transform(S)
    ica.score_samples(X)
    np.testing.assert_array_equal(X, before)
    X.setflags(write=False)
    np.testing.assert_array_equal(clone(ica).fit(X).transform(X), S)
    other = clone(ica).fit(np.asfortranarray(X)).transform(np.asfortranarray(X))
    np.testing.assert_allclose(other, S, atol=1e-8)


def test_it_unmixes_what_fastica_unmixes():
    """The same sources, and the same two-sided contract, from FastICA's own call."""
    rng = np.random.default_rng(0)
    S = rng.laplace(size=(5000, 4))
    X = S @ rng.standard_normal((4, 4)).T + 3
    mine = RelativeICA(fun="logcosh", n_components=4, whiten="unit-variance", random_state=0)
    peer = FastICA(fun="logcosh", n_components=4, whiten="unit-variance", random_state=0)
    found, theirs = mine.fit_transform(X), peer.fit_transform(X)
    assert correlations(found, theirs).min() > 0.999
    assert correlations(found, S).mean() >= correlations(theirs, S).mean() - 1e-4
    np.testing.assert_allclose(mine.mean_, peer.mean_)
