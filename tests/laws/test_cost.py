"""Cost, counted in products and not by a clock; and no conversion on the way."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.rules.by_name import make_rule

from . import recording
from .problems import generic

N, D, L = 5, 11, 3
BIG = D * D


def products():
    return [(a, b) for name, a, b in recording.LOG if name == "matmul"]


def linear_algebra():
    return [(name, shape) for name, shape, _ in recording.LOG if name != "matmul"]


def cubic(log):
    """Products of two (D, D) matrices."""
    return [pair for pair in log if pair == ((D, D), (D, D))]


def large(log):
    """Products of the size N D^2."""
    sizes = [(a[0] if len(a) > 1 else 1, a[-1], b[-1] if len(b) > 1 else 1) for a, b in log]
    return [size for size in sizes if sorted(size) == sorted((N, D, D))]


@pytest.fixture
def problem():
    return generic(7, N, D, L)


@pytest.fixture
def recorded(problem):
    layers, X = recording.record(problem.layers, problem.X)
    return problem._replace(layers=layers, X=X)


def passes(p):
    tape = rg.forward(p.layers, p.X, p.activation)
    return tape, rg.backprop(p.layers, tape, *p.model)


def test_forward_and_backprop(recorded):
    passes(recorded)
    assert len(large(products())) == 2 * L - 1
    assert not cubic(products())
    assert not linear_algebra()


@pytest.mark.parametrize(("side", "count"), [("output", 2), ("input", 3)])
@pytest.mark.parametrize("bias", ["augmented", "separate"])
def test_relative_gradient_is_quadratic(recorded, side, bias, count):
    tape, deltas = passes(recorded)
    recording.LOG.clear()
    rg.relative_gradient(recorded.layers, tape, deltas, side=side, bias=bias)
    assert len(large(products())) == count * L
    assert not cubic(products())
    assert not linear_algebra()


def test_ordinary_gradient_inverts(recorded):
    tape, deltas = passes(recorded)
    recording.LOG.clear()
    with pytest.raises(AssertionError, match="implicit conversion"):  # it reads the condition
        rg.ordinary_gradient(recorded.layers, tape, deltas)
    assert linear_algebra() == [("inv", (D, D))]


@pytest.mark.parametrize(
    ("rule", "linalg"),
    [
        (rg.Plain(0.01), [("slogdet", (N, N))] * L),
        (rg.Exponential(0.01), [("trace", (N, N))] * L),
        (rg.Recipe(kind="plain"), [("slogdet", (N, N))] * L),
        (rg.Adam(0.01), []),
    ],
)
def test_train_step_is_quadratic(recorded, rule, linalg):
    state = rg.init_state(recorded.layers, rule)
    recording.LOG.clear()
    options = {"activation": recorded.activation, "density": recorded.density, "rule": rule}
    state, info = rg.train_step(state, recorded.X, **options)
    assert len(large(products())) == 4 * L - 1
    assert not cubic(products())
    assert linear_algebra() == linalg  # of the batch size, never of D: no inverse, no slogdet(W)
    assert info.eta[0].shape == ()


@pytest.mark.parametrize("rule", [rg.Plain(0.01), rg.Exponential(0.01)])
def test_an_untracked_step_has_no_determinant_at_all(recorded, rule):
    state = rg.State(recorded.layers, (), None, 0)
    recording.LOG.clear()
    options = {"activation": recorded.activation, "density": recorded.density, "rule": rule}
    rg.train_step(state, recorded.X, **options)
    assert not linear_algebra()


@pytest.mark.parametrize("kind", ["plain", "exponential"])
def test_tracking_the_inverse_is_quadratic(problem, kind):
    layers, X = recording.record(problem.layers, problem.X)
    tape, deltas = passes(problem._replace(layers=layers, X=X))
    fs = rg.factors(layers, tape, deltas)
    tracked = rg.track(problem.layers, inverse=True)  # the one cubic call, before the recording
    wrapped = rg.Tracked(*(recording.wrap(part) for part in tracked))
    recording.LOG.clear()
    if kind == "exponential":  # without a bound phi1 reads the size of K
        with pytest.raises(AssertionError, match="implicit conversion"):
            rg.track_step(wrapped, fs, 0.01, kind=kind)
        return
    rg.track_step(wrapped, fs, 0.01, kind=kind)
    assert len(large(products())) == 2 * L
    assert not cubic(products())
    assert linear_algebra() == [("slogdet", (N, N)), ("solve", (N, N))] * L


def test_large_batches_fall_back_to_the_dense_form():
    p = generic(7, 13, 4, 3)
    layers, X = recording.record(p.layers, p.X)
    tape, deltas = passes(p._replace(layers=layers, X=X))
    assert all(f.K.shape == (4, 4) for f in rg.factors(layers, tape, deltas))


def test_the_recorder_sees_a_cubic_product(recorded):
    W = recorded.layers[0].W
    W @ W
    recording.NAMESPACE.linalg.inv(W)
    assert cubic(products())
    assert linear_algebra() == [("inv", (D, D))]


@pytest.mark.parametrize(
    ("name", "most"),
    [("plain", 1.011), ("scalar", 1.011), ("exponential", 1.018), ("recipe", 1.018)],
)
def test_ten_variables_of_context_cost_two_percent_at_most(name, most):
    """Multiplications of the products of a step, D = 784, N = 100; no product of two D x D."""
    D, N = 784, 100
    counted = {}
    for c in (0, 10):
        shape = (D, c + 1) if c else D
        rng = np.random.default_rng(0)
        layers = tuple(
            rg.Layer(np.eye(D, dtype="f4"), rng.standard_normal(shape).astype("f4"))
            for _ in range(2)
        )
        X = rng.standard_normal((N, D + c)).astype("f4")
        rule, model = make_rule(name, None), (rg.activation("leaky_tanh"), rg.density("sech"))
        state = rg.init_state(layers, rule)
        state, X = recording.wrap((state, X))
        recording.LOG.clear()
        rg.train_step(state, X, activation=model[0], density=model[1], rule=rule)
        sizes = [
            (a[0] if len(a) > 1 else 1) * a[-1] * (b[-1] if len(b) > 1 else 1)
            for a, b in products()
        ]
        assert ((D, D), (D, D)) not in products()
        counted[c] = sum(sizes)
    print(name, counted)
    assert 1 < counted[10] / counted[0] <= most
