"""Trees of tuples of arrays: copied, moved, looked at."""

from collections.abc import Callable
from typing import Any

import array_api_compat as compat
import numpy as np

from ..core.arrays import Array


def on_device(x: Any) -> bool:
    """Say whether reading a number of this array is a transfer.

    >>> on_device(np.zeros(3))
    False
    """
    return compat.is_array_api_obj(x) and not isinstance(x, (np.ndarray, np.generic))


def copied(x: Array) -> Array:
    """Return a copy with memory of its own; a torch tensor leaves its autograd graph behind.

    >>> copied(np.ones(2))
    array([1., 1.])
    """
    x = x.detach() if compat.is_torch_array(x) else x
    return compat.array_namespace(x).asarray(x, copy=True)


def _each_array(move: Callable[[Any], Any], tree: Any) -> Any:
    """Apply `move` to every array of a tree of tuples."""
    if isinstance(tree, tuple):
        parts = [_each_array(move, part) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    array = compat.is_array_api_obj(tree) and not isinstance(tree, np.generic)
    return move(tree) if array else tree
