"""Context in the group: the laws of y = W z + B (u, 1), against dense matrices W~ = [[W, B], [0, I]]."""

import numpy as np
import pytest
import scipy.linalg

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.core.context import as_bias, joined
from relgrad_np.fitting.gaussian import gaussian_layers, gaussian_log_likelihood
from relgrad_np.fitting.regression import regressed
from relgrad_np.rules.by_name import make_rule

from ..laws.problems import LIBRARIES

D, L = 3, 2
MODEL = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("sech")
NAMED = {"activation": MODEL[0], "density": MODEL[1]}
libraries = pytest.mark.parametrize("library", list(LIBRARIES))
sizes = pytest.mark.parametrize(("N", "c"), [(2, 1), (7, 1), (7, 3), (2, 3), (7, 0)])
IN_THE_GROUP = ("plain", "exponential", "recipe", "scalar", "natural", "group_adam")


def problem(N, c, library="numpy", seed=0):
    rng, to = np.random.default_rng([seed, N, c]), LIBRARIES[library]
    layers = tuple(
        rg.Layer(np.eye(D) + 0.4 * rng.standard_normal((D, D)), rng.standard_normal((D, c + 1)))
        for _ in range(L)
    )
    X, U = rng.standard_normal((N, D)), rng.standard_normal((N, c))
    there = tuple(rg.Layer(to(W), to(b)) for W, b in layers)
    return layers, X, U, there, to(np.concatenate([X, U], axis=1))


def passed(layers, rows):
    tape = rg.forward(layers, rows, MODEL[0])
    return tape, rg.backprop(layers, tape, *MODEL)


def dense(layer):
    """W~, or with a gradient in the place of the layer, its part that is not of the identity."""
    W, B = (to_numpy(x) for x in layer)
    below = np.concatenate([np.zeros((B.shape[1], D)), np.eye(B.shape[1])], axis=1)
    return np.concatenate([np.concatenate([W, B], axis=1), below])


def above(layer):
    return np.concatenate([to_numpy(x) for x in layer], axis=1)


@libraries
@sizes
def test_the_bias_is_that_of_each_row(library, N, c):
    layers, X, U, there, rows = problem(N, c, library)
    Z = X
    for k, (W, B) in enumerate(layers):
        Y = np.stack([W @ z + B @ np.append(u, 1) for z, u in zip(Z, U, strict=True)])
        Z = MODEL[0].sigma(Y) if k < L - 1 else Y
    np.testing.assert_allclose(to_numpy(rg.forward(there, rows, MODEL[0]).Zs[-1]), Z, atol=1e-13)


@libraries
@sizes
def test_relative_is_ordinary_times_the_metric(library, N, c):
    layers, _, _, there, rows = problem(N, c, library)
    G = rg.ordinary_gradient(there, *passed(there, rows))
    R = rg.relative_gradient(there, *passed(there, rows))
    for layer, g, r in zip(layers, G, R, strict=True):
        expected = above(g) @ dense(layer).T @ dense(layer)
        np.testing.assert_allclose(above(r), expected, rtol=1e-11, atol=1e-12)
    inner = sum(np.vdot(above(g), above(r)) for g, r in zip(G, R, strict=True))
    assert inner > 0  # ascent


@sizes
def test_ordinary_is_the_derivative(N, c):
    layers, _, _, _, rows = problem(N, c)
    rng, h = np.random.default_rng(1), 1e-5
    ways = [rg.Layer(*(rng.standard_normal(x.shape) for x in layer)) for layer in layers]

    def value(t):
        moved = [
            rg.Layer(W + t * V, b + t * v) for (W, b), (V, v) in zip(layers, ways, strict=True)
        ]
        return rg.log_likelihood(tuple(moved), rows, *MODEL).mean

    G = rg.ordinary_gradient(layers, *passed(layers, rows))
    slope = sum(np.vdot(above(g), above(way)) for g, way in zip(G, ways, strict=True))
    differences = (8 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12 * h)
    assert abs(differences - slope) <= 1e-7 * (1 + abs(slope))


@libraries
@sizes
@pytest.mark.parametrize("kind", ["plain", "exponential"])
def test_steps_are_dense_ones_tracked_and_undone(library, N, c, kind):
    layers, _, _, there, rows = problem(N, c, library)
    tape, deltas = passed(there, rows)
    steps, G = rg.factors(there, tape, deltas), rg.ordinary_gradient(there, tape, deltas)
    new = rg.apply_step(there, steps, 0.05, kind=kind)
    for layer, g, after in zip(layers, G, new, strict=True):
        xi = np.zeros((D + c + 1, D + c + 1))
        xi[:D] = above(g) @ dense(layer).T
        move = (
            scipy.linalg.expm(0.05 * xi) if kind == "exponential" else np.eye(len(xi)) + 0.05 * xi
        )
        np.testing.assert_allclose(above(after), (move @ dense(layer))[:D], atol=1e-12)
    tracked = rg.track_step(rg.track(there), steps, 0.05, kind=kind)
    np.testing.assert_allclose(to_numpy(tracked.logdet), to_numpy(rg.track(new).logdet), atol=1e-12)
    for before, after in zip(layers, rg.undo_step(new, steps, 0.05, kind=kind), strict=True):
        np.testing.assert_allclose(above(after), above(before), atol=1e-11)


@sizes
def test_a_step_in_a_chart_is_the_dense_one_there(N, c):
    """In the chart u = S (y - M u~) the layer is S W, S (B - M), and the factors' step is its."""
    layers, _, _, _, rows = problem(N, c)
    rng, (tape, deltas) = np.random.default_rng(2), passed(layers, rows)
    charts = [rg.Chart(rng.uniform(0.5, 2, D), rng.standard_normal((D, c + 1))) for _ in layers]
    new = rg.apply_step(
        layers, rg.factors(layers, tape, deltas), 0.05, kind="exponential", charts=tuple(charts)
    )
    for (W, B), (S, M), Y, Delta, after in zip(layers, charts, tape.Ys, deltas, new, strict=True):
        one = np.ones((N, 1)) if isinstance(tape.one, float) else tape.one
        xi = np.zeros((D + c + 1, D + c + 1))
        U, Delta_u = (Y - one @ M.T) * S, Delta / S
        xi[:D] = np.concatenate([Delta_u.T @ U + np.eye(D), Delta_u.T @ one], axis=1)
        inside = dense(rg.Layer(S[:, None] * W, S[:, None] * (B - M)))
        moved = (scipy.linalg.expm(0.05 * xi) @ inside)[:D] / S[:, None]
        moved[:, D:] += M
        np.testing.assert_allclose(above(after), moved, atol=1e-12)


@sizes
@pytest.mark.parametrize("name", [*IN_THE_GROUP, "adam"])
def test_the_path_of_outputs_knows_neither_mixing_nor_linear_effects(N, c, name):
    """x -> M x + C u + a leaves the outputs of every step as they are; not those of Adam on R."""
    layers, X, U, _, rows = problem(N, c)
    rng, rule = np.random.default_rng(3), make_rule(name, None)
    M, C = np.eye(D) + 0.3 * rng.standard_normal((D, D)), rng.standard_normal((D, c + 1))
    shift = C if c else C[:, 0][:, None]
    one = np.concatenate([U, np.ones((N, 1))], axis=1)
    mixed = np.concatenate([X @ M.T + one @ shift.T, U], axis=1)
    W = layers[0].W @ np.linalg.inv(M)
    other = (rg.Layer(W, layers[0].b - W @ shift), *layers[1:])
    outputs = []
    for start, X_n in ((layers, rows), (other, mixed)):
        state = rg.init_state(start, rule)
        for _ in range(4):
            state, info = rg.train_step(state, X_n, **NAMED, rule=rule)
            assert not info.rejected
        outputs.append(rg.forward(state.layers, X_n, MODEL[0]).Zs[-1])
        if rule.tracks:
            np.testing.assert_allclose(
                state.tracked.logdet, rg.track(state.layers).logdet, atol=1e-9
            )
    off = np.abs(outputs[1] - outputs[0]).max()
    assert (off > 1e-6) if name == "adam" else (off < 1e-7), off


def test_with_a_separate_bias_the_path_knows_the_mixing():
    layers, X, U, _, rows = problem(7, 3)
    shift = np.random.default_rng(3).standard_normal((D, 4))
    other = (rg.Layer(layers[0].W, layers[0].b - layers[0].W @ shift), *layers[1:])
    mixed = np.concatenate([X + np.concatenate([U, np.ones((7, 1))], axis=1) @ shift.T, U], axis=1)
    moved = []
    for start, X_n in ((layers, rows), (other, mixed)):
        R = rg.relative_gradient(start, *passed(start, X_n), bias="separate")
        by_input = R[0].W @ np.linalg.inv(start[0].W)  # xi: alike in both if outputs alone matter
        moved.append((by_input, R[0].b - R[0].W @ np.linalg.inv(start[0].W) @ start[0].b))
    np.testing.assert_raises(
        AssertionError, np.testing.assert_allclose, moved[0][1], moved[1][1], atol=1e-6
    )


@pytest.mark.parametrize("name", [*IN_THE_GROUP, "adam"])
def test_no_context_is_the_bias_alone(name):
    """b (D, 1) knows no variable: it moves as b (D,) does."""
    layers, X, _, _, _ = problem(7, 0)
    bare, rule = tuple(rg.Layer(W, b[:, 0]) for W, b in layers), make_rule(name, None)
    states = [rg.init_state(start, rule) for start in (bare, layers)]
    for _ in range(3):
        states = [rg.train_step(state, X, **NAMED, rule=rule)[0] for state in states]
    for (W, b), (V, B) in zip(*(state.layers for state in states), strict=True):
        np.testing.assert_allclose(W, V, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(b, B[:, 0], rtol=1e-12, atol=1e-13)


@libraries
@sizes
def test_samples_are_given_their_context(library, N, c):
    _, X, U, there, rows = problem(N, c, library)
    Z = rg.forward(there, rows, MODEL[0]).Zs[-1]
    context = LIBRARIES[library](U)
    back = rg.inverse(there, joined(there, Z, context), MODEL[0])
    np.testing.assert_allclose(to_numpy(back), X, atol=1e-11)
    drawn, log_p = rg.sample(there, np.random.default_rng(0), N, *MODEL, context=context)
    again = rg.log_likelihood(there, joined(there, drawn, context), *MODEL).per_sample
    np.testing.assert_allclose(to_numpy(log_p), to_numpy(again), atol=1e-10)


def test_one_layer_of_normal_base_is_the_gaussian_regression():
    """In closed form, at which xi~ is 0; a fit from elsewhere comes there."""
    rng = np.random.default_rng(0)
    U = rng.standard_normal((400, 2))
    X = rng.standard_normal((400, D)) @ rng.standard_normal((D, D)) + U @ rng.standard_normal(
        (2, D)
    )
    rows, model = np.concatenate([X, U], axis=1), (rg.activation("identity"), rg.density("normal"))
    one = np.concatenate([U, np.ones((400, 1))], axis=1)
    slopes = np.linalg.lstsq(one, X, rcond=None)[0]  # (3, D), with the mean
    left = X - one @ slopes
    expected = -0.5 * (D * np.log(2 * np.pi * np.e) + np.linalg.slogdet(left.T @ left / 400)[1])
    (closed,) = gaussian_layers(rows, 1, model[0], 2)
    np.testing.assert_allclose(np.linalg.solve(closed.W, -closed.b), slopes.T, atol=1e-12)
    found = rg.log_likelihood((closed,), rows, *model).mean
    assert abs(found - expected) < 1e-12
    assert abs(gaussian_log_likelihood(regressed(rows, 2)[0]) - expected) < 1e-12
    R = rg.relative_gradient(
        (closed,),
        rg.forward((closed,), rows, model[0]),
        rg.backprop((closed,), rg.forward((closed,), rows, model[0]), *model),
    )
    assert np.abs(above(R[0])).max() < 1e-12
    start = rg.init_layers(rng, D, 1, kind="identity", context=2)
    state, rule = rg.init_state(start, rg.Exponential(0.5)), rg.Exponential(0.5)
    for _ in range(300):
        state, _ = rg.train_step(state, rows, activation=model[0], density=model[1], rule=rule)
    assert abs(rg.log_likelihood(state.layers, rows, *model).mean - expected) < 1e-10


def test_a_start_and_a_fit_of_rows_with_context():
    """A scale that depends on u: the fit of a deep net finds what no regression has."""
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (1000, 1))
    x = np.exp(1.5 * u) * rng.standard_normal((1000, 1)) + 2 * u
    rows = np.concatenate([x, u], axis=1)
    act, dens = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("normal")
    start = rg.init_layers(rng, 1, 4, kind="principal", X=rows, activation=act, context=1)
    result = rg.fit(start, rows, act, dens, rng=rng, rule="natural", epochs=10, batch_size=250)
    linear = gaussian_log_likelihood(regressed(rows, 1)[0])
    truth = float(
        np.mean(-0.5 * np.log(2 * np.pi) - 1.5 * u - 0.5 * ((x - 2 * u) / np.exp(1.5 * u)) ** 2)
    )
    assert linear < truth - 0.3
    assert result.history[-1].train > truth - 0.1
    assert all(np.isfinite(result.xi))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda s, X, U: rg.forward(s, X, MODEL[0]),
            r"`X` must have shape \(7, 5\): 3 columns and",
        ),
        (lambda s, X, U: joined(s, X, None), r"`context` \(N, 2\) is needed"),
        (
            lambda s, X, U: joined(s, X, U[:, :1]),
            r"`context` must have shape \(7, 2\), got \(7, 1\)",
        ),
        (
            lambda s, X, U: joined((rg.Layer(np.eye(3), np.zeros(3)),), X, U),
            "`context` needs layers",
        ),
        (lambda s, X, U: rg.sample(s, np.random.default_rng(0), 7, *MODEL), "`context`"),
        (
            lambda s, X, U: rg.forward((s[0], rg.Layer(s[1].W, s[1].b[:, :1])), X, MODEL[0]),
            "`b of layer 1` must have shape",
        ),
        (
            lambda s, X, U: rg.factors(
                s, rg.forward(s, np.c_[X, U], MODEL[0])._replace(one=1.0), (X, X)
            ),
            "`one` must be",
        ),
        (lambda s, X, U: rg.fit(s, X, *MODEL, rng=np.random.default_rng(0)), "`X` must have shape"),
    ],
)
def test_what_does_not_belong_together_is_refused_by_name(call, words):
    layers, X, U, _, _ = problem(7, 2)
    with pytest.raises((ValueError, TypeError), match=words):
        call(layers, X, U)


def test_a_shift_of_outputs_is_the_last_column():
    np.testing.assert_array_equal(as_bias(np.ones(2), np.zeros((2, 3))), [[0, 0, 1], [0, 0, 1]])
