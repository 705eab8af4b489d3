"""Eight toy distributions in the plane, roughly in [-4, 4]^2; the rows are independent draws."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.arguments import generator, one_of, whole
from .rows import Batch

Toy = Callable[[int, np.random.Generator], Batch]


def toy(name: str, n: int, rng: np.random.Generator) -> Batch:
    """Return n draws (n, 2) of the toy `name`; ValueError listing the choices for an unknown one.

    >>> import numpy as np
    >>> toy("moons", 5, np.random.default_rng(0)).shape
    (5, 2)
    >>> ", ".join(TOYS)
    '8gaussians, sine, moons, trimodal, smile, 2spirals, checkerboard, rings'
    """
    draw: Toy = TOYS[one_of("toy", name, TOYS)]
    return draw(whole("n", n), generator(rng))


def _polar(radius: Any, angle: Any) -> Batch:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _blur(X: Batch, std: float, rng: np.random.Generator) -> Batch:
    return X + std * rng.standard_normal(X.shape)


def eight_gaussians(n: int, rng: np.random.Generator) -> Batch:
    """Draw from eight round Gaussians on a circle."""
    return _blur(_polar(np.full(n, 3.0), rng.integers(8, size=n) * math.pi / 4), 0.25, rng)


def sine(n: int, rng: np.random.Generator) -> Batch:
    """Draw along a sine wave of nearly two periods."""
    x = rng.uniform(-3.5, 3.5, n)
    return _blur(np.stack([x, 2.2 * np.sin(1.6 * x)], axis=1), 0.18, rng)


def moons(n: int, rng: np.random.Generator) -> Batch:
    """Draw along two interleaved half circles."""
    side = rng.choice([-1.0, 1.0], n)
    X = _polar(np.full(n, 2.0), rng.uniform(0, math.pi, n)) - np.array([1.0, 0.5])
    return _blur(
        side[:, None] * X, 0.18, rng
    )  # one half circle is the other, turned by 180 degrees


def trimodal(n: int, rng: np.random.Generator) -> Batch:
    """Draw from three Gaussians, each stretched along its ray."""
    angle = rng.integers(3, size=n) * 2 * math.pi / 3 + math.pi / 2
    along, across = 2.0 + 0.65 * rng.standard_normal(n), 0.3 * rng.standard_normal(n)
    return _polar(along, angle) + _polar(across, angle + math.pi / 2)


def smile(n: int, rng: np.random.Generator) -> Batch:
    """Draw a face: its outline, two eyes, and a mouth that smiles."""
    u, part = rng.uniform(-1, 1, n), rng.choice(3, n, p=[0.5, 0.24, 0.26])
    face = _polar(np.full(n, 3.5), math.pi * u)
    eyes = np.stack([1.25 * np.sign(u), np.full(n, 1.1)], axis=1)
    mouth = _polar(np.full(n, 2.0), math.pi * (0.35 * u - 0.5)) - np.array([0.0, 0.2])
    X = np.stack([face, eyes, mouth])[part, np.arange(n)]
    return X + np.array([0.1, 0.22, 0.1])[part, None] * rng.standard_normal((n, 2))


def two_spirals(n: int, rng: np.random.Generator) -> Batch:
    """Draw along two spiral arms of one and a half turns."""
    angle, side = 3 * math.pi * np.sqrt(rng.random(n)), rng.integers(2, size=n)
    return _blur(_polar(3.6 * angle / (3 * math.pi), angle + math.pi * side), 0.1, rng)


def checkerboard(n: int, rng: np.random.Generator) -> Batch:
    """Draw from the eight dark squares of a 4 x 4 board that fills [-4, 4]^2."""
    row, half = rng.integers(4, size=n), rng.integers(2, size=n)
    return 2 * (np.stack([2 * half + row % 2, row], axis=1) + rng.random((n, 2))) - 4


def rings(n: int, rng: np.random.Generator) -> Batch:
    """Draw along four concentric rings, equally dense along their lengths."""
    radius = 0.9 * rng.choice([1, 2, 3, 4], n, p=[0.1, 0.2, 0.3, 0.4])
    return _blur(_polar(radius, rng.uniform(0, 2 * math.pi, n)), 0.08, rng)


TOYS: dict[str, Toy] = {
    "8gaussians": eight_gaussians,
    "sine": sine,
    "moons": moons,
    "trimodal": trimodal,
    "smile": smile,
    "2spirals": two_spirals,
    "checkerboard": checkerboard,
    "rings": rings,
}
