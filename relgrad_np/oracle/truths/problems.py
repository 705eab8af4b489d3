"""The inputs of the suite: its cases are shaped by bugs.

Never orthogonal W, zero b, N = D or one sign of the determinant only, except in families that say
so: there most mistakes are invisible.
"""

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from .drawing import make
from .records import Problem, Spec

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
    """Whether a case belongs to the small suite, which the package contains.

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
