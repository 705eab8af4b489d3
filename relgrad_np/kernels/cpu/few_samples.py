"""Products of a few samples with W: its rows are read as they lie, nothing is packed.

A BLAS copies W into panels before it multiplies. For N = 10 that costs more than the product: half
the time of Z @ W.T, two thirds of that of Y @ W. The BLAS is faster at the update, and at Y and
Delta stacked; all of this is measured. The arrays come from `matrix`: they own nothing, so that
Numba counts no references to their rows.
"""

from typing import Any

from .compile import add
from .stored import compiled

SKINNY = 12  # samples at most
LEAST = 128, 512  # D from which on the forward and the other product come here


@compiled
def times_transposed(Z: Any, W: Any, Y: Any) -> Any:
    """Y <- Y + Z @ W.T: two rows of W against five samples at a time; rows of Z may be longer."""
    N, D = Y.shape
    zero = Z.dtype.type(0)
    for i in range(0, D, 2):
        i_2 = min(i + 1, D - 1)
        v, w = W[i], W[i_2]
        n = 0
        while n + 5 <= N:
            z0, z1, z2, z3, z4 = Z[n], Z[n + 1], Z[n + 2], Z[n + 3], Z[n + 4]
            a0, a1, a2, a3, a4 = zero, zero, zero, zero, zero
            b0, b1, b2, b3, b4 = zero, zero, zero, zero, zero
            for j in range(D):
                x, y = v[j], w[j]
                a0, b0 = add(a0, x * z0[j]), add(b0, y * z0[j])
                a1, b1 = add(a1, x * z1[j]), add(b1, y * z1[j])
                a2, b2 = add(a2, x * z2[j]), add(b2, y * z2[j])
                a3, b3 = add(a3, x * z3[j]), add(b3, y * z3[j])
                a4, b4 = add(a4, x * z4[j]), add(b4, y * z4[j])
            Y[n, i] += a0
            Y[n + 1, i] += a1
            Y[n + 2, i] += a2
            Y[n + 3, i] += a3
            Y[n + 4, i] += a4
            if i_2 > i:
                Y[n, i_2] += b0
                Y[n + 1, i_2] += b1
                Y[n + 2, i_2] += b2
                Y[n + 3, i_2] += b3
                Y[n + 4, i_2] += b4
            n += 5
        while n < N:
            z0, a0, b0 = Z[n], zero, zero
            for j in range(D):
                a0, b0 = add(a0, v[j] * z0[j]), add(b0, w[j] * z0[j])
            Y[n, i] += a0
            if i_2 > i:
                Y[n, i_2] += b0
            n += 1


@compiled
def times(Y: Any, W: Any, P: Any) -> Any:
    """P <- Y @ W: eight rows of W at a time."""
    N, D = Y.shape
    for n in range(N):
        p = P[n]
        for j in range(D):
            p[j] = Y.dtype.type(0)
    eights = D - D % 8
    for i in range(0, eights, 8):
        w0, w1, w2, w3 = W[i], W[i + 1], W[i + 2], W[i + 3]
        w4, w5, w6, w7 = W[i + 4], W[i + 5], W[i + 6], W[i + 7]
        for n in range(N):
            p, y = P[n], Y[n]
            y0, y1, y2, y3 = y[i], y[i + 1], y[i + 2], y[i + 3]
            y4, y5, y6, y7 = y[i + 4], y[i + 5], y[i + 6], y[i + 7]
            for j in range(D):
                four = y0 * w0[j] + y1 * w1[j] + y2 * w2[j] + y3 * w3[j]
                p[j] += four + (y4 * w4[j] + y5 * w5[j] + y6 * w6[j] + y7 * w7[j])
    for i in range(eights, D):
        w = W[i]
        for n in range(N):
            p, x = P[n], Y[n, i]
            for j in range(D):
                p[j] += x * w[j]
