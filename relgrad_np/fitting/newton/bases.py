"""Base densities of the units of one layer, each its own: an exponential family, or the quartic.

The family has four sufficient statistics, and holds what linear ICA is used with:

    log p(y) = -(a y + b y^2 / 2 + c log cosh y + d (y - tanh y)) - log Z(theta)
    psi(y) = -score = a + b y + c tanh y + d tanh^2 y

theta = (a, b, c, d): (0, 0, 1, 0) is sech, (0, 1, 0, 0) the Gaussian, (0, 1, +-1, 0) are the two
densities of extended Infomax (Lee, Girolami & Sejnowski 1999); a and d make it skewed. All of it
comes from one exponential. Derived here.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from ...core.arrays import Array
from ...core.densities import Density, density

SECH = (0.0, 0.0, 1.0, 0.0)
NORMAL = (0.0, 1.0, 0.0, 0.0)
LOG_Z = {SECH: math.log(math.pi), NORMAL: 0.5 * math.log(2 * math.pi)}
QUARTIC = density("quartic")
QUARTIC_LOG_Z = -float(QUARTIC.log_prob(np.zeros(1))[0])


class Bases(NamedTuple):
    """Of each unit: whether its density is the quartic, theta (D, 4) and log Z (D,) if not.

    >>> bases = Bases.alike("sech", 2)
    >>> bases.log_p(np.zeros((1, 2))) + math.log(math.pi)
    array([[0., 0.]])
    >>> bases.names()
    ['sech', 'sech']
    """

    quartic: Array
    theta: Array
    log_Z: Array

    @classmethod
    def alike(cls, name: str, D: int) -> "Bases":
        """Return D units of the density sech, normal or quartic."""
        theta = NORMAL if name == "normal" else SECH
        return cls(np.full(D, name == "quartic"), np.tile(theta, (D, 1)), np.full(D, LOG_Z[theta]))

    def names(self) -> list[str]:
        """Return the name of each: sech, normal, quartic or fitted."""
        known: dict[Any, str] = {SECH: "sech", NORMAL: "normal"}
        rows = zip(self.quartic, self.theta, strict=True)
        return ["quartic" if q else known.get(tuple(map(float, t)), "fitted") for q, t in rows]

    def log_p(self, Y: Array) -> Array:
        """Return log p of each output, (N, D)."""
        stats = statistics(Y)  # (N, D, 4)
        own = -(stats * self.theta).sum(axis=-1) - self.log_Z
        return np.where(self.quartic, QUARTIC.log_prob(Y), own)

    def __call__(self, Y: Array) -> tuple[Array, Array, Array]:
        """Return log p of rows (N,), score and dscore (N, D), as `Elementwise` does."""
        if not self.quartic.any():
            return self._family(Y)
        if self.quartic.all():
            log_p = QUARTIC.log_prob(Y).sum(axis=1)
            return log_p, QUARTIC.score(Y), QUARTIC.dscore(Y)  # type: ignore[misc]
        score, dscore, log_p = np.empty_like(Y), np.empty_like(Y), np.zeros(len(Y), Y.dtype)
        for these in (self.quartic, ~self.quartic):
            part = Bases(*(x[these] for x in self))
            found, score[:, these], dscore[:, these] = part(Y[:, these])
            log_p += found
        return log_p, score, dscore

    def _family(self, Y: Array) -> tuple[Array, Array, Array]:
        a, b, c, d = self.theta.T.astype(Y.dtype)  # each (D,)
        size = np.abs(Y)
        h = 1 + np.exp(-2 * size)
        t = np.copysign(2 / h - 1, Y)  # tanh y
        log_cosh = size + np.log(h)
        log_p = -(Y @ (a + d) + (Y * Y) @ (b / 2) + log_cosh @ c - t @ d)
        log_p -= self.log_Z.sum() - math.log(2) * c.sum()
        score, flat = -(a + b * Y + t * (c + d * t)), 1 - t * t
        return log_p, score, -(b + flat * (c + 2 * d * t))


def statistics(Y: Array) -> Array:
    """Return y, y^2 / 2, log cosh y and y - tanh y of each output, (N, D, 4).

    >>> statistics(np.zeros((1, 1)))
    array([[[0., 0., 0., 0.]]])
    """
    size = np.abs(Y)
    log_cosh = size + np.log1p(np.exp(-2 * size)) - math.log(2)
    return np.stack([Y, Y * Y / 2, log_cosh, Y - np.tanh(Y)], axis=-1)


def bases_of(of: Density, D: int) -> Bases | None:
    """Return the bases of D units of this density, None if it is not one of these.

    >>> bases_of(density("sech"), 2).names(), bases_of(density("logistic"), 2)
    (['sech', 'sech'], None)
    """
    if of.name not in ("sech", "normal", "quartic"):
        return None
    own = (getattr(f, "of", None) for f in (of.log_prob, of.score, of.dscore))
    if not all(made and made[:2] == (density, of.name) for made in own):
        return None
    return Bases.alike(of.name, D)
