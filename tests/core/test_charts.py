"""Charts are another metric on the same group: dense steps, tracking, ascent and norms hold in them."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.oracle import brute
from relgrad_np.rules.recipe import squared_norm

from ..laws.problems import EPS, generic

SHAPES = [(4, 7, 2), (9, 4, 3)]
shapes = pytest.mark.parametrize("shape", SHAPES)
kinds = pytest.mark.parametrize("kind", ["plain", "exponential"])


def setting(seed, shape):
    problem = generic(seed, *shape)
    tape = rg.forward(problem.layers, problem.X, problem.activation)
    deltas = rg.backprop(problem.layers, tape, *problem.model)
    rng = np.random.default_rng(seed)
    D = shape[1]
    charts = tuple(
        rg.Chart(2.0 ** rng.uniform(-1, 1, D), rng.uniform(-2, 2, D)) for _ in problem.layers
    )
    return problem, tape, deltas, charts


def charted(problem, tape, deltas, charts, etas, kind):
    fs = rg.in_charts(problem.layers, rg.factors(problem.layers, tape, deltas), charts)
    return rg.apply_step(problem.layers, fs, etas, kind=kind), fs


def dense(layer, Y, Delta, Z, chart, eta, kind):
    """The definition: to the chart, the dense step there in long double, and back."""
    W, b, Y, Delta, S, m = (np.asarray(x, dtype=np.longdouble) for x in (*layer, Y, Delta, *chart))
    W_u, b_u = S[:, None] * W, S * (b - m)
    U, Delta_u = S * (Y - m), Delta / S
    R_W, R_b = Delta_u.T @ (U @ W_u) + W_u, Delta_u.T @ (U @ b_u + 1) + b_u
    W_u, b_u = brute.step(W_u, b_u, R_W, R_b, eta, kind)
    return W_u / S[:, None], b_u / S + m


@shapes
@kinds
@pytest.mark.parametrize("seed", range(4))
def test_a_step_in_a_chart_is_the_dense_group_step(shape, kind, seed):
    problem, tape, deltas, charts = setting(seed, shape)
    etas = (0.01, 0.02, 0.03)[: len(problem.layers)]
    new, _ = charted(problem, tape, deltas, charts, etas, kind)
    for k, (W, b) in enumerate(new):
        true = dense(problem.layers[k], tape.Ys[k], deltas[k], None, charts[k], etas[k], kind)
        size = 1 + max(np.abs(x).max() for x in (*true, tape.Ys[k] @ problem.layers[k].W))
        size *= 1 + np.abs(deltas[k]).sum()
        assert np.abs(W - true[0]).max() < 64 * EPS * 16 * size
        assert np.abs(b - true[1]).max() < 64 * EPS * 16 * size


@shapes
def test_the_trivial_chart_is_the_papers_step(shape):
    problem, tape, deltas, _ = setting(1, shape)
    D = shape[1]
    trivial = tuple(rg.Chart(np.ones(D), np.zeros(D)) for _ in problem.layers)
    new, _ = charted(problem, tape, deltas, trivial, 0.01, "plain")
    plain = rg.apply_step(problem.layers, rg.factors(problem.layers, tape, deltas), 0.01)
    for a, b in zip(new, plain, strict=True):
        assert np.array_equal(a.W, b.W)
        assert np.array_equal(a.b, b.b)


@shapes
@kinds
def test_tracking_holds_in_a_chart(shape, kind):
    problem, tape, deltas, charts = setting(2, shape)
    new, fs = charted(problem, tape, deltas, charts, 0.02, kind)
    tracked = rg.track_step(rg.track(problem.layers, inverse=True), fs, 0.02, kind=kind)
    for k, (W, _) in enumerate(new):
        sign, logdet = np.linalg.slogdet(W)
        assert abs(tracked.logdet[k] - logdet) < 1e-12
        assert tracked.sign[k] == sign
        np.testing.assert_allclose(tracked.inverse[k], np.linalg.inv(W), rtol=1e-9, atol=1e-11)


def mean_log_p(problem, layers):
    return float(rg.log_likelihood(layers, problem.X, *problem.model).mean)


@shapes
@kinds
def test_a_step_in_a_chart_ascends_by_the_squared_norm(shape, kind):
    """d mean log p / d eta = sum_k |xi_u|^2 + |G_b,u|^2, each layer in its chart."""
    problem, tape, deltas, charts = setting(3, shape)
    h = 1e-6
    new, fs = charted(problem, tape, deltas, charts, h, kind)
    slope = (mean_log_p(problem, new) - mean_log_p(problem, problem.layers)) / h
    expected = sum(
        float(squared_norm(f, S)) + np.sum((Delta.sum(axis=0) / S) ** 2)
        for f, (S, _), Delta in zip(fs, charts, deltas, strict=True)
    )
    assert expected > 0
    assert slope == pytest.approx(expected, rel=1e-3)


@shapes
def test_squared_norm_is_the_dense_one(shape):
    problem, tape, deltas, charts = setting(4, shape)
    fs = rg.in_charts(problem.layers, rg.factors(problem.layers, tape, deltas), charts)
    for f, Y, Delta, (S, m) in zip(fs, tape.Ys, deltas, charts, strict=True):
        xi = (Delta / S).T @ ((Y - m) * S) + np.eye(shape[1])
        assert float(squared_norm(f, S)) == pytest.approx(np.sum(xi**2), rel=1e-12)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda S, m: rg.Chart(1 / S, m),
        lambda S, m: rg.Chart(S, -m),
        lambda S, m: rg.Chart(S, 0 * m),
        lambda S, m: rg.Chart(S**2, m),
    ],
)
def test_a_wrong_chart_is_seen(wrong):
    problem, tape, deltas, charts = setting(5, SHAPES[0])
    new, _ = charted(problem, tape, deltas, tuple(wrong(*c) for c in charts), 0.02, "plain")
    true = dense(problem.layers[0], tape.Ys[0], deltas[0], None, charts[0], 0.02, "plain")
    assert np.abs(new[0].W - true[0]).max() + np.abs(new[0].b - true[1]).max() > 1e-6
