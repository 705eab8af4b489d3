"""Streams: any sizes, jumps of the density, bad batches, interrupts, weights."""

import signal

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.trees import each_array
from relgrad_np.fitting import stream as module
from relgrad_np.fitting.stream import Stream, padded
from relgrad_np.kernels.choose import resolve

from ..kernels.leaves import leaves
from ..laws.problems import Stumble

MODEL = rg.activation("smooth_leaky_relu"), rg.density("normal")
IMPLEMENTATIONS = ("reference", "numba")


def data(N, shift=0.0, seed=0, D=3):
    return np.random.default_rng(seed).normal(size=(N, D)) + shift


def made(rule=None, L=1, batch_size=100, **options):
    def start(X):
        rng = np.random.default_rng(0)
        return rg.init_layers(rng, X.shape[1], L, kind="gaussianize", X=X, activation=MODEL[0])

    return Stream(
        start, *MODEL, rg.Recipe() if rule is None else rule, batch_size=batch_size, **options
    )


def fed(stream, *calls, name="reference"):
    for X in calls:
        stream.feed(X, resolve(name))
    return stream


def score(stream, X):
    return float(rg.log_likelihood(stream.kept.layers, X, *MODEL).mean)


def gaussian(X):
    D = X.shape[1]
    logdet = np.linalg.slogdet(np.cov(X.T, bias=True))[1]
    return -(D * np.log(2 * np.pi) + logdet + D) / 2


def test_a_batch_of_n_rows_takes_its_share_of_the_step():
    """The steps are `train_step`'s at rate n / batch_size of the stream's, one batch at a time."""
    stream = fed(made(rg.Recipe(0.2), L=2, batch_size=50), data(200, 0.5))
    state, rate = stream.kept.state, stream._rate(stream.kept.state)
    assert 0 < rate <= 0.2
    X = data(80, 0.3, seed=1)
    fed(stream, X)
    for rows in (X[:40], X[40:]):
        rule = rg.Recipe(rate * 40 / 50, window=module.NEVER)
        act, dens = MODEL
        state, _ = rg.train_step(state, rows, activation=act, density=dens, rule=rule)
    for (_, a), (_, b) in zip(leaves(state), leaves(stream.kept.state), strict=True):
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


def test_every_row_moves_the_layers_a_little():
    """300 rows, then one a call: none is without effect, and none moves the model by much."""
    X = data(300)
    stream = fed(made(), X)
    before = score(stream, X)
    for row in data(16, seed=1):
        W = stream.kept.layers[0].W.copy()
        fed(stream, row[None])
        assert 0 < np.abs(stream.kept.layers[0].W - W).max() < 0.05
    assert abs(score(stream, X) - before) < 0.01


@pytest.mark.parametrize("sizes", [[1] * 400, [7, 200, 1, 1, 1, 30, 160]])
def test_first_calls_may_be_of_any_size(sizes):
    """Layers are there from the first row on; how the stream is cut matters little in the end."""
    X, stream = data(400, 3.0), made()
    for part in np.split(X, np.cumsum(sizes)[:-1]):
        fed(stream, part)
        assert all(np.isfinite(x).all() for layer in stream.kept.layers for x in layer)
    assert score(stream, X) > gaussian(X) - 0.1


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.parametrize("std", [1e-3, 1.0])
def test_it_follows_a_jump_of_the_density(std, name):
    """N(0, std), then N(5, 1): as good as the Gaussian; without new starts it is not."""
    if name == "numba":
        pytest.importorskip("numba", reason="Numba is not installed")
    calls = [std * data(50)] + [data(50, 5.0, seed) for seed in range(1, 61)]
    X = np.concatenate(calls[-20:])
    stream = fed(made(), *calls, name=name)
    assert score(stream, X) > gaussian(X) - 0.05


@pytest.mark.parametrize("looks", [True, False])
def test_layers_that_are_worse_than_a_new_start_are_left(looks, monkeypatch):
    """Spoiled layers, then as many rows as the window holds: ten steps alone do not mend them."""
    if not looks:
        monkeypatch.setattr(Stream, "_look", lambda self, step: None)
    stream, X = fed(made(), data(100)), data(1000, seed=1)
    spoiled = tuple(rg.Layer(100 * W, b) for W, b in stream.kept.layers)
    state = rg.init_state(spoiled, stream.rule)
    stream.kept = stream.kept._replace(layers=spoiled, state=state)
    assert (score(fed(stream, X), X) > gaussian(X) - 0.05) == looks


def test_one_bad_row_is_forgotten():
    good = [data(50, 4.0, seed) for seed in range(2, 90)]
    bad = data(50, seed=1)
    bad[3, 0] = 1e4
    X = np.concatenate(good[-20:])
    with_it, without = (fed(made(), data(2000), first, *good) for first in (bad, data(50, seed=1)))
    assert score(with_it, X) > score(without, X) - 0.05


def test_a_bad_step_is_undone():
    """The rule's step at t = 40 is a bad one: the next batch shows it, and it is taken back."""
    calls = [data(200), *(data(20, seed=seed) for seed in range(1, 60))]
    options = {"batch_size": 20, "rule": Stumble(0.05)}
    saved = fed(made(**options), *calls)
    fallen = fed(made(undo=None, **options), *calls)
    assert saved.kept.bad_steps.n_undone == 1
    assert score(saved, calls[0]) > score(fallen, calls[0])


def test_a_batch_without_a_finite_objective_is_refused_and_leaves_nothing_behind():
    stream = fed(made(), data(200))
    before, window = stream.kept, len(stream.window)
    with pytest.raises(FloatingPointError, match="was not finite: not taken"):
        fed(stream, data(20) * 1e200)
    assert stream.kept is before
    assert len(stream.window) == window
    X = data(500, seed=2)
    assert score(fed(stream, X), X) > gaussian(X) - 0.1


def test_a_row_of_weight_2_counts_as_two():
    """Weights are relative: a multiple of all of them is the same stream."""
    X = data(900, 1.0)
    weights = np.random.default_rng(1).uniform(0.5, 2, 900)
    streams = []
    for factor in (1.0, 64.0, None):
        stream = made()
        for i in range(0, 900, 30):
            part = slice(i, i + 30)
            w = None if factor is None else factor * weights[part]
            stream.feed(X[part], resolve("reference"), w)
        streams.append(stream.kept.layers[0].W)
    np.testing.assert_allclose(streams[0], streams[1], rtol=1e-12)
    assert np.abs(streams[0] - streams[2]).max() > 1e-6


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_what_interrupts_it_leaves_the_last_whole_step(name):
    """30 interrupts at random instants: layers and tracker are of one step, and it goes on."""
    if name == "numba":
        pytest.importorskip("numba", reason="Numba is not installed")
    rng, stream = np.random.default_rng(0), made(L=2, batch_size=20)
    fed(stream, data(500, 50.0), name=name)

    def strike(number, frame):
        raise KeyboardInterrupt

    before, struck = signal.signal(signal.SIGALRM, strike), 0
    try:
        for seed in range(30):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-4, 0.02))
                for _ in range(50):
                    fed(stream, data(60, 50.0, seed), name=name)
            except KeyboardInterrupt:
                struck += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            kept = stream.kept
            exact = rg.track(kept.state.layers).logdet.sum()
            assert abs(exact - kept.state.tracked.logdet.sum()) < 1e-9
            assert score(stream, data(500, 50.0)) > -6  # no W beside the b of another step
    finally:
        signal.signal(signal.SIGALRM, before)
    assert struck > 10
    X = data(500, 50.0)
    assert score(stream, X) > gaussian(X) - 0.3


def test_a_call_may_have_more_rows_than_the_window_holds():
    """It is looked at every thousand rows, as if they had come in parts; the window stays small."""
    X = np.concatenate([data(2000), data(3000, 30.0, seed=1)])
    whole, parts = fed(made(), data(100), X), fed(made(), data(100), *np.split(X, 5))
    np.testing.assert_allclose(whole.kept.layers[0].W, parts.kept.layers[0].W, rtol=1e-12)
    assert sum(map(len, whole.window)) <= 2 * module.WINDOW
    assert score(whole, X[-1000:]) > gaussian(X[-1000:]) - 0.05


def test_layers_that_were_given_are_never_changed():
    layers = rg.init_layers(np.random.default_rng(0), 3, 2)
    held = each_array(np.array, layers)
    fed(made(layers=layers), data(300), name="reference")
    for (_, a), (_, b) in zip(leaves(layers), leaves(held), strict=True):
        np.testing.assert_array_equal(a, b)


def test_few_rows_are_padded_as_far_as_they_deviate():
    X = data(4, 2.0, D=5) * [1, 10, 100, 1e-3, 1e6]
    more = padded(X)
    np.testing.assert_allclose(more.mean(axis=0), X.mean(axis=0))
    np.testing.assert_allclose(more.std(axis=0), X.std(axis=0))
    assert np.linalg.matrix_rank((more - more.mean(axis=0)) / more.std(axis=0)) == 5


@pytest.mark.parametrize("rule", [rg.Scalar(), rg.Natural(), rg.Adam(1e-3)], ids=type)
def test_every_rule_may_follow_a_stream(rule):
    X = data(600, 1.0)
    stream = fed(made(rule, L=2), *np.split(X, 6))
    assert score(stream, X) > gaussian(X) - 0.2


def test_the_average_is_of_the_latest_rows_and_calmer_than_the_last_layers():
    calls = [data(200), *(data(100, seed=seed) for seed in range(1, 60))]
    stream, kept = fed(made(), calls[0]), []
    for X in calls[1:]:
        before, rows = stream.kept.layers, stream.kept.rows
        fed(stream, X)
        share = 100 / min(rows + 100, 3000)
        (W, b), (V, c) = before[0], stream.kept.state.layers[0]
        if stream.new >= 100:  # the window was not looked at
            np.testing.assert_allclose(stream.kept.layers[0].W, W + share * (V - W), rtol=1e-12)
            np.testing.assert_allclose(stream.kept.layers[0].b, b + share * (c - b), atol=1e-15)
        kept.append((score(stream, data(2000, seed=99)), mean_of(stream.kept.state.layers)))
    mean, last = np.array(kept)[30:].T
    assert mean.mean() > last.mean()
    assert mean.std() < last.std()


def mean_of(layers):
    return float(rg.log_likelihood(layers, data(2000, seed=99), *MODEL).mean)


def test_constants_are_measured_again(monkeypatch):
    """Each time as many rows have come as the window holds, of the latest rows alone."""
    monkeypatch.setattr(module, "WINDOW", 100)
    stream, seen = made(), []
    real = module.measured
    monkeypatch.setattr(
        module,
        "measured",
        lambda state, rule, rows, *more: (
            seen.append(rows.batches.X) or real(state, rule, rows, *more)
        ),
    )
    fed(stream, data(150), *(data(30, seed=seed) for seed in range(1, 9)))
    assert [len(X) for X in seen] == [100, 100, 100]
    np.testing.assert_array_equal(seen[1][-30:], data(30, seed=2))
