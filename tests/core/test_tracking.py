"""What is tracked stays as wide as the device has it; an audit sees drift, and starts afresh."""

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import namespace, to_numpy
from relgrad_np.core.numerics import widest
from relgrad_np.core.tracking import DRIFT

from ..laws.problems import NARROW, convert, generic, suited

SHAPE = (4, 7, 2)


@pytest.mark.parametrize("library", NARROW)
def test_the_tracker_is_as_wide_as_the_device(library):
    """30 steps in float32 alone: a sum of 30 numbers, each rounded once."""
    p = convert(suited(generic(1, 5, 11, 2), library), library)
    assert widest(p.X) == namespace(p.X, "X").float32
    state = rg.init_state(p.layers, rg.Plain(0.02))
    assert state.tracked.logdet.dtype == widest(p.X)
    for _ in range(30):
        state, info = rg.train_step(
            state, p.X, activation=p.activation, density=p.density, rule=rg.Plain(0.02)
        )
        assert info.log_likelihood.dtype == widest(p.X)
    for k, (W, _) in enumerate(state.layers):
        W = to_numpy(W).astype(float)
        drift = abs(float(state.tracked.logdet[k]) - np.linalg.slogdet(W)[1])
        eps = float(np.finfo("f4").eps)
        assert drift <= 30 * eps * (8 + abs(float(state.tracked.logdet[k]))) * np.linalg.cond(W)


@pytest.mark.parametrize("kind", ["plain", "exponential"])
@pytest.mark.parametrize("shape", [SHAPE, (9, 4, 3)])
def test_the_tracker_of_float32_layers_computes_in_float64(kind, shape):
    """From K and the factors as float32 has them, so that many steps do not add up its rounding."""
    p, eta = generic(2, *shape, dtype="float32"), np.float32(0.05)
    tape = rg.forward(p.layers, p.X, p.activation)
    fs = rg.factors(p.layers, tape, rg.backprop(p.layers, tape, *p.model))
    before = rg.track(p.layers)
    after = rg.track_step(before, fs, float(eta), kind=kind)
    plain = kind == "plain"
    c, scale = (eta / (1 + eta), 1 + eta) if plain else (eta, np.exp(eta))
    for k, f in enumerate(fs):
        K, wide = f.K.astype("float64"), np.float64(c)
        moved = np.linalg.slogdet(np.eye(len(K)) + wide * K)[1] if plain else wide * np.trace(K)
        moved += shape[1] * np.log(np.float64(scale))
        assert abs(after.logdet[k] - before.logdet[k] - moved) < 1e-13


def test_an_audit_passes_what_is_right_and_refreshes_what_is_not():
    layers = generic(3, *SHAPE).layers
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
    layers = generic(3, *SHAPE).layers
    tracked = rg.track(layers, inverse=True)
    V = tracked.inverse
    found = rg.audit(tracked._replace(inverse=(V[0], V[1] * np.nan)), layers)
    assert found.refreshed
    assert np.isfinite(found.tracked.inverse[1]).all()
    with pytest.raises(ValueError, match="`tracked` must be of 1 layers"):
        rg.audit(tracked, layers[:1])
