"""Adam in the group: its definition, what it keeps that Adam on R loses, and what it is for."""

import math
from dataclasses import replace

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.oracle import brute

from ..laws.problems import EPS, generic
from .test_natural import drawn, steps
from .test_recipe import mixed_and_not

SHAPES = [(9, 4, 3), (5, 2, 4), (4, 7, 2)]
shapes = pytest.mark.parametrize("shape", SHAPES)


def by_hand(problem, batches, rule, mistake=None):
    """Layers after the steps, from the definitions: loops over elements, `expm` in long double."""
    layers = list(problem.layers)
    D = len(layers[0].b)
    m, v = np.zeros((2, len(layers), D, D + 1))
    for t, X in enumerate(batches, 1):
        Zs, Ys = brute.forward(layers, X, problem.activation)
        tape = rg.Tape(tuple(Zs), tuple(Ys))
        deltas = rg.backprop(tuple(layers), tape, *problem.model)
        new = []
        for k, (W, b) in enumerate(layers):
            direction = np.zeros((D, D + 1))
            for i in range(D):
                for j in range(D + 1):
                    output = Ys[k][:, j] if j < D else np.ones(len(X))
                    g = sum(deltas[k][:, i] * output) + (i == j) * (mistake != "no identity")
                    m[k, i, j] = rule.beta1 * m[k, i, j] + (1 - rule.beta1) * g
                    v[k, i, j] = rule.beta2 * v[k, i, j] + (1 - rule.beta2) * g * g
                    m_hat, v_hat = (
                        m[k, i, j] / (1 - rule.beta1**t),
                        v[k, i, j] / (1 - rule.beta2**t),
                    )
                    if mistake == "no correction":
                        m_hat, v_hat = m[k, i, j], v[k, i, j]
                    direction[i, j] = m_hat / (math.sqrt(v_hat) + rule.epsilon)
            cap = math.inf if mistake == "no cap" else rule.tau / np.linalg.norm(direction)
            eta = min(rule.learning_rate, cap)
            M, move = direction[:, :-1], direction[:, -1]
            if mistake == "exchanged":
                M = M.T
            wide = [np.asarray(x, dtype=np.longdouble) for x in (W, b, M @ W, M @ b + move)]
            kind = "plain" if mistake == "plain" else "exponential"
            stepped = brute.step(*wide, eta, kind)
            new.append(rg.Layer(*(np.asarray(x, dtype=float) for x in stepped)))
        layers = new
    return layers


def gap(found, true):
    pairs = [
        (to_numpy(x), y)
        for one, two in zip(found, true, strict=True)
        for x, y in zip(one, two, strict=True)
    ]
    return max(np.abs(x - y).max() / (1 + np.abs(y).max()) for x, y in pairs)


@shapes
@pytest.mark.parametrize("rate", [0.01, 0.3])
def test_the_rule_is_its_definition(shape, rate):
    """Five steps, the cap without effect (0.01) and with it; and planted mistakes are others."""
    problem, rule = generic(3, *shape), rg.GroupAdam(rate, beta1=0.8, beta2=0.95)
    batches = drawn(problem)
    true = by_hand(problem, batches, rule)
    for library in ("strict", "numpy"):
        state, infos = steps(problem, rule, batches, library)
        assert gap(state.layers, true) < 1e-9, library
    capped = [float(eta) < rate for info in infos for eta in info.eta]
    assert any(capped) == all(capped[: len(problem.layers)]) == (rate == 0.3)
    mistakes = ["no identity", "exchanged", "plain"]
    mistakes += ["no cap"] if rate == 0.3 else ["no correction"]  # the cap undoes a mere factor
    for mistake in mistakes:
        assert gap(state.layers, by_hand(problem, batches, rule, mistake)) > 1e-5, mistake


def test_it_is_not_adam_on_R():
    problem = generic(3, 9, 4, 2)
    batches = drawn(problem)
    one, _ = steps(problem, rg.GroupAdam(0.01), batches)
    two, _ = steps(problem, rg.Adam(0.01), batches)
    assert gap(one.layers, two.layers) > 1e-2


def test_a_hundred_steps_do_not_depend_on_how_the_data_are_mixed():
    """Of Adam on R they do: `test_recipe.test_with_adam_they_do`."""
    one, two = mixed_and_not(rg.GroupAdam(0.003))
    assert np.abs(one - two).max() < 1e-8 * max(1, np.abs(one).max())


@shapes
@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_log_det_is_known_and_the_last_step_can_be_undone(shape, rate):
    problem, rule = generic(5, *shape), rg.GroupAdam(rate)
    batches = drawn(problem, 20)
    before, _ = steps(problem, rule, batches[:-1])
    state, infos = steps(problem, rule, batches)
    exact = rg.track(state.layers)
    assert np.abs(state.tracked.logdet - exact.logdet).max() < 1e-9
    assert np.array_equal(state.tracked.sign, exact.sign)
    back = rg.undo_step(state.layers, infos[-1].directions, infos[-1].eta, kind=rule.kind)
    assert gap(back, before.layers) < 1e-9
    assert gap(back, state.layers) > 1e-4


def test_the_inverse_is_tracked():
    problem, rule = generic(5, 9, 4, 2), rg.GroupAdam()
    state = rg.init_state(problem.layers, rule, inverse=True)
    for X in drawn(problem, 30):
        state, _ = rg.train_step(
            state, X, activation=problem.activation, density=problem.density, rule=rule
        )
    for (W, _), V in zip(state.layers, state.tracked.inverse, strict=True):
        assert np.abs(V @ W - np.eye(4)).max() < 1e-10


@pytest.mark.parametrize("eta", [0.01, 1e6])
def test_no_step_is_larger_than_it_may_be(eta):
    """|eta d| <= tau: W~+ W~^-1 = exp(eta d) has singular values in [e^-tau, e^tau]."""
    problem = generic(4, 8, 5, 3, "leaky_tanh", "sech")
    problem = problem._replace(X=50 * problem.X)
    state, _ = steps(problem, rg.GroupAdam(eta), [problem.X])
    for (W, _), (W_0, _) in zip(state.layers, problem.layers, strict=True):
        s = np.linalg.svd(W @ np.linalg.inv(W_0), compute_uv=False)
        assert np.abs(np.log(s)).max() <= 0.7 + 1e-6
        assert np.abs(np.log(s)).max() > (0.1 if eta > 1 else 0.01)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("bad", [np.nan, 1e200])
def test_a_batch_that_is_not_finite_changes_nothing(first, bad):
    problem, rule = generic(6, 9, 4, 3, "smooth_leaky_relu", "normal"), rg.GroupAdam()
    good = drawn(problem, 3)
    broken = good[0].copy()
    broken[3, 1] = bad
    at = 0 if first else 2
    with np.errstate(all="ignore"):
        state, infos = steps(
            problem, rule, [broken, *good] if first else [*good[:2], broken, good[2]]
        )
        before, _ = steps(problem, rule, [] if first else good[:2])
        after, _ = steps(problem, rule, [broken] if first else [*good[:2], broken])
    assert [bool(info.rejected) for info in infos] == [i == at for i in range(4)]
    assert gap(after.layers, before.layers) == 0
    assert np.isfinite(state.layers[0].W).all()
    if not first:
        for one, two in zip(after.rule_state, before.rule_state, strict=True):
            for x, y in zip(one, two, strict=True):
                np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0), ("epsilon", -1.0), ("tau", 1.5), ("beta1", 1.0), ("beta2", 0.0)],
)
def test_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        replace(rg.GroupAdam(), **{name: value})


def test_float32_keeps_its_dtype_and_comes_close():
    problem, rule = generic(8, 9, 3, 2, "smooth_leaky_relu", "normal"), rg.GroupAdam()
    batches = drawn(problem)
    wide, _ = steps(problem, rule, batches)
    narrow = problem._replace(
        layers=tuple(rg.Layer(W.astype("f4"), b.astype("f4")) for W, b in problem.layers)
    )
    state, _ = steps(narrow, rule, [X.astype("f4") for X in batches])
    assert all(x.dtype == np.float32 for layer in state.layers for x in layer)
    assert all(x.dtype == np.float32 for pair in state.rule_state for x in pair)
    assert gap(state.layers, wide.layers) < 1e-3


def badly_scaled(seed, n):
    """Sources mixed with condition 1e4: after whitening, elements of W are from 0.01 to 100."""
    rng = np.random.default_rng(seed)
    A = np.linalg.qr(rng.standard_normal((6, 6)))[0] @ np.diag(np.geomspace(0.01, 100, 6))
    return rng.laplace(size=(n, 6)) @ A.T


def test_what_it_is_for():
    """From whitening of badly scaled data Adam on R, in the same steps, gets half as far."""
    X = badly_scaled(0, 4000)
    model = rg.activation("identity"), rg.density("laplace")
    start = rg.init_layers(np.random.default_rng(0), 6, 1, kind="whiten", X=X, activation=model[0])
    gains = {}
    for rule in (rg.GroupAdam(0.01), rg.Adam(0.01), rg.Adam(0.1)):
        fitted = rg.fit(
            start, X, *model, rule=rule, rng=np.random.default_rng(1), epochs=8, average=None,
            implementation="reference",
        )  # fmt: skip
        ends = [
            float(rg.log_likelihood(layers, X, *model).mean) for layers in (start, fitted.layers)
        ]
        gains[rule] = ends[1] - ends[0]
    mine, *others = gains.values()
    assert mine > 0.3
    assert max(others) < 0.7 * mine


def test_the_rule_by_its_name_is_the_default_one():
    problem = generic(3, 60, 4, 2)
    model, rng = problem.model, np.random.default_rng
    whole = rg.fit(
        problem.layers, problem.X, *model, rule="group_adam", rng=rng(0), epochs=4, batch_size=20
    )
    one = rg.fit(
        problem.layers, problem.X, *model, rule=rg.GroupAdam(), rng=rng(0), epochs=4, batch_size=20
    )
    assert gap(whole.layers, one.layers) == 0
    assert gap(whole.layers, problem.layers) > 100 * EPS
