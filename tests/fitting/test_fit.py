"""The loop: batches, schedules, validation, stopping, divergence, reproducibility."""

from dataclasses import dataclass

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.fitting.options import SCHEDULES

from ..kernels.leaves import leaves
from ..laws.problems import Stumble, afterwards, convert, generic

MODEL = rg.activation("smooth_leaky_relu"), rg.density("sech")


def data(N=300, D=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.laplace(size=(N, D)) @ rng.uniform(-1, 1, (D, D)).T + 0.5


def run(X=None, seed=0, L=2, dtype="float64", **options):
    X = data() if X is None else X
    rng = np.random.default_rng(seed)
    layers = rg.init_layers(rng, X.shape[1], L, dtype=dtype)
    return rg.fit(layers, X.astype(dtype), *MODEL, rng=rng, **{"epochs": 4, **options})


@pytest.mark.parametrize("rule", ["plain", "exponential", "recipe", "scalar", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fit_improves_and_keeps_the_dtype(rule, dtype):
    X = data().astype(dtype)
    result = run(rule=rule, dtype=dtype, X_val=X, epochs=10)
    assert result.layers[0].W.dtype == dtype
    values = [entry.validation for entry in result.history]
    assert values[-1] > values[0]
    assert result.stop_reason == "epochs"
    assert result.n_rejected == 0
    assert result.best_epoch == 1 + int(np.argmax(values))


def test_history_tells_the_exact_log_likelihood_of_the_training_batches():
    """With one batch an epoch, `train` is the exact log-likelihood before the step."""
    X = data()
    seen = []
    result = run(X, batch_size=len(X), callbacks=[lambda epoch, state: seen.append(state.layers)])
    for entry, layers in zip(result.history[1:], seen[:-1], strict=True):
        exact = float(rg.log_likelihood(layers, X, *MODEL).mean)
        assert entry.train == pytest.approx(exact, abs=1e-12)
        assert abs(entry.drift) < 1e-12
    assert [entry.t for entry in result.history] == [1, 2, 3, 4]


def test_adam_has_no_tracker_and_says_so():
    result = run(rule="adam")
    assert result.tracked is None
    assert all(entry.train is None and entry.drift is None for entry in result.history)


def test_every_row_is_used_once_an_epoch_in_near_equal_batches():
    """Rows are marked by their first value; a rule that only looks records them."""
    X = data(103)
    sizes, rows = [], []

    class Looking(rg.Plain):
        def propose(self, state, tape, deltas):
            sizes.append(len(tape.Zs[0]))
            rows.extend(tape.Zs[0][:, 0])
            return super().propose(state, tape, deltas)

    run(X, rule=Looking(), batch_size=20, epochs=1)
    assert sorted(rows) == sorted(X[:, 0])
    assert rows != list(X[:, 0])  # shuffled
    assert len(sizes) == 6
    assert set(sizes) == {17, 18}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedules(schedule):
    result = run(schedule=schedule, epochs=10, batch_size=300, learning_rate=0.01)
    rates = np.array([entry.learning_rate for entry in result.history])
    s = np.arange(10) / 10
    expected = {
        "constant": np.ones(10),
        "linear": 1 - s,
        "cosine": (1 + np.cos(np.pi * s)) / 2,
        "harmonic": 1 / (1 + 9 * s),
    }[schedule]
    np.testing.assert_allclose(rates, 0.01 * expected, rtol=1e-12)


def test_warmup_rises_linearly():
    result = run(schedule="constant", warmup=4, epochs=6, batch_size=300, learning_rate=0.01)
    rates = [entry.learning_rate for entry in result.history]
    np.testing.assert_allclose(rates, 0.01 * np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.0]), rtol=1e-12)


def test_same_seed_same_layers_bitwise():
    one, two, other = run(seed=1), run(seed=1), run(seed=2)
    for a, b in zip(one.layers, two.layers, strict=True):
        assert np.array_equal(a.W, b.W)
        assert np.array_equal(a.b, b.b)
    assert not np.array_equal(one.layers[0].W, other.layers[0].W)


def test_inputs_are_not_changed_and_may_be_read_only():
    problem = convert(generic(0, 40, 3, 2), "readonly")
    before = [np.array(W) for W, _ in problem.layers]
    rg.fit(problem.layers, problem.X, *problem.model, rng=np.random.default_rng(0), epochs=2)
    for (W, _), old in zip(problem.layers, before, strict=True):
        assert np.array_equal(W, old)


def test_memory_mapped_and_fortran_order_samples(tmp_path):
    X = data()
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    expected = run(X).layers[0].W
    for other in (mapped, np.asfortranarray(X), np.repeat(X, 2, axis=0)[::2]):
        np.testing.assert_allclose(run(other).layers[0].W, expected, rtol=1e-10)


def test_strict_arrays_in_strict_arrays_out():
    problem = convert(generic(0, 40, 3, 2), "strict")
    result = rg.fit(
        problem.layers, problem.X, *problem.model, X_val=problem.X, rng=np.random.default_rng(0), epochs=2
    )  # fmt: skip
    assert type(result.layers[0].W) is type(problem.X)
    plain = generic(0, 40, 3, 2)
    same = rg.fit(plain.layers, plain.X, *plain.model, rng=np.random.default_rng(0), epochs=2)
    np.testing.assert_allclose(np.from_dlpack(result.layers[0].W), same.layers[0].W, rtol=1e-12)


def test_patience_keeps_the_best_layers():
    """A validation set of other data gets worse: the fit stops, and the best layers are kept."""
    X_val = data(200, seed=9) * 0.3
    result = run(epochs=200, X_val=X_val, patience=3, learning_rate=0.1)
    assert result.stop_reason == "patience"
    values = [entry.validation for entry in result.history]
    assert result.best_epoch == 1 + int(np.argmax(values)) == len(values) - 3
    best = float(rg.log_likelihood(result.best_layers, X_val, *MODEL).mean)
    assert best == pytest.approx(max(values), abs=1e-12)
    assert not np.array_equal(result.best_layers[0].W, result.layers[0].W)


def test_a_callback_can_stop():
    result = run(epochs=50, callbacks=[lambda epoch, state: epoch.epoch == 3])
    assert (result.stop_reason, len(result.history)) == ("callback", 3)


@afterwards
def explode(before, after):
    """The fourth step makes the layers overflow."""
    if before.t == 3:
        return after._replace(layers=tuple(rg.Layer(W * 1e200, b) for W, b in after.layers))
    return after


def test_divergence_names_step_and_layer_and_keeps_the_last_good_layers():
    with pytest.raises(
        rg.FitDivergedError, match=r"not finite at step 5: first the .* of layer 1"
    ) as info:
        run(rule="plain", implementation=explode, batch_size=30)
    result = info.value.result
    assert isinstance(info.value, FloatingPointError)
    assert (result.stop_reason, result.n_rejected, result.n_undone) == ("diverged", 2, 1)
    assert all(np.isfinite(W).all() for W, _ in result.layers)
    assert all(np.isfinite(W).all() for W, _ in result.best_layers)


def test_a_step_from_a_singular_start_is_rejected():
    layers = (rg.Layer(np.zeros((3, 3)), np.zeros(3)),)
    with pytest.raises(
        rg.FitDivergedError, match=r"not finite at step 1: first the log\|det W\| of layer 0"
    ):
        rg.fit(layers, data(), *MODEL, rng=np.random.default_rng(0))


def test_the_published_preset_ticks_once_an_epoch():
    preset = rg.PRESETS["published"]
    assert (preset.rule.bias, preset.batch_size, preset.activation_params) == (
        "published",
        10,
        {"alpha": 0.01},
    )
    by_name = run(rule=preset.rule, batch_size=30, epochs=2)
    by_hand = run(rule=rg.Adam(bias="published", clock=10), batch_size=30, epochs=2)
    assert np.array_equal(by_name.layers[0].W, by_hand.layers[0].W)
    with pytest.raises(ValueError, match="`clock` 0 stands for an epoch"):
        rg.train_step(
            rg.init_state(by_name.layers, preset.rule), data(), activation=MODEL[0], density=MODEL[1], rule=preset.rule
        )  # fmt: skip


def test_progress_bar(capsys):
    run(progress=True)
    assert "log p" in capsys.readouterr().err


@pytest.mark.parametrize("rule", ["plain", "exponential", "adam"])
def test_integer_weights_are_repeated_rows(rule):
    """Full batches: weights 0, 1, 2, 3 and rows left out, once, twice, three times."""
    X = data(60)
    weights = np.arange(60) % 4
    repeated = np.repeat(X, weights, axis=0)
    layers = rg.init_layers(np.random.default_rng(0), 3, 2)
    options = {"rule": rule, "batch_size": 1000, "epochs": 10}
    one = rg.fit(layers, X, *MODEL, sample_weight=weights, rng=np.random.default_rng(0), **options)
    two = rg.fit(layers, repeated, *MODEL, rng=np.random.default_rng(0), **options)
    for a, b in zip(one.layers, two.layers, strict=True):
        np.testing.assert_allclose(a.W, b.W, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(a.b, b.b, rtol=1e-9, atol=1e-12)
    if rule != "adam":
        assert one.history[-1].train == pytest.approx(two.history[-1].train, abs=1e-10)
    plain = rg.fit(layers, X, *MODEL, rng=np.random.default_rng(0), **options)
    assert not np.allclose(plain.layers[0].W, one.layers[0].W)


def test_minibatch_steps_with_weights_add_up():
    """First order: the sum of an epoch's weighted minibatch gradients is the weighted gradient."""
    X, rng = data(40), np.random.default_rng(1)
    weights = rng.uniform(0.1, 3.0, 40)
    weights /= weights.mean()
    layers = rg.init_layers(rng, 3, 2)

    def gradient(rows):
        share = weights[rows].mean()
        tape = rg.forward(layers, X[rows], MODEL[0])
        deltas = rg.backprop(layers, tape, *MODEL, weights[rows] / share)
        return share * rg.relative_gradient(layers, tape, deltas)[0].W

    whole = gradient(np.arange(40))
    halves = (gradient(np.arange(20)) + gradient(np.arange(20, 40))) / 2
    np.testing.assert_allclose(halves, whole, rtol=1e-12, atol=1e-14)


def test_equal_weights_are_no_weights_bitwise():
    one, two = run(), run(sample_weight=np.full(300, 7.0))
    assert np.array_equal(one.layers[0].W, two.layers[0].W)


@pytest.mark.parametrize(
    "weights",
    [
        np.ones(3),
        np.ones((300, 1)),
        -np.ones(300),
        np.zeros(300),
        np.full(300, np.nan),
        ["a"] * 300,
    ],
)
def test_bad_weights_are_refused(weights):
    with pytest.raises(ValueError, match="`sample_weight` must be"):
        run(sample_weight=weights)


def test_a_transform_brings_batches_to_model_space():
    """Integer rows, transformed batch by batch, as a lazy set would be."""
    X = np.arange(120).reshape(40, 3)
    float_X = (X - 60) / 40.0
    layers = rg.init_layers(np.random.default_rng(0), 3, 2)
    one = rg.fit(
        layers, X, *MODEL, rng=np.random.default_rng(0), epochs=2, transform=lambda rows, rng: (rows - 60) / 40.0
    )  # fmt: skip
    two = rg.fit(layers, float_X, *MODEL, rng=np.random.default_rng(0), epochs=2)
    assert np.array_equal(one.layers[0].W, two.layers[0].W)


def test_the_history_weighs_batches_as_the_samples_are_weighted():
    X = data(60)
    weights = np.ones(60)
    weights[:5] = 200.0
    layers = rg.init_layers(np.random.default_rng(0), 3, 2)
    result = rg.fit(
        layers, X, *MODEL, sample_weight=weights, batch_size=20, epochs=1, learning_rate=1e-12,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    exact = rg.log_likelihood(layers, X, *MODEL).per_sample
    assert result.history[0].train == pytest.approx(np.average(exact, weights=weights), rel=1e-6)


def test_an_epoch_of_tiny_weighted_steps_is_the_weighted_gradient():
    """To first order in eta: each batch counts by its share of the weights."""
    X, rng = data(60), np.random.default_rng(2)
    weights = rng.uniform(0.0, 1.0, 60) ** 3 + 0.01
    layers = rg.init_layers(rng, 3, 2)
    eta = 1e-7
    result = rg.fit(
        layers, X, *MODEL, sample_weight=weights, batch_size=12, epochs=1, learning_rate=eta,
        schedule="constant", rule="plain", rng=rng,
    )  # fmt: skip
    tape = rg.forward(layers, X, MODEL[0])
    R = rg.relative_gradient(
        layers, tape, rg.backprop(layers, tape, *MODEL, weights / weights.mean())
    )
    for new, old, r in zip(result.layers, layers, R, strict=True):
        np.testing.assert_allclose((new.W - old.W) / (5 * eta), r.W, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose((new.b - old.b) / (5 * eta), r.b, rtol=1e-4, atol=1e-4)


def test_the_start_is_kept_if_nothing_beats_it():
    X = data(400)
    start = rg.init_layers(np.random.default_rng(0), 3, 1, kind="whiten", X=X, activation=MODEL[0])
    result = rg.fit(
        start, X, *MODEL, X_val=X, rule="adam", learning_rate=5.0, epochs=3, rng=np.random.default_rng(0)
    )  # fmt: skip
    assert result.best_epoch == 0
    assert np.array_equal(result.best_layers[0].W, start[0].W)


def stumbling(rule, **options):
    X = data(2000)
    seen = []
    watch = [lambda epoch, state: seen.append(state)]
    result = run(X, rule=rule, batch_size=100, epochs=4, callbacks=watch, **options)
    return result, seen


@pytest.mark.parametrize("track_inverse", [False, True])
def test_a_bad_step_is_undone_and_counted(track_inverse):
    """The next batch tells; the fit goes on as if the step had not been, if more carefully."""
    options = {"track_inverse": track_inverse}
    clean, _ = stumbling(rg.Plain(0.05), **options)
    fallen, _ = stumbling(Stumble(0.05), undo=None, **options)
    saved, states = stumbling(Stumble(0.05), **options)
    assert (clean.n_undone, fallen.n_undone, saved.n_undone) == (0, 0, 1)
    assert [e.undone for e in saved.history] == [0, 0, 1, 0]
    assert fallen.history[2].train < clean.history[2].train - 1
    assert saved.history[2].train == pytest.approx(clean.history[2].train, abs=0.1)
    assert all(abs(e.drift) < 1e-10 for e in saved.history)
    if track_inverse:
        for V, (W, _) in zip(states[-1].tracked.inverse, states[-1].layers, strict=True):
            assert np.abs(V @ W - np.eye(3)).max() < 1e-10


def test_a_batch_that_is_not_finite_ends_the_fit_after_one_undo():
    """The step before is not to blame here; no endless going back and forth."""
    X = data(300)
    poisoned = iter(range(1000))

    def transform(rows, rng):
        return rows * (np.nan if next(poisoned) == 7 else 1.0)

    with pytest.raises(rg.FitDivergedError, match="at step 8") as info:
        run(X, rule="plain", compare=False, batch_size=30, transform=transform)
    assert info.value.result.n_undone == 1
    assert info.value.result.n_rejected == 2


def test_outlying_batches_are_no_reason_to_undo():
    X = data(3000)
    X[::97] *= 6.0
    assert run(X, batch_size=30, epochs=2).n_undone == 0


@afterwards
def count(before, after):
    """Steps that only count: b is how many there have been."""
    return after._replace(
        layers=tuple(rg.Layer(W, 0 * b + before.t + 1.0) for W, b in before.layers)
    )


def test_the_average_is_of_the_last_part_of_the_steps():
    """Steps that only count: b is the step number, so that averages can be seen."""
    options = {"rule": "plain", "implementation": count, "batch_size": 10, "undo": None}
    options["compare"] = False
    result = run(data(300), L=1, epochs=10, average=0.1, **options)
    b = float(result.best_layers[0].b[0])
    assert 300 - 30 * 1.2 < b < 300 - 30 / 2  # an exponential average over about 30 steps
    assert float(result.layers[0].b[0]) == 300
    result = run(data(300), L=1, epochs=1, average=None, **options)
    assert float(result.best_layers[0].b[0]) == 30


def test_averages_are_validated_and_may_win():
    """At a constant, noisy step the average is better than the last layers."""
    X, X_val = np.split(data(2400), [400])
    result = run(X, X_val=X_val, rule="plain", learning_rate=0.1, schedule="constant",
                 batch_size=10, epochs=10)  # fmt: skip
    last = result.history[-1]
    assert last.averaged > last.validation
    values = [max(e.averaged, e.validation) for e in result.history]
    assert result.best_epoch == 1 + int(np.argmax(values))
    best = float(rg.log_likelihood(result.best_layers, X_val, *MODEL).mean)
    assert best == pytest.approx(max(values), abs=1e-12)


def test_audits_come_at_the_chosen_interval_and_refresh():
    """A tracker that is off by a nat a step is found and set right."""
    off = []

    @afterwards
    def drift(before, after):
        off.append(float(after.tracked.logdet[0]) - np.linalg.slogdet(after.layers[0].W)[1])
        return after._replace(tracked=after.tracked._replace(logdet=after.tracked.logdet + 1.0))

    options = {"rule": "plain", "learning_rate": 1e-6, "implementation": drift}
    result = run(**options, batch_size=10, epochs=1, refresh=5, undo=None)
    assert result.history[0].drift == pytest.approx(10.0, abs=1e-6)  # two layers, five steps
    assert np.allclose(off, np.arange(30) % 5, atol=1e-3)


def test_samples_at_any_time_from_the_tracked_inverse():
    drawn = []

    def draw(epoch, state):
        rng = np.random.default_rng(epoch.epoch)
        X, log_prob = rg.sample(state.layers, rng, 20, *MODEL, tracked=state.tracked)
        true = rg.log_likelihood(state.layers, X, *MODEL).per_sample
        np.testing.assert_allclose(log_prob, true, atol=1e-8)
        drawn.append(len(X))

    run(track_inverse=True, callbacks=[draw])
    assert drawn == [20] * 4
    layers = rg.init_layers(np.random.default_rng(0), 3, 2)
    with pytest.raises(ValueError, match="`tracked` must hold the inverses of 2 layers"):
        rg.sample(layers, np.random.default_rng(0), 1, *MODEL, tracked=rg.track(layers))


def test_a_fit_that_falls_and_falls_is_ended_with_that_line():
    """Steps that stay bad however small they are: ten are undone, then the fit is given up."""

    @dataclass(frozen=True)
    class Astray(rg.Plain):
        def propose(self, state, tape, deltas):
            if state.t < 30:
                return super().propose(state, tape, deltas)
            return Stumble(0.01, at=state.t).propose(state, tape, deltas)

    with pytest.raises(
        rg.FitDivergedError, match=r"falls and falls at step \d+: \d+ steps"
    ) as info:
        run(data(2000), rule=Astray(0.01), batch_size=20, epochs=2)
    result = info.value.result
    assert result.n_undone >= 10
    assert all(np.isfinite(W).all() for W, _ in result.layers)


@pytest.mark.parametrize("kind", ["plain", "exponential"])
def test_the_recipes_bad_step_is_undone_in_its_chart_and_caution_recovers(kind):
    """Layers and the rule's state come back; sizes: half, then 2 % more with each step."""
    seen, gains = {}, []

    @dataclass(frozen=True)
    class StumbleRecipe(rg.Recipe):
        def propose(self, state, tape, deltas):
            if state.rule_state.use.moves:  # else all rows are measured, before the first step
                seen.setdefault(state.t, []).append((state, self.learning_rate))
            if state.t != 40 or not state.rule_state.use.moves:
                return super().propose(state, tape, deltas)
            wrong = super().propose(state, tape, tuple(-Delta for Delta in deltas))
            gains.extend(f.gain for f in wrong.directions)
            etas = tuple(np.asarray(6.0) for _ in wrong.directions)
            return wrong._replace(eta=etas, bound=None)

    rule = StumbleRecipe(0.05, kind=kind)
    X, rng = data(2000), np.random.default_rng(0)
    layers = rg.init_layers(rng, 3, 2, kind="whiten", X=X, activation=MODEL[0])
    layers = (layers[0], rg.Layer(layers[1].W * 3, layers[1].b))  # so that gains matter
    options = {"batch_size": 20, "epochs": 1, "schedule": "constant"}
    result = rg.fit(layers, X, *MODEL, rule=rule, rng=rng, **options)
    assert result.n_undone == 1
    assert any((factors_gain < 0.9).any() for factors_gain in gains)
    (before, _), (after, rate) = seen[40][0], seen[41][1]
    for one, two in zip(before.layers, after.layers, strict=True):
        np.testing.assert_allclose(one.W, two.W, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(one.b, two.b, rtol=1e-11, atol=1e-12)
    pairs = zip(leaves(before.rule_state), leaves(after.rule_state), strict=True)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in pairs)
    rates = [rate, *(seen[t][-1][1] for t in (42, 43))]
    np.testing.assert_allclose(rates, [0.025, 0.0255, 0.02601], rtol=1e-12)


def test_the_average_has_no_layers_that_were_undone():
    """Two undos in a fit that averages over nearly all of it: the average is a good one."""
    options = {"rule": Stumble(0.05), "batch_size": 20, "epochs": 1, "average": 0.9}
    result = run(data(2000), **options)
    assert result.n_undone == 1
    X = data(2000)
    best, last = (
        float(rg.log_likelihood(layers, X, *MODEL).mean)
        for layers in (result.best_layers, result.layers)
    )
    assert best > last - 0.2


def test_the_average_is_exactly_the_running_one():
    """b counts the steps: weights 1, 1/2, ..., 1/many, then 1/many, every so many steps."""
    options = {"rule": "plain", "implementation": count, "batch_size": 3, "undo": None}
    options["compare"] = False
    result = run(data(300), L=1, epochs=5, average=0.2, **options)
    expected, every, many = 0.0, 3, 33  # a horizon of 100 steps, 32 layers of it
    for taken, t in enumerate(range(every, 500, every), 1):  # the last step is not yet judged
        expected += (t - expected) / min(taken, many)
    assert float(result.best_layers[0].b[0]) == pytest.approx(expected, rel=1e-12)


def test_the_first_twenty_batches_are_for_learning_what_is_usual():
    result = run(data(2000), rule=Stumble(0.05, at=10), batch_size=20, epochs=1)
    assert result.n_undone == 0
    result = run(data(2000), rule=Stumble(0.05, at=25), batch_size=20, epochs=1)
    assert result.n_undone == 1


def test_a_rule_without_tracker_has_no_inverse_to_track():
    with pytest.raises(ValueError, match="`track_inverse` needs a multiplicative rule"):
        run(rule="adam", track_inverse=True)


def test_validation_rows_have_weights():
    """A row of weight 2 counts as two; one of weight 0 not at all, whatever is in it."""
    X, X_val, rng = data(300), data(60)[:40], np.random.default_rng(0)
    weights = rng.integers(0, 3, 40)
    far = np.where(weights[:, None] == 0, 1e6, X_val)
    one = run(X, X_val=far, sample_weight_val=weights)
    two = run(X, X_val=np.repeat(X_val, weights, axis=0))
    for a, b in zip(one.history, two.history, strict=True):
        assert a.validation == pytest.approx(b.validation, rel=1e-12)
    with pytest.raises(ValueError, match="`sample_weight_val` needs `X_val`"):
        run(X, sample_weight_val=weights)
    with pytest.raises(ValueError, match=r"`sample_weight_val` must be numbers of shape \(40,\)"):
        run(X, X_val=X_val, sample_weight_val=weights[1:])
