"""Limited-memory BFGS in relative coordinates: the last moves, and what they did to the gradient.

Everything is an element of the Lie algebra, one array (L, D, D + c + 1) for all layers. Moves of
different points are compared as they are, without transport from one to the other.
Source: Nocedal & Wright (2006), algorithm 7.4.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from ...core.arrays import Array, detached, namespace

Precondition = Callable[[Array], Array]  # (L, D, D + c + 1) to the same, positive


def dot(one: Array, other: Array) -> float:
    """Return the sum of products of all elements.

    >>> import numpy as np
    >>> dot(np.ones((1, 2, 3)), np.full((1, 2, 3), 2.0))
    12.0
    """
    if type(one) is np.ndarray:  # without an array of the products
        return float(np.vdot(one, other))
    xp = namespace(one, "one")
    return float(detached(xp.sum(one * other)))


class Curvatures:
    """The last `size` pairs (s, y): a move s, and by how much it lowered the gradient of ascent, y.

    >>> import numpy as np
    >>> memory = Curvatures(2)
    >>> memory.add(np.array([1.0, 0.0]), np.array([4.0, 0.0]))
    True
    >>> memory.direction(np.array([4.0, 3.0]), lambda v: v)  # curvature 4 along the first axis
    array([1., 3.])
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.pairs: deque[tuple[Array, Array, float]] = deque(maxlen=size)

    def add(self, s: Array, y: Array) -> bool:
        """Remember a pair, and say so; one of s.y <= 0 is skipped, for no convex model has it."""
        product = dot(s, y)
        if not product > 0:
            return False
        self.pairs.append((s, y, 1 / product))
        return True

    def forget(self) -> None:
        """Forget all pairs."""
        self.pairs.clear()

    def direction(self, gradient: Array, precondition: Precondition) -> Array:
        """Return H gradient, H the inverse curvature whose first guess is `precondition`."""
        q, shares = gradient, []
        for s, y, rho in reversed(self.pairs):
            share = rho * dot(s, q)
            q = q - share * y
            shares.append(share)
        q = precondition(q)
        for (s, y, rho), share in zip(self.pairs, reversed(shares), strict=True):
            q = q + (share - rho * dot(y, q)) * s
        return q
