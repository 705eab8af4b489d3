"""Curvatures of base densities, (log p)'' elementwise: what a second order needs beside the score.

`densities` takes the formulas from here; `dscore_of` serves densities that have none.
"""

import math
from collections.abc import Callable

from . import quartic
from .arrays import Array, Formula, Namespace, namespace


def constant(value: float) -> Formula:
    """Return the formula of a constant; NaN stays NaN.

    >>> import numpy as np
    >>> constant(-1.0)(np, np.array([0.5, np.nan]))
    array([-1., nan])
    """
    return lambda xp, z: xp.where(xp.isnan(z), z, xp.full_like(z, value))


def split(xp: Namespace, r: Array) -> tuple[Array, Array]:
    """Return max(r, 1) and min(r, 1/r) of r >= 0: powers of the second never overflow."""
    large = xp.maximum(r, xp.ones_like(r))
    return large, xp.minimum(r, 1 / large)


def logistic_dscore(xp: Namespace, z: Array) -> Array:
    """Return -1/2 sech^2(z / 2) = -2 e / (1 + e)^2, e = exp(-|z|)."""
    e = xp.exp(-xp.abs(z))
    return -2 * e / (1 + e) ** 2


def sech_dscore(xp: Namespace, z: Array) -> Array:
    """Return -sech^2 z = -4 e / (1 + e)^2, e = exp(-2 |z|); 1 - tanh^2 would cancel."""
    e = xp.exp(-2 * xp.abs(z))
    return -4 * e / (1 + e) ** 2


DSCORES: dict[str, Formula] = {
    "normal": constant(-1.0),
    "logistic": logistic_dscore,
    "laplace": constant(0.0),  # almost everywhere; the kink at 0 is not in it
    "sech": sech_dscore,
    "quartic": quartic.dscore,
}


def t_dscore(nu: float) -> Formula:
    """Return -(nu + 1) / nu (1 - r^2) / (1 + r^2)^2 of Student's t, r = |z| / sqrt(nu), a formula.

    With q = min(r, 1/r) it is -+ (1 - q^2) / (1 + q^2)^2, times q^2 where r > 1: no square
    overflows. Beyond r = 1 the density is log-convex, and its curvature positive.
    """

    def dscore(xp: Namespace, z: Array) -> Array:
        r = xp.abs(z) / math.sqrt(nu)
        _, q = split(xp, r)
        part = (1 - q) * (1 + q) / (1 + q * q) ** 2
        return (nu + 1) / nu * xp.where(r > 1, q * q * part, -part)

    return dscore


def dscore_of(
    score: Callable[[Array], Array], dscore: Callable[[Array], Array] | None
) -> Callable[[Array], Array]:
    """Return `dscore`, or where there is none central differences of the score.

        (score(z + h) - score(z - h)) / ((z + h) - (z - h)),   h = eps^(1/3) max(1, |z|)

    so that truncation and rounding are both of the order eps^(2/3): 4e-11 in float64, 2e-5 in
    float32, relative to the score's scale. A kink of the score counts within h of it alone.

    >>> import numpy as np
    >>> bool(abs(dscore_of(lambda z: -(z**3), None)(np.array([2.0]))[0] + 12) < 1e-8)
    True
    """
    if dscore is not None:
        return dscore

    def differences(z: Array) -> Array:
        xp = namespace(z, "z")
        h = float(xp.finfo(z.dtype).eps) ** (1 / 3) * xp.maximum(xp.abs(z), xp.ones_like(z))
        ahead, behind = z + h, z - h
        return (score(ahead) - score(behind)) / (ahead - behind)

    return differences
