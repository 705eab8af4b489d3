"""The tables: what is cleaned away, what is blurred and by how much, and the report's arithmetic.

Planted mistakes: a ranking that gives equal ones their order, a regret against the mean of the
grid, noise of one column's step for all, a density that forgets the bandwidth's volume.
"""

import json

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from validation.tables import contenders, records, report, sets

RNG = np.random.default_rng(0)

# sets


def test_constants_classes_gaps_and_repetitions_go():
    x, y = RNG.standard_normal((2, 60))
    raw = np.stack([x, np.ones(60), -2 * x, np.arange(60) % 3, y, x + 3 * y], axis=1)
    raw[7, 4] = np.nan
    found = sets.clean(raw)
    keep = np.arange(60) != 7
    np.testing.assert_array_equal(found, np.stack([x, y], axis=1)[keep])


@pytest.mark.parametrize("step", [100.0, 1.0, 0.5, 0.01])
def test_a_rounded_column_gets_noise_of_its_step(step):
    column = step * RNG.integers(0, 40, 2000)
    moved = (sets.blurred(column, np.random.default_rng(1)) - column) / step
    assert abs(moved).max() <= 0.5 + 1e-9
    assert abs(moved.std() - 12**-0.5) < 0.01  # uniform over the whole step


def test_two_columns_have_their_own_steps_and_the_noise_is_always_the_same():
    raw = np.stack([RNG.integers(0, 40, 500), 0.01 * RNG.integers(0, 400, 500)], axis=1)
    moved = abs(sets.clean(raw) - raw).max(axis=0)
    assert 0.4 < moved[0] <= 0.5
    assert 0.004 < moved[1] <= 0.005 + 1e-9
    np.testing.assert_array_equal(sets.clean(raw), sets.clean(raw))


def test_repeated_values_on_an_uneven_grid_reach_halfway_to_their_neighbours():
    column = np.log(RNG.integers(1, 9, 2000))
    found = sets.blurred(column, np.random.default_rng(1))
    levels = np.log(np.arange(1, 9))
    assert np.unique(found).size == 2000
    nearest = levels[abs(found[:, None] - levels).argmin(axis=1)]
    assert abs(nearest - column).max() < 1e-5


def test_what_is_continuous_stays():
    column = RNG.standard_normal(300)
    np.testing.assert_array_equal(sets.blurred(column, np.random.default_rng(1)), column)


def test_a_split_has_every_row_once_and_is_standardised_by_its_training_rows():
    rows = RNG.standard_normal((50, 3)) * [1, 10, 100] + 5
    cut = sets.split(rows, "x", 1)
    np.testing.assert_allclose(cut.train.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(cut.train.std(axis=0), 1)
    every = np.concatenate([cut.train, cut.validation, cut.test])
    back = every * rows.std(axis=0) / every.std(axis=0)
    back += rows.mean(axis=0) - back.mean(axis=0)
    np.testing.assert_allclose(np.sort(back, axis=0), np.sort(rows, axis=0))
    assert not np.array_equal(sets.split(rows, "x", 2).test, cut.test)


# contenders


def test_the_kernel_density_is_scikit_learns():
    from sklearn.neighbors import KernelDensity

    rows, at = RNG.standard_normal((40, 3)), RNG.standard_normal((600, 3))
    expected = KernelDensity(bandwidth=0.3).fit(rows).score_samples(at)
    np.testing.assert_allclose(contenders.kernel_density(rows, at, 0.3), expected)


def test_what_is_judged_is_the_test_rows_and_a_failure_is_kept(tmp_path):
    cut = sets.split(RNG.standard_normal((60, 2)), "x", 0)
    fit = lambda data: contenders.Fitted(lambda at: at[:, 0] - 500.0, {"a": 1})  # noqa: E731
    record = records.attempted("mine", fit, cut)
    assert record["test"] == pytest.approx(cut.test[:, 0].mean() - 500, rel=1e-5)
    assert record["worst"] == pytest.approx((cut.test[:, 0].min() - 500) / 2, rel=1e-5)
    assert record["creases"] == len(cut.test)
    broken = records.attempted("mine", lambda data: 1 / 0, cut)
    assert "ZeroDivisionError" in broken["error"]
    path = tmp_path / "r.jsonl"
    path.write_text('{"set": "half')
    for one in (broken, record):
        records.append(one, path)
    assert records.kept(path) == {("x", 0, "mine"): json.loads(json.dumps(record))}


# report


VALUES = {
    ("iris", 0): {"gaussian": -3.0, "b": -2.0, "c": -2.0, "grid:1": -1.0, "grid:2": -1.5},
    ("iris", 1): {"gaussian": -3.0, "b": -3.5, "c": -1.0, "grid:1": -4.0},
    ("wine", 0): {"gaussian": -3.0, "b": 1.0, "c": -9.0},
    ("wine", 1): {"gaussian": -3.0, "b": 1.0},
}


def test_ranks_are_of_pairs_where_all_are_and_equal_ones_share():
    found, pairs = report.mean_ranks(VALUES, ["gaussian", "b", "c"])
    assert pairs == 3
    assert found == {
        "gaussian": pytest.approx((3 + 2 + 2) / 3),
        "b": pytest.approx((1.5 + 3 + 1) / 3),
        "c": pytest.approx((1.5 + 1 + 3) / 3),
    }


def test_regret_is_against_the_best_of_the_grid_where_there_is_one():
    assert report.mean_regrets(VALUES, ["b", "c"]) == {"b": (1.0 - 0.5) / 2, "c": (1.0 - 3.0) / 2}


def test_below_the_gaussian_is_said_by_pair():
    assert report.below_gaussian(VALUES, "b") == [(("iris", 1), 0.5)]


def test_the_page_is_made_of_records():
    made = [
        {"set": s, "seed": k, "contender": c, "n": 90, "D": 4, "test": v, "se": 0.1, "worst": -3.0,
         "creases": 0, "validation": v, "seconds": 1.0, "wall": 1.0, "choice": {"x": 1}}
        for (s, k), line in VALUES.items()
        for c, v in line.items()
    ]  # fmt: skip
    made.append({"set": "wine", "seed": 1, "contender": "c", "error": "no"})
    text = report.page(made)
    assert "| b | 1.62 | 0.250 | 0.250 | 1 of 4 | 0.50 | 0 | 1.0, 1 |" in text
    assert "Fits that failed: c on wine, seed 1." in text
    assert "| c | 2.12 | -1.000 | -1.000 | 1 of 3 |" in text


def test_what_is_wanted_of_ours_can_fail():
    values = {("iris", 0): {"gaussian": -3.0, "auto": -4.0, "ensemble": -1.0, "grid:1": -1.05}}
    made = [{"contender": "auto", "creases": 2}, {"contender": "ensemble", "creases": 0}]
    found = report.claims(made, values, ["gaussian", "auto", "ensemble"])
    assert [row[-1] for row in found] == ["**no**"] * 4 + ["yes"] * 4
    assert found[2][2] == "iris (seed 0) by 1.00"
