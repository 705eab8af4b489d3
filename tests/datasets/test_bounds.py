"""Columns with bounds: the maps to the last digits, the mass of their densities, files, refusals."""

import json
import math

import numpy as np
import pytest

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from relgrad_np.cli.main import main
from relgrad_np.datasets import Reading, load
from relgrad_np.datasets.bounds import intervals
from relgrad_np.datasets.transforms import Chain, Standardise, Support, from_dict

INTERVALS = [(0.0, 120.0), (2.0, None), (None, -3.0), (-1e-3, 1e-3), (1e6, 1e6 + 1), (None, None)]


def of(low, high, kind=Support):
    return kind((low,), (high,), (0.3 if (low, high) != (None, None) else 0.0,))


def rows(low, high, n=9):
    """Points of an interval, some of them close to its bounds."""
    shares = np.r_[1e-12, 1e-6, np.linspace(0.05, 0.95, n - 3), 1 - 1e-6]
    if low is not None and high is not None:
        X = low + (high - low) * shares
        return X[(low < X) & (high > X), None]
    sizes = np.r_[1e-9, 1e-3, np.linspace(0.1, 50, n - 3), 1e9]
    if low is None and high is None:
        return (sizes - 7)[:, None]
    return (low + sizes if high is None else high - sizes)[:, None]


class Forgotten(Support):
    """A planted mistake: no log-det."""

    def log_det(self, X):
        return np.zeros(len(X))


class OtherSide(Support):
    """A planted mistake: the distance to a single bound enters with the other sign."""

    def forward(self, X, rng=None):
        return super().forward(X) * (1 + (self.low[0] is None) - (self.low[0] is not None))


class HalfLogit(Support):
    """A planted mistake: of a logit, the slope of the lower bound alone."""

    def log_det(self, X):
        return -np.log(np.asarray(X)[:, 0] - (self.low[0] or 0.0))


def slope_is_right(transform, low, high):
    """z and log dz/dx against the definition and its derivative in 40 digits, to a few roundings."""
    mp = pytest.importorskip("mpmath").mp.clone()
    mp.dps = 60

    def z(x):
        if (low, high) == (None, None):
            return x
        below = 0 if low is None else mp.log(x - mp.mpf(low))
        above = 0 if high is None else mp.log(mp.mpf(high) - x)
        return below - above

    X = rows(low, high)
    found = transform.log_det(X), transform.forward(X)[:, 0]
    for x, slope, value in zip(X[:, 0], *found, strict=True):
        exact = mp.mpf(float(x))
        distances = [abs(exact - end) for end in (low, high) if end is not None]
        size = 4 + sum(abs(float(mp.log(one))) for one in distances)
        h = min([mp.mpf(1), *distances]) * mp.mpf(10) ** -20
        truth = mp.log((z(exact + h) - z(exact - h)) / (2 * h))
        assert abs(slope - truth) <= 4e-16 * size, x
        truth = z(exact) - mp.mpf(transform.centre[0])
        assert abs(value - truth) <= 4e-16 * (size + abs(float(truth))), x


def mass(transform, low, high):
    """The integral over the interval of N(z; 0, 1) exp(log det), the interval written by u in R."""

    def p(u):
        if low is None or high is None:
            x = u if low is None else low + math.exp(u)
            x = high - math.exp(-u) if high is not None else x
            slope = 1.0 if (low, high) == (None, None) else math.exp(u if high is None else -u)
        else:
            share = 1 / (1 + math.exp(-u))
            x, slope = low + (high - low) * share, (high - low) * share * (1 - share)
        z, log_det = Chain((transform,)).forward_with_log_det([[x]])
        return math.exp(-0.5 * z[0, 0] ** 2 + log_det[0]) / math.sqrt(2 * math.pi) * slope

    return quad(p, -9, 9, points=[-3.0, 0.0, 3.0], epsabs=1e-9)[0]


@pytest.mark.parametrize(("low", "high"), INTERVALS)
def test_the_maps_are_right_to_the_last_digits_and_their_densities_have_mass_one(low, high):
    slope_is_right(of(low, high), low, high)
    assert mass(of(low, high), low, high) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("kind", [Forgotten, OtherSide, HalfLogit])
def test_planted_mistakes_fail(kind):
    failed = []
    for low, high in [(0.0, 120.0), (2.0, None)]:
        try:
            slope_is_right(of(low, high, kind), low, high)
        except AssertionError:
            failed.append((low, high))
    assert failed == {
        Forgotten: [(0.0, 120.0), (2.0, None)], OtherSide: [(0.0, 120.0), (2.0, None)],
        HalfLogit: [(0.0, 120.0)],
    }[kind]  # fmt: skip
    if kind is not OtherSide:  # a Gaussian has the same mass on both sides
        assert abs(mass(of(0.0, 120.0, kind), 0.0, 120.0) - 1) > 0.1


def test_the_log_det_of_a_chain_is_slogdet_of_the_dense_jacobian():
    rng = np.random.default_rng(0)
    X = np.stack([120 * rng.beta(2, 3, 40), rng.exponential(size=40) + 2, rng.normal(size=40)], 1)
    ends = ((0.0, 2.0, None), (120.0, None, None))
    support = Support.fit(X, *ends)
    assert np.abs(np.median(support.forward(X), axis=0)[:2]).max() < 1e-15
    chain = Chain((support, Standardise.fit(X, "X", None, support)))
    Z, log_det = chain.forward_with_log_det(X)
    np.testing.assert_allclose([Z.mean(0), Z.std(0)], [[0] * 3, [1] * 3], atol=1e-14)
    for x, found in zip(X[:5], log_det[:5], strict=True):
        h = 1e-5 * np.minimum(1, x - np.array([0.0, 2.0, -9.0]))
        J = np.stack([
            (chain.forward([x + e]) - chain.forward([x - e]))[0] / (2 * e.sum()) for e in np.diag(h)
        ])  # fmt: skip
        assert np.linalg.slogdet(J)[1] == pytest.approx(found, abs=1e-7)
    again = Chain.from_list(json.loads(json.dumps(chain.to_list())))
    assert again == chain
    np.testing.assert_allclose(again.inverse(Z), X, rtol=1e-14)


finite = st.floats(-1e12, 1e12)


@settings(max_examples=30, deadline=None)
@given(finite, finite, st.floats(-800, 800), st.floats(-800, 800), st.sampled_from(["f4", "f8"]))
def test_whatever_the_latent_a_row_is_inside_in_its_order_and_comes_back(a, b, s, t, dtype):
    """In float32, too, where a bound need not be a number."""
    low, high = min(a, b), max(a, b)
    hypothesis.assume(high - low > 1e-3 * max(1.0, abs(low), abs(high)))
    for ends in [(low, high), (low, None), (None, high)]:
        one = of(*ends)
        X = one.inverse([[s], [t]])
        assert np.sign(X[1, 0] - X[0, 0]) in (0, np.sign(t - s))
        with np.errstate(over="ignore"):
            both = X, one.inside(X.astype(dtype))
        for rounded in both:
            assert np.isfinite(rounded).all()
            assert ends[0] is None or (rounded > ends[0]).all()
            assert ends[1] is None or (rounded < ends[1]).all()
            assert np.isfinite(one.forward(rounded)).all()
            assert np.isfinite(one.log_det(rounded)).all()
        np.testing.assert_allclose(
            one.inverse(one.forward(X)), X, rtol=1e-9, atol=1e-11 * abs(X).max()
        )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("age", "must be like age=0:120"), ("=0:1", "must be like"), ("a=b", "low:high, or unit or pos"),
        ("a=2:1", "low < high"), ("a=1:1", "low < high"), ("a=:", "no bound: leave it out"),
        ("a=0:x", "a bound 'x' that is no number"), ("a=nan:1", "no number"), ("a=0:1,a=0:2", "twice"),
        ({"a": 3}, r"a pair \(low, high\)"), ({"a": (1,)}, "a pair"), ({"a": (None, None)}, "no bound"),
        ({"a": "periodic"}, "a circle is not R.* seam .* a=0:360"), ({"a": "circle"}, "a circle is not R"),
        ({"a": (-1e308, 1e308)}, "finite width"),
    ],
)  # fmt: skip
def test_what_is_no_interval_is_refused_in_one_line(asked, message):
    with pytest.raises(ValueError, match=message) as error:
        intervals(asked)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("asked", [3, {1.5: (0, 1)}, {True: (0, 1)}])
def test_what_is_no_mapping_of_columns_is_refused(asked):
    with pytest.raises(TypeError, match="`support`"):
        intervals(asked)


def test_a_damaged_record_is_refused():
    record = of(0.0, 1.0).to_dict()
    assert from_dict(record) == of(0.0, 1.0)
    for key, value in [
        ("low", [2.0]),
        ("high", [math.inf]),
        ("centre", [None]),
        ("centre", [0.0, 0.0]),
    ]:
        with pytest.raises(ValueError, match="`"):
            from_dict(record | {key: value})


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    X = np.stack(
        [120 * rng.beta(2, 3, 300), rng.exponential(size=300) ** 2, rng.normal(size=300)], 1
    )
    return X + np.array([0, 1e-9, 0])


def test_a_file_with_bounds_is_read_alike_in_memory_and_on_disk(people, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, people)
    asked = Reading(support={0: (0, 120), "1": "positive"})
    data, lazy = load(path, reading=asked), load(path, reading=asked, lazy_above=0)
    first = data.transforms.support
    assert (first.low, first.high) == ((0.0, 0.0, None), (120.0, None, None))
    assert data.columns is None
    plain = load(path)
    np.testing.assert_allclose(
        data.transforms.inverse(data.test), plain.transforms.inverse(plain.test), rtol=1e-10
    )
    assert (data.log_det["test"] != plain.log_det["test"]).all()
    kinds = [type(one).__name__ for one in lazy.transforms.transforms]
    assert kinds == ["Support", "Standardise"]
    Z = lazy.transforms.forward(lazy.train[:])
    np.testing.assert_allclose([Z.mean(0), Z.std(0)], [[0] * 3, [1] * 3], atol=1e-12)


@pytest.mark.parametrize("lazy_above", [0, 10**9])
def test_rows_on_a_bound_or_beyond_it_are_counted_by_column(people, tmp_path, lazy_above):
    X, path = people.copy(), tmp_path / "x.npy"
    X[3, 0], X[5, 0], X[7, 1] = 120.0, -1.0, 0.0
    np.save(path, X)
    with pytest.raises(ValueError, match=r"2 of \d+ rows on or beyond the bounds of column 0 .in \(0, "
                       r"120\)., the first 120 in row 3; 1 of \d+ rows .* column 1 .above 0., the first 0"
                       r" in row 7: widen the bound or leave these rows out"):  # fmt: skip
        load(path, reading=Reading(support="0=0:120,1=0:"), lazy_above=lazy_above)
    with pytest.raises(ValueError, match="has no column 7"):
        load(path, reading=Reading(support="7=0:1"), lazy_above=lazy_above)


def test_whole_numbers_on_their_bounds_are_spread_and_come_back():
    rng = np.random.default_rng(0)
    frame = np.stack([rng.integers(0, 4, 200), rng.normal(size=200)], 1).astype(float)
    with pytest.raises(ValueError, match=r"need uniform noise .*Reading\(dequantise=True\)"):
        load(frame, reading=Reading(support={0: (0, 3)}))
    data = load(frame, reading=Reading(support={0: (0, 3)}, dequantise=True))
    assert data.transforms.support.high == (4.0, None)
    back = data.transforms.inverse(data.train)
    assert set(back[:, 0]) == {0.0, 1.0, 2.0, 3.0}


def test_bounds_from_the_command_line_to_the_samples(people, tmp_path, capsys):
    path, out = tmp_path / "my.csv", tmp_path / "run"
    np.savetxt(path, people, delimiter=",", header="age,income,x", comments="")
    few = ["--layers", "1", "--rule", "plain", "--epochs", "1", "--no-pictures"]
    support = ["--support", "age=0:120,income=0:"]
    assert main(["train", str(path), "--out", str(out), *few, *support]) == 0
    said = capsys.readouterr().out
    assert "'age' in (0, 120), 'income' above 0" in said
    assert "log/logit" in said
    assert main(["sample", str(out), "-n", "500", "--out", str(tmp_path / "s.npy")]) == 0
    drawn = np.load(tmp_path / "s.npy")
    assert (drawn[:, :2] > 0).all()
    assert (drawn[:, 0] < 120).all()
    assert main(["evaluate", str(out), str(path)]) == 0
    assert main(["train", "--resume", "--out", str(out), "--support", "age=0:130"]) == 2
    assert "`--support` can't change on --resume" in capsys.readouterr().err
    np.savetxt(
        path, people + np.array([100, 0, 0]), delimiter=",", header="age,income,x", comments=""
    )
    assert main(["evaluate", str(out), str(path)]) == 2
    err = capsys.readouterr().err
    assert "on or beyond the bounds of column 'age'" in err
    assert err.count("\n") == 1
