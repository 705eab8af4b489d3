"""The running average: of which layers, when they join it, and whose memory it is in."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.fitting import progress
from relgrad_np.fitting.average import Average, RunningAverage, averaged, spacing

from ..core.test_trees import arrays

MODEL = rg.activation("smooth_leaky_relu"), rg.density("sech")


def layers(x, D=3, L=2):
    return tuple(rg.Layer(np.full((D, D), x + k), np.full(D, x - k)) for k in range(L))


def values(average):
    """One number for each layer's W, one for its b; all elements of each are alike."""
    found = [(W[0, 0], b[0]) for W, b in average]
    for (W, b), (w, c) in zip(average, found, strict=True):
        assert np.all(w == W)
        assert np.all(b == c)
    return np.array(found)


def running(horizon=8.0, N=5, D=3):
    made = RunningAverage(layers(-100.0, D), horizon, N)
    assert made.every == 1
    return made


def test_it_is_the_mean_of_the_first_and_then_forgets():
    average, mean = running(), np.zeros((2, 2))
    for t in range(1, 31):
        average.offer(layers(float(t)))
        average.confirm()
        x = np.array([[t, t], [t + 1, t - 1]])
        mean = mean + (x - mean) / min(t, 8)
        np.testing.assert_allclose(values(average.layers), mean, rtol=1e-13)
    assert abs(mean[0, 0] - (30 - 7)) < 0.5  # a memory of eight, not of thirty


def test_what_is_offered_waits_until_the_next_batch_has_judged_it():
    average = running()
    assert average.layers is None
    average.offer(layers(1.0))
    assert average.layers is None
    average.forget()  # the step is undone
    average.confirm()
    assert average.layers is None
    average.offer(layers(2.0))
    average.confirm()
    average.confirm()  # counts once
    assert average.average.taken == 1
    assert values(average.layers)[0, 0] == 2.0


def test_offered_layers_are_copied():
    """A kernel goes on in the memory of the layers that it has returned."""
    average, own = running(), layers(1.0)
    average.offer(own)
    for x in arrays(own):
        x += 50
    average.confirm()
    assert values(average.layers)[0, 0] == 1.0


def test_an_average_that_was_returned_is_not_changed_by_the_next_ones():
    """They take the memory of the layers that wait: never that of the average before."""
    average = running()
    seen = []
    for t in range(1, 6):
        average.offer(layers(float(t)))
        average.confirm()
        seen.append((average.layers, values(average.layers)))
    for found, then in seen:
        np.testing.assert_array_equal(values(found), then)


def test_averaged_takes_the_memory_of_the_waiting_layers():
    old, new = layers(1.0), layers(3.0)
    found = averaged(Average(old, 1, new), 10)
    assert all(x is y for x, y in zip(arrays(found.layers), arrays(new), strict=True))
    assert values(old)[0, 0] == 1.0
    assert (found.taken, found.waiting, values(found.layers)[0, 0]) == (2, None, 2.0)


def test_below_a_step_there_is_none():
    average = RunningAverage(layers(0.0), 0.9, 5)
    average.offer(layers(1.0))
    average.confirm()
    average.forget()
    assert (average.average, average.layers, average.wants(1)) == (None, None, False)


@pytest.mark.parametrize(("horizon", "N", "D"), [(3200, 200, 64), (50, 10, 784), (500, 200, 784)])
def test_the_steps_between_two_that_join(horizon, N, D):
    """Some 32 in the horizon where steps cost much, fewer where an average costs as much as a step."""
    every = spacing(horizon, N, D)
    assert every >= max(1, round(horizon / 32))
    assert (every > round(horizon / 32)) == (N == 10)
    average = RunningAverage((rg.Layer(np.eye(D), np.zeros(D)),), horizon, N)
    joined = [t for t in range(1, 10 * every) if average.wants(t)]
    assert joined == list(range(every, 10 * every, every))


class InMemory:
    """A keeper that holds the snapshots themselves, and what was in them when they were written."""

    def __init__(self):
        self.stop, self.held = None, []

    def due(self, t, end):
        return t % 3 == 0

    def write(self, snapshot):
        self.held.append((snapshot, [x.copy() for x in self.of(snapshot)]))

    def of(self, snapshot):
        parts = (snapshot.average, snapshot.state, snapshot.last)
        parts += (snapshot.best_layers, snapshot.good_layers)
        return [x for x in arrays(parts) if isinstance(x, np.ndarray)]

    def unchanged(self):
        return [
            all(np.array_equal(x, y) for x, y in zip(self.of(snapshot), then, strict=True))
            for snapshot, then in self.held
        ]


def snapshots(implementation, rule="plain"):
    """Those of a fit of 40 steps with an average over half of them, looked at when it has ended."""
    rng, keeper = np.random.default_rng(0), InMemory()
    X = rng.laplace(size=(200, 3))
    rg.fit(
        rg.init_layers(rng, 3, 2), X, *MODEL, rule=rule, rng=rng, batch_size=20, epochs=4,
        average=0.5, keeper=keeper, implementation=implementation, X_val=X[:20],
    )  # fmt: skip
    assert len(keeper.held) == 13
    assert all(snapshot.average.taken > 0 for snapshot, _ in keeper.held)
    return keeper


@pytest.mark.parametrize("rule", ["plain", "recipe", "adam"])
@pytest.mark.parametrize("implementation", ["reference", "numba"])
def test_a_snapshot_keeps_its_own_memory(implementation, rule):
    """What a snapshot holds does not change when the fit goes on."""
    if implementation == "numba":
        pytest.importorskip("numba", reason="Numba is not installed")
    assert all(snapshots(implementation, rule).unchanged())


def test_a_snapshot_in_the_memory_of_the_average_would_be_seen(monkeypatch):
    """The mistake: the layers that wait are not copied, and the next average is made in them."""
    monkeypatch.setattr(progress, "copied", lambda x: x)
    assert not all(snapshots("reference").unchanged())
