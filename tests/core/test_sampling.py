"""From the latent to the data: `inverse` undoes `forward`, `sample` draws from the model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy

from ..laws.problems import (
    EPS,
    LIBRARIES,
    assert_close,
    convert,
    generic,
    in_every_library,
    problems,
    tolerances,
)

libraries = pytest.mark.parametrize("library", LIBRARIES)
ONTO = ("smooth_leaky_relu", "leaky_tanh", "identity")
NOT_ONTO = ("softplus", "elu")


def with_activation(problem, activation, factor=1.0):
    return problem._replace(activation=activation, X=problem.X * factor)


def single(problem):
    """The same problem in float32."""
    layers = tuple(rg.Layer(W.astype("float32"), b.astype("float32")) for W, b in problem.layers)
    return problem._replace(layers=layers, X=problem.X.astype("float32"))


def back_tolerance(problem, eps, inherited):
    """What X may be wrong by: the latent's error, through each solve and each inverse.

    A solve adds 64 eps cond(W) (|W| |Z| + |b|), an inverse of sigma 64 eps (|Z| + |Y|), both
    divided by what they divide by.
    """
    c = 64 * eps
    layers = [(W.astype("float64"), b.astype("float64")) for W, b in problem.layers]
    tape = rg.forward(
        [rg.Layer(*layer) for layer in layers], problem.X.astype("float64"), problem.activation
    )
    e = np.full(problem.X.shape, inherited)
    for k in reversed(range(len(layers))):
        W, b = layers[k]
        size = np.abs(tape.Zs[k]) @ np.abs(W).T + 2 * np.abs(b) + np.abs(tape.Ys[k])
        e = (e + c * np.linalg.cond(W) * size) @ np.abs(np.linalg.inv(W)).T
        if k > 0:
            Y = tape.Ys[k - 1]
            # the slope where the inverse may have come out: at most e off, and its bend is <= 1
            slope = problem.activation.dsigma(Y)
            e = (e + c * (np.abs(tape.Zs[k]) + np.abs(Y) * slope + 1)) / slope * 1.01
    return float(np.max(e))


def undoes_forward(problem, inverse=rg.inverse, eps=EPS):
    """The law `inverse_undoes_forward` for any activation, size and dtype, in NumPy."""
    Z = rg.forward(problem.layers, problem.X, problem.activation).Zs[-1]
    X = inverse(problem.layers, Z, problem.activation)
    assert X.dtype == problem.X.dtype
    inherited = tolerances(problem, eps)["Y"][-1]
    assert_close(X, problem.X, back_tolerance(problem, eps, inherited), "X back")


@given(problem=problems(activations=ONTO, max_D=5))
def test_inverse_undoes_forward_in_float32(problem):
    undoes_forward(single(problem), eps=2.0**-23)


@given(
    seed=st.integers(0, 2**16),
    factor=st.floats(0.1, 30.0),
    activation=st.one_of(
        st.floats(0.01, 1.0).map(lambda a: rg.activation("smooth_leaky_relu", alpha=a)),
        st.tuples(st.floats(0.3, 3.0), st.floats(0.05, 1.0)).map(
            lambda ab: rg.activation("leaky_tanh", alpha=ab[0], beta=ab[1])
        ),
    ),
)
def test_inverse_with_any_activation(seed, factor, activation):
    undoes_forward(with_activation(generic(seed, 9, 3, 2), activation, factor))


@pytest.mark.parametrize("seed", range(2))
def test_inverse_of_many_samples_with_the_default_activations(seed):
    for name in ONTO:
        undoes_forward(with_activation(generic(seed, 2000, 4, 3), rg.activation(name)))


@in_every_library(libraries=LIBRARIES, problem=problems(activations=ONTO))
def test_forward_undoes_inverse(problem, library):
    """The other way round, for a latent that is no image of the samples."""
    p = convert(problem, library)
    X = rg.inverse(p.layers, p.X, p.activation)
    Z = rg.forward(p.layers, X, p.activation).Zs[-1]
    drawn = problem._replace(X=to_numpy(X))
    assert_close(Z, problem.X, 2 * latent_tolerance(drawn), "Z back")


def latent_tolerance(problem):
    """Of forward, with a backward stable solve for each product: cond(W) for its growth."""
    cond = max(np.linalg.cond(W) for W, _ in problem.layers)
    return (1 + cond) * tolerances(problem)["Y"][-1]


def biases_in_the_wrong_order(layers, Z, activation):
    """A fact about the published code: each layer is given another layer's bias."""
    biases = [b for _, b in layers][::-1]
    swapped = tuple(rg.Layer(W, b) for (W, _), b in zip(layers, biases, strict=True))
    return rg.inverse(swapped, Z, activation)


def bias_forgotten(layers, Z, activation):
    return rg.inverse(tuple(rg.Layer(W, 0 * b) for W, b in layers), Z, activation)


def transposed(layers, Z, activation):
    return rg.inverse(tuple(rg.Layer(W.T, b) for W, b in layers), Z, activation)


def linear(layers, Z, activation):
    return rg.inverse(layers, Z, rg.activation("identity"))


def imprecise(layers, Z, activation):
    return rg.inverse(layers, Z, activation) * (1 + 1e-9)


@pytest.mark.parametrize(
    "wrong", [biases_in_the_wrong_order, bias_forgotten, transposed, linear, imprecise]
)
def test_a_planted_mistake_is_rejected(wrong):
    for seed in range(5):
        with pytest.raises(AssertionError, match="X back"):
            undoes_forward(generic(seed, 5, 3, 2), inverse=wrong)


@libraries
@pytest.mark.parametrize("function", ["inverse", "sample"])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_singular_layer_is_named(k, function, library):
    p = generic(1, 5, 4, 3)
    layers = list(p.layers)
    W = layers[k].W.copy()
    W[2] = 0  # in any order of elimination exactly singular
    layers[k] = rg.Layer(W, layers[k].b)
    p = convert(p._replace(layers=tuple(layers)), library)
    call = {
        "inverse": lambda: rg.inverse(p.layers, p.X, p.activation),
        "sample": lambda: rg.sample(p.layers, np.random.default_rng(0), 3, *p.model),
    }[function]
    with pytest.raises(np.linalg.LinAlgError, match=f"`W of layer {k}` is singular"):
        call()


@pytest.mark.parametrize("name", NOT_ONTO)
def test_inverse_of_what_is_not_onto_is_nan_outside_its_range(name):
    p = with_activation(generic(2, 6, 3, 2), rg.activation(name))
    Z = rg.forward(p.layers, p.X, p.activation).Zs[-1]
    assert_close(rg.inverse(p.layers, Z, p.activation), p.X, 1e-10, "X back")
    W, b = p.layers[1]
    outside = np.full((1, 3), -2.0) @ W.T + b
    assert np.isnan(rg.inverse(p.layers, outside, p.activation)).all()


def test_inverse_checks_its_arguments():
    p = generic(0, 5, 4, 2)
    with pytest.raises(ValueError, match=r"`Z` must have shape \(5, 4\), got \(5, 3\)"):
        rg.inverse(p.layers, p.X[:, :3], p.activation)
    with pytest.raises(TypeError, match="`Z` must be an array, got list"):
        rg.inverse(p.layers, p.X.tolist(), p.activation)
    with pytest.raises(ValueError, match="`Z` is float32, `W of layer 0` is float64"):
        rg.inverse(p.layers, p.X.astype("float32"), p.activation)
    with pytest.raises(TypeError, match="`Z` is a array_api_strict array"):
        rg.inverse(p.layers, LIBRARIES["strict"](p.X), p.activation)
    with pytest.raises(TypeError, match="`layers` must be a tuple of Layer"):
        rg.inverse(p.X, p.X, p.activation)


# Draws


def log_prob_is_that_of_the_draw(problem, library="numpy", sample=rg.sample, n=8):
    p = convert(problem, library)
    X, log_prob = sample(p.layers, np.random.default_rng(3), n, *p.model)
    assert type(X) is type(log_prob) is type(p.X)
    assert X.dtype == log_prob.dtype == p.X.dtype
    assert X.shape == (n, problem.X.shape[1])
    assert log_prob.shape == (n,)
    terms = rg.log_likelihood(p.layers, X, *p.model)
    drawn = problem._replace(X=to_numpy(X))
    allowed, tape = tolerances(drawn), rg.forward(problem.layers, drawn.X, problem.activation)
    D = drawn.X.shape[1]
    # each Y of the two passes may differ by 2 tol, a solve for a product: cond(W) for its growth
    cond = max(np.linalg.cond(W) for W, _ in problem.layers)
    slopes = [np.abs(problem.activation.dlog_dsigma(Y)).max() for Y in tape.Ys[:-1]]
    # the score at most 2 e further: |score'| <= 1 for each density here
    last = (1 + cond) * 2 * allowed["Y"][-1]
    slopes.append(np.abs(problem.density.score(tape.Zs[-1])).max() + last)
    error = sum((1 + cond) * 2 * e * s for e, s in zip(allowed["Y"], slopes, strict=True)) * D
    size = sum(np.abs(to_numpy(x)).max() for x in terms)
    assert_close(log_prob, to_numpy(terms.per_sample), error + 64 * EPS * size, "log p of draws")


@in_every_library(libraries=LIBRARIES, problem=problems(activations=ONTO))
def test_log_prob_of_a_draw(library, problem):
    log_prob_is_that_of_the_draw(problem, library)


def without_the_determinant(layers, rng, n, activation, density):
    X, log_prob = rg.sample(layers, rng, n, activation, density)
    return X, log_prob - rg.log_likelihood(layers, X, activation, density).L_J2


def with_its_sign_turned(layers, rng, n, activation, density):
    X, log_prob = rg.sample(layers, rng, n, activation, density)
    return X, log_prob - 2 * rg.log_likelihood(layers, X, activation, density).L_J2


def base_density_alone(layers, rng, n, activation, density):
    X, _ = rg.sample(layers, rng, n, activation, density)
    return X, rg.log_likelihood(layers, X, activation, density).L_p


@pytest.mark.parametrize(
    "wrong", [without_the_determinant, with_its_sign_turned, base_density_alone]
)
def test_a_wrong_log_prob_is_rejected(wrong):
    for seed in range(5):
        with pytest.raises(AssertionError, match="log p of draws"):
            log_prob_is_that_of_the_draw(generic(seed, 5, 4, 3), sample=wrong)


@libraries
@pytest.mark.parametrize("name", ONTO)
def test_the_latent_of_a_draw_is_a_draw_of_the_density(name, library):
    """Made with NumPy in float64, then moved."""
    problem = with_activation(generic(4, 5, 3, 2), rg.activation(name))
    p = convert(problem, library)
    X, _ = rg.sample(p.layers, np.random.default_rng(9), 7, *p.model)
    Z = problem.density.sample(np.random.default_rng(9), (7, 3))
    drawn = problem._replace(X=to_numpy(X))
    Z_back = rg.forward(p.layers, X, p.activation).Zs[-1]
    assert_close(Z_back, Z, 2 * latent_tolerance(drawn), "latent")


def test_draws_in_float32():
    p = single(generic(4, 5, 3, 2))
    X, log_prob = rg.sample(p.layers, np.random.default_rng(9), 7, *p.model)
    assert X.dtype == log_prob.dtype == np.float32
    double = [rg.Layer(W.astype("float64"), b.astype("float64")) for W, b in p.layers]
    Y, other = rg.sample(double, np.random.default_rng(9), 7, *p.model)
    at_double = p._replace(layers=tuple(double), X=Y)
    e = back_tolerance(at_double, 2.0**-23, 2.0**-23 * np.abs(Y).max() * 30)
    assert_close(X, Y, e, "X in float32")
    assert_close(log_prob, other, 100 * e, "log p in float32")


VARIANCES = {"normal": 1.0, "logistic": np.pi**2 / 3, "laplace": 2.0, "sech": np.pi**2 / 4}
EXCESS = {"normal": 0.0, "logistic": 1.2, "laplace": 3.0, "sech": 2.0}  # kurtosis - 3


def moments_match(problem, name, sample=rg.sample, n=40000):
    """X = V (Z - b), so mean -V b, covariance V V' var(Z), within five standard errors."""
    density = rg.density(name)
    (W1, b1), (W2, b2) = problem.layers
    V = np.linalg.inv(W2 @ W1)
    mean = -V @ (W2 @ b1 + b2)
    C = V @ V.T * VARIANCES[name]
    X, log_prob = sample(
        problem.layers, np.random.default_rng(21), n, rg.activation("identity"), density
    )
    v = np.diag(C)
    assert (np.abs(X.mean(axis=0) - mean) <= 5 * np.sqrt(v / n)).all(), "mean"
    error = np.abs((X - mean).T @ (X - mean) / n - C)
    assert (error <= 5 * np.sqrt((2 + EXCESS[name]) * np.outer(v, v) / n)).all(), "covariance"
    if name == "normal":  # the mean of log p is the negative entropy, its variance D / 2
        D = len(C)
        expected = -(D * np.log(2 * np.pi) + np.linalg.slogdet(C)[1] + D) / 2
        assert abs(log_prob.mean() - expected) <= 5 * np.sqrt(D / 2 / n), "entropy"


@pytest.mark.parametrize("name", VARIANCES)
@pytest.mark.parametrize("seed", [0, 1])
def test_moments_of_a_linear_model(name, seed):
    moments_match(with_activation(generic(seed, 5, 3, 2), rg.activation("identity")), name)


def forwards(layers, rng, n, activation, density):
    Z = density.sample(rng, (n, len(layers[0].b)))
    return rg.forward(layers, Z, activation).Zs[-1], np.zeros(n)


def mean_turned(layers, rng, n, activation, density):
    turned = tuple(rg.Layer(W, -b) for W, b in layers)
    return rg.sample(turned, rng, n, activation, density)


@pytest.mark.parametrize("wrong", [forwards, mean_turned])
def test_wrong_moments_are_rejected(wrong):
    with pytest.raises(AssertionError, match=r"mean|covariance"):
        moments_match(generic(0, 5, 3, 2), "logistic", sample=wrong)


def test_draws_are_reproducible_and_leave_the_global_state_alone():
    p = generic(4, 5, 3, 2)
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = (
        rg.sample(p.layers, np.random.default_rng(seed), 6, *p.model)[0] for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).all()
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("name", NOT_ONTO)
def test_what_is_not_onto_is_refused_before_a_draw(name):
    p, rng = with_activation(generic(4, 5, 3, 2), rg.activation(name)), np.random.default_rng(0)
    with pytest.raises(ValueError, match=f"`activation` {name} is not onto R"):
        rg.sample(p.layers, rng, 6, *p.model)
    assert rng.random() == np.random.default_rng(0).random()


def test_what_is_tracked_is_taken_as_it_is():
    """Not computed again, which is cubic: what is off in the tracker shows in the draws."""
    p = generic(4, 5, 3, 2)
    tracked = rg.track(p.layers, inverse=True)
    off = tracked._replace(logdet=tracked.logdet + np.array([1.0, 0.0]))
    draws = (
        rg.sample(p.layers, np.random.default_rng(0), 6, *p.model, tracked=t)
        for t in (tracked, off)
    )
    (X, log_p), (X_off, log_p_off) = draws
    np.testing.assert_allclose(
        X, rg.sample(p.layers, np.random.default_rng(0), 6, *p.model)[0], rtol=1e-10
    )
    np.testing.assert_array_equal(X, X_off)
    np.testing.assert_allclose(log_p_off - log_p, 1.0, rtol=1e-12)
    doubled = tracked._replace(inverse=(2 * tracked.inverse[0], tracked.inverse[1]))
    X_off, _ = rg.sample(p.layers, np.random.default_rng(0), 6, *p.model, tracked=doubled)
    np.testing.assert_allclose(X_off, 2 * X, rtol=1e-12)
