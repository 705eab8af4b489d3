"""Trees of arrays: each leaf is seen, and what is kept is kept bit by bit, on the host and elsewhere."""

from typing import Any, NamedTuple

import array_api_strict
import numpy as np
import pytest

from relgrad_np.core.arrays import to_numpy
from relgrad_np.core.trees import all_finite, each_array, keep

from ..laws import recording
from ..laws.problems import LIBRARIES

ARRAYS = 6
BAD = (np.nan, np.inf, -np.inf)
libraries = pytest.mark.parametrize("library", ["numpy", "strict"])
NAMESPACES = {"numpy": np, "strict": array_api_strict}


class Pair(NamedTuple):
    one: Any
    other: Any


def tree(to=np.asarray, first=0.0):
    """Six arrays of several shapes: bare, in a tuple, in a named tuple, of no dimension; and None."""
    a, b, c, d, e = (np.arange(n, dtype=float) + first + n for n in (1, 2, 3, 4, 6))
    return (to(a), Pair(to(b), None), (to(c), Pair((), to(d))), to(e.reshape(2, 3)), to(a[0]), None)


def leaves(x):
    return [leaf for part in x for leaf in leaves(part)] if isinstance(x, tuple) else [x]


def arrays(x):
    return [leaf for leaf in leaves(x) if leaf is not None]


def same(one, two):
    """Of one structure, and the same bits in all arrays."""
    assert type(one) is type(two)
    if isinstance(one, tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            same(a, b)
    elif one is not None:
        assert one.dtype == two.dtype
        np.testing.assert_array_equal(to_numpy(one), to_numpy(two), strict=True)


def spoilt(to, i, bad):
    """A tree whose array i has one number that is not finite, its last one."""
    seen = []

    def spoil(x):
        seen.append(x)
        x = np.array(x)
        if len(seen) == i + 1:
            x.reshape(-1)[-1] = bad
        return to(x)

    return each_array(spoil, tree(np.asarray))


def test_each_array_changes_arrays_and_nothing_else():
    changed = each_array(lambda x: x + 1, (np.ones(2), Pair(None, 3.0), ("name", np.zeros(1))))
    assert isinstance(changed[1], Pair)
    same(changed[0], np.full(2, 2.0))
    assert changed[1] == (None, 3.0)
    assert changed[2][0] == "name"
    same(changed[2][1], np.ones(1))


@libraries
def test_each_array_keeps_the_structure(library):
    to = LIBRARIES[library]
    same(each_array(lambda x: x, tree(to)), tree(to))
    assert len(arrays(tree(to))) == ARRAYS


def finds_what_is_not_finite(all_finite, library):
    """In each array of the tree, whichever number of the three it is."""
    to, xp = LIBRARIES[library], NAMESPACES[library]
    assert bool(all_finite(xp, tree(to)))
    for i in range(ARRAYS):
        for bad in BAD:
            assert not bool(all_finite(xp, spoilt(to, i, bad))), f"array {i}: {bad}"


@libraries
def test_all_finite_looks_at_every_number(library):
    finds_what_is_not_finite(all_finite, library)


def first_level_only(xp, tree):
    return xp.all(xp.stack([xp.all(xp.isfinite(x)) for x in tree if hasattr(x, "dtype")]))


def no_named_tuples(xp, tree):
    return all_finite(xp, tuple(x for x in tree if not hasattr(x, "_fields")))


def nan_only(xp, tree):
    return not any(bool(xp.any(xp.isnan(x))) for x in arrays(tree))


def last_one_decides(xp, tree):
    return xp.all(xp.isfinite(arrays(tree)[-1]))


@pytest.mark.parametrize("wrong", [first_level_only, no_named_tuples, nan_only, last_one_decides])
def test_an_all_finite_that_looks_away_is_rejected(wrong):
    with pytest.raises(AssertionError, match="array"):
        finds_what_is_not_finite(wrong, "numpy")


def test_a_tree_without_arrays_is_finite():
    assert all_finite(np, ((), None, (None, Pair(None, ())))) is True


def test_all_finite_asks_no_device():
    wrapped = recording.wrap(tree())
    found = all_finite(recording.NAMESPACE, wrapped)
    assert isinstance(found, recording.Recorded)
    assert found.shape == ()


def keeps(keep, library):
    """New where finite, else old, bit by bit, though the one that is dropped is not finite."""
    to, xp = LIBRARIES[library], NAMESPACES[library]
    yes, no = xp.asarray(True), xp.asarray(False)
    for i in range(ARRAYS):
        same(keep(xp, yes, tree(to), spoilt(to, i, np.nan)), tree(to))
        same(keep(xp, no, spoilt(to, i, np.inf), tree(to, 0.1)), tree(to, 0.1))


@libraries
def test_keep_takes_one_tree_or_the_other(library):
    keeps(keep, library)


def always_new(xp, finite, new, old):
    return new


def the_other_one(xp, finite, new, old):
    return keep(xp, ~finite, new, old)


def in_proportion(xp, finite, new, old):
    """finite new + (1 - finite) old: NaN times 0 is NaN."""
    share = float(finite)
    parts = iter(
        [share * a + (1 - share) * b for a, b in zip(arrays(new), arrays(old), strict=True)]
    )
    return each_array(lambda x: next(parts), new)


def first_level_of_new(xp, finite, new, old):
    return (new[0], *keep(xp, finite, new, old)[1:])


@pytest.mark.parametrize("wrong", [always_new, the_other_one, in_proportion, first_level_of_new])
def test_a_keep_that_mixes_them_is_rejected(wrong):
    with np.errstate(invalid="ignore"), pytest.raises(AssertionError):
        keeps(wrong, "numpy")


def test_on_the_host_nothing_is_copied_and_a_device_is_not_asked():
    new, old = tree(), tree(first=1.0)
    for finite, kept in ((np.True_, new), (np.asarray(False), old), (True, new)):
        for x, y in zip(arrays(keep(np, finite, new, old)), arrays(kept), strict=True):
            assert x is y or x.shape == ()
    finite = recording.wrap(np.asarray(False))
    found = keep(recording.NAMESPACE, finite, recording.wrap(new), recording.wrap(old))
    same(recording.unwrap(found), old)
