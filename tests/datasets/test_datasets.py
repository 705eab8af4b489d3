"""Transforms, toys, digits, splits and the Gaussian baseline, each against an independent truth."""

import json
import math
import sys

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from relgrad_np.datasets import (
    NAMES,
    SPLITS,
    TOYS,
    Chain,
    Dequantise,
    Logit,
    Standardise,
    bits_per_dim,
    by_name,
    digits,
    from_dict,
    gaussian_log_likelihood,
    load,
    toy,
)

toys = pytest.mark.parametrize("name", TOYS)
N, D = 7, 3
STANDARDISE = Standardise((0.3, -2.0, 5.0), (0.2, 3.0, 1.5))
SMOOTH = {
    "logit": Logit(0.0),
    "logit, lam": Logit(0.05),
    "standardise": STANDARDISE,
    "chain": Chain((Logit(1e-6), STANDARDISE)),
    "mixed chain": Chain((Logit(0.2), Standardise((0.0, 0.1, 0.2), (4.0, 5.0, 6.0)), STANDARDISE)),
}
smooth = pytest.mark.parametrize("transform", SMOOTH.values(), ids=SMOOTH)


def rng(seed=0):
    return np.random.default_rng(seed)


def unit(seed=0):
    """Return generic continuous inputs, away from the ends of [0, 1] by more than any step."""
    return rng(seed).uniform(0.05, 0.95, (N, D))


def dense_log_det(forward, X, h=1e-5):
    """Return log |det| of the dense Jacobian at each row, by central differences."""
    steps = [(forward(X + h * e) - forward(X - h * e)) / (2 * h) for e in np.eye(X.shape[1])]
    return np.linalg.slogdet(np.stack(steps, axis=2))[1]


def log_det(transform, X):
    is_chain = isinstance(transform, Chain)
    return transform.forward_with_log_det(X)[1] if is_chain else transform.log_det(X)


# Transforms


@smooth
def test_log_det_is_the_dense_jacobian(transform):
    X = unit()
    got = log_det(transform, X)
    assert got.shape == (N,)
    np.testing.assert_allclose(got, dense_log_det(transform.forward, X), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda s, rest: -(math.log(0.9) - np.log(s) - np.log(rest)),
        lambda s, rest: -np.log(s) - np.log(rest),
        lambda s, rest: math.log(0.9) - np.log(s) + np.log(rest),
    ],
    ids=["sign", "no scale", "one sign"],
)
def test_a_wrong_log_det_is_rejected(wrong):
    X, t = unit(), Logit(0.05)
    s = 0.05 + 0.9 * X
    error = wrong(s, 1 - s).sum(axis=1) - dense_log_det(t.forward, X)
    assert np.abs(error).max() > 1e-2


@smooth
def test_round_trip(transform):
    X = unit(1)
    np.testing.assert_allclose(transform.inverse(transform.forward(X)), X, rtol=0, atol=1e-14)


def test_dequantise_stays_in_its_pixel():
    X = np.arange(17.0).repeat(300).reshape(-1, 3)
    t = Dequantise(17)
    Z = t.forward(X, rng())
    U = 17 * Z - X
    assert U.min() > -1e-14
    assert U.max() < 1 + 1e-14
    assert abs(U.mean() - 0.5) < 5 * math.sqrt(1 / 12 / U.size)
    np.testing.assert_array_equal(t.inverse(Z), X)
    np.testing.assert_array_equal(t.inverse([[-0.2, 1.0, 1.7]]), [[0, 16, 16]])


def test_dequantise_log_det_is_that_of_the_division():
    X, t = rng().integers(0, 16, (N, D)), Dequantise(17)
    slopes = t.forward(X + 1, rng(3)) - t.forward(X, rng(3))  # the same noise: linear in X
    np.testing.assert_allclose(t.log_det(X), np.log(slopes).sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(t.log_det(X + 0.3), t.log_det(X))


def test_dequantise_needs_and_obeys_its_generator():
    X, t = np.ones((N, D)), Dequantise(3)
    np.testing.assert_array_equal(t.forward(X, rng(4)), t.forward(X, rng(4)))
    assert (t.forward(X, rng(4)) != t.forward(X, rng(5))).all()
    with pytest.raises(TypeError, match=r"`rng` must be a numpy\.random\.Generator, got NoneType"):
        t.forward(X)


def test_logit_is_stable_at_both_ends():
    x = np.array([[1e-300, 1e-12, 0.5, 1 - 2.0**-53]])
    t = Logit(0.0)
    Z = t.forward(x)
    np.testing.assert_allclose(Z, [[math.log(1e-300), math.log(1e-12), 0, 53 * math.log(2)]])
    np.testing.assert_allclose(t.inverse(Z), x, rtol=2e-13)  # eps times |Z|
    np.testing.assert_array_equal(t.inverse([[-1e4, 1e4]]), [[0.0, 1.0]])
    ends = Logit(1e-6).forward([[0.0, 1.0]])
    bound = math.log1p(-1e-6) - math.log(1e-6)
    np.testing.assert_allclose(ends, [[-bound, bound]], rtol=1e-14)


def test_standardise_has_the_moments_of_the_rows():
    X = rng().normal([3.0, -100.0], [0.1, 40.0], (50, 2))
    t = Standardise.fit(X)
    np.testing.assert_allclose(t.mean, X.sum(axis=0) / 50)
    np.testing.assert_allclose(t.std, np.sqrt(((X - t.mean) ** 2).sum(axis=0) / 50))
    Z = t.forward(X)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((Z**2).mean(axis=0), 1)


@pytest.mark.parametrize("t", [Dequantise(256), Logit(), Logit(0.0), STANDARDISE])
def test_records_survive_json(t):
    again = from_dict(json.loads(json.dumps(t.to_dict())))
    assert again == t
    assert type(again) is type(t)
    assert hash(again) == hash(t)


def test_chain_survives_json_and_applies_in_order():
    chain = Chain((Dequantise(17), Logit(0.01), STANDARDISE))
    again = Chain.from_list(json.loads(json.dumps(chain.to_list())))
    assert again == chain
    X = rng().integers(0, 17, (N, D))
    Z, total = chain.forward_with_log_det(X, rng(2))
    np.testing.assert_array_equal(again.forward(X, rng(2)), Z)
    a = Dequantise(17).forward(X, rng(2))
    b = Logit(0.01).forward(a)
    np.testing.assert_array_equal(Z, STANDARDISE.forward(b))
    parts = Dequantise(17).log_det(X) + Logit(0.01).log_det(a) + STANDARDISE.log_det(b)
    np.testing.assert_allclose(total, parts, rtol=1e-15)
    np.testing.assert_array_equal(chain.inverse(Z), X)


def test_an_empty_chain_is_the_identity():
    Z, total = Chain(()).forward_with_log_det(unit())
    np.testing.assert_array_equal(Z, unit())
    np.testing.assert_array_equal(total, np.zeros(N))


def test_inputs_are_left_alone():
    for t in (Dequantise(2), Logit(), STANDARDISE):
        X = np.ones((N, D))
        X.flags.writeable = False
        t.inverse(t.forward(X, rng()))
        t.log_det(X)


NAN = np.ones((4, 3))
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Logit().forward(np.ones(3)), "`X` must have shape (N, D), N >= 1, got (3,)"),
        (lambda: Logit().forward(np.ones((0, 3))), "`X` must have shape (N, D), N >= 1, got (0, 3"),
        (lambda: Logit().forward([["a"]]), "`X` must hold real numbers, got <U1"),
        (lambda: Logit().forward([[1j]]), "`X` must hold real numbers, got complex128"),
        (lambda: Logit().forward(NAN), "`X` must be finite, got nan at row 2, column 1"),
        (lambda: Logit().inverse(NAN), "`Z` must be finite, got nan at row 2, column 1"),
        (lambda: Logit().log_det(-NAN), "`X` must be finite, got nan at row 2, column 1"),
        (lambda: Dequantise(9).forward([[np.inf]], rng()), "`X` must be finite, got inf at row 0"),
        (
            lambda: Logit().forward([[0.5, 1.5]]),
            "`X` must be in [0, 1], got 1.5 at row 0, column 1",
        ),
        (lambda: Logit().log_det([[-0.1]]), "`X` must be in [0, 1], got -0.1 at row 0, column 0"),
        (lambda: Logit(0.0).forward([[0.0]]), "`X` must be in (0, 1) when lam = 0, got 0.0"),
        (lambda: Logit(0.5), "`lam` must be in [0, 0.5), got 0.5"),
        (lambda: Logit(-1e-9), "`lam` must be in [0, 0.5), got -1e-09"),
        (lambda: Logit(math.nan), "`lam` must be in [0, 0.5), got nan"),
        (lambda: Dequantise(2.5), "`levels` must be a positive integer, got 2.5"),
        (
            lambda: Dequantise(17).forward([[3.0], [0.5]], rng()),
            "`X` must be a whole number 0, ..., 16, got 0.5 at row 1, column 0",
        ),
        (lambda: Dequantise(17).forward([[17]], rng()), "got 17.0 at row 0, column 0"),
        (lambda: Dequantise(17).forward([[-1]], rng()), "got -1.0 at row 0, column 0"),
        (lambda: STANDARDISE.forward(np.ones((2, 4))), "`X` must have shape (N, 3), N >= 1, got"),
        (lambda: STANDARDISE.inverse(np.ones((2, 4))), "`Z` must have shape (N, 3), N >= 1, got"),
        (lambda: Standardise((1.0,), (0.0,)), "`std` must be finite and positive"),
        (lambda: Standardise((math.inf,), (1.0,)), "`mean` must be finite"),
        (lambda: Standardise((1.0, 2.0), (1.0,)), "`std` must have shape (D,), D >= 1, got (1,)"),
        (
            lambda: Standardise.fit([[0.1, 1, 7], [0.1, 2, 7], [0.1, 3, 7]]),
            "`X` has columns that are constant: 0, 2",
        ),
        (
            lambda: from_dict({"name": "log"}),
            "unknown transform 'log'; choose from dequantise, dequantise_columns, logit, support, standardise",
        ),
        (
            lambda: from_dict({"name": "logit", "lambda": 1}),
            "transform 'logit' has no parameter 'lambda', only lam",
        ),
        (lambda: bits_per_dim(0.0, 0.0, 0), "`D` must be a positive integer, got 0"),
    ],
)
def test_errors_name_what_is_wrong(call, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        call()
    assert str(caught.value).startswith(message) or message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_chain_holds_transforms():
    with pytest.raises(TypeError, match="`transforms` must hold transforms, got str"):
        Chain(("logit",))


# Bits per dimension


def test_bits_of_the_uniform_and_per_sample():
    bits = bits_per_dim(np.zeros(2), Dequantise(17).log_det(np.zeros((2, 5))), 5)
    np.testing.assert_allclose(bits, [math.log2(17)] * 2)
    np.testing.assert_allclose(bits_per_dim([math.log(2) * -6], [0.0], 3), [2.0])


def test_bits_are_a_density_over_pixels():
    levels, logit, standardise = 17, Logit(0.0), Standardise((-0.7,), (1.9,))
    v = (np.arange(200_000)[:, None] + 0.5) * levels / 200_000  # pixel units
    chain = Chain((logit, standardise))
    Z, total = chain.forward_with_log_det(v / levels)
    total = total + Dequantise(levels).log_det(v)
    log_prob = -0.5 * Z[:, 0] ** 2 - 0.5 * math.log(2 * math.pi)
    density = 2.0 ** -bits_per_dim(log_prob, total, 1)
    assert density.mean() * levels == pytest.approx(1, abs=1e-6)


# Toys


@toys
def test_toy_is_finite_seeded_and_in_the_window(name):
    X = toy(name, 3000, rng(1))
    assert X.shape == (3000, 2)
    assert X.dtype == np.float64
    assert np.isfinite(X).all()
    assert (np.abs(X) < 4).mean() > 0.995
    assert np.abs(X).max() < 5.5
    assert np.ptp(X, axis=0).min() > 3.5
    np.testing.assert_array_equal(X, toy(name, 3000, rng(1)))
    assert not np.equal(X, toy(name, 3000, rng(2))).any()
    assert toy(name, 1, rng()).shape == (1, 2)


@toys
def test_toy_rows_are_in_no_order(name):
    X = toy(name, 8000, rng(3))
    standard_error = np.sqrt(2 / 4000) * X.std(axis=0)
    assert (np.abs(X[:4000].mean(axis=0) - X[4000:].mean(axis=0)) < 4 * standard_error).all()
    lag = (X[1:] * X[:-1]).mean(axis=0) - X.mean(axis=0) ** 2
    assert (np.abs(lag) < 5 * X.var(axis=0) / math.sqrt(8000)).all()


def share(X, point):
    return (np.hypot(*(X - point).T) < 0.28).mean()


EIGHT = [(3 * math.cos(k * math.pi / 4), 3 * math.sin(k * math.pi / 4)) for k in range(8)]
DARK = [(2 * c - 3, 2 * r - 3) for r in range(4) for c in range(4) if (r + c) % 2 == 0]
LIGHT = [(2 * c - 3, 2 * r - 3) for r in range(4) for c in range(4) if (r + c) % 2]
LANDMARKS = {  # points that are inhabited, points that are empty
    "8gaussians": (EIGHT, [(0, 0), (1.5, 0), (2.7, 1.1)]),
    "sine": ([(0, 0), (0.98, 2.2), (-0.98, -2.2)], [(1, 0), (-1, 0), (3, 1)]),
    "moons": ([(-1, 1.5), (1, -1.5), (1, -0.5), (-1, 0.5)], [(-1, -1.5), (1, 1.5), (0, 0)]),
    "trimodal": ([(0, 2), (-1.7, -1), (1.7, -1)], [(0, -2), (1.7, 1), (-1.7, 1)]),
    "smile": (
        [(-1.25, 1.1), (1.25, 1.1), (0, -2.2), (1.5, -1.5), (-1.5, -1.5), (3.5, 0), (0, 3.5)],
        [(0, 0), (0, 1.1), (0, -1.2), (2.3, -1), (0, 2.5)],
    ),
    "2spirals": ([(0, 1.2 * 2.5), (0, -1.2 * 2.5), (-3.5, 0), (3.5, 0)], [(0, 2.4), (0, -2.4)]),
    "checkerboard": (DARK, LIGHT),
    "rings": ([(0.9 * k, 0) for k in (-4, -3, -2, -1, 1, 2, 3, 4)], [(0, 0), (0, 1.35)]),
}


@toys
def test_toy_has_its_landmarks_and_no_other_toy_has_them_all(name):
    X = toy(name, 20_000, rng(5))

    def fits(inhabited, empty):
        few, many = 0.001, 0.002  # a disc's share of points evenly spread over the window: 0.004
        return all(share(X, p) > many for p in inhabited) and all(share(X, p) < few for p in empty)

    assert [other for other in TOYS if fits(*LANDMARKS[other])] == [name]


def test_toy_errors():
    with pytest.raises(
        ValueError, match=r"^unknown toy 'moon'; choose from 8gaussians, sine, moons"
    ):
        toy("moon", 3, rng())
    with pytest.raises(ValueError, match="`n` must be a positive integer, got 0"):
        toy("moons", 0, rng())
    with pytest.raises(TypeError, match=r"`rng` must be a numpy\.random\.Generator, got int"):
        toy("moons", 3, 0)


# Splits


def test_names_are_digits_and_every_toy():
    assert list(NAMES) == ["digits", *(f"toy:{name}" for name in TOYS)]
    assert len(TOYS) == 8
    for wrong in ("digit", "toy:", "toy:moon", "moons"):
        with pytest.raises(
            ValueError, match=f"^unknown data '{wrong}'; choose from digits, toy:8g"
        ):
            load(wrong)


@pytest.mark.parametrize("name", ["digits", "toy:sine"])
def test_load_is_determined_by_its_seed(name):
    one, two, other = load(name, 3), load(name, 3), load(name, 4)
    for split in SPLITS:
        np.testing.assert_array_equal(getattr(one, split), getattr(two, split))
        np.testing.assert_array_equal(one.log_det[split], two.log_det[split])
        assert not (getattr(one, split) == getattr(other, split)).any()
    assert one.transforms == two.transforms
    assert one.transforms != other.transforms


def test_digits_are_cut_without_loss_or_overlap():
    data, X = load("digits", 1), digits()
    assert [len(getattr(data, split)) for split in SPLITS] == [1257, 270, 270]
    back = np.concatenate([data.transforms.inverse(getattr(data, split)) for split in SPLITS])
    assert (back == X).all(axis=1).sum() < 20  # shuffled
    np.testing.assert_array_equal(back[np.lexsort(back.T)], X[np.lexsort(X.T)])
    assert len(np.unique(X, axis=0)) == 1797  # so that a partition of the rows is disjoint


@pytest.mark.parametrize(("n", "sizes"), [(None, (10_000, 2000, 2000)), (50, (50, 10, 10))])
def test_toy_splits(n, sizes):
    data = load("toy:rings", 2, n)
    parts = [data.transforms.inverse(getattr(data, split)) for split in SPLITS]
    assert tuple(map(len, parts)) == sizes
    assert len(np.unique(np.concatenate(parts), axis=0)) == sum(sizes)
    expected = toy("rings", sum(sizes), rng(2))
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=0, atol=1e-14)
    assert (data.levels, data.image_shape) == (None, None)


@pytest.mark.parametrize("name", NAMES)
def test_log_det_is_that_of_the_chain_at_each_row(name):
    data = load(name, 5, None if name == "digits" else 40)
    *before, standardise = data.transforms.transforms
    for split in SPLITS:
        Y = standardise.inverse(getattr(data, split))
        expected = standardise.log_det(Y)
        for t in reversed(before):
            Y = t.inverse(Y)
            expected = expected + t.log_det(Y)
        assert data.log_det[split].shape == (len(Y),)
        np.testing.assert_allclose(data.log_det[split], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_train_is_standardised_by_its_own_moments(name):
    data = load(name, 6, None if name == "digits" else 300)
    np.testing.assert_allclose(data.train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose((data.train**2).mean(axis=0), 1, rtol=1e-12)
    assert np.abs(data.test.mean(axis=0)).max() > 1e-3
    assert isinstance(data.transforms.transforms[-1], Standardise)


def test_held_out_rows_do_not_reach_the_transforms(monkeypatch):
    clean = load("toy:moons", 7, 100)

    def moved(name, n, rng):
        X = toy(name, n, rng)
        X[100:] *= 1000
        return X

    monkeypatch.setattr(by_name, "toy", moved)
    data = load("toy:moons", 7, 100)
    np.testing.assert_array_equal(data.train, clean.train)
    assert data.transforms == clean.transforms
    assert np.abs(data.test).max() > 100

    X = digits()
    pixels = np.random.default_rng(7).permutation(X)  # the permutation that `load` draws first
    held_out = {row.tobytes() for row in pixels[1257:]}
    for i, row in enumerate(X):
        if row.tobytes() in held_out:
            X[i] = 16 - row
    clean = load("digits", 7)
    monkeypatch.setattr(by_name, "digits", lambda: X)
    data = load("digits", 7)
    np.testing.assert_array_equal(data.train, clean.train)
    assert data.transforms == clean.transforms
    assert not (data.test == clean.test).all()


def test_digits_are_fixed_in_number():
    with pytest.raises(ValueError, match="`n` must be None for digits, which are 1797 images"):
        load("digits", n=100)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        ModuleNotFoundError, match="come with scikit-learn: pip install scikit-learn"
    ):
        load("digits")


# The Gaussian


def correlated(seed, N=40, D=5):
    g = rng(seed)
    return g.normal(size=(N, D)) @ g.normal(size=(D, D)) + g.normal(size=D)


def test_gaussian_is_that_of_scipy():
    train, X = correlated(0), correlated(1, N=11)
    truth = multivariate_normal(train.mean(axis=0), np.cov(train.T, bias=True)).logpdf(X)
    got = gaussian_log_likelihood(train, X)
    assert got.shape == (11,)
    np.testing.assert_allclose(got, truth, rtol=1e-9)


def test_gaussian_by_n_minus_one_is_rejected():
    train, X = correlated(0), correlated(1, N=11)
    wrong = multivariate_normal(train.mean(axis=0), np.cov(train.T)).logpdf(X)
    assert np.abs(gaussian_log_likelihood(train, X) - wrong).max() > 1e-2


def test_gaussian_is_the_maximum():
    train = correlated(2)
    m, C = train.mean(axis=0), np.cov(train.T, bias=True)
    best = gaussian_log_likelihood(train, train).mean()
    for scale, shift in ((1.1, 0.0), (0.9, 0.0), (1.0, 0.1), (1.0, -0.1)):
        assert multivariate_normal(m + shift, scale * C).logpdf(train).mean() < best


def test_gaussian_bears_unlike_units():
    train, X = correlated(3), correlated(4)
    units = np.array([1e-9, 1e9, 1.0, 1e-5, 1e6])
    expected = gaussian_log_likelihood(train, X) - np.log(units).sum()
    np.testing.assert_allclose(gaussian_log_likelihood(train * units, X * units), expected)


def test_gaussian_needs_full_rank():
    train = correlated(5)
    train[:, 4] = train[:, 0] - 2 * train[:, 2]
    with pytest.raises(np.linalg.LinAlgError, match=r"`train`, 40 rows, has rank 4, not 5"):
        gaussian_log_likelihood(train, train)
    with pytest.raises(np.linalg.LinAlgError, match=r"`train`, 4 rows, has rank 3, not 5"):
        gaussian_log_likelihood(correlated(6, N=4), train)
    train[:, 4] = 0.1
    with pytest.raises(ValueError, match="`train` has columns that are constant: 4"):
        gaussian_log_likelihood(train, train)
    with pytest.raises(ValueError, match=r"`X` must have shape \(N, 5\), N >= 1, got \(2, 3\)"):
        gaussian_log_likelihood(train, np.ones((2, 3)))
    with pytest.raises(ValueError, match="`train` must be finite, got nan at row 2, column 1"):
        gaussian_log_likelihood(NAN, NAN)
