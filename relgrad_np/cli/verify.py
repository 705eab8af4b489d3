"""The self-check: does this installation, on this machine, compute what the definitions say.

Every row compares with something that is not the formula it checks: central differences (the
value, and the slope of the error in h), the slogdet of a dense Jacobian, a dense exponential.
Inputs are generic (`oracle.cases`), tolerances derived (`oracle.bounds`).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg

from ..core.activations import activation
from ..core.backprop import backprop
from ..core.densities import density
from ..core.network import Layer, Layers, forward
from ..core.numerics import norm_bound
from ..core.objective import log_likelihood
from ..core.ordinary import ordinary_gradient
from ..core.relative import relative_gradient
from ..core.sampling import inverse
from ..core.steps import apply_step, factors
from ..core.tracking import track, track_step
from ..oracle import bounds, brute
from ..oracle.cases import PARAMS, GenericCase, generic
from ..oracle.of_this_package import from_core
from ..oracle.verdict import check as oracle_check
from ..rules.base import init_state, train_step
from ..rules.plain import Plain

EPS = 2.0**-52
VARIANTS = (
    ("output", "augmented"),
    ("output", "separate"),
    ("output", "published"),
    ("input", "augmented"),
    ("input", "separate"),
)


class Check(NamedTuple):
    """One row of the table: what, the worst error found, what is allowed, and the verdict."""

    name: str
    error: float
    allowed: float

    @property
    def passed(self) -> bool:
        """NaN never passes."""
        return self.error <= self.allowed


def verify() -> tuple[Check, ...]:
    """Run every check of every group; about two seconds.

    >>> len(GROUPS)
    6
    """
    return tuple(check for group in GROUPS for check in group())


def table(checks: tuple[Check, ...]) -> str:
    """Return the checks as text, one line each, the verdict in the last.

    >>> print(table((Check("x", 1e-9, 1e-6),)))
    ok    x   error 1.0e-09   allowed 1.0e-06
    1 of 1 checks passed
    """
    width = max(len(check.name) for check in checks)
    lines = [
        f"{'ok  ' if c.passed else 'FAIL'}  {c.name:<{width}}   error {c.error:.1e}   "
        f"allowed {c.allowed:.1e}"
        for c in checks
    ]
    good = sum(check.passed for check in checks)
    return "\n".join([*lines, f"{good} of {len(checks)} checks passed"])


def difference(f: Callable[[Any], Any], exact: Any, at: Any = 0.0, h: float = 1e-5) -> float:
    """Return the worst |(f(at + h) - f(at - h)) / (2 h) - exact|.

    >>> difference(math.exp, 1.0) < 1e-9
    True
    """
    return float(np.max(np.abs((f(at + h) - f(at - h)) / (2 * h) - exact)))


def slope(f: Callable[[Any], Any], exact: Any, at: Any = 0.0) -> float:
    """Return the order in h of that error: 2 if `exact` is right, 0 if it is wrong.

    >>> round(slope(np.exp, 1.0), 3), abs(round(slope(np.exp, 1.1), 3))
    (2.0, 0.0)
    """
    return math.log2(difference(f, exact, at, 4e-3) / difference(f, exact, at, 2e-3))


def elementwise() -> Iterator[Check]:
    """Activations and densities against central differences and their definitions.

    >>> all(check.passed for check in elementwise())
    True
    """
    y = np.linspace(-8.05, 8.05, 162)  # no kink at a grid point
    for name, params in PARAMS.items():
        f = activation(name, **params)
        error = max(
            difference(f.sigma, f.dsigma(y), y),
            difference(f.log_dsigma, f.dlog_dsigma(y), y),
            float(np.max(np.abs(f.log_dsigma(y) - np.log(brute.dsigma(f, y))))),
            float(np.max(np.abs(f.inverse(f.sigma(y)) - y))),
        )
        yield Check(f"{name}: sigma', log sigma', (log sigma')', inverse", error, 1e-6)
    for name in ("normal", "logistic", "laplace", "sech", "quartic", "student_t"):
        p = density(name)
        error = max(
            difference(p.log_prob, p.score(y), y),
            float(np.max(np.abs(p.log_prob(y) - brute.log_density(p, y)))),
        )
        yield Check(f"{name}: log p, score", error, 1e-6)


def objective() -> Iterator[Check]:
    """L_J1 + L_J2 against the slogdet of the dense Jacobian; the inverse.

    >>> all(check.passed for check in objective())
    True
    """
    error = back = 0.0
    for seed, (N, D, L) in enumerate([(5, 3, 2), (4, 6, 3), (7, 5, 1), (3, 4, 5)]):
        case = generic(seed, N, D, L)
        terms = log_likelihood(case.layers, case.X, *case.model)
        J = [brute.jacobian(case.layers, x, case.activation) for x in case.X]
        dense = np.array([np.linalg.slogdet(j)[1] for j in J])
        error = max(error, float(np.max(np.abs(terms.L_J1 + terms.L_J2 - dense))))
        Z = forward(case.layers, case.X, case.activation).Zs[-1]
        back = max(back, float(np.max(np.abs(inverse(case.layers, Z, case.activation) - case.X))))
    yield Check("L_J1 + L_J2 = slogdet of the dense Jacobian, N x D x L generic", error, 1e-11)
    yield Check("inverse(forward(X)) = X", back, 1e-9)


def _along(case: GenericCase, V: Layers) -> Callable[[float], float]:
    """Return h -> mean log p at layers + h V."""

    def f(h: float) -> float:
        moved = tuple(
            Layer(W + h * dW, b + h * db) for (W, b), (dW, db) in zip(case.layers, V, strict=True)
        )
        return float(log_likelihood(moved, case.X, *case.model).mean)

    return f


def gradients() -> Iterator[Check]:
    """Compare the ordinary gradient with differences, the relative one with the ordinary.

    >>> all(check.passed for check in gradients())
    True
    """
    error = order = excess = excess32 = 0.0
    for seed, (N, D, L) in enumerate([(5, 3, 2), (4, 6, 3), (7, 5, 1), (9, 4, 5)]):
        case = generic(seed, N, D, L)
        tape = forward(case.layers, case.X, case.activation)
        G = ordinary_gradient(case.layers, tape, backprop(case.layers, tape, *case.model))
        rng = np.random.default_rng(seed)
        V = tuple(
            Layer(rng.standard_normal(W.shape) / D, rng.standard_normal(b.shape) / D)
            for W, b in case.layers
        )
        exact = sum(
            float(np.sum(g * v))
            for one, two in zip(G, V, strict=True)
            for g, v in zip(one, two, strict=True)
        )
        error = max(error, difference(_along(case, V), exact) / (1 + abs(exact)))
        order = max(order, abs(slope(_along(case, V), exact) - 2))
        excess = max(excess, relative_excess(case, EPS))
        excess32 = max(excess32, relative_excess(generic(seed, N, D, L, dtype="float32"), 2.0**-23))
    yield Check("ordinary gradient = central differences, h = 1e-5", error, 1e-6)
    yield Check("slope of their error in h: distance from 2", order, 0.1)
    yield Check("relative = ordinary W~'W~, 5 variants, float64, in tolerances", excess, 1.0)
    yield Check("relative = ordinary W~'W~, 5 variants, float32, in tolerances", excess32, 1.0)


def relative_excess(case: GenericCase, eps: float) -> float:
    """Return the worst |R - G~ W~' W~| over all variants, in units of its derived tolerance.

    The right-hand side is taken in long double, from the same Z and Delta, with its inverse.

    >>> relative_excess(generic(0), EPS) < 1
    True
    """
    tape = forward(case.layers, case.X, case.activation)
    deltas = backprop(case.layers, tape, *case.model)
    allowed = bounds.tolerances(case.layers, case.X, *case.model, eps)
    worst = 0.0
    for side, bias in VARIANTS:
        R = relative_gradient(case.layers, tape, deltas, side=side, bias=bias)
        for k, r in enumerate(R):
            W, b, Z, Delta = (
                x.astype(np.longdouble) for x in (*case.layers[k], tape.Zs[k], deltas[k])
            )
            G_W = Delta.T @ Z + brute.inverse_matrix(W).T
            expected = brute.relative(W, b, G_W, Delta.sum(axis=0), side, bias)
            for name, actual, right in zip("Wb", r, expected, strict=True):
                tolerance = allowed[f"R_{name} {side} {bias}"][k]
                worst = max(worst, float(np.max(np.abs(actual - right))) / tolerance)
    return worst


def steps() -> Iterator[Check]:
    """Compare steps with dense matrices, tracking with slogdet and inverse; N < D and N > D.

    >>> all(check.passed for check in steps())
    True
    """
    for kind in ("plain", "exponential"):
        moved = followed = 0.0
        for seed, (N, D, L) in enumerate([(3, 7, 2), (9, 4, 3)]):
            case = generic(seed, N, D, L)
            layers, tracked = case.layers, track(case.layers, inverse=True)
            for _ in range(5):
                tape = forward(layers, case.X, case.activation)
                deltas = backprop(layers, tape, *case.model)
                fs = factors(layers, tape, deltas)
                etas = tuple(min(0.1, 0.5 / float(norm_bound(f.K))) for f in fs)
                R = relative_gradient(layers, tape, deltas)
                new = apply_step(layers, fs, etas, kind=kind)
                tracked = track_step(tracked, fs, etas, kind=kind)
                for old, r, eta, (W, b) in zip(layers, R, etas, new, strict=True):
                    dense = _dense_step(old, r, eta, kind)
                    size = float(np.max(np.abs(dense)))
                    moved = max(moved, float(np.max(np.abs(brute.augmented(W, b) - dense))) / size)
                layers = new
            for k, (W, _) in enumerate(layers):
                sign, logdet = np.linalg.slogdet(W)
                assert tracked.inverse is not None
                V = np.linalg.inv(W)
                followed = max(
                    followed,
                    abs(float(tracked.logdet[k] - logdet)),
                    abs(float(tracked.sign[k] - sign)),
                    float(np.max(np.abs(tracked.inverse[k] - V)) / np.max(np.abs(V))),
                )
        dense_name = "dense expm(eta xi~) W~" if kind == "exponential" else "W~ + eta R~"
        yield Check(f"{kind} step = {dense_name}", moved, 1e-12)
        yield Check(f"{kind} step: tracked log|det W|, sign, inv(W), 5 steps", followed, 1e-11)


def _dense_step(layer: Layer, r: Layer, eta: float, kind: str) -> Any:
    W, R = brute.augmented(*layer), brute.augmented(*r)
    R[-1, -1] = 0.0
    return W + eta * R if kind == "plain" else scipy.linalg.expm(eta * R @ np.linalg.inv(W)) @ W


def anchors() -> Iterator[Check]:
    """Fit one layer with normal base: maximum likelihood is the Gaussian fit, and R = 0 there.

    The bias rule of the published code stops log(1 + mu' inv(Sigma) mu / 4) / 2 below.

    >>> all(check.passed for check in anchors())
    True
    """
    fitted, R, best = gaussian_fit("augmented")
    yield Check("one layer: the fit reaches the closed-form Gaussian", abs(fitted - best), 1e-10)
    yield Check("one layer: R = 0 there", R, 1e-9)
    published, _, _ = gaussian_fit("published")
    gap = 0.5 * math.log(1 + MU @ MU / 4)
    yield Check(
        f"the published bias rule ends {gap:.4f} nats lower ({published:.4f}, not {best:.4f})",
        abs(best - published - gap),
        1e-6,
    )


def truths() -> Iterator[Check]:
    """Compare every array of the core with the small suite's 60-digit truths, both precisions.

    >>> all(check.passed for check in truths())
    True
    """
    for dtype in ("float64", "float32"):
        report = oracle_check(from_core(), dtype=dtype, twice=False)
        worst = max(entry.units for entry in report.entries if entry.checked)
        count = sum(entry.checked for entry in report.entries)
        yield Check(f"{count} arrays = their 60-digit truths, {dtype}, in tolerances", worst, 1.0)


MU = np.array([3.0, -2.0, 1.0, 5.0])


def gaussian_fit(bias: str) -> tuple[float, float, float]:
    """Fit one layer to data of mean MU and covariance I, full batch, constant eta.

    Returns the mean log-likelihood reached, max |R| there (of this bias rule), and the closed form.

    >>> fitted, R, best = gaussian_fit("augmented")
    >>> round(best, 4)
    -5.6758
    """
    D = len(MU)
    X = MU + math.sqrt(D) * np.concatenate([np.eye(D), -np.eye(D)])  # moments exactly MU and I
    model: dict[str, Any] = {"activation": activation("identity"), "density": density("normal")}
    layers: Layers = (Layer(np.eye(D), np.zeros(D)),)
    rule = Plain(0.05)
    if bias == "augmented":
        state = init_state(layers, rule)
        for _ in range(1500):
            state, _ = train_step(state, X, **model, rule=rule)
        layers = state.layers
    else:
        for _ in range(6000):
            r = _relative(layers, X, model, bias)
            layers = (Layer(layers[0].W + 0.01 * r.W, layers[0].b + 0.01 * r.b),)
    r = _relative(layers, X, model, bias)
    size = max(float(np.max(np.abs(r.W))), float(np.max(np.abs(r.b))))
    best = -0.5 * (D * math.log(2 * math.pi) + D)
    return float(log_likelihood(layers, X, **model).mean), size, best


def _relative(layers: Layers, X: Any, model: dict[str, Any], bias: str) -> Layer:
    tape = forward(layers, X, model["activation"])
    deltas = backprop(layers, tape, **model)
    return relative_gradient(layers, tape, deltas, bias=bias)[0]


GROUPS = (elementwise, objective, gradients, steps, anchors, truths)
