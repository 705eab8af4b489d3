"""Every iteration of `newton` must raise the exact log-likelihood, whatever the rows are.

A problem has one to three layers, up to 8 columns and 500 rows, some kinds of dirt, any base and
activation that `newton` takes, and often weights. After each iteration the mean log-likelihood is
computed from the layers alone, with log|det W| by slogdet. It may fall by what rounding allows: 64
eps times the sum of absolute values of what is added up, and of what that inherits from rounded
outputs. At the end the tracked log|det W| must be that of slogdet.
"""

import itertools
import math
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import relgrad_np as rg

from .checks import Check
from .dirty import KINDS, RANK, clean, condition

COUNT = 1000
DENSITIES = ("normal", "logistic", "laplace", "sech", "student_t")
ACTIVATIONS = ("smooth_leaky_relu", "leaky_tanh", "identity")
STARTS = ("whiten", "gaussianize", "principal", "orthogonal")
ITERATIONS = 15
ALLOWED = 64 * 2.0**-52
DRIFT = 1e-9  # nats
SHARP = 1e-6  # nats, of rounding


class Problem(NamedTuple):
    """What `newton` is asked for: the start, rows (N, D), the model, weights (N,) or None."""

    layers: Any
    X: Any
    activation: Any
    density: Any
    weights: Any
    name: str


class Rise(NamedTuple):
    """What was seen of one problem: iterations, those that fell, those whose rounding is small.

    `worst`: the largest fall, over what rounding allows; `drift` of log|det W| at the end, nats.
    """

    iterations: int
    falls: int
    sharp: int
    worst: float
    drift: float
    name: str


def rows(rng: np.random.Generator, D: int, kinds: list[str]) -> Any:
    """Return rows (N, D) of full rank with these kinds of dirt."""
    while True:
        N = D + 2 + int(np.exp(rng.uniform(np.log(4), np.log(490 - D))))
        X = clean(rng, N, D)
        for kind in kinds:
            X = KINDS[kind](rng, X)
        if condition(X) > RANK:
            return X


def problem(seed: int) -> Problem:
    """Return a problem, the same each time.

    >>> made = problem(7)
    >>> made.X.shape[1] == made.layers[0].W.shape[0], 1 <= len(made.layers) <= 3
    (True, True)
    """
    rng = np.random.default_rng([seed, 29])
    L, D = 1 + seed % 3, int(rng.integers(1, 9))
    kinds = [str(kind) for kind in rng.choice(list(KINDS), 1 + int(rng.integers(2)), replace=False)]
    X = rows(rng, D, kinds)
    activation = rg.activation(str(rng.choice(ACTIVATIONS)))
    density = rg.density(DENSITIES[seed % len(DENSITIES)])
    start = str(rng.choice(STARTS))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "principal" warns of few rows, which are wanted here
        layers = rg.init_layers(rng, D, L, kind=start, X=X, activation=activation)
    weights = rng.exponential(size=len(X)) if rng.random() < 0.4 else None
    words = (f"seed {seed}", " + ".join(kinds), f"{len(X)} x {D}", f"L = {L}", start)
    name = ", ".join([*words, density.name, activation.name])
    return Problem(layers, X, activation, density, weights, name)


def value(made: Problem, layers: Any) -> tuple[float, float]:
    """Return the mean log-likelihood of the layers, nats, and what rounding may change of it."""
    Z, err = made.X, np.abs(made.X)  # (N, D): err is what Z may be off by, in units of eps
    total = size = 0.0
    for k, (W, b) in enumerate(layers):
        Y = Z @ W.T + b  # (N, D)
        err = (err + np.abs(Z)) @ np.abs(W).T + np.abs(b)
        logdet = float(np.linalg.slogdet(W)[1])
        total, size = total + logdet, size + abs(logdet)
        if k < len(layers) - 1:
            bends = made.activation.log_dsigma(Y)
            total = total + bends.sum(axis=1)
            slope = np.abs(made.activation.dlog_dsigma(Y))
            size = size + np.abs(bends).sum(axis=1) + (slope * err).sum(axis=1)
            Z, err = made.activation.sigma(Y), np.exp(bends) * err
    log_p = made.density.log_prob(Y)
    total = total + log_p.sum(axis=1)
    size = size + np.abs(log_p).sum(axis=1) + (np.abs(made.density.score(Y)) * err).sum(axis=1)
    mean = np.average(np.broadcast_to(total, len(Y)), weights=made.weights)
    return float(mean), ALLOWED * float(np.average(size, weights=made.weights))


def rise(made: Problem, fit: Any = rg.newton) -> Rise:
    """Fit, recompute the log-likelihood after each iteration, and count what falls."""
    seen = [value(made, made.layers)]

    def record(epoch: Any, state: Any) -> None:
        seen.append(value(made, state.layers))

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        result = fit(
            made.layers, made.X, made.activation, made.density, max_iter=ITERATIONS,
            sample_weight=made.weights, callbacks=[record], compare=False,
        )  # fmt: skip
    over = [
        (before - after) / (slack_before + slack_after)
        for (before, slack_before), (after, slack_after) in itertools.pairwise(seen)
    ]
    exact = sum(float(np.linalg.slogdet(layer.W)[1]) for layer in result.layers)
    drift = float(np.sum(result.tracked.logdet)) - exact
    if result.history and result.history[-1].drift is not None:  # before a tracker began anew
        drift = max(drift, result.history[-1].drift, key=abs)
    falls = sum(not x <= 1 for x in over)  # a NaN has fallen
    sharp = sum(slack <= SHARP for _, slack in seen[1:])
    return Rise(len(over), falls, sharp, max(over, default=-math.inf), abs(drift), made.name)


def checks(count: int) -> Iterator[str | Check]:
    """Yield what is claimed of so many problems, and each that fails."""
    found = [rise(problem(seed)) for seed in range(count)]
    falls, iterations = sum(x.falls for x in found), sum(x.iterations for x in found)
    what = "iterations of newton that lower the exact log-likelihood beyond rounding"
    yield Check(what, "0", f"{falls} of {iterations}", falls == 0)
    sharp = sum(x.sharp for x in found) / iterations
    what = f"of these, judged to {SHARP:g} nats or better"
    yield Check(what, "80 % at least", f"{sharp:.0%}", sharp >= 0.8)
    drift = max(x.drift for x in found)
    what = "tracked log|det W| of newton from slogdet at the end, nats"
    yield Check(what, f"below {DRIFT:g}", f"{drift:.1e}", drift < DRIFT)
    for one in found:
        if one.falls or not one.drift < DRIFT:
            fell = f"{one.falls} of {one.iterations} fall, {one.worst:.3g} of what is allowed"
            yield f"  {one.name}: {fell}; off by {one.drift:.2e} nats"
