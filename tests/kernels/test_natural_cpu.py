"""The natural gradient's kernel against the reference, and what it promises."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("numba", reason="numba is not installed")

import relgrad_np as rg
from relgrad_np.kernels.cpu import natural_step
from relgrad_np.kernels.cpu import step as cpu
from relgrad_np.kernels.supported import CPU, supports
from relgrad_np.oracle.cases import generic
from relgrad_np.rules import natural

from .leaves import leaves
from .test_cpu import Collector, assert_same, copy

SHAPES = [(9, 4, 3), (600, 2, 5), (30, 14, 1), (301, 3, 2)]  # N, D, L
MODELS = [("smooth_leaky_relu", "normal"), ("identity", "student_t"), ("leaky_tanh", "logistic")]
RULE = rg.Natural(damping=0.1)  # so that F + damping I does not multiply rounding by much


def model_of(problem, rule=RULE):
    return {"activation": problem.activation, "density": problem.density, "rule": rule}


def poison():
    """Overwrite all scratch memory with NaN, and what is lent again."""
    for memory in natural_step.CACHE.memories.values():
        for x in (memory.scores, memory.parts, memory.passes):
            x.fill(np.nan)
    for solver in natural_step.CACHE.solvers.values():
        solver.C.fill(np.nan)
        solver.note(None, 0.0)
        for loan in [solver.lender.lend() for _ in range(4)]:
            loan.fill(np.nan)


@pytest.mark.parametrize(
    "dtype", ["float64", pytest.param("float32", marks=pytest.mark.recompiles)]
)
def test_the_step_is_the_reference_step(dtype):
    """Four steps, one with weights, over one block of samples and several; memory full of NaN."""
    models, tolerance = (MODELS, 1e-10) if dtype == "float64" else (MODELS[:1], 1e-2)
    for (N, D, L), (act, dens) in itertools.product(SHAPES, models):
        p = generic(3, 4 * N, D, L, act, dens, dtype=dtype)
        rule = replace(RULE, every=1 + N % 2)
        reference = rg.init_state(p.layers, rule)
        state = copy(reference)
        for i, X in enumerate(np.split(p.X, 4)):
            weights = np.random.default_rng(i).uniform(0.5, 1.5, N).astype(dtype)
            weights = weights if i == 2 else None
            assert supports(CPU, state, X, p.activation, p.density, rule, weights)
            reference, wanted = rg.train_step(reference, X, weights=weights, **model_of(p, rule))
            poison()
            state, info = cpu.train_step(state, X, weights=weights, **model_of(p, rule))
            assert not info.rejected
            assert_same(state, reference, tolerance)
            assert_same(info, wanted, tolerance)


@pytest.mark.recompiles
def test_float32_is_summed_as_well_as_the_reference_does():
    """F and d of 2,000 samples in float32, beside those of float64 from the same numbers."""
    p = generic(3, 2000, 2, 12, "smooth_leaky_relu", "normal", dtype="float32")
    wide = tuple(rg.Layer(W.astype("f8"), b.astype("f8")) for W, b in p.layers)
    rule = rg.Natural()
    true, known = rg.train_step(rg.init_state(wide, rule), p.X.astype("f8"), **model_of(p, rule))
    F, d = true.rule_state.information, np.stack([f.d for f in known.directions])
    scale, off = np.sqrt(np.diag(F)), []
    for step in (rg.train_step, cpu.train_step):
        state, info = step(copy(rg.init_state(p.layers, rule)), p.X, **model_of(p, rule))
        wrong = np.abs((state.rule_state.information - F) / np.outer(scale, scale)).max()
        found = np.stack([f.d for f in info.directions])
        off.append((wrong, np.abs(found - d).max() / np.abs(d).max()))
    assert off[1][0] < 2 * off[0][0] + 1e-6
    assert off[1][1] < 2 * off[0][1] + 1e-3


def plant(monkeypatch, mistake):
    """Make the reference wrong, as the kernel might be."""
    scores, mean_scores = natural.scores, natural.mean_scores

    def no_identity(U, Delta, one):
        return scores(U, Delta, one) - scores(U, 0 * Delta, one)

    def exchanged(U, Delta, one):
        return scores(Delta, U, one)

    def last_block(U, Delta, squares, one):
        return mean_scores(U[:, 256:], Delta[:, 256:], squares, one)

    def upper(U, Delta, squares, one):
        g, F = mean_scores(U, Delta, squares, one)
        return g, F.T

    made = {"identity": no_identity, "exchanged": exchanged, "block": last_block, "upper": upper}
    name = "scores" if mistake in ("identity", "exchanged") else "mean_scores"
    monkeypatch.setattr(natural, name, made[mistake])


@pytest.mark.parametrize("mistake", ["identity", "exchanged", "block", "upper"])
def test_a_mistake_is_seen(monkeypatch, mistake):
    """The comparison tells a score without identity, a block left out, and the other triangle."""
    p = generic(3, 600, 2, 3, "smooth_leaky_relu", "normal")
    state, _ = cpu.train_step(copy(rg.init_state(p.layers, RULE)), p.X, **model_of(p))
    right, _ = rg.train_step(rg.init_state(p.layers, RULE), p.X, **model_of(p))
    assert_same(state, right, 1e-10)
    plant(monkeypatch, mistake)
    wrong, _ = rg.train_step(rg.init_state(p.layers, RULE), p.X, **model_of(p))
    for part in ("layers", "rule_state"):
        if (mistake, part) != ("upper", "layers"):  # g is right, and d is that of another F
            with pytest.raises(AssertionError):
                assert_same(getattr(state, part), getattr(wrong, part), 1e-3)


def test_of_F_only_the_lower_triangle_is_read():
    """Whatever stands above it: the bits of the step are the same. Below it they are not."""
    p = generic(3, 40, 3, 2, "smooth_leaky_relu", "normal")
    state, _ = cpu.train_step(copy(rg.init_state(p.layers, RULE)), p.X, **model_of(p))
    F, after = state.rule_state.information, []
    assert not np.triu(F, 1).any()
    above, below = np.triu(np.full_like(F, 7.0), 1), np.tril(np.full_like(F, 0.1), -1)
    for other in (F, F + above, F + below):
        changed = state.rule_state._replace(information=other)
        begun = copy(state)._replace(rule_state=changed)
        after.append(cpu.train_step(begun, p.X, **model_of(p))[0])
    assert_same(after[1], after[0], 0.0)
    with pytest.raises(AssertionError):
        assert_same(after[2].layers, after[0].layers, 1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
@pytest.mark.parametrize("every", [1, 3])
def test_a_rejected_step_changes_nothing(bad, every):
    rule = replace(RULE, every=every)
    p = generic(1, 31, 5, 2, "smooth_leaky_relu", "normal")
    state, _ = cpu.train_step(copy(rg.init_state(p.layers, rule)), p.X, **model_of(p, rule))
    kept = [(path, np.array(x)) for path, x in leaves(state) if x is not None]
    X = p.X.copy()
    X[2, 3] = bad
    with np.errstate(all="ignore"):
        after, info = cpu.train_step(state, X, **model_of(p, rule))
    assert info.rejected
    assert after.t == state.t + 1
    for (path, x), (_, y) in zip(kept, (z for z in leaves(after) if z[1] is not None), strict=True):
        if path != ".t":
            np.testing.assert_array_equal(x, y, err_msg=path)
    assert not any(np.asarray(e).any() for e in info.eta)


@pytest.mark.parametrize("every", [1, 3])
def test_whatever_comes_between_two_steps(every):
    """A rejected batch, another size, a copy, a W that may not be written, other layers."""
    rule = replace(RULE, every=every, information=0.5)
    p = generic(1, 600, 3, 2, "smooth_leaky_relu", "normal")
    state, reference = copy(rg.init_state(p.layers, rule)), rg.init_state(p.layers, rule)
    bad = p.X[:20].copy()
    bad[3, 2] = np.nan
    sizes = [p.X[:40], p.X[40:100], bad, p.X[:40], p.X[:37], p.X, p.X[100:140]]
    for i, X in enumerate([*sizes, *sizes]):
        if i == 4:
            state = state._replace(
                rule_state=state.rule_state._replace(
                    information=state.rule_state.information.copy()
                )
            )
        if i == 5:
            state.layers[0].W.setflags(write=False)
            kept = state.layers[0].W, state.layers[0].W.copy()
        with np.errstate(all="ignore"):
            reference, wanted = rg.train_step(reference, X, **model_of(p, rule))
            state, info = cpu.train_step(state, X, **model_of(p, rule))
        assert info.rejected == wanted.rejected == (X is bad)
        assert_same(state, reference, 1e-9)
    np.testing.assert_array_equal(*kept)


def test_what_cholesky_does_not_solve_goes_to_the_reference():
    """An F that is not positive definite: the same step, solved by elimination."""
    p = generic(1, 31, 3, 2, "smooth_leaky_relu", "normal")
    state, _ = cpu.train_step(copy(rg.init_state(p.layers, RULE)), p.X, **model_of(p))
    F = state.rule_state.information - 5 * np.eye(24)
    state = state._replace(rule_state=state.rule_state._replace(information=F))
    want, _ = rg.train_step(state, p.X, **model_of(p))
    got, info = cpu.train_step(copy(state), p.X, **model_of(p))
    assert not info.rejected
    assert_same(got, want, 0.0)
    again, _ = cpu.train_step(copy(got), p.X, **model_of(p))
    assert_same(again, rg.train_step(want, p.X, **model_of(p))[0], 1e-9)


def test_a_thousand_steps_agree_to_1e_9():
    """At a rate where the map is not chaotic: from a start 1e-9 aside it ends as near."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((1000, 3)) @ rng.standard_normal((3, 3)) + 1.0
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("logistic")
    start = rg.init_layers(rng, 3, 2, kind="whiten", X=X, activation=act)
    aside = tuple(rg.Layer(W * (1 + 1e-9), b) for W, b in start)

    def ended(layers, implementation):
        return rg.fit(
            layers, X, act, dens, rule=rg.Natural(0.02, damping=0.1), batch_size=100, epochs=100,
            rng=np.random.default_rng(1), implementation=implementation, compare=False,
        )  # fmt: skip

    results = [ended(start, "reference"), ended(start, "numba")]
    assert results[0].history[-1].t == 1000
    assert results[0].n_undone == results[1].n_undone == 0
    assert_same(results[1].layers, results[0].layers, 1e-9)
    assert_same(results[1].tracked, results[0].tracked, 1e-9)
    assert_same(ended(aside, "numba").layers, results[1].layers, 1e-8)


@pytest.mark.parametrize("every", [1, 3])
def test_a_resumed_fit_is_bitwise_the_same(every):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 2)) * [1, 2]
    act, dens, keeper = rg.activation("smooth_leaky_relu"), rg.density("normal"), Collector()
    start = rg.init_layers(rng, 2, 3, kind="whiten", X=X, activation=act)

    def run(keeper=None, resume=None):
        rule = rg.Natural(every=every, information=0.5)
        return rg.fit(
            start, X, act, dens, rule=rule, rng=np.random.default_rng(2), batch_size=50, epochs=3,
            keeper=keeper, resume=resume, implementation="numba", compare=False,
        )  # fmt: skip

    whole = run(keeper)
    for snapshot, copies in keeper.snapshots:
        parts = [x for _, x in leaves(snapshot.state) if x is not None]
        for x, y in zip(parts, copies, strict=True):
            np.testing.assert_array_equal(x, y)
    for snapshot, _ in keeper.snapshots[2::5]:
        assert_same(run(resume=snapshot).layers, whole.layers, 0.0)
