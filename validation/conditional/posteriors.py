"""Posteriors from simulations: a linear one whose exact density is known, and two moons by C2ST.

The simulators and exact posteriors are those of examples/posterior.py. C2ST is the accuracy of a
classifier of scikit-learn's, five-fold, that tells draws of the exact posterior from those of a
contender: .5 where it cannot.
"""

from __future__ import annotations

import runpy
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .contenders import CONTENDERS
from .records import Record, append, error, kept
from .sets import Array, Given, held_rows

EXAMPLE = Path(__file__).parents[2] / "examples" / "posterior.py"
SIMULATIONS = 10_000
OBSERVATIONS, DRAWS = 5, 500
ALLOWED = ("nsf", "ours")


def simulated(simulator: Callable[..., Any], name: str, seed: int) -> Given:
    """Return parameters (n, 2) given data, to train with and to test with."""
    rng = np.random.default_rng([seed, 26])
    (x, u), (x_test, u_test) = simulator(SIMULATIONS, rng), simulator(SIMULATIONS, rng)
    return Given(name, seed, x, u, held_rows(len(x), seed), x_test, u_test)


def linear(contender: str, seed: int) -> Record:
    """Return E KL(exact || contender), nats, over 10,000 further simulations."""
    from scipy.stats import multivariate_normal

    example = runpy.run_path(str(EXAMPLE))
    data = simulated(example["linear"], "posterior: linear", seed)
    began = time.process_time()
    log_density, choice = CONTENDERS[contender](data)
    seconds = time.process_time() - began
    means, covariance = example["linear_posterior"](data.u_test)
    exact = multivariate_normal(np.zeros(2), covariance).logpdf(data.x_test - means)
    lack = exact - log_density(data.x_test, data.u_test)
    found = {"lack": lack.mean(), "se of lack": error(lack), "seconds": seconds}
    return {k: float(f"{v:.6g}") for k, v in found.items()} | {"choice": choice}


def moons(contender: str, seed: int) -> Record:
    """Return C2ST over the first observations, and the mean log-density of further simulations."""
    example = runpy.run_path(str(EXAMPLE))
    data = simulated(example["two_moons"], "posterior: two moons", seed)
    began = time.process_time()
    log_density, choice = CONTENDERS[contender](data)
    seconds, rng = time.process_time() - began, np.random.default_rng(seed)
    test = log_density(data.x_test, data.u_test)
    scores = []
    for seen in data.u_test[:OBSERVATIONS]:
        exact = example["two_moons_posterior"](seen, DRAWS, rng)
        scores.append(c2st(exact, log_density.sample(seen, DRAWS, seed), seed))  # type: ignore
    found = {"test": test.mean(), "se": error(test), "c2st": np.mean(scores), "seconds": seconds}
    found = {k: float(f"{v:.6g}") for k, v in found.items()}
    return found | {"each": [round(float(s), 3) for s in scores], "choice": choice}


def c2st(first: Array, second: Array, seed: int) -> float:
    """Return the five-fold accuracy of a net, two layers of 20 units, that tells samples apart.

    >>> rng = np.random.default_rng(0)
    >>> c2st(rng.standard_normal((99, 2)), 9 + rng.standard_normal((99, 2)), 0)
    1.0
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import cross_val_score
    from sklearn.neural_network import MLPClassifier

    rows = np.concatenate([first, second])
    rows = (rows - first.mean(axis=0)) / first.std(axis=0)
    labels = np.arange(len(rows)) >= len(first)
    order = np.random.default_rng(seed).permutation(len(rows))
    net = MLPClassifier((20, 20), max_iter=150, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(cross_val_score(net, rows[order], labels[order], cv=5).mean())


def run(names: list[str], seeds: list[int], path: str, again: bool) -> int:
    """Run what is not kept, and say what came out."""
    for seed in seeds:
        for which, judge in (("posterior: linear", linear), ("posterior: two moons", moons)):
            for name in (name for name in names if name in ALLOWED):
                if (which, seed, name) in kept(path) and not again:
                    continue
                record = {"set": which, "seed": seed, "contender": name, **judge(name, seed)}
                append(record | {"date": time.strftime("%Y-%m-%d")}, path)
                print(record, flush=True)
    return 0
