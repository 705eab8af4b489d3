"""Adam on the relative gradient is Adam."""

import numpy as np

import relgrad_np as rg

from ..laws.problems import generic


def test_adam_is_adam():
    """Against the textbook loop, and the clock of the published code."""
    p = generic(0, 40, 3, 1)
    for clock in (1, 5):
        rule = rg.Adam(0.01, clock=clock)
        state = rg.init_state(p.layers, rule)
        W, m, v = p.layers[0].W, np.zeros((3, 3)), np.zeros((3, 3))
        b, m_b, v_b = p.layers[0].b, np.zeros(3), np.zeros(3)
        for t in range(12):
            net = (rg.Layer(W, b),)
            tape = rg.forward(net, p.X, p.activation)
            R = rg.relative_gradient(net, tape, rg.backprop(net, tape, *p.model))[0]
            tick = 1 + t // clock
            m, v = 0.9 * m + 0.1 * R.W, 0.999 * v + 0.001 * R.W**2
            m_b, v_b = 0.9 * m_b + 0.1 * R.b, 0.999 * v_b + 0.001 * R.b**2
            W = W + 0.01 * m / (1 - 0.9**tick) / (np.sqrt(v / (1 - 0.999**tick)) + 1e-8)
            b = b + 0.01 * m_b / (1 - 0.9**tick) / (np.sqrt(v_b / (1 - 0.999**tick)) + 1e-8)
            state, _ = rg.train_step(
                state, p.X, activation=p.activation, density=p.density, rule=rule
            )
        np.testing.assert_allclose(state.layers[0].W, W, rtol=1e-12)
        np.testing.assert_allclose(state.layers[0].b, b, rtol=1e-12)
