"""Second order in the group: the gradient, the curvatures, the way up, and what newton returns."""

import dataclasses
import math

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.fitting.newton import joint, linear, pairs, rows, whole
from relgrad_np.fitting.newton.ascent import ascend, climb, largest
from relgrad_np.fitting.newton.bending import bending
from relgrad_np.fitting.newton.elementwise import elementwise
from relgrad_np.fitting.newton.frame import framed
from relgrad_np.fitting.newton.layered import Layered, RowParts
from relgrad_np.fitting.newton.lbfgs import Curvatures, dot
from relgrad_np.fitting.newton.one_layer import OneLayer
from relgrad_np.oracle.cases import generic

from ..laws import recording
from ..laws.problems import LIBRARIES

IDENTITY, BENT = rg.activation("identity"), rg.activation("smooth_leaky_relu")
SECH, NORMAL = rg.density("sech"), rg.density("normal")
C_4 = math.log(math.sqrt(2) / math.gamma(0.25))  # exp(-z^4 / 4) has mass Gamma(1/4) / sqrt(2)
SUB = rg.Density(  # of sources lighter than the Gaussian; it brings no curvature of its own
    "sub", lambda z: C_4 - z**4 / 4, lambda z: -(z**3), lambda rng, shape: rng.uniform(size=shape)
)


def mean(layers, X, act=IDENTITY, density=SECH, weights=None):
    terms = to_numpy(rg.log_likelihood(layers, X, act, density).per_sample).astype(float)
    return float(np.average(terms, weights=weights))


def mixed(N=400, D=4, seed=0, draw="laplace"):
    rng = np.random.default_rng(seed)
    S = getattr(rng, draw)(size=(N, D))
    A = rng.standard_normal((D, D)) + np.eye(D)
    return S @ A.T + rng.normal(size=D), A


def whitened(X, L=1, act=IDENTITY, kind="whiten"):
    return rg.init_layers(np.random.default_rng(0), X.shape[1], L, kind=kind, X=X, activation=act)


def amari(P):
    P = np.abs(P)
    D = len(P)
    rows = (P / P.max(axis=1, keepdims=True)).sum(axis=1) - 1
    columns = (P / P.max(axis=0, keepdims=True)).sum(axis=0) - 1
    return (rows.sum() + columns.sum()) / (2 * D * (D - 1))


# The gradient


def one(problem, weights=None, density=None):
    return OneLayer.of(
        elementwise(density or problem.density), problem.layers[0], problem.X, weights
    )


def net(problem, weights=None):
    sample = RowParts(
        whole._parts(framed(problem.layers, problem.X, weights), weights),
        bending(problem.activation),
        elementwise(problem.density),
    )
    return Layered.of(sample, problem.layers)


def is_the_gradient(point):
    """The slope of the value along generic directions of the algebra, by central differences."""
    rng, shape = np.random.default_rng(3), np.shape(point.gradient)
    for _ in range(4):
        d = rng.standard_normal(shape)
        d /= np.linalg.norm(d)
        h = 1e-4
        slope = (point.moved(d, h).value - point.moved(-d, h).value) / (2 * h)
        error = abs(slope - dot(point.gradient, d))
        assert error <= 1e-6 * (1 + abs(slope)), f"gradient off by {error:.3g}"


def weights_of(N):
    w = np.random.default_rng(5).uniform(0.2, 3, N)
    return w / w.mean()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("density", ["sech", "logistic", "student_t", "normal"])
def test_the_gradient_of_one_layer_is_that_of_central_differences(density, weighted, monkeypatch):
    monkeypatch.setattr(rows, "CHUNK", 16)  # several parts
    problem = generic(1, 13, 4, 1, "identity", density)
    is_the_gradient(one(problem, weights_of(13) if weighted else None))


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_of_a_net_is_that_of_central_differences(weighted, monkeypatch):
    monkeypatch.setattr(whole, "CHUNK", 16)
    problem = generic(2, 13, 4, 3, "leaky_tanh", "sech")
    is_the_gradient(net(problem, weights_of(13) if weighted else None))


@pytest.mark.parametrize("make", [one, net])
@pytest.mark.parametrize(
    "wrong",
    [
        lambda G: G - np.concatenate([np.eye(4), np.zeros((4, 1))], axis=1),  # no identity
        lambda G: np.concatenate([np.swapaxes(G[..., :-1], 1, 2), G[..., -1:]], axis=2),
        lambda G: np.concatenate([G[..., :-1], 0 * G[..., -1:]], axis=2),  # no bias
    ],
)
def test_a_wrong_gradient_is_rejected(make, wrong):
    class Planted:
        def __init__(self, point):
            self.gradient, self.moved = wrong(point.gradient), point.moved

    problem = generic(2, 13, 4, 1 if make is one else 3, "leaky_tanh", "sech")
    with pytest.raises(AssertionError, match="gradient off by"):
        is_the_gradient(Planted(make(problem)))


@pytest.mark.parametrize("make", [one, net])
def test_value_and_tracker_are_those_of_the_definitions(make):
    problem = generic(4, 13, 4, 1 if make is one else 3, "leaky_tanh", "sech")
    point = make(problem)
    rng = np.random.default_rng(0)
    for _ in range(3):
        point = point.moved(0.3 * rng.standard_normal(np.shape(point.gradient)), 0.7)
        expected = mean(point.layers(), problem.X, problem.activation)
        assert point.value == pytest.approx(expected, rel=1e-12)
        fresh = rg.track(point.layers())
        np.testing.assert_allclose(point.tracked.logdet, fresh.logdet, atol=1e-11)
        np.testing.assert_array_equal(point.tracked.sign, fresh.sign)


@pytest.mark.parametrize("name", ["sech", "logistic", "laplace", "student_t"])
def test_one_exponential_gives_what_the_density_does(name):
    of = rg.density(name)
    Y = np.random.default_rng(0).standard_t(2, (7, 301)) * 3
    Y[0, :3] = 0.0, -800.0, 1e30
    log_p, score, dscore = elementwise(of)(Y)
    np.testing.assert_allclose(log_p, of.log_prob(Y).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(score, of.score(Y), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(dscore, of.dscore(Y), rtol=1e-13, atol=1e-300)
    assert elementwise(of)(Y.astype("f4"))[0].dtype == np.float32


BENDS = {
    "smooth_leaky_relu": [{}, {"alpha": 0.01}, {"alpha": 1.0}],
    "leaky_tanh": [{}, {"alpha": 3.0, "beta": 1e-3}],
    "identity": [{}],
}


@pytest.mark.parametrize("name", BENDS)
def test_one_exponential_gives_what_the_activation_does(name):
    for params in BENDS[name]:
        act = rg.activation(name, **params)
        Y = np.random.default_rng(0).standard_t(2, (7, 301)) * 3
        Y[0, :3] = 0.0, -800.0, 1e30
        Y[1] = -900.0  # all slopes the least: their product must not vanish
        found = bending(act)(Y)
        np.testing.assert_allclose(found.z, act.sigma(Y), rtol=1e-14)
        np.testing.assert_allclose(
            found.total, act.log_dsigma(Y).sum(axis=1), rtol=1e-12, atol=1e-13
        )
        np.testing.assert_allclose(found.slope, act.dsigma(Y), rtol=1e-14)
        np.testing.assert_allclose(found.change, act.dlog_dsigma(Y), rtol=1e-13, atol=1e-300)
        narrow = bending(act)(Y.astype("f4"))
        assert {x.dtype for x in narrow} == {np.dtype("f4")}
        assert np.isfinite(narrow.total).all()


def test_an_activation_with_another_slope_is_not_taken_for_the_packages():
    planted = dataclasses.replace(BENT, dlog_dsigma=lambda y: 7 + 0 * y)
    np.testing.assert_array_equal(bending(planted)(np.zeros((1, 2))).change, [[7, 7]])


def test_a_density_with_another_score_is_not_taken_for_the_packages():
    planted = dataclasses.replace(SECH, score=lambda z: -(np.tanh(z) ** 3))
    Y = np.array([[0.5, -2.0]])
    np.testing.assert_array_equal(elementwise(planted)(Y)[1], planted.score(Y))


# The curvature of pairs


def moments_of(D=5, seed=0):
    rng = np.random.default_rng(seed)
    k, own, variance = rng.uniform(1.1, 2, (3, D))
    return pairs.PairMoments(k, rng.uniform(-0.5, 0.5, D), own, 1 + variance, k)


def dense_pairs(moments):
    """The matrix of the 2 x 2 systems on [E, t], element by element."""
    k, c, own, variance, _ = moments
    D = len(k)
    at = np.arange(D * (D + 1)).reshape(D, D + 1)
    H = np.zeros((at.size, at.size))
    for i in range(D):
        for j in range(D):
            H[at[i, j], at[j, i]] = 1
        for j in set(range(D)) - {i}:
            H[at[i, j], at[i, j]] = k[i] * variance[j]
        H[at[i, i], at[i, i]] = own[i] + 1
        H[at[i, i], at[i, D]] = H[at[i, D], at[i, i]] = c[i]
        H[at[i, D], at[i, D]] = k[i]
    return H


def solves(solve, H, D, L=1):
    G = np.random.default_rng(1).standard_normal((L, D, D + 1))
    found = solve(G)
    expected = np.linalg.solve(H, G.reshape(-1)).reshape(G.shape)
    error = np.abs(found - expected).max()
    assert error <= 1e-10 * np.abs(expected).max(), f"off by {error:.3g}"


def test_the_preconditioner_solves_its_pairs():
    moments = moments_of()
    solves(pairs.pairwise(moments), dense_pairs(moments), 5)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda m: m._replace(k=m.variance, variance=m.k),  # h transposed
        lambda m: m._replace(c=0 * m.c),  # no coupling of scale and bias
        lambda m: m._replace(own=m.k * m.variance),
    ],
)
def test_wrong_pairs_are_rejected(wrong):
    moments = moments_of()
    with pytest.raises(AssertionError, match="off by"):
        solves(pairs.pairwise(wrong(moments)), dense_pairs(moments), 5)


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_positive_whatever_the_moments(seed):
    """Eigenvalues of the blocks are 0.01 or more, and those above are not changed."""
    rng = np.random.default_rng(seed)
    D = 5
    found = pairs.PairMoments(
        rng.normal(size=D), rng.normal(size=D), rng.normal(size=D), rng.uniform(0, 2, D),
        rng.uniform(0, 2, D),
    )  # fmt: skip
    basis = np.eye(D * (D + 1)).reshape(-1, 1, D, D + 1)
    inverse = np.stack([pairs.pairwise(found)(v).reshape(-1) for v in basis])
    np.testing.assert_allclose(inverse, inverse.T, atol=1e-9)
    values = 1 / np.linalg.eigvalsh(inverse)
    assert values.min() > 0.01 * (1 - 1e-9)
    bare = np.linalg.eigvalsh(dense_pairs(found))
    assert bare.min() < 0  # there was something to raise


def test_a_kink_counts_by_its_information():
    """Of Laplace rows E psi' is 0; E psi^2 stands for it, as in the model, where both are 1."""
    X, _ = mixed(3000)
    point = OneLayer.of(elementwise(rg.density("laplace")), whitened(X)[0], X, None)
    assert (point.moments.k == 0).all()
    np.testing.assert_allclose(pairs.settled(point.moments).k, 1.0, atol=1e-9)


def hessian(point, h=1e-4):
    """Minus the second derivatives of the value along [E, t], by differences of the gradient."""
    shape = np.shape(point.gradient)
    columns = []
    for v in np.eye(math.prod(shape)).reshape(-1, *shape):
        up, down = point.moved(v, h).gradient, point.moved(-v, h).gradient
        columns.append((down - up).reshape(-1) / (2 * h))
    return np.array(columns)


def test_pairs_are_the_curvature_of_independent_outputs():
    """At the truth, of many rows; not without the transposition's 1 of log|det|."""
    X = np.random.default_rng(0).logistic(size=(200_000, 3))
    layer = rg.Layer(np.eye(3), np.zeros(3))
    point = OneLayer.of(elementwise(rg.density("logistic")), layer, X, None)
    H = hessian(point)
    expected = dense_pairs(point.moments)
    np.testing.assert_allclose((H + H.T) / 2, expected, atol=0.05)
    assert np.abs((H + H.T) / 2 - (expected - expected.T * (expected == 1))).max() > 0.5


# The Fisher information in the joint chart


def covariances(D=4, seed=0):
    rng = np.random.default_rng(seed)
    A, B = (M @ M.T + 0.5 * np.eye(D) for M in rng.standard_normal((2, D, D)))
    return A, 4 * B  # lam above 1, so that the floor does nothing


def kronecker(A, B):
    """F(eps) = B eps A + eps' on eps, row by row."""
    D = len(A)
    F = np.kron(B, A)
    for i in range(D):
        for j in range(D):
            F[i * D + j, j * D + i] += 1
    return F


def solves_fisher(solve, A, B):
    G, g = np.random.default_rng(1).standard_normal((4, 4)), np.arange(1.0, 5.0)
    eps, t = solve(joint.joint_chart(A, B), G, g)
    dense = np.linalg.solve(kronecker(A, B), G.reshape(-1)).reshape(4, 4)
    assert np.abs(eps - dense).max() <= 1e-10, f"off by {np.abs(eps - dense).max():.3g}"
    assert np.abs(t - np.linalg.solve(B, g)).max() <= 1e-10


def test_the_joint_chart_solves_the_fisher_information():
    solves_fisher(lambda chart, G, g: joint.solved(chart, G, g, 0.0, 0.0), *covariances())


def no_transposition(chart, G, g):
    G_T = chart.V.T @ G @ chart.T.T
    return chart.V @ (G_T / chart.lam[:, None]) @ chart.T, chart.V @ ((chart.V.T @ g) / chart.lam)


@pytest.mark.parametrize(
    "wrong",
    [
        no_transposition,
        lambda chart, G, g: joint.solved(chart, G.T, g, 0.0, 0.0),
        lambda chart, G, g: joint.solved(chart._replace(lam=chart.lam[::-1]), G, g, 0.0, 0.0),
        lambda chart, G, g: joint.solved(chart, G, g, 0.1, 0.0),  # damped
    ],
)
def test_a_wrong_solution_of_the_fisher_information_is_rejected(wrong):
    with pytest.raises(AssertionError):
        solves_fisher(wrong, *covariances())


def test_the_joint_chart_makes_one_the_identity_and_the_other_diagonal():
    A, B = covariances()
    T, V, lam = joint.joint_chart(A, B)
    np.testing.assert_allclose(T @ V, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(T @ A @ T.T, np.eye(4), atol=1e-12)
    np.testing.assert_allclose(V.T @ B @ V, np.diag(lam), atol=1e-11)
    eps = np.random.default_rng(0).standard_normal((4, 4))
    E = T @ eps @ V
    assert np.trace(E @ E) == pytest.approx(np.trace(eps @ eps), rel=1e-12)
    assert np.trace(E @ E.T) != pytest.approx(np.trace(eps @ eps.T), rel=1e-3)


def test_pairs_are_the_joint_chart_of_one_layer_with_independent_outputs():
    """lam_i = k_i E u_i^2, up to the own block, which pairs know exactly."""
    moments = moments_of()._replace(c=np.zeros(5))
    moments = moments._replace(own=moments.k * moments.variance)
    chart = joint.joint_chart(np.diag(moments.variance), np.diag(moments.k))
    G = np.random.default_rng(2).standard_normal((1, 5, 6))
    found = joint.solved(chart, G[0, :, :-1], G[0, :, -1], 0.0, 0.0)
    np.testing.assert_allclose(
        pairs.pairwise(moments)(G)[0], np.column_stack(found), rtol=1e-9, atol=1e-12
    )


def test_the_fisher_information_of_a_linear_net_is_that_of_the_scores():
    """Gaussian outputs and deltas: B eps A + eps' is E s s' of s = delta u' + I, in a big sample."""
    rng = np.random.default_rng(0)
    D, N = 3, 400_000
    M = rng.standard_normal((D, D)) + 2 * np.eye(D)
    u = rng.standard_normal((N, D)) @ M.T
    delta = -np.linalg.solve(M @ M.T, u.T).T  # of the latent inv(M) u, which is normal
    s = (delta[:, :, None] * u[:, None, :] + np.eye(D)).reshape(N, -1)
    A, B = u.T @ u / N, delta.T @ delta / N
    F = s.T @ s / N
    np.testing.assert_allclose(F, kronecker(A, B), atol=0.03 * np.abs(F).max())
    assert np.abs(F - np.kron(B, A)).max() > 0.5


# The memory, and the way up


def test_the_memory_is_bfgs():
    """Against the dense update of the inverse Hessian; and not with pairs exchanged."""
    rng = np.random.default_rng(0)
    A = np.diag([1.0, 3.0, 10.0])
    memory, swapped, H = Curvatures(5), Curvatures(5), np.diag([1.0, 0.5, 0.2])
    first = lambda v: np.diag([1.0, 0.5, 0.2]) @ v  # noqa: E731
    for _ in range(3):
        s = rng.standard_normal(3)
        y = A @ s
        rho, V = 1 / (s @ y), np.eye(3) - np.outer(s, y) / (s @ y)
        H = V @ H @ V.T + rho * np.outer(s, s)
        assert memory.add(s, y)
        swapped.add(y, s)
    g = rng.standard_normal(3)
    np.testing.assert_allclose(memory.direction(g, first), H @ g, rtol=1e-12)
    assert np.abs(swapped.direction(g, first) - H @ g).max() > 0.1
    assert not memory.add(g, -g)
    assert len(memory.pairs) == 3


def problem_of(i):
    """Random rows, some with outliers, and a start that may be far from them."""
    rng = np.random.default_rng(i)
    D, L = int(rng.integers(1, 6)), 1 + i % 3
    N = int(rng.integers(3 * D + 10, 120))
    X = rng.standard_t(3, (N, D)) @ rng.standard_normal((D, D)) * 10 ** rng.uniform(-2, 2)
    if i % 4 == 0:
        X[rng.integers(N, size=2)] *= 1e4
    density = rg.density(("sech", "logistic", "normal", "student_t", "laplace")[i % 5])
    act = rg.activation(("smooth_leaky_relu", "leaky_tanh")[i % 2])
    layers = rg.init_layers(rng, D, L)
    if i % 3:
        layers = whitened(X, L, act)
    return layers, X, act, density


def rises(values, noise=1e-12):
    falls = np.diff(values)
    worst = (falls + noise * (1 + np.abs(values[:-1]))).min(initial=math.inf)
    assert worst >= 0, f"a step lowers the log-likelihood by {-worst:.3g}"


@pytest.mark.parametrize("part", range(4))
def test_every_step_raises_the_exact_log_likelihood(part):
    """100 random problems: heavy tails, outliers, starts far away."""
    for i in range(25 * part, 25 * part + 25):
        layers, X, act, density = problem_of(i)
        values = [mean(layers, X, act, density)]

        def record(epoch, state, values=values, X=X, act=act, density=density):
            values.append(mean(state.layers, X, act, density))
            assert epoch.train == pytest.approx(values[-1], rel=1e-9, abs=1e-9)

        result = rg.newton(layers, X, act, density, max_iter=12, callbacks=[record])
        assert len(values) == len(result.history) + 1
        rises(np.array(values), 1e-10)
        assert all(np.isfinite(x).all() for layer in result.layers for x in layer)


def test_a_fall_is_rejected():
    with pytest.raises(AssertionError, match="lowers"):
        rises(np.array([-3.0, -2.0, -2.0 - 1e-9]))


def test_without_the_line_search_steps_fall():
    """What the search is for: from afar the whole step is often no ascent."""
    fallen, tried = 0, 0
    for i in range(40):
        layers, X, act, density = problem_of(i)
        if len(layers) == 1:
            point = OneLayer.of(elementwise(density), layers[0], X, None)
        else:
            point = Layered.of(
                RowParts(
                    whole._parts(framed(layers, X, None), None), bending(act), elementwise(density)
                ),
                layers,
            )
        with np.errstate(all="ignore"):
            for _ in range(3):
                d = point.precondition(point.gradient)
                climbed = climb(point, d, dot(point.gradient, d))
                if climbed is None:
                    break
                tried += 1
                fallen += not point.moved(d, 1.0).value > point.value
                assert climbed.point.value > point.value
                point = climbed.point
    assert tried > 90
    assert fallen > 5


def test_no_direction_downwards_is_climbed():
    X, _ = mixed()
    point = OneLayer.of(elementwise(SECH), whitened(X)[0], X, None)
    d = -point.precondition(point.gradient)
    assert climb(point, d, -dot(point.gradient, d)) is None


@pytest.mark.parametrize("L", [1, 2])
def test_the_tracker_is_slogdet_at_the_end(L):
    X, _ = mixed(300, 5)
    result = rg.newton(whitened(X, L, BENT), X, BENT, SECH, max_iter=60)
    exact = [np.linalg.slogdet(layer.W) for layer in result.layers]
    np.testing.assert_allclose(result.tracked.logdet, [x[1] for x in exact], atol=1e-9)
    np.testing.assert_array_equal(result.tracked.sign, [x[0] for x in exact])
    assert abs(result.history[-1].drift) < 1e-9


@pytest.mark.parametrize(("L", "condition", "growth"), [(1, 1e10, 64), (2, 1e4, 1e4)])
def test_the_path_does_not_depend_on_how_the_data_are_mixed(L, condition, growth):
    """Mixed once more: as many iterations, the same outputs, up to rounding times the condition.

    The one layer converges, and forgets; along the way of a net the rounding grows.
    """
    X, _ = mixed(500, 3)
    rng = np.random.default_rng(9)
    Q, R = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    M = Q @ np.diag([condition**0.5, 1.0, condition**-0.5]) @ R
    first = whitened(X, L, BENT)
    start = (rg.Layer(np.linalg.solve(M.T, first[0].W.T).T, first[0].b), *first[1:])
    one, two = (
        rg.newton(layers, rows, BENT, SECH, max_iter=20)
        for layers, rows in ((first, X), (start, X @ M.T))
    )
    assert len(one.history) == len(two.history) > 3
    Y, Z = (rg.forward(r.layers, rows, BENT).Zs[-1] for r, rows in ((one, X), (two, X @ M.T)))
    assert np.abs(Y - Z).max() <= growth * condition * 2**-52 * np.abs(Y).max()
    # a step along the ordinary gradient depends on it
    ends = [
        X_1 @ (layers[0].W + 1e-6 * rg.ordinary_gradient(*gradient_of(layers, X_1))[0].W).T
        for layers, X_1 in ((first, X), (start, X @ M.T))
    ]
    assert np.abs(ends[0] - ends[1]).max() > 100 * np.abs(Y - Z).max()


# Mixing of condition 1e10: what float64 can bear


def conditioned(rng, D, condition):
    Q, R = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
    return Q @ np.diag(np.geomspace(condition**0.5, condition**-0.5, D)) @ R


def two_paths(seed, D=3, N=500, spoil=lambda W: W):
    """Iterations and outputs, of rows and of the same rows mixed; and eps |X| |W|, of the latter."""
    rng = np.random.default_rng(seed)
    X, M = rng.laplace(size=(N, D)), conditioned(rng, D, 1e10)
    first = whitened(X)
    mixed_start = (rg.Layer(np.linalg.solve(M.T, first[0].W.T).T, first[0].b),)
    one = rg.newton(first, X, IDENTITY, SECH)
    two = rg.newton(mixed_start, X @ M.T, IDENTITY, SECH)
    W, b = two.layers[0]
    Y = rg.forward(one.layers, X, IDENTITY).Zs[-1]
    Z = (X @ M.T) @ spoil(W).T + b
    rounding = 2.0**-53 * (np.abs(X @ M.T) @ np.abs(W).T).max()
    return (len(one.history), len(two.history)), Y, Z, rounding


def is_equivariant(seed, **options):
    """As many iterations, and outputs that differ by what it takes to store X and W in float64."""
    iterations, Y, Z, rounding = two_paths(seed, **options)
    assert iterations[0] == iterations[1] > 5
    error = np.abs(Y - Z).max()
    assert error <= 4 * rounding, f"{error / rounding:.3g} times the rounding of X and W"
    assert error <= 1e-6 * np.abs(Y).max(), f"off by {error / np.abs(Y).max():.3g}"


@pytest.mark.parametrize("D", [3, 8])
@pytest.mark.parametrize("seed", range(4))
def test_a_condition_of_1e10_costs_what_float64_has_to_pay(seed, D):
    is_equivariant(seed, D=D)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda W: W * (1 + 64 * 2.0**-53 * np.sign(np.arange(W.size).reshape(W.shape) % 2 - 0.5)),
        lambda W: W + 64 * 2.0**-53 * np.abs(W).max() * np.sign(W),
    ],
)
def test_a_matrix_that_has_lost_digits_is_seen(spoil):
    with pytest.raises(AssertionError, match=r"times the rounding|off by"):
        is_equivariant(0, spoil=spoil)


def is_white(W, b, X):
    U = X @ W.T + b
    rounding = 2.0**-53 * (np.abs(X) @ np.abs(W).T).max()
    error = np.abs(U.T @ U / len(U) - np.eye(U.shape[1])).max()
    assert error <= 4 * rounding, f"covariance off by {error:.3g}, {error / rounding:.3g} times"


def test_rows_of_condition_1e10_are_whitened_to_rounding():
    """One eigendecomposition of their covariance, of condition 1e20, is not enough."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.laplace(size=(500, 4)) @ conditioned(rng, 4, 1e10).T
        is_white(*whitened(X)[0], X)
        s, V = np.linalg.eigh(np.cov(X.T, bias=True))
        once = (V / np.sqrt(np.maximum(s, 2.0**-52 * s[-1]))).T
        with pytest.raises(AssertionError, match="covariance off"):
            is_white(once, -once @ X.mean(axis=0), X)


def gradient_of(layers, X):
    tape = rg.forward(layers, X, BENT)
    return layers, tape, rg.backprop(layers, tape, BENT, SECH)


# What it finds


@pytest.mark.parametrize(
    ("draw", "density", "most"), [("laplace", SECH, 0.03), ("uniform", SUB, 0.03)]
)
def test_sources_are_found(draw, density, most):
    """And not with the base of the other kind, super for sub-Gaussian."""
    X, A = mixed(3000, 4, draw=draw)
    start = whitened(X)
    result = rg.newton(start, X, IDENTITY, density)
    assert result.stop_reason == "tol"
    assert len(result.history) < 30
    assert amari(start[0].W @ A) > 0.1
    assert amari(result.layers[0].W @ A) < most
    other = rg.newton(start, X, IDENTITY, SUB if density is SECH else SECH, max_iter=30)
    assert amari(other.layers[0].W @ A) > 3 * amari(result.layers[0].W @ A)


def test_a_normal_base_gives_the_gaussian():
    X, _ = mixed(300, 3)
    far = rg.init_layers(np.random.default_rng(1), 3, 1)
    result = rg.newton(far, X, IDENTITY, NORMAL)
    W = result.layers[0].W
    assert result.stop_reason == "tol"
    np.testing.assert_allclose(W @ np.cov(X.T, bias=True) @ W.T, np.eye(3), atol=1e-5)


def test_the_digits_of_two_layers_are_fitted_better_than_in_60_epochs_of_the_recipe():
    """-64.6 nats is what the recipe reaches on these rows. And that is too good for other rows."""
    from relgrad_np.datasets import load

    data = load("digits")
    start = whitened(data.train, 2, BENT, "gaussianize")
    result = rg.newton(start, data.train, BENT, NORMAL, max_iter=40, X_val=data.validation)
    assert mean(result.layers, data.train, BENT, NORMAL) > -64.6
    validation = [epoch.validation for epoch in result.history]
    assert 5 < result.best_epoch < 25
    assert validation[-1] < max(validation) - 1


@pytest.mark.parametrize("L", [1, 2])
def test_float32_reaches_the_optimum(L):
    X, _ = mixed(400, 3)
    start = whitened(X, L, BENT)
    wide = rg.newton(start, X, BENT, SECH, max_iter=40)
    narrow = tuple(rg.Layer(*(x.astype("f4") for x in layer)) for layer in start)
    found = rg.newton(narrow, X.astype("f4"), BENT, SECH, max_iter=40)
    assert found.layers[0].W.dtype == np.float32
    as_wide = tuple(rg.Layer(*(x.astype("f8") for x in layer)) for layer in found.layers)
    assert mean(as_wide, X, BENT) == pytest.approx(mean(wide.layers, X, BENT), abs=1e-3)
    assert mean(as_wide, X, BENT) > mean(start, X, BENT) + 1e-2


@pytest.mark.parametrize("L", [1, 2])
@pytest.mark.parametrize("library", [name for name in LIBRARIES if name != "numpy"])
def test_every_library_finds_the_same(library, L):
    X, _ = mixed(150, 3)
    start = whitened(X, L, BENT)
    expected = rg.newton(start, X, BENT, SECH, max_iter=6)
    to = LIBRARIES[library]
    layers = tuple(rg.Layer(*map(to, layer)) for layer in start)
    found = rg.newton(layers, to(X), BENT, SECH, max_iter=6, X_val=to(X))
    assert type(found.layers[0].W) is type(to(X))
    for one, two in zip(found.layers, expected.layers, strict=True):
        np.testing.assert_allclose(to_numpy(one.W), two.W, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(to_numpy(one.b), two.b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("L", [1, 3])
def test_products_over_the_rows_are_counted(L, monkeypatch):
    """An iteration: two with one layer, 5 L - 1 with several; no determinant, no inverse."""
    monkeypatch.setattr(recording.Recorded, "__float__", lambda self: float(self.hidden))
    problem = generic(7, 50, 4, L, "identity", "sech")
    layers, X = recording.record(problem.layers, problem.X)
    point = (one if L == 1 else net)(problem._replace(layers=layers, X=X))
    d = point.precondition(point.gradient)
    recording.LOG.clear()
    after = point.moved(d, 0.5)
    assert after.gradient.shape == (L, 4, 5)
    after.precondition(after.gradient)
    large = [1 for _, a, b in recording.LOG if b and len(a) == len(b) == 2 and 50 in (*a, *b)]
    assert len(large) == (2 if L == 1 else 5 * L - 1)
    named = {name for name, _, b in recording.LOG if b is None}
    assert named <= {"eigh", "trace"}


# What is asked and returned


@pytest.mark.parametrize("L", [1, 2])
def test_a_weight_counts_as_repetition(L):
    X, _ = mixed(60, 3)
    counts = np.random.default_rng(0).integers(0, 4, 60)
    start = whitened(X, L, BENT)
    many = rg.newton(start, np.repeat(X, counts, axis=0), BENT, SECH, max_iter=15)
    few = rg.newton(start, X, BENT, SECH, max_iter=15, sample_weight=10 * counts)
    for one, two in zip(few.layers, many.layers, strict=True):
        np.testing.assert_allclose(one.W, two.W, rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(one.b, two.b, rtol=1e-6, atol=1e-8)
    assert few.history[-1].train == pytest.approx(many.history[-1].train, rel=1e-10)
    plain = rg.newton(start, X, BENT, SECH, max_iter=15)
    assert np.abs(plain.layers[0].W - few.layers[0].W).max() > 1e-3


@pytest.mark.parametrize("L", [1, 2])
def test_validation_returns_never_less_than_the_start(L):
    """Rows of another kind: each step on X is worse there, so that the start is kept."""
    X, _ = mixed(40, 4)
    other, _ = mixed(200, 4, seed=7)
    start = whitened(np.concatenate([X, other]), L, BENT)
    result = rg.newton(start, X, BENT, SECH, X_val=other, patience=3, max_iter=60)
    values = [mean(start, other, BENT), *(epoch.validation for epoch in result.history)]
    assert result.best_epoch == int(np.argmax(values))
    assert mean(result.best_layers, other, BENT) == pytest.approx(max(values), rel=1e-12)
    assert result.stop_reason == "patience"
    assert len(result.history) == result.best_epoch + 3
    assert mean(result.layers, other, BENT) < max(values)  # the last are not the best


def test_the_first_stage_ends_nearby_and_never_below_the_start():
    X, _ = mixed(5000, 4)
    start = whitened(X)
    asked = {"sample_weight": None}
    one = rg.newton(start, X, IDENTITY, SECH, **asked)
    begun = OneLayer.of(elementwise(SECH), start[0], X, None)
    later = linear.first_stage(begun, X, None, SECH, 500)
    assert later.value > begun.value
    assert largest(later.gradient) < 0.2 < largest(begun.gradient) + 0.2
    assert one.history[0].train >= later.value
    best = rg.newton(one.layers, X, IDENTITY, SECH, **asked)  # nothing to gain: it stays
    assert mean(best.layers, X) >= mean(one.layers, X) - 1e-12


def test_why_it_stops():
    X, _ = mixed(200, 3)
    start = whitened(X)
    assert rg.newton(start, X, IDENTITY, SECH).stop_reason == "tol"
    with pytest.warns(rg.NotConvergedWarning, match="2 iterations ran out before `tol` 1e-06"):
        result = rg.newton(start, X, IDENTITY, SECH, max_iter=2)
    assert (result.stop_reason, len(result.history)) == ("max_iter", 2)
    stopped = rg.newton(start, X, IDENTITY, SECH, callbacks=[lambda epoch, state: state.t == 3])
    assert (stopped.stop_reason, len(stopped.history)) == ("callback", 3)
    kinked = rg.newton(start, X, IDENTITY, rg.density("laplace"))
    assert kinked.stop_reason == "stalled"
    beyond = rg.newton(start, X, IDENTITY, SECH, tol=1e-300)
    assert beyond.stop_reason == "stalled"
    assert largest(OneLayer.of(elementwise(SECH), beyond.layers[0], X, None).gradient) < 1e-7


def test_a_stalled_memory_is_forgotten():
    """Where its direction does not ascend, the preconditioned gradient is tried."""

    class Bowl:
        """Minus |x|^2 / 2 about the origin, with a step that fails the first time it is tried."""

        noise, precondition = 1e-16, staticmethod(lambda v: v)
        tried = []

        def __init__(self, x):
            self.x, self.value, self.gradient = x, -0.5 * float((x * x).sum()), -x

        def moved(self, direction, alpha):
            self.tried.append(1)
            return Bowl(self.x + 0.5 * alpha * direction)

    end, reason = ascend(Bowl(np.ones((1, 1, 2))), Curvatures(3), 1e-6, 100)
    assert reason == "tol"
    assert abs(end.x).max() < 1e-6


def test_xi_is_that_of_fit():
    X, _ = mixed(300, 3)
    result = rg.newton(whitened(X, 2, BENT), X, BENT, SECH, max_iter=3)
    tape = rg.forward(result.layers, X, BENT)
    deltas = rg.backprop(result.layers, tape, BENT, SECH)
    for found, Y, Delta in zip(result.xi, tape.Ys, deltas, strict=True):
        U, Delta_u = (Y - Y.mean(axis=0)) / Y.std(axis=0), Delta * Y.std(axis=0)
        xi = np.column_stack([Delta_u.T @ U + np.eye(3), Delta_u.sum(axis=0)])
        assert found == pytest.approx(np.linalg.norm(xi), rel=1e-8)


def test_what_can_not_be_used_is_named():
    X, _ = mixed(50, 2)
    start = whitened(X)
    args = (start, X, IDENTITY)
    with pytest.raises(ValueError, match="multivariate_t does not act elementwise"):
        rg.newton(*args, rg.density("multivariate_t"))
    for name, value in (("tol", 0.0), ("max_iter", 0), ("memory", -1), ("patience", 0)):
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            rg.newton(*args, SECH, **{name: value})
    with pytest.raises(ValueError, match="`patience` needs `X_val`"):
        rg.newton(*args, SECH, patience=3)
    bad = X.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"`X` must be finite, got nan in row 3, column 1"):
        rg.newton(start, bad, IDENTITY, SECH)
    with pytest.raises(ValueError, match="`sample_weight` must be"):
        rg.newton(*args, SECH, sample_weight=-np.ones(50))
    singular = (rg.Layer(np.zeros((2, 2)), np.zeros(2)),)
    with pytest.raises(rg.FitDivergedError, match=r"at the start .* not finite"):
        rg.newton(singular, X, IDENTITY, SECH)


def test_the_start_is_not_changed():
    X, _ = mixed(100, 3)
    start = whitened(X)
    W = start[0].W.copy()
    result = rg.newton(start, X, IDENTITY, SECH)
    np.testing.assert_array_equal(start[0].W, W)
    assert result.best_layers is result.layers
