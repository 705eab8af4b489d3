"""Many steps in one call: bitwise those of one at a time, whatever happens between and in them."""

import itertools
import signal

import numpy as np
import pytest

pytest.importorskip("numba", reason="Numba is not installed")

import relgrad_np as rg
from relgrad_np.core.trees import each_array
from relgrad_np.fitting import advance, batches
from relgrad_np.fitting.average import Average, RunningAverage, averaged
from relgrad_np.kernels.cpu import averages, stored, whole_step
from relgrad_np.kernels.cpu import step as cpu
from relgrad_np.kernels.cpu.records import Averaging, LayerArrays
from relgrad_np.rules import guard
from relgrad_np.runs.checkpoint import CheckpointWriter

from ..core.test_trees import arrays

MODEL = rg.activation("smooth_leaky_relu"), rg.density("sech")
RULES = ["plain", "exponential", "recipe", "scalar", "adam"]


def data(dtype="float64", D=4, N=900):
    rng = np.random.default_rng(5)
    X = rng.laplace(size=(N, D)) @ rng.uniform(-1, 1, (D, D)).T + 0.5
    return X.astype(dtype)


EVERYTHING = {
    "average": 0.5, "undo": 3.0, "warmup": 5, "schedule": "cosine", "refresh": 17, "epochs": 4,
}  # fmt: skip


class Last:
    """A keeper that holds the last snapshot, and may end the fit after step t."""

    stop = None

    def __init__(self, t=None):
        self.t = t

    def next_due(self, t):
        return self.t if self.t is not None and t < self.t else 10**9

    def due(self, t, end):
        self.stop = 15 if t == self.t else None
        return True

    def write(self, snapshot):
        self.snapshot = snapshot


def fit(rule, dtype="float64", X=None, **options):
    """A fit with everything on that goes along with steps, but what is given; and its snapshot."""
    X = data(dtype) if X is None else X
    rng, keeper = np.random.default_rng(3), options.pop("keeper", Last())
    given = {"X_val": X[:40], "sample_weight": np.arange(1, len(X) + 1) % 5, **EVERYTHING}
    result = rg.fit(
        rg.init_layers(rng, X.shape[1], 2, dtype=str(X.dtype)), X, *MODEL, rule=rule, rng=rng,
        batch_size=13, implementation="numba", keeper=keeper, **{**given, **options},
    )  # fmt: skip
    return result, keeper.snapshot


@pytest.fixture
def calls(monkeypatch):
    """How many steps each call took; no clock says how many."""
    taken = []

    def several(step):
        def many(*args, **options):
            found = cpu.take_steps(*args, **options)
            taken.append(found.n if found else 0)
            return found

        return many

    monkeypatch.setattr(advance, "several", several)
    monkeypatch.setattr(advance, "CALL", 10**9)
    return taken


def alone(monkeypatch):
    monkeypatch.setattr(advance, "several", lambda step: None)


def all_of(fitted):
    """Every number that a fit leaves, also in its last snapshot, but the seconds."""
    result, snapshot = fitted
    history = tuple(entry._replace(seconds=0.0) for entry in result.history)
    numbers = (
        result.layers, result.best_layers, result.best_epoch, result.tracked, result.n_undone,
        result.n_falls, result.rule_state, history,
        snapshot._replace(seconds=0.0, history=(), terms=None, rng_epoch=None, rng_now=None),
    )  # fmt: skip
    return [np.asarray(x) for x in arrays(numbers)] + [repr(snapshot.rng_now)]


def same(one, two):
    """The same numbers, bit by bit."""
    return all(
        np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
        for a, b in zip(all_of(one), all_of(two), strict=True)
    )


@pytest.mark.parametrize(
    "dtype", ["float64", pytest.param("float32", marks=pytest.mark.recompiles)]
)
@pytest.mark.parametrize("rule", RULES)
def test_the_bits_are_those_of_one_step_at_a_time(rule, dtype, calls, monkeypatch):
    """Weights, validation, average, undo, audits, warmup and schedule; two sizes of batches."""
    choices = [{}, {"sample_weight": None, "X_val": None}, {"undo": None, "average": None}]
    many = [fit(rule, dtype, **options) for options in choices]
    assert max(calls) > 5
    assert (many[0][0].n_undone > 0) == (rule != "adam")
    alone(monkeypatch)
    for one, options in zip(many, choices, strict=True):
        assert same(one, fit(rule, dtype, **options))


@pytest.mark.parametrize("rule", ["plain", "recipe", "adam"])
def test_a_fit_goes_on_in_the_middle_of_a_call(rule, calls):
    """Ended where else a call would have gone on, and resumed: the same bits."""
    whole = fit(rule)
    for t in (1, 38, 69, 130, 137):
        _, snapshot = fit(rule, keeper=Last(t))
        assert snapshot.state.t == t
        assert same(fit(rule, resume=snapshot), whole)


@pytest.mark.parametrize("rule", ["plain", "recipe"])
def test_the_sizes_of_calls_do_not_matter(rule, calls, monkeypatch):
    whole = fit(rule)
    sizes = itertools.cycle([3, 1, 8, 2, 30])
    steps = advance.Steps.advance

    def other(self, *args):
        self.call = next(sizes)
        return steps(self, *args)

    monkeypatch.setattr(advance.Steps, "advance", other)
    before = len(calls)
    assert same(fit(rule), whole)
    assert calls[before:] != calls[:before]


@pytest.mark.parametrize("rule", ["plain", "scalar", "adam"])
def test_a_batch_that_is_not_finite_is_found_inside_a_call(rule, calls, monkeypatch):
    """Divergence names the same step, whose batch is in the middle of one call, and counts alike."""
    X = data()
    X[77] = 1.7e308
    errors = []
    for _ in range(2):
        with pytest.raises(rg.FitDivergedError) as info:
            fit(rule, X=X, average=None, compare=False, X_val=X[:40])
        errors.append(info.value)
        alone(monkeypatch)
    assert str(errors[0]) == str(errors[1])
    assert max(calls) > 1
    one, two = (error.result._replace(seconds=0.0, history=()) for error in errors)
    assert repr(one) == repr(two)


def planted(monkeypatch, what):
    """Plant a mistake in what goes along with the steps of a call."""
    plan = advance.Plan
    if what == "the first batch of a call judges nothing":
        monkeypatch.setattr(
            advance, "Plan", lambda *args, **given: plan(*args, **{**given, "judged": False})
        )
    elif what == "the guard judges by the numbers of the call before":
        known = []

        def late(*args, **given):
            known.append(given["usual"])
            return plan(*args, **{**given, "usual": known[max(len(known) - 2, 0)]})

        monkeypatch.setattr(advance, "Plan", late)
    elif what == "the average misses the last step of a call":
        note = RunningAverage.note_many
        monkeypatch.setattr(
            RunningAverage, "note_many", lambda self, x: note(self, x._replace(waiting=False))
        )
    elif what == "the step before the last one would be undone":
        monkeypatch.setattr(cpu, "max", lambda n, one: max(n - 1, one), raising=False)
    elif what == "a batch is left out after a call":
        skip = batches.Upcoming.skip
        monkeypatch.setattr(
            batches.Upcoming,
            "skip",
            lambda self, n: skip(self, min(n + 1, len(self.parts) - self.at - 1)),
        )
    elif what == "no audit after a call":
        monkeypatch.setattr(advance.Progress, "audit_if_due", lambda self: None)


MISTAKES = [
    "the first batch of a call judges nothing",
    "the guard judges by the numbers of the call before",
    "the average misses the last step of a call",
    "the step before the last one would be undone",
    "no audit after a call",
]


@pytest.mark.parametrize("what", MISTAKES)
def test_a_planted_mistake_is_seen(what, calls, monkeypatch):
    right = fit("plain")
    assert right[0].n_undone > 2
    planted(monkeypatch, what)
    try:
        wrong = fit("plain")
    except rg.FitDivergedError:
        return
    assert not same(right, wrong)


def test_guard_and_average_round_as_python_does():
    """Random histories: what kernels compile of the guard, and their average, bit by bit."""
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        old, new = (layers(rng, dtype) for _ in range(2))
        average, usual = Average(each_array(np.copy, old), 3, None), (0.0, 0.0, 0.0, 1.0)
        places, compiled = (addresses(old), addresses(new)), np.array(usual)
        for i in range(60):
            now, value = layers(rng, dtype), -40 * rng.exponential() ** 3
            both(now, places, 4 + i, i == 0, compiled, value)
            average = averaged(average._replace(waiting=each_array(np.copy, now)), 8)
            for x, y in zip(arrays(average.layers), arrays(new), strict=True):
                np.testing.assert_array_equal(x, y)
            usual = guard.learned(*usual, value)
            assert tuple(compiled[:4]) == usual
            fell = guard.fell(*usual[:3], 2.0, value)
            assert whole_step.has_fallen(*usual[:3], 2.0, value) == fell


def test_rounding_that_is_not_pythons_is_seen():
    """The mistake: kernels may fuse a product and a sum, as they do elsewhere."""
    from relgrad_np.kernels.cpu.compile import inlined

    fused, rng = inlined(guard.learned), np.random.default_rng(0)
    numbers = [(30.0, *rng.standard_normal(2), 1.0, x) for x in rng.standard_normal(50)]
    assert any(fused(*x) != guard.learned(*x) for x in numbers)


def layers(rng, dtype, D=5, L=2):
    drawn = rng.standard_normal((L, D + 1, D)).astype(dtype)
    return tuple(rg.Layer(x[1:].copy(), x[0].copy()) for x in drawn)


def addresses(net):
    return np.array([[W.ctypes.data for W, _ in net], [b.ctypes.data for _, b in net]])


@stored.compiled
def _both(like, net, averaging, taken, first, usual, value):
    averages.join(LayerArrays(*net), like, Averaging(*averaging), taken, first)
    usual[0], usual[1], usual[2], usual[3] = whole_step.has_learned(
        usual[0], usual[1], usual[2], usual[3], value
    )


def both(now, places, taken, first, usual, value):
    """Let layers join the average, and the guard learn, as kernels do."""
    net = addresses(now)[0], np.array([b for _, b in now])
    _both(now[0].W[None], net, (1, 8, 0, 3, True, *places), taken, first, usual, value)


def test_a_call_takes_as_long_as_it_may(calls, monkeypatch):
    """By a clock of its own: 2 ms a step; and a keeper that does not say when it is due is asked
    after each step."""
    monkeypatch.setattr(advance, "CALL", 0.03)

    class Time:
        perf_counter = staticmethod(lambda: 0.0)

    done = []
    monkeypatch.setattr(advance, "time", Time)
    note = advance.Progress.note_many

    def slowly(self, taken, weights):
        note(self, taken, weights)
        done.append(taken.n)
        Time.perf_counter = staticmethod(lambda: 2e-3 * sum(done))

    monkeypatch.setattr(advance.Progress, "note_many", slowly)
    fit("plain", undo=None)
    assert max(calls) == 15


def test_a_keeper_without_a_plan_is_asked_after_each_step(calls):
    asked = []

    class Curious:
        stop = None

        def due(self, t, end):
            asked.append(t)
            return end

        def write(self, snapshot):
            self.snapshot = snapshot

    result, _ = fit("plain", keeper=Curious())
    assert calls == []
    assert asked == list(range(1, result.history[-1].t + 1))


def test_a_writer_of_checkpoints_says_when_it_is_due(tmp_path, calls):
    writer = CheckpointWriter(tmp_path, "run", steps=9)
    written = []
    writer.write = lambda snapshot: written.append(snapshot.state.t)
    writer.snapshot = None
    fit("plain", keeper=writer)
    assert max(calls) == 9
    assert set(range(9, 220, 9)) <= set(written)
    assert CheckpointWriter(tmp_path, "run").next_due(7) > 10**9


def test_an_interrupt_comes_through_between_calls(calls, monkeypatch):
    """A signal that arrives in a call is raised when that call ends, not at the epoch's end."""
    many, steps = cpu.take_steps, []

    def press(step):
        def several(*args, **options):
            signal.raise_signal(signal.SIGINT)
            steps.append(args[0].t)
            return many(*args, **options)

        return several

    monkeypatch.setattr(advance, "several", press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a command may have its own
    try:
        with pytest.raises(KeyboardInterrupt):
            fit("plain")
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(steps) == 0
