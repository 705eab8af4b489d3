"""Kernels of layers that know a context, b (D, c + 1): their parts and, where CI runs, their steps."""

import itertools

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

import relgrad_np as rg
from relgrad_np.core.context import as_bias, scaled, split, times
from relgrad_np.core.steps import Factors
from relgrad_np.kernels import choose
from relgrad_np.kernels.cpu import bias, ready, stored
from relgrad_np.kernels.cpu import compile as compiling
from relgrad_np.kernels.cpu import step as cpu
from relgrad_np.kernels.supported import CPU, Backend, supports
from relgrad_np.oracle.cases import generic
from relgrad_np.rules.recipe import squared_whole

from ..laws.problems import settled, with_context
from . import test_natural_cpu
from .test_cpu import RULES, assert_same, copy, poison

C = 2


@stored.compiled
def parts(blas, X, B, Y, Delta, m, s):
    """What the parts of a plain step make of X (N, D + c), B (1, D, c + 1)."""
    b, one = B[0], bias.ones_of(X, B)
    added, u, G, stepped = np.empty_like(Y), np.empty_like(one), np.empty_like(b), b.copy()
    bias.put(blas, b, one, added)
    bias.meet(blas, Y, bias.less(b, m), one, u)
    bias.weigh_rows(blas, Delta, u, G)
    for i in range(len(m)):
        bias.step_plainly(stepped, i, m[i], s[i], s[0], G)
    return one, added, u, G, stepped


@pytest.mark.parametrize("mistake", ["", "dropped", "exchanged", "no chart"])
def test_each_part_is_the_formula_of_the_core(mistake):
    """And is not it with the context dropped, its variables exchanged, or the chart's mean left."""
    rng, N, D = np.random.default_rng(0), 17, 4
    X, B, Y, Delta = (rng.standard_normal(x) for x in ((N, D + C), (1, D, C + 1), (N, D), (N, D)))
    m, s = rng.standard_normal(D), rng.uniform(0.5, 2, D)
    got = parts(compiling.gemm_address(X.dtype), X, B, Y, Delta, m, s)
    b, shift = B[0], as_bias(0 * m if mistake == "no chart" else m, B[0])
    if mistake in ("dropped", "exchanged"):
        X[:, D:] = X[:, : D - 1 : -1] if mistake == "exchanged" else 0
    _, one = split((rg.Layer(np.eye(D), b),), X)
    u = Y @ (b - shift) + one
    G = Delta.T @ u
    stepped = scaled(s, b - shift + s[0] * G) + shift
    pairs = zip(got, (one, times(b, one), u, G, stepped), strict=True)
    seen = [np.allclose(a, x, 1e-12) for a, x in pairs]
    assert seen == [mistake in ("", "no chart")] * 2 + [not mistake] * 3


def test_kernels_on_a_device_leave_context_to_the_reference():
    """So does what knows one bias of (D, c + 1) beside another of (D,), or rows without context."""
    p = with_context(generic(3, 5, 7, 2, "smooth_leaky_relu", "normal"), C)
    state, model = rg.init_state(p.layers, rg.Plain()), (p.activation, p.density, rg.Plain(), None)
    assert supports(CPU, state, p.X, *model)
    assert not supports(CPU._replace(context=False), state, p.X, *model)
    assert not Backend(np.ndarray, ()).context
    assert not supports(CPU, state, p.X[:, :7], *model)
    mixed = (p.layers[0], rg.Layer(p.layers[1].W, p.layers[1].b[:, 0].copy()))
    assert not supports(CPU, state._replace(layers=mixed), p.X, *model)


def test_code_of_context_is_not_that_of_layers_without():
    """What is compiled first, or found on disk, is told apart."""
    p = with_context(generic(3, 5, 7, 2, "smooth_leaky_relu", "normal"), C)
    state = rg.init_state(p.layers, rg.Plain())
    small, X = ready.tiny(state, p.activation, p.density, rg.Plain())
    assert (small.layers[0].b.shape, X.shape) == ((2, 2), (20, 3))
    bare = state._replace(layers=tuple(rg.Layer(W, b[:, 0]) for W, b in p.layers))
    assert ready._kind(state, rg.Plain()) != ready._kind(bare, rg.Plain())

    class Kernel:
        """Of which there is code for layers without a context."""

        targetctx, nopython = (
            None,
            [("blas", compiled_type(3), "weights", (None, compiled_type(2)))],
        )
        overloads = dict.fromkeys(nopython)
        _cache = type("Cache", (), {"signatures": lambda self, context: []})()

    assert stored.has_code(Kernel, "float64")
    assert stored.has_code(Kernel, "float64", 1)
    assert not stored.has_code(Kernel, "float64", 2)


def compiled_type(ndim):
    from numba import float64, types

    return types.Array(float64, ndim, "C")


STEPS = {**RULES, "natural": test_natural_cpu.RULE}
SHAPES = [(5, 11, 3), (23, 7, 2), (40, 50, 2), (7, 131, 2)]  # N, D, L


@pytest.mark.recompiles
@pytest.mark.parametrize("rule", STEPS)
def test_the_step_is_the_reference_step(rule):
    """Four steps, one with weights; undone; and one that is rejected. Memory is full of NaN."""
    rule, natural = STEPS[rule], rule == "natural"
    tolerance = 1e-10 if natural else 1e-11
    for (N, D, L), c in itertools.product(SHAPES[:2] if natural else SHAPES, (2, 0)):
        p = with_context(generic(3, 4 * N, D, L, "smooth_leaky_relu", "logistic"), c)
        model = {"activation": p.activation, "density": p.density, "rule": rule}
        reference = rg.init_state(p.layers, rule)
        reference = reference if natural else settled(reference)
        state = copy(reference)
        for i, X in enumerate(np.split(p.X, 4)):
            weights = np.random.default_rng(i).uniform(0.5, 1.5, N) if i == 2 else None
            assert supports(CPU, state, X, p.activation, p.density, rule, weights)
            reference, want = rg.train_step(reference, X, weights=weights, **model)
            (test_natural_cpu.poison if natural else poison)()
            state, info = cpu.train_step(state, X, weights=weights, **model)
        assert_same(state, reference, tolerance)
        if D <= N and any(isinstance(f, Factors) for f in want.directions):  # no A then
            bare = tuple(f._replace(A=None) for f in want.directions)
            want = want._replace(directions=bare)
        assert_same(info, want, tolerance)
        if info.directions:
            kind = getattr(rule, "kind", "exponential")
            back = rg.undo_step(state.layers, info.directions, info.eta, kind=kind)
            again = rg.undo_step(reference.layers, want.directions, want.eta, kind=kind)
            assert_same(back, again, 1e-9)
        kept, bad = [x.copy() for layer in state.layers for x in layer], X.copy()
        bad[1, -1] = np.nan  # of the context, where there is one
        with np.errstate(all="ignore"):
            state, info = cpu.train_step(state, bad, **model)
        assert info.rejected
        for x, y in zip(kept, [x for layer in state.layers for x in layer], strict=True):
            np.testing.assert_array_equal(x, y)


@pytest.mark.recompiles
@pytest.mark.parametrize("rule", ["recipe", "plain", "natural", "adam"])
def test_a_fit_is_the_reference_fit(rule):
    """Many steps in a call, the running average, validation; and nothing compiles after `prepare`."""
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (300, 2))
    X = np.concatenate([rng.standard_normal((300, 3)) * np.exp(u[:, :1]) + u[:, 1:], u], axis=1)
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("logistic")
    start = rg.init_layers(rng, 3, 2, kind="principal", X=X, activation=act, context=2)
    results = [
        rg.fit(
            start, X[:200], act, dens, rule=rule, batch_size=50, epochs=4, X_val=X[200:],
            rng=np.random.default_rng(1), implementation=name, compare=False, learning_rate=0.01,
        )
        for name in ("numba", "reference")
    ]  # fmt: skip
    assert_same(results[0].layers, results[1].layers, 1e-9)
    assert_same(results[0].best_layers, results[1].best_layers, 1e-9)
    state = rg.init_state(start, rg.Plain())
    assert choose.name_of(choose.resolve(None, X)) == "numba"
    assert ready.is_ready(state, act, dens, rg.Plain())


def test_the_size_of_a_gradient_with_context_is_the_dense_one():
    """|xi~|_F^2 by N x N matrices, and by D x D ones."""
    rng = np.random.default_rng(0)
    for N, D in ((5, 9), (9, 5)):
        Y, Delta, one = (rng.standard_normal(x) for x in ((N, D), (N, D), (N, C + 1)))
        gain, S = rng.uniform(0.2, 1, D), rng.uniform(0.5, 2, D)
        f = Factors(Delta * gain / S**2, Y * S, None, None, gain=gain, one=one)
        xi = Delta.T / S[:, None] @ np.concatenate([Y, one], axis=1)
        xi[:, :D] += np.eye(D)
        assert squared_whole(f, S) == pytest.approx((gain[:, None] * xi**2).sum(), rel=1e-12)
