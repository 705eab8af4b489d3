"""Bad input to the core: one line that names the argument, the same on every path."""

import array_api_strict
import numpy as np
import pytest

import relgrad_np as rg

from .problems import generic

P = generic(0, 5, 3, 2)
W, b = P.layers[0]
OTHER = P.layers[1]


def layers(first=None, second=OTHER):
    return (first or rg.Layer(W, b), second)


def with_W(M):
    return layers(rg.Layer(M, b))


def with_b(v):
    return layers(rg.Layer(W, v))


STRICT = array_api_strict.asarray(P.X)
INPUTS = [
    ("W not square", with_W(W[:, :2]), P.X, ValueError, r"`W of layer 0` must have shape \(2, 2\)|`W of layer 0` must have shape"),
    ("W of another size", layers(second=rg.Layer(np.eye(4), np.zeros(4))), P.X, ValueError, r"`W of layer 1` must have shape \(3, 3\), got \(4, 4\)"),
    ("W one-dimensional", with_W(b), P.X, ValueError, "`W of layer 0` must have shape"),
    ("W a scalar", with_W(np.array(1.0)), P.X, ValueError, "`W of layer 0` must have shape"),
    ("D = 0", (rg.Layer(np.zeros((0, 0)), np.zeros(0)),), np.zeros((2, 0)), ValueError, "D >= 1"),
    ("b a column", with_b(b[:, None]), P.X, ValueError, r"`b of layer 1` must have shape \(3, 1\), got \(3,\)"),
    ("b short", with_b(b[:2]), P.X, ValueError, r"`b of layer 0` must have shape \(3,\), got \(2,\)"),
    ("b a list", with_b(list(b)), P.X, TypeError, "`b of layer 0` must be an array, got list"),
    ("X narrow", layers(), P.X[:, :2], ValueError, r"`X` must have shape \(5, 3\), got \(5, 2\)"),
    ("X a vector", layers(), P.X[0], ValueError, r"`X` must have shape \(N, 3\).*got \(3,\)"),
    ("X empty", layers(), P.X[:0], ValueError, r"`X` must have shape \(N, 3\) with N >= 1, got \(0, 3\)"),
    ("X a list", layers(), P.X.tolist(), TypeError, "`X` must be an array, got list"),
    ("X a number", layers(), 3.0, TypeError, "`X` must be an array, got float"),
    ("X float32", layers(), P.X.astype("f4"), ValueError, "`X` is float32, `W of layer 0` is float64"),
    ("b float32", with_b(b.astype("f4")), P.X, ValueError, "`b of layer 0` is float32"),
    ("X integers", layers(), np.ones((5, 3), dtype=int), ValueError, "`X` must be float32 or float64, got int64"),
    ("X complex", layers(), P.X + 0j, ValueError, "`X` must be float32 or float64, got complex128"),
    ("X half", layers(), P.X.astype("f2"), ValueError, "`X` must be float32 or float64, got float16"),
    ("W integers", with_W(np.eye(3, dtype=int)), P.X, ValueError, "`W of layer 0` must be float32 or float64, got int64"),
    ("X of another library", layers(), STRICT, TypeError, "`X` is a array_api_strict array, `W of layer 0` a numpy array"),
    ("X a matrix", layers(), P.X.view(np.matrix), TypeError, "`X` must be an array, got matrix"),
    ("X masked", layers(), np.ma.masked_array(P.X), TypeError, "`X` must be an array, got MaskedArray"),
    ("no layers", (), P.X, ValueError, "`layers` must hold at least one"),
    ("layers an array", W, P.X, TypeError, "`layers` must be a tuple of Layer"),
    ("layers of arrays", (W, W), P.X, TypeError, "`layers` must be a tuple of Layer"),
]  # fmt: skip
inputs = pytest.mark.parametrize(
    ("bad", "X", "error", "text"), [row[1:] for row in INPUTS], ids=[row[0] for row in INPUTS]
)


def one_line(info):
    assert "\n" not in str(info.value)


@inputs
def test_forward_and_log_likelihood_refuse(bad, X, error, text):
    with pytest.raises(error, match=text) as info:
        rg.forward(bad, X, P.activation)
    one_line(info)
    with pytest.raises(error, match=text):
        rg.log_likelihood(bad, X, *P.model)


@inputs
def test_fit_and_train_step_refuse(bad, X, error, text):
    rng = np.random.default_rng(0)
    with pytest.raises(error, match=text):
        rg.fit(bad, X, *P.model, rng=rng)
    state = rg.State(bad, (), None, 0)
    with pytest.raises(error, match=text):
        rg.train_step(state, X, activation=P.activation, density=P.density, rule=rg.Plain())


def passes():
    tape = rg.forward(P.layers, P.X, P.activation)
    return tape, rg.backprop(P.layers, tape, *P.model)


GRADIENTS = [rg.ordinary_gradient, rg.relative_gradient, rg.factors]


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradients_refuse_what_does_not_belong_together(gradient):
    tape, deltas = passes()
    with pytest.raises(ValueError, match=r"`deltas\[1\]` must have shape \(5, 3\), got \(4, 3\)"):
        gradient(P.layers, tape, (deltas[0], deltas[1][:4]))
    other = rg.forward(P.layers, P.X[:4], P.activation)
    with pytest.raises(ValueError, match=r"must have shape \(4, 3\), got \(5, 3\)"):
        gradient(P.layers, other, deltas)
    with pytest.raises(ValueError, match=r"`deltas\[0\]` is float32"):
        gradient(P.layers, tape, (deltas[0].astype("f4"), deltas[1]))
    for wrong in (deltas[:1], (*deltas, deltas[0])):
        with pytest.raises(ValueError, match="must be of 2 layers"):
            gradient(P.layers, tape, wrong)
    with pytest.raises(ValueError, match="must be of 2 layers"):
        gradient(P.layers, rg.Tape(tape.Zs[:1], tape.Ys[:1]), deltas)


def test_unknown_names_list_the_choices():
    tape, deltas = passes()
    for call, text in [
        (lambda: rg.activation("relu"), "unknown activation 'relu'; choose from smooth_leaky_relu"),
        (lambda: rg.density("cauchy"), "unknown density 'cauchy'; choose from normal"),
        (lambda: rg.relative_gradient(P.layers, tape, deltas, side="left"), "unknown side 'left'"),
        (lambda: rg.relative_gradient(P.layers, tape, deltas, bias="none"), "unknown bias 'none'"),
        (lambda: rg.apply_step(P.layers, rg.factors(P.layers, tape, deltas), 0.1, kind="x"), "unknown kind 'x'"),
        (lambda: rg.init_layers(np.random.default_rng(0), 3, 2, kind="zeros"), "unknown kind 'zeros'"),
        (lambda: fit(rule="sgd"), "unknown rule 'sgd'; choose from recipe, natural, plain, exponential, scalar, adam"),
        (lambda: fit(schedule="step"), "unknown schedule 'step'; choose from linear"),
        (lambda: fit(implementation="gpu"), "unknown implementation 'gpu'"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text) as info:
            call()
        one_line(info)


def test_the_published_bias_rule_has_no_input_side():
    tape, deltas = passes()
    with pytest.raises(ValueError, match="`bias` 'published' is defined for side='output' only"):
        rg.relative_gradient(P.layers, tape, deltas, side="input", bias="published")


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, np.nan, np.inf])
def test_alpha_outside_its_range(alpha):
    with pytest.raises(ValueError, match=r"`alpha` must be in \(0, 1\], got"):
        rg.activation("smooth_leaky_relu", alpha=alpha)


@pytest.mark.parametrize(
    "eta", [0, -0.1, np.nan, np.inf, (0.1, -1), (0.1, 0.1, 0.1), np.array([0.1, 0.1, 0.1])]
)
@pytest.mark.parametrize("kind", ["plain", "exponential"])
def test_eta_must_be_positive(eta, kind):
    fs = rg.factors(P.layers, *passes())
    with pytest.raises(ValueError, match="`eta` must be"):
        rg.apply_step(P.layers, fs, eta, kind=kind)
    with pytest.raises(ValueError, match="`eta` must be"):
        rg.track_step(rg.track(P.layers), fs, eta, kind=kind)


@pytest.mark.parametrize("rule", [rg.Plain, rg.Exponential, rg.Adam])
@pytest.mark.parametrize("eta", [0, -1.0, np.nan, np.inf])
def test_a_learning_rate_must_be_positive(rule, eta):
    with pytest.raises(ValueError, match="`learning_rate` must be positive"):
        rule(learning_rate=eta)


def test_tau_and_beta_have_ranges():
    with pytest.raises(ValueError, match="`tau` must be in"):
        rg.Plain(tau=1.0)
    with pytest.raises(ValueError, match="`beta1` must be in"):
        rg.Adam(beta1=1.0)


def test_ordinary_gradient_names_the_singular_layer():
    for singular in (np.zeros((3, 3)), np.ones((3, 3)), np.diag([1.0, 1.0, 1e-17])):
        bad = (P.layers[0], rg.Layer(singular, b))
        tape = rg.forward(bad, P.X, P.activation)
        deltas = rg.backprop(bad, tape, *P.model)
        with pytest.raises(np.linalg.LinAlgError, match="`W of layer 1` is singular") as info:
            rg.ordinary_gradient(bad, tape, deltas)
        one_line(info)
        relative = rg.relative_gradient(bad, tape, deltas)  # needs no inverse: finite
        assert all(np.isfinite(r.W).all() for r in relative)


def fit(**options):
    options = {"rng": np.random.default_rng(0), "epochs": 1, **options}
    return rg.fit(P.layers, options.pop("X", P.X), *options.pop("model", P.model), **options)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"X": np.where(np.arange(15).reshape(5, 3) == 7, np.nan, 1.0)}, ValueError, "`X` must be finite, got nan in row 2, column 1"),
        ({"X_val": np.full((2, 3), np.inf)}, ValueError, "`X_val` must be finite, got inf in row 0"),
        ({"X_val": np.ones((2, 2))}, ValueError, "`X_val` must have shape"),
        ({"model": (rg.activation("softplus"), P.density)}, ValueError, "`activation` softplus is not onto R"),
        ({"model": (rg.activation("elu"), P.density)}, ValueError, "`activation` elu is not onto R"),
        ({"learning_rate": 0.0}, ValueError, "`learning_rate` must be positive"),
        ({"learning_rate": "fast"}, TypeError, "`learning_rate` must be a number"),
        ({"epochs": 0}, ValueError, "`epochs` must be a positive integer"),
        ({"epochs": 1.5}, ValueError, "`epochs` must be a positive integer"),
        ({"batch_size": 0}, ValueError, "`batch_size` must be a positive integer"),
        ({"warmup": -1}, ValueError, "`warmup` must be"),
        ({"patience": 3}, ValueError, "`patience` needs `X_val`"),
        ({"rng": 0}, TypeError, "`rng` must be a numpy.random.Generator, got int"),
        ({"rng": np.random.RandomState(0)}, TypeError, "`rng` must be a numpy.random.Generator"),
    ],
)  # fmt: skip
def test_fit_refuses(options, error, text):
    with pytest.raises(error, match=text) as info:
        fit(**options)
    one_line(info)


def test_sample_refuses_what_is_not_onto():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="not onto R"):
        rg.sample(P.layers, rng, 3, rg.activation("softplus"), P.density)
