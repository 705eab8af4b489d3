"""Numerical pieces that know nothing of the model: a safeguarded Newton, phi1, a norm bound."""

import math
from typing import Any

import numpy as np

from .arguments import number
from .arrays import Array, Formula, Namespace, detached, namespace


def solve_increasing(
    xp: Namespace, f: Formula, df: Formula, z: Array, low: Array, high: Array
) -> Array:
    """Solve f(y) = z elementwise, for an increasing f with its root in [low, high].

    Newton, safeguarded: where a step leaves the shrinking bracket, or the last one has not halved
    the residual (no cycle can last), the midpoint is taken. An element has arrived a step after
    |residual| <= 2 eps |z| or |step| <= 4 eps |y|: halving what rounding leaves of a bracket takes
    fifty. Where the bracket is not finite, `low` is returned.

    >>> import numpy as np
    >>> z = np.array([8.0, 27.0])
    >>> solve_increasing(np, lambda xp, y: y**3, lambda xp, y: 3 * y**2, z, 0 * z, z)
    array([2., 3.])
    """
    start, fine = low, xp.isfinite(z) & xp.isfinite(low) & xp.isfinite(high)
    z, low, high = (xp.where(fine, x, xp.zeros_like(x)) for x in (z, low, high))
    y = best = low + (high - low) / 2
    residual, eps, going = f(xp, y) - z, float(xp.finfo(z.dtype).eps), fine
    least, before = xp.abs(residual), xp.full_like(residual, math.inf)
    for _ in range(200):
        low, high = xp.where(residual < 0, y, low), xp.where(residual > 0, y, high)
        step, size, middle = residual / df(xp, y), xp.abs(residual), low + (high - low) / 2
        going = going & (size > 2 * eps * xp.abs(z)) & (xp.abs(step) > 4 * eps * xp.abs(y))
        good = (low <= y - step) & (y - step <= high) & (size <= before / 2)
        y, before = xp.where(good, y - step, middle), size
        residual = f(xp, y) - z
        better = xp.abs(residual) < least
        best, least = xp.where(better, y, best), xp.where(better, xp.abs(residual), least)
        if not bool(xp.any(going & (low < middle) & (middle < high) & (least > 0))):
            break
    return xp.where(fine, best, start)


def log1pexp(xp: Namespace, y: Array) -> Array:
    """Return log(1 + e^y)."""
    return xp.maximum(y, xp.zeros_like(y)) + xp.log1p(xp.exp(-xp.abs(y)))


def logistic(xp: Namespace, y: Array) -> Array:
    """Return 1 / (1 + e^-y)."""
    t = xp.exp(-xp.abs(y))
    return xp.where(y > 0, 1 / (1 + t), t / (1 + t))


# |M| up to which degree 4, 8 and 15 of phi1 are enough: the next term is below eps / 8
FINE_64, FINE_32 = (1.8e-3, 0.077, 0.75), (0.10, 0.72, 2.5)
X = (4.5, 35.425244170641219, 3.3775050670162769e-3, 7.4714781746031746e-4, 4.4986650764326448e-5)


def phi1(M: Array, bound: float | None = None, square: Array = None) -> Array:
    """Return phi1(M) = (e^M - 1) / M = sum_j M^j / (j + 1)! of a square M (n, n).

    Taylor's polynomial of a degree that the size of M asks for: 4, 8, or 15 of M / 2^s with |M| /
    2^s <= 3/4 (5/2 in float32), where the next term is below eps / 8; then phi1(2 M) = phi1(M) + M
    phi1(M)^2 / 2. `bound` >= |M|; without it the size of M is read, which waits for a device.
    `square`: M @ M where it is known. Cost: 2, 3, or 6 + 2 s products (n, n) x (n, n).

    >>> import numpy as np
    >>> phi1(np.array([[1.0]])) - np.expm1(1.0) < 1e-15
    array([[ True]])
    """
    xp = namespace(M, "M")
    size, fine = _size(M, bound), FINE_32 if M.dtype == xp.float32 else FINE_64
    one = eye(xp, M)
    if size <= fine[1]:
        return _phi1_small(one, M, 4 if size <= fine[0] else 8, square)
    halvings = max(0, math.ceil(math.log2(size / fine[2]))) if size < math.inf else 0
    M = M * 0.5**halvings if halvings else M
    M2 = M @ M if square is None else square * 0.25**halvings
    powers = (one, M, M2, M @ M2)
    P, M4 = _block(powers, 3), M2 @ M2
    for i in (2, 1, 0):
        P = _block(powers, i) + M4 @ P
    for _ in range(halvings):
        P, M = P + M @ (P @ P) / 2, 2 * M
    return P


def _phi1_small(one: Array, M: Array, degree: int, square: Array) -> Array:
    """Return phi1 to degree 4 in two products, or to degree 8 in three.

    The latter are Bader, Blanes & Casas' (2019): of eight coefficients, those of M^3 to M^8 leave
    a quadratic equation for X[1], and X are its solution (docs/mathematics.md).
    """
    M2 = M @ M if square is None else square
    if degree == 4:
        return one + M / 2 + (one / 6 + M / 24 + M2 / 120) @ M2
    M4 = M2 @ (X[0] * M + M2)
    high = X[2] * one + X[3] * M + X[4] * M2 + M4 / math.factorial(9)
    return one + M / 2 + (1 / 6 - X[1] * X[2]) * M2 + (X[1] * M2 + M4) @ high


def _block(powers: tuple[Array, ...], i: int) -> Array:
    """Return sum_p M^p / (4 i + p + 1)!, p < 4: four terms of phi1, over M^4i."""
    total = powers[0] * (1 / math.factorial(4 * i + 1))
    for p in (1, 2, 3):
        total += powers[p] * (1 / math.factorial(4 * i + p + 1))
    return total


def phi1_times(M: Array, bound: float | None, v: Array, square: Array = None) -> Array:
    """Return phi1(M) @ v for v (n,), or (n, k), as Horner's v + M (v + M (v + ...) / 3) / 2.

    As many terms as `bound` >= |M| asks for; through `phi1` where |M| > 2, for there they cancel.
    Cost: O(n^2) a term and column, 17 terms at |M| = 1; of even and odd powers apart, half as many
    where the `square` M @ M is known: (v + M v / 2) + M^2 ((v + M v / 4) + ...) / 6.

    >>> import numpy as np
    >>> phi1_times(np.array([[1.0]]), None, np.array([2.0])) - 2 * np.expm1(1.0) < 1e-15
    array([ True])
    """
    size, term, terms = _size(M, bound), 1.0, 1
    if not size <= 2:
        return phi1(M, bound, square) @ v
    while term > 2**-56:
        terms += 1
        term *= size / terms
    if square is not None:
        odd, last = M @ v, 2 * ((terms + 1) // 2)
        result = v + odd / last
        for j in range(last - 2, 0, -2):
            result = v + odd / j + (square @ result) / (j * (j + 1))
        return result
    result = v
    for j in range(terms, 1, -1):
        result = v + (M @ result) / j
    return result


def _size(M: Array, bound: float | None) -> float:
    """Return a bound of |M|: the one that is given, or |M|_F where that is read at once and less.

    Without a bound M is read, wherever it is.
    """
    if bound is None:
        return float(detached(norm_bound(M)))
    given: float = number("bound", bound, 0, 1e9, "positive")
    return min(given, math.sqrt(np.vdot(M, M))) if isinstance(M, np.ndarray) else given


def solve(A: Array, B: Array) -> Array:
    """Return inv(A) @ B of A (n, n), NaN where A is singular, on every library.

    NumPy and torch raise an error there, CuPy says nothing.

    >>> import numpy as np
    >>> solve(np.zeros((1, 1)), np.ones((1, 1)))
    array([[nan]])
    """
    xp = namespace(A, "A")
    try:
        return xp.linalg.solve(A, B)
    except (np.linalg.LinAlgError, RuntimeError) as error:  # the latter is torch's
        if "ingular" not in str(error):
            raise
        return xp.full_like(B, math.nan)


def norm_bound(K: Array) -> Array:
    """Bound the spectral norm of K (n, n) from above, (): min(|K|_F, sqrt(|K|_1 |K|_inf)).

    Positive even where K = 0, so that one may divide by it.

    >>> import numpy as np
    >>> norm_bound(np.array([[3.0, 0.0], [0.0, 4.0]]))
    np.float64(4.0)
    """
    xp = namespace(K, "K")
    tiny = xp.finfo(K.dtype).smallest_normal
    unit = xp.max(xp.abs(K)) + tiny
    unit = xp.where(xp.isfinite(unit), unit, xp.ones_like(unit))
    K = xp.abs(K / unit)  # no square overflows, and none that matters underflows
    rows, columns = (xp.max(xp.sum(K, axis=axis)) for axis in (1, 0))
    return unit * xp.minimum(xp.sqrt(xp.sum(K * K)), xp.sqrt(rows * columns)) + tiny


def eye(xp: Namespace, K: Array) -> Array:
    """Return the identity of the size, dtype and device of K (n, n)."""
    return xp.eye(K.shape[0], dtype=K.dtype, device=K.device)


def widest(x: Array) -> Any:
    """Return float64, or float32 where the device of `x` has nothing wider."""
    xp = namespace(x, "x")
    try:
        return xp.empty(0, dtype=xp.float64, device=x.device).dtype
    except (TypeError, ValueError, RuntimeError):  # each library its own
        return xp.float32
