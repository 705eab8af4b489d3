"""Parts of one's own are checked at the door: the right ones pass, each planted mistake is refused."""

import math
import re
from dataclasses import dataclass
from typing import Any

import array_api_strict
import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np import extend
from relgrad_np.core.curvatures import DSCORES
from relgrad_np.core.densities import FIXED
from relgrad_np.oracle import cases
from relgrad_np.rules import base as rules

ASINH = {
    "sigma": lambda xp, y: xp.asinh(y) + y,
    "dsigma": lambda xp, y: 1 / xp.sqrt(1 + y * y) + 1,
    "log_dsigma": lambda xp, y: xp.log1p(1 / xp.sqrt(1 + y * y)),
    "dlog_dsigma": lambda xp, y: -y / (1 + y * y) / (1 + xp.sqrt(1 + y * y)),
}
# a formula of the right one turned into a wrong one, and what the message must name
WRONG = {
    "dsigma": (lambda f: lambda xp, y: 1.00001 * f(xp, y), "`dsigma` of 'own' is not the deriv"),
    "log_dsigma": (lambda f: lambda xp, y: f(xp, y) + 1e-5, "`log_dsigma` of 'own' is not the log"),
    "dlog_dsigma": (lambda f: lambda xp, y: f(xp, y) * 1.00001, "`dlog_dsigma` of 'own' is not"),
    "sigma": (lambda f: lambda xp, y: f(xp, -y), "`dsigma` of 'own' is not the derivative"),
}


def test_a_right_activation_passes_and_inverts_in_every_library():
    made = extend.activation("own", **ASINH)
    z = np.array([-1e4, -3.0, 0.0, 0.25, 1e5, np.inf, -np.inf, np.nan])
    with np.errstate(all="ignore"):
        y = made.inverse(z)
    assert np.allclose(made.sigma(y[:5]), z[:5], rtol=1e-14, atol=1e-15)
    assert np.array_equal(y[5:], z[5:], equal_nan=True)
    strict = made.inverse(array_api_strict.asarray(z[:5]))
    assert np.array_equal(np.asarray(strict), y[:5])


@pytest.mark.parametrize(
    ("key", "left_out"), [*((key, "") for key in WRONG), ("dlog_dsigma", "log_dsigma")]
)
def test_a_wrong_derivative_is_refused(key, left_out):
    parts = {name: f for name, f in ASINH.items() if name != left_out}
    spoil, words = WRONG[key]
    with pytest.raises(ValueError, match=words):
        extend.activation("own", **{**parts, key: spoil(parts[key])})


@pytest.mark.parametrize("size", [1e-4, 1e-5])
def test_a_mistake_in_one_place_alone_is_seen(size):
    """A derivative that is right but for a bump about y = 4."""

    def bumped(xp, y):
        return ASINH["dlog_dsigma"](xp, y) + size * xp.exp(-((y - 4) ** 2))

    with pytest.raises(ValueError, match="not the derivative of `log_dsigma`: at y = 3"):
        extend.activation("own", **{**ASINH, "dlog_dsigma": bumped})


ATAN = {
    "sigma": lambda xp, y: xp.atan(y),
    "dsigma": lambda xp, y: 1 / (1 + y * y),
    "dlog_dsigma": lambda xp, y: -2 * y / (1 + y * y),
}
FALLING = {
    "sigma": lambda xp, y: -y,
    "dsigma": lambda xp, y: -xp.ones_like(y),
    "dlog_dsigma": lambda xp, y: xp.zeros_like(y),
}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (ATAN, "seems to be bounded above, by 1.571"),
        (FALLING, "`sigma` of 'own' must increase strictly: at y = -0.01 `dsigma` is -1"),
        ({**ASINH, "inverse": lambda xp, z: z / 2}, "`inverse` of 'own' does not undo `sigma`"),
        ({**ASINH, "dsigma": lambda xp, y: 2.0}, "`dsigma` of 'own' must keep shape and dtype"),
        ({**ASINH, "sigma": lambda xp, y: xp.log(y)}, "`sigma` of 'own' must be finite"),
        (
            {**ASINH, "dsigma": lambda xp, y: xp.asarray(ASINH["dsigma"](xp, y), dtype=xp.float64)},
            "for float32 of shape",
        ),
    ],
    ids=["bounded", "decreasing", "inverse", "constant", "not finite", "dtype"],
)
def test_what_else_is_refused(parts, words):
    with pytest.raises(ValueError, match=words):
        extend.activation("own", **parts)


def test_a_bounded_one_may_serve_for_verification():
    made = extend.activation("own", **{**ATAN, "inverse": lambda xp, z: xp.tan(z)}, onto=False)
    assert not made.onto
    with pytest.raises(ValueError, match="not onto R"):
        rg.fit((rg.Layer(np.eye(1), np.ones(1)),), np.ones((2, 1)), made, rg.density("normal"),
               rng=np.random.default_rng(0))  # fmt: skip


def test_slow_growth_is_not_taken_for_a_bound():
    parts = {
        "sigma": lambda xp, y: xp.asinh(y),
        "dsigma": lambda xp, y: 1 / xp.sqrt(1 + y * y),
        "dlog_dsigma": lambda xp, y: -y / (1 + y * y),
    }
    assert extend.activation("own", **parts, inverse=lambda xp, z: xp.sinh(z)).onto


@pytest.mark.parametrize("name", ["smooth_leaky_relu", "", 3])
def test_a_name_must_be_new(name):
    with pytest.raises(ValueError, match="`name` must be a new one"):
        extend.activation(name, **ASINH)
    with pytest.raises(ValueError, match="`name` must be a new one"):
        extend.density(name, log_prob=None, score=None, sample=None)


@pytest.mark.parametrize("name", FIXED)
def test_the_packages_own_densities_pass(name):
    log_prob, score, draw = FIXED[name]
    parts = {"log_prob": log_prob, "score": score, "sample": draw}
    assert extend.density("own", **parts).dscore is None
    made = extend.density("own", **parts, dscore=DSCORES[name])
    z = np.array([0.3, -2.0])
    np.testing.assert_array_equal(made.dscore(z), rg.density(name).dscore(z))


def test_the_packages_own_activations_pass():
    for name, params in cases.PARAMS.items():
        made = rg.activation(name, **params)
        parts = {
            key: (lambda f: lambda xp, y: f(y))(getattr(made, key))
            for key in ("sigma", "dsigma", "log_dsigma", "dlog_dsigma", "inverse")
        }
        extend.activation("own", **parts, onto=made.onto)


NORMAL = dict(zip(("log_prob", "score", "sample"), FIXED["normal"], strict=True))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"score": lambda xp, z: z}, "`score` of 'own' is not the derivative of `log_prob`: at z"),
        ({"score": lambda xp, z: -1.00001 * z}, "`score` of 'own' is not the derivative"),
        ({"log_prob": lambda xp, z: -0.5 * z * z}, "has mass 2.50663, it must be 1"),
        ({"log_prob": lambda xp, z: -0.5 * z * z - 0.9189}, "it must be 1"),
        ({"sample": lambda rng, shape: 1.1 * rng.standard_normal(shape)}, "another distribution"),
        (
            {"sample": lambda rng, shape: rng.gumbel(size=shape)},
            "another distribution: the shares .* differ by 0.144",
        ),
        ({"sample": lambda rng, shape: np.random.default_rng().normal(size=shape)}, "alone"),
        ({"sample": lambda rng, shape: rng.standard_normal()}, "draws of the shape asked for"),
        ({"dscore": lambda xp, z: xp.ones_like(z)}, "`dscore` of 'own' is not the derivative of"),
        ({"dscore": lambda xp, z: -1.0}, "`dscore` of 'own' must keep shape and dtype"),
    ],
    ids=[
        *("sign", "small", "normaliser", "near", "scale", "Gumbel", "generator", "shape"),
        *("curvature", "number"),
    ],
)
def test_a_wrong_density_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        extend.density("own", **{**NORMAL, **wrong})


GAUSS = (lambda x: -0.5 * x * x - 0.5 * math.log(2 * math.pi), lambda x: -x, "standard_normal")
CAUCHY = (
    lambda x: -np.log(math.pi * (1 + x * x)),
    lambda x: -2 * x / (1 + x * x),
    "standard_cauchy",
)
LAPLACE = (lambda x: -np.abs(x) - math.log(2), lambda x: -np.sign(x), "laplace")


@pytest.mark.parametrize(
    ("place", "width", "of_x"),
    [(0, 1, CAUCHY), (20, 0.1, GAUSS), (-5, 1e4, GAUSS), (0.35, 1, LAPLACE)],
    ids=["heavy tails", "narrow, far out", "wide", "a kink beside 0"],
)
def test_right_densities_of_other_shapes_pass(place, width, of_x):
    """The density of z = place + width x."""
    log_prob, score, draw = of_x
    extend.density(
        "own",
        log_prob=lambda xp, z: log_prob((z - place) / width) - math.log(width),
        score=lambda xp, z: score((z - place) / width) / width,
        sample=lambda rng, shape: place + width * getattr(rng, draw)(size=shape),
    )


@pytest.mark.parametrize(
    "rule",
    [
        rg.Plain(),
        rg.Exponential(),
        rg.Recipe(),
        rg.Scalar(),
        rg.Adam(),
        rg.Natural(),
        rg.GroupAdam(),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_the_packages_own_rules_pass(rule):
    assert extend.rule(rule) is rule


class Untracked(rg.Plain):
    def propose(self, state, tape, deltas):
        move = super().propose(state, tape, deltas)
        wrong = tuple(f._replace(K=2 * f.K) for f in move.directions)
        return move._replace(directions=wrong)


class Still(rg.Plain):
    def propose(self, state, tape, deltas):
        move = super().propose(state, tape, deltas)
        return move._replace(norms=tuple(np.nan * x for x in move.norms))


class InPlace(rg.Plain):
    def propose(self, state, tape, deltas):
        state.layers[0].W[0, 0] += 1e-9
        return super().propose(state, tape, deltas)


class Added(rg.Plain):
    def propose(self, state, tape, deltas):
        R = rg.relative_gradient(state.layers, tape, deltas)
        return super().propose(state, tape, deltas)._replace(directions=tuple(R))


class OneEta(rg.Plain):
    def propose(self, state, tape, deltas):
        return super().propose(state, tape, deltas)._replace(eta=(np.asarray(0.01),))


class NoNorms(rg.Plain):
    def propose(self, state, tape, deltas):
        return super().propose(state, tape, deltas)._replace(norms=())


class Unstarted(rg.Plain):
    def propose(self, state, tape, deltas):
        return super().propose(state, tape, deltas)._replace(rule_state=(np.ones(2),))


class Counting(Unstarted):
    def start(self, layers):
        return {"count": 0}

    def propose(self, state, tape, deltas):
        return super().propose(state, tape, deltas)._replace(rule_state=state.rule_state)


class Additive(rg.Plain):
    kind = "additive"


class Multiplicative(rg.Plain):
    kind = "multiplicative"


@dataclass(frozen=True)
class NoTracks:
    learning_rate: float = 0.1


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (Untracked(), "the tracked log|det W| is off by"),
        (Still(), "takes no step on a batch that is finite"),
        (InPlace(), "read-only"),
        (Added(), "does not go along a Layer, whose kind is 'additive' (W + eta d)"),
        (OneEta(), "`eta` of the Move of `rule` OneEta must be a tuple of 2, one for each layer"),
        (NoNorms(), "`norms` of the Move of `rule` NoNorms must be a tuple of 2, one for each"),
        (Unstarted(), "got ((2,)); without `start(layers)` it remembers None"),
        (Counting(), "must be a tree of tuples of arrays like that of `start`, dict, no array"),
        (Additive(), "`tracks` of `rule` Additive must be False where its `kind` is 'additive'"),
        (Multiplicative(), "must be one of 'plain' ((I + eta xi) W), 'exponential' (exp(eta xi)"),
    ],
    ids=[
        "tracker",
        "never finite",
        "in place",
        "Layer",
        "eta",
        "norms",
        "no start",
        "no arrays",
        "tracks",
        "kind",
    ],
)
def test_a_rule_that_breaks_its_promises_is_refused(rule, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        extend.rule(rule)


@pytest.mark.parametrize("rule", [NoTracks(), rg.Plain, "plain", object()])
def test_what_is_no_rule_is_refused(rule):
    with pytest.raises(TypeError, match="`rule`"):
        extend.rule(rule)


def spoiled(part):
    """A backend whose step is the reference's but for one part."""

    def step(state, X, **options):
        after, info = rules.train_step(state, X, **options)
        if part == "layers":
            first, *rest = after.layers
            after = after._replace(layers=(rg.Layer(first.W, first.b * (1 + 1e-8)), *rest))
        elif part == "L_p":
            info = info._replace(L_p=info.L_p * (1 + 1e-8))
        elif part == "tracked" and after.tracked is not None:
            tracked = after.tracked._replace(logdet=after.tracked.logdet + 1e-8)
            after = after._replace(tracked=tracked)
        elif part == "exponential" and isinstance(options["rule"], rg.Exponential):
            return rules.train_step(state, X, **options | {"rule": rg.Plain(0.02)})
        return after, info

    return step


@pytest.mark.parametrize("part", ["layers", "L_p", "tracked", "exponential"])
def test_a_backend_that_differs_is_refused(part):
    with pytest.raises(ValueError, match="`train_step` differs from the reference by"):
        extend.backend(spoiled(part))


def test_fit_takes_a_backend_of_ones_own():
    calls = []

    def counted(state, X, **options: Any):
        calls.append(len(X))
        return rules.train_step(state, X, **options)

    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 3))
    results = [
        rg.fit(
            rg.init_layers(np.random.default_rng(1), 3, 2),
            X,
            rg.activation("leaky_tanh"),
            rg.density("normal"),
            rng=np.random.default_rng(2),
            batch_size=10,
            epochs=2,
            implementation=implementation,
        )
        for implementation in (extend.backend(counted), "reference")
    ]
    assert calls[-8:] == [10] * 8
    for one, two in zip(*(r.layers for r in results), strict=True):
        assert np.array_equal(one.W, two.W)


def test_own_parts_fit_sample_and_are_seen_through():
    """A fit with an activation and a density of one's own: the log-likelihood is the brute one."""
    act = extend.activation("own", **ASINH)
    dens = extend.density("own", **NORMAL)
    rng = np.random.default_rng(0)
    X = rng.laplace(size=(200, 2)) @ np.array([[1.0, 0.3], [-0.5, 0.8]])
    layers = rg.init_layers(rng, 2, 3, kind="gaussianize", X=X, activation=act)
    result = rg.fit(layers, X, act, dens, rng=rng, epochs=3)
    assert result.history[-1].train > result.history[0].train
    draws, log_p = rg.sample(result.layers, rng, 5, act, dens)
    again = rg.log_likelihood(result.layers, draws, act, dens).per_sample
    assert np.allclose(log_p, again, atol=1e-10)

    def latent(x):
        return rg.forward(result.layers, x[None], act).Zs[-1][0]

    h = 1e-5 * np.eye(2)
    for x, value in zip(draws, log_p, strict=True):
        J = np.array([(latent(x + e) - latent(x - e)) / 2e-5 for e in h]).T
        truth = dens.log_prob(latent(x)).sum() + np.linalg.slogdet(J)[1]
        assert abs(value - truth) < 1e-7


def test_a_model_that_load_could_not_read_is_not_written(tmp_path):
    """A file names activation and density, and `load` knows the package's own."""
    layers = (rg.Layer(np.eye(1), np.ones(1)),)
    own = extend.activation("own", **ASINH), rg.density("normal")
    with pytest.raises(ValueError, match="unknown activation 'own'"):
        rg.save(tmp_path / "model.npz", rg.Model(layers, *own, rg.Chain(()), {}))
    assert not (tmp_path / "model.npz").exists()
