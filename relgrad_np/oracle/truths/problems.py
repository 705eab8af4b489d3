"""The inputs of the suite: shaped by bugs, exact in float32, the same bytes on every machine.

Numbers are integers over a power of two, drawn from SHA-256 of the case's name, so that any
language can draw them again; no BLAS, no library's generator. Never orthogonal W, zero b, N = D
or one sign of the determinant only, except in families that say so.
"""

import hashlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from ..brute import Spec

Array = Any
Rows = list[list[Fraction]]
ETA = 3 / 64

ACTIVATIONS = (
    Spec("smooth_leaky_relu", {"alpha": 0.3125}),
    Spec("leaky_tanh", {"alpha": 1.25, "beta": 0.125}),
    Spec("identity", {}),
    Spec("softplus", {}),
    Spec("elu", {"alpha": 1.0}),
)
DENSITIES = (
    Spec("sech", {}),
    Spec("normal", {}),
    Spec("logistic", {}),
    Spec("laplace", {}),
    Spec("student_t", {"nu": 5.0}),
)


class Problem(NamedTuple):
    """What a candidate is given: X (N, D), W and b of each layer, the model, eta, Z_back (N, D).

    `last_layer`: "affine" or "activated"; `bias`: "yes", or "none" where b = 0.

    >>> problem = next(all_problems())
    >>> problem.N, problem.D, problem.L, problem.dtype
    (4, 2, 3, 'float64')
    """

    id: str
    family: str
    comment: str
    X: Array
    W: tuple[Array, ...]
    b: tuple[Array, ...]
    activation: Spec
    density: Spec
    eta: float = ETA
    Z_back: Array = None
    last_layer: str = "affine"
    bias: str = "yes"

    @property
    def N(self) -> int:
        """Number of samples."""
        return int(self.X.shape[0])

    @property
    def D(self) -> int:
        """Number of dimensions."""
        return int(self.X.shape[1])

    @property
    def L(self) -> int:
        """Number of layers."""
        return len(self.W)

    @property
    def dtype(self) -> str:
        """float64 or float32; the inputs are exact in both."""
        return str(self.X.dtype)

    def astype(self, dtype: str) -> "Problem":
        """Return the same inputs in float32 or float64."""
        W, b = (tuple(x.astype(dtype) for x in part) for part in (self.W, self.b))
        Z_back = None if self.Z_back is None else self.Z_back.astype(dtype)
        return self._replace(X=self.X.astype(dtype), W=W, b=b, Z_back=Z_back)


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
) -> Problem:
    """Draw a case; det W_k has the sign sign * (-1)^k."""
    source = draws(name)
    W, b = [], []
    for k in range(L):
        bad = exponent and k == L // 2
        rows = (
            conditioned_weights(source, D, exponent)
            if bad
            else signed_weights(source, D, sign * (-1) ** k)
        )
        W.append(_array(rows))
        row = [uniform(source, 0, 1) + Fraction(1, 4) for _ in range(D)]
        row = [b_scale * x * (-1) ** (next(source) % 2) for x in row]
        b.append(_array([row])[0])
    X = _array([[X_scale * uniform(source, -2, 2) for _ in range(D)] for _ in range(N)])
    bias = "yes" if b_scale else "none"
    problem = Problem(name, family, comment, X, tuple(W), tuple(b), act, dens)
    return problem._replace(last_layer=last_layer, bias=bias)


def all_problems() -> Iterator[Problem]:
    """Yield the inputs of the whole suite, `Z_back` left out (the truth gives it).

    >>> len(list(all_problems())) > 40
    True
    """
    relu, tanh, _, softplus, elu = ACTIVATIONS
    sech, normal, logistic, _, student = DENSITIES
    sizes = [(4, 2, 3), (2, 4, 3), (5, 3, 2), (3, 4, 2), (6, 2, 3)]
    for i, act in enumerate(ACTIVATIONS):
        for j, dens in enumerate(DENSITIES):
            N, D, L = sizes[(i + j) % 5]
            text = f"{act.name} with {dens.name}; both signs of det W"
            yield make(
                f"generic-{act.name}-{dens.name}", "generic", text, N, D, L, act, dens, (-1) ** j
            )
    for L, N, D in ((1, 4, 3), (1, 5, 2), (3, 7, 2), (4, 3, 2), (5, 2, 3)):
        text = f"{L} layers, N = {N}, D = {D}"
        yield make(f"depth-{L}-{D}", "depth", text, N, D, L, relu, sech, -1)
    yield make("one-sample", "one sample", "N = 1: sum and mean agree", 1, 3, 2, relu, sech, -1)
    yield make("one-sample-tanh", "one sample", "N = 1", 1, 4, 3, tanh, normal)
    yield make("many-samples", "N > D", "N = 17: a wrong power of N shows", 17, 3, 2, relu, sech)
    for exponent in (10, 20):
        for act, dens in ((relu, sech), (tanh, student)):
            yield make(
                f"condition-{exponent}-{act.name}", "condition",
                f"one layer of condition about 2^{exponent}", 3, 4, 3, act, dens, exponent=exponent,
            )  # fmt: skip
    for act in (relu, softplus):
        yield make(
            f"middling-{act.name}", "large", "|y| about 20: where softplus is cut off", 7, 4, 2,
            act, sech, X_scale=Fraction(16),
        )  # fmt: skip
    for act in (relu, tanh, softplus, elu):
        yield make(
            f"large-{act.name}", "large", "|y| in the hundreds: exponentials overflow", 4, 3, 2,
            act, logistic, X_scale=Fraction(128),
        )  # fmt: skip
    yield make(
        "large-sech", "large", "|z| near a thousand: cosh overflows", 4, 3, 2, relu, sech,
        X_scale=Fraction(256),
    )  # fmt: skip
    for act in (relu, tanh, softplus):
        yield make(
            f"tiny-{act.name}", "tiny", "|y| about 2^-12: differences cancel", 4, 3, 2, act, sech,
            X_scale=Fraction(1, 2**12), b_scale=Fraction(1, 2**12),
        )  # fmt: skip
    for act, dens in ((relu, sech), (tanh, normal), (softplus, logistic)):
        yield make(
            f"no-bias-{act.name}", "no bias", "b = 0, for code without biases; weak for the rest",
            4, 3, 2, act, dens, -1, b_scale=Fraction(0),
        )  # fmt: skip
    for act, dens in ((relu, sech), (tanh, normal), (relu, logistic)):
        yield make(
            f"last-activated-{act.name}-{dens.name}", "last layer activated",
            "Z_L = sigma(Y_{L-1}), with its term in L_J1", 4, 3, 2, act, dens, -1,
            last_layer="activated",
        )  # fmt: skip
    yield optimum()
    for N, D, L in ((3, 8, 2), (5, 16, 2), (3, 32, 2), (2, 64, 1)):
        text = f"D = {D}"
        yield make(f"wide-{D}", "wide", text, N, D, L, relu if D != 16 else tanh, sech)


def is_small(problem: Problem) -> bool:
    """Whether a case belongs to the small suite, the one that the package brings.

    >>> is_small(optimum())
    True
    """
    if problem.family == "generic":
        names = [spec.name for spec in (*ACTIVATIONS, *DENSITIES)]
        return (names.index(problem.activation.name) + names.index(problem.density.name)) % 2 == 1
    return problem.D <= 4 and problem.id not in ("large-softplus", "large-elu")


def optimum() -> Problem:
    """Return the maximum-likelihood Gaussian of its samples: L = 1, R_W = 0 and R_b = 0.

    The samples are mu + A u for u = +-2 e_i, D = 4, so their moments are mu and A A' exactly,
    and W = inv(A), an integer matrix, b = -W mu.

    >>> problem = optimum()
    >>> centred = problem.X @ problem.W[0].T + problem.b[0]
    >>> bool(np.all(centred.T @ centred / problem.N == np.eye(4)))
    True
    """
    W = np.array([[1.0, 2, 0, -1], [0, -1, 1, 0], [1, 2, 1, -1], [2, 3, 1, -1]])
    A = np.array([[1.0, 1, -2, 1], [-1, -1, 1, 0], [-1, 0, 1, 0], [-2, -1, 0, 1]])
    mu = np.array([3.0, -2.0, 1.0, 5.0])
    X = mu + 2 * np.concatenate([A.T, -A.T])
    spec = Spec("identity", {}), Spec("normal", {})
    text = "one layer at the maximum-likelihood Gaussian: G = 0 and R = 0, everything cancels"
    return Problem("optimum", "optimum", text, X, (W,), (-(W @ mu),), *spec)
