"""The recipe: what each part is for, equivariance over whole runs, and robustness."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.trees import all_finite, each_array
from relgrad_np.datasets import gaussian_log_likelihood, load
from relgrad_np.fitting.batches import Batches
from relgrad_np.fitting.survey import Rows, measured
from relgrad_np.fitting.team import Team
from relgrad_np.kernels.choose import resolve
from relgrad_np.rules import recipe
from relgrad_np.rules.by_name import make_rule
from relgrad_np.rules.recipe import HOLD, RELEASE

from ..laws.problems import generic

ACT, DENS = rg.activation("smooth_leaky_relu"), rg.density("sech")


def data(N=400, D=5, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.laplace(size=(N, D)) @ rng.uniform(-1, 1, (D, D)).T + shift


def alone(state, X, counts, **options):
    """The step of one process."""
    return rg.train_step(state, X, **options)


def run_steps(layers, batches, rule):
    state = rg.init_state(layers, rule)
    for X in batches:
        state, info = rg.train_step(state, X, activation=ACT, density=DENS, rule=rule)
        assert not bool(info.rejected)
    return state, info


@pytest.mark.parametrize(
    "rule", [rg.Plain(0.01), rg.Recipe(), rg.Natural()], ids=lambda rule: rule.__class__.__name__
)
def test_a_hundred_steps_do_not_depend_on_how_the_data_are_mixed(rule):
    """cond(M) up to 1e3 and a shift: the outputs agree to 1e-8, whatever the mixing.

    Plain steps without charts, exponential ones in charts, and steps of full rank.
    """
    outputs = mixed_and_not(rule)
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-8 * max(1, np.abs(outputs[0]).max())


def test_with_adam_they_do():
    outputs = mixed_and_not(rg.Adam(0.01))
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-2


def mixed_and_not(rule):
    rng = np.random.default_rng(3)
    X = data()
    Q1, Q2 = (np.linalg.qr(rng.standard_normal((5, 5)))[0] for _ in range(2))
    M, c = Q1 @ np.diag(np.geomspace(0.03, 30, 5)) @ Q2, rng.uniform(-3, 3, 5)
    V = np.linalg.inv(M)
    layers = rg.init_layers(rng, 5, 3, kind="whiten", X=X, activation=ACT)
    W, b = layers[0]
    moved = (rg.Layer(W @ V, b - W @ V @ c), *layers[1:])
    rows = [rng.integers(0, 400, 40) for _ in range(100)]
    one, _ = run_steps(layers, [X[r] for r in rows], rule)
    two, _ = run_steps(moved, [X[r] @ M.T + c for r in rows], rule)
    return (
        rg.forward(one.layers, X, ACT).Zs[-1],
        rg.forward(two.layers, X @ M.T + c, ACT).Zs[-1],
    )


def test_the_mean_mode_is_what_charts_cure():
    """Data far from 0 at an identity start: the paper's step is throttled, the charted one is not."""
    X = data(shift=30.0)
    layers = rg.init_layers(np.random.default_rng(0), 5, 1, kind="identity")
    first = {}
    for name, rule in (("charted", rg.Recipe()), ("bare", rg.Recipe(charts=False))):
        state = rg.init_state(layers, rule)
        state, info = rg.train_step(
            state, X[:100], activation=rg.activation("identity"), density=rg.density("normal"), rule=rule
        )  # fmt: skip
        first[name] = float(info.eta[0])
    assert first["charted"] > 100 * first["bare"]


@pytest.mark.parametrize("L", [1, 5])
def test_digits_with_default_settings_are_finite_and_above_the_gaussian(L):
    """At the default rate and at three times it; one layer comes within two standard errors.

    The start is made from half of the rows, which costs a fifth, and is as good.
    """
    digits = load("digits")
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("normal")
    start = rg.init_layers(
        np.random.default_rng(0), 64, L, kind="gaussianize", X=digits.train[::2], activation=act
    )
    for factor in (1.0, 3.0):
        result = rg.fit(
            start, digits.train, act, dens, rule="recipe", learning_rate=0.4 * factor, epochs=5,
            rng=np.random.default_rng(1), X_val=digits.validation,
        )  # fmt: skip
        assert result.n_rejected == 0
        log_p = rg.log_likelihood(result.best_layers, digits.test, act, dens).per_sample
        gap = log_p - gaussian_log_likelihood(digits.train, digits.test)
        if L == 1:
            assert abs(gap.mean()) < 2 * gap.std() / np.sqrt(len(gap)) + 0.5
        else:
            assert gap.mean() > 4


def looked_at(tape, deltas, use):
    """What `Seen` has of one batch, layer by layer, and its gains, written out with dense xi."""
    found = []
    for k, (Y, Delta) in enumerate(zip(tape.Ys, deltas, strict=True)):
        N, D = Y.shape
        m, S = use.mean[k], 1 / np.sqrt(use.variance[k])
        U, delta = (Y - m) * S, N * Delta / S
        a = 1 / np.maximum(use.information[k], 1)
        xi = np.eye(D) + delta.T @ U / N
        x = np.sum(a * np.sum(xi**2, axis=1)) + np.sum(a * delta.mean(axis=0) ** 2)
        found.append((Y, delta, U, x / D))
    return found


def windows(rule, each, count, N=30):
    """Steps of `rule` from a start that is off, as (state before, tape, deltas, info) of each."""
    X, D, L = data(600), 5, 2
    layers = rg.init_layers(np.random.default_rng(0), D, L, kind="whiten", X=X, activation=ACT)
    layers = (layers[0], rg.Layer(layers[1].W * 2, layers[1].b + 0.3))  # x is large, and varies
    state, rng = rg.init_state(layers, rule), np.random.default_rng(1)
    for _ in range(each * count):
        batch = X[rng.integers(0, len(X), N)]
        tape = rg.forward(state.layers, batch, ACT)
        deltas = rg.backprop(state.layers, tape, ACT, DENS)
        before = state
        state, info = rg.train_step(state, batch, activation=ACT, density=DENS, rule=rule)
        assert not info.rejected
        yield before, tape, deltas, info, state


def test_the_constants_are_means_over_the_window_before():
    """Chart, F, x, signal and the largest |K| of the third window, from the batches of the second.

    Written out; HOLD and RELEASE keep what would fall faster, as long as the signal is small.
    """
    each, rule = 7, rg.Recipe(0.05, window=7)
    steps = list(windows(rule, each, 3))
    use = steps[each][4].rule_state.use  # of the second window
    found = [looked_at(tape, deltas, use) for _, tape, deltas, *_ in steps[each : 2 * each]]
    after = steps[2 * each][4].rule_state.use
    for k in range(2):
        Y, delta = (np.concatenate([batch[k][i] for batch in found]) for i in range(2))
        np.testing.assert_allclose(after.mean[k], Y.mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(after.variance[k], Y.var(axis=0), rtol=1e-10)
        mean, std = Y.mean(axis=0), np.sqrt(use.variance[k])
        cov = np.mean((delta - delta.mean(axis=0)) * (Y - mean) / std, axis=0)
        F = delta.var(axis=0) / np.maximum(-cov, 1)
        near = float(use.calm)
        wider = Y.var(axis=0) / use.variance[k]
        F = np.maximum(F, HOLD * near * use.information[k]) * wider
        np.testing.assert_allclose(after.information[k], F, rtol=1e-9)
        x = np.mean([batch[k][3] for batch in found])
        np.testing.assert_allclose(after.x[k], max(x, HOLD * near * use.x[k]), rtol=1e-10)
        own = ((1 + cov) ** 2 + delta.mean(axis=0) ** 2) / np.maximum(F, 1)
        np.testing.assert_allclose(after.signal[k], own.mean(), rtol=1e-9)
        norms = [float(info.norms[k]) for _, _, _, info, _ in steps[each : 2 * each]]
        heavy = max(norms) > 2 * np.mean(norms)
        norm = max(norms) if heavy else np.mean(norms)
        assert after.norm[k] == pytest.approx(max(norm, RELEASE * near * use.norm[k]), rel=1e-10)


def test_the_step_is_made_of_constants():
    """eta and gains are the formula, the same for all batches of a window, but for the cap."""
    rule = rg.Recipe(0.05, window=7)
    for before, tape, deltas, info, after in list(windows(rule, 7, 3))[7:]:
        use = after.rule_state.use
        if before.t % 7 and use.calm:
            pairs = zip(use, before.rule_state.use, strict=True)
            assert all(np.array_equal(a, b) for a, b in pairs)
        for k, f in enumerate(info.directions):
            a = 1 / np.maximum(use.information[k], 1)
            np.testing.assert_allclose(f.gain, a, rtol=1e-14)
            np.testing.assert_allclose(f.Delta, deltas[k] * a * use.variance[k], rtol=1e-11)
            np.testing.assert_allclose(f.Y, (tape.Ys[k] - use.mean[k]) / use.variance[k], rtol=1e-9)
            x = max(use.x[k], 1)
            eta = 0.05 / 2 * min(max(use.signal[k], 1), x) / x
            eta = min(eta, 0.8 / use.norm[k], 1.6 / info.norms[k])
            assert float(info.eta[k]) == pytest.approx(eta, rel=1e-12)
    assert any((f.gain < 0.9).any() for f in info.directions)  # it matters here


def test_a_window_that_measures_moves_nothing():
    X = data()
    layers = rg.init_layers(np.random.default_rng(0), 5, 2, kind="whiten", X=X, activation=ACT)
    model, rule = {"activation": ACT, "density": DENS}, rg.Recipe(window=4)
    rows = Rows(Batches(X, None, 100, None, np.random.default_rng(0), Team()), ACT, DENS, 5)
    found = measured(
        rg.init_state(layers, rule), rule, rows, alone, model
    )  # fmt: skip
    assert all(
        a is b or np.array_equal(a, b)
        for one, two in zip(layers, found.state.layers, strict=True)
        for a, b in zip(one, two, strict=True)
    )
    assert found.state.rule_state.use.moves == 1
    assert found.value == pytest.approx(float(rg.log_likelihood(layers, X, ACT, DENS).mean))


def test_the_capped_size_does_not_depend_on_the_units_of_the_outputs():
    """N >= D, too: the norm is taken in the chart."""
    X = data(40)
    sizes = []
    for ratio in (1.0, 1e4):
        layers = rg.init_layers(np.random.default_rng(0), 5, 1, kind="whiten", X=X, activation=ACT)
        scale = np.geomspace(1, ratio, 5)
        layers = (rg.Layer(layers[0].W * scale[:, None], layers[0].b * scale),)
        density = rg.density("sech")

        def stretched(z, scale=scale, density=density):
            return density.score(z / scale) / scale

        rule = rg.Recipe(4.0, gains=False)
        _, info = rg.train_step(
            rg.init_state(layers, rule), X, activation=ACT,
            density=replace(density, score=stretched), rule=rule,
        )  # fmt: skip
        sizes.append(float(info.eta[0]))
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-6)


@pytest.mark.parametrize(("N", "seed"), [(1, 0), (2, 1), (3, 2), (5, 0)])
def test_tiny_batches_are_no_trap(N, seed):
    """A chart is not believed before it has seen 20 samples."""
    X = data(100, seed=seed)
    layers = rg.init_layers(np.random.default_rng(seed), 5, 2, kind="whiten", X=X, activation=ACT)
    start = float(rg.log_likelihood(layers, X, ACT, DENS).mean)
    result = rg.fit(layers, X, ACT, DENS, batch_size=N, epochs=3, rng=np.random.default_rng(seed))
    assert float(rg.log_likelihood(result.layers, X, ACT, DENS).mean) > start - 1


@pytest.mark.parametrize("tail", ["t of 3", "Cauchy", "one row of 1e6"])
def test_its_fixed_point_is_maximum_likelihood(tail):
    """A sweep over the batches from the closed-form optimum moves nothing, to first order.

    L = 1, normal base. Planted: a size by the |xi|^2 of its own batch, as many rules have it; and
    smaller weights for heavy rows. Both move, by more than a tenth of what they move at all.
    """
    rng = np.random.default_rng(0)
    X = rng.standard_t({"t of 3": 3, "Cauchy": 1}.get(tail, 50), (400, 4))
    if tail == "one row of 1e6":
        X[7, 0] = 1e6
    X = X @ rng.uniform(-1, 1, (4, 4)) + 2.0
    layers = rg.init_layers(rng, 4, 1, kind="whiten", X=X)
    model = {"activation": ACT, "density": rg.density("normal")}

    @dataclass(frozen=True)
    class Reacts(rg.Recipe):
        """The mistake: the size takes the batch's own x in the place of a constant."""

        def rate(self, xp, use, seen, x, N, L):
            return super().rate(xp, use._replace(x=xp.maximum(use.x, x)), seen, x, N, L)

    @dataclass(frozen=True)
    class Weighs(rg.Recipe):
        """The mistake: |Delta_n| |U_n| of a heavy row is held to three times the usual."""

        def propose(self, state, tape, deltas):
            (Y,), (Delta,) = tape.Ys, deltas
            q = np.linalg.norm(Delta, axis=1) * np.linalg.norm(Y, axis=1)
            weight = np.minimum(1, 3 * np.median(q) / q)
            return super().propose(state, tape, (Delta * weight[:, None],))

    drift = {}
    for kind in (rg.Recipe, Reacts, Weighs):
        rule = kind(1e-6, window=20)
        rows = Rows(Batches(X, None, 20, None, rng, Team()), *model.values(), 4)
        state = measured(
            rg.init_state(layers, rg.Recipe(window=20)), rg.Recipe(window=20), rows, alone, model
        ).state  # fmt: skip
        moves = []
        for batch in np.array_split(X[rng.permutation(400)], 20):
            _, info = rg.train_step(state, batch, **model, rule=rule)
            (f,), (eta,) = info.directions, info.eta
            xi = np.diag(f.gain) + f.Delta.T @ f.Y
            moves.append(float(eta) * np.column_stack([xi, f.Delta.sum(axis=0)]))
        drift[kind] = np.linalg.norm(sum(moves)) / sum(np.linalg.norm(m) for m in moves)
    assert drift[rg.Recipe] < 1e-4  # what the closed form's own rounding makes, with the row of 1e6
    assert drift[Weighs] > 0.1
    assert drift[Reacts] > (0.1 if tail != "t of 3" else 0.01)


def test_a_rejected_first_step_poisons_nothing():
    """One batch that is not finite, then good ones: all of those are taken, from a clean start."""
    X = data(200)
    layers = rg.init_layers(np.random.default_rng(0), 5, 2, kind="whiten", X=X, activation=ACT)
    options = {"activation": ACT, "density": DENS}
    for rule in (rg.Recipe(), rg.Recipe(kind="plain"), rg.Scalar(), rg.Natural(), rg.GroupAdam()):
        state = rg.init_state(layers, rule)
        for bad in (np.nan, np.inf, 1e200):
            with np.errstate(all="ignore"):
                state, info = rg.train_step(state, bad * X[:50], **options, rule=rule)
            assert info.rejected
            assert all(float(e) == 0 for e in info.eta)
        clean = rg.init_state(layers, rule)._replace(t=state.t)
        for _ in range(3):
            state, info = rg.train_step(state, X[:50], **options, rule=rule)
            clean, right = rg.train_step(clean, X[:50], **options, rule=rule)
            assert not info.rejected
            assert float(info.eta[0]) == float(right.eta[0]) > 0
        assert np.array_equal(state.layers[0].W, clean.layers[0].W), rule


ENORMOUS = [("float32", 1e12), ("float64", 1e100), ("float32", 1e20), ("float64", 1e160)]
ENORMOUS = [
    *(("reference", *case) for case in ENORMOUS),
    *(("numba", *case) for case in ENORMOUS if case[0] == "float64"),
    *(
        pytest.param("numba", *case, marks=pytest.mark.recompiles)
        for case in ENORMOUS
        if case[0] == "float32"
    ),
]


@pytest.mark.parametrize(("implementation", "dtype", "size"), ENORMOUS)
@pytest.mark.parametrize("name", ["recipe", "scalar", "natural", "plain", "group_adam"])
def test_an_enormous_row_is_rejected_or_leaves_finite_layers(name, implementation, dtype, size):
    """Whatever a rule remembers of it: nothing that is not finite is ever accepted, or kept."""
    if implementation == "numba":
        pytest.importorskip("numba", reason="Numba is not installed")
    X = data(200).astype(dtype)
    layers = rg.init_layers(np.random.default_rng(0), 5, 2, kind="whiten", X=X, activation=ACT)
    rule, step = make_rule(name), resolve(implementation)
    state = rg.init_state(tuple(rg.Layer(W.copy(), b.copy()) for W, b in layers), rule)
    bad = X[:50].copy()
    bad[7, 2] = size
    with np.errstate(all="ignore"):
        for batch in (X[:50], bad, *(X[i : i + 50] for i in (50, 100, 150, 0))):
            before = each_array(np.array, state)
            state, info = step(state, batch, activation=ACT, density=DENS, rule=rule)
            assert bool(all_finite(np, state[:3]))
            if info.rejected:
                assert all(float(e) == 0 for e in info.eta)
                assert np.array_equal(state.layers[0].W, before.layers[0].W)
            else:
                assert all(float(e) > 0 for e in info.eta), "a step of size 0 is not one"
    assert not info.rejected


def test_the_scalar_rule_is_its_formula():
    """eta_k = learning_rate / sqrt(max(v_hat, 1)), v of (|xi|^2 + |G_b|^2) / D, memory .99."""
    problem = generic(3, 9, 5, 2)
    rule, v = rg.Scalar(0.02), [0.0, 0.0]
    state = rg.init_state(problem.layers, rule)
    for t in range(1, 5):
        tape = rg.forward(state.layers, problem.X, problem.activation)
        deltas = rg.backprop(state.layers, tape, *problem.model)
        for k, (Y, Delta) in enumerate(zip(tape.Ys, deltas, strict=True)):
            xi = Delta.T @ Y + np.eye(5)
            v[k] = 0.99 * v[k] + 0.01 * (np.sum(xi**2) + np.sum(Delta.sum(axis=0) ** 2)) / 5
        fs = rg.factors(state.layers, tape, deltas)
        etas = tuple(0.02 / np.sqrt(max(x / (1 - 0.99**t), 1)) for x in v)
        plain = rg.apply_step(state.layers, fs, etas)
        activation, density = problem.model
        state, info = rg.train_step(
            state, problem.X, activation=activation, density=density, rule=rule
        )
        np.testing.assert_allclose([float(e) for e in info.eta], etas, rtol=1e-12)
        np.testing.assert_allclose(state.layers[0].W, plain[0].W, rtol=1e-12)
        np.testing.assert_allclose(state.layers[1].b, plain[1].b, rtol=1e-11, atol=1e-12)


def test_far_from_an_optimum_windows_are_short():
    """X + 1000, an orthogonal start: with long windows the charts are left behind, and it falls."""
    reached = {3: [], 10**9: []}
    for seed in range(3):
        X = np.random.default_rng(seed).normal(size=(1000, 3)) + 1000
        layers = rg.init_layers(np.random.default_rng(0), 3, 2)
        for short, values in reached.items():
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(recipe, "SHORT", short)
                model, rng = (ACT, rg.density("normal")), np.random.default_rng(0)
                result = rg.fit(layers, X, *model, rng=rng, compare=False)
            values.append(float(rg.log_likelihood(result.layers, X, *model).mean))
    assert min(reached[3]) > -10
    assert max(reached[10**9]) < -100
