"""Maximum-likelihood ICA of one table: `unmix`, the course from white rows to the sources.

    1. a part of the rows, in float32, until its gradient is below its own noise
    2. all rows, in float32, as far; from the start on each source is sech or quartic, as it is
       super- or sub-Gaussian (density "extended" and "auto"), and doubtful ones are tried as both
    3. the density of each source is fitted, where that raises its likelihood ("auto")
    4. all rows, in float32 until the gradient is below 1e-3, then in float64 until it is below tol

Of few numbers all is done in float64.

A unit keeps its density as long as it is stable there, E psi' E u^2 > E psi u: then a pair of such
sources is a maximum of the likelihood, else a saddle (Cardoso & Laheld 1996, and Lee, Girolami &
Sejnowski 1999, extended Infomax). Each step raises the exact log-likelihood under the densities of
that time.
"""

import math
from typing import Any, NamedTuple, cast

import numpy as np

from ...core.arrays import Array
from ...core.densities import Density
from ...core.network import Layer
from ...core.tracking import track
from ..newton.ascent import ascend, largest
from ..newton.bases import Bases, bases_of
from ..newton.elementwise import elementwise
from ..newton.lbfgs import Curvatures
from ..newton.linear import FIRST_STEPS, FIRST_TOL, first_part
from ..newton.one_layer import OneLayer
from ..newton.pairs import settled
from ..newton.rows import CompiledRows, PlainRows, compiles
from .family import most_likely
from .sources import OutputMoments, fourth_order_rotation
from .whitening import Whitening

MEMORY = 7
FEW = 2**16  # numbers, for which float32 is not worth another copy
ROUGH = 1e-3  # of the gradient, to which float32 is good
SWITCHES = 6  # of a unit in a stage, so that none goes to and fro
AGAIN = 5  # times, at most, that doubtful units are unmixed once more
DOUBTFUL = 1.25  # of kappa: below it a unit may have the wrong density
WIDER = 0.6  # of the quartic's scale, for the family: small outputs, where it is flat and steep
PARAMETERS = 3  # a fitted density has more than a fixed one, for which log N / 2 N is taken off
AUTO = ("auto", "extended")


class Unmixed(NamedTuple):
    """Outputs y = W K (x - mean) + b with W (n, n), b (n,), float64, and their densities.

    kappa (n,): E psi' E u^2 / E psi u. value: mean log-likelihood of the rows of y plus
    log|det W|, nats. gradient: its largest element. reason: "tol", "stalled" or "max_iter".
    moments: of the outputs.

    >>> Unmixed("W", "b", None, None, 0.0, 0.0, 3, "tol", None).n_iter
    3
    """

    W: Array
    b: Array
    density: Bases | Density
    kappa: Array
    value: float
    gradient: float
    n_iter: int
    reason: str
    moments: OutputMoments

    def log_p(self, Y: Array) -> Array:
        """Return the log-densities of outputs, (N, n)."""
        if isinstance(self.density, Bases):
            return self.density.log_p(Y)
        return np.asarray(self.density.log_prob(Y))

    def names(self) -> list[str]:
        """Return the name of each source's density."""
        if isinstance(self.density, Bases):
            return self.density.names()
        return [self.density.name] * len(self.b)


def unmix(
    X: Array,
    white: Whitening,
    density: str | Density | Bases = "auto",
    *,
    weights: Array | None = None,
    start: Array | None = None,
    tol: float = 1e-6,
    max_iter: int = 500,
) -> Unmixed:
    """Return the unmixing of the rows of X (N, D) after their whitening; see the module.

    `density`: "auto", "extended", one for all sources, or `Bases`, one for each. `weights` (N,),
    positive: of the rows.
    `start` (n, n): the first W, by default a rotation that does not depend on the mixing, see
    `fourth_order_rotation`. Computed in float64, whatever X is.

    >>> from relgrad_np.fitting.ica.whitening import whitening
    >>> S = np.random.default_rng(0).laplace(size=(500, 2))
    >>> X = S @ np.array([[2.0, 1.0], [0.0, 1.0]])
    >>> found = unmix(X, whitening(X))
    >>> found.reason, found.names()
    ('tol', ['sech', 'sech'])
    """
    N, n = len(X), len(white.K)
    step, part_noise = first_part(N, n) if N * n > FEW // 4 else (0, 0.0)
    base: Any = Bases.alike("sech", n) if density in AUTO else density
    if isinstance(base, Density):
        base = bases_of(base, n) or base
    if start is None:
        every = max(1, step)
        part = X[::every], None if weights is None else weights[::every]
        start = fourth_order_rotation((part[0] - white.mean) @ white.K.T, part[1])
    course = _Course(X, white, base, weights, start, max_iter)
    switching, noise = density in AUTO, FIRST_TOL / math.sqrt(N)
    rough = np.float32 if N * n > FEW else np.float64
    if step:
        part_rows = course.rows(rough, step)
        course.climb(part_rows, Curvatures(0), part_noise, switching, FIRST_STEPS)
    course.n_iter = 0
    rows = course.rows(rough)
    if switching:
        course.climb(rows, Curvatures(MEMORY), noise, switching)
        course.reconsider(rows, noise)
    if density == "auto":
        course.adapt(rows, N)
    memory = Curvatures(MEMORY)
    if rough == np.float32:
        course.climb(rows, memory, ROUGH, density == "extended")
        rows = course.rows(np.float64)
    reason = course.climb(rows, memory, tol, density == "extended")
    return course.result(reason)


class _Course:
    """Where the unmixing is, y = C z + m of white rows z, and under which densities."""

    def __init__(
        self,
        X: Array,
        white: Whitening,
        base: Any,
        weights: Array | None,
        start: Array,
        max_iter: int,
    ) -> None:
        n = len(white.K)
        self.X, self.white, self.base, self.weights = X, white, base, weights
        self.max_iter, self.n_iter = max_iter, 0
        self.C, self.m = np.array(start, float), np.zeros(n)
        self.tracked = track((Layer(self.C, self.m),))
        self.end: Any = None

    def rows(self, dtype: Any, step: int = 1) -> Any:
        """Return every `step`-th row, white, in this dtype.

        The mean of a part is not quite 0. It is asked of sech and quartic alone, whose likelihood
        no mean enters.
        """
        X, K = self.X[::step], self.white.K
        N, n = len(X), len(K)
        b = -(K @ self.white.mean)
        if self.weights is None and isinstance(self.base, Bases) and compiles(dtype, N * n):
            whole = np.eye(n) if step == 1 else None
            return CompiledRows.of(X, K, b, self.base, dtype, whole)
        weights = None if self.weights is None else self.weights[::step]
        base: Any = self.base if isinstance(self.base, Bases) else elementwise(self.base)
        return PlainRows.cut((X @ K.T + b).astype(dtype), weights, base)

    def climb(
        self, rows: Any, memory: Curvatures, tol: float, switching: bool, steps: int = 0
    ) -> str:
        """Go up on these rows until the gradient is below tol; return why it ended."""
        point = self._point(rows)
        switches, last = np.zeros(len(self.m), int), steps or self.max_iter

        def after(climbed: Any) -> str:
            self.n_iter += 1
            return "switch" if switching and _unstable(climbed.point, switches).any() else ""

        while True:
            if switching and (turned := _unstable(point, switches)).any():
                switches += turned
                self.base = self.base._replace(quartic=self.base.quartic ^ turned)
                memory.forget()
                point = self._point(rows)
            end, reason = ascend(point, memory, tol, last - self.n_iter, after)
            point = self.end = cast(OneLayer, end)
            self.C, self.m, self.tracked = point.C, point.m, point.tracked
            if reason != "switch":
                return reason

    def reconsider(self, rows: Any, tol: float) -> None:
        """Unmix those that are hardly stable under the other density, and keep what is more likely.

        Among many sources and few rows a mixture of sub-Gaussian ones is nearly Gaussian, and some
        direction of it is super-Gaussian by chance: a maximum, though a low one.
        """
        for _ in range(AGAIN):
            weak = kappa(self.end) < DOUBTFUL
            if weak.sum() < 2:
                return
            before = self.base, self.C, self.m, self.tracked, self.end
            self.base = self.base._replace(quartic=self.base.quartic ^ weak)
            self.climb(rows, Curvatures(MEMORY), tol, False)
            self.climb(rows, Curvatures(MEMORY), tol, True)
            if not self.end.value > before[-1].value + self.end.noise:
                self.base, self.C, self.m, self.tracked, self.end = before
                return

    def adapt(self, rows: Any, N: int) -> None:
        """Fit the density of each source, and keep it where the likelihood is worth it.

        The scale stays as it is, or for the quartic's sources goes down by WIDER: the family's own
        best scale would not be the one that separates best.
        """
        base = self.base
        scale = np.where(base.quartic, WIDER, 1.0)
        fitted = most_likely(rows.statistics(self.C * scale[:, None], self.m * scale))
        now = rows.under(base).log_p(self.C, self.m)
        better = fitted.value + np.log(scale) - now > PARAMETERS * math.log(N) / (2 * N)
        for _ in range(2):  # once more, without those that would not be stable
            factor = np.where(better, scale, 1.0)
            self.base = Bases(
                base.quartic & ~better,
                np.where(better[:, None], fitted.theta, base.theta),
                np.where(better, fitted.log_Z, base.log_Z),
            )
            logdet = self.tracked.logdet + np.log(factor).sum()
            point = OneLayer(
                rows.under(self.base), self._start(), self.C * factor[:, None], self.m * factor,
                self.tracked._replace(logdet=logdet),
            )  # fmt: skip
            if (kappa(point)[better] > 1).all():
                break
            better &= kappa(point) > 1
        self.C, self.m, self.tracked = point.C, point.m, point.tracked

    def result(self, reason: str) -> Unmixed:
        """Return what the last climb ended with."""
        end, density = self.end, self.base
        log_p = end.each
        if log_p is None:
            own = () if isinstance(density, Bases) else (density.log_prob,)
            log_p = end.rows.log_p(self.C, self.m, *own)
        moments = OutputMoments(log_p, *end.rows.powers(self.C))
        return Unmixed(
            self.C, self.m, density, kappa(end), end.value, largest(end.gradient), self.n_iter,
            reason, moments,
        )  # fmt: skip

    def _start(self) -> tuple[Layer, Array]:
        n = len(self.m)
        return Layer(np.eye(n), np.zeros(n)), np.zeros(n)

    def _point(self, rows: Any) -> OneLayer:
        base = self.base if isinstance(self.base, Bases) else elementwise(self.base)
        return OneLayer(rows.under(base), self._start(), self.C, self.m, self.tracked)


def kappa(point: OneLayer) -> Array:
    """Return E psi' E u^2 / E psi u of each unit, (n,): above 1 it is stable among its like."""
    moments = settled(point.moments)
    return moments.k * moments.variance / _psi_u(point)


def _psi_u(point: OneLayer) -> Array:
    """Return E psi u, (n,): 1 where the scale is the most likely."""
    return 1 - np.diagonal(point.gradient[0, :, :-1])


def _unstable(point: OneLayer, switches: Array) -> Array:
    """Say of each unit whether E psi' E u^2 < E psi u, and it may still be switched."""
    moments = point.moments
    return (moments.k * moments.variance < _psi_u(point)) & (switches < SWITCHES)
