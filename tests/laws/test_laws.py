"""Every law of the method, on generic inputs, in every array library at hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import relgrad_np as rg

from . import laws
from .problems import (
    EVERY,
    SMOOTH,
    SMOOTH_DENSITIES,
    convert,
    generic,
    in_every_library,
    problems,
    suited,
)

libraries = pytest.mark.parametrize("library", EVERY)
kinds = pytest.mark.parametrize("kind", ["plain", "exponential"])
ONTO = ("smooth_leaky_relu", "leaky_tanh", "identity")


@in_every_library(problem=problems(max_N=5, max_D=5))
def test_forward_is_the_definition(library, problem):
    laws.forward_is_the_definition(problem, library)


@in_every_library(problem=problems(max_N=6, max_D=6))
def test_terms_are_the_log_jacobian(library, problem):
    laws.terms_are_the_log_jacobian(problem, library)


@in_every_library(8, problem=problems(max_N=5, max_D=4, densities=SMOOTH_DENSITIES))
def test_ordinary_is_the_derivative(library, problem):
    laws.ordinary_is_the_derivative(problem, library)


@in_every_library(problem=problems())
def test_relative_is_ordinary_times_metric(library, problem):
    laws.relative_is_ordinary_times_metric(problem, library)


@in_every_library(problem=problems())
def test_ascent(library, problem):
    laws.ascent(problem, library)


@in_every_library(problem=problems(activations=ONTO), seed=st.integers(0, 999))
def test_equivariance_with_the_shift(library, problem, seed):
    laws.equivariance(problem, library, seed=seed)


@in_every_library(problem=problems())
def test_samples_are_exchangeable(library, problem):
    laws.samples_are_exchangeable(problem, library)


@in_every_library(problem=problems(activations=ONTO))
def test_step_is_the_dense_one(library, problem):
    for kind in ("plain", "exponential"):
        laws.step_is_the_dense_one(problem, library, kind)


@in_every_library(problem=problems(activations=ONTO))
def test_tracking_is_slogdet(library, problem):
    for kind in ("plain", "exponential"):
        laws.tracking_is_slogdet(problem, library, kind)


@in_every_library(problem=problems(activations=ONTO))
def test_inverse_undoes_forward(library, problem):
    laws.inverse_undoes_forward(problem, library)


@pytest.mark.parametrize("L", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("N", "D"), [(6, 19), (23, 7)])
def test_relative_is_ordinary_for_each_depth(L, N, D):
    for seed in range(6):
        laws.relative_is_ordinary_times_metric(generic(seed, N, D, L))


@pytest.mark.parametrize("variant", [("output", "separate"), ("output", "published")])
@given(problem=problems(activations=ONTO), seed=st.integers(0, 999))
def test_equivariance_without_the_shift(variant, problem, seed):
    laws.equivariance(problem, variant=variant, shift=False, seed=seed)


@pytest.mark.parametrize(
    "variant", [("output", "separate"), ("output", "published"), ("input", "augmented")]
)
def test_only_the_default_is_equivariant_with_the_shift(variant):
    for seed in range(10):
        with pytest.raises(AssertionError, match="of mixed"):
            laws.equivariance(generic(seed, 5, 4, 2), variant=variant, seed=seed)


def test_the_input_side_is_equivariant_only_for_orthogonal_mixing():
    rng = np.random.default_rng(0)
    for seed in range(10):
        Q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
        problem = generic(seed, 5, 4, 2)
        laws.equivariance(problem, variant=("input", "augmented"), shift=False, mixing=Q)
        with pytest.raises(AssertionError, match="R_W of mixed"):
            laws.equivariance(problem, variant=("input", "augmented"), shift=False, seed=seed)


@pytest.mark.parametrize("seed", range(20))
def test_tracking_follows_the_sign_through_uncapped_steps(seed):
    problem = generic(seed, *((4, 6, 2) if seed % 2 else (7, 4, 3)))
    laws.tracking_is_slogdet(problem._replace(X=5 * problem.X), eta=0.5, steps=1, cap=np.inf)


@kinds
@pytest.mark.parametrize(("N", "D"), [(4, 9), (11, 6)])
def test_tracking_in_float32(kind, N, D):
    laws.tracking_is_slogdet(generic(1, N, D, 2, dtype="float32"), kind=kind, steps=20, eta=0.02)


@pytest.mark.parametrize("library", ["device1", "no_x64"])
@pytest.mark.parametrize(("N", "D"), [(4, 6), (7, 5)])
def test_every_law_on_other_devices(library, N, D):
    """A second device, and one without int64: what is made on the way stays there."""
    laws.every_law(generic(N, N, D, 3), library, N)


def signs(problem):
    return [np.linalg.slogdet(W)[0] for W, _ in problem.layers]


@given(problem=problems())
def test_drawn_problems_are_generic(problem):
    N, D, L = *problem.X.shape, len(problem.layers)
    assert len({N, D, L}) == 3
    assert N > 1
    for W, b in problem.layers:
        s = np.linalg.svd(W, compute_uv=False)
        assert s.max() <= 3.001
        assert s.min() >= 0.333
        assert np.abs(W @ W.T - np.eye(D)).max() > 1e-3
        assert np.abs(b).min() >= 0.2
    if L > 1:
        assert set(signs(problem)) == {-1.0, 1.0}


def test_draws_cover_signs_sizes_and_names():
    seen = []

    @settings(max_examples=150, database=None, derandomize=True)
    @given(problem=problems())
    def collect(problem):
        N, D = problem.X.shape
        seen.append(
            (
                signs(problem)[0],
                N < D,
                len(problem.layers),
                problem.activation.name,
                problem.density.name,
            )
        )

    collect()
    columns = [set(column) for column in zip(*seen, strict=True)]
    assert columns[0] == {-1.0, 1.0}
    assert columns[1] == {True, False}
    assert columns[2] == {1, 2, 3, 4, 5}
    assert set(SMOOTH) <= columns[3]
    assert set(SMOOTH_DENSITIES) <= columns[4]


@libraries
@pytest.mark.parametrize(
    "rule",
    [
        rg.Plain(0.05),
        rg.Exponential(0.05),
        rg.Recipe(),
        rg.Recipe(kind="plain"),
        rg.Adam(0.05),
        rg.GroupAdam(0.02),
    ],
)
def test_train_step_ascends_and_keeps_library_and_dtype(library, rule):
    p = convert(suited(generic(3, 12, 4, 3), library), library)
    state = rg.init_state(p.layers, rule)
    options = {"activation": p.activation, "density": p.density, "rule": rule}
    before = float(rg.log_likelihood(p.layers, p.X, *p.model).mean)
    for _ in range(5):
        state, info = rg.train_step(state, p.X, **options)
        assert not bool(info.rejected)
    assert float(rg.log_likelihood(state.layers, p.X, *p.model).mean) > before + 3
    assert state.t == 5
    assert type(state.layers[0].W) is type(p.X)
    assert state.layers[0].W.dtype == p.X.dtype
