"""Hand derivatives against central differences of the brute-force log-likelihood.

The value, to 1e-6 at h = 1e-5; and the slope of the error in h, which is 2 if and only if the
derivative is right: no tolerance to tune.
"""

import itertools

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.oracle import brute

from ..laws.problems import DENSITIES, PARAMS, SMOOTH, SMOOTH_DENSITIES, generic


def each(shapes, activations, densities):
    """Every activation with every density; one layer has no activation, so one name stands for all."""
    cases = [
        (shape, *pair) for shape in shapes for pair in itertools.product(activations, densities)
    ]
    cases += [((3, 4, 1), "identity", density) for density in densities]
    return pytest.mark.parametrize(("shape", "activation", "density"), cases)


def gradients(problem):
    tape = rg.forward(problem.layers, problem.X, problem.activation)
    deltas = rg.backprop(problem.layers, tape, *problem.model)
    return rg.ordinary_gradient(problem.layers, tape, deltas)


def mean_log_p(problem):
    return lambda layers: np.mean(brute.log_likelihood(layers, problem.X, *problem.model))


def errors(problem, h):
    """The error of every entry of every G_W and G_b, in one vector."""
    differences = brute.gradient(mean_log_p(problem), problem.layers, h)
    pairs = zip(gradients(problem), differences, strict=True)
    return np.concatenate(
        [np.ravel(a - b) for one, two in pairs for a, b in zip(one, two, strict=True)]
    )


@each([(5, 3, 2), (6, 2, 3)], PARAMS, DENSITIES)
def test_ordinary_gradient_against_central_differences(shape, activation, density):
    problem = generic(sum(shape), *shape, activation, density)
    scale = 1 + max(np.abs(part).max() for g in gradients(problem) for part in g)
    assert np.abs(errors(problem, 1e-5)).max() <= 1e-6 * scale


def order(problem):
    coarse, fine = (np.linalg.norm(errors(problem, h)) for h in (2e-3, 1e-3))
    return np.log2(coarse / fine)


@each([(6, 2, 3)], SMOOTH, SMOOTH_DENSITIES)
def test_slope_of_the_error_is_two(shape, activation, density):
    problem = generic(sum(shape), *shape, activation, density)
    assert abs(order(problem) - 2) <= 0.1


def test_the_slope_tells_a_wrong_derivative(monkeypatch):
    problem = generic(1, 5, 3, 2)
    right = gradients(problem)
    assert abs(order(problem) - 2) <= 0.1
    wrong = (right[0]._replace(b=right[0].b * 1.0001), right[1])
    monkeypatch.setitem(globals(), "gradients", lambda problem: wrong)
    assert abs(order(problem)) <= 0.1


def test_brute_force_gradients_agree_with_each_other():
    """Central differences and the complex step, of the same definition."""
    problem = generic(2, 3, 2, 2)
    wide = [(W.astype(np.longdouble), b.astype(np.longdouble)) for W, b in problem.layers]
    one = brute.gradient(mean_log_p(problem), wide)
    two = brute.gradient(mean_log_p(problem), wide, 1e-5)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a[0].astype(float), b[0].astype(float), atol=1e-8)
        np.testing.assert_allclose(a[1].astype(float), b[1].astype(float), atol=1e-8)
