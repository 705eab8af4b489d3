"""Who is refused before a fit, and what the message says: the columns, in one short line."""

import numpy as np
import pytest

from relgrad_np.datasets import rank
from relgrad_np.fitting.rank import require_full_rank

from ..laws.problems import LIBRARIES


def rows(N=400, D=6, seed=0):
    return np.random.default_rng(seed).laplace(size=(N, D)) + 3.0


def refusal(X, names=None):
    with pytest.raises(ValueError, match="`X` has") as caught:
        require_full_rank(X, names)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_full_rank_passes_in_every_library(library, dtype):
    require_full_rank(LIBRARIES[library](rows().astype(dtype)))


@pytest.mark.parametrize("units", [1.0, np.array([1e-6, 1e9, 1, 3, 1e-3, 1e6])])
@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_the_columns_are_named(units, offset):
    X = rows()
    X[:, 5] = 2 * X[:, 1] - X[:, 3] + 0.7
    X = X * units + offset
    assert refusal(X) == (
        "`X` has no full rank: column 5 is an affine combination of the others (columns 1, 3): "
        "drop it or add noise"
    )
    X[:, [0, 2]] = 0.1, -7e5
    assert refusal(X).startswith("`X` has constant columns 0, 2, and column 5 is an affine")
    assert refusal(X).endswith("drop them or add noise")
    assert "constant columns 'a', 'c', and column 'f' is" in refusal(X, list("abcdef"))


def test_a_column_that_varies_by_rounding_alone_is_constant():
    X = rows()
    X[:, 2] = 0.1
    X[::2, 2] = np.nextafter(0.1, 1)
    assert refusal(X) == "`X` has the constant column 2: drop it or add noise"


def test_each_dependent_column_is_named_once_and_lists_are_cut():
    X = rows(D=20)
    assert "columns 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 7 more: drop" in refusal(
        X * (np.arange(20) > 16)
    )
    X[:, 15] = X[:, :14].sum(axis=1)
    assert "(columns 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4 more)" in refusal(X)
    many = refusal(np.concatenate([X[:, :15], 3 - X[:, :15]], axis=1))
    assert "columns 15, 16, 17, 18, 19, 20, 21, 22, 23, 24 and 5 more are affine" in many


def test_one_hot_columns_depend_with_the_constant():
    kinds = np.eye(4)[np.random.default_rng(0).integers(4, size=300)]
    assert "column 3 is an affine combination of the others (columns 0, 1, 2)" in refusal(kinds)
    require_full_rank(kinds[:, :3])


def test_float32_is_judged_by_its_own_rounding():
    X, noise = rows(), rows(seed=1)[:, 0]
    X[:, 4] = X[:, 0] + 1e-9 * noise
    require_full_rank(X)
    assert "column 4" in refusal(X.astype("f4"))
    X[:, 4] = X[:, 0] + 1e-3 * noise
    require_full_rank(X.astype("f4"))


@pytest.mark.parametrize(("N", "said"), [(1, "1 row"), (6, "6 rows"), (5, "5 rows")])
def test_rows_that_are_missing(N, said):
    assert refusal(rows(N)) == (
        f"`X` has {said} and 6 columns: a density needs more rows than columns; "
        "reduce the columns (PCA) or bring more rows"
    )
    require_full_rank(rows(7))


@pytest.mark.parametrize("size", [1e12, 1e30, 1e150])
def test_rows_far_out_hide_no_rank_and_no_dependence(size):
    X = rows()
    X[7, [1, 2, 4]] = size
    require_full_rank(X)
    X[:, 5] = X[:, 0] - 2 * X[:, 3]
    assert "column 5 is an affine combination of the others (columns 0, 3)" in refusal(X)


def test_what_few_rows_show_is_enough_and_what_they_hide_is_looked_for(monkeypatch):
    """Evenly spaced rows of full rank settle it; a column that varies elsewhere is no constant."""
    X = rows(50_000, 2)
    sizes = []
    real = rank.moments
    monkeypatch.setattr(rank, "moments", lambda X, *a: sizes.append(len(X)) or real(X, *a))
    require_full_rank(X)
    assert len(sizes) == 1
    assert sizes[0] < 3000
    X[:, 1] = 0
    X[13, 1] = 1.0
    require_full_rank(X)


def test_a_block_of_rows_at_a_time(monkeypatch):
    """R of many rows is that of one QR; a mistaken block would lose the rows before it."""
    Y = rows(10_000, 3)
    R = rank.triangle(Y)
    np.testing.assert_allclose(R.T @ R, Y.T @ Y, rtol=1e-12)
