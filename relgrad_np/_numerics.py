"""Numerical pieces that know nothing of the model: a safeguarded Newton, phi1, a norm bound."""

import math

from ._array import Array, Formula, Namespace, namespace


def solve_increasing(
    xp: Namespace, f: Formula, df: Formula, z: Array, low: Array, high: Array
) -> Array:
    """Solve f(y) = z elementwise, for an increasing f with its root in [low, high].

    Newton, safeguarded: a step that leaves the shrinking bracket is replaced by its midpoint. It
    ends when no residual falls any more: only rounding is left of them. NaN, inf pass through.

    >>> import numpy as np
    >>> z = np.array([8.0, 27.0])
    >>> solve_increasing(np, lambda xp, y: y**3, lambda xp, y: 3 * y**2, z, 0 * z, z)
    array([2., 3.])
    """
    y = best = low + (high - low) / 2
    residual = f(xp, y) - z
    least = xp.abs(residual)
    for _ in range(200):
        low, high = xp.where(residual < 0, y, low), xp.where(residual > 0, y, high)
        newton = y - residual / df(xp, y)
        y = xp.where((low <= newton) & (newton <= high), newton, low + (high - low) / 2)
        residual = f(xp, y) - z
        better = xp.abs(residual) < least
        moving = better | (xp.abs(y - best) > 1e-3 * (1 + xp.abs(y)))
        best, least = xp.where(better, y, best), xp.where(better, xp.abs(residual), least)
        if not bool(xp.any(moving & xp.isfinite(z))):
            break
    return xp.where(xp.isfinite(z), best, z)


def phi1(M: Array, bound: float | None = None) -> Array:
    """Return phi1(M) = (e^M - 1) / M = sum_j M^j / (j + 1)! of a square M (n, n).

    Taylor to degree 15 of M / 2^s with |M| / 2^s <= 3/4, then
    phi1(2 M) = phi1(M) + M phi1(M)^2 / 2. `bound` >= |M|; without it the size of M is read, which
    waits for a device. Cost: 6 + 2 s products (n, n) x (n, n).

    >>> import numpy as np
    >>> phi1(np.array([[1.0]])) - np.expm1(1.0) < 1e-15
    array([[ True]])
    """
    xp = namespace(M, "M")
    size = float(norm_bound(M)) if bound is None else bound
    halvings = max(0, math.ceil(math.log2(size / 0.75))) if 0 < size < math.inf else 0
    M = M * 0.5**halvings
    M2 = M @ M
    powers, M4 = (eye(xp, M), M, M2, M @ M2), M2 @ M2
    blocks = [  # of the sum over j = 4 i + p
        sum(power / math.factorial(4 * i + p + 1) for p, power in enumerate(powers))
        for i in range(4)
    ]
    P = blocks[0] + M4 @ (blocks[1] + M4 @ (blocks[2] + M4 @ blocks[3]))
    for _ in range(halvings):
        P, M = P + M @ (P @ P) / 2, 2 * M
    return P


def norm_bound(K: Array) -> Array:
    """Bound the spectral norm of K (n, n) from above, (): min(|K|_F, sqrt(|K|_1 |K|_inf)).

    >>> import numpy as np
    >>> norm_bound(np.array([[3.0, 0.0], [0.0, 4.0]]))
    np.float64(4.0)
    """
    xp = namespace(K, "K")
    rows, columns = (xp.max(xp.sum(xp.abs(K), axis=axis)) for axis in (1, 0))
    return xp.minimum(xp.sqrt(xp.sum(K * K)), xp.sqrt(rows) * xp.sqrt(columns))


def eye(xp: Namespace, K: Array) -> Array:
    """Return the identity of the size, dtype and device of K (n, n)."""
    return xp.eye(K.shape[0], dtype=K.dtype, device=K.device)
