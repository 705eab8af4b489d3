"""A layer's bias where samples lie side by side, as `natural` has them: b (D,), or B (D, c + 1).

As `bias`, with U~ the other way round: `one` is 1, or (c + 1, N).
"""

from typing import Any

import numpy as np

from .compile import add, inlined


@inlined  # type: ignore[untyped-decorator]
def columns_of_ones(X: Any, b: Any) -> Any:
    """Return 1, or U~.T (c + 1, N) of rows X (N, D + c); b (L, D), or (L, D, c + 1)."""
    if b.ndim == 2:
        one = X.dtype.type(1)
    else:
        D, last, N = b.shape[1], b.shape[2] - 1, X.shape[0]
        one = np.empty((last + 1, N), X.dtype)
        for n in range(N):
            for j in range(last):
                one[j, n] = X[n, D + j]
            one[last, n] = X.dtype.type(1)
    return one


@inlined  # type: ignore[untyped-decorator]
def put_beside(b: Any, one: Any, start: Any, Y: Any) -> Any:
    """Fill Y (D, n) with what the bias adds to the samples from `start` on."""
    D, n = Y.shape
    if b.ndim == 1:
        for i in range(D):
            y, x = Y[i], b[i]
            for m in range(n):
                y[m] = x
    else:
        last = b.shape[1] - 1
        for i in range(D):
            y, x = Y[i], b[i, last]
            for m in range(n):
                y[m] = x
            for j in range(last):
                u, x = one[j, start : start + n], b[i, j]
                for m in range(n):
                    y[m] += x * u[m]


@inlined  # type: ignore[untyped-decorator]
def variables(b: Any) -> Any:
    """Return c, of how many variables the biases of all layers know."""
    c = 0
    if b.ndim == 3:
        c = b.shape[2] - 1
    return c


@inlined  # type: ignore[untyped-decorator]
def add_context(b: Any, one: Any, start: Any, n: Any, row: Any, s: Any, g: Any) -> Any:
    """Fill c rows of s with row * u of n samples from `start` on; add their sums to g (c,)."""
    if b.ndim == 3:
        for j in range(b.shape[2] - 1):
            out, u, total = s[j], one[j, start : start + n], s.dtype.type(0)
            for m in range(n):
                x = row[m] * u[m]
                out[m] = x
                total = add(total, x)
            g[j] += np.float64(total)


@inlined  # type: ignore[untyped-decorator]
def add_moved(b: Any, a: Any, m: Any, scale: Any, x: Any, t: Any, D: Any) -> Any:
    """Add x scale (b - m) of row a of a bias to t from D on: (1,) numbers, or (c + 1,)."""
    if b.ndim == 1:
        t[D] += x * (scale * (b[a] - m))
    else:
        last = b.shape[1] - 1
        for j in range(last):
            t[D + j] += x * (scale * b[a, j])
        t[D + last] += x * (scale * (b[a, last] - m))


@inlined  # type: ignore[untyped-decorator]
def entry(b: Any, i: Any, j: Any) -> Any:
    """Return b_i, or B_ij."""
    if b.ndim == 1:  # noqa: SIM108 - Numba leaves out a branch, but no half of an expression
        x = b[i]
    else:
        x = b[i, j]
    return x


@inlined  # type: ignore[untyped-decorator]
def set_row(b: Any, i: Any, row: Any, D: Any) -> Any:
    """Set row i of a bias to the numbers of `row` from D on."""
    if b.ndim == 1:
        b[i] = row[D]
    else:
        for j in range(b.shape[1]):
            b[i, j] = row[D + j]
