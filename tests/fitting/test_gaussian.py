"""The Gaussian of the rows: in closed form, and as a net of any depth."""

import mpmath
import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.datasets import gaussian_log_likelihood as of_rows
from relgrad_np.fitting.gaussian import (
    gain_over_gaussian,
    gaussian_layers,
    gaussian_log_likelihood,
    regression_unless_worse,
)

from ..laws.problems import LIBRARIES

NORMAL = rg.density("normal")
ACTIVATIONS = [
    rg.activation("smooth_leaky_relu"), rg.activation("smooth_leaky_relu", alpha=0.05),
    rg.activation("leaky_tanh"), rg.activation("leaky_tanh", alpha=0.3, beta=0.7),
    rg.activation("identity"),
]  # fmt: skip


def rows(N=300, D=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.laplace(size=(N, D)) @ rng.normal(size=(D, D)) + 3


def exact(X, digits):
    """The closed form of 1/N moments, in so many digits."""
    with mpmath.workdps(digits):
        (N, D), x = X.shape, [[mpmath.mpf(float(v)) for v in row] for row in X]
        mu = [mpmath.fsum(row[j] for row in x) / N for j in range(D)]
        C = mpmath.matrix(D, D)
        for i in range(D):
            for j in range(D):
                C[i, j] = mpmath.fsum((row[i] - mu[i]) * (row[j] - mu[j]) for row in x) / N
        return float(-D * mpmath.log(2 * mpmath.pi * mpmath.e) / 2 - mpmath.log(mpmath.det(C)) / 2)


def outlying(*cells, size=1e12):
    X = rows()
    X[3, list(cells)] = size * np.array([1.0, 2.0, -0.3])[: len(cells)]
    return X


def beside_itself():
    X = rows()
    X[:, 3] = X[:, 0] + 3e-8 * np.random.default_rng(1).normal(size=len(X))
    return X


@pytest.mark.parametrize(
    ("X", "digits"),
    [
        (rows(), 40), (rows() * [1e160, 1e-160, 1e100, 1], 700), (rows() + 1e8, 60), (beside_itself(), 80),
        (outlying(0), 80), (outlying(0, 1), 120), (outlying(0, 1, size=1e30), 250),
        (outlying(0, 1, 2, size=1e30), 250),
    ],
)  # fmt: skip
def test_the_closed_form_to_eight_digits_for_any_rows(X, digits):
    assert gaussian_log_likelihood(X) == pytest.approx(exact(X, digits), abs=1e-7)


def test_it_is_the_mean_of_the_baseline_over_its_own_rows():
    X = rows()
    assert gaussian_log_likelihood(X) == pytest.approx(of_rows(X, X).mean(), abs=1e-12)
    assert abs(gaussian_log_likelihood(X) - of_rows(X[1:], X).mean()) > 1e-6


@pytest.mark.parametrize("X", [rows(), beside_itself(), outlying(0, 1)])
def test_weights_repeat_rows(X):
    w = np.random.default_rng(0).integers(0, 4, len(X))
    again = gaussian_log_likelihood(np.repeat(X, w, axis=0))
    for scale in (1.0, 1e-200, 1e200):
        assert gaussian_log_likelihood(X, scale * w) == pytest.approx(again, abs=1e-7)
    assert abs(gaussian_log_likelihood(X) - again) > 1e-3


def test_never_nan():
    X = rows()
    assert gaussian_log_likelihood(X[:4]) == np.inf
    assert gaussian_log_likelihood(X * [1, 0, 1, 1]) == np.inf
    assert gaussian_log_likelihood(X[:, [0, 1, 2, 0]]) == np.inf
    assert gaussian_log_likelihood(X, np.zeros(len(X))) == np.inf
    for bad in (np.nan, np.inf):
        X[2, 1] = bad
        assert gaussian_log_likelihood(X) == -np.inf


def found(layers, X, act):
    return float(rg.log_likelihood(layers, X, act, NORMAL).mean)


@pytest.mark.parametrize("act", ACTIVATIONS, ids=lambda a: f"{a.name}-{a.params}")
@pytest.mark.parametrize("L", [1, 2, 3, 5])
def test_the_net_is_the_gaussian_on_its_rows(act, L):
    for X in (rows(), rows() * [1e160, 1e-160, 1, 1e9], rows() + 1e7, beside_itself(), outlying(1)):
        layers = gaussian_layers(X, L, act)
        assert len(layers) == L
        assert found(layers, X, act) == pytest.approx(gaussian_log_likelihood(X), abs=1e-6)
        if L > 1 and act.name != "identity":  # planted: unshifted, the activation bends them
            W, b = layers[0]
            bent = (rg.Layer(W, b - b.mean()), *layers[1:])
            assert abs(found(bent, X, act) - gaussian_log_likelihood(X)) > 1e-3
    for X in (rows(), outlying(1)):
        X = X.astype("f4")
        layers = gaussian_layers(X, L, act)
        assert {x.dtype for layer in layers for x in layer} == {np.dtype("f4")}
        assert found(layers, X, act) == pytest.approx(gaussian_log_likelihood(X), abs=1e-2)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_layers_are_arrays_of_the_library_of_the_rows(library):
    X = LIBRARIES[library](rows())
    for layer in gaussian_layers(X, 3, rg.activation("leaky_tanh")):
        assert type(layer.W) is type(layer.b) is type(X)


def test_none_where_the_activation_bends_everywhere():
    from relgrad_np.core.activations import make

    bending = make(
        "bending",
        {},
        sigma=lambda xp, y: xp.asinh(y) if hasattr(xp, "asinh") else np.arcsinh(y),
        log_dsigma=lambda xp, y: -xp.log1p(y * y) / 2,
        dsigma=lambda xp, y: 1 / (1 + y * y) ** 0.5,
        dlog_dsigma=lambda xp, y: -y / (1 + y * y),
        inverse=lambda xp, z: np.sinh(z),
    )
    assert gaussian_layers(rows(), 2, bending) is None
    assert gaussian_layers(rows(), 1, bending) is not None


def test_deficient_rows_are_refused_by_name():
    with pytest.raises(ValueError, match="`X` has the constant column 1"):
        gaussian_layers(rows() * [1, 0, 1, 1], 2, rg.activation("identity"))


def test_a_flow_is_kept_only_where_it_is_better_on_validation_rows():
    """However little, and however sure: what overfits a little is not kept."""
    rng, act = np.random.default_rng(0), rg.activation("identity")
    X, X_val = rng.standard_normal((500, 3)), rng.standard_normal((50, 3))
    right = gaussian_layers(X, 1, act)
    off = np.eye(3)[0] * np.sign((X_val @ right[0].W.T + right[0].b).mean(axis=0))  # (3,)
    for shift, kept in ((0.01, False), (-0.01, True)):
        layers = (rg.Layer(right[0].W, right[0].b + shift * off),)
        gain = gain_over_gaussian(layers, act, NORMAL, right, X_val)
        assert abs(gain.mean()) < 2 * gain.std() / np.sqrt(len(gain))
        plain = regression_unless_worse(layers, act, NORMAL, X, X_val, context=0)
        assert (plain is None) == kept
