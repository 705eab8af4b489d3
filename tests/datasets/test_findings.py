"""What the look at the data finds, and that it finds nothing where there is nothing."""

import numpy as np
import pytest

from relgrad_np.datasets import columns, examine, load, require_full_rank

NAMES = ("a", "b", "c", "d")


def table(N=200, D=4, seed=0):
    g = np.random.default_rng(seed)
    return g.normal(size=(N, D)) @ (g.normal(size=(D, D)) + 2 * np.eye(D)) + g.normal(size=D)


def planted(**columns):
    """Return a table with some of its columns replaced by functions of the others."""
    X = table()
    for name, value in columns.items():
        X[:, NAMES.index(name)] = value(*X.T)
    return X


@pytest.mark.parametrize("units", [1, np.array([1e-9, 1e7, 1.0, 1e-3])])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_sound_data_are_left_alone(units, dtype):
    X = (table() * units).astype(dtype)
    found = examine(X)
    assert found[:3] == ((), (), 4)
    assert found.advice == found.dependent == found.discrete == found.float32 == ()
    C = np.corrcoef(X.T.astype(np.float64))
    assert found.condition == pytest.approx(np.linalg.cond(C), rel=1e-6)
    assert require_full_rank(X) == found


def test_constant_columns():
    X = planted(b=lambda *_: 0.1, d=lambda *_: -7e5)
    found = examine(X, NAMES)
    assert (found.constant, found.rank, found.duplicates) == (("b", "d"), 2, ())
    assert found.advice == ("columns that are constant: 'b', 'd': drop them",)
    assert examine(X).constant == ("1", "3")
    assert np.isfinite(found.condition)  # of the two others


@pytest.mark.parametrize(
    "twin",
    [
        lambda a, *_: a,
        lambda a, *_: -3.7 * a,
        lambda a, *_: 1e-9 * a + 2e-9,
    ],
    ids=["copy", "multiple", "affine"],
)
def test_duplicate_columns(twin):
    found = examine(planted(c=twin), NAMES)
    assert found.duplicates == (("a", "c"),)
    assert (found.rank, found.condition, found.dependent) == (3, np.inf, ("a", "c"))
    assert "columns 'a' and 'c' are multiples of each other" in found.advice[0]
    assert "drop" in found.advice[0]


def test_columns_that_are_near_are_no_duplicates():
    near = planted(c=lambda a, b, c, d: a + 1e-5 * c)
    found = examine(near, NAMES)
    assert (found.duplicates, found.rank) == ((), 4)
    assert 1e10 < found.condition < np.inf
    (advice,) = found.advice
    assert advice.startswith("the covariance has condition ")
    assert "'a'" in advice
    assert "'c'" in advice


@pytest.mark.parametrize("noise", [3e-8, 1e-11])
def test_columns_that_differ_by_more_than_rounding_have_full_rank(noise):
    """Their correlation is 1 to the last digit; the rows themselves tell them apart."""
    found = examine(planted(c=lambda a, b, c, d: a + noise * c), NAMES)
    assert (found.duplicates, found.rank) == ((), 4)
    assert found.condition > 1e13


def test_a_twin_that_was_rounded_to_float32_is_one_in_float32_alone():
    X = planted(c=lambda a, *_: (a * np.float32(1.7)).astype(np.float32))
    assert (examine(X).rank, examine(X.astype("f4")).rank) == (4, 4)
    assert examine(planted(c=lambda a, *_: 2 * a).astype("f4")).rank == 3


def test_dependence_that_no_pair_shows():
    found = examine(planted(d=lambda a, b, c, d: 2 * a - c + 5), NAMES)
    assert (found.duplicates, found.rank, found.condition) == ((), 3, np.inf)
    assert found.dependent == ("a", "c", "d")
    (advice,) = found.advice
    assert "has rank 3, not 4; columns that depend on each other: 'a', 'c', 'd': drop 1" in advice


def test_too_few_rows():
    (advice,) = examine(table(4)).advice
    assert advice.startswith("4 rows and 4 columns: a density needs more rows than columns; reduce")


def test_one_hot_columns_depend_with_the_constant():
    kind = np.random.default_rng(0).integers(3, size=300)
    found = examine(np.eye(3)[kind])
    assert found.rank == 2
    assert found.dependent == ("0", "1", "2")
    assert found.discrete == ("0", "1", "2")


def test_discrete_columns_before_and_after_standardising():
    X = planted(b=lambda a, b, c, d: np.round(3 * b), c=lambda a, b, c, d: np.round(c) / 10)
    for rows in (X, (X - X.mean(axis=0)) / X.std(axis=0)):
        found = examine(rows, NAMES)
        assert found.discrete == ("b", "c")
        assert "columns of few distinct values: 'b', 'c': dequantise them" in found.advice[-1]


@pytest.mark.parametrize(
    ("units", "expected"),
    [([1e17, 1, 1e-20, 1], ()), ([1e18, 1, 1, 1e-33], ("a", "d")), ([1, 1e200, 1, 1e-300], ("b", "d"))],
)  # fmt: skip
def test_the_range_of_float32(units, expected):
    X = table() * np.array(units)
    X[3, 2] = 0.0
    found = examine(X, NAMES)
    assert found.float32 == expected
    assert found.rank == 4
    assert [a for a in found.advice if "rescale them, or stay with float64" in a][:1] == list(
        found.advice
    )


def test_rows_are_looked_at_evenly_and_constants_in_all(monkeypatch, tmp_path):
    monkeypatch.setattr(columns, "LOOKED_AT", 50)
    X = table(201)
    X[:, 1] = 2.0
    X[:, 2] = 3.0
    X[7, 2] = 4.0  # not among the rows looked at
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for rows in (X, mapped):
        found = examine(rows)
        assert found.constant == ("1",)
        assert found.rank == 3
        assert "2" in found.discrete
    X[10, 3] = np.nan
    with pytest.raises(ValueError, match="`X` must be finite, got nan at row 10, column 'd'"):
        examine(X, NAMES)


def test_integers_and_float32_are_taken():
    X = np.random.default_rng(0).integers(0, 9, (100, 3))
    assert examine(X).discrete == ("0", "1", "2")
    assert examine(X.astype(np.uint8)) == examine(X)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"b": lambda *_: 1.0}, "columns that are constant: 'b': drop them"),
        ({"b": lambda a, *_: a}, "columns 'a' and 'b' are multiples of each other"),
        ({"b": lambda a, b, c, d: a + c + d}, "rank 3, not 4; columns that depend on each other: 'a', 'b'"),
        ({"b": lambda *_: 1.0, "c": lambda a, *_: a}, "'b': drop them; columns 'a' and 'c' are"),
    ],
)  # fmt: skip
def test_full_rank_is_required_in_one_line(columns, message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        require_full_rank(planted(**columns), NAMES)
    assert str(caught.value).startswith("the data have not full rank: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_table():
    with pytest.raises(ValueError, match=r"`X` must have shape \(N, D\), N >= 1, got \(3,\)"):
        examine(np.ones(3))
    with pytest.raises(ValueError, match="`names` must name 4 columns, got 2"):
        examine(table(), ("a", "b"))


def test_many_columns_are_not_all_named():
    X = np.ones((30, 50))
    (advice,) = examine(X).advice
    assert advice.endswith("18, 19, ...: drop them")


@pytest.mark.parametrize("name", ["digits", "toy:moons"])
def test_our_own_data_are_sound(name):
    assert examine(load(name).train).rank == load(name).train.shape[1]
