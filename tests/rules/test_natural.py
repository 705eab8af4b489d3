"""The natural gradient of all layers: its scores, its Fisher matrix, its step; and what it is for."""

from dataclasses import replace

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.datasets import load
from relgrad_np.rules import natural
from relgrad_np.rules.natural import Natural, scores

from ..core.test_full_rank import dense
from ..laws.problems import EPS, LIBRARIES, convert, generic

SHAPES = [(9, 4, 3), (5, 2, 4), (4, 7, 2)]
shapes = pytest.mark.parametrize("shape", SHAPES)


def setting(seed, shape):
    """A generic problem, its pass, and charts that are not those of its own moments."""
    problem = generic(seed, *shape)
    tape = rg.forward(problem.layers, problem.X, problem.activation)
    deltas = rg.backprop(problem.layers, tape, *problem.model)
    rng, D = np.random.default_rng(seed), shape[1]
    charts = [rg.Chart(2.0 ** rng.uniform(-1, 1, D), rng.uniform(-2, 2, D)) for _ in tape.Ys]
    return problem, tape, deltas, charts


def scores_of(tape, deltas, charts):
    N = len(tape.Ys[0])
    U = np.stack([(Y - m) * S for Y, (S, m) in zip(tape.Ys, charts, strict=True)])
    Delta = np.stack([N * d / S for d, (S, _) in zip(deltas, charts, strict=True)])
    return scores(U, Delta)


def moved(layer, chart, eps):
    """The layer after u -> (I + M) u + t of its output u = S (y - m), eps = (M, t)."""
    (W, b), (S, m) = layer, chart
    A = np.eye(len(b)) + eps[:, :-1]
    return rg.Layer((A @ (S[:, None] * W)) / S[:, None], (A @ (S * (b - m)) + eps[:, -1]) / S + m)


def score_error(found, problem, charts, seed):
    """How far the scores are from central differences of each sample's log-likelihood."""
    rng, D, L = np.random.default_rng(seed), problem.X.shape[1], len(problem.layers)
    worst = 0.0
    for _ in range(4):
        eps = rng.standard_normal((L, D, D + 1))
        sides = []
        for h in (1e-5, -1e-5):
            triples = zip(problem.layers, charts, h * eps, strict=True)
            layers = tuple(moved(*parts) for parts in triples)
            sides.append(rg.log_likelihood(layers, problem.X, *problem.model).per_sample)
        slope = (sides[0] - sides[1]) / 2e-5
        size = 1 + np.abs(eps.reshape(-1)) @ np.abs(found)
        worst = max(worst, (np.abs(eps.reshape(-1) @ found - slope) / size).max())
    return worst


@shapes
@pytest.mark.parametrize("seed", range(3))
def test_a_score_is_the_derivative_of_its_samples_log_likelihood(shape, seed):
    """And without the term of log|det|, with delta and u exchanged, or off the chart it is not."""
    problem, tape, deltas, charts = setting(seed, shape)
    found = scores_of(tape, deltas, charts)
    assert score_error(found, problem, charts, seed) < 1e-6
    L, D = len(charts), shape[1]
    blocks = found.reshape(L, D, D + 1, -1)
    no_identity = blocks - np.eye(D, D + 1)[None, :, :, None]
    exchanged = blocks.copy()
    exchanged[:, :, :-1] = blocks[:, :, :-1].transpose(0, 2, 1, 3)
    off = scores_of(tape, deltas, [rg.Chart(1 / S, m) for S, m in charts])
    for wrong in (no_identity, exchanged, off):
        wrong = wrong.reshape(found.shape)
        assert score_error(wrong, problem, charts, seed) > 1e-3


def test_F_is_the_mean_over_all_blocks_of_samples(monkeypatch):
    """Its lower triangle, of blocks that are equal and of a last one that is shorter."""
    rng = np.random.default_rng(0)
    U, Delta = rng.standard_normal((2, 3, 50, 2))
    s = scores(U, Delta)
    for block in (50, 16, 7):
        monkeypatch.setattr(natural, "BLOCK", block)
        g, F = natural.mean_scores(U, Delta)
        assert np.abs(g - s.mean(axis=1)).max() < 64 * EPS * np.abs(s).max()
        assert np.abs(F - np.tril(s @ s.T / 50)).max() < 64 * EPS * np.abs(s).max() ** 2
        assert natural.mean_scores(U, Delta, squares=False)[1] is None


def test_an_F_that_is_too_large_is_refused_before_anything_is_allocated(caplog):
    """And a large one is announced, with what it costs."""
    layers = rg.init_layers(np.random.default_rng(0), 300, 3)
    X = np.random.default_rng(1).standard_normal((400, 300))
    with pytest.raises(ValueError, match=r"`rule` 'natural' .* 270,900: 546.8 GiB"):
        rg.fit(
            layers, X, rg.activation("smooth_leaky_relu"), rg.density("normal"), rule="natural",
            rng=np.random.default_rng(0),
        )  # fmt: skip
    natural.tell_cost(natural.required_size(48, 2, 8), 8, 48, 2)
    assert caplog.messages == []
    natural.tell_cost(natural.required_size(40, 7, 8), 8, 40, 7)
    assert "P = L (D^2 + D) = 2,240" in caplog.text


@shapes
def test_the_mean_score_is_the_relative_gradient(shape):
    problem, tape, deltas, _ = setting(1, shape)
    D = shape[1]
    trivial = [rg.Chart(np.ones(D), np.zeros(D))] * len(tape.Ys)
    mean = scores_of(tape, deltas, trivial).mean(axis=1).reshape(len(tape.Ys), D, D + 1)
    R = rg.relative_gradient(problem.layers, tape, deltas)
    for xi, (W, b), (R_W, R_b) in zip(mean, problem.layers, R, strict=True):
        size = 1 + np.abs(xi).sum() * max(np.abs(W).max(), np.abs(b).max())
        assert np.abs(xi[:, :-1] @ W - R_W).max() < 64 * EPS * size
        assert np.abs(xi[:, :-1] @ b + xi[:, -1] - R_b).max() < 64 * EPS * size


def steps(problem, rule, batches, library="numpy"):
    p = convert(problem, library)
    state, infos = rg.init_state(p.layers, rule), []
    for X in batches:
        X = LIBRARIES[library](X)
        state, info = rg.train_step(state, X, activation=p.activation, density=p.density, rule=rule)
        infos.append(info)
    return state, infos


def by_hand(problem, batches, rule, block=False):
    """Layers after the steps, from the definitions: loops, a dense inverse, `expm`."""
    layers, F, mean, variance, made = list(problem.layers), 0.0, None, None, 0
    for t, X in enumerate(batches):
        tape = rg.forward(tuple(layers), X, problem.activation)
        deltas = rg.backprop(tuple(layers), tape, *problem.model)
        Y, new = np.stack(tape.Ys), 1 / (t + 1)
        if mean is None:
            mean, variance = Y.mean(axis=1), Y.var(axis=1)
        else:
            old, mean = mean, (1 - new) * mean + new * Y.mean(axis=1)
            square = (1 - new) * (variance + old**2) + new * (Y.var(axis=1) + Y.mean(axis=1) ** 2)
            variance = square - mean**2  # that of the pooled rows
        charts = [rg.Chart(1 / np.sqrt(v), m) for v, m in zip(variance, mean, strict=True)]
        s, young = scores_of(tape, deltas, charts), t < round(1 / (1 - rule.information))
        if young or t % rule.every == 0:
            made = t + 1 if young else made + 1
            share = max(1 / made, 1 - rule.information)
            F = (1 - share) * F + share * np.mean([np.outer(x, x) for x in s.T], axis=0)
        A, g = F + rule.damping * np.eye(len(F)), s.mean(axis=1)
        if block:
            size = len(F) // len(layers)
            layer = np.arange(len(F)) // size
            A = A * (layer[:, None] == layer[None, :])
        d = np.linalg.inv(A) @ g
        rise, d = g @ d, d.reshape(len(layers), len(mean[0]), -1)
        n = len(X) / share
        eta = rule.learning_rate * n / (n + 10 * len(F)) / np.sqrt(max(1, rise))
        eta = min(eta, rule.tau / max(np.linalg.norm(x) for x in d))
        layers = [
            rg.Layer(
                *(np.asarray(x, dtype=float) for x in dense(layer, rg.FullRank(x, *chart), eta))
            )
            for layer, x, chart in zip(layers, d, charts, strict=True)
        ]
    return layers


def drawn(problem, n=5, N=30):
    rng, D = np.random.default_rng(7), problem.X.shape[1]
    return [rng.standard_normal((N, D)) @ rng.uniform(-1, 1, (D, D)) + 0.5 for _ in range(n)]


@pytest.mark.parametrize(("every", "information"), [(1, 0.95), (2, 0.5)])
@pytest.mark.parametrize("library", ["numpy", "strict"])
def test_the_rule_is_its_definition(library, every, information):
    """Five steps against loops and dense inverses; with F block by block it is another rule."""
    problem = generic(3, 9, 3, 2, "smooth_leaky_relu", "normal")
    rule = Natural(damping=0.1, every=every, information=information)
    batches = drawn(problem)
    state, _ = steps(problem, rule, batches, library)
    true, blocks = by_hand(problem, batches, rule), by_hand(problem, batches, rule, block=True)
    for (W, b), (W_1, b_1), (W_2, _) in zip(state.layers, true, blocks, strict=True):
        assert np.abs(to_numpy(W) - W_1).max() < 1e-8 * np.abs(W_1).max()
        assert np.abs(to_numpy(b) - b_1).max() < 1e-8 * (1 + np.abs(b_1).max())
        assert np.abs(to_numpy(W) - W_2).max() > 1e-3


def test_a_step_ascends_by_what_it_promises():
    """The gain of a small step is eta <g, d>, with an error of second order."""
    problem = generic(2, 40, 3, 4, "smooth_leaky_relu", "logistic")
    rises, gaps = [], []
    for eta in (1e-3, 1e-4):
        rule = Natural(eta, damping=0.1)
        state, (info,) = steps(problem, rule, [problem.X])
        g, F = parts(problem, state)
        d = np.linalg.solve(F + rule.damping * np.eye(len(F)), g)
        after = rg.log_likelihood(state.layers, problem.X, *problem.model).mean
        gain = after - info.log_likelihood
        used = float(info.eta[0])
        rises.append(gain)
        gaps.append(abs(gain / used - g @ d))
    assert min(rises) > 0
    assert gaps[1] < 0.2 * gaps[0]


def parts(problem, state):
    """g and F at the problem's own layers, in the charts that the step used."""
    tape = rg.forward(problem.layers, problem.X, problem.activation)
    deltas = rg.backprop(problem.layers, tape, *problem.model)
    mean, variance, F, *_ = state.rule_state
    F = F + np.tril(F, -1).T
    charts = [rg.Chart(1 / np.sqrt(v), m) for v, m in zip(variance, mean, strict=True)]
    return scores_of(tape, deltas, charts).mean(axis=1), F


@pytest.mark.parametrize("eta", [0.3, 30.0])
def test_no_step_is_larger_than_it_may_be(eta):
    """|eta d_k| <= tau, and eta^2 d' F d <= eta_0^2: twice the divergence that F sees."""
    problem = generic(4, 8, 5, 3, "leaky_tanh", "sech")
    problem = problem._replace(X=50 * problem.X)
    rule = Natural(eta, damping=1e-6)
    state, infos = steps(problem, rule, [problem.X])
    g, F = parts(problem, state)
    d = np.linalg.solve(F + rule.damping * np.eye(len(F)), g)
    used = float(infos[0].eta[0])
    largest = max(np.linalg.norm(x) for x in d.reshape(3, -1))
    assert used * largest <= rule.tau * (1 + 1e-6)
    assert used**2 * (d @ F @ d) <= eta**2 * (1 + 1e-6)
    if eta == 30.0:
        assert used < eta


def test_log_det_is_known_and_the_last_step_can_be_undone():
    problem = generic(5, 9, 4, 3, "smooth_leaky_relu", "sech")
    batches, rule = drawn(problem, 60), Natural()
    before, _ = steps(problem, rule, batches[:-1])
    state, infos = steps(problem, rule, batches)
    exact = rg.track(state.layers)
    assert np.abs(state.tracked.logdet - exact.logdet).max() < 1e-10
    assert np.array_equal(state.tracked.sign, exact.sign)
    back = rg.undo_step(state.layers, infos[-1].directions, infos[-1].eta, kind=rule.kind)
    for (W, b), (W_0, b_0) in zip(back, before.layers, strict=True):
        assert np.abs(W - W_0).max() < 1e-11 * np.abs(W_0).max()
        assert np.abs(b - b_0).max() < 1e-11 * (1 + np.abs(b_0).max())


@pytest.mark.parametrize("first", [True, False])
def test_a_batch_that_is_not_finite_changes_nothing(first):
    problem, rule = generic(6, 9, 4, 3, "smooth_leaky_relu", "normal"), Natural()
    good = drawn(problem, 3)
    bad = good[0].copy()
    bad[3, 1] = np.nan
    with np.errstate(all="ignore"):
        state, infos = steps(problem, rule, [bad, *good] if first else [*good[:2], bad, good[2]])
    clean, _ = steps(problem, rule, good)
    assert bool(infos[0 if first else 2].rejected)
    assert not any(bool(info.rejected) for info in infos if info is not infos[0 if first else 2])
    for (W, b), (W_1, b_1) in zip(state.layers, clean.layers, strict=True):
        assert np.array_equal(W, W_1)
        assert np.array_equal(b, b_1)
    assert float(state.rule_state.seen) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0),
        ("damping", -1.0),
        ("tau", 1.5),
        ("memory", 1.0),
        ("information", 0.0),
        ("every", 0),
    ],
)
def test_settings_are_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be"):
        replace(Natural(), **{name: value})


def block_only(monkeypatch):
    """Plant the mistake: F without what one layer has to do with another."""
    solve = np.linalg.solve

    def blocks(A, b):
        if A.shape[0] == 96:  # sixteen layers of six
            layer = np.arange(96) // 6
            A = A * (layer[:, None] == layer[None, :])
        return solve(A, b)

    monkeypatch.setattr(natural, "solve", blocks)


@pytest.fixture
def rings():
    """What 48 steps of a rule gain on held-out rings, from one start of sixteen layers."""
    data = load("toy:rings", n=4000)
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("normal")
    start = rg.init_layers(
        np.random.default_rng(0), 2, 16, kind="gaussianize", X=data.train, activation=act
    )

    def gain(rule):
        result = rg.fit(
            start, data.train, act, dens, rule=rule, rng=np.random.default_rng(1), batch_size=500,
            epochs=6, average=None, implementation="reference",
        )  # fmt: skip
        before, after = (
            float(rg.log_likelihood(layers, data.validation, act, dens).mean)
            for layers in (start, result.layers)
        )
        return after - before

    return gain


def test_a_deep_narrow_net_is_what_it_is_for(rings, monkeypatch):
    """With F block by block, the mistake planted, it hardly moves; nor does the recipe."""
    whole, recipe = rings(Natural()), rings(rg.Recipe())
    block_only(monkeypatch)
    blocks = rings(Natural())
    assert whole > 0.12
    assert recipe < 0.5 * whole
    assert blocks < 0.5 * whole


def test_layers_that_go_far_are_not_averaged():
    """What `fit` returns without validation rows is the last net, not a mean of nets."""
    X = drawn(generic(8, 9, 3, 2), 1, 200)[0]
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("normal")
    for rule in (Natural(), rg.Recipe()):
        rng = np.random.default_rng(0)
        start = rg.init_layers(rng, 3, 2, kind="whiten", X=X, activation=act)
        result = rg.fit(
            start, X, act, dens, rule=rule, rng=rng, batch_size=50, epochs=3, average=0.5,
            implementation="reference", compare=False,
        )  # fmt: skip
        same = np.array_equal(result.layers[0].W, result.best_layers[0].W)
        assert same == isinstance(rule, Natural)


def test_float32_keeps_its_dtype_and_comes_close():
    problem, rule = generic(8, 9, 3, 2, "smooth_leaky_relu", "normal"), Natural(damping=0.1)
    batches = drawn(problem)
    wide, _ = steps(problem, rule, batches)
    narrow = problem._replace(
        layers=tuple(rg.Layer(W.astype("f4"), b.astype("f4")) for W, b in problem.layers)
    )
    state, _ = steps(narrow, rule, [X.astype("f4") for X in batches])
    for (W, b), (W_1, _) in zip(state.layers, wide.layers, strict=True):
        assert W.dtype == b.dtype == np.float32
        assert np.abs(W - W_1).max() < 1e-3 * np.abs(W_1).max()
