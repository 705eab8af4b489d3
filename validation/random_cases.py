"""Random cases with truths, for right candidates: not one of them may be called wrong.

Four in five are generic, the rest ill-conditioned (2^8 to 2^20) or a maximum-likelihood Gaussian,
where R = 0. Truths are as for the suite, with gradients by reverse mode.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from relgrad_np.oracle.truths import definitions
from relgrad_np.oracle.truths.drawing import draws, make
from relgrad_np.oracle.truths.export import compute
from relgrad_np.oracle.truths.problems import ACTIVATIONS, DENSITIES
from relgrad_np.oracle.truths.records import Case, Problem, Spec


def optimum(name: str) -> Problem:
    """A random maximum-likelihood Gaussian: W integer with an integer inverse, R = 0 exactly."""
    source = draws(name)
    D = 4
    W, A = np.eye(D), np.eye(D)
    for _ in range(5):
        i, j = next(source) % D, next(source) % D
        if i != j:
            sign = (-1) ** (next(source) % 2)
            W[i] += sign * W[j]
            A[:, j] -= sign * A[:, i]
    assert np.array_equal(W @ A, np.eye(D))
    mu = np.array([next(source) % 9 - 4.0 for _ in range(D)])
    X = mu + 2 * np.concatenate([A.T, -A.T])
    model = Spec("identity", {}), Spec("normal", {})
    return Problem(name, "optimum", "R = 0", X, (W,), (-(W @ mu),), *model)


def draw(i: int, context: bool = False) -> Problem:
    """Problem number i; with context, of one to four variables."""
    name = f"random-{i}-context" if context else f"random-{i}"
    source = draws(name + "/choice")
    if i % 10 == 9 and not context:
        return optimum(name)
    D, L = 2 + next(source) % 3, 1 + next(source) % 3
    N = next(n for n in iter(lambda: 1 + next(source) % 6, None) if n != D)
    act = ACTIVATIONS[next(source) % 5]
    dens = DENSITIES[next(source) % 5]
    exponent = 8 + next(source) % 13 if i % 10 == 8 else 0
    D = max(D, 3) if exponent else D
    family = "condition" if exponent else "generic"
    sign = (-1) ** (next(source) % 2)
    scale = Fraction(1, 4 ** (next(source) % 2))
    c = 1 + next(source) % 4 if context else 0
    return make(name, family, "", N, D, L, act, dens, sign, exponent, X_scale=scale, c=c)


def cases(count: int, context: bool = False) -> Iterator[Case]:
    """The first cases, with their truths."""
    definitions.DIFFERENCED = 0  # reverse mode; compared with differencing in the tests
    for i in range(count):
        yield compute(draw(i, context))
