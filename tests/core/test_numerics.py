"""phi1, the norm bound and the safeguarded Newton, against 50-digit and dense truths."""

import functools
import math

import mpmath as mp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from relgrad_np.core import numerics as _numerics
from relgrad_np.core.arrays import to_numpy
from relgrad_np.core.numerics import norm_bound, phi1, phi1_times, solve_increasing

from ..laws.problems import LIBRARIES

DTYPES = ("float64", "float32")
dtypes = pytest.mark.parametrize("dtype", DTYPES)
# at 3/4, or 5/2 in float32, a halving more begins
NORMS = [("float64", norm) for norm in (0.0, 1e-8, 0.5, 0.75, 0.7500001, 2.0, 20.0)]
NORMS += [("float32", norm) for norm in (0.0, 1e-8, 2.5, 2.500001, 20.0)]
norms = pytest.mark.parametrize(("dtype", "norm"), NORMS)


def matrix(kind, n, norm, dtype="float64", seed=0):
    """A matrix (n, n) of this spectral norm."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n))
    A = {
        "general": A,
        "nilpotent": np.triu(A, 1),
        "shear": np.triu(A) + 10 * np.triu(A, 1),  # far from normal
        "positive": A @ A.T,
        "negative": -A @ A.T,  # eigenvalues to -norm
        "rotation": A - A.T,
        "rank one": np.outer(A[0], A[-1]),
    }[kind]
    return (A * (norm / max(np.linalg.norm(A, 2), 1e-300))).astype(dtype)


KINDS = ("general", "nilpotent", "shear", "positive", "negative", "rotation", "rank one")


@functools.cache
def phi1_truth(entries, n):
    """sum_j M^j / (j + 1)! at 50 digits, until the terms are below 1e-30."""
    with mp.workdps(50):
        A = mp.matrix(n, n)
        for i, x in enumerate(entries):
            A[i // n, i % n] = mp.mpf(x)
        term = P = mp.eye(n)
        j = 1
        while mp.mnorm(term, 1) > mp.mpf(10) ** -30:
            j += 1
            term = term * A / j
            P = P + term
        return np.array([[float(P[i, k]) for k in range(n)] for i in range(n)])


def dense_phi1(M):
    """The same in float64, by scipy: it only scales a tolerance."""
    n = len(M)
    return scipy.linalg.expm(np.block([[M, np.eye(n)], [np.zeros((n, 2 * n))]]))[:n, n:]


def phi1_tolerance(M, eps):
    """64 eps S + inherited, through the series and through each doubling P + M P P / 2."""
    c, M = 64 * eps, M.astype("float64")
    size = float(norm_bound(M))
    halvings = max(0, int(np.ceil(np.log2(size / 0.75)))) if size > 0 else 0
    e = c * dense_phi1(np.abs(M) / 2**halvings)  # the series has no negative coefficient
    for s in range(halvings, 0, -1):
        P, A = np.abs(dense_phi1(M / 2**s)), np.abs(M) / 2**s
        e = e + A @ (e @ P + P @ e) / 2 + c * (P + A @ P @ P / 2)
    return np.max(e)


def is_phi1(f, M):
    values = to_numpy(f(M))
    M = to_numpy(M)
    assert values.dtype == M.dtype
    assert values.shape == M.shape
    error = np.max(np.abs(values - phi1_truth(tuple(map(float, M.ravel())), len(M))))
    allowed = phi1_tolerance(M, float(np.finfo(M.dtype).eps))
    assert error <= allowed, f"phi1 off by {error:.3g}, above {allowed:.3g}"


@norms
@pytest.mark.parametrize("kind", KINDS)
def test_phi1(kind, norm, dtype):
    M = matrix(kind, 4, norm, dtype)
    bound = float(norm_bound(M))
    is_phi1(phi1, M)
    is_phi1(lambda M: phi1(M, bound=bound), M)
    is_phi1(lambda M: phi1(M, bound=7 * bound), M)  # a loose bound costs products, not digits


@pytest.mark.parametrize("library", LIBRARIES)
@dtypes
def test_phi1_in_every_library(library, dtype):
    plain = matrix("general", 3, 2.0, dtype)
    M = LIBRARIES[library](plain)
    P = phi1(M)
    assert type(P) is type(M)
    is_phi1(phi1, M)
    np.testing.assert_array_equal(to_numpy(M), plain)


@pytest.mark.parametrize("x", [-20.0, -3.0, -1e-8, 0.0, 1e-8, 0.74, 0.76, 3.0, 20.0])
def test_phi1_of_a_number(x):
    with mp.workdps(50):
        true = float(mp.expm1(x) / x) if x else 1.0
    assert float(phi1(np.array([[x]]))[0, 0]) == pytest.approx(true, rel=64 * 2.0**-52)


@pytest.mark.parametrize("size", [0.0, 1e-8, 0.1, 0.75, 1.9, 2.1, 30.0])
@dtypes
def test_phi1_times(size, dtype):
    """Within 64 eps of phi1(|M|) @ |v|, times what squaring adds where |M| > 2."""
    M, v = matrix("general", 4, 1.0), np.random.default_rng(1).standard_normal(4).astype(dtype)
    M = (M * size / np.linalg.norm(M, 1)).astype(dtype)
    times = phi1_times(M, max(size, 1e-300), v)
    assert times.dtype == dtype
    true = phi1_truth(tuple(map(float, M.ravel())), 4) @ v
    bound = (np.expm1(size) / size if size else 1.0) * (1 + size) * np.abs(v).sum()
    assert np.abs(times - true).max() <= 64 * float(np.finfo(dtype).eps) * bound
    by_its_size = phi1_times(M, None, v)
    assert np.abs(by_its_size - true).max() <= 64 * float(np.finfo(dtype).eps) * bound
    apart = phi1_times(M, max(size, 1e-300), v[:, None], M @ M)[:, 0]  # even and odd powers
    assert np.abs(apart - true).max() <= 64 * float(np.finfo(dtype).eps) * bound
    wrong = phi1_times(M, max(size, 1e-300), v[:, None], 1.5 * (M @ M))[:, 0]
    assert not 0.5 < size < 3 or np.abs(wrong - true).max() > 1e-4 * bound


def test_phi1_of_a_zero_matrix_is_the_identity():
    np.testing.assert_array_equal(phi1(np.zeros((3, 3))), np.eye(3))
    np.testing.assert_array_equal(phi1(np.zeros((3, 3)), bound=1e-300), np.eye(3))


def test_phi1_is_not_finite_where_its_argument_is_not():
    for bad in (np.nan, np.inf):
        with np.errstate(invalid="ignore"):
            assert not np.isfinite(phi1(np.full((2, 2), bad))).any()


def without_scaling(M):
    return phi1(M, bound=0.75)


def without_the_square(M):
    """phi1(2 M) = phi1(M) + M phi1(M) / 2: the exponent forgotten."""
    P = phi1(M / 2)
    return P + (M / 2) @ P / 2


def exponential(M):
    return np.eye(len(M), dtype=M.dtype) + M @ phi1(M)


def transposed(M):
    return phi1(M.T)


@pytest.mark.parametrize("wrong", [without_scaling, without_the_square, exponential, transposed])
@dtypes
def test_a_planted_mistake_is_rejected(wrong, dtype):
    kind, norm = ("negative", 20.0) if wrong is without_scaling else ("shear", 2.0)
    with pytest.raises(AssertionError, match="phi1 off by"):
        is_phi1(wrong, matrix(kind, 4, norm, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_number_of_products(monkeypatch, dtype):
    """2, 3, or 6 + 2 s products (n, n) x (n, n), with s = ceil(log2(norm / 0.75 or 2.5))."""

    class Counted(np.ndarray):
        products = 0

        def __matmul__(self, other):
            Counted.products += 1
            return np.asarray(self).__matmul__(np.asarray(other)).view(Counted)

    monkeypatch.setattr(_numerics, "namespace", lambda x, name: np)
    large = 2.5 if dtype == "float32" else 0.75
    small = (0.1, 0.72) if dtype == "float32" else (1.8e-3, 0.077)
    cases = ((small[0], 2), (small[1], 3), (large, 6), (1.1 * large, 8), (10 * large, 14))
    for norm, most in cases:
        Counted.products = 0
        M = matrix("negative", 3, norm, dtype)
        phi1((M * (0.999 * norm / np.linalg.norm(M))).view(Counted))
        assert most - 1 <= Counted.products <= most


def test_the_size_that_is_read_is_taken_where_the_bound_is_loose(monkeypatch):
    degrees = []
    small = _numerics._phi1_small
    monkeypatch.setattr(_numerics, "_phi1_small", lambda *a: degrees.append(a[2]) or small(*a))
    phi1(1e-4 * matrix("general", 3, 1.0), bound=0.7)
    assert degrees == [4]


def test_the_coefficients_are_those_of_the_series():
    """Expanded, the form of degree 8 has the coefficients 1 / (j + 1)!."""
    x0, x1, x2, x3, x4 = _numerics.X
    M2, M = np.poly1d([1, 0, 0]), np.poly1d([1, 0])
    M4 = M2 * (x0 * M + M2)
    expanded = 1 + M / 2 + (1 / 6 - x1 * x2) * M2
    expanded += (x1 * M2 + M4) * (x2 + x3 * M + x4 * M2 + M4 / math.factorial(9))
    true = [1 / math.factorial(j + 1) for j in range(9)]
    np.testing.assert_allclose(expanded.c[::-1], true, rtol=1e-13)


@dtypes
def test_each_degree_is_right_up_to_its_bound(dtype):
    bounds = _numerics.FINE_32 if dtype == "float32" else _numerics.FINE_64
    for size, degree in zip(bounds, (4, 8, 15), strict=True):
        omitted = size ** (degree + 1) / math.factorial(degree + 2)
        assert 0.4 < omitted / (float(np.finfo(dtype).eps) / 8) < 1.05 or degree == 15
        for kind in KINDS:
            M = matrix(kind, 4, 1.0).astype("float64")
            M = (M * (size * 0.999 / max(np.linalg.norm(M), 1e-300))).astype(dtype)
            is_phi1(phi1, M)


# norm_bound

sizes = st.integers(1, 6).map(lambda n: (n, n))


@given(
    K=sizes.flatmap(
        lambda shape: hnp.arrays("float64", shape, elements=st.floats(-1, 1, allow_subnormal=False))
    ),
    power=st.integers(-100, 100),
)
def test_norm_bound_is_a_bound(K, power):
    """Above the spectral norm, within sqrt(n) of it; both are rounded: n eps for their sums.

    Of zeros it may be the smallest normal number.
    """
    n, K = len(K), np.ldexp(np.where(np.abs(K) < 2.0**-40, 0, K), power)
    true, bound = np.linalg.norm(K, 2), float(norm_bound(K))
    slack = 1 + 4 * n * 2.0**-52
    assert true <= bound * slack
    assert bound <= np.sqrt(n) * max(true, np.finfo(float).tiny) * slack


@pytest.mark.parametrize("kind", KINDS)
@dtypes
def test_norm_bound_of_each_kind(kind, dtype):
    for n in (1, 2, 5, 23):
        K = matrix(kind, n, 3.0, dtype, seed=n)
        true, bound = np.linalg.norm(K.astype("float64"), 2), norm_bound(K)
        assert bound.dtype == K.dtype
        slack = 1 + 4 * n * float(np.finfo(dtype).eps)
        assert true <= float(bound) * slack
        assert float(bound) <= np.sqrt(n) * max(true, float(np.finfo(dtype).tiny)) * slack


def test_norm_bound_takes_the_smaller_of_two():
    """|K|_F = sqrt(n) of an identity, where the other is 1; n of ones, where both are."""
    assert norm_bound(np.eye(9)) == 1.0
    assert norm_bound(np.ones((9, 9))) == pytest.approx(9.0)
    one_row = np.zeros((9, 9))
    one_row[0] = 1.0  # |K|_F = |K|_2 = 3 = sqrt(1 * 9)
    assert norm_bound(one_row) == pytest.approx(3.0)
    mixed = np.diag([1.0, 0, 0]) + np.array([[0, 1.0, 1], [1, 0, 0], [1, 0, 0]])  # F: sqrt 5 < 3
    assert norm_bound(mixed) == pytest.approx(5**0.5)


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(1e-200, "float64"), (1e200, "float64"), (1e-25, "float32"), (1e25, "float32")],
)
def test_norm_bound_where_squares_leave_the_range(size, dtype):
    K = np.asarray([[size, 0], [0, -size / 2]], dtype=dtype)
    assert float(norm_bound(K)) == pytest.approx(size, rel=1e-6, abs=0.0)


def test_norm_bound_of_what_is_not_finite():
    assert np.isnan(norm_bound(np.asarray([[np.nan, 1.0], [0.0, 1.0]])))
    assert norm_bound(np.asarray([[np.inf, 1.0], [0.0, 1.0]])) == np.inf


@pytest.mark.parametrize("f", [phi1, norm_bound])
def test_what_is_no_float_array_is_refused(f):
    with pytest.raises(TypeError, match=r"`[MK]` must be an array, got list"):
        f([[1.0]])
    with pytest.raises(ValueError, match=r"`[MK]` must be float32 or float64, got int64"):
        f(np.ones((2, 2), dtype="int64"))


# solve_increasing: f(y) = z on a bracket


def solves(name, z, low, high, dtype="float64"):
    f, df = INCREASING[name]
    z, low, high = (np.asarray(x, dtype=dtype) for x in (z, low, high))
    low, high = np.broadcast_to(low, z.shape), np.broadcast_to(high, z.shape)
    y = solve_increasing(np, lambda xp, y: f(y), lambda xp, y: df(y), z, low, high)
    assert y.dtype == z.dtype
    assert ((low <= y) & (y <= high)).all(), "left the bracket"
    residual = np.abs(f(y) - z)
    # y is rounded to eps |y| / 2, f to a few eps of its terms, all at most |f| + 1
    eps = float(np.finfo(dtype).eps)
    allowed = 8 * eps * (np.abs(z) + 1 + np.abs(y) * df(y))
    k = int(np.argmax(residual / allowed))
    assert (residual <= allowed).all(), f"{name}: f({y[k]}) = {f(y[k])}, not {z[k]}"


def logistic(y):
    return 0.5 * (1 + np.tanh(0.5 * y))


INCREASING = {
    # Newton alone diverges from |y| > 1.39
    "arctan": (np.arctan, lambda y: 1 / (1 + y * y)),
    # Newton alone jumps to 1e8 from where it is nearly flat
    "nearly flat steps": (
        lambda y: 1e-9 * y + np.tanh(30 * y) + np.tanh(30 * (y - 3)),
        lambda y: (
            1e-9
            + 30 * (np.cosh(np.clip(30 * y, -300, 300)) ** -2.0)
            + 30 * (np.cosh(np.clip(30 * (y - 3), -300, 300)) ** -2.0)
        ),
    ),
    # an inflection with slope 1e-12
    "inflection": (lambda y: y**3 + 1e-12 * y, lambda y: 3 * y * y + 1e-12),
    # Newton alone has a cycle of two: 0 -> 1 -> 0 for z = 0
    "square root on both sides": (
        lambda y: np.sign(y) * (np.sqrt(np.abs(y) + 1e-6) - 1e-3),
        lambda y: 0.5 / np.sqrt(np.abs(y) + 1e-6),
    ),
    # and the default activation, with its cycle of two near z = 0.82
    "leaky tanh": (
        lambda y: np.tanh(y) + 0.1 * y,
        lambda y: 1 / np.cosh(np.clip(y, -300, 300)) ** 2 + 0.1,
    ),
    "narrow step": (
        lambda y: np.tanh(1e4 * y) + 0.1 * y,
        lambda y: 1e4 / np.cosh(np.clip(1e4 * y, -300, 300)) ** 2 + 0.1,
    ),
    "steep": (lambda y: np.exp(np.minimum(y, 600)), lambda y: np.exp(np.minimum(y, 600))),
}


@pytest.mark.parametrize(
    ("name", "z", "low", "high"),
    [
        ("arctan", np.linspace(-1.5, 1.5, 301), -50.0, 1000.0),
        ("nearly flat steps", np.linspace(-2.5, 2.5, 401), -2e9, 3e9),
        ("inflection", np.linspace(-1, 1, 301) ** 5, -4.0, 9.0),
        ("square root on both sides", np.linspace(-3, 3, 301), -20.0, 31.0),
        ("leaky tanh", np.linspace(-3, 3, 3001), -50.0, 60.0),
        ("narrow step", np.linspace(-3, 3, 3001), -50.0, 60.0),
        ("steep", np.geomspace(1e-3, 1e30, 301), -10.0, 100.0),
    ],
)
def test_newton_with_its_safeguard(name, z, low, high):
    """All at once, and each alone: a run ends when no element moves any more."""
    solves(name, z, low, high)
    for value in z[::10]:
        solves(name, np.asarray([value]), low, high)


@given(
    name=st.sampled_from(["arctan", "leaky tanh", "narrow step", "inflection"]),
    root=st.floats(-8, 8),
    left=st.floats(1e-3, 1e3),
    right=st.floats(1e-3, 1e3),
)
def test_newton_on_any_bracket(name, root, left, right):
    f, _ = INCREASING[name]
    z = f(np.asarray([root]))
    assume(np.isfinite(z).all())
    solves(name, z, root - left, root + right)


def test_a_truly_flat_part():
    """f = max(y, 0) + min(y + 1, 0): slope 0 on [-1, 0], where Newton divides by 0."""

    def f(xp, y):
        return xp.maximum(y, 0 * y) + xp.minimum(y + 1, 0 * y)

    def df(xp, y):
        return xp.where((y > 0) | (y < -1), 1.0, 0.0)

    z = np.asarray([-3.0, -0.25, 0.5, 7.0])
    with np.errstate(divide="ignore", invalid="ignore"):
        y = solve_increasing(np, f, df, z, np.full(4, -10.0), np.full(4, 9.0))
    np.testing.assert_allclose(f(np, y), z, rtol=4 * 2.0**-52)


def test_the_ends_of_the_bracket_may_be_the_root():
    z = np.asarray([-1.0, 2.0])
    y = solve_increasing(np, lambda xp, y: y, lambda xp, y: np.ones_like(y), z, z, z)
    np.testing.assert_array_equal(y, z)
    y = solve_increasing(
        np, lambda xp, y: y, lambda xp, y: np.ones_like(y), z, z, np.asarray([5.0, 5.0])
    )
    np.testing.assert_array_equal(y, z)


def test_an_inverse_takes_few_steps_where_rounding_hides_the_root():
    """Halving what is left of a bracket takes about fifty, for a few rows in a thousand."""
    calls, slope, c = [], 0.3, 0.7

    def f(xp, y):
        calls.append(len(y))
        return slope * y + c * np.logaddexp(0, y)

    z = 2 * np.random.default_rng(0).standard_t(4, 5000)  # near c log 2, too, where y is near 0
    low, high = (np.maximum(v, 0) + np.minimum(v, 0) / slope for v in (z - c * np.log(2), z))
    y = solve_increasing(np, f, lambda xp, y: slope + c / (1 + np.exp(-y)), z, low, high)
    assert len(calls) < 12
    wrong = abs(f(np, y) - z) / np.maximum(abs(slope * y), c * np.logaddexp(0, y))
    assert wrong.max() <= 4 * 2.0**-52


def test_nan_and_infinity_pass_through():
    z = np.asarray([np.nan, -np.inf, 0.5, np.inf])
    with np.errstate(invalid="ignore"):
        y = solve_increasing(
            np, lambda xp, y: y + np.arctan(y), lambda xp, y: 1 + 1 / (1 + y * y), z, z - 2, z + 2
        )
    np.testing.assert_array_equal(y[[0, 1, 3]], z[[0, 1, 3]])
    assert y[2] + np.arctan(y[2]) == pytest.approx(0.5, rel=1e-15)
