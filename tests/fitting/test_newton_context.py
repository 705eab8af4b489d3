"""Second order with context: the frame, derivatives, curvatures, the regression, and what is found."""

import math

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.fitting.newton import frame, joint, whole
from relgrad_np.fitting.newton.bending import bending
from relgrad_np.fitting.newton.elementwise import elementwise
from relgrad_np.fitting.newton.frame import framed
from relgrad_np.fitting.newton.layered import Layered, RowParts
from relgrad_np.fitting.newton.one_layer import OneLayer
from relgrad_np.fitting.newton.rows import PlainRows

from ..laws import recording
from ..laws.problems import LIBRARIES
from .test_newton import BENT, IDENTITY, NORMAL, SECH, dense_pairs, hessian, is_the_gradient
from .test_newton_by_fit import StopAt

D = 3
pytestmark = pytest.mark.filterwarnings("ignore::relgrad_np.NotConvergedWarning")
depths = pytest.mark.parametrize("L", [1, 2])


def problem(N=60, c=2, L=2, seed=0):
    """Layers that know context, and rows (x, u), u of unlike sizes, on which x depends."""
    rng = np.random.default_rng([seed, N, c, L])
    layers = tuple(
        rg.Layer(np.eye(D) + 0.3 * rng.standard_normal((D, D)), rng.standard_normal((D, c + 1)))
        for _ in range(L)
    )
    U = rng.standard_normal((N, c)) @ (np.eye(c) + 0.5) * np.geomspace(1, 10, c) + 2
    X = rng.laplace(size=(N, D)) @ (np.eye(D) + 0.4) + U @ rng.standard_normal((c, D))
    return layers, np.concatenate([X, U], axis=1)


def weights_of(N):
    w = np.random.default_rng(5).uniform(0.2, 3, N)
    return w / w.mean()


def point(layers, rows, weights=None, act=BENT, density=SECH):
    base = elementwise(density)
    if len(layers) == 1:
        return OneLayer.of(base, layers[0], rows, weights)
    apart = framed(layers, rows, weights)
    sample = RowParts(whole._parts(apart, weights), bending(act), base, apart.frame)
    return Layered.of(sample, layers)


def newton(layers, rows, act=BENT, density=SECH, **options):
    return rg.newton(layers, rows, act, density, **options)


# The frame


def is_a_frame(apart, w):
    one, hat = apart.one, apart.hat
    np.testing.assert_allclose(one @ apart.frame.J.T, hat, atol=1e-11)
    np.testing.assert_allclose(
        (hat * w[:, None]).T @ hat / len(hat), np.eye(one.shape[1]), atol=1e-12
    )
    np.testing.assert_array_equal(hat[:, -1], 1)


def test_the_frame_is_orthonormal_and_ends_with_1():
    layers, rows = problem()
    is_a_frame(framed(layers, rows, weights_of(60)), weights_of(60))
    with pytest.raises(AssertionError):  # planted: the weights are forgotten
        is_a_frame(framed(layers, rows, None), weights_of(60))


def test_what_does_not_vary_has_no_part_in_the_frame():
    """A constant, and the sum of two others: their elements are 0, and the fit is that without."""
    layers, rows = problem(c=2, L=1)
    more = np.column_stack([rows, np.full(60, 0.1), rows[:, 3] + rows[:, 4]])
    wider = (rg.Layer(layers[0].W, np.insert(layers[0].b, [2, 2], 0.0, axis=1)),)
    hat = framed(wider, more, None).hat
    assert np.linalg.matrix_rank(hat) == 3
    assert (np.abs(hat).max(axis=0) == 0).sum() == 2
    one, two = newton(layers, rows), newton(wider, more)
    assert two.history[-1].train == pytest.approx(one.history[-1].train, abs=1e-9)
    assert np.isfinite(two.layers[0].b).all()


# Derivatives


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("c", [0, 1, 3])
@depths
def test_the_gradient_is_that_of_central_differences(L, c, weighted, monkeypatch):
    monkeypatch.setattr(whole, "CHUNK", 64)  # several parts
    layers, rows = problem(40, c, L)
    at = point(layers, rows, weights_of(40) if weighted else None)
    assert at.gradient.shape == (L, D, D + c + 1)
    is_the_gradient(at)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda G: np.concatenate([G[..., :D], 0 * G[..., D:-1], G[..., -1:]], axis=2),
        lambda G: np.concatenate([G[..., :D], G[..., D:][..., ::-1]], axis=2),
        lambda G: G - np.eye(D, D + 3),
    ],
)
@depths
def test_a_wrong_gradient_is_rejected(L, wrong):
    class Planted:
        def __init__(self, at):
            self.gradient, self.moved = wrong(at.gradient), at.moved

    with pytest.raises(AssertionError, match="gradient off by"):
        is_the_gradient(Planted(point(*problem(40, 2, L))))


@depths
def test_the_gradient_is_that_of_automatic_differentiation(L):
    """Of the log-likelihood of y+ = M u~ + e^E (y - M u~) + T^ J u~ in every layer, by torch."""
    torch = pytest.importorskip("torch")
    layers, rows = problem(40, 2, L)
    at, act = point(layers, rows), rg.activation("smooth_leaky_relu")
    to = torch.asarray
    J = to(framed(layers, rows, None).frame.J)
    d = torch.zeros((L, D, D + 3), dtype=torch.float64, requires_grad=True)
    Z, one = to(rows[:, :D]), torch.cat([to(rows[:, D:]), torch.ones(40, 1)], dim=1).double()
    total = 0.0
    for k, layer in enumerate(layers):
        W, B = map(to, layer)
        Y = Z @ W.T + one @ B.T
        with torch.no_grad():
            M = torch.linalg.lstsq(one, Y).solution.T
        E, T = d[k, :, :D], d[k, :, D:] @ J
        Y = one @ M.T + (Y - one @ M.T) @ torch.linalg.matrix_exp(E).T + one @ T.T
        total = total + torch.linalg.slogdet(W)[1] + torch.trace(E)
        if k < L - 1:
            total = total + act.log_dsigma(Y).sum(dim=1).mean()
            Z = act.sigma(Y)
    value = total + SECH.log_prob(Y).sum(dim=1).mean()
    value.backward()
    assert at.value == pytest.approx(float(value.detach()), rel=1e-13)
    np.testing.assert_allclose(at.gradient, d.grad.numpy(), rtol=1e-10, atol=1e-11)


@depths
def test_value_and_tracker_are_those_of_the_definitions(L):
    layers, rows = problem(40, 2, L)
    at, rng = point(layers, rows), np.random.default_rng(0)
    for _ in range(3):
        at = at.moved(0.3 * rng.standard_normal(at.gradient.shape), 0.7)
        found = rg.log_likelihood(at.layers(), rows, BENT, SECH).mean
        assert at.value == pytest.approx(found, rel=1e-12)
        np.testing.assert_allclose(at.tracked.logdet, rg.track(at.layers()).logdet, atol=1e-11)


# Curvatures


def test_pairs_are_the_curvature_of_outputs_independent_of_each_other_and_of_the_context():
    rng = np.random.default_rng(0)
    X, U = rng.logistic(size=(100_000, 2)), 5 + 3 * rng.standard_normal((100_000, 1))
    layers = (rg.Layer(np.eye(2), np.zeros((2, 2))),)
    at = point(layers, np.concatenate([X, U], axis=1), density=rg.density("logistic"))
    H = hessian(at)
    basis = np.eye(8).reshape(8, 1, 2, 4)
    model = np.linalg.inv([at.precondition(v).reshape(-1) for v in basis])
    np.testing.assert_allclose((H + H.T) / 2, model, atol=0.05)
    k = at.moments.k
    np.testing.assert_allclose(model[[2, 6], [2, 6]], k, rtol=1e-9)
    without = [0, 1, 3, 4, 5, 7]
    np.testing.assert_allclose(model[np.ix_(without, without)], dense_pairs(at.moments), atol=1e-9)
    # planted: in the context's own units the curvature is another
    own = np.mean(U**2) * k
    assert np.abs(own - model[[2, 6], [2, 6]]).max() > 1


def test_the_fisher_information_of_the_bias_is_that_of_the_scores():
    """F(T^) = B T^: E s s' of s = delta u^' is B x I, where delta knows nothing of the context."""
    rng = np.random.default_rng(0)
    hat = np.concatenate([rng.standard_normal((100_000, 2)), np.ones((100_000, 1))], axis=1)
    delta = rng.standard_normal((100_000, 2)) @ np.array([[1.0, 0.5], [0.0, 2.0]])
    s = (delta[:, :, None] * hat[:, None, :]).reshape(100_000, 6)
    B = delta.T @ delta / 100_000
    np.testing.assert_allclose(s.T @ s / 100_000, np.kron(B, np.eye(3)), atol=0.1)
    chart = joint.joint_chart(np.eye(2), B)
    g = rng.standard_normal((2, 3))
    t = joint.solved(chart, np.eye(2), g, 0.0, 0.0)[1]
    np.testing.assert_allclose(B @ t, g, atol=1e-12)
    both = np.concatenate([np.eye(2), g], axis=1)[None]
    np.testing.assert_allclose(
        joint.fisher([chart], 0.1)(both)[0, :, 2:],
        joint.solved(chart, np.eye(2), g, 0.1, joint.LEAST)[1],
    )


# One layer with a normal base


def regression(rows, c):
    X, one = rows[:, :D], np.concatenate([rows[:, D:], np.ones((len(rows), 1))], axis=1)
    slopes = np.linalg.lstsq(one, X, rcond=None)[0]
    left = X - one @ slopes
    S = left.T @ left / len(rows)
    return slopes.T, S, -0.5 * (D * math.log(2 * math.pi * math.e) + np.linalg.slogdet(S)[1])


def is_the_regression(result, rows, c):
    slopes, S, best = regression(rows, c)
    W, B = result.layers[0]
    error = max(
        np.abs(W @ S @ W.T - np.eye(D)).max(),
        np.abs(np.linalg.solve(W, -B) - slopes).max(),
        abs(result.history[-1].train - best),
    )
    assert error <= 1e-10, f"off by {error:.3g}"


@pytest.mark.parametrize("c", [1, 3])
def test_one_layer_of_normal_base_is_the_gaussian_regression(c):
    layers, rows = problem(400, c, 1)
    far = (rg.Layer(layers[0].W, 0 * layers[0].b),)
    result = newton(far, rows, IDENTITY, NORMAL, tol=1e-11, compare=False)
    assert len(result.history) <= 16
    is_the_regression(result, rows, c)
    without = newton(far, rows, IDENTITY, NORMAL, max_iter=5, compare=False)
    with pytest.raises(AssertionError, match="off by"):  # planted: it is stopped on the way
        is_the_regression(without, rows, c)


def test_effects_a_hundred_times_the_residuals_cost_no_more_steps():
    """Each step cut short begins the memory anew; planted: it doesn't, and steps become short."""
    rng = np.random.default_rng(2)
    noise, W = rng.laplace(size=(400, D)) @ rng.standard_normal((D, D)), rng.standard_normal((D, D))
    effects, U = rng.standard_normal((4, D)), rng.standard_normal((400, 3))
    far = (rg.Layer(np.eye(D) + 0.3 * W, np.zeros((D, 4))),)
    one = np.concatenate([U, np.ones((400, 1))], axis=1)
    rows = np.concatenate([noise + 100 * one @ effects, U], axis=1)
    best = regression(rows, 3)[2]
    assert newton(far, rows, IDENTITY, NORMAL, max_iter=25).history[-1].train > best - 1e-9
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole, "NEARBY", math.inf)
        slow = newton(far, rows, IDENTITY, NORMAL, max_iter=25, compare=False)
    assert slow.history[-1].train < best - 10


# What the path does not know


def shifted(layers, rows, c, seed=3):
    """The same model of x' = M x + C u~, in other units of u: outputs are those of x."""
    rng = np.random.default_rng(seed)
    M, C = np.eye(D) + 0.3 * rng.standard_normal((D, D)), rng.standard_normal((D, c + 1))
    A, a = np.eye(c) + 0.3 * rng.standard_normal((c, c)), rng.standard_normal(c)
    A *= np.geomspace(0.1, 10, c)[:, None]
    X, U = rows[:, :D], rows[:, D:]
    one = np.concatenate([U, np.ones((len(U), 1))], axis=1)
    to_own = np.eye(c + 1)
    to_own[:c, :c], to_own[:c, c] = A, a
    back, W = np.linalg.inv(to_own), layers[0].W @ np.linalg.inv(M)
    first = rg.Layer(W, (layers[0].b - W @ C) @ back)
    others = (rg.Layer(W, B @ back) for W, B in layers[1:])
    mixed = np.concatenate([X @ M.T + one @ C.T, U @ A.T + a], axis=1)
    return (first, *others), mixed


def off(rule, L, c, **options):
    outputs = []
    layers, rows = problem(60, c, L)
    for start, given in ((layers, rows), shifted(layers, rows, c)):
        result = rg.fit(
            start, given, BENT, SECH, rng=np.random.default_rng(0), rule=rule, epochs=6,
            compare=False, **options,
        )  # fmt: skip
        outputs.append(rg.forward(result.layers, given, BENT).Zs[-1])
    return np.abs(outputs[1] - outputs[0]).max()


@pytest.mark.parametrize("c", [1, 3])
@depths
def test_the_path_knows_neither_mixing_nor_linear_effects_nor_units(L, c):
    assert off("newton", L, c) < 1e-7
    assert off("adam", L, c, batch_size=None, implementation="reference") > 1e-6


@depths
def test_without_whitening_the_path_knows_how_the_context_is_mixed(L, monkeypatch):
    monkeypatch.setattr(frame, "_whitening", lambda A, least: 0.1 * np.eye(A.shape[1]))
    assert off("newton", L, 3) > 1e-5


@depths
def test_a_bias_of_one_column_moves_as_one_of_none(L):
    layers, rows = problem(60, 0, L)
    bare = tuple(rg.Layer(W, b[:, 0]) for W, b in layers)
    one, two = (newton(x, rows, max_iter=8, compare=False) for x in (bare, layers))
    for (W, b), (V, B) in zip(one.layers, two.layers, strict=True):
        np.testing.assert_allclose(V, W, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(B[:, 0], b, rtol=1e-8, atol=1e-9)


@depths
@pytest.mark.parametrize("library", [name for name in LIBRARIES if name != "numpy"])
def test_every_library_finds_the_same(library, L):
    layers, rows = problem(60, 2, L)
    expected, to = newton(layers, rows, max_iter=4), LIBRARIES[library]
    there = tuple(rg.Layer(*map(to, layer)) for layer in layers)
    found = newton(there, to(rows), max_iter=4)
    assert type(found.layers[0].b) is type(to(rows))
    for one, two in zip(found.layers, expected.layers, strict=True):
        np.testing.assert_allclose(to_numpy(one.W), two.W, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(to_numpy(one.b), two.b, rtol=1e-7, atol=1e-8)


@depths
def test_a_weight_counts_as_repetition(L):
    layers, rows = problem(60, 2, L)
    counts = np.random.default_rng(0).integers(0, 4, 60)
    many = newton(layers, np.repeat(rows, counts, axis=0), max_iter=6)
    few = newton(layers, rows, max_iter=6, sample_weight=10 * counts)
    assert few.history[-1].train == pytest.approx(many.history[-1].train, rel=1e-10)
    plain = newton(layers, rows, max_iter=6)
    assert abs(plain.history[-1].train - few.history[-1].train) > 1e-3


@depths
def test_a_fit_goes_on_from_a_snapshot(L, tmp_path):
    layers, rows = problem(60, 2, L)
    given = {"rng": np.random.default_rng(0), "rule": "newton", "epochs": 8}
    all_at_once = rg.fit(layers, rows, BENT, SECH, **given)
    keeper = StopAt(tmp_path, 4)
    rg.fit(layers, rows, BENT, SECH, keeper=keeper, **given)
    resumed = rg.fit(layers, rows, BENT, SECH, resume=keeper.kept[-1], **given)
    for one, two in zip(resumed.layers, all_at_once.layers, strict=True):
        np.testing.assert_allclose(one.b, two.b, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("L", [1, 3])
def test_products_over_the_rows_are_counted(L, monkeypatch):
    """Two of D (D + c + 1) a row with one layer; 5 L - 1 of D^2 and 5 L of D (c + 1) with several."""
    monkeypatch.setattr(recording.Recorded, "__float__", lambda self: float(self.hidden))
    N, c = 50, 2
    plain, rows = problem(N, c, L)
    layers, apart = recording.wrap((plain, framed(plain, rows, None)))
    if L == 1:
        parts = PlainRows.of(apart, *layers[0], None, elementwise(SECH))
        at = OneLayer.begun(parts[0], layers[0], parts[1])
    else:
        sample = RowParts(
            whole._parts(apart, None), bending(IDENTITY), elementwise(SECH), apart.frame
        )
        at = Layered.of(sample, layers)
    d = at.precondition(at.gradient)
    recording.LOG.clear()
    after = at.moved(d, 0.5)
    after.precondition(after.gradient)
    pairs = [(a, b) for _, a, b in recording.LOG if b and len(a) == len(b) == 2 and N in (*a, *b)]
    found = sum(a[0] * a[1] * b[1] for a, b in pairs)
    large, small = (2, 2) if L == 1 else (5 * L - 1, 5 * L)
    assert found == N * D * (large * D + small * (c + 1))


# What it finds


def test_a_scale_that_depends_on_the_context_is_found_in_fewer_passes_than_by_the_recipe():
    rng = np.random.default_rng(0)
    u = rng.uniform(-1, 1, (500, 1))
    rows = np.concatenate([3 * u + np.exp(u) * rng.standard_normal((500, 1)), u], axis=1)
    start = rg.init_layers(rng, 1, 3, kind="principal", X=rows, activation=BENT, context=1)
    found = newton(start, rows, BENT, NORMAL, max_iter=30, X_val=rows, patience=30)
    recipe = rg.fit(
        start, rows, BENT, NORMAL, rng=rng, epochs=30, batch_size=100, compare=False,
        implementation="reference",
    )  # fmt: skip
    ends = [
        float(rg.log_likelihood(x, rows, BENT, NORMAL).mean)
        for x in (start, recipe.best_layers, found.best_layers)
    ]
    assert ends[2] > ends[1] + 0.03 > ends[0] + 0.05
    assert len(found.xi) == 3
    assert np.isfinite(found.xi).all()
