"""Estimates of log|det J| where J is too large to be made, by products with random vectors.

Its value, where J'u is given: 1/2 tr log(J J') by stochastic Lanczos quadrature. Its derivative
along a line, where an inverse is given: tr(J^-1 dJ/dt) by Hutchinson's estimate; what does not
depend on x can't be seen by it. Both have a standard error, over the random vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from .records import Array, Pair

PROBES = 16
STEPS = 60
STEP = {"float64": 2.0**-10, "float32": 2.0**-4}


class Estimate(NamedTuple):
    """An estimate, its standard error, and the error of the method itself."""

    value: float
    error: float
    bias: float = 0.0

    @property
    def allowed(self) -> float:
        """What a right value may be off by."""
        return 5 * self.error + 2 * self.bias


def of_value(
    f: Pair, vjp: Callable[[Array, Array], Array], x: Array, rng: np.random.Generator, h: float
) -> Estimate:
    """Return log|det J| at a row x (D,), by Lanczos quadrature of tr log(J J').

    >>> rng = np.random.default_rng(0)
    >>> W = np.diag(np.linspace(0.5, 2, 50))
    >>> f = lambda x: (x @ W.T, np.zeros(len(x)))
    >>> made = of_value(f, lambda x, u: u @ W, np.ones(50), rng, 2.0**-10)
    >>> bool(abs(made.value - np.linalg.slogdet(W)[1]) < made.allowed)
    True
    """
    D = len(x)

    def through(u: Array) -> Array:
        """Return J J'u of each row of u."""
        v = vjp(np.repeat(x[None], len(u), axis=0), u)
        return _along(f, x, v, h)

    q = rng.choice([-1.0, 1.0], (PROBES, D)) / np.sqrt(D)
    values = _quadratures(through, q, min(STEPS, D)) * D / 2  # (2, PROBES)
    fine, coarse = values
    error = float(fine.std(ddof=1) / np.sqrt(PROBES))
    return Estimate(float(fine.mean()), error, abs(float((fine - coarse).mean())))


def _along(f: Pair, x: Array, v: Array, h: float) -> Array:
    """Return J v of each row of v (K, D), by differences of fourth order."""
    size = np.linalg.norm(v, axis=1, keepdims=True) / np.sqrt(len(x)) + 1e-300
    moves = h / size * v
    steps = np.array([1.0, -1.0, 0.5, -0.5])
    points = (x + steps[:, None, None] * moves).reshape(-1, len(x))
    z = f(points)[0].reshape(4, len(v), len(x))
    one, half = (z[0] - z[1]) / 2, z[2] - z[3]
    return np.asarray((4 * half - one) / 3 * size / h)


def _quadratures(through: Callable[[Array], Array], q: Array, steps: int) -> Array:
    """Return q' log(A) q by Lanczos with all steps, and with half of them: (2, K)."""
    K = len(q)
    basis, alphas, betas = [q], [], []
    before, beta = np.zeros_like(q), np.zeros(K)
    for _ in range(steps):
        w = through(basis[-1]) - beta[:, None] * before
        alpha = (w * basis[-1]).sum(axis=1)
        w = w - alpha[:, None] * basis[-1]
        for b in basis:  # what rounding mixes in again
            w = w - (w * b).sum(axis=1, keepdims=True) * b
        beta = np.linalg.norm(w, axis=1)
        alphas.append(alpha)
        betas.append(beta)
        before = basis[-1]
        basis.append(w / np.maximum(beta, 1e-300)[:, None])
    found = np.empty((2, K))
    for k in range(K):
        for row, m in enumerate((steps, max(1, steps // 2))):
            off = np.array([b[k] for b in betas[: m - 1]])
            T = np.diag([a[k] for a in alphas[:m]]) + np.diag(off, 1) + np.diag(off, -1)
            eigenvalues, vectors = np.linalg.eigh(T)
            weights = vectors[0] ** 2
            found[row, k] = weights @ np.log(np.maximum(eigenvalues, 1e-300))
    return found


def of_derivative(
    f: Pair,
    inverse: Callable[[Array], Array],
    x: Array,
    v: Array,
    rng: np.random.Generator,
    h: float,
) -> Estimate:
    """Return the derivative of log|det J| at x (D,) along v (D,), by Hutchinson's estimate.

    >>> rng = np.random.default_rng(0)
    >>> f = lambda x: (np.sinh(x), np.zeros(len(x)))
    >>> x, v = np.linspace(-1, 1, 40), np.ones(40)
    >>> made = of_derivative(f, np.arcsinh, x + 0.3, v, rng, 2.0**-10)
    >>> bool(abs(made.value - np.tanh(x + 0.3).sum()) < made.allowed + 1e-6)
    True
    """
    w = rng.choice([-1.0, 1.0], (4 * PROBES, len(x)))
    step = max(h, 2.0**-10) * 2  # a mixed second difference loses more digits
    corners = [f(x + a * step * v + b * step * w)[0] for a in (1, -1) for b in (1, -1)]
    bent = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * step**2)  # dJ/dt w
    z = f(x[None])[0]
    size = np.linalg.norm(bent, axis=1, keepdims=True) / np.sqrt(len(x)) + 1e-300
    moves = h / size * bent
    solved = (inverse(z + moves) - inverse(z - moves)) / 2 * size / h
    values = (w * solved).sum(axis=1)
    error = float(values.std(ddof=1) / np.sqrt(len(values)))
    return Estimate(float(values.mean()), error, 8 * step**2 * abs(float(values.mean())))
