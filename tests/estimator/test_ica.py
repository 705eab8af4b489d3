"""Laws of RelativeICA: equivariance, weights, rank, likelihood, order and sign, streams."""

import pickle
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from sklearn.base import clone

import relgrad_np as rg
from relgrad_np.estimator import RelativeICA
from relgrad_np.fitting.ica import sources

MIXING = np.array([[1.0, 1.0, 1.0], [0.5, 2.0, 1.0], [1.5, 1.0, 2.0]])


def mixed(seed=0, N=2000):
    """Sources (N, 4), two super- and two sub-Gaussian, one of each skewed; and a mixing (4, 4)."""
    rng = np.random.default_rng(seed)
    S = np.c_[rng.laplace(size=N), rng.gamma(2.0, size=N), rng.uniform(-1, 1, N), rng.beta(1, 2, N)]
    return S, rng.standard_normal((4, 4)) + np.eye(4)


def correlations(found, S):
    """|correlation| of each source of S (N, m) with the best of those found (N, n), (m,)."""
    n = found.shape[1]
    return np.abs(np.corrcoef(found.T, S.T)[:n, n:]).max(axis=0)


def ill_conditioned(D, condition, seed=1):
    rng = np.random.default_rng(seed)
    U, V = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
    return U @ np.diag(np.geomspace(1, 1 / condition, D)) @ V


@pytest.mark.parametrize("density", ["auto", "extended", "sech"])
@pytest.mark.parametrize("condition", [10, 1e10])
def test_nothing_depends_on_the_mixing(density, condition):
    """Sources, order, sign, iterations. Allowed: what X M' itself has lost, its condition times eps."""
    S, A = mixed()
    X = S[:, :2] @ A[:2, :2] if density == "sech" else S @ A.T
    M = ill_conditioned(X.shape[1], condition)
    one, other = RelativeICA(density=density).fit(X), RelativeICA(density=density).fit(X @ M.T)
    assert abs(one.n_iter_ - other.n_iter_) <= 1  # the first stages round in float32
    assert one.densities_ == other.densities_
    close = 1e-6 + 16 * np.finfo(float).eps * condition
    np.testing.assert_allclose(other.transform(X @ M.T), one.transform(X), rtol=0, atol=close)


def test_iterates_do_not_depend_on_the_mixing_either():
    """Planted: a start that is not turned with the data, the identity, goes another way."""
    S, A = mixed()
    X, M = S @ A.T, ill_conditioned(4, 100.0)
    gaps = []
    for start in (None, np.eye(4)):
        options = {"density": "extended", "max_iter": 2, "w_init": start}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one, other = (RelativeICA(**options).fit_transform(x) for x in (X, X @ M.T))
        gaps.append(np.abs(one - other).max())
    assert gaps[0] < 1e-4  # of rounding in float32
    assert gaps[1] > 1e-2


def test_weights_are_repeated_rows_and_a_weight_of_0_is_none():
    S, A = mixed(N=1500)
    X, w = S @ A.T, np.random.default_rng(1).integers(0, 4, 1500)
    for density in ("auto", "extended"):
        weighted = RelativeICA(density=density).fit(X, sample_weight=w)
        repeated = RelativeICA(density=density).fit(np.repeat(X, w, axis=0))
        np.testing.assert_allclose(weighted.transform(X), repeated.transform(X), atol=1e-5)
        assert weighted.log_likelihood_ == pytest.approx(repeated.log_likelihood_, abs=1e-6)
        scaled = RelativeICA(density=density).fit(X, sample_weight=w / 7)
        np.testing.assert_allclose(scaled.transform(X), weighted.transform(X), atol=1e-5)
    zero = RelativeICA().fit(X, sample_weight=(w > 0).astype(float))
    np.testing.assert_allclose(
        zero.transform(X), RelativeICA().fit(X[w > 0]).transform(X), atol=1e-5
    )
    plain = RelativeICA().fit(X)
    assert np.abs(weighted.transform(X) - plain.transform(X)).max() > 1e-2
    with pytest.raises(ValueError, match="Negative values in data passed to `sample_weight`"):
        RelativeICA().fit(X, sample_weight=-w)
    with pytest.raises(ValueError, match="at least one non-zero"):
        RelativeICA().fit(X, sample_weight=0 * w)


def test_data_without_full_rank_are_reduced_with_a_warning():
    """Average-referenced channels: the sum of the columns is 0."""
    S, _ = mixed(N=4000)
    X = S[:, :3] @ np.random.default_rng(2).standard_normal((6, 3)).T
    X = np.c_[X, S[:, 3] + X[:, 0]]
    X -= X.mean(axis=1, keepdims=True)
    with pytest.warns(rg.FitWarning, match=r"`X` has rank 4 of 7 columns: 3 of 7 components are"):
        ica = RelativeICA().fit(X)
    assert ica.components_.shape == (4, 7)
    assert correlations(ica.transform(X), S).min() > 0.99
    np.testing.assert_allclose(ica.inverse_transform(ica.transform(X)), X, atol=1e-8)
    assert np.isfinite(ica.score_samples(X)).all()
    with pytest.warns(
        rg.FitWarning, match=r"\(constant: column 1\): 1 of 3 components is left out"
    ):
        RelativeICA().fit(np.c_[X[:, 0], np.ones(len(X)), X[:, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        RelativeICA(4).fit(X)


def test_fewer_components_than_channels_find_the_large_sources():
    S, _ = mixed(N=4000)
    rng = np.random.default_rng(2)
    X = S @ rng.standard_normal((10, 4)).T + 0.01 * rng.standard_normal((4000, 10))
    ica = RelativeICA(4).fit(X)
    assert correlations(ica.transform(X), S).min() > 0.99
    assert ica.diagnostics_["explained_variance"].sum() == pytest.approx(1, abs=0.02)
    assert correlations(RelativeICA(3).fit_transform(X), S).min() < 0.9  # one direction is missing


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_two_gaussian_sources_are_named_and_one_is_not(n):
    S, _ = mixed(N=3000)
    rng = np.random.default_rng(5)
    S = np.c_[S, rng.standard_normal((3000, n))]
    A = rng.standard_normal((4 + n, 4 + n))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ica = RelativeICA().fit(S @ A.T)
    told = [str(w.message) for w in told if issubclass(w.category, rg.FitWarning)]
    gaussian = np.flatnonzero(np.abs(ica.components_ @ A * S.std(axis=0)).argmax(axis=1) >= 4)
    if n < 2:
        assert told == []
    else:
        named = f"components {', '.join(map(str, gaussian))} cannot be told from mixtures"
        assert len(told) == 1
        assert told[0].startswith(named)
    p = ica.diagnostics_["gaussian_p"]
    assert (p[gaussian] > 1e-3).all()
    assert (np.delete(p, gaussian) < 1e-3).all()


def test_order_and_sign_follow_the_stated_rule():
    S, A = mixed()
    X = S @ A.T
    ica = RelativeICA(density="extended", whiten="arbitrary-variance").fit(X)
    Y = ica.transform(X)
    assert (np.mean(Y**3, axis=0) >= 0).all()
    nats = []
    for name, y, mean in zip(ica.densities_, Y.T, _locations(ica), strict=True):
        log_p = rg.density(name).log_prob(y + mean)
        nats.append(log_p.mean() + 0.5 * np.log(2 * np.pi * np.e * y.var()))
    assert (np.diff(nats) < 0).all()
    unit = RelativeICA(density="extended").fit(X)
    np.testing.assert_allclose(unit.transform(X), Y / Y.std(axis=0), atol=1e-8)


def _locations(ica):
    """Where the densities are in centred sources, (n,): density-side signs are those of `_solution`."""
    b = ica._solution.b[ica._order]
    A = ica._solution.A[ica._order]
    return b * np.sign(np.sum(A * ica.components_, axis=1))


@pytest.mark.parametrize("n", [2, 4])
def test_the_score_is_the_sum_of_log_densities_and_log_det(n):
    """With discarded directions: a Gaussian of theirs; the determinant is that of a dense matrix."""
    S, A = mixed()
    X = S @ A.T + 3
    ica = RelativeICA(n, density="sech", whiten="arbitrary-variance").fit(X)
    Y = ica.transform(X) + _locations(ica)
    log_p = rg.density("sech").log_prob(Y).sum(axis=1)
    V, variance = np.empty((0, 4)), np.empty(0)
    if n < 4:
        variance, V = np.linalg.eigh(np.cov(X.T, bias=True))
        variance, V = variance[: 4 - n], V.T[: 4 - n]
    T = (X - X.mean(axis=0)) @ V.T / np.sqrt(variance)
    log_p += (-0.5 * T**2 - 0.5 * np.log(2 * np.pi)).sum(axis=1)
    dense = np.concatenate([ica.components_, V / np.sqrt(variance)[:, None]])
    truth = log_p + np.linalg.slogdet(dense)[1]
    np.testing.assert_allclose(ica.score_samples(X), truth, rtol=1e-9, atol=1e-9)
    assert ica.score(X) == pytest.approx(truth.mean())
    assert ica.log_likelihood_ == pytest.approx(truth.mean())
    wrong = log_p - np.linalg.slogdet(dense)[1]
    assert np.abs(ica.score_samples(X) - wrong).max() > 0.1


@pytest.mark.parametrize("density", ["auto", "extended", "laplace"])
def test_the_score_is_a_density(density):
    """Its integral over a plane is 1: no constant is missing."""
    rng = np.random.default_rng(0)
    X = rng.laplace(size=(2000, 2)) @ np.array([[1.0, 0.3], [0.0, 0.5]])
    ica = RelativeICA(density=density).fit(X)
    grid = np.arange(-30, 30, 0.05)
    points = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    assert np.exp(ica.score_samples(points)).sum() * 0.05**2 == pytest.approx(1, abs=2e-3)


def test_the_example_of_blind_source_separation():
    """scikit-learn's: a sine, a square and a sawtooth, with noise."""
    from scipy import signal

    t, rng = np.linspace(0, 8, 2000), np.random.RandomState(0)
    S = np.c_[np.sin(2 * t), np.sign(np.sin(3 * t)), signal.sawtooth(2 * np.pi * t)]
    S += 0.2 * rng.normal(size=S.shape)
    X = S / S.std(axis=0) @ MIXING.T
    assert correlations(RelativeICA(density="auto").fit_transform(X), S).min() > 0.99
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert correlations(RelativeICA(density="sech").fit_transform(X), S).min() < 0.9


def test_uniform_sources():
    U = np.random.default_rng(0).uniform(-1, 1, (3000, 3))
    for density in ("auto", "extended", "quartic"):
        found = RelativeICA(density=density).fit_transform(U @ MIXING.T)
        assert correlations(found, U).min() > 0.999
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert correlations(RelativeICA(density="sech").fit_transform(U @ MIXING.T), U).min() < 0.9


@pytest.mark.parametrize("density", ["auto", "extended", "student_t"])
def test_clone_and_pickle(density):
    S, A = mixed()
    X = S @ A.T
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ica = RelativeICA(density=density, random_state=0).fit(X)
        again = clone(ica).fit(X)
    assert again.get_params() == ica.get_params()
    np.testing.assert_array_equal(again.components_, ica.components_)
    other = pickle.loads(pickle.dumps(ica))
    np.testing.assert_array_equal(other.score_samples(X), ica.score_samples(X))
    for one in (ica, other):
        one.partial_fit(X[:500])
    np.testing.assert_array_equal(other.components_, ica.components_)


def _with(value):
    X = np.random.default_rng(0).standard_normal((50, 3))
    X[4, 1] = value
    return X


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (_with(np.nan), r"Input X contains NaN"),
        (_with(np.inf), r"Input X contains infinity"),
        ([["a", "b"], ["c", "d"]], r"could not convert|dtype='numeric'|Unable to convert"),
        (np.ones((1, 3)), r"minimum of 2 is required"),
        (np.ones((20, 3)), r"`X` has no column that varies"),
        (np.ones(20), r"Expected 2D array"),
        (np.ones((20, 2)) * 1j, r"Complex data not supported"),
    ],
)
def test_bad_data(X, message):
    with pytest.raises(ValueError, match=message):
        RelativeICA().fit(X)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_components": 0}, "`n_components` must be a positive integer"),
        ({"n_components": 1.5}, "`n_components` must be a positive integer"),
        ({"density": "cauchy"}, "unknown density 'cauchy'; choose from auto, extended, sech"),
        ({"density": "normal"}, "unknown density 'normal'"),
        ({"density": rg.density("normal")}, "`density` 'normal' does not tell sources apart"),
        ({"density": rg.density("multivariate_t")}, "does not tell sources apart"),
        ({"tol": 0.0}, "`tol` must be positive"),
        ({"max_iter": 0}, "`max_iter` must be a positive integer"),
        ({"n_init": 0}, "`n_init` must be a positive integer"),
        ({"n_bootstraps": -1}, "`n_bootstraps` must be"),
        ({"n_bootstraps": 0.5}, "`n_bootstraps` must be"),
    ],
)
def test_bad_parameters(params, message):
    with pytest.raises(ValueError, match=message) as raised:
        RelativeICA(**params).fit(_with(0.0))
    assert "\n" not in str(raised.value)


def test_what_cannot_be_white_is_refused_by_name():
    X = _with(0.0)
    with pytest.raises(ValueError, match="`X` has the constant column 3: drop it or add noise"):
        RelativeICA(whiten=False).fit(np.c_[X, np.ones(50)])
    ica = RelativeICA().fit(X)
    with pytest.raises(
        ValueError, match=r"`X` must have shape \(N, 3\), the sources', got \(50, 2\)"
    ):
        ica.inverse_transform(X[:, :2])
    with pytest.raises(ValueError, match="`X` must be finite"):
        ica.inverse_transform(_with(np.nan))


def test_stability_names_the_sources_that_a_resample_finds_again():
    """Two Gaussian sources are not; and how many processes there are does not matter."""
    rng = np.random.default_rng(0)
    S = np.c_[rng.laplace(size=(400, 2)), rng.standard_normal((400, 2))]
    A = rng.standard_normal((4, 4))
    options = {"n_bootstraps": 8, "n_init": 2, "random_state": 0}
    one, two = (RelativeICA(n_jobs=n, **options).fit(S @ A.T) for n in (1, 2))
    np.testing.assert_array_equal(one.components_, two.components_)
    np.testing.assert_array_equal(one.diagnostics_["stability"], two.diagnostics_["stability"])
    stability = one.diagnostics_["stability"]
    heavy = np.abs(one.components_ @ A).argmax(axis=1) < 2
    assert stability[heavy].min() > 0.97
    assert stability[~heavy].max() < 0.95
    assert "stability" not in RelativeICA().fit(S @ A.T).diagnostics_


def test_diagnostics():
    S, A = mixed()
    ica = RelativeICA(density="extended").fit(S @ A.T)
    found = ica.diagnostics_
    assert all(value.shape == (4,) for value in found.values())
    assert (found["margin"] > 1).all()
    variance = (ica.mixing_**2).sum(axis=0) / (S @ A.T).var(axis=0).sum()
    np.testing.assert_allclose(found["explained_variance"], variance, rtol=1e-9)
    assert 0.9 < found["explained_variance"].sum() < 1.1


@pytest.mark.parametrize(
    ("dtype", "units"), [("f8", [1e160, 1, 1e-160, 1]), ("f4", [1e6, 1, 1e-6, 1])]
)
def test_other_units_are_the_same_fit(dtype, units):
    S, A = mixed()
    X = (S @ A.T).astype(dtype)
    one, other = (RelativeICA(density="extended").fit(x) for x in (X, (X * units).astype(dtype)))
    close = 1e-6 if dtype == "f8" else 1e-2
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(
            other.transform((X * units).astype(dtype)), one.transform(X), atol=close
        )


# streams


def streamed(ica, X, size):
    for i in range(0, len(X), size):
        ica.partial_fit(X[i : i + size])
    return ica


@pytest.mark.parametrize(
    ("density", "size"),
    [("auto", 1), ("auto", 17), ("auto", 1000), ("extended", 17), ("extended", 1000)],
)
def test_a_stream_is_unmixed(density, size):
    """However it is cut: a stream that is cut finely is no worse."""
    S, A = mixed(N=3000 if size > 1 else 1200)
    ica = streamed(RelativeICA(density=density), S @ A.T, size)
    assert correlations(ica.transform(S @ A.T), S).min() > 0.97
    kind = np.abs(ica.components_ @ A * S.std(axis=0)).argmax(axis=1) < 2
    assert ica.densities_ == ["sech" if heavy else "quartic" for heavy in kind]
    assert ica.n_iter_ > 0
    assert np.isfinite(ica.score(S @ A.T))


def test_before_there_are_rows_enough_a_stream_is_white():
    S, A = mixed()
    ica = RelativeICA().partial_fit((S @ A.T)[:30])
    assert ica.densities_ == ["normal"] * 4
    assert np.isfinite(ica.score(S @ A.T))
    few = ica.partial_fit((S @ A.T)[30:200])
    assert few.n_iter_ == 0
    assert set(few.densities_) == {"sech", "quartic"}
    whole = RelativeICA(density="extended").fit((S @ A.T)[:200])
    np.testing.assert_allclose(few.components_, whole.components_, atol=1e-5)


def test_a_stream_follows_a_mixing_that_moves_and_keeps_its_sources_in_place():
    S, A = mixed(N=9000)
    still = streamed(RelativeICA(density="extended"), S[:1000] @ A.T, 1000)
    ica, plane = pickle.loads(pickle.dumps(still)), np.eye(4)
    place = np.abs(still.components_ @ A * S.std(axis=0)).argmax(axis=1)
    sign = np.sign((still.components_ @ A)[range(4), place])
    for i in range(1000, 9000, 200):
        plane[:2, :2] = rotation(0.02) @ plane[:2, :2]
        ica.partial_fit(S[i : i + 200] @ (A @ plane).T)
    X = S @ (A @ plane).T
    assert correlations(ica.transform(X), S).min() > 0.95
    assert correlations(still.transform(X), S).min() < 0.9
    C = np.corrcoef(ica.transform(X).T, S.T)[:4, 4:]
    assert (np.abs(C).argmax(axis=1) == place).all()
    assert (np.sign(C[range(4), place]) == sign).all()


def test_a_stream_goes_on_from_a_jump_and_keeps_its_sources_in_place():
    """The latest rows are unmixed anew, which alone would put the sources into another order."""
    S, A = mixed(N=6000)
    ica = streamed(RelativeICA(density="extended"), S[:1000] @ A.T, 1000)
    place = np.abs(ica.components_ @ A * S.std(axis=0)).argmax(axis=1)
    turn = np.eye(4)
    turn[:2, :2], turn[2:, 2:] = rotation(0.6), rotation(-0.6)
    S[1000:] *= [1, 1, 3, 3]
    S[1000:] = S[1000:][np.argsort(np.random.default_rng(0).random(5000))]
    X = S[1000:] @ (A @ turn).T
    C = np.corrcoef(streamed(ica, X, 500).transform(X).T, S[1000:].T)[:4, 4:]
    assert np.abs(C).max(axis=1).min() > 0.97
    assert (np.abs(C).argmax(axis=1) == place).all()


def rotation(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("density", ["auto", "sech"])
def test_a_stream_goes_on_from_a_fit(density):
    """A few rows leave it as it is; more move it, a little, and it stays an unmixing."""
    S, A = mixed(N=4000)
    if density == "sech":
        S, A = S[:, :2], A[:2, :2]
    X = S @ A.T
    ica = RelativeICA(density=density).fit(X[:2000])
    fitted = ica.components_.copy()
    ica.partial_fit(X[2000:2005])
    np.testing.assert_array_equal(ica.components_, fitted)
    moved = ica.partial_fit(X[2005:]).components_
    assert 0 < np.abs(moved - fitted).max() < 0.5 * np.abs(fitted).max()
    assert correlations(ica.transform(X), S).min() > 0.98
    assert (np.sum(moved * fitted, axis=1) > 0).all()


def test_a_stream_keeps_all_columns():
    S, A = mixed()
    X = S @ A.T
    for ica in (RelativeICA(2), RelativeICA(2).fit(X)):
        with pytest.raises(
            ValueError, match="`partial_fit` keeps all columns: `n_components` must"
        ):
            ica.partial_fit(X)
    with pytest.raises(ValueError, match="constant column 4"):
        RelativeICA().partial_fit(np.c_[X, np.ones(len(X))])
    assert RelativeICA(4).partial_fit(X).components_.shape == (4, 4)


def test_a_stream_may_take_another_density():
    S, A = mixed()
    S, A = S[:, [0, 2]], A[:2, :2]
    X = S @ A.T
    ica = RelativeICA().partial_fit(X[:10]).set_params(density="laplace")
    assert ica.partial_fit(X[10:1000]).densities_ == ["laplace", "laplace"]
    ica.set_params(density="extended").partial_fit(X[1000:])
    heavy = np.abs(ica.components_ @ A * S.std(axis=0)).argmax(axis=1) == 0
    assert ica.densities_ == ["sech" if x else "quartic" for x in heavy]


def test_a_stream_takes_weights_and_refuses_what_is_not_finite():
    S, A = mixed()
    X = S @ A.T
    ica = RelativeICA().partial_fit(X[:500])
    before = ica.components_.copy()
    with pytest.raises(ValueError, match="NaN"):
        ica.partial_fit(np.full((3, 4), np.nan))
    with pytest.raises(ValueError, match="features"):
        ica.partial_fit(X[:5, :2])
    np.testing.assert_array_equal(ica.components_, before)
    ica.partial_fit(X[500:900], sample_weight=np.r_[np.ones(200), np.zeros(200)])
    other = RelativeICA().partial_fit(X[:500]).partial_fit(X[500:700])
    np.testing.assert_allclose(ica.components_, other.components_, rtol=1e-9)


def test_a_stream_takes_steps_by_weights():
    """Rows of little weight move it less, before and after there are steps."""
    S, A = mixed(N=3000)
    for begun in (300, 1500):
        X, far = S[:begun] @ A.T, S[begun:] @ (A @ np.diag([1.0, 3.0, 1.0, 0.3])).T
        still, moved = [], []
        for weight in (1e-3, 1.0):
            ica = RelativeICA(density="extended", whiten="arbitrary-variance").partial_fit(X)
            start = ica.components_.copy()
            w = np.full(200, weight)
            ica.partial_fit(np.r_[far[:200], X[:200]], sample_weight=np.r_[w, np.ones(200)])
            (moved if weight == 1 else still).append(np.abs(ica.components_ - start).max())
        assert still[0] < 0.8 * moved[0]
    light = RelativeICA(density="extended")
    none, both = clone(light).partial_fit(X[:1000]), clone(light).partial_fit(X)
    light.partial_fit(X, sample_weight=np.repeat([1, 1e-9], [1000, 500]))
    np.testing.assert_allclose(np.abs(last(light)), np.abs(last(none)), atol=1e-4)
    assert np.abs(np.abs(last(both)) - np.abs(last(none))).max() > 1e-2


def last(ica):
    """Where the last step of a stream has led, (D, D); components are an average of such."""
    return ica._following.stream.kept.state.layers[0].W.copy()


def test_weights_of_a_stream_are_relative_to_all_that_have_come():
    S, A = mixed(N=1700)
    steps = []
    for weight in (0.1, 1.0):
        ica = RelativeICA(density="extended").partial_fit(S[:1500] @ A.T)
        start = last(ica)
        ica.partial_fit(S[1500:] @ A.T, sample_weight=np.full(200, weight))
        steps.append(np.abs(last(ica) - start).max())
    assert 0 < steps[0] < 0.3 * steps[1]


def test_a_stream_can_be_pickled_and_goes_on_alike():
    S, A = mixed()
    X = S @ A.T
    ica = RelativeICA().partial_fit(X[:700])
    again = pickle.loads(pickle.dumps(ica))
    for one in (ica, again):
        one.partial_fit(X[700:])
    np.testing.assert_array_equal(again.components_, ica.components_)


def test_float32_streams_stay_float32():
    S, A = mixed()
    ica = RelativeICA().partial_fit((S @ A.T).astype("f4"))
    assert ica.components_.dtype == ica.mixing_.dtype == np.float32


# the parts


def test_the_rotation_is_that_of_the_sources_where_their_kurtoses_differ():
    rng = np.random.default_rng(0)
    S = np.c_[rng.laplace(size=20000), rng.uniform(size=20000), rng.standard_t(9, 20000)]
    S = sources.standardized(S).U
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    found = S @ Q.T @ sources.fourth_order_rotation(S @ Q.T).T
    assert correlations(found, S).min() > 0.98
    assert correlations(S @ Q.T, S).min() < 0.98
