"""The quartic base density, for sources that are lighter than the Gaussian (sub-Gaussian).

Such are uniform variables, sines, and those of a few levels. Every other base density of the
package has tails at least as heavy as the Gaussian's, and one layer with it does not unmix them.
`densities` and `curvatures` take the formulas from here.
"""

import math
from typing import Any

import numpy as np

from .arrays import Array, Namespace

EDGE = 2.0  # up to here log p is a quartic; beyond, its parabola goes on
# The mass of e^-E, E as in `log_prob`, is Z = 2 (A + T). With t = z^4 / 4, and gamma(s, x) the
# lower incomplete Gamma function,
#   A = integral_0^2 e^(-z^4 / 4) dz = 2^(-3/2) gamma(1/4, 4),
# and with 4 + 8 r + 6 r^2 = 6 (r + 2/3)^2 + 4/3,
#   T = integral_0^inf e^-(4 + 8 r + 6 r^2) dr = e^(-4/3) sqrt(pi / 24) erfc(sqrt(8 / 3)).
Z = 2.563728907129322579849743582138
# of draws from e^(-z^4 / 4), whose mass is Gamma(1/4) / sqrt(2), how many stay that are within +-2
_KEPT = math.gamma(0.25) / math.sqrt(2) / Z


def log_prob(xp: Namespace, z: Array) -> Array:
    """Return -E - log Z, E = b^4 / 4 + r (b^3 + 3/2 b^2 r), b = min(|z|, 2), r = |z| - b.

    Up to 2 it is the quartic; from there on its own parabola goes on, with the same value, slope
    and curvature, so that an outlier pulls only in proportion, as it does on a Gaussian.
    """
    b, r = _parts(xp, z)
    q = b * b
    return -(q * q / 4 + r * (q * b + 1.5 * q * r)) - math.log(Z)


def score(xp: Namespace, z: Array) -> Array:
    """Return -sign(z) (b^3 + 3 b^2 r)."""
    b, r = _parts(xp, z)
    return -xp.sign(z) * (b * b * (b + 3 * r))


def dscore(xp: Namespace, z: Array) -> Array:
    """Return -3 b^2: in the tails a constant."""
    b, _ = _parts(xp, z)
    return -3 * (b * b)


def _parts(xp: Namespace, z: Array) -> tuple[Array, Array]:
    """Return b = min(|z|, 2) and r = |z| - b; NaN stays NaN."""
    size = xp.abs(z)
    b = xp.minimum(size, xp.full_like(size, EDGE))
    return b, size - b


def draw(rng: np.random.Generator, shape: int | tuple[int, ...]) -> Any:
    """Draw exactly, without a loop.

    |z| = (4 t)^(1/4) with t ~ Gamma(1/4) has the density e^(-z^4 / 4) / (A + its tail). Of those
    within 2 the share _KEPT stays, which makes their mass 2 A / Z. All others, 0.16 %, are drawn
    from the tail, where x = sqrt(12) (r + 2/3) is a standard normal variable beyond 4 / sqrt(3).
    """
    from scipy.special import ndtr, ndtri  # here, so that `import relgrad_np` stays light

    t = np.asarray(rng.standard_gamma(0.25, shape))
    u = np.asarray(2 * rng.random(shape) - 1)  # its sign is that of z
    z = np.asarray(np.sqrt(2 * np.sqrt(t)))
    tail = (t > EDGE**4 / 4) | (np.abs(u) > _KEPT)
    beyond = 1 - rng.random(np.count_nonzero(tail))  # in (0, 1]
    x = -ndtri(beyond * ndtr(-4 / math.sqrt(3)))
    z[tail] = EDGE + (x / math.sqrt(12) - 2 / 3)
    return np.copysign(z, u)
