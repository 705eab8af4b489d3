"""The joint base: Student's t of a whole row, against scipy, 50 digits and its own conditionals."""

import dataclasses

import mpmath as mp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import relgrad_np as rg
from relgrad_np import oracle
from relgrad_np.core.arrays import to_numpy
from relgrad_np.estimator import RelativeGradientFlow
from relgrad_np.oracle import brute
from relgrad_np.oracle.cases import generic

from ..laws import laws
from ..laws.problems import EVERY, LIBRARIES, assert_same_numbers, suited

DTYPES = ("float64", "float32")
NU = (0.01, 0.5, 2.0, 7.0, 1e6)
nus = pytest.mark.parametrize("nu", NU)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def made(nu=2.0):
    return rg.density("multivariate_t", nu=nu)


def rows(seed=0, N=40, D=5, df=1.5):
    return np.random.default_rng(seed).standard_t(df, (N, D))


def conditional(nu, z):
    """log p(z_i | z_1 .. z_{i-1}) in 50 digits, as the ratio of two joint densities."""

    def joint(row):
        D = len(row)
        c = mp.loggamma((nu + D) / 2) - mp.loggamma(nu / 2) - D * mp.log(nu * mp.pi) / 2
        return c - (nu + D) / 2 * mp.log1p(sum(x * x for x in row) / nu)

    return [joint(z[: i + 1]) - (joint(z[:i]) if i else 0) for i in range(len(z))]


def matches_the_truth(p, Z, limit):
    """Elements of log p and score within `limit` eps of the sum of the absolute values of their terms."""
    eps = float(np.finfo(Z.dtype).eps)
    nu = p.params["nu"]
    log_p, score = p.log_prob(Z), p.score(Z)
    assert log_p.dtype == score.dtype == Z.dtype
    assert log_p.shape == score.shape == Z.shape
    with mp.workdps(60):
        for n, row in enumerate(Z.tolist()):
            z = [mp.mpf(x) for x in row]
            h2 = mp.mpf(nu)
            for i, true in enumerate(conditional(mp.mpf(nu), z)):
                grows = (nu + i + 1) / 2 * mp.log1p(z[i] ** 2 / h2)
                size = abs(true) + grows + abs(mp.log(h2)) / 2 + (nu + i + 1) / 2 * eps
                off = float(abs(mp.mpf(float(log_p[n, i])) - true) / (eps * size))
                assert off <= limit, f"log_prob[{n}, {i}]: off by {off:.3g}"
                h2 += z[i] ** 2
            for i, x in enumerate(z):
                true = -(nu + len(z)) * x / h2
                smallest = mp.mpf(float(np.finfo(Z.dtype).tiny)) * (1 + nu)
                off = float(
                    abs(mp.mpf(float(score[n, i])) - true) / (eps * max(abs(true), smallest))
                )
                assert off <= limit, f"score[{n}, {i}]: off by {off:.3g}"


@nus
@dtypes
def test_values_to_the_last_digits(nu, dtype):
    matches_the_truth(made(nu), rows(N=15, D=6).astype(dtype), 20)


@dtypes
def test_values_where_squares_overflow(dtype):
    """One large entry, several, and none before or after it; up to the largest number over D."""
    top = float(np.finfo(dtype).max) / 4
    z = [[1, top**0.5 * 4, 3, top], [top, 1, top, top / 3], [0, 0, top, 0], [2, 3, 4, -(top**0.4)]]
    tiny = 1 / top
    z += [[tiny, top, tiny, 0], [tiny, tiny, 0, 1]]
    matches_the_truth(made(), np.asarray(z, dtype), 20)


@nus
def test_the_sum_over_a_row_is_log_p_of_scipy(nu):
    for D in (1, 2, 9):
        Z = rows(D=D)
        right = scipy.stats.multivariate_t(np.zeros(D), np.eye(D), nu).logpdf(Z)
        np.testing.assert_allclose(
            made(nu).log_prob(Z).sum(axis=1), right, rtol=1e-8
        )  # at a large nu its log Gammas cancel
        spread = brute.log_density(made(nu), Z).sum(axis=1)
        np.testing.assert_allclose(spread, right, rtol=1e-8)


@given(st.integers(0, 2**16), st.integers(1, 12), st.floats(0.05, 50))
def test_the_first_of_a_row_is_a_student_t_and_so_is_each_given_the_others(seed, D, nu):
    Z, i = rows(seed, 4, D), D - 1
    log_p = made(nu).log_prob(Z)
    np.testing.assert_allclose(log_p[:, 0], scipy.stats.t(nu).logpdf(Z[:, 0]), rtol=1e-9)
    h = np.sqrt(nu + np.sum(Z[:, :i] ** 2, axis=1))
    given_them = scipy.stats.t(nu + i, scale=h / np.sqrt(nu + i)).logpdf(Z[:, i])
    np.testing.assert_allclose(log_p[:, i], given_them, rtol=1e-9, atol=1e-9)


@given(st.integers(0, 2**16), st.integers(1, 9), st.floats(0.1, 20))
def test_in_one_dimension_it_is_student_t_and_a_rotation_leaves_log_p(seed, D, nu):
    Z = rows(seed, 6, D)
    one, plain = made(nu), rg.density("student_t", nu=nu)
    for function in ("log_prob", "score"):
        mine = getattr(one, function)(Z[:, :1])
        np.testing.assert_allclose(mine, getattr(plain, function)(Z[:, :1]), rtol=1e-13)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((D, D)))[0]
    turned = one.log_prob(Z @ Q).sum(axis=1)
    np.testing.assert_allclose(turned, one.log_prob(Z).sum(axis=1), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.score(Z @ Q), one.score(Z) @ Q, rtol=1e-9, atol=1e-12)


def is_the_score(p, Z):
    """The derivative of the row's sum: an error that falls with h^2."""

    def off(h):
        moves = h * np.eye(Z.shape[1])
        up, down = (
            np.stack([p.log_prob(Z + sign * e).sum(axis=1) for e in moves], axis=1)
            for sign in (1, -1)
        )
        return np.linalg.norm((up - down) / (2 * h) - p.score(Z))

    assert off(1e-4) <= 1e-6, "score is off"
    slope = np.log2(off(0.04) / off(0.02))
    assert abs(slope - 2) <= 0.1, f"slope of the error in h: {slope:.3f}"


@given(st.integers(0, 2**16), st.integers(2, 8), st.floats(0.5, 20))
def test_score_is_the_derivative_of_the_sum(seed, D, nu):
    is_the_score(made(nu), rows(seed, 10, D, df=5))


WRONG = {
    "score of independent components": {
        "score": lambda z: rg.density("student_t", nu=2.0).score(z)
    },
    "D left out of the score": {"score": lambda z: made().score(z) * 3 / (2 + z.shape[1])},
    "sign of the score": {"score": lambda z: -made().score(z)},
    "independent components": {"log_prob": lambda z: rg.density("student_t", nu=2.0).log_prob(z)},
    "a term that grows with i": {
        "log_prob": lambda z: made().log_prob(z) + 1e-3 * np.arange(z.shape[1]) * np.log(2 + z * z)
    },
}


@pytest.mark.parametrize("what", WRONG)
def test_a_planted_mistake_is_rejected(what):
    planted = dataclasses.replace(made(), **WRONG[what])
    with pytest.raises(AssertionError, match=r"off by"):
        matches_the_truth(planted, rows(), 20)
    with pytest.raises(AssertionError):
        is_the_score(planted, rows(df=5))


@pytest.mark.parametrize("nu", [0.5, 2.0, 9.0])
def test_draws_follow_the_density(nu):
    """|z|^2 / D is F(D, nu), directions are uniform, each coordinate is Student's t."""
    D, n = 4, 20000
    Z = made(nu).sample(np.random.default_rng(3), (n, D))

    def p_values(Z):
        r2 = np.sum(Z * Z, axis=1)
        yield scipy.stats.kstest(r2 / D, scipy.stats.f(D, nu).cdf).pvalue
        yield from (scipy.stats.kstest(z, scipy.stats.t(nu).cdf).pvalue for z in Z.T)
        cosine = Z[:, 0] ** 2 / r2
        yield scipy.stats.kstest(cosine, scipy.stats.beta(0.5, (D - 1) / 2).cdf).pvalue
        yield scipy.stats.binomtest(int(np.sum(Z[:, 1] * Z[:, 2] > 0)), n).pvalue

    assert min(p_values(Z)) > 0.01 / 7
    assert min(p_values(1.25 * Z)) < 1e-3
    independent = rg.density("student_t", nu=nu).sample(np.random.default_rng(3), (n, D))
    assert min(p_values(independent)) < 1e-3


def test_draws_are_reproducible_of_any_shape_and_have_one_scale_a_row():
    p = made(0.3)
    for shape in ((7, 3), (2, 3, 4), 5, (0, 3)):
        Z = p.sample(np.random.default_rng(5), shape)
        assert Z.shape == ((shape,) if isinstance(shape, int) else shape)
        assert Z.dtype == np.float64
        np.testing.assert_array_equal(Z, p.sample(np.random.default_rng(5), shape))
    with pytest.raises(ValueError, match=r"`z` must have shape \(\.\.\., D\)"):
        p.sample(np.random.default_rng(5), (3, 0))
    Z = p.sample(np.random.default_rng(5), (2000, 6))
    size = np.log(np.abs(Z))
    assert np.corrcoef(size[:, 0], size[:, 5])[0, 1] > 0.5


@dtypes
@pytest.mark.parametrize("library", LIBRARIES)
def test_library_dtype_and_shape_are_kept(dtype, library):
    for shape in ((2, 3, 4), (5,), (6, 1), (0, 3)):
        plain = rows(0, int(np.prod(shape)), 1).reshape(shape).astype(dtype)
        z = LIBRARIES[library](plain)
        for function in (made().log_prob, made().score):
            value = function(z)
            assert value.dtype == z.dtype
            assert value.shape == shape
            assert type(value) is type(z)
            assert_same_numbers(to_numpy(value), function(plain), library)
        np.testing.assert_array_equal(to_numpy(z), plain)


@dtypes
def test_what_is_not_finite_makes_its_own_row_not_finite_and_no_other(dtype):
    for bad in (np.nan, np.inf, -np.inf):
        z = np.ones((3, 4), dtype)
        z[1, 2] = bad
        with np.errstate(invalid="ignore"):
            log_p, score = made().log_prob(z), made().score(z)
        assert np.isfinite(log_p[[0, 2]]).all()
        assert np.isfinite(score[[0, 2]]).all()
        assert not np.isfinite(log_p[1].sum())
        assert np.isnan(score[1]).any()


@pytest.mark.parametrize("nu", [0, -1.0, np.nan, np.inf])
def test_nu_must_be_positive(nu):
    with pytest.raises(ValueError, match=f"`nu` must be positive, got {nu}"):
        made(nu)


@pytest.mark.parametrize("shape", [(), (3, 0), (0,)])
def test_a_row_must_have_a_length(shape):
    for function in (made().log_prob, made().score):
        with pytest.raises(ValueError, match=r"`z` must have shape \(\.\.\., D\) with D >= 1"):
            function(np.ones(shape))


# In a net: nothing in the package asks that the base factorises


def keeps_every_law(library, N, D, L, seed):
    problem = suited(generic(seed, N, D, L, density_name="multivariate_t"), library)
    laws.every_law(problem, library, seed)
    laws.ordinary_is_the_derivative(problem, library)


@pytest.mark.parametrize(("N", "D", "L"), [(4, 6, 2), (7, 5, 3), (5, 3, 1)])
def test_every_law(N, D, L):
    for seed in range(2):
        keeps_every_law("numpy", N, D, L, seed)


@pytest.mark.parametrize("library", EVERY[1:])
def test_every_law_in_other_libraries(library):
    keeps_every_law(library, 4, 6, 2, 0)


def test_torch_finds_the_same_gradient():
    torch = pytest.importorskip("torch")
    p = generic(1, 7, 4, 2, "identity", density_name="multivariate_t")
    deltas = rg.backprop(p.layers, rg.forward(p.layers, p.X, p.activation), *p.model)
    Z = torch.tensor(rg.forward(p.layers, p.X, p.activation).Ys[-1], requires_grad=True)
    nu, D = p.density.params["nu"], 4
    joint = -(nu + D) / 2 * torch.log1p((Z**2).sum(dim=1) / nu)
    joint.mean().backward()
    np.testing.assert_allclose(deltas[-1], Z.grad.numpy(), rtol=1e-12)


def scale_mixture(seed, n, D=4):
    """Rows mixed from normal components of one common scale: what the joint base is for."""
    rng = np.random.default_rng(seed)
    return made(3.0).sample(rng, (n, D)) @ rng.standard_normal((D, D)) + 1.0


def test_one_layer_recovers_the_density_and_the_factorised_base_can_not():
    """One layer of it is an elliptical distribution; its own entropy is what a fit can reach."""
    X, test = np.split(scale_mixture(0, 6000), 2)
    rng = np.random.default_rng(0)
    act = rg.activation("identity")
    reached = {}
    for dens in (made(3.0), rg.density("student_t", nu=3.0), rg.density("normal")):
        start = rg.init_layers(rng, 4, 1, kind="whiten", X=X, activation=act)
        fitted = rg.fit(start, X, act, dens, epochs=5, rng=np.random.default_rng(1))
        reached[dens.name] = float(rg.log_likelihood(fitted.layers, test, act, dens).mean)
    mixing = np.random.default_rng(0)
    made(3.0).sample(mixing, (6000, 4))
    A = mixing.standard_normal((4, 4))
    true = made(3.0).log_prob(np.linalg.solve(A.T, (test - 1).T).T).sum(axis=1).mean()
    true -= np.linalg.slogdet(A)[1]
    assert abs(reached["multivariate_t"] - true) < 0.02
    assert reached["multivariate_t"] > reached["student_t"] + 0.2
    assert reached["student_t"] > reached["normal"] + 0.2


def test_it_is_sampled_saved_and_loaded_in_a_model(tmp_path):
    X = scale_mixture(1, 500)
    given = {"rule": "recipe", "density": "multivariate_t", "epochs": 3}
    flow = RelativeGradientFlow(n_layers=2, random_state=0, **given)
    flow.fit(X)
    drawn, log_p = rg.sample(
        flow.layers_, np.random.default_rng(0), 50, rg.activation("smooth_leaky_relu"), made()
    )
    np.testing.assert_allclose(
        log_p,
        rg.log_likelihood(
            flow.layers_, drawn, rg.activation("smooth_leaky_relu"), made()
        ).per_sample,
        rtol=1e-9,
    )
    model = rg.Model(flow.layers_, rg.activation("smooth_leaky_relu"), made(3.0), rg.Chain(()), {})
    rg.save(tmp_path / "model.npz", model)
    back = rg.load(tmp_path / "model.npz")
    assert (back.density.name, back.density.params) == ("multivariate_t", {"nu": 3.0})
    np.testing.assert_array_equal(back.density.log_prob(X), made(3.0).log_prob(X))


def test_a_fit_by_the_compiled_kernels_is_that_of_the_reference():
    """They take whole rows for this base; up to rounding nothing else changes."""
    pytest.importorskip("numba")
    p = generic(2, 9, 4, 2, density_name="multivariate_t")
    rng = np.random.default_rng
    ends = [
        rg.fit(p.layers, p.X, *p.model, epochs=3, batch_size=3, rng=rng(0), implementation=name)
        for name in ("numba", "reference")
    ]
    for one, two in zip(*(end.layers for end in ends), strict=True):
        np.testing.assert_allclose(one.W, two.W, rtol=0, atol=1e-10)


def test_the_oracle_refuses_it_by_name():
    """Its truths are of elementwise bases; silence would be a wrong verdict."""
    with pytest.raises(ValueError, match="unknown density 'multivariate_t'"):
        oracle.suite(activation="identity", density=made(), L=1, D=2)
