"""A look at training rows before a fit: what makes the likelihood unbounded or the start singular.

A full-rank model has no maximum of the likelihood on data that fill no volume: it squeezes itself
against them until W is singular. Constant, repeated and dependent columns and columns of few
values do that.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .transforms import Columns, chunks, column_list, floats, refuse, table

LOOKED_AT = 20_000  # rows at most, evenly spaced
VALUES_LOOKED_AT = 5_000  # rows at most in which distinct values are counted
FEW_VALUES = 0.25  # distinct values / rows at and below which a column is taken for discrete
ILL_CONDITIONED = 1e10  # of the covariance: 1e5 in W, of float32's 1e7
FLOAT32_RANGE = (1e-30, 1e18)  # of |x|: the square of what is above overflows in float32


class Findings(NamedTuple):
    """What `examine` found; columns go by name, or by index where they have no names.

    constant     columns of one value
    duplicates   pairs of columns of which one is a multiple of the other, plus a constant
    rank         of the covariance of the columns that are not constant, once standardised
    condition    of that matrix: largest by smallest eigenvalue; inf if the rank is not full
    advice       what to do, a line for each finding; empty if there is none
    dependent    columns in a linear dependence, constant ones aside
    discrete     columns of few distinct values
    float32      columns with entries beyond what float32 bears

    >>> examine(np.random.default_rng(0).normal(size=(50, 3))).advice
    ()
    """

    constant: tuple[str, ...]
    duplicates: tuple[tuple[str, str], ...]
    rank: int
    condition: float
    advice: tuple[str, ...]
    dependent: tuple[str, ...] = ()
    discrete: tuple[str, ...] = ()
    float32: tuple[str, ...] = ()


def examine(X: Any, names: Columns = None) -> Findings:
    """Return the findings on the rows of X (N, D), of which up to 20,000 are looked at.

    The rows are evenly spaced, so that X may be a memory-mapped file. An eigenvalue counts for the
    rank if it is above 64 eps D, the rule of `gaussian_log_likelihood`. ValueError for what is not
    finite, naming row and column.

    Cost: O(N D^2 + D^3) for the N rows looked at.

    >>> rng = np.random.default_rng(0)
    >>> a, b = rng.normal(size=(2, 50))
    >>> found = examine(np.stack([a, b, 3 - 2 * a], axis=1), ("x", "y", "z"))
    >>> found.duplicates, found.rank, found.condition
    ((('x', 'z'),), 2, inf)
    >>> print(found.advice[0])
    columns 'x' and 'z' are multiples of each other, up to a constant: drop one of each pair
    """
    X = table("X", X)
    if names is not None and len(names) != X.shape[1]:
        raise ValueError(f"`names` must name {X.shape[1]} columns, got {len(names)}")
    Y, step = sample(X)
    bad = ~np.isfinite(Y)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        refuse("X", Y[row : row + 1], bad[row : row + 1], "finite", row * step, names)
    constant = constant_columns(X, Y)
    kept = np.setdiff1d(np.arange(X.shape[1]), constant)
    C = correlations(Y[:, kept])
    eps = 64 * np.finfo(np.float64).eps * max(len(kept), 1)
    pairs = [(kept[i], kept[j]) for i, j in np.argwhere(np.triu(np.abs(C) >= 1 - eps, 1))]
    values, vectors = np.linalg.eigh(C) if len(kept) else (np.empty(0), np.empty((0, 0)))
    rank = int((values > eps).sum())
    condition = float("inf")
    if len(kept) and rank == len(kept):
        condition = float(values[-1] / values[0])
    involved = (vectors[:, : len(kept) - rank] ** 2).sum(axis=1) > 1e-6
    dependent = kept[involved]
    sizes = np.abs(Y)
    low, high = FLOAT32_RANGE
    float32 = np.flatnonzero(((sizes > high) | ((sizes > 0) & (sizes < low))).any(axis=0))
    discrete = np.setdiff1d(few_values(Y), constant)

    def named(which: Any) -> tuple[str, ...]:
        return tuple(str(j) if names is None else names[j] for j in which)

    advice = []
    if len(constant):
        advice.append(f"columns that are constant: {column_list(constant, names)}: drop them")
    if pairs:
        listed = "; ".join(
            f"{column_list([i], names)} and {column_list([j], names)}" for i, j in pairs[:10]
        )
        more = f" (and {len(pairs) - 10} pairs more)" * (len(pairs) > 10)
        advice.append(
            f"columns {listed}{more} are multiples of each other, up to a constant: drop one of"
            " each pair"
        )
    if rank < len(kept):
        if len(Y) <= len(kept):
            advice.append(
                f"{len(Y)} rows can't span {len(kept)} columns: add rows, drop columns or add noise"
            )
        else:
            advice.append(
                f"the covariance has rank {rank}, not {len(kept)}; columns that depend on each"
                f" other: {column_list(dependent, names)}: drop {len(kept) - rank} of them, or add"
                " noise"
            )
    elif len(kept) and condition > ILL_CONDITIONED:
        weakest = np.argsort(-(vectors[:, 0] ** 2))[:3]
        advice.append(
            f"the covariance has condition {condition:.1e}, columns"
            f" {column_list(sorted(kept[weakest]), names)} above all: fit in float64 from"
            " the whitening start, drop one of them, or add noise"
        )
    if len(discrete):
        advice.append(
            f"columns of few distinct values: {column_list(discrete, names)}: dequantise them (add"
            " uniform noise as wide as their step), or their likelihood has no upper bound"
        )
    if len(float32):
        advice.append(
            f"columns with |x| above {high:g} or, not being 0, below {low:g}:"
            f" {column_list(float32, names)}: rescale them, or stay with float64"
        )
    return Findings(
        constant=named(constant),
        duplicates=tuple((named([i])[0], named([j])[0]) for i, j in pairs),
        rank=rank,
        condition=condition,
        advice=tuple(advice),
        dependent=named(dependent),
        discrete=named(discrete),
        float32=named(float32),
    )


def require_full_rank(X: Any, names: Columns = None) -> Findings:
    """Return `examine(X, names)` if the columns vary and are independent, else ValueError.

    >>> require_full_rank(np.array([[1.0, 2.0], [2.0, 2.0], [4.0, 2.0]]), ("a", "b"))
    Traceback (most recent call last):
    ValueError: the data have not full rank: columns that are constant: 'b': drop them
    """
    found = examine(X, names)
    D = np.shape(X)[1]
    if found.rank < D:
        reasons = bool(found.constant) + bool(found.duplicates)
        reasons += found.rank < D - len(found.constant)
        raise ValueError(f"the data have not full rank: {'; '.join(found.advice[:reasons])}")
    return found


def sample(X: NDArray[Any]) -> tuple[NDArray[np.float64], int]:
    """Return every step-th row in float64, at most LOOKED_AT of them, and the step.

    >>> Y, step = sample(np.zeros((50_000, 1)))
    >>> Y.shape, step
    ((16667, 1), 3)
    """
    step = -(-len(X) // LOOKED_AT)
    return floats(np.ascontiguousarray(X[::step])), step


def constant_columns(X: NDArray[Any], Y: NDArray[Any]) -> NDArray[np.intp]:
    """Return the columns of one value, those of the rows looked at confirmed in all of X.

    >>> X = np.array([[1, 1], [1, 1], [1, 2]])
    >>> constant_columns(X, X[:2])
    array([0])
    """
    candidates = np.flatnonzero(np.equal(Y, Y[0]).all(axis=0))
    if len(X) > len(Y) and len(candidates):
        same = np.ones(len(candidates), dtype=bool)
        for _, rows in chunks(*X.shape):
            same &= (X[rows][:, candidates] == X[0, candidates]).all(axis=0)
        candidates = candidates[same]
    return candidates


def correlations(Y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance (D, D), 1/N, of the columns once standardised; none is constant.

    >>> correlations(np.array([[0.0, 1.0], [2.0, -3.0]]))
    array([[ 1., -1.],
           [-1.,  1.]])
    """
    # scaled first, by powers of two, so that no square overflows or vanishes
    Y = np.ldexp(Y, -np.frexp(np.abs(Y).max(axis=0))[1])
    Y = Y - Y.mean(axis=0)
    norms = np.sqrt((Y**2).sum(axis=0))
    Y = Y / np.where(norms > 0, norms, 1)
    C: NDArray[np.float64] = Y.T @ Y
    np.fill_diagonal(C, 1)  # of a column that varies, but not in the rows looked at, too
    return C


def whole_numbers(X: NDArray[Any]) -> list[int]:
    """Return the columns that hold whole numbers only, in the first rows and then in all.

    >>> whole_numbers(np.array([[1.0, 0.5], [3.0, 2.0]]))
    [0]
    """
    if X.dtype.kind in "iu":
        return list(range(X.shape[1]))
    left = np.arange(X.shape[1])
    for _, rows in chunks(*X.shape):
        Y = X[rows][:, left]
        left = left[(np.floor(Y) == Y).all(axis=0)]
        if not len(left):
            break
    result: list[int] = left.tolist()
    return result


def few_values(Y: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the columns whose distinct values are at most a quarter of the rows.

    >>> few_values(np.stack([np.arange(8.0), np.arange(8.0) % 2], axis=1))
    array([1])
    """
    Y = np.sort(Y[:: -(-len(Y) // VALUES_LOOKED_AT)], axis=0)
    distinct = 1 + (Y[1:] != Y[:-1]).sum(axis=0)
    return np.flatnonzero(distinct <= FEW_VALUES * len(Y))
