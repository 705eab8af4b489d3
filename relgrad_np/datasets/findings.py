"""Look at training rows before a fit, for what no full-rank model can be fitted to.

On data that fill no volume the likelihood of a full-rank model has no maximum: W becomes singular
while the likelihood grows. Constant, repeated and dependent columns and columns of few values are
such data.
"""

from typing import Any, NamedTuple

import numpy as np

from ..core.brief import brief
from .columns import constant_columns, correlations, few_values, sample
from .rank import dependences
from .rows import Columns, column_list, refuse, table

FEW = "columns of few distinct values"
ILL_CONDITIONED = 1e10  # condition of the covariance; W then has 1e5, and float32 bears 1e7
FLOAT32_RANGE = (1e-30, 1e18)  # of |x|; the square of a larger number overflows in float32


@brief
class Findings(NamedTuple):
    """What `examine` found; columns are given by name, or by index if they have no names.

    constant     columns of one value
    duplicates   pairs of columns of which one is a multiple of the other, plus a constant
    rank         rank of the covariance of the other columns, once they have been standardised
    condition    its largest eigenvalue by its smallest; inf if the rank is not full
    advice       what to do, a line for each finding; empty if there is none
    dependent    columns that take part in a linear dependence, constant ones aside
    discrete     columns of few distinct values
    float32      columns with entries outside the range that float32 can be fitted in

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

    These are evenly spaced, so X may be a memory-mapped file. The rank is that of `dependences`.
    ValueError for an entry that is not finite, with
    its row and column.

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
    kept = np.setdiff1d(np.arange(X.shape[1]), constant)  # columns of Y in C
    C = correlations(Y[:, kept])
    eps = 64 * np.finfo(np.float64).eps * max(len(kept), 1)
    pairs = [(kept[i], kept[j]) for i, j in np.argwhere(np.triu(np.abs(C) >= 1 - eps, 1))]
    values, vectors = np.linalg.eigh(C) if len(kept) else (np.empty(0), np.empty((0, 0)))
    combined = dependences(Y[:, kept]).dependent if 0 < len(kept) < len(Y) else []
    rank = len(kept) - len(combined)
    if len(kept) >= len(Y):
        rank = int((values > eps).sum())
    condition = float("inf")
    if len(kept) and rank == len(kept):
        condition = float(values[-1] / max(values[0], np.finfo(np.float64).eps))
    involved = (vectors[:, : len(kept) - rank] ** 2).sum(axis=1) > 1e-6
    dependent = kept[involved]
    pairs = [(i, j) for i, j in pairs if rank < len(kept) and {i, j} <= set(dependent)]
    sizes = np.abs(Y)
    low, high = FLOAT32_RANGE
    float32 = np.flatnonzero(((sizes > high) | ((sizes > 0) & (sizes < low))).any(axis=0))
    discrete = np.setdiff1d(few_values(Y), constant)

    def listed(which: Any) -> str:
        return column_list(which, names)

    advice = []
    if len(constant):
        advice.append(f"columns that are constant: {listed(constant)}: drop them")
    if pairs:
        shown = "; ".join(f"{listed([i])} and {listed([j])}" for i, j in pairs[:10])
        more = f" (and {len(pairs) - 10} pairs more)" * (len(pairs) > 10)
        advice.append(
            f"columns {shown}{more} are multiples of each other, up to a constant: drop one of"
            " each pair"
        )
    if rank < len(kept):
        advice.append(_advice_on_rank(len(X), len(kept), rank, listed(dependent)))
    elif len(kept) and condition > ILL_CONDITIONED:
        weakest = np.argsort(-(vectors[:, 0] ** 2))[:3]
        advice.append(
            f"the covariance has condition {condition:.1e}, columns"
            f" {listed(sorted(kept[weakest]))} above all: fit in float64 from"
            " the whitening start, drop one of them, or add noise"
        )
    if len(discrete):
        advice.append(
            f"{FEW}: {listed(discrete)}: dequantise them (add"
            " uniform noise as wide as their step), or their likelihood has no upper bound"
        )
    if len(float32):
        advice.append(
            f"columns with |x| above {high:g} or, not being 0, below {low:g}:"
            f" {listed(float32)}: rescale them, or stay with float64"
        )

    def named(which: Any) -> tuple[str, ...]:
        return tuple(str(j) if names is None else names[j] for j in which)

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


def _advice_on_rank(rows: int, columns: int, rank: int, dependent: str) -> str:
    if rows <= columns:
        return (
            f"{rows} rows and {columns} columns: a density needs more rows than columns; reduce the"
            " columns (PCA) or bring more rows"
        )
    return (
        f"the covariance has rank {rank}, not {columns}; columns that depend on each other:"
        f" {dependent}: drop {columns - rank} of them, or add noise"
    )


def require_full_rank(X: Any, names: Columns = None) -> Findings:
    """Return `examine(X, names)`; ValueError unless all columns vary and are independent.

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
