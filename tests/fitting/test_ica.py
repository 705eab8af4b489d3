"""Linear ICA: the densities of sources, the passes over rows, whitening, and the unmixing."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

import relgrad_np as rg
from relgrad_np.fitting.ica import family, unmix, whitening
from relgrad_np.fitting.newton import rows as passes
from relgrad_np.fitting.newton.bases import NORMAL, SECH, Bases, bases_of, statistics
from relgrad_np.fitting.newton.rows import CompiledRows, PlainRows

from .test_newton import amari

DRAWS = {
    "laplace": lambda rng, N: rng.laplace(size=N),
    "uniform": lambda rng, N: rng.uniform(-1, 1, N),
    "levels": lambda rng, N: rng.choice([-1.0, 0.0, 1.0], N),
    "skewed": lambda rng, N: rng.gamma(3, size=N),
    "t2": lambda rng, N: rng.standard_t(2, N),
}


def sources(names, N=3000, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([DRAWS[name](rng, N) for name in names], axis=1)


def mixed(names, N=3000, seed=0):
    S, rng = sources(names, N, seed), np.random.default_rng(seed + 100)
    A = rng.standard_normal((len(names), len(names))) + np.eye(len(names))
    return S @ A.T + rng.normal(size=len(names)), A * S.std(axis=0)


def unmixed(X, density="auto", n_components=None, **options):
    white = whitening.whitening(X, n_components, options.get("weights"))
    return unmix.unmix(X, white, density, **options), white


def distance(found, white, A):
    return amari(found.W @ white.K @ A)


# Densities


def some_bases():
    theta = np.array([SECH, NORMAL, (0.7, 0.4, 1.2, -1.1), (0.0, 3.0, -4.0, 0.2)])
    log_Z = [math.log(quad(lambda y, t=t: np.exp(-statistics(np.array(y)) @ t), -40, 40, limit=500)[0])
             for t in theta]  # fmt: skip
    both = np.concatenate([theta, [SECH]])
    return Bases(np.arange(5) == 4, both, np.array([*log_Z, math.log(math.pi)]))


def outputs(N=200, D=5, seed=1):
    return np.random.default_rng(seed).normal(size=(N, D)) * 1.5


def is_a_density(bases, log_p=None):
    """Each integrates to 1; score and dscore are the derivatives of its logarithm."""
    log_p = log_p or bases.log_p
    D = len(bases.log_Z)
    y = np.linspace(-60, 60, 240_001)
    masses = np.exp(log_p(np.tile(y[:, None], (1, D)))).sum(axis=0) * (y[1] - y[0])
    assert np.abs(masses - 1).max() < 1e-7, f"mass off by {np.abs(masses - 1).max():.2g}"
    Y, h = outputs(), 1e-5
    row, score, dscore = bases(Y)
    np.testing.assert_allclose(row, log_p(Y).sum(axis=1), rtol=1e-12)
    slope = (log_p(Y + h) - log_p(Y - h)) / (2 * h)
    bend = (bases(Y + h)[1] - bases(Y - h)[1]) / (2 * h)
    assert np.abs(slope - score).max() < 1e-7, "slope off"
    assert np.abs(bend - dscore).max() < 1e-6, "curvature off"


def test_bases_are_densities_with_their_score():
    is_a_density(some_bases())


@pytest.mark.parametrize("field", ["theta", "log_Z"])
def test_a_wrong_density_is_rejected(field):
    right = some_bases()
    wrong = right._replace(**{field: getattr(right, field) * 1.01 + 0.01})
    with pytest.raises(AssertionError, match="off"):
        is_a_density(right, wrong.log_p)


def test_bases_are_the_packages_densities():
    Y = outputs(D=2)
    for name in ("sech", "normal", "quartic"):
        of = rg.density(name)
        bases = bases_of(of, 2)
        np.testing.assert_allclose(bases.log_p(Y), of.log_prob(Y), rtol=1e-12)
        np.testing.assert_allclose(bases(Y)[1], of.score(Y), rtol=1e-12, atol=1e-14)
        assert bases.names() == [name] * 2
    assert bases_of(rg.density("laplace"), 2) is None


def stationary(found, means):
    """E_theta S is the mean of S, but for the ridge, which pulls theta to 0."""
    for theta, log_Z, mean in zip(found.theta, found.log_Z, means, strict=True):

        def moment(k, theta=theta, log_Z=log_Z):
            def f(y):
                S = statistics(np.array(y))
                return S[k] * np.exp(-S @ theta - log_Z)

            return quad(f, -30, 30, limit=400, epsabs=1e-11)[0]

        slope = [moment(k) - mean[k] - family.RIDGE * theta[k] for k in range(4)]
        if theta[1] <= family.LEAST:
            slope[1] = max(slope[1], 0.0)  # the bound holds it
        assert np.abs(slope).max() < 1e-4, f"slope {slope}"


NAMES = ["laplace", "uniform", "levels", "skewed"]


def standard(name, N=5000):
    S = sources([name], N)
    return (S - S.mean()) / S.std()


@pytest.mark.parametrize("name", NAMES)
def test_the_most_likely_member_has_the_means_of_the_rows(name):
    means = statistics(standard(name)).mean(axis=0)
    found = family.most_likely(means)
    stationary(found, means)
    with pytest.raises(AssertionError, match="slope"):
        stationary(found._replace(theta=found.theta * 1.05), means)


@pytest.mark.parametrize("name", NAMES)
def test_the_fitted_density_is_likelier_than_the_gaussian_and_sech(name):
    Y = standard(name)
    found = family.most_likely(statistics(Y).mean(axis=0))
    bases = Bases(np.zeros(1, bool), found.theta, found.log_Z)
    value = float(bases.log_p(Y).mean())
    assert value == pytest.approx(float(found.value[0]), rel=1e-9)
    for other in (SECH, NORMAL):
        assert value > Bases.alike("sech" if other == SECH else "normal", 1).log_p(Y).mean() - 1e-4


def test_all_units_are_fitted_as_each_alone():
    means = np.concatenate([statistics(standard(name)).mean(axis=0) for name in NAMES])
    together = family.most_likely(means)
    for i in range(len(NAMES)):
        alone = family.most_likely(means[i : i + 1])
        np.testing.assert_allclose(together.value[i], alone.value[0], atol=1e-7)


# The passes


def both(dtype="float64", N=333, seed=0, bases=None):
    pytest.importorskip("numba")
    bases = bases or some_bases()
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, 5)) @ rng.normal(size=(5, 5))
    X -= X.mean(axis=0)
    C, m = np.eye(5) + 0.3 * rng.normal(size=(5, 5)), rng.normal(size=5)
    compiled = CompiledRows.of(X, np.eye(5), np.zeros(5), bases, dtype)
    return compiled, PlainRows.cut(X.astype(dtype), None, bases), C, m


def agree(one, other, tol):
    for x, y in zip((one.log_p, one.G, one.g, *one.moments),
                    (other.log_p, other.G, other.g, *other.moments), strict=True):  # fmt: skip
        assert np.abs(x - y).max() <= tol * (1 + np.abs(y).max()), "passes differ"


@pytest.mark.parametrize("N", [1, 64, 333, 9000])
@pytest.mark.parametrize(
    ("dtype", "tol"),
    [("float64", 1e-12), pytest.param("float32", 2e-4, marks=pytest.mark.recompiles)],
)
def test_the_compiled_pass_is_the_plain_one(N, dtype, tol):
    compiled, plain, C, m = both(dtype, N)
    agree(compiled(C, m), plain(C, m), tol)
    np.testing.assert_allclose(
        compiled.statistics(C, m), plain.statistics(C, m), rtol=10 * tol, atol=tol
    )
    np.testing.assert_allclose(compiled.log_p(C, m), plain.log_p(C, m), rtol=10 * tol, atol=tol)


def test_a_pass_of_another_density_is_seen():
    compiled, plain, C, m = both()
    turned = plain.base._replace(quartic=~plain.base.quartic)
    with pytest.raises(AssertionError, match="differ"):
        agree(compiled(C, m), plain.under(turned)(C, m), 1e-12)
    agree(compiled.under(turned)(C, m), plain.under(turned)(C, m), 1e-12)


def test_far_outputs_overflow_nothing():
    compiled, plain, C, m = both(N=100)
    agree(compiled(1e3 * C, m), plain(1e3 * C, m), 1e-12)
    assert np.isfinite(compiled(1e150 * C, m).G[:3]).all()


def test_when_passes_are_compiled(monkeypatch):
    pytest.importorskip("numba")
    assert passes.compiles(np.dtype("float64"), passes.PAYS)
    monkeypatch.setattr(passes.importlib.util, "find_spec", lambda name: None)
    assert not passes.compiles(np.dtype("float64"), passes.PAYS)


# Whitening


def is_white(X, white, weights=None, tol=1e-9):
    Z = (X - white.mean) @ white.K.T
    w = np.full(len(X), 1 / len(X)) if weights is None else weights / weights.sum()
    assert np.abs(w @ Z).max() < tol, "mean off"
    C = (Z * w[:, None]).T @ Z
    assert np.abs(C - np.eye(len(C))).max() < tol, "covariance off"
    np.testing.assert_allclose(white.K @ white.inverse, np.eye(len(white.K)), atol=1e-6)


@pytest.mark.parametrize("condition", [1.0, 1e6, 1e10])
def test_rows_are_white_however_they_are_mixed(condition):
    rng = np.random.default_rng(0)
    U, V = (np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(2))
    X = rng.laplace(size=(2000, 6)) @ (U * np.geomspace(1, 1 / condition, 6)) @ V + 5
    white = whitening.whitening(X)
    assert white.rank == 6
    is_white(X, white, tol=1e-9 if condition < 1e10 else 1e-5)
    np.testing.assert_allclose(white.logdet(), np.linalg.slogdet(white.K)[1], rtol=1e-6)


def test_white_in_any_units_and_by_weights():
    X = mixed(["laplace", "uniform", "skewed"])[0] * [1e-120, 1.0, 1e90] + [0, 1e3, 0]
    weights = np.random.default_rng(0).uniform(0.1, 2, len(X))
    is_white(X, whitening.whitening(X))
    is_white(X, whitening.whitening(X, None, weights), weights)
    with pytest.raises(AssertionError, match="off"):
        is_white(X, whitening.whitening(X), weights)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_directions_without_variance_are_left_out(dtype):
    X = mixed(["laplace", "uniform", "skewed", "t2"])[0]
    X -= X.mean(axis=1, keepdims=True)  # an average reference
    X = np.column_stack([X, np.full(len(X), 0.1)]).astype(dtype)  # and a constant
    white = whitening.whitening(X)
    assert white.rank == 3
    assert white.K.shape == (3, 5)
    is_white(X.astype(float), white, tol=1e-8 if dtype == "float64" else 1e-3)
    back = white.mean + ((X - white.mean) @ white.K.T) @ white.inverse.T
    np.testing.assert_allclose(back, X, atol=1e-9 if dtype == "float64" else 1e-4)


def test_few_components_are_the_principal_ones():
    X = mixed(["laplace", "uniform", "skewed", "t2"])[0]
    white = whitening.whitening(X, 2)
    s, V = np.linalg.eigh(np.cov(X.T, bias=True))
    np.testing.assert_allclose(
        np.abs(np.linalg.norm(white.inverse, axis=0)) ** 2, s[:1:-1], rtol=1e-9
    )
    np.testing.assert_allclose(np.abs(white.rest @ V[:, 1::-1]), np.eye(2), atol=1e-7)
    np.testing.assert_allclose(white.sd**2, s[1::-1], rtol=1e-9)
    is_white(X, white)
    whole = whitening.whitening(X)
    assert white.logdet() == pytest.approx(whole.logdet(), rel=1e-9)


def test_rows_that_are_all_alike_are_refused():
    with pytest.raises(ValueError, match="no column that varies"):
        whitening.whitening(np.ones((5, 2)))


# The unmixing


def test_each_kind_of_source_is_found():
    X, A = mixed([*DRAWS], N=6000)
    found, white = unmixed(X)
    assert found.reason == "tol"
    assert found.gradient < 1e-6
    assert distance(found, white, A) < 0.02
    assert (found.kappa > 1).all()
    fixed, white = unmixed(X, rg.density("sech"))
    assert distance(fixed, white, A) > 0.1  # which the one density does not


def test_stability_alone_finds_the_kind_of_each(monkeypatch):
    """Without another try for the doubtful, which would make up for units that are not switched."""
    monkeypatch.setattr(unmix, "AGAIN", 0)
    X, A = mixed(["laplace", "uniform", "levels", "t2"])
    found, white = unmixed(X, "extended")
    assert sorted(found.names()) == ["quartic", "quartic", "sech", "sech"]
    assert distance(found, white, A) < 0.02


def test_fitted_densities_find_skewed_sources_nearer():
    names = ["skewed"] * 4
    distances = np.array([
        [distance(*unmixed(X, d), A) for d in ("auto", "extended")]
        for X, A in (mixed(names, seed=seed) for seed in range(3))
    ])  # fmt: skip
    assert (distances[:, 0] < 0.7 * distances[:, 1]).all()


def test_the_value_is_the_log_likelihood():
    X, _ = mixed(["laplace", "uniform", "skewed"])
    for density in ("auto", "extended", rg.density("logistic")):
        found, white = unmixed(X, density)
        Y = (X - white.mean) @ white.K.T @ found.W.T + found.b
        value = found.log_p(Y).sum(axis=1).mean() + np.linalg.slogdet(found.W)[1]
        assert found.value == pytest.approx(value, rel=1e-10)
        U = Y - Y.mean(axis=0)
        expected = [found.log_p(Y).mean(axis=0), *((U**k).mean(axis=0) for k in (2, 3, 4))]
        np.testing.assert_allclose(found.moments, expected, rtol=1e-8, atol=1e-10)


def test_the_gradient_is_below_tol_by_the_definitions():
    X, _ = mixed(["laplace", "uniform", "skewed"])
    found, white = unmixed(X)
    Y = (X - white.mean) @ white.K.T @ found.W.T + found.b
    score = found.density(Y)[1]
    U = Y - Y.mean(axis=0)
    G = score.T @ U / len(X) + np.eye(3)
    assert max(np.abs(G).max(), np.abs(score.mean(axis=0)).max()) < 1.1e-6


@pytest.mark.parametrize("density", ["auto", rg.density("sech")])
def test_plain_and_compiled_passes_lead_to_the_same(density, monkeypatch):
    pytest.importorskip("numba")
    X, _ = mixed(["laplace", "laplace", "skewed", "t2"])
    fast, _ = unmixed(X, density)
    monkeypatch.setattr(unmix, "compiles", lambda dtype, size: False)
    plain, _ = unmixed(X, density)
    np.testing.assert_allclose(plain.W, fast.W, atol=2e-6 if density != "auto" else 2e-4)
    assert plain.value == pytest.approx(fast.value, abs=1e-6)


def test_weights_are_repeated_rows():
    X, _ = mixed(["laplace", "uniform", "skewed"], N=900)
    times = np.random.default_rng(0).integers(1, 4, len(X))
    weighted, white = unmixed(X, "extended", weights=times / times.mean())
    repeated, again = unmixed(np.repeat(X, times, axis=0), "extended")
    P = weighted.W @ white.K @ np.linalg.inv(repeated.W @ again.K)
    np.testing.assert_allclose(np.abs(P).max(axis=1), 1, atol=1e-5)
    assert weighted.value == pytest.approx(repeated.value, abs=1e-7)


def test_the_first_rotation_does_not_depend_on_the_mixing_and_another_one_does():
    S, paths = sources(["laplace", "uniform", "skewed", "t2"]), []
    Q = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0]
    for start in (None, np.eye(4)):
        found = [unmixed(X, "extended", start=start)[0] for X in (S, S @ Q.T)]
        paths.append([one.gradient for one in found])
    assert abs(paths[0][0] - paths[0][1]) < 1e-9 < abs(paths[1][0] - paths[1][1])


@pytest.mark.parametrize("condition", [1e3, 1e10])
def test_nothing_depends_on_how_the_sources_were_mixed(condition):
    S = sources(["laplace", "uniform", "skewed", "t2"])
    rng = np.random.default_rng(3)
    U, V = (np.linalg.qr(rng.normal(size=(4, 4)))[0] for _ in range(2))
    one, white = unmixed(S @ U.T)
    Y = (S @ U.T - white.mean) @ white.K.T @ one.W.T + one.b
    X = S @ (U * np.geomspace(1, 1 / condition, 4)) @ V
    other, again = unmixed(X)
    Z = (X - again.mean) @ again.K.T @ other.W.T + other.b
    corr = np.abs(np.corrcoef(Y.T, Z.T)[:4, 4:])
    np.testing.assert_allclose(corr.max(axis=1), 1, atol=1e-9)
    assert abs(one.value - other.value) < 1e-6


def test_doubtful_sources_are_tried_as_both(monkeypatch):
    """Among many sources and few rows a mixture of uniform ones is super-Gaussian by chance."""
    X, A = mixed(["laplace"] * 32 + ["uniform"] * 32, N=2500)
    assert distance(*unmixed(X, "extended", start=np.eye(64)), A) < 0.02
    monkeypatch.setattr(unmix, "DOUBTFUL", 0.0)
    assert distance(*unmixed(X, "extended", start=np.eye(64)), A) > 0.03


def test_once_more_is_kept_only_if_it_is_more_likely(monkeypatch):
    X, A = mixed(["laplace", "uniform"], N=2000)
    right = distance(*unmixed(X, "extended"), A)
    monkeypatch.setattr(unmix, "DOUBTFUL", 10.0)  # all are
    assert distance(*unmixed(X, "extended"), A) == pytest.approx(right, abs=1e-5)


def test_float32_has_the_same_optimum():
    X, _ = mixed(["laplace", "uniform", "skewed"])
    one, _ = unmixed(X)
    other, _ = unmixed(X.astype("float32"))
    assert other.value == pytest.approx(one.value, abs=1e-4)
    assert other.reason == "tol"


def test_iterations_end_where_they_are_asked_to():
    X, _ = mixed(["laplace", "uniform", "skewed"])
    found, _ = unmixed(X, max_iter=2, tol=1e-12)
    assert (found.reason, found.n_iter) == ("max_iter", 2)


def test_a_start_is_begun_at():
    X, A = mixed(["laplace", "laplace"], N=20_000)
    white = whitening.whitening(X)
    truth = np.linalg.inv(white.K @ A)
    found = unmix.unmix(X, white, rg.density("sech"), start=truth)
    P = found.W @ np.linalg.inv(truth)
    assert (np.abs(P).argmax(axis=1) == [0, 1]).all()
