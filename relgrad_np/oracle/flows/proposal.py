"""Weighted rows that follow log_prob, without a sampler: adaptive importance sampling.

The proposal is a mixture of Student t kernels around rows, each as wide as the distance to its
neighbours, and a tenth of it is one broad t. It is moved to where p is in a few rounds; the rows of
the last round, which were drawn from a proposal that no longer changes, are the ones that count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln, logsumexp

from .records import Array

NU = 5.0  # degrees of freedom of the kernels
BROAD = 0.1
CENTRES = 256
WORTH = 500  # fewer effective rows say nothing
TAIL = 0.4
NEAR = 0.002  # standard error of the mass, as a share of it
SECONDS = 1.5


class Weighted(NamedTuple):
    """Rows x (n, D) of a proposal, log p - log q of each (n,), and how many rows they are worth."""

    x: Array
    log_w: Array

    @property
    def weights(self) -> Array:
        """The weights, which sum up to 1."""
        return np.asarray(np.exp(self.log_w - logsumexp(self.log_w)))

    @property
    def worth(self) -> float:
        """The effective sample size."""
        return float(1 / np.sum(self.weights**2))

    @property
    def tail(self) -> float:
        """The shape of the generalised Pareto tail of the weights, by probability-weighted moments.

        Beyond 1/2 their variance is infinite, and a standard error says nothing.
        """
        m = int(3 * np.sqrt(len(self.log_w)))
        top = np.sort(np.exp(self.log_w - self.log_w.max()))[-m - 1 :]
        over = top[1:] - top[0]  # (m,), ascending
        mean = over.mean()
        other = float(over @ (1 - (np.arange(1, m + 1) - 0.35) / m)) / m
        return float(2 - mean / (mean - 2 * other)) if mean > 2 * other > 0 else 0.0

    @property
    def says_something(self) -> bool:
        """Whether enough rows count, and no few of them for all."""
        return bool(self.worth >= WORTH and self.tail < TAIL)

    @property
    def mass(self) -> tuple[float, float]:
        """The estimate of the integral of p, and its standard error."""
        w = np.exp(self.log_w)
        return float(w.mean()), float(w.std(ddof=1) / np.sqrt(len(w)))


class KernelMixture:
    """A mixture of t kernels around centres, and one broad t; draws rows and gives log q.

    >>> rng = np.random.default_rng(0)
    >>> q = KernelMixture(rng.standard_normal((50, 2)))
    >>> x = q.draw(1000, rng)
    >>> x.shape, q.log_q(x).shape
    ((1000, 2), (1000,))
    """

    def __init__(self, centres: Array) -> None:
        m, D = centres.shape
        self.mean = np.median(centres, axis=0)
        cov = np.cov(centres.T).reshape(D, D)
        cov += np.eye(D) * (1e-10 * np.trace(cov) / D + 1e-300)
        self.root = np.linalg.cholesky(cov)  # (D, D)
        self.centres = np.linalg.solve(self.root, (centres - self.mean).T).T  # white
        k = max(2, round(m ** (4 / (4 + D)) / 4))
        apart = np.sort(_squares(self.centres, self.centres), axis=1)[:, min(k, m - 1)]
        self.width = np.clip(np.sqrt(apart / D) * 1.2, 1e-3, 2.0)  # (m,)

    def draw(self, n: int, rng: np.random.Generator) -> Array:
        """Return n rows."""
        m, D = self.centres.shape
        which = rng.integers(m, size=n)
        t = rng.standard_normal((n, D)) / np.sqrt(rng.chisquare(NU, n) / NU)[:, None]
        x = self.centres[which] + self.width[which, None] * t
        broad = rng.random(n) < BROAD
        x[broad] = 2 * t[broad]
        return np.asarray(x @ self.root.T + self.mean)

    def log_q(self, x: Array) -> Array:
        """Return log q (n,)."""
        y = np.linalg.solve(self.root, (x - self.mean).T).T
        m, D = self.centres.shape
        found = []
        for piece in np.array_split(y, max(1, len(y) * m // 2**22)):
            far = _squares(piece, self.centres) / self.width**2
            kernels = logsumexp(_log_t(far, D) - D * np.log(self.width), axis=1) - np.log(m)
            wide = _log_t((piece**2).sum(axis=1) / 4, D) - D * np.log(2)
            found.append(np.logaddexp(np.log1p(-BROAD) + kernels, np.log(BROAD) + wide))
        return np.concatenate(found) - np.log(np.diag(self.root)).sum()


def _squares(a: Array, b: Array) -> Array:
    """Return squared distances (len(a), len(b))."""
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0)


def _log_t(far: Array, D: int) -> Array:
    """Return the log density of a t kernel by squared distance."""
    constant = gammaln((NU + D) / 2) - gammaln(NU / 2) - D / 2 * np.log(NU * np.pi)
    return np.asarray(constant - (NU + D) / 2 * np.log1p(far / NU))


def weighted_rows(
    log_p: Callable[[Array], Array], start: Array, n: int, rng: np.random.Generator
) -> Weighted:
    """Return n rows of a proposal that was moved to where p is, from rows to start at.

    >>> normal = lambda x: -0.5 * (x**2).sum(axis=1) - np.log(2 * np.pi)
    >>> rng = np.random.default_rng(0)
    >>> made = weighted_rows(normal, 3 * rng.standard_normal((50, 2)), 1000, rng)
    >>> mass, error = made.mass
    >>> abs(mass - 1) < 4 * error, made.says_something
    (True, True)
    """
    centres = start[:CENTRES] + 1e-9 * rng.standard_normal(start[:CENTRES].shape)
    for size in (n // 8, n // 8, n // 4):
        x = KernelMixture(centres).draw(size, rng)
        w = Weighted(x, _log_w(log_p, KernelMixture(centres), x)).weights
        if not np.isfinite(w).all():
            break
        picked = rng.choice(len(x), size=min(CENTRES, len(x)), p=w)
        moved = np.unique(picked)
        if len(moved) < 2 * x.shape[1] + 8:  # too few to have a covariance: keep some of before
            kept = rng.choice(len(centres), size=min(len(centres), CENTRES // 2), replace=False)
            centres = np.concatenate([x[moved], centres[kept]])
        else:
            centres = x[picked] + 1e-9 * rng.standard_normal((len(picked), x.shape[1]))
    # the rows to start at stay in it: what moved may have left one of several arms of p
    q = KernelMixture(np.concatenate([centres, start[:CENTRES]]))

    def more() -> Weighted:
        x = q.draw(n, rng)
        return Weighted(x, _log_w(log_p, q, x))

    return grown(more)


def grown(more: Callable[[], Weighted]) -> Weighted:
    """Return weighted rows, more and more of them until the mass is known to 0.2 %.

    At most ten times as many as at first, and for a second; none where they say nothing.
    """
    start, made = time.perf_counter(), more()
    for _ in range(9):
        mass, error = made.mass
        late = time.perf_counter() - start > SECONDS
        if late or not made.says_something or error < NEAR * mass:
            break
        other = more()
        made = Weighted(
            np.concatenate([made.x, other.x]), np.concatenate([made.log_w, other.log_w])
        )
    return made


def _log_w(log_p: Callable[[Array], Array], q: KernelMixture, x: Array) -> Array:
    values = log_p(x)
    return np.where(np.isnan(values), -np.inf, values) - q.log_q(x)
