"""The exponential step against 50-digit dense exponentials, and what it shares with the plain one."""

import mpmath
import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.rules.recipe import squared_norm

from ..laws.problems import EPS, generic

shapes = pytest.mark.parametrize("shape", [(4, 7, 2), (9, 4, 3), (2, 6, 1)])
seeds = pytest.mark.parametrize("seed", range(2))


def setting(seed, shape):
    problem = generic(seed, *shape)
    tape = rg.forward(problem.layers, problem.X, problem.activation)
    deltas = rg.backprop(problem.layers, tape, *problem.model)
    return problem, rg.factors(problem.layers, tape, deltas)


def augmented_xi(f):
    """xi~ = [[Delta' Y + I, Delta' 1], [0, 0]] in 50 digits."""
    Delta, Y = mpmath.matrix(f.Delta.tolist()), mpmath.matrix(f.Y.tolist())
    N, D = f.Y.shape
    xi, g = Delta.T * Y + mpmath.eye(D), Delta.T * mpmath.ones(N, 1)
    made = mpmath.zeros(D + 1, D + 1)
    made[:D, :D], made[:D, D] = xi, g
    return made


def augmented(layer):
    D = len(layer.b)
    made = mpmath.zeros(D + 1, D + 1)
    made[:D, :D] = mpmath.matrix(layer.W.tolist())
    made[:D, D] = mpmath.matrix(layer.b.tolist())
    made[D, D] = 1
    return made


def to_layer(matrix):
    dense = np.array(matrix.tolist(), dtype=float)
    return rg.Layer(dense[:-1, :-1], dense[:-1, -1])


def scales(layer, f, eta):
    """S: the formula with absolute values, inside phi1 and e^eta too; and A, u as they are made.

    A = Y @ W is rounded by eps |Y| |W|, and goes through the same factors: that is inherited.
    """
    Delta, Y, W, b = (np.abs(x) for x in (f.Delta, f.Y, layer.W, layer.b))
    K = eta * (Y @ Delta.T + np.eye(len(Y)))
    through = np.exp(eta) * np.real(
        np.asarray(mpmath.expm(mpmath.matrix(K.tolist())).tolist(), float)
    )
    S_W = np.exp(eta) * W + eta * Delta.T @ through @ (Y @ W)
    S_b = np.exp(eta) * b + eta * Delta.T @ through @ (Y @ b + 1)
    return float(S_W.max()), float(S_b.max())


def dense_exponential_step(layer, f, eta):
    with mpmath.workdps(50):
        return to_layer(mpmath.expm(augmented_xi(f) * mpmath.mpf(eta)) * augmented(layer))


def size_of_xi(f):
    with mpmath.workdps(20):
        return float(mpmath.mnorm(augmented_xi(f), 1))


@shapes
@seeds
@pytest.mark.parametrize("size", [1.0, 0.3, 0.01])
def test_exponential_step_is_the_50_digit_dense_one(shape, seed, size):
    """For |eta xi~|_1 up to 1, to 64 eps S."""
    problem, fs = setting(seed, shape)
    etas = tuple(size / size_of_xi(f) for f in fs)
    new = rg.apply_step(problem.layers, fs, etas, kind="exponential")
    for layer, f, eta, (W, b) in zip(problem.layers, fs, etas, new, strict=True):
        true = dense_exponential_step(layer, f, eta)
        S_W, S_b = scales(layer, f, eta)
        assert np.abs(W - true.W).max() <= 64 * EPS * S_W
        assert np.abs(b - true.b).max() <= 64 * EPS * S_b


@pytest.mark.parametrize("part", ["phi1 of K", "e^eta", "the bias's own phi1", "xi without I"])
def test_a_wrong_exponential_step_is_rejected(part):
    problem, fs = setting(0, (4, 7, 2))
    layer, f = problem.layers[0], fs[0]
    eta = 0.3 / size_of_xi(f)
    W, b = rg.apply_step(problem.layers[:1], (f,), eta, kind="exponential")[0]
    plain = rg.apply_step(problem.layers[:1], (f,), eta)[0]
    W, b = {
        "phi1 of K": (np.exp(eta) * layer.W + eta * np.exp(eta) * f.Delta.T @ f.A, b),
        "e^eta": (W * (1 + eta) / np.exp(eta), b),
        "the bias's own phi1": (W, b - eta * f.Delta.sum(axis=0) * 0.01),
        "xi without I": (plain.W - eta * layer.W, plain.b),
    }[part]
    true = dense_exponential_step(layer, f, eta)
    S_W, S_b = scales(layer, f, eta)
    assert np.abs(W - true.W).max() > 64 * EPS * S_W or np.abs(b - true.b).max() > 64 * EPS * S_b


@shapes
@pytest.mark.parametrize("charted", [False, True])
def test_its_first_order_part_is_the_plain_step(shape, charted):
    """Their difference is of second order in eta: slope 2 over three halvings."""
    problem, fs = setting(3, shape)
    D = shape[1]
    if charted:
        chart = rg.Chart(np.linspace(0.5, 2, D), np.linspace(-1, 1, D))
        fs = rg.in_charts(problem.layers, fs, (chart,) * len(fs))
    differences = []
    for eta in (4e-4, 2e-4, 1e-4):
        one, two = (
            rg.apply_step(problem.layers, fs, eta, kind=kind) for kind in ("plain", "exponential")
        )
        pairs = zip(one, two, strict=True)
        differences.append(
            max(max(np.abs(a.W - b.W).max(), np.abs(a.b - b.b).max()) for a, b in pairs)
        )
    slopes = np.diff(np.log(differences)) / -np.log(2)
    np.testing.assert_allclose(slopes, 2, atol=0.02)


def test_apply_step_brings_plain_factors_into_charts():
    problem, fs = setting(2, (4, 7, 2))
    chart = rg.Chart(np.linspace(0.5, 2, 7), np.linspace(-1, 1, 7))
    one = rg.apply_step(problem.layers, fs, 0.01, charts=(chart,) * 2)
    two = rg.apply_step(problem.layers, rg.in_charts(problem.layers, fs, (chart,) * 2), 0.01)
    assert all(
        np.array_equal(a.W, b.W) and np.array_equal(a.b, b.b) for a, b in zip(one, two, strict=True)
    )


def gained(seed, shape):
    """A problem, and factors in charts whose units take different shares of the step."""
    problem, fs = setting(seed, shape)
    D = shape[1]
    gain, chart = np.linspace(0.2, 1.0, D), rg.Chart(np.linspace(0.5, 2, D), np.linspace(-1, 1, D))
    own = tuple(f._replace(Delta=f.Delta * gain, gain=gain, K=None) for f in fs)
    return problem, gain, chart, fs, rg.in_charts(problem.layers, own, (chart,) * len(fs))


@shapes
@pytest.mark.parametrize("kind", ["plain", "exponential"])
def test_a_gain_scales_the_rows_of_the_move(shape, kind):
    """(W~_u+ - W~_u) / eta -> diag(gain) xi~_u W~_u: the error is of first order in eta."""
    problem, gain, (S, m), bare, fs = gained(1, shape)
    errors = []
    for eta in (4e-4, 2e-4, 1e-4):
        new = rg.apply_step(problem.layers, fs, eta, kind=kind)
        worst = 0.0
        for (W, b), (W_1, b_1), f in zip(problem.layers, new, bare, strict=True):
            U, Delta_u, W_u, b_u = (f.Y - m) * S, f.Delta / S, S[:, None] * W, S * (b - m)
            move_W = gain[:, None] * (Delta_u.T @ (U @ W_u) + W_u) / S[:, None]
            move_b = gain * (Delta_u.T @ (U @ b_u + 1) + b_u) / S
            worst = max(worst, np.abs((W_1 - W) / eta - move_W).max())
            worst = max(worst, np.abs((b_1 - b) / eta - move_b).max())
        errors.append(worst)
    np.testing.assert_allclose(np.diff(np.log(errors)) / -np.log(2), 1, atol=0.02)


@shapes
@pytest.mark.parametrize("kind", ["plain", "exponential"])
def test_with_a_gain_tracking_and_undo_stay_exact(shape, kind):
    problem, gain, _, _, fs = gained(2, shape)
    new = rg.apply_step(problem.layers, fs, 0.02, kind=kind)
    tracked = rg.track_step(rg.track(problem.layers, inverse=True), fs, 0.02, kind=kind)
    back = rg.undo_step(new, fs, 0.02, kind=kind)
    for k, ((W, _), (W_0, b_0), (W_1, b_1)) in enumerate(
        zip(new, problem.layers, back, strict=True)
    ):
        sign, logdet = np.linalg.slogdet(W)
        assert (tracked.sign[k], abs(tracked.logdet[k] - logdet) < 1e-12) == (sign, True)
        np.testing.assert_allclose(tracked.inverse[k], np.linalg.inv(W), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(W_1, W_0, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(b_1, b_0, rtol=1e-11, atol=1e-12)
    wrong = tuple(f._replace(gain=np.full_like(gain, gain.mean() * 1.1)) for f in fs)
    off = rg.track_step(rg.track(problem.layers), wrong, 0.02, kind=kind)
    assert np.abs(off.logdet - tracked.logdet).min() > 1e-4


@shapes
def test_the_squared_norm_weighs_rows_by_their_gain(shape):
    _, gain, (S, m), bare, fs = gained(3, shape)
    for f, own in zip(bare, fs, strict=True):
        xi = (f.Delta / S).T @ ((f.Y - m) * S) + np.eye(shape[1])
        true = np.sum(gain[:, None] * xi**2)
        assert float(squared_norm(own, S)) == pytest.approx(true, rel=1e-12)
