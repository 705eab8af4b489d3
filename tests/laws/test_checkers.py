"""Verified means that its mistake is rejected: each law, with mistakes planted in what it judges.

A mistake counts as rejected by a law only if the law fails on every one of the generic problems
that can show it. `test_an_easy_start_hides_mistakes` shows why generic inputs are needed at all.
"""

import functools

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.oracle import brute

from . import laws
from .problems import generic

PROBLEMS = [
    generic(seed, N, D, L) for seed, (N, D, L) in enumerate([(5, 3, 2), (4, 7, 3), (6, 4, 5)])
]
Layer = rg.Layer


def forward_with(last_active=False, transposed=False, no_bias=False):
    def forward(layers, X, activation):
        Zs, Ys = [X], []
        for k, (W, b) in enumerate(layers):
            Ys.append(Zs[-1] @ (W if transposed else W.T) + (0 if no_bias else b))
            last = k == len(layers) - 1 and not last_active
            Zs.append(Ys[-1] if last else activation.sigma(Ys[-1]))
        return rg.Tape(tuple(Zs), tuple(Ys))

    return forward


def backprop_with(
    score=1.0, at_Z=False, no_bend=False, bend_per=None, power=1, next_bend=False, transposed=False
):
    def backprop(layers, tape, activation, density):
        N = len(tape.Ys[0]) ** power
        deltas = [score * density.score(tape.Ys[-1]) / N]
        for k in reversed(range(len(layers) - 1)):
            Y = tape.Zs[k] if at_Z else tape.Ys[k]
            W = layers[k + 1].W.T if transposed else layers[k + 1].W
            bend = activation.dlog_dsigma(tape.Ys[k + 1] if next_bend else Y)
            bend = 0 * bend if no_bend else bend / (bend_per or N)
            deltas.insert(0, deltas[0] @ W * activation.dsigma(Y) + bend)
        return tuple(deltas)

    return backprop


def ordinary_with(V=lambda W: np.linalg.inv(W).T, delta=1.0):
    def ordinary(layers, tape, deltas):
        return tuple(
            Layer(delta * d.T @ Z + V(W), delta * d.sum(axis=0))
            for (W, _), Z, d in zip(layers, tape.Zs[:-1], deltas, strict=True)
        )

    return ordinary


def relative_with(R_W=None, R_b=None):
    """The default variant with another line in it; the other variants are right."""

    def relative(layers, tape, deltas, *, side="output", bias="augmented"):
        right = rg.relative_gradient(layers, tape, deltas, side=side, bias=bias)
        if (side, bias) != ("output", "augmented"):
            return right
        return tuple(
            Layer(
                R_W(W, b, Z, Y, d) if R_W else r.W,
                R_b(W, b, Z, Y, d) if R_b else r.b,
            )
            for r, (W, b), Z, Y, d in zip(right, layers, tape.Zs[:-1], tape.Ys, deltas, strict=True)
        )

    return relative


RELATIVE = {
    "ordinary returned": relative_with(lambda W, b, Z, Y, d: d.T @ Z + np.linalg.inv(W).T),
    "W W' for W' W": relative_with(lambda W, b, Z, Y, d: d.T @ (Z @ W @ W.T) + W),
    "W' for W in the determinant term": relative_with(lambda W, b, Z, Y, d: d.T @ (Y @ W) + W.T),
    "determinant term missing": relative_with(lambda W, b, Z, Y, d: d.T @ (Y @ W)),
    "determinant term of the wrong sign": relative_with(lambda W, b, Z, Y, d: d.T @ (Y @ W) - W),
    "determinant term times N": relative_with(lambda W, b, Z, Y, d: d.T @ (Y @ W) + len(Z) * W),
    "bias dropped from Y": relative_with(lambda W, b, Z, Y, d: d.T @ ((Y - b) @ W) + W),
    "Y @ W.T": relative_with(lambda W, b, Z, Y, d: d.T @ (Y @ W.T) + W),
    "+ b missing (published code)": relative_with(None, lambda W, b, Z, Y, d: d.T @ (Y @ b + 1)),
    "+ 1 missing in R_b": relative_with(None, lambda W, b, Z, Y, d: d.T @ (Y @ b) + b),
    "R_b is G_b": relative_with(None, lambda W, b, Z, Y, d: d.sum(axis=0)),
    "Y without bias in R_b": relative_with(None, lambda W, b, Z, Y, d: d.T @ ((Y - b) @ b + 1) + b),
}


def log_likelihood_with(base=1.0, J1=1.0, J2=lambda W: np.linalg.slogdet(W)[1], J1_at="Ys"):
    def log_likelihood(layers, X, activation, density):
        tape = rg.forward(layers, X, activation)
        L_p = base * density.log_prob(tape.Zs[-1]).sum(axis=1)
        arrays = tape.Ys[:-1] if J1_at == "Ys" else tape.Zs[1:-1]
        L_J1 = J1 * sum((activation.log_dsigma(A).sum(axis=1) for A in arrays), 0 * L_p)
        return rg.LogLikelihood(L_p, L_J1, np.asarray(sum(J2(W) for W, _ in layers)))

    return log_likelihood


def step_with(wrong):
    """apply_step whose result is changed."""

    def apply_step(layers, factors, eta, *, kind="plain"):
        new = rg.apply_step(layers, factors, eta, kind=kind)
        return tuple(
            wrong(layer, n, f, e) for layer, n, f, e in zip(layers, new, factors, eta, strict=True)
        )

    return apply_step


STEPS = {
    "descending": step_with(lambda o, n, f, e: Layer(2 * o.W - n.W, 2 * o.b - n.b)),
    "eta not applied to W": step_with(lambda o, n, f, e: Layer(n.W - e * o.W, n.b)),
    "R_b from the updated W": step_with(
        lambda o, n, f, e: Layer(n.W, n.b + e * f.Delta.T @ (f.Y @ (n.b - o.b)))
    ),
    "off by 1e-12": step_with(lambda o, n, f, e: Layer(n.W * (1 + 1e-12), n.b)),
    "eta squared": step_with(
        lambda o, n, f, e: Layer(o.W + e * (n.W - o.W), o.b + e * (n.b - o.b))
    ),
}


def track_with(logdet=lambda good, f, e: good, sign=lambda good: good, inverse=lambda V: V):
    def track_step(tracked, factors, eta, *, kind="plain"):
        good = rg.track_step(tracked, factors, eta, kind=kind)
        logdets = [
            logdet(good.logdet[k], f, e) for k, (f, e) in enumerate(zip(factors, eta, strict=True))
        ]
        return rg.Tracked(np.array(logdets), sign(good.sign), tuple(map(inverse, good.inverse)))

    return track_step


TRACKS = {
    "D log(1 + eta) missing": track_with(lambda g, f, e: g - f.Y.shape[1] * np.log1p(e)),
    "log det K missing": track_with(
        lambda g, f, e: g - np.linalg.slogdet(np.eye(len(f.K)) + e / (1 + e) * f.K)[1]
    ),
    "eta for eta / (1 + eta)": track_with(
        lambda g, f, e: (
            g
            - np.linalg.slogdet(np.eye(len(f.K)) + e / (1 + e) * f.K)[1]
            + np.linalg.slogdet(np.eye(len(f.K)) + e * f.K)[1]
        )
    ),
    "first order only": track_with(
        lambda g, f, e: (
            g - np.linalg.slogdet(np.eye(len(f.K)) + e / (1 + e) * f.K)[1] + e * np.trace(f.K)
        )
    ),
    "sign forgotten": track_with(sign=np.abs),
    "off by 1e-11": track_with(lambda g, f, e: g + 1e-11),
    "inverse transposed": track_with(inverse=np.transpose),
}

FORWARD = {
    "activation on the last layer": forward_with(last_active=True),
    "weights transposed": forward_with(transposed=True),
    "no bias": forward_with(no_bias=True),
}
BACKPROP = {
    "score of the wrong sign": backprop_with(score=-1.0),
    "sigma' at Z": backprop_with(at_Z=True),
    "(log sigma')' missing": backprop_with(no_bend=True),
    "(log sigma')' without 1/N": backprop_with(bend_per=1),
    "(log sigma')' of the wrong layer": backprop_with(next_bend=True),
    "1/N twice": backprop_with(power=2),
    "sum for mean": backprop_with(power=0),
    "W transposed": backprop_with(transposed=True),
}
ORDINARY = {
    "inverse not transposed": ordinary_with(V=np.linalg.inv),
    "W for its inverse": ordinary_with(V=lambda W: W),
    "determinant term missing": ordinary_with(V=lambda W: 0 * W),
    "determinant term of the wrong sign": ordinary_with(V=lambda W: -np.linalg.inv(W).T),
    "times sign(det)": ordinary_with(V=lambda W: np.linalg.inv(W).T * np.linalg.slogdet(W)[0]),
    "descent": ordinary_with(V=lambda W: -np.linalg.inv(W).T, delta=-1.0),
}
TERMS = {
    "slogdet's sign used": log_likelihood_with(J2=lambda W: np.linalg.slogdet(W)[0]),
    "L_J2 subtracted": log_likelihood_with(J2=lambda W: -np.linalg.slogdet(W)[1]),
    "log base 2": log_likelihood_with(J2=lambda W: np.linalg.slogdet(W)[1] / np.log(2)),
    "log of det, not of its modulus": log_likelihood_with(
        J2=lambda W: np.log(max(np.linalg.det(W), 0) or np.nan)
    ),
    "L_J1 missing": log_likelihood_with(J1=0.0),
    "L_J1 of the wrong sign": log_likelihood_with(J1=-1.0),
    "L_J1 at Z": log_likelihood_with(J1_at="Zs"),
    "base density of the wrong sign": log_likelihood_with(base=-1.0),
}


CASES = [
    *[("forward", n, functools.partial(laws.forward_is_the_definition, forward=f)) for n, f in FORWARD.items()],
    *[("backprop", n, functools.partial(laws.ordinary_is_the_derivative, backprop=f)) for n, f in BACKPROP.items()],
    *[("ordinary", n, functools.partial(laws.ordinary_is_the_derivative, ordinary_gradient=f)) for n, f in ORDINARY.items()],
    *[("terms", n, functools.partial(laws.terms_are_the_log_jacobian, log_likelihood=f)) for n, f in TERMS.items()],
    *[("relative", n, functools.partial(laws.relative_is_ordinary_times_metric, relative_gradient=f)) for n, f in RELATIVE.items()],
    *[("step", n, functools.partial(laws.step_is_the_dense_one, apply_step=f)) for n, f in STEPS.items()],
    *[("step, exponential", n, functools.partial(laws.step_is_the_dense_one, apply_step=f, kind="exponential")) for n, f in STEPS.items()],
    *[("track", n, functools.partial(laws.tracking_is_slogdet, track_step=f)) for n, f in TRACKS.items()],
]  # fmt: skip


@pytest.mark.parametrize(("stage", "name", "law"), CASES, ids=[f"{s}: {n}" for s, n, _ in CASES])
def test_mistake_is_rejected(stage, name, law):
    for problem in PROBLEMS:
        with np.errstate(all="ignore"), pytest.raises(AssertionError):
            law(problem)


@pytest.mark.parametrize("name", [n for n in RELATIVE if not n.startswith("ordinary")])
def test_the_ascent_law_rejects_most_wrong_relative_gradients(name):
    for problem in PROBLEMS:
        with pytest.raises(AssertionError):
            laws.ascent(problem, relative_gradient=RELATIVE[name])


@pytest.mark.parametrize(
    "name", ["W W' for W' W", "+ b missing (published code)", "bias dropped from Y", "R_b is G_b"]
)
def test_the_equivariance_law_rejects(name):
    for problem in PROBLEMS:
        with pytest.raises(AssertionError, match="of mixed"):
            laws.equivariance(problem, relative_gradient=RELATIVE[name])


@pytest.mark.parametrize("name", ["1/N twice", "(log sigma')' without 1/N", "sum for mean"])
def test_the_exchange_law_rejects(name):
    for problem in PROBLEMS:
        with pytest.raises(AssertionError):
            laws.samples_are_exchangeable(problem, backprop=BACKPROP[name])


def wrong_inverse(layers, Z, activation):
    """The biases in the wrong order, as in the published code."""
    biases = [b for _, b in layers][::-1]
    layers = tuple(Layer(W, b) for (W, _), b in zip(layers, biases, strict=True))
    return rg.inverse(layers, Z, activation)


def test_the_inverse_law_rejects_biases_in_the_wrong_order():
    for problem in PROBLEMS:
        with pytest.raises(AssertionError, match="X back"):
            laws.inverse_undoes_forward(problem, inverse=wrong_inverse)


@pytest.mark.parametrize("size", [1e-10, 1e-7])
def test_the_inverse_law_rejects_small_errors(size):
    def inverse(layers, Z, activation):
        return rg.inverse(layers, Z, activation) * (1 + size)

    with pytest.raises(AssertionError, match="X back"):
        laws.inverse_undoes_forward(PROBLEMS[0], inverse=inverse)


def test_the_tracking_law_rejects_a_sign_that_is_not_updated():
    def track_step(tracked, factors, eta, *, kind="plain"):
        return rg.track_step(tracked, factors, eta, kind=kind)._replace(sign=tracked.sign)

    rejected = 0
    for seed in range(20):
        big = generic(seed, *((4, 6, 2) if seed % 2 else (7, 4, 3)))
        big = big._replace(X=5 * big.X)
        try:
            laws.tracking_is_slogdet(big, eta=0.5, steps=1, cap=np.inf, track_step=track_step)
        except AssertionError as error:
            assert "sign" in str(error)  # noqa: PT017
            rejected += 1
    assert rejected > 10


def exact_one_plus_eta(tracked, factors, eta, *, kind="plain"):
    """The tracker with log(1 + eta) itself, not that of the factor as float32 rounded it."""
    good = rg.track_step(tracked, factors, eta, kind=kind)
    D = factors[0].Y.shape[1]
    wrong = [D * (np.log1p(e) - np.log(np.float64(np.float32(1) + np.float32(e)))) for e in eta]
    return good._replace(logdet=good.logdet + np.array(wrong))


def test_float32_tracking_needs_the_rounded_factor():
    """MATH: with the exact log(1 + eta) a float32 run drifts; with the rounded one it does not."""
    case = generic(3, 20, 60, 1, "identity", dtype="float32")
    case = case._replace(X=case.X * np.float32(0.1))
    drifts = {}
    for name, track_step in (("rounded", rg.track_step), ("exact", exact_one_plus_eta)):
        layers, tracked = case.layers, rg.track(case.layers)
        for _ in range(300):
            tape = rg.forward(layers, case.X, case.activation)
            fs = rg.factors(layers, tape, rg.backprop(layers, tape, *case.model))
            etas = (0.003,)
            tracked = track_step(tracked, fs, etas)
            layers = rg.apply_step(layers, fs, etas)
        exact = np.linalg.slogdet(layers[0].W.astype(np.float64))[1]
        drifts[name] = abs(float(tracked.logdet[0] - exact))
    assert drifts["rounded"] < 2e-5
    assert drifts["exact"] > 20 * drifts["rounded"]


def test_every_law_accepts_the_right_implementation():
    for problem in PROBLEMS:
        for law in {law.func for _, _, law in CASES}:
            law(problem)
        for judge in (laws.step_is_the_dense_one, laws.tracking_is_slogdet):
            judge(problem, kind="exponential")
        laws.ascent(problem)
        laws.equivariance(problem)
        laws.samples_are_exchangeable(problem)
        laws.inverse_undoes_forward(problem)


def test_the_stand_ins_without_a_mistake_are_right():
    problem = PROBLEMS[0]
    laws.forward_is_the_definition(problem, forward=forward_with())
    laws.ordinary_is_the_derivative(problem, backprop=backprop_with())
    laws.ordinary_is_the_derivative(problem, ordinary_gradient=ordinary_with())
    laws.terms_are_the_log_jacobian(problem, log_likelihood=log_likelihood_with())
    laws.relative_is_ordinary_times_metric(problem, relative_gradient=relative_with())
    laws.step_is_the_dense_one(problem, apply_step=step_with(lambda o, n, f, e: n))
    laws.tracking_is_slogdet(problem, track_step=track_with())


def test_an_easy_start_hides_mistakes():
    """At W = I, b = 0, N = 1 these wrong relative gradients pass: no evidence there."""
    easy = generic(0, 1, 3, 2)
    identity = tuple(Layer(np.eye(3), np.zeros(3)) for _ in range(2))
    easy = easy._replace(layers=identity)
    hidden = ["ordinary returned", "W W' for W' W", "W' for W in the determinant term",
              "determinant term times N", "bias dropped from Y", "Y @ W.T",
              "+ b missing (published code)", "Y without bias in R_b"]  # fmt: skip
    for name in hidden:
        laws.relative_is_ordinary_times_metric(easy, relative_gradient=RELATIVE[name])


def test_brute_force_is_checked_too():
    """Its elimination, inverse and exponential against NumPy's and SciPy's."""
    import scipy.linalg

    rng = np.random.default_rng(0)
    for D in (2, 3, 6):
        M = rng.standard_normal((D, D))
        np.testing.assert_allclose(brute.determinant(M), np.linalg.det(M), rtol=1e-12)
        np.testing.assert_allclose(brute.inverse_matrix(M), np.linalg.inv(M), rtol=1e-9)
        np.testing.assert_allclose(brute.expm(M), scipy.linalg.expm(M), rtol=1e-12, atol=1e-13)
