"""Anchors with a closed form: one layer with normal base is the Gaussian fit."""

import functools
import math

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.datasets import gaussian_log_likelihood

MODEL = rg.activation("identity"), rg.density("normal")


def correlated(seed=0, N=400, D=4):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((N, D)) @ rng.uniform(-1, 1, (D, D)).T + rng.uniform(-1, 1, D)


def moments(mu, D):
    """2 D samples of mean mu and covariance I, exactly (1/N)."""
    return np.asarray(mu) + math.sqrt(D) * np.concatenate([np.eye(D), -np.eye(D)])


@pytest.mark.parametrize("rule", ["plain", "exponential"])
def test_full_batch_fit_reaches_the_closed_form(rule):
    """From the identity, constant eta: to 1e-10, not at once; and there R = 0."""
    X = correlated()
    best = gaussian_log_likelihood(X, X).mean()
    gaps = []

    def watch(epoch, state):
        gaps.append(best - float(rg.log_likelihood(state.layers, X, *MODEL).mean))
        return gaps[-1] < 1e-10 or None

    start = rg.init_layers(np.random.default_rng(0), 4, 1, kind="identity")
    result = rg.fit(
        start, X, *MODEL, rule=rule, learning_rate=0.1, schedule="constant", batch_size=len(X),
        epochs=2000, rng=np.random.default_rng(0), callbacks=[watch],
    )  # fmt: skip
    assert result.stop_reason == "callback"
    assert 20 < len(gaps) < 2000
    assert abs(gaps[-1]) < 1e-10
    assert gaps[0] > 0.1
    # run on to where R vanishes
    state = rg.init_state(result.layers, rg.Plain(0.2))
    for _ in range(300):
        state, _ = rg.train_step(
            state, X, activation=MODEL[0], density=MODEL[1], rule=rg.Plain(0.2)
        )
    tape = rg.forward(state.layers, X, MODEL[0])
    R = rg.relative_gradient(state.layers, tape, rg.backprop(state.layers, tape, *MODEL))[0]
    assert max(np.abs(R.W).max(), np.abs(R.b).max()) < 1e-12
    W, b = state.layers[0]
    Sigma, mu = np.cov(X.T, bias=True), X.mean(axis=0)
    np.testing.assert_allclose(W.T @ W, np.linalg.inv(Sigma), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(b, -W @ mu, atol=1e-10)


def ascend(X, bias, eta, steps):
    """Plain ascent along the relative gradient of this bias rule."""
    layers = rg.init_layers(np.random.default_rng(0), X.shape[1], 1, kind="identity")
    for _ in range(steps):
        tape = rg.forward(layers, X, MODEL[0])
        deltas = rg.backprop(layers, tape, *MODEL)
        R = rg.relative_gradient(layers, tape, deltas, bias=bias)[0]
        layers = (rg.Layer(layers[0].W + eta * R.W, layers[0].b + eta * R.b),)
    return float(rg.log_likelihood(layers, X, *MODEL).mean)


def test_the_published_bias_rule_misses_maximum_likelihood():
    """It ends lower by log(1 + mu' inv(Sigma) mu / 4) / 2: -6.8632 instead of -5.6758."""
    X = moments([3.0, -2.0, 1.0, 5.0], 4)
    best = -2 * math.log(2 * math.pi) - 2
    assert ascend(X, "augmented", 0.05, 800) == pytest.approx(best, abs=1e-9)
    published = ascend(X, "published", 0.05, 1000)
    assert published == pytest.approx(best - 0.5 * math.log(1 + 39 / 4), abs=1e-9)
    assert (round(best, 4), round(published, 4)) == (-5.6758, -6.8632)


def test_the_published_gap_for_a_general_covariance():
    X = correlated(3) + 0.7
    mu, Sigma = X.mean(axis=0), np.cov(X.T, bias=True)
    best = float(gaussian_log_likelihood(X, X).mean())
    gap = 0.5 * math.log(1 + mu @ np.linalg.solve(Sigma, mu) / 4)
    assert gap > 0.05
    assert ascend(X, "published", 0.1, 800) == pytest.approx(best - gap, abs=1e-8)


def test_the_published_rule_is_right_where_the_mean_is_zero():
    X = correlated(4)
    X = X - X.mean(axis=0)
    best = float(gaussian_log_likelihood(X, X).mean())
    assert ascend(X, "published", 0.2, 400) == pytest.approx(best, abs=1e-9)


def test_one_layer_with_a_super_gaussian_base_unmixes():
    """Infomax ICA: independent Laplace sources are found up to order, sign and scale."""
    rng = np.random.default_rng(0)
    S = rng.laplace(size=(4000, 3))
    M = rng.uniform(-1, 1, (3, 3)) + 2 * np.eye(3)
    start = rg.init_layers(rng, 3, 1)
    model = rg.activation("identity"), rg.density("sech")
    result = rg.fit(start, S @ M.T, *model, learning_rate=0.1, epochs=60, rng=rng)
    P = np.abs(result.layers[0].W @ M)
    P /= P.max(axis=1, keepdims=True)
    assert np.all(np.sort(P, axis=1)[:, :2] < 0.12)
    assert len(set(P.argmax(axis=1))) == 3


LIGHT = {  # sources lighter than the Gaussian, (N, 3)
    "uniform": lambda rng, N: rng.uniform(-1, 1, (N, 3)),
    "sine": lambda rng, N: np.sin(rng.uniform(0, 2 * np.pi, (N, 3))),
    "levels": lambda rng, N: rng.integers(0, 3, (N, 3)).astype(float),
}


@functools.cache
def unmixed(kind, density, ascend, N=1500):
    """How well one layer finds the worst of three mixed sources: its largest |correlation|."""
    rng = np.random.default_rng(0)
    S = LIGHT[kind](rng, N)
    X = S @ (rng.uniform(-1, 1, (3, 3)) + np.eye(3)).T + [1.0, -2.0, 30.0]
    identity = rg.activation("identity")
    start = rg.init_layers(rng, 3, 1, kind="whiten", X=X, activation=identity)
    W = ascend(start, X, identity, rg.density(density)).layers[0].W
    alike = np.abs(np.corrcoef((X @ W.T).T, S.T)[:3, 3:])  # output, source
    found = alike.max(axis=0) if len(set(alike.argmax(axis=0))) == 3 else np.zeros(3)
    return found.min()


def by_fit(start, X, *model):
    return rg.fit(start, X, *model, epochs=20, rng=np.random.default_rng(1))


@pytest.mark.parametrize("ascend", [by_fit, rg.newton])
def test_one_layer_with_the_quartic_base_unmixes_what_is_lighter_than_the_gaussian(ascend):
    """Three uniform sources, by the default rule and by second order; sech mixes them."""
    assert unmixed("uniform", "quartic", ascend) > 0.99
    assert unmixed("uniform", "sech", ascend) < 0.9


@pytest.mark.parametrize("kind", LIGHT)
@pytest.mark.parametrize("density", ["logistic", "laplace", "sech", "student_t"])
def test_of_the_bases_only_the_quartic_unmixes_sines_and_levels(kind, density):
    assert unmixed(kind, "quartic", rg.newton) > 0.99
    assert unmixed(kind, density, rg.newton) < 0.9
