"""Activations and densities travel: pickled by name and parameters, parts of one's own by reference."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np import extend

ACTIVATIONS = {
    "smooth_leaky_relu": {"alpha": 0.2},
    "leaky_tanh": {"alpha": 0.7, "beta": 0.2},
    "identity": {},
    "softplus": {},
    "elu": {"alpha": 0.5},
}
DENSITIES = {
    "normal": {}, "logistic": {}, "laplace": {}, "sech": {}, "quartic": {},
    "student_t": {"nu": 3.0}, "multivariate_t": {"nu": 4.0},
}  # fmt: skip
Y = np.linspace(-3, 3, 12).reshape(3, 4)


def again(part):
    return pickle.loads(pickle.dumps(part))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_computes_the_same(name):
    one = rg.activation(name, **ACTIVATIONS[name])
    two = again(one)
    assert (two.name, two.params, two.onto) == (one.name, one.params, one.onto)
    for f in ("sigma", "dsigma", "log_dsigma", "dlog_dsigma"):
        np.testing.assert_array_equal(getattr(two, f)(Y), getattr(one, f)(Y))
    np.testing.assert_array_equal(two.inverse(one.sigma(Y)), one.inverse(one.sigma(Y)))


@pytest.mark.parametrize("name", DENSITIES)
def test_a_density_computes_and_draws_the_same(name):
    one = rg.density(name, **DENSITIES[name])
    two = again(one)
    assert (two.name, two.params) == (one.name, one.params)
    for f in ("log_prob", "score", *(("dscore",) if name != "multivariate_t" else ())):
        np.testing.assert_array_equal(getattr(two, f)(Y), getattr(one, f)(Y))
    draws = (part.sample(np.random.default_rng(0), (5, 4)) for part in (one, two))
    np.testing.assert_array_equal(*draws)


def doubled(z):
    return -2 * z


def test_a_function_that_was_replaced_is_not_taken_for_the_packages():
    """The name says normal, the score does not: what travels is the function, not the name."""
    other = again(replace(rg.density("normal"), score=doubled))
    np.testing.assert_array_equal(other.score(Y), -2 * Y)
    np.testing.assert_array_equal(other.log_prob(Y), rg.density("normal").log_prob(Y))


def log_prob(xp, z):
    return -z - xp.exp(-z)


def score(xp, z):
    return xp.exp(-z) - 1


def draw(rng, shape):
    return rng.gumbel(size=shape)


def test_a_density_of_ones_own_travels_by_reference():
    gumbel = extend.density("gumbel", log_prob=log_prob, score=score, sample=draw)
    np.testing.assert_array_equal(again(gumbel).score(Y), gumbel.score(Y))
