"""The paper's step: its size is capped, whatever the data."""

import numpy as np
import pytest

import relgrad_np as rg

from ..laws.problems import generic


@pytest.mark.parametrize("rule", [rg.Plain, rg.Exponential])
def test_the_cap_holds_whatever_the_data(rule):
    """Outliers of 1e6 times the scale: eta |K| <= tau, W stays invertible, its sign as it was."""
    p = generic(1, 30, 3, 2)
    X = p.X.copy()
    X[5] *= 1e6
    options = {"activation": p.activation, "density": p.density, "rule": rule(0.5)}
    state = rg.init_state(p.layers, options["rule"])
    signs = state.tracked.sign
    for _ in range(10):
        state, info = rg.train_step(state, X, **options)
        assert not bool(info.rejected)
        for eta, norm in zip(info.eta, info.norms, strict=True):
            assert float(eta) * float(norm) <= 0.7 * (1 + 1e-12)
    assert float(info.eta[0]) < 0.5
    assert np.array_equal(state.tracked.sign, signs)
    for k, (W, _) in enumerate(state.layers):
        assert np.linalg.slogdet(W)[0] == signs[k]
