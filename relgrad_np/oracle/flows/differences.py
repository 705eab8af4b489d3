"""Jacobians by central differences, each entry with an estimate of its own error.

Steps h, h/2 and h/4 give two extrapolated values, R1 and R2, of fourth order. Their distance is the
truncation error of R1, which bounds that of R2; beside a kink it does not fall, and the row is set
aside. On a kink z(x + h) + z(x - h) - 2 z(x) has a term in |h|, which is seen, too. What is left of
it when the terms in h^2 and h^4 are eliminated is noise: the rounding that really happens inside of
the flow, float32 digits included. A ladder of steps is tried, and each column of each row keeps the
one with the smallest error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .records import MOST, Arithmetic, Array, Pair

LADDERS = {
    "float64": (2.0**-9, 2.0**-13, 2.0**-6, 2.0**-17),
    "float32": (2.0**-4, 2.0**-2, 2.0**-6),
}
LARGE = 128  # D from which on steps are small, for a kink is near, and an error of LIMIT will do
OF_LARGE = {"float64": (2.0**-15, 2.0**-19, 2.0**-10), "float32": (2.0**-6, 2.0**-3)}
ENOUGH = {"float64": 1e-8, "float32": 1e-3}  # an error of log|det J| that need not be improved
LIMIT = {"float64": 1e-2, "float32": 0.2}  # a row whose error is larger is set aside
NOISE = {"float64": 1e-6, "float32": 1e-3}  # of log|det J|: more is no rounding
GAIN, ALONE = 87.7, 262.0  # what elimination leaves of noise 1: the median; twice its deviation


class Jacobians(NamedTuple):
    """Of n rows: the Jacobian, log|det|, its sign, its error bound, which rows can be judged.

    `claimed`: the flow's own log|det J|. `upper`: log|det| is at most this, whatever the errors,
    also where J is singular. `noise`: of the entries of z, of log|det J|.
    """

    x: Array
    z: Array
    J: Array
    log_det: Array
    sign: Array
    allowed: Array
    usable: Array
    upper: Array
    claimed: Array
    noise: tuple[float, float]

    def keep(self, rows: Array) -> Jacobians:
        """Return those of some rows."""
        return self._replace(**{name: getattr(self, name)[rows] for name in BY_ROW})


BY_ROW = Jacobians._fields[:-1]


class _Table:
    """Columns of Jacobians, each with the smallest error so far."""

    def __init__(self, n: int, D: int) -> None:
        self.J = np.full((n, D + 1, D), np.nan)  # row D: the slope of log|det J|
        self.truncation, self.rounding = np.full((2, n, D, D), np.nan)
        self.error = np.full((n, D), np.inf)
        self.noise = np.full(D + 1, np.inf)
        self.rough = np.zeros((n, D))
        self.moves = np.zeros((n, D + 1, D), dtype=bool)

    def take(self, how: Arithmetic, z: Array, h: Array, pairs: Pairs, made: list[Array]) -> None:
        """Take the columns (row, column) that are better than those there."""
        (rows, js), (J, apart, rest, hidden, moves) = pairs, made
        with np.errstate(all="ignore"):
            noise = np.nanmedian(np.abs(rest), axis=0) / GAIN  # (D + 1,)
        few = len(rows) < 16 and np.isfinite(self.noise).all()
        self.noise = self.noise if few else np.fmin(self.noise, np.nan_to_num(noise))
        floor = np.maximum(self.noise[:-1], how.eps * np.abs(z[rows]) / 2)  # (m, D)
        alone = np.abs(rest[:, :-1]) / ALONE
        floor = np.maximum(np.maximum(floor, alone), self.rough[rows]) + hidden[:, :-1]
        rounding = 32 * floor / h[js][:, None]
        flat = self.moves[rows, :, js] & ~moves  # a larger step moved it: rounding hides it here
        rounding[flat[:, :-1]] = np.inf
        self.moves[rows, :, js] |= moves
        truncation = 4 * np.maximum(apart[:, :-1] - rounding, 0)
        error = (truncation + rounding).sum(axis=1)
        better = np.isfinite(J[:, :-1]).all(axis=1) & (error < self.error[rows, js])
        at = rows[better], js[better]
        self.J[at[0], :, at[1]] = J[better]
        self.truncation[at[0], :, at[1]] = truncation[better]
        self.rounding[at[0], :, at[1]] = rounding[better]
        self.error[at] = error[better]


Pairs = tuple[Array, Array]


def jacobians(how: Arithmetic, f: Pair, x: Array, spread: Array) -> Jacobians:
    """Return the Jacobians of f at rows x (n, D); `spread`: the scale of each column.

    >>> f = lambda x: (x**3 + x, np.log(3 * x[:, 0] ** 2 + 1))
    >>> made = jacobians(Arithmetic(), f, np.array([[0.5], [2.0]]), np.ones(1))
    >>> bool(np.all(np.abs(made.log_det - made.claimed) < made.allowed)), made.usable.tolist()
    (True, [True, True])
    """
    n, D = x.shape
    large = D > LARGE
    z, claimed = f(x)
    table, wanted = _Table(n, D), np.ones((n, D), dtype=bool)
    if not large:
        table.rough = _roughness(how, f, x, spread * LADDERS[how.dtype][0])
    enough = (LIMIT if large else ENOUGH)[how.dtype]
    for step in (OF_LARGE if large else LADDERS)[how.dtype]:
        rows, js = np.nonzero(wanted)
        pairs = rows, js
        if not len(rows):
            break
        h = np.exp2(np.round(np.log2(spread * step)))  # powers of two: x + h loses the least
        table.take(how, z, h, pairs, _columns(how, f, x, z, claimed, h, pairs))
        best = _judged(how, x, z, claimed, table)
        wanted = np.repeat(~(best.allowed <= enough)[:, None], D, axis=1)
        if large:  # the few columns that are worse than most
            wanted &= table.error > 3 * np.median(table.error, axis=1, keepdims=True)
    return best


def _roughness(how: Arithmetic, f: Pair, x: Array, h: Array) -> Array:
    """Return the noise of each entry of z at each row (n, D), along a random line through it.

    What nine points within h leave of a polynomial of degree 4. A larger rest than noise can be is
    a kink, which the differences see themselves.
    """
    n, D = x.shape
    t = np.linspace(-1, 1, 9)
    line = h * how.rng(28).choice([-1.0, 1.0], (n, D))
    points = x[:, None] + t[:, None] * line[:, None]  # (n, 9, D)
    z = f(points.astype(how.dtype).astype(float).reshape(-1, D))[0].reshape(n, 9, D)
    Q, _ = np.linalg.qr(np.vander(t, 5))
    rest = z - np.einsum("ab,nbd->nad", Q @ Q.T, z)
    found = np.sqrt((rest**2).sum(axis=1) / 4)  # four degrees of freedom are left
    small = found <= (2.0**-20 if how.dtype == "float64" else 2.0**-6) * (1 + np.abs(z[:, 4]))
    return np.where(small, found, 0.0)


def _columns(
    how: Arithmetic, f: Pair, x: Array, z: Array, claimed: Array, h: Array, pairs: Pairs
) -> list[Array]:
    """Return columns by steps h (D,), h/2, h/4, for m pairs (row, column), each (m, D + 1).

    R2; the distance of R1, with kinks; the noise; the range of values where there are so few that
    rounding hides the slope; whether there is more than one. The last entry is of log|det J|.
    """
    D, found = x.shape[1], list[tuple[Array, ...]]()
    size = max(1, MOST // (6 * D))
    for start in range(0, len(pairs[0]), size):
        rows, js = (index[start : start + size] for index in pairs)
        m = np.arange(len(js))
        points = np.repeat(x[rows][:, None], 6, axis=1)  # (m, 6, D)
        points[m, :, js] += np.array([1.0, -1.0, 0.5, -0.5, 0.25, -0.25]) * h[js][:, None]
        points = points.astype(how.dtype).astype(float)
        at = points[m, :, js]  # (m, 6)
        z_, log_det = f(points.reshape(-1, D))
        values = np.concatenate([z_, log_det[:, None]], axis=1).reshape(len(js), 6, D + 1)
        centre = np.concatenate([z[rows], claimed[rows, None]], axis=1)
        slopes = (values[:, ::2] - values[:, 1::2]) / (at[:, ::2] - at[:, 1::2])[..., None]
        first = (4 * slopes[:, 1] - slopes[:, 0]) / 3
        second = (4 * slopes[:, 2] - slopes[:, 1]) / 3
        even = values[:, ::2] + values[:, 1::2] - 2 * centre[:, None]
        kink = (8 * even[:, 2] - 2 * even[:, 1]) / h[js][:, None]
        rest = even[:, 0] - 20 * even[:, 1] + 64 * even[:, 2]
        ordered = np.sort(np.concatenate([values, centre[:, None]], axis=1), axis=1)
        levels = (np.diff(ordered, axis=1) > 0).sum(axis=1)  # (m, D + 1): 6 where z is resolved
        range_ = np.where(levels <= 2, ordered[:, -1] - ordered[:, 0], 0.0)
        found.append((second, np.abs(second - first) + np.abs(kink), rest, range_, levels > 0))
    return [np.concatenate(part) for part in zip(*found, strict=True)]


def _judged(how: Arithmetic, x: Array, z: Array, claimed: Array, table: _Table) -> Jacobians:
    """Return log|det| of each row with its error, from the columns and their errors."""
    n, D = x.shape
    eps, tiny = how.eps, np.finfo(float).tiny
    J, truncation, rounding = table.J[:, :D], table.truncation, table.rounding
    log_det, sign, allowed = np.full(n, np.nan), np.zeros(n), np.full(n, np.inf)
    upper = np.full(n, np.inf)
    for i in np.flatnonzero(np.isfinite(table.error).all(axis=1)):
        sign[i], log_det[i] = np.linalg.slogdet(J[i])
        size = float(np.linalg.norm(truncation[i] + rounding[i]))
        if D <= LARGE:
            singular = np.linalg.svd(J[i], compute_uv=False)
            upper[i] = float(np.log(singular + size + tiny).sum())
        if sign[i] == 0:
            continue
        A = np.abs(np.linalg.inv(J[i])).T
        if not float(np.linalg.norm(A)) * size <= 0.25 * np.sqrt(D):  # J may be singular
            continue
        # |d log det| <= sum |J^-1|' |dJ|: truncation adds up, rounding is independent
        inherited = float((A * truncation[i]).sum() + np.sqrt(((A * rounding[i]) ** 2).sum()))
        own = float((A * np.abs(J[i])).sum()) + abs(log_det[i]) + D
        own += float(np.abs(x[i]) @ np.abs(np.nan_to_num(table.J[i, D])))
        allowed[i] = 64 * eps * own + 2 * inherited
    heard = np.minimum(8 * table.noise[D], NOISE[how.dtype])
    allowed += heard * (1 + np.abs(np.nan_to_num(claimed)))
    level = float(np.max(table.noise[:D] / np.maximum(np.abs(z).max(axis=0), 1)))
    return Jacobians(
        x, z, J, log_det, sign, allowed, allowed <= LIMIT[how.dtype], upper, claimed,
        (level, float(table.noise[D])),
    )  # fmt: skip
