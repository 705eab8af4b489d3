"""Activations against 50-digit arithmetic, their derivatives by differences, their inverses."""

import dataclasses
import re

import array_api_strict
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy

from ..laws.problems import LIBRARIES, assert_same_numbers

DTYPES = ("float64", "float32")
# an error of eps/2 for each rounding, and the longest formula has 16 of them (a library function
# counts twice): 8 eps of the scale; below the smallest normal number, of that number, times the
# factor by which a formula multiplies the exponential that underflows
LIMIT = 8
CASES = [
    *(("smooth_leaky_relu", {"alpha": alpha}) for alpha in (1e-3, 0.01, 0.3, 0.999, 1.0)),
    *(
        ("leaky_tanh", {"alpha": alpha, "beta": beta})
        for alpha, beta in ((1.0, 0.1), (1.2, 0.3), (3.0, 1e-3), (0.01, 2.0), (0.7, 1.0))
    ),
    ("identity", {}),
    ("softplus", {}),
    *(("elu", {"alpha": alpha}) for alpha in (0.01, 0.3, 1.0)),
]
IDS = [f"{name}-{'-'.join(map(str, params.values()))}" for name, params in CASES]
FUNCTIONS = ("sigma", "dsigma", "log_dsigma", "dlog_dsigma")
cases = pytest.mark.parametrize(("name", "params"), CASES, ids=IDS)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def points(dtype):
    sizes = [1e-8, 1e-4, 0.01, 0.3, 0.84, 1, 2, 3, 5, 7.7, 10, 15.9, 16.1, 20, 37, 38.1, 50, 87]
    extra = {
        "float64": [1e-300, 1e-30, 150, 300, 700, 740, 1e4, 1e10, 1e100, 1e300],
        "float32": [1e-37, 1e-20, 100, 300, 700, 1e4, 1e10, 1e20, 1e37],
    }[dtype]
    y = np.sort(np.asarray(sizes + extra, dtype=dtype))
    return np.concatenate([-y[::-1], np.zeros(1, dtype), y])


# The truths, each with its scale: the value itself, or the larger of two terms that cancel. In
# leaky_tanh alpha y is rounded, which alone costs eps |y f'(y)|: its scale has that too.


def smooth_leaky_relu(alpha):
    a, c = mp.mpf(alpha), 1 - mp.mpf(alpha)

    def dsigma(y):
        return a + c / (1 + mp.exp(-y))

    def sigma(y):  # a zero near y = -0.84: the larger term
        terms = a * y, c * mp.log1p(mp.exp(y))
        return sum(terms), max(map(abs, terms))

    def log_dsigma(y):  # relative to the value; log a + log(sigma' / a) cancel for y < 0
        value = mp.log1p(-c / (1 + mp.exp(y)))
        return value, abs(value) if y > 0 else max(abs(value), abs(mp.log(a)))

    def dlog_dsigma(y):
        value = c / (1 + mp.exp(y)) / (1 + mp.exp(-y)) / dsigma(y)
        return value, value

    return sigma, lambda y: (dsigma(y), dsigma(y)), log_dsigma, dlog_dsigma


def leaky_tanh(alpha, beta):
    a, b = mp.mpf(alpha), mp.mpf(beta)

    def bend(y):
        return a / mp.cosh(a * y) ** 2

    def dlog(y):
        return -2 * a * mp.tanh(a * y) * bend(y) / (bend(y) + b)

    def sigma(y):
        value = mp.tanh(a * y) + b * y
        return value, abs(value)

    def dsigma(y):
        value = bend(y) + b
        return value, value * (1 + abs(y * dlog(y)))

    def log_dsigma(y):  # log b + log(sigma' / b)
        terms = mp.log(b), mp.log1p(bend(y) / b)
        return sum(terms), max(map(abs, terms)) + abs(y * dlog(y))

    def dlog_dsigma(y):  # |y f'| <= 4 a |y f|
        return dlog(y), abs(dlog(y)) * (1 + 4 * a * abs(y))

    return sigma, dsigma, log_dsigma, dlog_dsigma


def identity():
    return lambda y: (y, abs(y)), lambda y: (1, 1), lambda y: (0, 0), lambda y: (0, 0)


def softplus():
    values = (
        lambda y: mp.log1p(mp.exp(y)),
        lambda y: 1 / (1 + mp.exp(-y)),
        lambda y: -mp.log1p(mp.exp(-y)),
        lambda y: 1 / (1 + mp.exp(y)),
    )
    return [lambda y, f=f: (f(y), abs(f(y))) for f in values]


def elu(alpha):
    a = mp.mpf(alpha)

    def log_dsigma(y):  # log a and y cancel
        return (mp.log(a) + y, max(abs(mp.log(a)), abs(y))) if y <= 0 else (0, 0)

    def sigma(y):
        value = y if y > 0 else a * mp.expm1(y)
        return value, abs(value)

    def dsigma(y):
        value = 1 if y > 0 else a * mp.exp(y)
        return value, value

    return sigma, dsigma, log_dsigma, lambda y: (0, 0) if y > 0 else (1, 1)


TRUTHS = {f.__name__: f for f in (smooth_leaky_relu, leaky_tanh, identity, softplus, elu)}


def magnified(f):
    """The largest factor before the exponential of (log sigma')', and so of its underflow."""
    a, b = f.params.get("alpha", 1.0), f.params.get("beta")
    return {"smooth_leaky_relu": 1 / a, "leaky_tanh": 8 * a * a / (b or 1)}.get(f.name, 1.0)


def truths(f):
    return dict(zip(FUNCTIONS, TRUTHS[f.name](**f.params), strict=True))


def matches_the_truth(f, dtype, functions=FUNCTIONS):
    """Every function of `f` is within LIMIT eps of its scale, everywhere."""
    eps, tiny = (float(x) for x in (np.finfo(dtype).eps, np.finfo(dtype).tiny))
    y = points(dtype)
    for function in functions:
        values = getattr(f, function)(y)
        assert values.dtype == y.dtype
        truth = truths(f)[function]
        floor = tiny * max(1.0, magnified(f)) if function == "dlog_dsigma" else tiny
        for at, value in zip(map(float, y), map(float, values), strict=True):
            with mp.workdps(50):
                true, scale = truth(mp.mpf(at))
                ulps = abs(mp.mpf(value) - true) / (eps * max(scale, floor))
                assert ulps <= LIMIT, f"{function}({at}): {value}, off by {float(ulps):.3g} ulps"


@cases
@dtypes
@pytest.mark.parametrize("function", FUNCTIONS)
def test_values_to_the_last_digits(name, params, dtype, function):
    matches_the_truth(rg.activation(name, **params), dtype, [function])


@dtypes
def test_the_naive_log_of_the_slope_is_rejected(dtype):
    """log(a + c / (1 + e^-y)) has lost every digit at y = 38, in float32 at 16."""
    f = rg.activation("smooth_leaky_relu", alpha=0.3)
    naive = dataclasses.replace(f, log_dsigma=lambda y: np.log(f.dsigma(y)))
    with pytest.raises(AssertionError, match=r"log_dsigma.*ulps"):
        matches_the_truth(naive, dtype)
    y = np.asarray([38.1 if dtype == "float64" else 17.5], dtype=dtype)
    assert naive.log_dsigma(y)[0] == 0 > f.log_dsigma(y)[0]
    far = np.asarray([80], dtype=dtype)
    assert f.log_dsigma(far)[0] == pytest.approx(-0.7 * np.exp(-80.0), rel=1e-6)


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        ("sigma", lambda f, y: f.sigma(y) * (1 + 2e-15)),
        ("dsigma", lambda f, y: f.dsigma(-y)),
        ("log_dsigma", lambda f, y: f.log_dsigma(y) + 1e-13),
        ("dlog_dsigma", lambda f, y: -f.dlog_dsigma(y)),
    ],
)
@cases
def test_a_planted_mistake_is_rejected(name, params, function, wrong):
    f = rg.activation(name, **params)
    with np.errstate(over="ignore"):
        changed = wrong(f, points("float64")) != getattr(f, function)(points("float64"))
    if not changed.any():
        return  # 0 and 1 everywhere: the mistake changes nothing
    planted = dataclasses.replace(f, **{function: lambda y: wrong(f, y)})
    with pytest.raises(AssertionError, match=function):
        matches_the_truth(planted, "float64", [function])


# Derivatives by central differences: the value, and the slope of the error in h


def difference(f, y, h):
    up, down = y + h, y - h
    return (f(up) - f(down)) / (up - down)


def is_the_derivative(f, df, y, width=1.0, curved=True):
    """df = f' at the points y: the value at h = 1e-5, and an error that falls with h^2."""
    error = np.abs(difference(f, y, 1e-5 * width) - df(y))
    assert np.max(error * width) <= 1e-6, f"derivative off by {np.max(error):.3g}"
    if curved:  # the norm over all points: at a single one the third derivative may vanish
        errors = [np.linalg.norm(difference(f, y, h * width) - df(y)) for h in (0.04, 0.02)]
        slope = np.log2(errors[0] / errors[1])
        assert abs(slope - 2) <= 0.1, f"slope of the error in h: {slope:.3f}"


PAIRS = (("sigma", "dsigma"), ("log_dsigma", "dlog_dsigma"))


@st.composite
def curved(draw):
    """An activation, points where it bends, and the width of its bend."""
    spread = np.linspace(-2, 2, 33) + draw(st.floats(-4, 4))
    name = draw(st.sampled_from(["smooth_leaky_relu", "leaky_tanh", "softplus"]))
    if name == "smooth_leaky_relu":
        return rg.activation(name, alpha=draw(st.floats(1e-3, 0.95))), spread, 1.0
    if name == "softplus":
        return rg.activation(name), spread, 1.0
    alpha = draw(st.floats(0.1, 5))
    return (
        rg.activation(name, alpha=alpha, beta=draw(st.floats(0.01, 2))),
        spread / alpha,
        1 / alpha,
    )


@pytest.mark.parametrize("pair", PAIRS)
@given(case=curved())
def test_derivatives(pair, case):
    f, y, width = case
    is_the_derivative(*(getattr(f, function) for function in pair), y, width)


@pytest.mark.parametrize("alpha", [0.01, 0.3, 1.0])
def test_derivatives_of_elu_on_either_side_of_its_kink(alpha):
    f = rg.activation("elu", alpha=alpha)
    left, right = np.linspace(-5, -0.2, 33), np.linspace(0.2, 5, 33)
    is_the_derivative(f.sigma, f.dsigma, left)
    is_the_derivative(f.log_dsigma, f.dlog_dsigma, left, curved=False)  # linear
    for pair in PAIRS:  # linear
        is_the_derivative(*(getattr(f, function) for function in pair), right, curved=False)


@pytest.mark.parametrize(
    ("name", "params"), [("identity", {}), ("smooth_leaky_relu", {"alpha": 1.0})]
)
def test_derivatives_of_what_is_linear(name, params):
    f = rg.activation(name, **params)
    for pair in PAIRS:
        y = np.linspace(-5, 5, 33)
        is_the_derivative(*(getattr(f, function) for function in pair), y, curved=False)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f, y: -f.dlog_dsigma(y),
        lambda f, y: f.dlog_dsigma(y) * f.dsigma(y),  # sigma''
        lambda f, y: f.dlog_dsigma(y) + 3e-6,
    ],
)
def test_a_wrong_derivative_is_rejected(wrong):
    f = rg.activation("smooth_leaky_relu")
    with pytest.raises(AssertionError, match="derivative off"):
        is_the_derivative(f.log_dsigma, lambda y: wrong(f, y), np.linspace(-3, 3, 33))


def test_an_error_too_small_for_the_value_shows_in_the_slope():
    f = rg.activation("smooth_leaky_relu")
    with pytest.raises(AssertionError, match="slope"):
        is_the_derivative(f.log_dsigma, lambda y: f.dlog_dsigma(y) + 9e-7, np.linspace(4, 8, 33))


# The inverse


def larger_term(f, y):
    """The larger of the terms whose sum sigma is."""
    y = y.astype("float64")
    if f.name == "smooth_leaky_relu":
        a = f.params["alpha"]
        return np.maximum(np.abs(a * y), (1 - a) * np.logaddexp(0, y))
    if f.name == "leaky_tanh":
        return np.maximum(np.abs(f.params["beta"] * y), np.abs(np.tanh(f.params["alpha"] * y)))
    return np.abs(f.sigma(y))


def is_inverted(f, z, limit=4.0):
    """|sigma(inverse(z)) - z| <= limit eps times the larger term of sigma.

    A subnormal y has a spacing of its own, eps times the smallest normal number.
    """
    y = f.inverse(z)
    assert y.dtype == z.dtype
    residual = np.abs((f.sigma(y) - z).astype("float64"))
    info = np.finfo(z.dtype)
    floor = float(info.tiny) * np.maximum(1, f.dsigma(y).astype("float64"))
    allowed = limit * float(info.eps) * np.maximum(larger_term(f, y), floor)
    with np.errstate(invalid="ignore"):
        k = int(np.argmax(residual / allowed))
    assert (residual <= allowed).all(), (
        f"{f.name}{f.params}: sigma(inverse({z[k]!r})) off by "
        f"{residual[k] / allowed[k] * limit:.3g} eps of its larger term, at {y[k]!r}"
    )


def targets(f, dtype):
    """The whole range in decades, and sigma of a dense grid across every bend, with neighbours."""
    # float32 ends where alpha y, y = z / beta, would leave its range
    top = 300 if dtype == "float64" else 30
    decades = 10.0 ** np.linspace(-top, top, 3 * top + 1)
    width = 1 / f.params["alpha"] if f.name == "leaky_tanh" else 1.0
    bend = f.sigma(width * np.concatenate([np.linspace(-50, 50, 1501), np.geomspace(1e-8, 1, 50)]))
    z = np.concatenate([-decades, [0.0], decades, bend, -bend]).astype(dtype)
    z = np.concatenate([z, np.nextafter(z, z.dtype.type(np.inf))])
    return z


ONTO = [
    *(("smooth_leaky_relu", {"alpha": alpha}) for alpha in (1e-3, 0.01, 0.1, 0.3, 0.9, 1.0)),
    *(
        ("leaky_tanh", {"alpha": alpha, "beta": beta})
        for alpha in (1e-3, 0.1, 1.0, 3.0, 30.0, 1e4)
        for beta in (1e-3, 0.1, 2.0)
    ),
    ("identity", {}),
]


@pytest.mark.parametrize(
    ("name", "params"), ONTO, ids=[f"{n}-{'-'.join(map(str, p.values()))}" for n, p in ONTO]
)
@dtypes
def test_inverse(name, params, dtype):
    f = rg.activation(name, **params)
    is_inverted(f, targets(f, dtype))


@given(
    alpha=st.floats(1e-3, 1.0),
    z=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
)
def test_inverse_of_any_smooth_leaky_relu(alpha, z):
    is_inverted(rg.activation("smooth_leaky_relu", alpha=alpha), np.asarray(z))


@given(
    alpha=st.floats(1e-2, 1e2),
    beta=st.floats(1e-3, 10.0),
    z=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20),
)
def test_inverse_of_any_leaky_tanh(alpha, beta, z):
    is_inverted(rg.activation("leaky_tanh", alpha=alpha, beta=beta), np.asarray(z))


@dtypes
@pytest.mark.parametrize(("name", "params"), [c for c in CASES if c[0] in ("softplus", "elu")])
def test_inverse_of_what_is_not_onto(name, params, dtype):
    """y itself is rounded, which costs eps |y| sigma'(y) / 2 in sigma and is not in the limit."""
    f = rg.activation(name, **params)
    y = np.concatenate([np.linspace(-30, 30, 601), [1e-6, -1e-6, 1e4]])
    z = f.sigma(y).astype(dtype)
    low = f.params.get("alpha", 0.0)
    z = z[z > -np.asarray(low, dtype)]
    back = f.inverse(z).astype("float64")
    # elu ends at -alpha: its terms alpha e^y and alpha
    scale = np.abs(z) + np.abs(back) * f.dsigma(back) + (z < 0) * low
    assert np.all(np.abs(f.sigma(back) - z) <= LIMIT * float(np.finfo(dtype).eps) * scale)
    outside = f.inverse(np.asarray([-low - 0.5, -1e30], dtype=dtype))
    assert np.isnan(outside).all()


def test_a_sloppy_inverse_is_rejected():
    f = rg.activation("smooth_leaky_relu")
    planted = dataclasses.replace(f, inverse=lambda z: f.inverse(z) * (1 + 1e-14))
    with pytest.raises(AssertionError, match="off by"):
        is_inverted(planted, targets(f, "float64"))


# Special values, libraries, dtypes, shapes

LIMITS = {  # at -inf, inf
    "smooth_leaky_relu": ((-np.inf, np.inf), (0.3, 1), (np.log(0.3), 0), (0, 0)),
    "leaky_tanh": ((-np.inf, np.inf), (0.1, 0.1), (np.log(0.1), np.log(0.1)), (0, 0)),
    "identity": ((-np.inf, np.inf), (1, 1), (0, 0), (0, 0)),
    "softplus": ((0, np.inf), (0, 1), (-np.inf, 0), (1, 0)),
    "elu": ((-1, np.inf), (0, 1), (-np.inf, 0), (1, 0)),
}


@dtypes
@pytest.mark.parametrize("name", LIMITS)
def test_nan_and_infinity(name, dtype):
    f = rg.activation(name)
    ends = np.asarray([-np.inf, np.inf], dtype=dtype)
    for function, limits in zip(FUNCTIONS, LIMITS[name], strict=True):
        values = getattr(f, function)(ends)
        np.testing.assert_allclose(values, np.asarray(limits, dtype), rtol=1e-6, err_msg=function)
    for function in ("sigma", "inverse"):
        assert np.isnan(getattr(f, function)(np.asarray([np.nan], dtype=dtype))).all(), function
    if name not in ("identity", "elu"):  # whose slopes are piecewise constant, or nearly so
        for function in FUNCTIONS[1:]:
            assert np.isnan(getattr(f, function)(np.asarray([np.nan], dtype=dtype))).all()


@dtypes
@pytest.mark.parametrize(("name", "params"), ONTO[:3] + ONTO[5:12] + ONTO[-1:])
def test_infinity_of_what_is_onto(name, params, dtype):
    """Both ways, and without a warning, which pytest makes an error."""
    f = rg.activation(name, **params)
    z = np.asarray([-np.inf, np.nan, 1.0, np.inf], dtype=dtype)
    for function in (f.sigma, f.inverse):
        values = function(z)
        np.testing.assert_array_equal(values[[0, 1, 3]], z[[0, 1, 3]])
        assert np.isfinite(values[2])


def test_what_one_element_is_does_not_change_another():
    f = rg.activation("smooth_leaky_relu", alpha=1e-3)
    z = np.linspace(-3, 3, 41)
    with np.errstate(invalid="ignore"):
        mixed = f.inverse(np.concatenate([z, [np.nan, np.inf, -np.inf, 1e300]]))
    is_inverted(f, z)
    assert np.abs(f.sigma(mixed[:41]) - z).max() <= 4 * 2.0**-52 * larger_term(f, mixed[:41]).max()


def test_the_top_of_float32():
    """max(|z|) where the answer z is a float32 and z / alpha is not: no overflow, no warning."""
    is_inverted(rg.activation("smooth_leaky_relu", alpha=1e-3), np.asarray([1e37], "float32"))


@dtypes
@pytest.mark.parametrize("name", TRUTHS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_library_dtype_and_shape_are_kept(name, dtype, library):
    f = rg.activation(name)
    for shape in ((2, 3, 4), (5,), (0,), (2, 0), ()):
        plain = np.random.default_rng(0).normal(0.5, 0.2, shape).astype(dtype)
        y = LIBRARIES[library](plain)
        for function in (*FUNCTIONS, "inverse"):
            value = getattr(f, function)(y)
            assert value.dtype == y.dtype
            assert value.shape == shape
            if shape:
                assert type(value) is type(y)
            assert_same_numbers(to_numpy(value), getattr(f, function)(plain), library)
        np.testing.assert_array_equal(to_numpy(y), plain)


# Errors


@pytest.mark.parametrize("alpha", [0, 0.0, -0.3, 1.1, np.nan, np.inf, -np.inf])
def test_smooth_leaky_relu_refuses_a_slope_outside_its_range(alpha):
    with pytest.raises(ValueError, match=re.escape(f"`alpha` must be in (0, 1], got {alpha}")):
        rg.activation("smooth_leaky_relu", alpha=alpha)


@pytest.mark.parametrize("value", ["x", True, None, [0.3], np.asarray([0.3]), 0.3j, np.True_])
@pytest.mark.parametrize("parameter", ["alpha", "beta"])
def test_parameters_must_be_numbers(parameter, value):
    with pytest.raises(ValueError, match=f"`{parameter}` must be a number, got"):
        rg.activation("leaky_tanh", **{parameter: value})


@pytest.mark.parametrize("value", [0, -1, np.nan, np.inf])
@pytest.mark.parametrize(("name", "parameter"), [("leaky_tanh", "beta"), ("elu", "alpha")])
def test_parameters_must_be_positive(name, parameter, value):
    with pytest.raises(ValueError, match=f"`{parameter}` must be positive, got {value}"):
        rg.activation(name, **{parameter: value})


@pytest.mark.parametrize("value", [np.float32(0.25), np.float64(0.25), 1, np.int64(1)])
def test_numbers_of_any_kind_become_floats(value):
    params = rg.activation("smooth_leaky_relu", alpha=value).params
    assert params == {"alpha": float(value)}
    assert type(params["alpha"]) is float


@pytest.mark.parametrize("name", ["relu", "", None, "Identity"])
def test_an_unknown_name_lists_the_choices(name):
    choices = "smooth_leaky_relu, leaky_tanh, identity, softplus, elu"
    with pytest.raises(ValueError, match=f"unknown activation {name!r}; choose from {choices}"):
        rg.activation(name)


@pytest.mark.parametrize("name", LIMITS)
def test_an_unknown_parameter_is_named(name):
    with pytest.raises(ValueError, match=rf"activation '{name}'.*'gamma'"):
        rg.activation(name, gamma=1.0)


@cases
@pytest.mark.parametrize("function", [*FUNCTIONS, "inverse"])
def test_what_is_no_float_array_is_refused(name, params, function):
    f = getattr(rg.activation(name, **params), function)
    for y in (
        [0.5],
        0.5,
        1,
        None,
        "x",
        np.zeros((1, 1)).view(np.matrix),
        np.ma.masked_array([0.5]),
    ):
        with pytest.raises(TypeError, match=f"must be an array, got {type(y).__name__}"):
            f(y)
    for dtype in ("int64", "int32", "bool", "complex128", "float16", "longdouble", "object"):
        y = np.ones(2, dtype=dtype)
        with pytest.raises(ValueError, match=rf"`[yz]` must be float32 or float64, got {y.dtype}"):
            f(y)
    with pytest.raises(ValueError, match=r"`[yz]` must be float32 or float64, got"):
        f(array_api_strict.asarray([1, 2]))


def test_only_what_reaches_all_of_R_says_so():
    assert {name: rg.activation(name).onto for name in LIMITS} == {
        "smooth_leaky_relu": True,
        "leaky_tanh": True,
        "identity": True,
        "softplus": False,
        "elu": False,
    }
