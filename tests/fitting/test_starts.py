"""Where a fit starts: what each kind promises, in every library and dtype."""

import re

import array_api_strict
import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.datasets import load
from relgrad_np.fitting import starts as initial

from ..laws.problems import EPS, LIBRARIES

KINDS = ("orthogonal", "identity", "whiten")
ACTIVATIONS = ("smooth_leaky_relu", "leaky_tanh", "identity")
libraries = pytest.mark.parametrize("library", LIBRARIES)
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])


def samples(seed=1, N=50, D=4, dtype="float64"):
    """Correlated samples, with means far from 0, of a covariance with condition below 1e4."""
    rng = np.random.default_rng(seed)
    Q1, Q2 = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
    M = Q1 @ np.diag(3.0 ** rng.uniform(-1, 1, D)) @ Q2
    return (rng.laplace(size=(N, D)) @ M.T + rng.uniform(-5, 5, D)).astype(dtype)


def start(D=4, L=3, seed=0, **options):
    return rg.init_layers(np.random.default_rng(seed), D, L, **options)


# Orthogonal and identity


@pytest.mark.parametrize(("D", "L"), [(1, 2), (2, 1), (5, 3), (30, 2)])
def test_orthogonal(D, L):
    layers = start(D, L)
    assert len(layers) == L
    for W, b in layers:
        assert W.shape == (D, D)
        assert np.abs(W @ W.T - np.eye(D)).max() <= 64 * EPS  # rows of norm 1: S = 1
        np.testing.assert_array_equal(b, np.zeros(D))
    if L > 1 and D > 1:
        assert np.abs(layers[0].W - layers[1].W).max() > 0.1


def is_haar(Ws):
    """In three dimensions each entry is uniform on [-1, 1] (Archimedes), the trace has mean 0."""
    n = len(Ws)
    for i in range(3):
        for j in range(3):
            p = scipy.stats.kstest(Ws[:, i, j], scipy.stats.uniform(-1, 2).cdf).pvalue
            assert p > 1e-4, f"entry {i}, {j} is not uniform: p = {p:.2g}"
    traces = np.trace(Ws, axis1=1, axis2=2)
    assert abs(traces.mean()) < 5 / np.sqrt(n), "trace"  # variance 1
    assert abs((traces**2).mean() - 1) < 5 * np.sqrt(2 / n), "trace squared"  # E trace^4 = 3
    assert abs((np.linalg.det(Ws) > 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(n), "sign"


def test_orthogonal_is_haar(monkeypatch):
    is_haar(np.array([W for W, _ in start(3, 2000)]))

    def without_the_signs(rng, D):
        return np.linalg.qr(rng.standard_normal((D, D)))[0]

    monkeypatch.setattr(initial, "_orthogonal", without_the_signs)
    with pytest.raises(AssertionError, match="not uniform"):
        is_haar(np.array([W for W, _ in start(3, 2000)]))


def test_over_seeds_each_diagonal_entry_has_either_sign():
    signs = np.array([np.sign(np.diag(start(4, 1, seed=seed)[0].W)) for seed in range(200)])
    assert (np.abs(signs.mean(axis=0)) < 5 / np.sqrt(200)).all()


def test_identity():
    for W, b in start(kind="identity"):
        np.testing.assert_array_equal(W, np.eye(4))
        np.testing.assert_array_equal(b, np.zeros(4))


def test_draws_come_from_the_generator_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    for one, two, other in zip(start(), start(), start(seed=1), strict=True):
        np.testing.assert_array_equal(one.W, two.W)
        assert np.abs(one.W - other.W).max() > 0.1
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


# Whitening


def is_whitened(layers, X, activation, tolerance=1e-10):
    """Every layer's output has mean 0 and covariance I with 1/N.

    W is symmetric and positive, that of the first layer in units of the columns' std.
    """
    X = to_numpy(X)
    std = X.astype("float64").std(axis=0)
    Ys = rg.forward([rg.Layer(to_numpy(W), to_numpy(b)) for W, b in layers], X, activation).Ys
    for k, (Y, (W, _)) in enumerate(zip(Ys, layers, strict=True)):
        Y, W = Y.astype("float64"), to_numpy(W) * (1 if k else std)
        mean = np.abs(Y.mean(axis=0)).max()
        assert mean <= tolerance, f"layer {k}: mean {mean:.3g}"
        covariance = (Y - Y.mean(axis=0)).T @ (Y - Y.mean(axis=0)) / len(Y)
        error = np.abs(covariance - np.eye(Y.shape[1])).max()
        assert error <= tolerance, f"layer {k}: covariance off by {error:.3g}"
        assert np.abs(W - W.T).max() <= tolerance * np.abs(W).max(), "W is not symmetric"
        assert np.linalg.eigvalsh(W).min() > 0


@libraries
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_whiten(library, name):
    activation = rg.activation(name)
    X = samples()
    layers = start(kind="whiten", X=LIBRARIES[library](X), activation=activation)
    assert len(layers) == 3
    is_whitened(layers, X, activation)


@given(
    seed=st.integers(0, 999),
    D=st.integers(1, 6),
    L=st.integers(1, 4),
    name=st.sampled_from(ACTIVATIONS),
)
def test_whiten_any_samples(seed, D, L, name):
    activation, X = rg.activation(name), samples(seed, 10 * D + 7, D)
    is_whitened(start(D, L, kind="whiten", X=X, activation=activation), X, activation)


def test_one_layer_needs_no_activation():
    X = samples()
    is_whitened(start(4, 1, kind="whiten", X=X), X, rg.activation("identity"))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda W, b: (W * np.sqrt(49 / 50), b * np.sqrt(49 / 50)),  # 1 / (N - 1)
        lambda W, b: (W, -b),
        lambda W, b: (np.diag(np.diag(W)), b),
        lambda W, b: (np.linalg.qr(np.arange(16.0).reshape(4, 4) ** 2)[0] @ W, b),
    ],
)
@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_planted_mistake_is_rejected(wrong, k):
    X, activation = samples(), rg.activation("smooth_leaky_relu")
    layers = list(start(kind="whiten", X=X, activation=activation))
    layers[k] = rg.Layer(*wrong(*layers[k]))
    with pytest.raises(AssertionError, match=r"layer|symmetric"):
        is_whitened(tuple(layers), X, activation)


def test_whiten_what_reaches_the_layer_not_the_samples():
    X, activation = samples(), rg.activation("smooth_leaky_relu")
    layers = start(kind="whiten", X=X, activation=activation)
    with pytest.raises(AssertionError, match="layer 1"):
        is_whitened((layers[0], layers[0], layers[0]), X, activation)


def test_whiten_in_float32():
    """Moments in float64; what remains is the rounding of W, b and of Z W' + b."""
    X, activation = samples(dtype="float32"), rg.activation("smooth_leaky_relu")
    layers = start(kind="whiten", X=X, activation=activation)
    assert {x.dtype for layer in layers for x in layer} == {np.dtype("float32")}
    tape = rg.forward(layers, X, activation)
    S = max(
        np.max(np.abs(Z) @ np.abs(W).T + np.abs(b))
        for Z, (W, b) in zip(tape.Zs, layers, strict=False)
    )
    largest = max(np.abs(Y).max() for Y in tape.Ys)
    is_whitened(layers, X, activation, 64 * 2.0**-23 * S * (1 + 2 * largest))


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_whiten_whatever_the_unit(scale):
    X = samples()
    one, other = (start(4, 1, kind="whiten", X=x)[0] for x in (X, scale * X))
    np.testing.assert_allclose(other.W * scale, one.W, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(other.b, one.b, rtol=1e-10)


def deficient():
    X = samples()
    repeated = X[:, [0, 1, 1, 3]]
    constant = X * [1, 1, 0, 1] + [0, 0, 0.3, 0]
    summed = np.concatenate([X[:, :2], X[:, :1] + X[:, 1:2], X[:, :1] - X[:, 1:2]], axis=1)
    few = "a density needs more rows than columns"
    return {
        "repeated": (repeated, r"column 2 is an affine combination of the others \(column 1\)"),
        "constant": (constant, "`X` has the constant column 2: drop it or add noise"),
        "sums": (
            summed,
            r"column 2 is an affine .* \(columns 0, 1\); column 3 is .* \(columns 0, 1\)",
        ),
        "few samples": (X[:3], f"`X` has 3 rows and 4 columns: {few}"),
        "as many samples as columns": (X[:4], f"`X` has 4 rows and 4 columns: {few}"),
        "one sample": (X[:1], f"`X` has 1 row and 4 columns: {few}"),
        "all constant": (0 * X + [5.1, 0.1, -2.3, 1.7], "constant columns 0, 1, 2, 3: drop them"),
    }


@libraries
@pytest.mark.parametrize("case", deficient())
def test_samples_of_low_rank_are_refused_with_their_columns(case, library):
    X, message = deficient()[case]
    for kind in ("whiten", "gaussianize", "principal"):
        with pytest.raises(ValueError, match=message):
            start(kind=kind, X=LIBRARIES[library](X), activation=rg.activation("leaky_tanh"))


# Any affine units


ALL = ("whiten", "gaussianize", "principal")
UNITS = {
    "mild": [1e-6, 1, 1e3, 7],
    "float32 squares would overflow": [1e-15, 1e15, 3, 1e-15],
    "far": [1e160, 1e-160, 1, 1e-100],
    "farther": [1e-100, 1e100, 1e150, 1e-150],
}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("dtype", "units"), [*(("float64", u) for u in UNITS), *(("float32", u) for u in [*UNITS][:2])]
)
def test_the_start_does_not_depend_on_units(kind, dtype, units):
    """W is divided by the units; what the net computes of the rows stays."""
    X, units = samples(N=300), np.array(UNITS[units])
    act = rg.activation("smooth_leaky_relu")
    rows = [X.astype(dtype), (X * units).astype(dtype)]
    one, other = (start(kind=kind, X=x, activation=act) for x in rows)
    eps = np.finfo(dtype).eps
    assert np.isfinite(other[0].W).all()
    Z, V = (rg.forward(x, y, act).Zs[-1] for x, y in zip((one, other), rows, strict=True))
    np.testing.assert_allclose(V, Z, atol=1e5 * eps, rtol=0)


@pytest.mark.parametrize("kind", ALL)
def test_the_start_does_not_depend_on_offsets(kind):
    X, act = samples(N=300), rg.activation("smooth_leaky_relu")
    offset = np.array([1e8, -3e8, 0, 1e5])
    one, other = (start(kind=kind, X=x, activation=act) for x in (X, X + offset))
    Z, V = (rg.forward(x, y, act).Zs[-1] for x, y in ((one, X), (other, X + offset)))
    np.testing.assert_allclose(V, Z, atol=1e-5)


@pytest.mark.parametrize("noise", [3e-8, 1e-11])
def test_a_column_beside_itself_with_noise_has_full_rank(noise):
    """Their covariance is singular to the last digit; W is as large as 1 / noise."""
    X = samples(N=1000)
    X[:, 3] = X[:, 0] + noise * np.random.default_rng(1).standard_normal(1000)
    (layer,) = start(4, 1, kind="whiten", X=X)
    Y = X @ layer.W.T + layer.b
    np.testing.assert_allclose(np.cov(Y.T, bias=True), np.eye(4), atol=1e-14 / noise + 1e-9)
    np.testing.assert_allclose(layer.W * X.std(axis=0), (layer.W * X.std(axis=0)).T, rtol=1e-3)


def independent(X):
    """Mean log-likelihood of independent normal columns, each of its own mean and std."""
    d = X.astype("float64") - np.median(X, axis=0)
    top = np.abs(d).max(axis=0)
    std = np.log((d / top).std(axis=0)) + np.log(top)
    return -0.5 * X.shape[1] * np.log(2 * np.pi * np.e) - std.sum()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", [1e12, 1e30])
@pytest.mark.parametrize("cells", [(0,), (0, 1), (0, 1, 3)])
@pytest.mark.parametrize("kind", ALL)
def test_an_outlying_row_gives_a_start_at_every_depth(kind, cells, size, dtype):
    """Also one far out in several columns, which are then equal to 1 in 1e24 and still differ.

    A single layer has no activation.
    """
    X = samples(N=1000).astype(dtype)
    X[5, list(cells)] = size * np.array([1, 1.5, -0.3])[: len(cells)]
    for name, L in (
        ("smooth_leaky_relu", 1), ("smooth_leaky_relu", 5), ("leaky_tanh", 2), ("leaky_tanh", 3),
    ):  # fmt: skip
        act = rg.activation(name)
        layers = start(4, L, kind=kind, X=X, activation=act)
        assert all(np.isfinite(x).all() for layer in layers for x in layer)
        found = float(rg.log_likelihood(layers, X, act, rg.density("normal")).mean)
        assert found > independent(X) - (0.01 if L == 1 else 4 * L)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ALL)
def test_whole_numbers_few_values_and_repeated_rows_are_fine(kind, dtype):
    rng = np.random.default_rng(0)
    X = np.stack([rng.integers(0, n, 300) for n in (2, 3, 200, 10**6)], axis=1).astype(dtype)
    X = np.concatenate([X, X, X[:50]])
    layers = start(kind=kind, X=X, activation=rg.activation("leaky_tanh"))
    assert all(np.isfinite(x).all() for layer in layers for x in layer)


def test_what_float32_cannot_hold_is_said():
    X = samples().astype("float32") * np.float32(1e-40)
    with pytest.raises(ValueError, match="the start of layer 0 is beyond float32: `X` needs other"):
        start(kind="whiten", X=X, activation=rg.activation("leaky_tanh"))


def test_full_rank_samples_of_a_poor_condition_are_not_refused():
    X = samples() * [1, 1e-4, 1, 1e2]
    is_whitened(start(4, 1, kind="whiten", X=X), X, rg.activation("identity"), 1e-3)


# Libraries and dtypes


def kind_options(kind, library="numpy", dtype="float64"):
    X = LIBRARIES[library](samples(dtype=dtype))
    return {"kind": kind} | (
        {"X": X, "activation": rg.activation("leaky_tanh")} if kind == "whiten" else {}
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_is_numpy_float64(kind):
    for W, b in start(**kind_options(kind)):
        assert type(W) is type(b) is np.ndarray
        assert W.dtype == b.dtype == np.float64


@libraries
@dtypes
@pytest.mark.parametrize("kind", KINDS)
def test_like_gives_library_and_dtype(kind, library, dtype):
    for like in (np.zeros((2, 3), dtype), np.zeros(1, dtype), np.zeros((), dtype)):
        like = LIBRARIES[library](like)
        for W, b in start(**kind_options(kind, library), like=like):
            assert type(W) is type(b) is type(LIBRARIES[library](np.zeros(1)))
            assert W.dtype == b.dtype == like.dtype


def test_samples_and_like_of_two_libraries_are_refused():
    like = LIBRARIES["strict"](np.zeros(1))
    with pytest.raises(TypeError, match="`X` and `like` must be arrays of the same library"):
        start(**kind_options("whiten"), like=like)


@libraries
@dtypes
def test_by_default_like_the_samples(library, dtype):
    options = kind_options("whiten", library, dtype)
    for W, b in start(**options):
        assert type(W) is type(b) is type(options["X"])
        assert W.dtype == b.dtype == options["X"].dtype


@libraries
@dtypes
@pytest.mark.parametrize("kind", KINDS)
def test_dtype_overrides(kind, library, dtype):
    other = {"float64": "float32", "float32": "float64"}[dtype]
    options = kind_options(kind, library, other)
    for like in (np.zeros((2, 3), other), np.zeros(1, other), np.zeros((), other)):
        for W, b in start(**options, dtype=dtype, like=LIBRARIES[library](like)):
            assert to_numpy(W).dtype == to_numpy(b).dtype == dtype
    for W, b in start(**options, dtype=dtype):
        assert to_numpy(W).dtype == to_numpy(b).dtype == dtype


@libraries
def test_the_same_draws_in_every_library_and_dtype(library):
    for plain, moved, single in zip(
        start(),
        start(like=LIBRARIES[library](np.zeros(1))),
        start(like=LIBRARIES[library](np.zeros(1, "float32"))),
        strict=True,
    ):
        np.testing.assert_array_equal(plain.W, to_numpy(moved.W))
        np.testing.assert_array_equal(plain.W.astype("float32"), to_numpy(single.W))


@libraries
def test_inputs_stay_as_they_are(library):
    options = kind_options("whiten", library)
    before = to_numpy(options["X"]).copy()
    start(**options)
    np.testing.assert_array_equal(to_numpy(options["X"]), before)


# Errors


@pytest.mark.parametrize("size", [0, -1, 2.5, np.nan, np.inf])
def test_sizes_must_be_positive(size):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=f"`D` must be a positive integer, got {size}"):
        rg.init_layers(rng, size, 2)
    with pytest.raises(ValueError, match=f"`L` must be a positive integer, got {size}"):
        rg.init_layers(rng, 3, size)


@pytest.mark.parametrize("size", ["3", True, None, [3]])
def test_sizes_must_be_numbers(size):
    rng = np.random.default_rng(0)
    with pytest.raises(TypeError, match=f"`D` must be a number, got {type(size).__name__}"):
        rg.init_layers(rng, size, 2)
    with pytest.raises(TypeError, match=f"`L` must be a number, got {type(size).__name__}"):
        rg.init_layers(rng, 3, size)


@pytest.mark.parametrize("kind", ["random", "", None, "Whiten"])
def test_an_unknown_kind_lists_the_choices(kind):
    message = f"unknown kind {kind!r}; choose from orthogonal, identity, whiten"
    with pytest.raises(ValueError, match=message):
        start(kind=kind)


@pytest.mark.parametrize(
    "dtype", ["float16", "int64", "double", "", np.float32, np.dtype("float32"), 0]
)
def test_dtype_is_one_of_two_names(dtype):
    message = re.escape(f"unknown dtype {dtype!r}; choose from float32, float64")
    with pytest.raises(ValueError, match=message):
        start(dtype=dtype)


@pytest.mark.parametrize("rng", [0, None, np.random, np.random.RandomState(0)])
def test_rng_must_be_a_generator(rng):
    name = type(rng).__name__
    with pytest.raises(TypeError, match=f"`rng` must be a numpy.random.Generator, got {name}"):
        rg.init_layers(rng, 3, 2)


def test_whiten_needs_samples_and_between_layers_an_activation():
    with pytest.raises(ValueError, match="`X` is needed for kind='whiten'"):
        start(kind="whiten")
    with pytest.raises(ValueError, match="`activation` is needed for kind='whiten'"):
        start(kind="whiten", X=samples())


@pytest.mark.parametrize("X", [samples()[:, :3], samples()[0], samples()[None]])
def test_samples_of_another_shape(X):
    message = re.escape(f"`X` must have shape (N, 4) with N >= 1, got {X.shape}")
    with pytest.raises(ValueError, match=message):
        start(kind="whiten", X=X, activation=rg.activation("identity"))


def test_no_samples():
    with pytest.raises(ValueError, match="`X`"):
        start(kind="whiten", X=samples()[:0], activation=rg.activation("identity"))


@libraries
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite(bad, library):
    X = samples()
    X[3, 1] = bad
    with (
        pytest.raises(ValueError, match="`X` has values that are not finite"),
        np.errstate(all="ignore"),
    ):
        start(kind="whiten", X=LIBRARIES[library](X), activation=rg.activation("identity"))


def test_what_is_no_float_array_is_refused():
    options = {"kind": "whiten", "activation": rg.activation("identity")}
    with pytest.raises(TypeError, match="`X` must be an array, got list"):
        start(X=samples().tolist(), **options)
    with pytest.raises(ValueError, match="`X` must be float32 or float64, got int64"):
        start(X=samples().astype("int64"), **options)
    with pytest.raises(TypeError, match="`like` must be an array, got list"):
        start(like=[0.0])
    with pytest.raises(ValueError, match="`like` must be float32 or float64, got"):
        start(like=array_api_strict.asarray([1]))


# Gaussianising and principal layers


def test_gaussianize_gains_over_whitening_before_any_step():
    digits = load("digits")
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("normal")
    values = {}
    for kind in ("whiten", "gaussianize"):
        layers = rg.init_layers(
            np.random.default_rng(0), 64, 2, kind=kind, X=digits.train, activation=act
        )
        values[kind] = float(rg.log_likelihood(layers, digits.validation, act, dens).mean)
    assert values["gaussianize"] > values["whiten"] + 2


def test_gaussianize_bears_a_unit_that_does_not_vary():
    """Whatever the activation makes of it, and in rows that are looked at; nothing is NaN."""
    act = rg.activation("leaky_tanh")
    Z = np.zeros((5000, 2))
    Z[1, 0], Z[:, 1] = 1e6, np.random.default_rng(0).standard_normal(5000)
    layer = initial._gaussianizing(rg.Layer(np.eye(2), np.zeros(2)), Z, act)
    assert all(np.isfinite(x).all() for x in layer)


def test_gaussianize_picks_the_best_of_the_grid_for_each_unit():
    X = np.random.default_rng(0).exponential(size=(500, 2)) * [1, 3] + 4
    act = rg.activation("smooth_leaky_relu")
    first = rg.init_layers(np.random.default_rng(0), 2, 2, kind="gaussianize", X=X, activation=act)[
        0
    ]
    white = rg.init_layers(np.random.default_rng(0), 2, 1, kind="whiten", X=X, activation=act)[0]
    u = X @ white.W.T + white.b
    s = (first.W / white.W)[:, 0]
    t = first.b - s * white.b

    def J(s, t, u):
        y = s * u + t
        return np.mean(act.log_dsigma(y)) + np.log(abs(s)) - np.log(np.var(act.sigma(y))) / 2

    for i in range(2):
        grid = [
            J(a * e, a * d, u[:, i])
            for a in initial.SCALES
            for e in (1, -1)
            for d in initial.SHIFTS
        ]
        assert J(s[i], t[i], u[:, i]) == pytest.approx(max(grid), abs=1e-12)


def test_principal_layers_bend_along_the_principal_axes_and_so_go_on_gaining():
    """Rows of W are eigenvectors of what arrives, at first in units of std; `gaussianize` has others, and soon stops."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((4000, 4)) * rng.lognormal(0, 1, (4000, 1)) @ rng.uniform(-1, 1, (4, 4))
    act, dens = rg.activation("leaky_tanh", alpha=0.6, beta=0.6), rg.density("normal")
    gains = {}
    for kind in ("gaussianize", "principal"):
        two, six = (
            rg.init_layers(rng, 4, L, kind=kind, X=X[:2000], activation=act) for L in (2, 6)
        )
        for k, Z in enumerate(rg.forward(six, X[:2000], act).Zs[:-1]):
            unit = 1 if k else Z.std(axis=0)
            W = six[k].W * unit
            along = W @ np.cov((Z / unit).T) / np.linalg.norm(W, axis=1)[:, None]
            axes = W / np.linalg.norm(W, axis=1)[:, None]
            cosines = np.sum(along * axes, axis=1) / np.linalg.norm(along, axis=1)
            aligned = np.abs(cosines - 1).max() < 1e-10
            assert aligned == (kind == "principal" and k < 5), (kind, k)
        values = [float(rg.log_likelihood(x, X[2000:], act, dens).mean) for x in (two, six)]
        gains[kind] = values[1] - values[0]
    assert gains["principal"] > max(0.0, gains["gaussianize"]) + 0.05, gains
