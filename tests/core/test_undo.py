"""Undo brings back what a step left; an audit sees what has drifted, and starts afresh."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.steps import with_K
from relgrad_np.core.tracking import DRIFT

from ..laws import recording
from ..laws.problems import EPS, convert, generic

SHAPES = [(4, 7, 2), (9, 4, 3)]
shapes = pytest.mark.parametrize("shape", SHAPES)
kinds = pytest.mark.parametrize("kind", ["plain", "exponential"])


def stepped(problem, kind, etas, charted):
    """Layers after a step, and the factors that it took."""
    tape = rg.forward(problem.layers, problem.X, problem.activation)
    deltas = rg.backprop(problem.layers, tape, *problem.model)
    fs = rg.factors(problem.layers, tape, deltas)
    if charted:
        like, rng = problem.layers[0].b, np.random.default_rng(0)
        S, m = 2.0 ** rng.uniform(-1, 1, like.shape[0]), rng.uniform(-2, 2, like.shape[0])
        xp_S, xp_m = (recording_like(x, like) for x in (S, m))
        fs = rg.in_charts(problem.layers, fs, (rg.Chart(xp_S, xp_m),) * len(problem.layers))
    return rg.apply_step(problem.layers, fs, etas, kind=kind), fs


def recording_like(x, like):
    from relgrad_np.core.arrays import from_numpy

    return from_numpy(x, like)


@shapes
@kinds
@pytest.mark.parametrize("charted", [False, True])
@pytest.mark.parametrize("library", ["numpy", "strict"])
@pytest.mark.parametrize("seed", range(3))
def test_undo_is_the_inverse_of_the_step(shape, kind, charted, library, seed):
    problem = generic(seed, *shape)
    p = convert(problem, library)
    etas = (0.01, 0.02, 0.03)[: len(p.layers)]
    new, fs = stepped(p, kind, etas, charted)
    back = rg.undo_step(new, fs, etas, kind=kind)
    for k, ((W, b), (W_0, b_0)) in enumerate(zip(back, problem.layers, strict=True)):
        f, W, b = fs[k], np.asarray(W), np.asarray(b)
        Delta, Y = np.abs(np.asarray(f.Delta)), np.abs(np.asarray(f.Y))
        there_and_back = np.exp(2 * etas[k] * (1 + np.linalg.norm(Delta.T @ Y)))  # cond of the step
        size = np.abs(W_0).max() + np.abs(b_0).max() + np.abs(np.asarray(f.m)).max() + 1
        assert np.abs(W - W_0).max() < 64 * EPS * 16 * there_and_back * size
        assert np.abs(b - b_0).max() < 64 * EPS * 16 * there_and_back * size
        assert np.abs(np.asarray(new[k].W) - W_0).max() > 1e-6  # there was something to undo


@kinds
@pytest.mark.parametrize("wrong", ["eta", "kind", "factors", "chart"])
def test_a_wrong_undo_is_seen(kind, wrong):
    problem = generic(1, *SHAPES[0])
    new, fs = stepped(problem, kind, 0.05, True)
    eta, other = 0.05, {"plain": "exponential", "exponential": "plain"}
    if wrong == "eta":
        eta = 0.0501
    if wrong == "factors":
        fs = tuple(f._replace(Y=f.Y * 1.001, K=None) for f in fs)
    if wrong == "chart":
        fs = tuple(f._replace(m=f.m * 1.001) for f in fs)
    back = rg.undo_step(new, fs, eta, kind=other[kind] if wrong == "kind" else kind)
    error = max(
        np.abs(x - y).max()
        for a, b in zip(back, problem.layers, strict=True)
        for x, y in zip(a, b, strict=True)
    )
    assert error > 1e-7


@kinds
def test_undo_is_quadratic(kind):
    N, D, L = 5, 11, 3
    problem = generic(7, N, D, L)
    new, fs = stepped(problem, kind, 0.01, False)
    wrapped, _ = recording.record(new, problem.X)
    fs_plain = fs
    fs = tuple(rg.Factors(*(recording.wrap(x) for x in f)) for f in fs)
    etas = tuple(recording.wrap(np.asarray(0.01)) for _ in range(L))
    recording.LOG.clear()
    if kind == "exponential":  # it reads the size of K, (N, N), so on a plain array
        rg.undo_step(new, fs_plain, 0.01, kind=kind)
        assert all(with_K(f).K.shape == (N, N) for f in fs_plain)
        return
    rg.undo_step(wrapped, fs, etas, kind=kind)
    products = [(a, b) for name, a, b in recording.LOG if name == "matmul" and len(b) == 2]
    assert len(products) == 2 * L
    assert all(sorted((*a, b[1])) == sorted((N, D, D + 1)) for a, b in products)
    assert [(n, s) for n, s, _ in recording.LOG if n != "matmul"] == [("solve", (N, N))] * L


def test_an_audit_passes_what_is_right_and_refreshes_what_is_not():
    layers = generic(3, *SHAPES[0]).layers
    tracked = rg.track(layers, inverse=True)
    right = rg.audit(tracked, layers)
    assert not right.refreshed
    assert abs(right.drift) < 1e-12
    assert right.error < 1e-13
    assert right.tracked is tracked
    off = tracked.logdet + np.array([0.0, 2 * DRIFT[0]])
    V = tracked.inverse
    for wrong in (
        tracked._replace(logdet=off),
        tracked._replace(sign=-tracked.sign),
        tracked._replace(inverse=(V[0], V[1] * 1.001)),
    ):
        found = rg.audit(wrong, layers)
        assert found.refreshed
        np.testing.assert_allclose(found.tracked.logdet, tracked.logdet, rtol=1e-14)
        np.testing.assert_array_equal(found.tracked.sign, tracked.sign)
        np.testing.assert_allclose(found.tracked.inverse[1], V[1], rtol=1e-12)
    assert rg.audit(tracked._replace(logdet=off), layers).drift == pytest.approx(2 * DRIFT[0])


def test_the_error_of_an_audit_is_that_of_the_inverse():
    """Four random vectors estimate |V W - I|_F / sqrt(D) within a factor of three."""
    layers = generic(3, 4, 40, 1).layers
    tracked = rg.track(layers, inverse=True)
    noise = 1e-6 * np.random.default_rng(0).standard_normal((40, 40))
    V = tracked.inverse[0] + noise
    found = rg.audit(tracked._replace(inverse=(V,)), layers)
    true = np.linalg.norm(V @ layers[0].W - np.eye(40)) / np.sqrt(40)
    assert true / 3 < found.error < 3 * true
    assert not found.refreshed


def test_an_inverse_that_is_not_a_number_is_refreshed():
    layers = generic(3, *SHAPES[0]).layers
    tracked = rg.track(layers, inverse=True)
    V = tracked.inverse
    found = rg.audit(tracked._replace(inverse=(V[0], V[1] * np.nan)), layers)
    assert found.refreshed
    assert np.isfinite(found.tracked.inverse[1]).all()
    with pytest.raises(ValueError, match="`tracked` must be of 1 layers"):
        rg.audit(tracked, layers[:1])
