"""Numbers and matrices drawn from a name: exact in float32, the same bytes on every machine.

Numbers are integers over a power of two, taken from SHA-256 digests, so that any language can draw
them again; neither BLAS nor a library's generator is used.
"""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from .records import Array, Problem, Spec

Rows = list[list[Fraction]]


def draws(name: str) -> Iterator[int]:
    """Yield 32-bit integers: the SHA-256 digests of "name/0", "name/1", ..., eight from each.

    >>> next(draws("x")) == int.from_bytes(hashlib.sha256(b"x/0").digest()[:4], "big")
    True
    """
    count = 0
    while True:
        digest = hashlib.sha256(f"{name}/{count}".encode()).digest()
        yield from (int.from_bytes(digest[i : i + 4], "big") for i in range(0, 32, 4))
        count += 1


def uniform(source: Iterator[int], low: int, high: int, bits: int = 20) -> Fraction:
    """Draw an integer over 2^bits in [low, high).

    >>> 1 <= uniform(draws("x"), 1, 2) < 2
    True
    """
    span = (high - low) << bits
    return Fraction(low) + Fraction(next(source) % span, 1 << bits)


def weights(source: Iterator[int], D: int, bits: int = 20) -> Rows:
    """Draw a generic W: entries in [-1, 1) 2^-s of size 1/sqrt(D), plus a permutation of signs."""
    s = (D.bit_length() - 1) // 2
    W = [[uniform(source, -1, 1, bits - s - 2) / 2**s for _ in range(D)] for _ in range(D)]
    left = list(range(D))
    for i in range(D):
        j = left.pop(next(source) % len(left))
        W[i][j] += (-1) ** (next(source) % 2) * (Fraction(3, 2) if next(source) % 2 else 1)
    return W


def determinant(M: Rows) -> Fraction:
    """Return det(M), exactly.

    >>> determinant([[Fraction(0), Fraction(2)], [Fraction(3), Fraction(1)]])
    Fraction(-6, 1)
    """
    M, det = [row[:] for row in M], Fraction(1)
    for j in range(len(M)):
        pivot = next((i for i in range(j, len(M)) if M[i][j]), None)
        if pivot is None:
            return Fraction(0)
        if pivot != j:
            M[j], M[pivot], det = M[pivot], M[j], -det
        det *= M[j][j]
        for row in M[j + 1 :]:
            if row[j]:
                factor = row[j] / M[j][j]
                row[j:] = [x - factor * y for x, y in zip(row[j:], M[j][j:], strict=True)]
    return det


def signed_weights(source: Iterator[int], D: int, sign: int) -> Rows:
    """Draw a generic W whose determinant has this sign and is not small (D <= 16: exactly)."""
    while True:
        W = weights(source, D)
        if D > 16:
            return W
        det = determinant(W)
        if abs(det) >= Fraction(1, 4):
            if (det > 0) != (sign > 0):
                W[0] = [-x for x in W[0]]
            return W


def conditioned_weights(source: Iterator[int], D: int, exponent: int) -> Rows:
    """Draw W of condition ~ 2^exponent: the last row is nearly half the sum of the first two."""
    W = weights(source, D, bits=10)
    W[-1] = [
        (x + y) / 2 + Fraction(next(source) % 15 - 7, 2 ** (exponent + 2))
        for x, y in zip(W[0], W[1], strict=True)
    ]
    return W


def _array(values: Any) -> Array:
    made = np.array([[float(x) for x in row] for row in values])
    if not np.array_equal(made.astype(np.float32).astype(float), made):
        raise ValueError("an input is not exact in float32")
    return made


def make(
    name: str,
    family: str,
    comment: str,
    N: int,
    D: int,
    L: int,
    act: Spec,
    dens: Spec,
    sign: int = 1,
    exponent: int = 0,
    X_scale: Fraction = Fraction(1),
    b_scale: Fraction = Fraction(1),
    last_layer: str = "affine",
    c: int = 0,
) -> Problem:
    """Draw a case, with c variables of context.

    det W_k has the sign sign * (-1)^k; an `exponent` gives the middle layer a condition of about
    2^exponent instead. The scales multiply X and b.

    >>> problem = make("x", "", "", 4, 3, 2, Spec("identity", {}), Spec("normal", {}), sign=-1)
    >>> [float(np.sign(np.linalg.det(W))) for W in problem.W]
    [-1.0, 1.0]
    """
    source = draws(name)
    W, b, C = [], [], []
    for k in range(L):
        if exponent and k == L // 2:
            W.append(_array(conditioned_weights(source, D, exponent)))
        else:
            W.append(_array(signed_weights(source, D, sign * (-1) ** k)))
        row = [uniform(source, 0, 1) + Fraction(1, 4) for _ in range(D)]
        row = [b_scale * x * (-1) ** (next(source) % 2) for x in row]
        b.append(_array([row])[0])
        if c:
            rows = [[uniform(source, 0, 1) + Fraction(1, 4) for _ in range(c)] for _ in range(D)]
            C.append(_array([[t * (-1) ** (next(source) % 2) for t in row] for row in rows]))
    X = _array([[X_scale * uniform(source, -2, 2) for _ in range(D)] for _ in range(N)])
    bias = "yes" if b_scale else "none"
    problem = Problem(name, family, comment, X, tuple(W), tuple(b), act, dens)
    if c:
        U = _array([[uniform(source, -2, 2) for _ in range(c)] for _ in range(N)])
        problem = problem._replace(U=U, C=tuple(C))
    return problem._replace(last_layer=last_layer, bias=bias)
