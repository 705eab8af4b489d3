"""Trees of arrays: tuples and named tuples, nested, whose leaves are arrays, numbers or None."""

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import Array, Namespace, is_array


def each_array(change: Callable[[Array], Array], tree: Any) -> Any:
    """Return the tree with `change` applied to each of its arrays; what else is in it stays.

    >>> each_array(lambda x: x + 1, (np.ones(2), None, 3))
    (array([2., 2.]), None, 3)
    """
    if isinstance(tree, tuple):
        parts = [each_array(change, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return change(tree) if is_array(tree) else tree


def all_finite(xp: Namespace, tree: Any) -> Array:
    """Return whether every number of the tree is finite, (), or True where it holds none.

    >>> bool(all_finite(np, (np.ones(2), (np.asarray(np.inf), None))))
    False
    """
    if isinstance(tree, tuple):
        found = [x for x in (all_finite(xp, part) for part in tree) if x is not True]
        return functools.reduce(operator.and_, found) if found else True
    return True if tree is None else xp.all(xp.isfinite(tree))


def keep(xp: Namespace, finite: Array, new: Any, old: Any) -> Any:
    """Return the arrays of `new` where `finite`, (), holds, else those of `old`, a tree alike.

    A device is not asked: there both are looked at. On the host nothing is copied.

    >>> keep(np, np.asarray(False), (np.ones(1), None), (np.zeros(1), None))
    (array([0.]), None)
    """
    if isinstance(new, tuple):
        parts = [keep(xp, finite, a, b) for a, b in zip(new, old, strict=True)]
        return type(new)(*parts) if hasattr(new, "_fields") else tuple(parts)
    if new is None:
        return None
    if isinstance(finite, (bool, np.bool_, np.ndarray)):
        return xp.asarray(new if finite else old)
    return xp.where(finite, new, old)
