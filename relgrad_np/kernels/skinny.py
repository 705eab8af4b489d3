"""The forward product for a few samples: rows of W are read as they lie, nothing is packed.

A BLAS copies W into panels before it multiplies, which for N = 10 costs more than the product: half
the time of Z @ W.T. The other products of a step, measured likewise, are better off in the BLAS.
"""

from typing import Any

from ._compile import add, compiled

SKINNY = 12  # samples at most


@compiled
def times_transposed(Z: Any, W: Any, Y: Any) -> Any:
    """Y <- Y + Z @ W.T: two rows of W against five samples at a time."""
    N, D = Z.shape
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
