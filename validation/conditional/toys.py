"""Toys p(x | u) with a known density: what they draw, and what log p of each row is.

A toy has three functions: n and a generator make u (n, c), u and a generator make x (n, D), and x
and u have log p(x | u) (n,), in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

Array = Any
RING, MOON, MODE = 0.1, 0.12, 0.2  # standard deviations of the noise
SLOPES = np.array([[1.0, -2.0, 0.5], [0.0, 1.0, 1.5]])  # (D, c) of the linear toy
ROOT = np.array([[0.8, 0.0], [0.5, 0.3]])  # of its covariance
NODES = 96  # of the quadrature along a moon; they lie less than half of the noise apart


class Toy(NamedTuple):
    """How u is drawn, and x given u, and log p(x | u) of such rows."""

    contexts: Callable[[int, np.random.Generator], Array]
    given: Callable[[Array, np.random.Generator], Array]
    log_density: Callable[[Array, Array], Array]

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return n rows x, and u."""
        u = self.contexts(n, rng)
        return self.given(u, rng), u


def uniform(low: float, high: float) -> Callable[[int, np.random.Generator], Array]:
    """Return the drawing of one uniform variable of context."""
    return lambda n, rng: rng.uniform(low, high, (n, 1))


def normal(x: Array, mean: Array, std: Array) -> Array:
    """Return the log-density of a Gaussian, element by element.

    >>> round(float(normal(1.0, 0.0, 2.0)), 6)
    -1.737086
    """
    return -0.5 * ((x - mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2 * math.pi)


def draw_linear(u: Array, rng: np.random.Generator) -> Array:
    """Draw x = A u + 1 + C e, with correlated Gaussian noise."""
    return u @ SLOPES.T + 1 + rng.standard_normal((len(u), 2)) @ ROOT.T


def of_linear(x: Array, u: Array) -> Array:
    """Return the log-density of the linear toy."""
    e = np.linalg.solve(ROOT, (x - u @ SLOPES.T - 1).T).T
    return normal(e, 0.0, 1.0).sum(axis=1) - np.log(np.linalg.det(ROOT))


def draw_rings(u: Array, rng: np.random.Generator) -> Array:
    """Draw from a ring around 0 whose radius is u."""
    n = len(u)
    radius, angle = u[:, 0] + RING * rng.standard_normal(n), rng.uniform(0, 2 * math.pi, n)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def of_rings(x: Array, u: Array) -> Array:
    """Return the log-density of a ring: a negative radius, ten deviations off, is left out."""
    radius = np.hypot(*x.T)
    return normal(radius, u[:, 0], RING) - np.log(2 * math.pi * radius)


def turned(x: Array, angle: Array) -> Array:
    """Return points (n, 2), each turned by its angle (n,)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], axis=1)


def half_circle(angle: Array) -> Array:
    """Return points (n, 2) of the upper moon; the lower one is the same turned by 180 degrees."""
    return np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], axis=1)


def draw_moons(u: Array, rng: np.random.Generator) -> Array:
    """Draw from two half circles that interleave, turned by u."""
    n, side = len(u), rng.choice([-1.0, 1.0], len(u))
    x = side[:, None] * half_circle(rng.uniform(0, math.pi, n))
    return turned(x + MOON * rng.standard_normal((n, 2)), u[:, 0])


def of_moons(x: Array, u: Array) -> Array:
    """Return the log-density of two moons: an integral along them, by Gauss and Legendre."""
    at, weights = np.polynomial.legendre.leggauss(NODES)
    centres = half_circle(math.pi / 2 * (at + 1))  # (NODES, 2)
    x = turned(x, -u[:, 0])
    both = []
    for side in (-1.0, 1.0):
        off = x[:, None, :] - side * centres  # (n, NODES, 2)
        both.append(normal(off, 0.0, MOON).sum(axis=2))
    each = np.logaddexp(*both) - math.log(2)
    return logsumexp(each, b=weights / 2, axis=1)


def draw_spread(u: Array, rng: np.random.Generator) -> Array:
    """Draw a curved regression whose noise grows eightfold with u, from -2 to 2."""
    return np.sin(2 * u) + _spread(u) * rng.standard_normal(u.shape)


def _spread(u: Array) -> Array:
    return 0.1 * np.exp(math.log(8) * (u + 2) / 4)


def of_spread(x: Array, u: Array) -> Array:
    """Return the log-density of the heteroscedastic toy."""
    return normal(x, np.sin(2 * u), _spread(u))[:, 0]


def draw_modes(u: Array, rng: np.random.Generator) -> Array:
    """Draw one of two branches, 0.8 (1 + |u|) and minus that."""
    side = rng.choice([-1.0, 1.0], u.shape)
    return side * _branch(u) + MODE * rng.standard_normal(u.shape)


def _branch(u: Array) -> Array:
    return 0.8 * (1 + np.abs(u))


def of_modes(x: Array, u: Array) -> Array:
    """Return the log-density of the two branches."""
    both = [normal(x, side * _branch(u), MODE) for side in (-1, 1)]
    return (np.logaddexp(*both) - math.log(2))[:, 0]


TOYS = {
    "linear": Toy(lambda n, rng: rng.standard_normal((n, 3)), draw_linear, of_linear),
    "rings": Toy(uniform(1, 3), draw_rings, of_rings),
    "moons": Toy(uniform(0, math.pi), draw_moons, of_moons),
    "heteroscedastic": Toy(uniform(-2, 2), draw_spread, of_spread),
    "bimodal": Toy(uniform(-2, 2), draw_modes, of_modes),
}
