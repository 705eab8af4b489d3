"""Undo brings back the layers that a step has left, at quadratic cost."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import from_numpy

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
        chart = rg.Chart(*(from_numpy(x, like) for x in (S, m)))
        fs = rg.in_charts(problem.layers, fs, (chart,) * len(problem.layers))
    return rg.apply_step(problem.layers, fs, etas, kind=kind), fs


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
def test_undo_is_quadratic(kind, monkeypatch):
    """No product of two (D, D) matrices; of W's size only two with (N, D) a layer."""
    N, D, L = 5, 11, 3
    problem = generic(7, N, D, L)
    new, fs = stepped(problem, kind, 0.01, False)
    layers, _ = recording.record(new, problem.X)
    fs = tuple(rg.Factors(*(recording.wrap(x) for x in f)) for f in fs)
    etas = tuple(recording.wrap(np.asarray(0.01)) for _ in range(L))
    # it reads the size of K, and whether the solve has succeeded
    monkeypatch.setattr(recording.Recorded, "__float__", lambda x: float(x.hidden))
    monkeypatch.setattr(recording.Recorded, "__bool__", lambda x: bool(x.hidden))
    recording.LOG.clear()
    rg.undo_step(layers, fs, etas, kind=kind)
    products = [(a, b) for name, a, b in recording.LOG if name == "matmul" and len(b) == 2]
    large = [sorted((*a, b[1])) for a, b in products if D in a + b]
    assert large == [sorted((N, D, D + 1))] * (2 * L)
    solves = [("solve", (N, N))] * L if kind == "plain" else []
    assert [(n, shape) for n, shape, _ in recording.LOG if n != "matmul"] == solves
