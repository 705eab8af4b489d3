"""What a pass over outputs asks of the base density: log p of each row, score and curvature.

The three of sech and logistic are made of one exponential; see `test_newton.py` for the comparison
with the density's own functions, which serve everywhere else.
"""

import math
from collections.abc import Callable
from typing import Any

from ...core.arrays import Array, Namespace, namespace
from ...core.curvatures import dscore_of
from ...core.densities import Density, density

Elementwise = Callable[[Array], tuple[Array, Array, Array]]  # (n, D) to (n,), (n, D), (n, D)
EXPONENT = 960  # of two, in float64: a product of that size is an ordinary number
SCALES = {"sech": 1.0, "logistic": 0.5}  # a of the score -tanh(a z)


def elementwise(of: Density) -> Elementwise:
    """Return the function of Y (n, D) that gives log p of rows (n,), score and dscore (n, D).

    ValueError for multivariate_t, which does not act elementwise.

    >>> import numpy as np
    >>> elementwise(density("normal"))(np.array([[1.0, 2.0]]))[1]
    array([[-1., -2.]])
    """
    if of.name == "multivariate_t":
        raise ValueError(
            "`density` multivariate_t does not act elementwise: `newton` needs one that does"
        )
    fields = (of.log_prob, of.score, of.dscore)
    if of.name in SCALES and made_here(density, of.name, fields):
        return _tanh(SCALES[of.name])
    dscore = dscore_of(of.score, of.dscore)

    def separate(Y: Array) -> tuple[Array, Array, Array]:
        xp = namespace(Y, "Y")
        return xp.sum(of.log_prob(Y), axis=1), of.score(Y), dscore(Y)

    return separate


def made_here(maker: Any, name: str, functions: tuple[Any, ...]) -> bool:
    """Say whether the functions are those of the package's own density or activation `name`."""
    own = (getattr(f, "of", None) for f in functions)
    return all(made and made[:2] == (maker, name) for made in own)


def _tanh(a: float) -> Elementwise:
    """Return that of the score -tanh(a z): sech, a = 1, and logistic, a = 1/2.

    With e = exp(-2 a |z|): score -sign(z) (1 - e) / (1 + e), curvature -4 a e / (1 + e)^2, and
    log p = const - |z| - log(1 + e) / a. A sum of logarithms is that of the product.
    """
    constant = math.log(2 / math.pi) if a == 1 else 0.0

    def fused(Y: Array) -> tuple[Array, Array, Array]:
        xp = namespace(Y, "Y")
        size = xp.abs(Y)
        e = xp.exp((-2 * a) * size)
        above = e + 1
        log_p = constant * Y.shape[1] - xp.sum(size, axis=1) - log_product(xp, above) / a
        part = 1 / above
        dscore = (e * part) * ((-4 * a) * part)
        e -= 1
        e *= part
        e *= xp.sign(Y)
        return log_p, e, dscore

    return fused


def log_product(xp: Namespace, factors: Array, largest: float = 1.0) -> Array:
    """Return the sum over columns of log factors (n, D), (n,), |log2| of each <= `largest`.

    A sum of logarithms is the logarithm of the product, of as many as do not overflow. Columns are
    multiplied by halves, which is faster than one after another.

    >>> import numpy as np
    >>> log_product(np, np.full((1, 3), 2.0)) / np.log(2)
    array([3.])
    """
    exponent = EXPONENT if factors.dtype == xp.float64 else EXPONENT // 8
    block = max(1, min(factors.shape[1], int(exponent / max(largest, 1e-9))))
    total = 0.0
    for i in range(0, factors.shape[1], block):
        part = factors[:, i : min(i + block, factors.shape[1])]
        while (n := part.shape[1]) > 1:
            half = part[:, : n // 2] * part[:, n // 2 : 2 * (n // 2)]  # (n, n // 2)
            half = half if n % 2 == 0 else xp.concat([half, part[:, n - 1 :]], axis=1)
            part = half
        total = total + xp.log(part[:, 0])
    return total
