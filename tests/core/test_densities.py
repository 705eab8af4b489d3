"""Base densities against scipy and 50-digit arithmetic: values, scores, mass, draws."""

import dataclasses
import functools
import math

import array_api_strict
import mpmath as mp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.core.curvatures import dscore_of
from relgrad_np.core.quartic import Z as QUARTIC_Z

from ..laws.problems import DENSITIES, LIBRARIES, assert_same_numbers

DTYPES = ("float64", "float32")
LIMIT = 8  # eps: at most 16 roundings of eps/2, all terms of one sign, so relative to the value
CASES = [
    *((name, {}) for name in ("normal", "logistic", "laplace", "sech", "quartic")),
    *(("student_t", {"nu": nu}) for nu in (0.01, 0.5, 1.0, 3.0, 5.0, 30.0)),
]
MANY_NU = [("student_t", {"nu": nu}) for nu in (1e3, 1e6, 1e10)]
IDS = [f"{name}-{'-'.join(map(str, params.values()))}" for name, params in CASES]
cases = pytest.mark.parametrize(("name", "params"), CASES, ids=IDS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


@functools.cache
def quartic_mass():
    """The integral of e^-E over the line, by quadrature with 50 digits; also that of |z| <= 2."""
    with mp.workdps(50):
        inner = 2 * mp.quad(lambda z: mp.exp(-(z**4) / 4), [0, 1, 2])
        outer = 2 * mp.quad(lambda r: mp.exp(-(4 + 8 * r + 6 * r**2)), [0, 1, 2, mp.inf])
        return inner + outer, inner


def quartic_energy(a):
    """E(a) with log p = -E - log Z, a = |z|, an array or a number of mpmath."""
    r = a - 2
    return np.where(a < 2, a**4 / 4, 4 + 8 * r + 6 * r * r)[()]


class QuarticReference:
    """The quartic density as scipy.stats would have it, from special functions."""

    def logpdf(self, z):
        return -quartic_energy(np.abs(z)) - math.log(float(quartic_mass()[0]))

    def cdf(self, z):
        mass, inner = map(float, quartic_mass())
        a, top = np.abs(z), 1 / scipy.special.gammainc(0.25, 4)
        within = inner * top * scipy.special.gammainc(0.25, np.minimum(a, 2) ** 4 / 4)
        tail = scipy.special.erfc(np.sqrt(6) * (np.maximum(a, 2) - 4 / 3))
        tail = (mass - inner) * tail / scipy.special.erfc(np.sqrt(8 / 3))
        return 0.5 + np.sign(z) * np.where(a < 2, within, mass - tail) / (2 * mass)


def reference(p):
    """The same density in scipy.stats."""
    if p.name == "quartic":
        return QuarticReference()
    fixed = {"normal": "norm", "logistic": "logistic", "laplace": "laplace", "sech": "hypsecant"}
    if p.name == "student_t":
        return scipy.stats.t(p.params["nu"])
    return getattr(scipy.stats, fixed[p.name])()


def log_truth(p, z):
    """log p(z) from its definition."""
    if p.name == "student_t":
        nu = mp.mpf(p.params["nu"])
        c = mp.loggamma((nu + 1) / 2) - mp.loggamma(nu / 2) - mp.log(nu * mp.pi) / 2
        return c - (nu + 1) / 2 * mp.log1p(z * z / nu)
    return {
        "normal": lambda: -z * z / 2 - mp.log(2 * mp.pi) / 2,
        "logistic": lambda: -z - 2 * mp.log1p(mp.exp(-z)),
        "laplace": lambda: -abs(z) - mp.log(2),
        "sech": lambda: -mp.log(mp.cosh(z)) - mp.log(mp.pi),
        "quartic": lambda: -quartic_energy(abs(z)) - mp.log(quartic_mass()[0]),
    }[p.name]()


def score_truth(p, z):
    if p.name == "student_t":
        nu = mp.mpf(p.params["nu"])
        return -(nu + 1) * z / (nu + z * z)
    return {
        "normal": lambda: -z,
        "logistic": lambda: -mp.tanh(z / 2),
        "laplace": lambda: -mp.sign(z),
        "sech": lambda: -mp.tanh(z),
        "quartic": lambda: -(z**3) if abs(z) < 2 else -mp.sign(z) * (8 + 12 * (abs(z) - 2)),
    }[p.name]()


def points(p, dtype):
    """All of the range where log p is finite."""
    top = {"float64": 300, "float32": 37}[dtype]
    z = np.concatenate([10.0 ** np.linspace(-top, top, top // 5 + 1), np.geomspace(0.05, 800, 40)])
    curvature = {"normal": 1, "quartic": 12}.get(p.name)  # of the parabola in the tails
    if curvature:
        z = z[z < float(np.sqrt(np.finfo(dtype).max / curvature)) * 1.4]
    return np.concatenate([-z, [0.0], z]).astype(dtype)


def matches_the_truth(p, dtype, functions=("log_prob", "score")):
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    z = points(p, dtype)
    # below the smallest normal number, of that number, times the factor before what underflows
    tiny *= max(1.0, p.params.get("nu", 1.0)) ** 0.5
    for function in functions:
        values = getattr(p, function)(z)
        assert values.dtype == z.dtype
        truth = {"log_prob": log_truth, "score": score_truth}[function]
        for at, value in zip(map(float, z), map(float, values), strict=True):
            with mp.workdps(50):
                true = truth(p, mp.mpf(at))
                ulps = abs(mp.mpf(value) - true) / (eps * max(abs(true), tiny))
            assert ulps <= LIMIT, f"{function}({at}): {value}, off by {float(ulps):.3g} ulps"


@pytest.mark.parametrize(("name", "params"), CASES + MANY_NU)
@pytest.mark.parametrize("function", ["log_prob", "score"])
@dtypes
def test_values_to_the_last_digits(name, params, function, dtype):
    matches_the_truth(rg.density(name, **params), dtype, [function])


@cases
def test_log_prob_is_that_of_scipy(name, params):
    p = rg.density(name, **params)
    z = np.linspace(-30, 30, 241)
    np.testing.assert_allclose(p.log_prob(z), reference(p).logpdf(z), rtol=1e-13)


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        ("score", lambda p, z: -p.score(z)),
        ("log_prob", lambda p, z: p.log_prob(z) * (1 + 4e-15)),
        ("log_prob", lambda p, z: p.log_prob(z) + np.log(2)),
    ],
)
@cases
def test_a_planted_mistake_is_rejected(name, params, function, wrong):
    p = rg.density(name, **params)
    planted = dataclasses.replace(p, **{function: lambda z: wrong(p, z)})
    with pytest.raises(AssertionError, match=f"{function}.*ulps"):
        matches_the_truth(planted, "float64", [function])


def test_the_mass_of_the_quartic_is_that_of_quadrature_and_of_its_closed_form():
    with mp.workdps(50):
        mass = quartic_mass()[0]
        inner = mp.gammainc(mp.mpf(1) / 4, 0, 4) / mp.sqrt(8)
        tail = mp.exp(-mp.mpf(4) / 3) * mp.sqrt(mp.pi / 24) * mp.erfc(mp.sqrt(mp.mpf(8) / 3))
        assert abs(2 * (inner + tail) / mass - 1) < 1e-40
    assert float(mass) == QUARTIC_Z
    assert abs(QUARTIC_Z - math.gamma(0.25) / math.sqrt(2)) > 1e-6  # that of e^(-z^4 / 4) alone


def test_a_quartic_with_other_tails_is_rejected():
    """The pure quartic, whose outliers pull with their cube; and a line instead of the parabola."""
    p = rg.density("quartic")
    for energy in (lambda a: a**4 / 4, lambda a: np.where(a < 2, a**4 / 4, 8 * a - 12)):
        wrong = lambda z, energy=energy: -energy(np.abs(z)) - math.log(QUARTIC_Z)  # noqa: E731
        planted = dataclasses.replace(p, log_prob=wrong)
        with np.errstate(over="ignore"), pytest.raises(AssertionError, match=r"log_prob.*ulps"):
            matches_the_truth(planted, "float64", ["log_prob"])


def test_the_quartic_reaches_far_out_without_overflow():
    """E(|z|) = 6 z^2 - 16 z + 12 in the tail: its value alone decides where it overflows."""
    p = rg.density("quartic")
    z = np.array([1e150, -1e153])
    np.testing.assert_allclose(p.log_prob(z), -6 * z * z, rtol=1e-15)
    np.testing.assert_allclose(p.score(np.array([1e305])), [-1.2e306], rtol=1e-15)
    z = np.array([7e18], "f4")
    np.testing.assert_allclose(p.log_prob(z), -6 * z * z, rtol=1e-6)


def test_an_outlier_pulls_no_harder_on_the_quartic_than_a_gaussian_would():
    """Its score grows as that of a Gaussian of variance 1 / 12 does, to which it bends smoothly."""
    p, z = rg.density("quartic"), np.array([3.0, 30.0, 3e6])
    assert (np.abs(p.score(z)) < 12 * z).all()
    edge = np.array([2 - 1e-9, 2.0, 2 + 1e-9])
    for function, value, slope in ((p.score, -8, -12), (p.dscore, -12, -12)):
        assert np.abs(function(edge) - value).max() < 2e-9 * abs(slope)


def test_the_naive_logistic_and_sech_are_rejected():
    def log_cosh(z):
        with np.errstate(over="ignore"):
            return -np.log(np.cosh(z)) - np.log(np.pi)

    planted = dataclasses.replace(rg.density("sech"), log_prob=log_cosh)
    with pytest.raises(AssertionError, match=r"log_prob.*ulps"):
        matches_the_truth(planted, "float64")


# The score is the derivative of log p


def difference(f, z, h):
    up, down = z + h, z - h
    return (f(up) - f(down)) / (up - down)


def is_the_score(p, z, curved=True):
    """+ d log p / dz at the points z: the value at h = 1e-5, and an error that falls with h^2."""
    error = np.max(np.abs(difference(p.log_prob, z, 1e-5) - p.score(z)))
    assert error <= 1e-6, f"score of {p.name} off by {error:.3g}"
    if curved:  # the norm over all points: at a single one the third derivative may vanish
        errors = [np.linalg.norm(difference(p.log_prob, z, h) - p.score(z)) for h in (0.04, 0.02)]
        slope = np.log2(errors[0] / errors[1])
        assert abs(slope - 2) <= 0.1, f"slope of the error in h: {slope:.3f}"


@given(
    center=st.floats(-6, 6),
    p=st.one_of(
        st.sampled_from(["logistic", "sech"]).map(rg.density),
        st.floats(0.5, 20).map(lambda nu: rg.density("student_t", nu=nu)),
    ),
)
def test_score_is_the_derivative(center, p):
    is_the_score(p, center + np.linspace(-2, 2, 33))


@given(center=st.floats(-6, 6))
def test_score_where_log_p_is_a_parabola_or_a_line(center):
    z = center + np.linspace(-2, 2, 33)
    is_the_score(rg.density("normal"), z, curved=False)
    is_the_score(rg.density("laplace"), z[np.abs(z) > 2e-5], curved=False)
    is_the_score(rg.density("quartic"), z, curved=False)


def test_score_of_the_quartic_within_its_edge():
    is_the_score(rg.density("quartic"), np.linspace(-1.9, 1.9, 33))


@pytest.mark.parametrize("name", DENSITIES)
def test_a_score_of_the_wrong_sign_is_rejected(name):
    p = rg.density(name)
    planted = dataclasses.replace(p, score=lambda z: -p.score(z))
    with pytest.raises(AssertionError, match="off by"):
        is_the_score(planted, np.linspace(0.3, 3, 33), curved=False)


def test_a_small_error_of_the_score_shows_in_the_slope():
    p = rg.density("sech")
    planted = dataclasses.replace(p, score=lambda z: p.score(z) + 9e-7)
    with pytest.raises(AssertionError, match="slope"):
        is_the_score(planted, np.linspace(4, 8, 33))


# The curvature is the derivative of the score


def is_the_curvature(p, z, dscore=None, curved=True):
    """(log p)'' at the points z: the value at h = 1e-5, and an error that falls with h^2."""
    dscore = dscore or p.dscore
    error = np.max(np.abs(difference(p.score, z, 1e-5) - dscore(z)))
    assert error <= 1e-6, f"dscore of {p.name} off by {error:.3g}"
    if curved:
        errors = [np.linalg.norm(difference(p.score, z, h) - dscore(z)) for h in (0.04, 0.02)]
        slope = np.log2(errors[0] / errors[1])
        assert abs(slope - 2) <= 0.1, f"slope of the error in h: {slope:.3f}"


@given(
    center=st.floats(-6, 6),
    p=st.one_of(
        st.sampled_from(["logistic", "sech"]).map(rg.density),
        st.floats(0.5, 20).map(lambda nu: rg.density("student_t", nu=nu)),
    ),
)
def test_dscore_is_the_derivative_of_the_score(center, p):
    is_the_curvature(p, center + np.linspace(-2, 2, 33))


def test_dscore_where_the_score_is_a_line():
    z = np.linspace(-2, 2, 34)
    is_the_curvature(rg.density("normal"), z, curved=False)
    is_the_curvature(rg.density("laplace"), z[np.abs(z) > 2e-5], curved=False)
    is_the_curvature(rg.density("quartic"), 2 * z[np.abs(2 * z) > 2 + 2e-5], curved=False)


def test_dscore_of_the_quartic_within_its_edge():
    is_the_curvature(rg.density("quartic"), np.linspace(-1.9, 1.9, 33))


PLANTED = {
    "sign": lambda p, z: -p.dscore(z),
    "tanh for its square": lambda p, z: -(1 - np.abs(np.tanh(z))),
    "small": lambda p, z: p.dscore(z) + 2e-6,
}


@pytest.mark.parametrize("name", ["normal", "logistic", "sech", "quartic", "student_t"])
@pytest.mark.parametrize("wrong", PLANTED)
def test_a_wrong_dscore_is_rejected(name, wrong):
    p = rg.density(name)
    with pytest.raises(AssertionError, match="off by"):
        is_the_curvature(p, np.linspace(0.3, 3, 33), lambda z: PLANTED[wrong](p, z), curved=False)


def dscore_truth(p, z):
    if p.name == "student_t":
        nu = mp.mpf(p.params["nu"])
        return -(nu + 1) * (nu - z * z) / (nu + z * z) ** 2
    return {
        "normal": lambda: mp.mpf(-1),
        "logistic": lambda: -(mp.sech(z / 2) ** 2) / 2,
        "laplace": lambda: mp.mpf(0),
        "sech": lambda: -(mp.sech(z) ** 2),
        "quartic": lambda: -3 * min(abs(z), 2) ** 2,
    }[p.name]()


def matches_the_curvature(p, dtype):
    """To the last digits of its terms: Student's crosses 0 at |z| = sqrt(nu)."""
    eps, tiny = float(np.finfo(dtype).eps), float(np.finfo(dtype).tiny)
    z = points(p, dtype)
    z = z[np.abs(z) < (350 if dtype == "float64" else 40)] if p.name in ("logistic", "sech") else z
    values = p.dscore(z)
    assert values.dtype == z.dtype
    for at, value in zip(map(float, z), map(float, values), strict=True):
        with mp.workdps(50):
            true = dscore_truth(p, mp.mpf(at))
            scale = abs(true)
            if p.name == "student_t":
                nu = mp.mpf(p.params["nu"])
                scale = (nu + 1) / (nu + mp.mpf(at) ** 2)
            ulps = abs(mp.mpf(value) - true) / (eps * scale + 64 * tiny)
        assert ulps <= 2 * LIMIT, f"dscore({at}): {value}, off by {float(ulps):.3g} ulps"


@dtypes
@cases
def test_dscore_to_the_last_digits(name, params, dtype):
    matches_the_curvature(rg.density(name, **params), dtype)


def test_a_dscore_that_cancels_is_rejected():
    planted = dataclasses.replace(rg.density("sech"), dscore=lambda z: np.tanh(z) ** 2 - 1)
    with pytest.raises(AssertionError, match=r"dscore.*ulps"):
        matches_the_curvature(planted, "float64")


@dtypes
@cases
def test_dscore_of_nan_infinity_and_its_symmetry(name, params, dtype):
    p = rg.density(name, **params)
    z = np.asarray([-np.inf, np.nan, np.inf], dtype=dtype)
    values = p.dscore(z)
    assert np.isnan(values[1])
    np.testing.assert_array_equal(values[[0, 2]], {"normal": -1, "quartic": -12}.get(name, 0))
    y = points(p, dtype)
    np.testing.assert_array_equal(p.dscore(y), p.dscore(-y))


def test_without_a_dscore_central_differences_of_the_score_serve():
    """To 1e-9 in float64; a step of 1e-2 instead would be seen."""
    z = np.linspace(-3, 3, 40)
    for p in (rg.density("sech"), rg.density("student_t")):
        found = dscore_of(p.score, None)(z)
        np.testing.assert_allclose(found, p.dscore(z), atol=1e-9)
        assert np.abs(difference(p.score, z, 1e-2) - p.dscore(z)).max() > 1e-6
        narrow = dscore_of(p.score, None)(z.astype("f4"))
        assert narrow.dtype == np.float32
        np.testing.assert_allclose(narrow, p.dscore(z), atol=1e-4)
    assert dscore_of(p.score, p.dscore) is p.dscore
    assert rg.density("multivariate_t").dscore is None


# Mass and draws


@pytest.mark.parametrize(("name", "params"), [c for c in CASES if c[1].get("nu", 1) >= 1])
def test_the_mass_is_one(name, params):
    p = rg.density(name, **params)

    def pdf(z):
        return float(np.exp(p.log_prob(np.asarray(z))))

    mass = sum(scipy.integrate.quad(pdf, *half)[0] for half in ((-np.inf, 0), (0, np.inf)))
    assert abs(mass - 1) <= 1e-8  # quad's own tolerance is 1.5e-8 for each half


def p_value(p, draws):
    return scipy.stats.kstest(draws, reference(p).cdf).pvalue


@pytest.mark.parametrize(("name", "params"), [c for c in CASES if c[1].get("nu", 1) >= 0.5])
def test_draws_follow_the_density(name, params):
    p = rg.density(name, **params)
    draws = p.sample(np.random.default_rng(11), 20000)
    assert p_value(p, draws) > 0.01
    assert p_value(p, 1.25 * draws) < 1e-3
    assert p_value(p, np.abs(draws)) < 1e-12
    assert abs(np.mean(draws > 0) - 0.5) < 4 * 0.5 / np.sqrt(20000)


def test_the_tail_of_the_quartic_is_drawn_as_often_and_as_far_as_it_should_be():
    """The share beyond 2 within 4 standard errors, and how it falls; 1.1 times as far is seen."""
    p, n = rg.density("quartic"), 2_000_000
    mass, inner = map(float, quartic_mass())
    share = 1 - inner / mass
    beyond = np.abs(p.sample(np.random.default_rng(0), n))
    beyond = beyond[beyond > 2]
    assert abs(len(beyond) / n - share) < 4 * np.sqrt(share / n)

    def p_value_of(tail):
        return scipy.stats.kstest(tail, lambda a: 1 - 2 * (1 - reference(p).cdf(a)) / share).pvalue

    assert p_value_of(beyond) > 0.01
    assert p_value_of(2 + 1.1 * (beyond - 2)) < 1e-3


@cases
def test_draws_are_reproducible(name, params):
    p = rg.density(name, **params)
    draws = p.sample(np.random.default_rng(5), (7, 3))
    assert isinstance(draws, np.ndarray)
    assert draws.shape == (7, 3)
    assert draws.dtype == np.float64
    np.testing.assert_array_equal(draws, p.sample(np.random.default_rng(5), (7, 3)))
    assert (draws != p.sample(np.random.default_rng(6), (7, 3))).all()
    rng = np.random.default_rng(5)
    assert (p.sample(rng, 4) != p.sample(rng, 4)).all()
    assert p.sample(rng, 4).shape == (4,)
    assert p.sample(rng, (0, 3)).shape == (0, 3)


def test_draws_leave_the_global_state_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for name, params in CASES:
        rg.density(name, **params).sample(np.random.default_rng(0), 3)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


# Special values, libraries, dtypes, shapes


@dtypes
@cases
def test_nan_infinity_and_symmetry(name, params, dtype):
    p = rg.density(name, **params)
    z = np.asarray([-np.inf, np.nan, np.inf], dtype=dtype)
    for function in (p.log_prob, p.score):
        assert np.isnan(function(z)[1])
    np.testing.assert_array_equal(p.log_prob(z)[[0, 2]], [-np.inf, -np.inf])
    tail = {"normal": np.inf, "quartic": np.inf, "student_t": 0}.get(name, 1)
    np.testing.assert_array_equal(p.score(z)[[0, 2]], [tail, -tail])
    assert p.score(np.zeros(1, dtype))[0] == 0
    y = points(p, dtype)
    np.testing.assert_array_equal(p.log_prob(y), p.log_prob(-y))
    np.testing.assert_array_equal(p.score(y), -p.score(-y))


@dtypes
@pytest.mark.parametrize("name", DENSITIES)
@pytest.mark.parametrize("library", LIBRARIES)
def test_library_dtype_and_shape_are_kept(name, dtype, library):
    p = rg.density(name)
    for shape in ((2, 3, 4), (5,), (0,), (2, 0), ()):
        plain = np.random.default_rng(0).normal(0.5, 2.0, shape).astype(dtype)
        z = LIBRARIES[library](plain)
        for function in (p.log_prob, p.score, p.dscore):
            value = function(z)
            assert value.dtype == z.dtype
            assert value.shape == shape
            if shape:
                assert type(value) is type(z)
            assert_same_numbers(to_numpy(value), function(plain), library)
        np.testing.assert_array_equal(to_numpy(z), plain)


# Errors


@pytest.mark.parametrize("nu", [0, -1.0, np.nan, np.inf])
def test_nu_must_be_positive(nu):
    with pytest.raises(ValueError, match=f"`nu` must be positive, got {nu}"):
        rg.density("student_t", nu=nu)


@pytest.mark.parametrize("nu", ["x", True, None, [3.0], 3j])
def test_nu_must_be_a_number(nu):
    with pytest.raises(ValueError, match=f"`nu` must be a number, got {type(nu).__name__}"):
        rg.density("student_t", nu=nu)


def test_params_are_floats():
    params = rg.density("student_t", nu=np.float32(2.5)).params
    assert params == {"nu": 2.5}
    assert type(params["nu"]) is float
    assert rg.density("sech").params == {}


@pytest.mark.parametrize("name", ["gauss", "", None, "Normal"])
def test_an_unknown_name_lists_the_choices(name):
    choices = "normal, logistic, laplace, sech, quartic, student_t, multivariate_t"
    with pytest.raises(ValueError, match=f"unknown density {name!r}; choose from {choices}"):
        rg.density(name)


@cases
def test_an_unknown_parameter_is_named(name, params):
    with pytest.raises(ValueError, match=rf"density '{name}'.*'scale'"):
        rg.density(name, scale=2.0, **params)


@pytest.mark.parametrize("function", ["log_prob", "score", "dscore"])
@cases
def test_what_is_no_float_array_is_refused(name, params, function):
    """By the name of the argument, z."""
    f = getattr(rg.density(name, **params), function)
    for z in ([0.5], 0.5, 1, None, "x", np.ma.masked_array([0.5])):
        with pytest.raises(TypeError, match=f"`z` must be an array, got {type(z).__name__}"):
            f(z)
    for dtype in ("int64", "bool", "complex128", "float16"):
        with pytest.raises(ValueError, match=f"`z` must be float32 or float64, got {dtype}"):
            f(np.ones(2, dtype=dtype))
    with pytest.raises(ValueError, match="`z` must be float32 or float64, got"):
        f(array_api_strict.asarray([1, 2]))
