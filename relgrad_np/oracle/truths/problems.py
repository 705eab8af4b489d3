"""The inputs of the suite: its cases are shaped by bugs.

Never orthogonal W, zero b, N = D or one sign of the determinant only, except in families that say
so: there most mistakes are invisible.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

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
# more that truths are known for, for suites made to order; `fit` knows nothing of them
MORE_ACTIVATIONS = (
    Spec("leaky_relu", {"alpha": 0.3}),
    Spec("tanh_affine", {"alpha": 0.3}),
    Spec("asinh", {}),
)
BELOW_1 = {("smooth_leaky_relu", "alpha"), ("tanh_affine", "alpha"), ("logistic_mixture", "w")}
DENSITIES = (
    Spec("sech", {}),
    Spec("normal", {}),
    Spec("logistic", {}),
    Spec("laplace", {}),
    Spec("student_t", {"nu": 5.0}),
)
MORE_DENSITIES = (
    Spec("quartic", {}),
    Spec("generalized_gaussian", {"rho": 1.5}),
    Spec("logistic_mixture", {"w": 0.25, "m": 1.5, "s": 0.5}),
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
    yield from _other_depths()
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
            f"large-{act.name}", "large", "|y| beyond 710: exponentials overflow", 4, 3, 2,
            act, logistic, X_scale=Fraction(512 if act in (relu, elu) else 256),
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
    for dens in DENSITIES:
        yield make(
            f"single-{dens.name}", "depth", f"one layer with {dens.name}; det W > 0", 5, 3, 1,
            relu, dens, 1,
        )  # fmt: skip
        yield make(
            f"no-bias-single-{dens.name}", "no bias", f"one layer with {dens.name} and b = 0", 5, 3,
            1, relu, dens, -1, b_scale=Fraction(0),
        )  # fmt: skip
    yield optimum()
    for N, D, L in ((3, 8, 2), (5, 16, 2), (3, 32, 2), (2, 64, 1)):
        text = f"D = {D}"
        yield make(f"wide-{D}", "wide", text, N, D, L, relu if D != 16 else tanh, sech)
    yield from _with_context()


def _other_depths() -> Iterator[Problem]:
    """Yield, for every activation and density, the depths out of 1, 2, 3 that are not there yet.

    One layer has det W < 0: where it is positive, a wrong sign does not show.
    """
    for i, act in enumerate(ACTIVATIONS):
        for j, dens in enumerate(DENSITIES):
            for L in {1, 2, 3} - {(3, 3, 2, 2, 3)[(i + j) % 5]}:
                N, D = ((3, 2), (4, 3), (5, 2))[(i + j + L) % 3]
                text = f"{act.name} with {dens.name}, L = {L}"
                name = f"generic-{L}-{act.name}-{dens.name}"
                yield make(name, "generic", text, N, D, L, act, dens, -1)


def _with_context() -> Iterator[Problem]:
    """Yield cases y = W z + C u + b, of one and three variables of context.

    c = D in one case only, where C and C' have one shape.
    """
    relu, tanh, *_ = ACTIVATIONS
    sech, normal, *_, student = DENSITIES
    sizes = [
        (4, 2, 3, 1), (2, 4, 3, 3), (5, 3, 2, 1), (6, 2, 2, 3), (4, 3, 1, 1), (2, 4, 2, 1),
        (5, 2, 3, 3), (5, 4, 1, 3), (4, 3, 2, 1), (2, 4, 3, 3),
    ]  # fmt: skip
    for i, (N, D, L, c) in enumerate(sizes):
        act, dens = ACTIVATIONS[i % 5], DENSITIES[(i + i // 5) % 5]
        yield make(
            f"context-{act.name}-{dens.name}", "context", f"c = {c}, L = {L}; {act.name}, "
            f"{dens.name}", N, D, L, act, dens, (-1) ** (i // 2 + 1), c=c,
        )  # fmt: skip
    yield make(
        "context-square", "context", "c = D: C and C' have one shape", 4, 3, 2, relu, sech, c=3
    )
    yield make("context-one-sample", "context", "N = 1", 1, 2, 2, relu, sech, -1, c=3)
    yield make("context-many", "context", "N = 17", 17, 3, 2, tanh, sech, -1, c=2)
    yield make(
        "context-middling", "context", "|y| about 20: where softplus is cut off", 7, 4, 2, relu,
        sech, X_scale=Fraction(16), c=1,
    )  # fmt: skip
    yield make(
        "context-condition", "context", "one layer of condition about 2^20", 5, 4, 3, tanh,
        student, exponent=20, c=3,
    )  # fmt: skip
    for L, act, dens in ((2, relu, sech), (3, tanh, normal)):
        yield make(
            f"context-no-bias-{L}", "no bias", "b = 0 and context", 4, 3, L, act, dens, -1,
            b_scale=Fraction(0), c=L - 1,
        )  # fmt: skip
        yield make(
            f"context-last-activated-{L}", "last layer activated",
            "Z_L = sigma(Y_{L-1}), with context", 5, 2, L, act, dens, -1, last_layer="activated",
            c=3,
        )  # fmt: skip
    yield optimum(given=True)
    for N, D, L in ((3, 8, 2), (5, 16, 2)):
        text = f"D = {D}, c = 3"
        yield make(f"context-wide-{D}", "context", text, N, D, L, relu, sech, c=3)


def is_small(problem: Problem) -> bool:
    """Whether a case belongs to the small suite, which the package contains.

    >>> is_small(optimum())
    True
    """
    return problem.D <= 4


def specs(activation: Any, density: Any, params: dict[str, float]) -> tuple[Spec, Spec]:
    """Return the two parts of a model by name, with their parameters, or of parts of your own.

    >>> specs("elu", "student_t", {"nu": 3})
    (Spec(name='elu', params={'alpha': 1.0}, part=None),
     Spec(name='student_t', params={'nu': 3.0}, part=None))
    """
    left = dict(params)
    found = tuple(
        _spec(kind, given, {spec.name: spec for spec in known}, left)
        for kind, given, known in (
            ("activation", activation, (*ACTIVATIONS, *MORE_ACTIVATIONS)),
            ("density", density, (*DENSITIES, *MORE_DENSITIES)),
        )
    )
    if left:
        raise ValueError(f"neither {found[0].name} nor {found[1].name} has {min(left)!r}")
    return found[0], found[1]


def _spec(kind: str, given: Any, known: dict[str, Spec], left: dict[str, float]) -> Spec:
    """Return the spec of a name or a part; take its parameters out of those that are left."""
    name = given if isinstance(given, str) else getattr(given, "name", None)
    if name in known:  # a part of the package's own has its parameters with it
        mine = {key: left.pop(key) for key in known[name].params if key in left}
        values = {**known[name].params, **getattr(given, "params", {}), **mine}
        return Spec(name, {key: _number(kind, name, key, x) for key, x in values.items()})
    field = "sigma" if kind == "activation" else "log_prob"
    if isinstance(given, str) or not hasattr(getattr(given, field, None), "formula"):
        raise ValueError(f"unknown {kind} {name or given!r}; choose from {', '.join(known)}")
    if name == "multivariate_t":
        raise ValueError("multivariate_t does not act elementwise: no truths are known for it")
    return Spec(str(name), dict(given.params), given)


def _number(kind: str, name: str, key: str, value: Any) -> float:
    """Return a parameter; ValueError where it is no number of its range."""
    x, top = float(value), 1.0 if (name, key) in BELOW_1 else np.inf
    if not 0 < x <= top or x == np.inf or (key == "w" and x == 1):
        raise ValueError(f"`{key}` of {kind} {name} must be in (0, {top:g}), got {value}")
    return x


def made_to_order(
    act: Spec,
    dens: Spec,
    L: int,
    D: int,
    last_layer: str = "affine",
    bias: str = "yes",
    c: int = 0,
) -> Iterator[Problem]:
    """Yield a few inputs for one model: generic, N > D, N = 1, det > 0, and large |y|.

    >>> model = Spec("smooth_leaky_relu", {"alpha": 0.01}), Spec("sech", {})
    >>> [problem.id for problem in made_to_order(*model, 2, 3)][:3]
    ['made-2-3', 'made-2-3-many', 'made-2-3-one']
    """

    def case(what: str, text: str, N: int, scale: int = 1, sign: int = -1) -> Problem:
        name = f"made-{L}-{D}{f'-{c}' if c else ''}{what}"
        return make(
            name, "made", f"{act.name} with {dens.name}, L = {L}: {text}", N, D, L, act, dens, sign,
            X_scale=Fraction(scale), b_scale=Fraction(int(bias == "yes")), last_layer=last_layer,
            c=c,
        )  # fmt: skip

    yield case("", "generic", max(2, D - 1) if D != 2 else 3)
    yield case("-many", "N > D", D + 4, sign=1)
    yield case("-one", "N = 1", 1)
    yield case("-middling", "|y| up to about 30", D + 7, 8)
    yield case("-large", "|y| beyond 710", 3 if D != 3 else 4, 512, 1)


def optimum(given: bool = False) -> Problem:
    """Return the maximum-likelihood Gaussian of its samples: L = 1, R_W = 0 and R_b = 0.

    The samples are mu + A r for r = +-2 e_i, D = 4, so their moments are mu and A A' exactly,
    and W = inv(A), an integer matrix, b = -W mu. `given`: M u is added to the samples, the same
    for both signs of r, so that the regression on u is M exactly, C = -W M and R_C = 0.

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
    if not given:
        return Problem("optimum", "optimum", text, X, (W,), (-(W @ mu),), *spec)
    M = np.array([[1.0, -2.0], [3.0, 1.0], [-1.0, 2.0], [2.0, -1.0]])
    U = np.tile([[0.5, -1.0], [1.5, 0.25], [-0.75, 1.0], [0.25, -0.5]], (2, 1))
    text = "the Gaussian regression of maximum likelihood: G = 0 and R = 0, everything cancels"
    problem = Problem("context-optimum", "optimum", text, X + U @ M.T, (W,), (-(W @ mu),), *spec)
    return problem._replace(U=U, C=(-(W @ M),))
