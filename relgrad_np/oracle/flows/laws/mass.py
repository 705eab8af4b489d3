"""The law of the mass: p integrates to 1.

D <= 2: the trapezium rule on a map of the whole space, on two grids whose difference is the error.
Where p jumps, as that of a net with leaky ReLU does, the grids do not agree: then, for D = 2, it is
two random points in each cell, whose standard error falls faster. Else it is importance sampling
with its standard error; where too few of its rows count, nothing is said. Where rows lie in peaks
that are narrower than a cell, the grids agree that they are not there: then only the latent says
something.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import stats

from ..evidence import N_WEIGHTED, Evidence
from ..proposal import NU, Weighted, grown
from ..records import OK, WRONG, Array, FlowClaim, LawResult, not_judged

LAW = "mass"
POINTS = {1: (2**12, 2**15), 2: (160, 448)}
CELLS = {2: 320}  # along each axis, two points in each cell; on a line p jumps in too few of them
MOST_SECONDS = 10.0
SPACE_UP_TO, LATENT_UP_TO = 16, 64  # dimensions
SURE = 4.5  # standard errors
FEWEST_CELLS = 10  # that make the error of an integral by random points
UNSEEN = 9.0  # peaks that one of n rows lies in, at most, hold less than 9 / n: 999 times of 1000
MISSED = 1e-3  # the share of rows in peaks above which nothing is said
PEAK = 20.0  # p at a row, in units of p at the corners of its cell


def mass(evidence: Evidence) -> LawResult:
    """Integrate exp(log_prob)."""
    calls = evidence.calls
    if calls.log_prob is None:
        return not_judged(LAW, "log_prob is not given")
    if text := _does_not_fall(evidence):
        return LawResult(LAW, WRONG, text, np.inf, (FlowClaim(LAW, "infinite", text),))
    in_latent = calls.inverse is not None and calls.forward is not None
    too_many = LATENT_UP_TO if in_latent else SPACE_UP_TO
    if too_many < calls.D:
        return not_judged(LAW, f"in {calls.D} dimensions importance sampling says too little")
    grids: tuple[int, ...] = POINTS.get(calls.D, ())
    value, error, peaks, fine = np.nan, np.inf, "", True
    for points in grids:
        if points**calls.D * evidence.seconds_per_density > MOST_SECONDS:
            break
        value, error, missed = quadrature(calls.log_p, evidence.around, points)
        fine = missed <= MISSED
        if not fine:  # a finer grid may show them
            peaks = f"{missed:.2g}"
            continue
        near = 2e-4 if points < grids[-1] else 2e-3  # p may jump: it converges slowly
        if error < near * max(value, 1e-300) and value > 0:
            allowed = 16 * error + 1e4 * calls.eps
            shown = f"by quadrature: {value:.9g} +- {allowed:.0e}"
            return _said(evidence, value, allowed, shown)
    if fine and calls.D in CELLS:
        said, missed = _by_cells(evidence, value, error)
        if said is not None:
            return said
        peaks = f"{missed:.2g}" if missed > MISSED else peaks
    made, where = _in_latent(evidence), " in the latent"
    if peaks and (made is None or not made.says_something):
        text = f"the grid is too coarse: {peaks} of the rows lie in peaks of p narrower than a cell"
        return not_judged(LAW, text + _more(evidence))
    if made is None:
        made, where = evidence.weighted, ""
    value, error = made.mass
    if not np.isfinite([value, made.worth]).all():
        return not_judged(LAW, "log_prob is not finite at the rows of importance sampling")
    if not made.says_something:
        text = (
            f"importance sampling: {made.worth:.0f} effective rows of {len(made.x)}, whose weights "
            f"have a tail of {made.tail:.2g}, say too little{_more(evidence)}"
        )
        return not_judged(LAW, text)
    allowed = SURE * error + 1e4 * calls.eps
    text = f"by importance sampling{where}: {value:.5g}, seen to +- {allowed:.1g}"
    return _said(evidence, value, allowed, text)


def _more(evidence: Evidence) -> str:
    """Return what would help where rows near p say too little: draws in the latent."""
    calls = evidence.calls
    given = {"forward": calls.forward, "inverse": calls.inverse}
    missing = [name for name, f in given.items() if f is None]
    return f": give {' and '.join(missing)}, and rows are drawn in the latent" if missing else ""


def _by_cells(evidence: Evidence, near: float, within: float) -> tuple[LawResult | None, float]:
    """Integrate by random points in cells, where the trapezium rule says that it is near this.

    Returns the result, None where they say too little, and the share of rows in peaks they miss.
    """
    calls = evidence.calls
    cells = CELLS[calls.D]
    if not 2 * cells**calls.D * evidence.seconds_per_density <= MOST_SECONDS:
        return None, 0.0
    value, error, missed = stratified(calls.log_p, evidence.around, cells, calls.rng(29))
    close = abs(value - near) <= within + SURE * error
    if missed > MISSED or not (0 < error < 1e-2 * value and close):
        return None, missed
    allowed = SURE * error + UNSEEN / len(evidence.around)  # all points may miss a peak
    text = f"by two random points in each of {cells}^{calls.D} cells, for p jumps: "
    return _said(evidence, value, allowed, f"{text}{value:.6g}, seen to +- {allowed:.1g}"), missed


def _does_not_fall(evidence: Evidence) -> str:
    """Say so if p falls more slowly than |x|^-D on every one of some random lines."""
    calls = evidence.calls
    lines = calls.rng(27).standard_normal((8, calls.D))
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    far = 1e6 if calls.dtype == "float64" else 1e4
    near, there = (calls.log_p(np.median(evidence.X, axis=0) + r * lines) for r in (far / 1e3, far))
    if (there - near > -0.9 * calls.D * np.log(1e3)).all():
        return f"log_prob does not fall off far out: p has no finite integral (|x| = {far:g})"
    return ""


def _in_latent(evidence: Evidence) -> Weighted | None:
    """Return rows drawn in the latent, z of Student's t, with weights p(x) |dx/dz| / q(z).

    They say something where forward's log|det J|, which is judged by itself, is right.
    """
    calls = evidence.calls
    if calls.inverse is None or calls.forward is None or evidence.wrong_log_det:
        return None
    if not evidence.usable:
        return None
    rng = calls.rng(20)

    def more() -> Weighted:
        z = rng.standard_t(NU, (N_WEIGHTED, calls.D))
        x, _ = calls.x(z)
        again, log_det = calls.z(x)
        if not np.abs(again - z).max(initial=0.0) < 1e-3:  # in the tails it may lose digits
            return Weighted(x, np.full(len(x), np.nan))
        log_q = stats.t.logpdf(z, NU).sum(axis=1) + log_det
        return Weighted(x, np.nan_to_num(calls.log_p(x) - log_q, nan=-np.inf, posinf=np.inf))

    made = grown(more)
    return None if np.isnan(made.log_w).any() else made


def _said(evidence: Evidence, value: float, allowed: float, text: str) -> LawResult:
    units = abs(value - 1) / allowed
    text = f"the integral of p {text}"
    if units <= 1:
        return LawResult(LAW, OK, text, units)
    told, relation = _unreached(evidence, value, allowed) or _constant(
        value, allowed, evidence.calls.D
    )
    claim = FlowClaim(LAW, relation, f"p integrates to {value:.6g}, not to 1{told}")
    return LawResult(LAW, WRONG, text, units, (claim,))


def _unreached(evidence: Evidence, value: float, allowed: float) -> tuple[str, str] | None:
    """Say so if what misses is the mass of the base that inverse has no x for."""
    count, draws = evidence.unreached
    lost = count / draws
    near = allowed + SURE * (lost * (1 - lost) / draws) ** 0.5
    if not lost or abs(value + lost - 1) > near or value > 1:
        return None
    return ": forward does not reach all of the base", "not onto"


def _constant(value: float, allowed: float, D: int) -> tuple[str, str]:
    """Return what the logarithm of the integral is, if it is a known constant."""
    if not 0 < value < np.inf:
        return "", "mass"
    log, near = np.log(value), allowed / value
    if near > 0.05:
        return "", "mass"
    for factor, words in (
        (D, "misses D/2 log 2 pi, the constant of the base"),
        (D - 1, "has the constant of the base once, not D times"),
        (-D, "subtracts the constant of the base twice"),
    ):
        if factor and abs(log - factor / 2 * np.log(2 * np.pi)) < near:
            return f": log_prob {words}", "constant of the base"
    for sign, words in ((-1, "has z'z in the place of z'z / 2"), (1, "has z'z / 4, not z'z / 2")):
        if abs(log - sign * D / 2 * np.log(2)) < near:
            return f": log_prob {words}, or another scale of z", "half"
    return "", "mass"


def quadrature(
    log_p: Callable[[Array], Array], rows: Array, points: int
) -> tuple[float, float, float]:
    """Return the integral of p for D <= 2, its error by coarser grids, and what it misses.

    That is the share of the rows at which p is much larger than at the corners of their cells.

    >>> normal = lambda x: -0.5 * (x**2).sum(axis=1) - 0.5 * x.shape[1] * np.log(2 * np.pi)
    >>> rows = np.random.default_rng(0).normal(size=(50, 1))
    >>> value, error, missed = quadrature(normal, rows, 1024)
    >>> abs(value - 1) < 1e-9, error < 1e-5, missed
    (True, True, 0.0)
    """
    D, space = rows.shape[1], Space.around(rows)
    x, weight, shape = space.grid(points)
    with np.errstate(all="ignore"):
        p = np.nan_to_num(np.exp(log_p(x)), nan=0.0)
        there = np.nan_to_num(np.exp(log_p(rows)), nan=0.0)
    corners = _largest_at_corners(p.reshape(shape), space.place(rows), points)
    whole = float((p * weight).sum())
    table = (p * weight).reshape(shape)
    half, fourth = (
        float(table[(slice(k - 1, None, k),) * D].sum() * k**D) for k in (2, 4)
    )  # the same points of coarser grids
    missed = float(np.mean(there > PEAK * corners))
    error = max(abs(whole - half), abs(half - fourth) / 4, _by_jumps(p.reshape(shape), table))
    return whole, error, missed


def stratified(
    log_p: Callable[[Array], Array], rows: Array, cells: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the integral of p by two random points in each cell of a grid, its standard error.

    Only cells in which p changes contribute to the error, so it is small where p jumps, too. It is
    infinite where few cells make it: two points in each say too little of those. The third result
    is what all points miss: the share of the rows at which p is much larger than at any of them.

    >>> half = lambda x: np.where(x[:, 0] > 0, 0.0, -np.inf) - 0.5 * (x**2).sum(axis=1)
    >>> rng = np.random.default_rng(0)
    >>> value, error, missed = stratified(half, rng.normal(size=(50, 2)), 100, rng)
    >>> abs(value - np.pi) < 4 * error < 0.02, missed
    (True, 0.0)
    """
    space, D = Space.around(rows), rows.shape[1]
    corners = np.stack(np.meshgrid(*[np.arange(cells)] * D, indexing="ij"), -1).reshape(-1, D)
    found, highest = [], -np.inf
    for _ in range(2):
        t = 2 * (corners + rng.random(corners.shape)) / cells - 1  # (cells^D, D)
        x, weight = space.at(t)
        with np.errstate(all="ignore"):
            p = np.nan_to_num(np.exp(log_p(x)), nan=0.0)
            found.append(np.nan_to_num(p * weight * (2 / cells) ** D))
            highest = max(highest, float(p.max()))
    one, two = found
    square = (one - two) ** 2
    total = float(square.sum())
    many = total**2 >= FEWEST_CELLS * float((square**2).sum())
    with np.errstate(all="ignore"):
        missed = float(np.mean(np.exp(log_p(rows)) > PEAK * highest))
    error = float(np.sqrt(total) / 2) if many else np.inf
    return float((one + two).sum() / 2), error, missed


def _by_jumps(p: Array, weighted: Array) -> float:
    """Return by how much the integral may be off where p jumps, a cell a line: 0 if it is smooth.

    What changes from point to point halves with the step where p is smooth, and stays where it
    jumps. Three grids can agree by chance there.
    """
    total = 0.0
    for axis in range(p.ndim):
        one, two = np.abs(np.diff(p, axis=axis)), np.moveaxis(p, axis, 0)
        if one.max() > 0.75 * np.abs(two[2:] - two[:-2]).max():
            total += float(np.abs(np.diff(weighted, axis=axis)).max(axis=axis).sum())
    return total


def _largest_at_corners(p: Array, t: Array, points: int) -> Array:
    """Return the largest p at the corners of the cells of rows t (n, D), in (-1, 1)."""
    last = p.shape[0] - 1
    below = np.floor((t + 1) / 2 * points).astype(int) - 1
    found = np.zeros(len(t))
    for corner in np.ndindex(*(2,) * t.shape[1]):
        index = np.clip(below + np.array(corner), 0, last)
        found = np.maximum(found, p[tuple(index.T)])
    return found


class Space(NamedTuple):
    """A map of all of space: each coordinate is c + s 2 t / (1 - t^2), t in (-1, 1)."""

    centre: Array
    root: Array

    @classmethod
    def around(cls, rows: Array) -> Space:
        """Return the map whose c, s and axes are those of rows (n, D)."""
        D = rows.shape[1]
        cov = np.cov(rows.T).reshape(D, D) + 1e-12 * np.eye(D)
        return cls(np.median(rows, axis=0), np.linalg.cholesky(cov))

    def grid(self, points: int) -> tuple[Array, Array, tuple[int, ...]]:
        """Return the points of a grid over it, (m^D, D), their weights, and its shape."""
        D = len(self.centre)
        t = (np.arange(1, points) / points) * 2 - 1  # (points - 1,), an odd number of them
        along, slope = 2 * t / (1 - t**2), 2 * (1 + t**2) / (1 - t**2) ** 2
        axes = np.stack([a.ravel() for a in np.meshgrid(*[along] * D, indexing="ij")], axis=1)
        slopes = np.stack([a.ravel() for a in np.meshgrid(*[slope] * D, indexing="ij")], axis=1)
        weight = slopes.prod(axis=1) * (2 / points) ** D * np.prod(np.diag(self.root))
        return axes @ self.root.T + self.centre, weight, (len(t),) * D

    def at(self, t: Array) -> tuple[Array, Array]:
        """Return the points of any t (n, D) in (-1, 1), and the size of the map's Jacobian."""
        along, slope = 2 * t / (1 - t**2), 2 * (1 + t**2) / (1 - t**2) ** 2
        size = slope.prod(axis=1) * np.prod(np.diag(self.root))
        return along @ self.root.T + self.centre, size

    def place(self, rows: Array) -> Array:
        """Return t of rows."""
        u = np.linalg.solve(self.root, (rows - self.centre).T).T
        return u / (1 + np.sqrt(1 + u**2))
