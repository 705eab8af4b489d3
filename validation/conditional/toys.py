"""Toys p(x | u) with a known density: what they draw, and what log p of each row is.

A toy is a function from a number of rows and a generator to rows x (n, D) and u (n, c), and a
second one from those to log p(x | u) (n,), in nats.
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
NODES = 256  # of the quadrature along a moon; its spacing is a fifth of the noise


class Toy(NamedTuple):
    """How rows (x, u) are drawn, and log p(x | u) of such rows."""

    draw: Callable[[int, np.random.Generator], tuple[Array, Array]]
    log_density: Callable[[Array, Array], Array]


def normal(x: Array, mean: Array, std: Array) -> Array:
    """Return the log-density of a Gaussian, element by element.

    >>> round(float(normal(1.0, 0.0, 2.0)), 6)
    -1.737086
    """
    return -0.5 * ((x - mean) / std) ** 2 - np.log(std) - 0.5 * math.log(2 * math.pi)


def draw_linear(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw x = A u + 1 + C e, with correlated Gaussian noise."""
    u = rng.standard_normal((n, 3))
    return u @ SLOPES.T + 1 + rng.standard_normal((n, 2)) @ ROOT.T, u


def of_linear(x: Array, u: Array) -> Array:
    """Return the log-density of the linear toy."""
    e = np.linalg.solve(ROOT, (x - u @ SLOPES.T - 1).T).T
    return normal(e, 0.0, 1.0).sum(axis=1) - np.log(np.linalg.det(ROOT))


def draw_rings(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw from a ring around 0 whose radius is u, from 1 to 3."""
    u = rng.uniform(1, 3, (n, 1))
    radius, angle = u[:, 0] + RING * rng.standard_normal(n), rng.uniform(0, 2 * math.pi, n)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), u


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


def draw_moons(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw from two half circles that interleave, turned by u, from 0 to pi."""
    u, side = rng.uniform(0, math.pi, (n, 1)), rng.choice([-1.0, 1.0], n)
    x = side[:, None] * half_circle(rng.uniform(0, math.pi, n))
    return turned(x + MOON * rng.standard_normal((n, 2)), u[:, 0]), u


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


def draw_spread(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw a curved regression whose noise grows eightfold with u, from -2 to 2."""
    u = rng.uniform(-2, 2, (n, 1))
    return np.sin(2 * u) + _spread(u) * rng.standard_normal((n, 1)), u


def _spread(u: Array) -> Array:
    return 0.1 * np.exp(math.log(8) * (u + 2) / 4)


def of_spread(x: Array, u: Array) -> Array:
    """Return the log-density of the heteroscedastic toy."""
    return normal(x, np.sin(2 * u), _spread(u))[:, 0]


def draw_modes(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw one of two branches, plus and minus (1 + |u|), u from -2 to 2."""
    u, side = rng.uniform(-2, 2, (n, 1)), rng.choice([-1.0, 1.0], (n, 1))
    return side * _branch(u) + MODE * rng.standard_normal((n, 1)), u


def _branch(u: Array) -> Array:
    return 0.8 * (1 + np.abs(u))


def of_modes(x: Array, u: Array) -> Array:
    """Return the log-density of the two branches."""
    both = [normal(x, side * _branch(u), MODE) for side in (-1, 1)]
    return (np.logaddexp(*both) - math.log(2))[:, 0]


TOYS = {
    "linear": Toy(draw_linear, of_linear),
    "rings": Toy(draw_rings, of_rings),
    "moons": Toy(draw_moons, of_moons),
    "heteroscedastic": Toy(draw_spread, of_spread),
    "bimodal": Toy(draw_modes, of_modes),
}
