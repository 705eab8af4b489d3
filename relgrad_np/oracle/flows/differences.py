"""Jacobians by central differences, each entry with an estimate of its own error.

Steps h, h/2 and h/4 give two extrapolated values, R1 and R2, of fourth order. Their distance is the
truncation error of R1, which bounds that of R2; beside a kink it does not fall, and the row is set
aside. On a kink z(x + h) + z(x - h) - 2 z(x) has a term in |h|, which is seen, too. What is left of
it when the terms in h^2 and h^4 are eliminated is noise: the rounding that really happens inside of
the flow, float32 digits included. A ladder of steps is tried, and each row keeps the one with the
smallest error.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .records import MOST, Arithmetic, Array, Pair

LADDERS = {
    "float64": (2.0**-9, 2.0**-13, 2.0**-6, 2.0**-17),
    "float32": (2.0**-4, 2.0**-2, 2.0**-6),
}
ENOUGH = {
    "float64": 1e-8,
    "float32": 1e-3,
}  # an error of log|det J| that no smaller step need improve
LIMIT = {"float64": 1e-2, "float32": 0.2}  # a row whose error is larger is set aside
NOISE = {"float64": 1e-6, "float32": 1e-3}  # of log|det J|: more is no rounding
LARGE = 128  # from here on one step will do, and no singular values
GAIN = 87.7  # median of what elimination leaves, for noise of standard deviation 1


class Jacobians(NamedTuple):
    """Of n rows: the Jacobian, log|det|, its sign, its error bound, which rows can be judged.

    `claimed`: the flow's own log|det J|; `slope`: its gradient, which scales inherited rounding.
    `upper`: log|det| is at most this, whatever the errors, also where J is singular. `noise`: of
    the entries of z, of log|det J|.
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


def jacobians(how: Arithmetic, f: Pair, x: Array, spread: Array) -> Jacobians:
    """Return the Jacobians of f at rows x (n, D); `spread`: the scale of each column.

    >>> f = lambda x: (x**3 + x, np.log(3 * x[:, 0] ** 2 + 1))
    >>> made = jacobians(Arithmetic(), f, np.array([[0.5], [2.0]]), np.ones(1))
    >>> bool(np.all(np.abs(made.log_det - made.claimed) < made.allowed)), made.usable.tolist()
    (True, [True, True])
    """
    ladder = LADDERS[how.dtype][: 4 if x.shape[1] <= LARGE else 2]
    best, open_rows = _at_step(how, f, x, spread * ladder[0]), np.arange(len(x))
    for step in ladder[1:]:
        enough = ENOUGH[how.dtype] if x.shape[1] <= LARGE else LIMIT[how.dtype]
        open_rows = open_rows[~(best.allowed[open_rows] <= enough)]
        if not len(open_rows):
            break
        other = _at_step(how, f, x[open_rows], spread * step)
        better = ~(best.allowed[open_rows] <= other.allowed) & ~np.isnan(other.allowed)
        merged = {name: getattr(best, name).copy() for name in BY_ROW}
        for name in BY_ROW:
            merged[name][open_rows[better]] = getattr(other, name)[better]
        best = best._replace(**merged)
    return best


def _at_step(how: Arithmetic, f: Pair, x: Array, h: Array) -> Jacobians:
    """Return the Jacobians by steps h (D,), h/2, h/4."""
    n, D = x.shape
    z, claimed = f(x)
    dtype = np.dtype(how.dtype)
    h = np.exp2(np.round(np.log2(h)))  # powers of two: x + h loses the least
    first, second = np.empty((n, D + 1, D)), np.empty((n, D + 1, D))  # R1, R2
    rest, kink = np.empty((n, D + 1, D)), np.empty((n, D + 1, D))
    columns = max(1, MOST // (6 * D))  # of all (row, column) pairs, as many as fit in a call
    pairs = [(i, j) for i in range(n) for j in range(D)]
    for start in range(0, len(pairs), columns):
        rows, js = np.array(pairs[start : start + columns]).T
        points = np.repeat(x[rows][:, None], 6, axis=1)  # (m, 6, D)
        moves = np.array([1.0, -1.0, 0.5, -0.5, 0.25, -0.25])
        points[np.arange(len(js)), :, js] += moves * h[js][:, None]
        points = points.astype(dtype).astype(float)
        at = points[np.arange(len(js)), :, js]  # (m, 6)
        z_, log_det = f(points.reshape(-1, D))
        values = np.concatenate([z_, log_det[:, None]], axis=1).reshape(len(js), 6, D + 1)
        centre = np.concatenate([z[rows], claimed[rows, None]], axis=1)
        slopes = (values[:, ::2] - values[:, 1::2]) / (at[:, ::2] - at[:, 1::2])[..., None]
        first[rows, :, js] = (4 * slopes[:, 1] - slopes[:, 0]) / 3
        second[rows, :, js] = (4 * slopes[:, 2] - slopes[:, 1]) / 3
        even = values[:, ::2] + values[:, 1::2] - 2 * centre[:, None]
        rest[rows, :, js] = even[:, 0] - 20 * even[:, 1] + 64 * even[:, 2]
        kink[rows, :, js] = (8 * even[:, 2] - 2 * even[:, 1]) / h[js][:, None]
    return _judged(how, x, z, claimed, h, np.abs(second - first) + np.abs(kink), second, rest)


def _judged(
    how: Arithmetic,
    x: Array,
    z: Array,
    claimed: Array,
    h: Array,
    apart: Array,
    R2: Array,
    rest: Array,
) -> Jacobians:
    """Return log|det| of each row with its error, from both extrapolations and the noise."""
    n, D = x.shape
    eps, tiny = how.eps, np.finfo(float).tiny
    with np.errstate(all="ignore"):
        noise = np.nanmedian(np.abs(rest), axis=(0, 2)) / GAIN  # (D + 1,)
    noise = np.where(np.isfinite(noise), noise, 0.0)
    J, apart = R2[:, :D], apart[:, :D]
    rounding = np.maximum(noise[:D], eps * np.abs(z) / 2)[:, :, None] * 32 / h  # (n, D, D)
    truncation = 4 * np.maximum(apart - rounding, 0)
    log_det, sign, allowed = np.full(n, np.nan), np.zeros(n), np.full(n, np.inf)
    upper, usable = np.full(n, np.inf), np.zeros(n, dtype=bool)
    for i in range(n):
        if not (np.isfinite(J[i]).all() and np.isfinite(apart[i]).all()):
            continue
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
        own += float(np.abs(x[i]) @ np.abs(np.nan_to_num(R2[i, D])))
        allowed[i] = 64 * eps * own + 2 * inherited
    heard = min(8 * float(noise[D]), NOISE[how.dtype])
    allowed += heard * (1 + np.abs(np.nan_to_num(claimed)))
    usable = allowed <= LIMIT[how.dtype]
    level = float(np.max(noise[:D] / np.maximum(np.abs(z).max(axis=0), 1)))
    return Jacobians(
        x, z, J, log_det, sign, allowed, usable, upper, claimed, (level, float(noise[D]))
    )
