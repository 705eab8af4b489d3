"""Dense matrices of 60-digit numbers, as lists of rows: for truths and their tolerances."""

from collections.abc import Callable
from typing import Any

import mpmath

ctx = mpmath.mp.clone()
ctx.dps = 60
Number = Any
Matrix = list[list[Number]]


def matrix(x: Any) -> Matrix:
    """Return a two-dimensional array as rows of numbers."""
    return [[ctx.mpf(float(v)) for v in row] for row in x]


def product(A: Matrix, B: Matrix) -> Matrix:
    """Return A @ B."""
    columns = list(zip(*B, strict=True))
    return [[ctx.fdot(row, column) for column in columns] for row in A]


def transpose(A: Matrix) -> Matrix:
    """Return A.T."""
    return [list(row) for row in zip(*A, strict=True)]


def identity(D: int) -> Matrix:
    """Return the identity (D, D)."""
    return [[ctx.mpf(i == j) for j in range(D)] for i in range(D)]


def combine(A: Matrix, B: Matrix, scale: Number = 1) -> Matrix:
    """Return A + scale B."""
    return [[x + scale * y for x, y in zip(r, s, strict=True)] for r, s in zip(A, B, strict=True)]


def eliminate(M: Any, zero: Callable[[Number], Number] = abs) -> list[Any]:
    """Return the pivots of M by elimination with row pivoting; numbers or nodes of a tape."""
    M, pivots = [list(row) for row in M], []
    while M:
        M.sort(key=lambda row: -zero(row[0]))
        first = M[0]
        pivots.append(first[0])
        M = [
            [x - row[0] / first[0] * y for x, y in zip(row[1:], first[1:], strict=True)]
            for row in M[1:]
        ]
    return pivots


def log_abs_det(M: Matrix) -> Number:
    """Return log|det M|.

    >>> ctx.nstr(ctx.exp(log_abs_det([[ctx.mpf(0), ctx.mpf(2)], [ctx.mpf(-3), ctx.mpf(1)]])), 20)
    '6.0'
    """
    return sum((ctx.log(abs(p)) for p in eliminate(M)), ctx.mpf(0))


def inverse(M: Matrix) -> Matrix:
    """Return inv(M) by Gauss and Jordan's elimination with row pivoting."""
    D = len(M)
    both = [row + unit for row, unit in zip(M, identity(D), strict=True)]
    for j in range(D):
        pivot = max(range(j, D), key=lambda i: abs(both[i][j]))
        both[j], both[pivot] = both[pivot], both[j]
        lead = both[j][j]
        both[j] = [x / lead for x in both[j]]
        for i in range(D):
            if i != j and both[i][j]:
                factor = both[i][j]
                both[i] = [x - factor * y for x, y in zip(both[i], both[j], strict=True)]
    return [row[D:] for row in both]


def augmented(W: Matrix, C: Matrix, b: list[Number], corner: int = 1) -> Matrix:
    """Return W~ = [[W, C, b], [0, I, 0], [0, 0, 1]], or with 0 in the place of I and 1.

    C (D, c) multiplies the context; its rows are empty where there is none.
    """
    rows = [[*w, *u, t] for w, u, t in zip(W, C, b, strict=True)]
    units = identity(len(C[0]) + 1)
    return [*rows, *([ctx.mpf(0)] * len(b) + [corner * x for x in unit] for unit in units)]


def split_affine(M: Matrix, D: int) -> tuple[Matrix, Matrix, list[Number]]:
    """Return (W, C, b) of a W~ of D outputs."""
    return [row[:D] for row in M[:D]], [row[D:-1] for row in M[:D]], [row[-1] for row in M[:D]]
