"""What Picard's tests ask of it, of RelativeICA: stationary points, extended Infomax, laws."""

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

import relgrad_np as rg
from relgrad_np.estimator import RelativeICA

FUNS = {"tanh": "sech", "logcosh": "sech", "exp": "student_t", "cube": "quartic"}


def laplace(N=2000, D=3, seed=0):
    """Sources (N, D) and a mixing (D, D), neither orthogonal nor near the identity."""
    rng = np.random.default_rng(seed)
    return rng.laplace(size=(N, D)), rng.standard_normal((D, D)) + np.eye(D)


def amari(P):
    """Distance of P from a scaled permutation, in [0, 1]: 0 where each row and column has one."""
    P, n = np.abs(P), len(P)
    rows = (P / P.max(axis=1, keepdims=True)).sum(axis=1) - 1
    columns = (P / P.max(axis=0, keepdims=True)).sum(axis=0) - 1
    return (rows.sum() + columns.sum()) / (2 * n * (n - 1))


def gradient(X, ica):
    """E psi(y) y' - I at the outputs of the components, by the densities that it names."""
    Y = (X - ica.mean_) @ ica.components_.T
    psi = np.column_stack(
        [-rg.density(name).score(y) for name, y in zip(ica.densities_, Y.T, strict=True)]
    )
    return psi.T @ Y / len(Y) - np.eye(Y.shape[1])


def symmetric(S):
    """Sources and their negatives: the most likely location of each is 0, that of the mean."""
    return np.concatenate([S, -S])


@pytest.mark.parametrize("fun", FUNS)
@pytest.mark.parametrize("tol", [1e-3, 1e-9])
def test_the_gradient_is_below_tol_at_the_end(fun, tol):
    """Computed anew from components and densities; at a tenth of a degree off it is not."""
    S, A = laplace()
    S = np.sign(S) * np.abs(S) ** 0.3 if fun == "cube" else S  # sub-Gaussian
    X = symmetric(S) @ A.T
    ica = RelativeICA(fun=fun, whiten="arbitrary-variance", tol=tol).fit(X)
    assert ica.densities_ == [FUNS[fun]] * 3
    assert ica.converged_
    assert np.abs(gradient(X, ica)).max() < 2 * tol
    turn = np.eye(3) + np.array([[0, 0.1, 0], [-0.1, 0, 0], [0, 0, 0]])
    ica.components_ = turn @ ica.components_
    assert np.abs(gradient(X, ica)).max() > 1e-2


def test_the_names_of_functions_are_those_of_densities():
    S, A = laplace()
    for fun, name in FUNS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            one, other = (
                RelativeICA(**by).fit(S @ A.T) for by in ({"fun": fun}, {"density": name})
            )
        np.testing.assert_array_equal(one.components_, other.components_)


def test_equal_densities_give_equal_results():
    """A density by its name, by `relgrad_np.density`, and written anew."""
    S, A = laplace()
    X, sech = S @ A.T, rg.density("sech")
    anew = rg.Density(
        "mine", lambda z: -np.log(np.pi * np.cosh(z)), lambda z: -np.tanh(z), sech.sample,
        dscore=lambda z: np.tanh(z) ** 2 - 1,
    )  # fmt: skip
    found = [RelativeICA(density=d).fit(X) for d in ("sech", sech, anew)]
    for one in found[1:]:
        np.testing.assert_allclose(one.components_, found[0].components_, rtol=1e-5, atol=1e-6)
    assert found[2].densities_ == ["mine"] * 3
    far = RelativeICA(density="logistic").fit(X).components_
    assert np.abs(far - found[0].components_).max() > 1e-3


@pytest.mark.parametrize("density", ["extended", "auto"])
def test_super_and_sub_gaussian_sources_together(density):
    """sech alone fails on these: that is what the switching is for."""
    rng = np.random.default_rng(0)
    S = np.c_[rng.laplace(size=(3000, 3)), rng.uniform(-1, 1, (3000, 3))]
    A = rng.standard_normal((6, 6))
    ica = RelativeICA(density=density).fit(S @ A.T)
    assert amari(ica.components_ @ A) < 0.05
    if density == "extended":
        kind = np.abs(ica.components_ @ A).argmax(axis=1) < 3
        assert ica.densities_ == ["sech" if heavy else "quartic" for heavy in kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert amari(RelativeICA(density="sech").fit(S @ A.T).components_ @ A) > 0.1


@pytest.mark.parametrize(("N", "D"), [(1000, 2), (2000, 5), (5000, 10), (5000, 20)])
@pytest.mark.parametrize("density", ["sech", "extended", "auto"])
def test_laplace_sources_of_several_sizes(N, D, density):
    S, A = laplace(N, D, seed=7 * D)
    ica = RelativeICA(density=density).fit(S @ A.T)
    assert amari(ica.components_ @ A) < 0.05
    assert amari(ica.components_ @ A) < amari(ica.whitening_ @ A) / 3


def test_no_source_is_found_twice():
    """Signs and places: the product with the mixing is a permutation, up to scale."""
    S, A = laplace(5000, 6)
    P = np.abs(RelativeICA().fit(S @ A.T).components_ @ A)
    assert sorted(P.argmax(axis=1)) == sorted(P.argmax(axis=0)) == list(range(6))


@pytest.mark.parametrize("density", ["extended", "auto"])
def test_white_rows_are_taken_as_they_are(density):
    """Nothing is subtracted; what comes is what whitening within the fit would have found."""
    S, A = laplace()
    X = S @ A.T + 5
    whole = RelativeICA(density=density, whiten="arbitrary-variance").fit(X)
    Z = (X - X.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(X.T, bias=True))).T
    ica = RelativeICA(density=density, whiten=False).fit(Z)
    assert not ica.mean_.any()
    np.testing.assert_array_equal(ica.transform(Z), Z @ ica.components_.T)
    np.testing.assert_allclose(ica.transform(Z), whole.transform(X), atol=1e-4)
    shifted = RelativeICA(density=density, whiten=False).fit_transform(Z + 0.1)
    assert np.abs(shifted.mean(axis=0)).max() > 0.05


@pytest.mark.parametrize("whiten", ["unit-variance", False])
def test_the_order_of_columns_and_rows_does_not_matter(whiten):
    S, A = laplace()
    X = (S - S.mean(axis=0)) @ np.linalg.qr(A)[0]
    found = RelativeICA(whiten=whiten).fit_transform(X)
    columns, rows = np.array([2, 0, 1]), np.random.default_rng(1).permutation(len(X))
    np.testing.assert_allclose(
        RelativeICA(whiten=whiten).fit_transform(X[:, columns]), found, atol=1e-4
    )
    ica = RelativeICA(whiten=whiten).fit(X[rows])
    np.testing.assert_allclose(ica.transform(X), found, atol=1e-4)


def test_a_first_unmixing_that_is_right_takes_fewer_iterations_to_the_same_end():
    """`dots`: the product of the whitening and the unmixing of the white rows."""
    S, A = laplace(2000, 8)
    X = S @ A.T
    cold = RelativeICA(density="sech", whiten="arbitrary-variance").fit(X)
    dots = cold.components_ @ np.linalg.inv(cold.whitening_)
    np.testing.assert_allclose(dots @ cold.whitening_, cold.components_, atol=1e-9)
    warm = RelativeICA(density="sech", whiten="arbitrary-variance", w_init=dots).fit(X)
    assert warm.n_iter_ < cold.n_iter_
    np.testing.assert_allclose(warm.components_, cold.components_, atol=1e-4)
    rng = np.random.default_rng(0)
    turned = RelativeICA(density="sech", w_init=np.linalg.qr(rng.normal(size=(8, 8)))[0]).fit(X)
    assert amari(turned.components_ @ cold.mixing_) < 1e-3


def test_a_shift_changes_the_mean_alone():
    S, A = laplace()
    X = S @ A.T
    one, other = (RelativeICA().fit(X + shift) for shift in (0, np.array([1e4, -3, 0.5])))
    np.testing.assert_allclose(other.components_, one.components_, atol=1e-6)
    np.testing.assert_allclose(other.mean_ - one.mean_, [1e4, -3, 0.5], rtol=1e-9)


def test_several_starts_are_never_less_likely_than_one_and_may_be_more():
    gains = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        S = np.c_[rng.uniform(-1, 1, (150, 5)), rng.laplace(size=(150, 5))]
        X = S @ rng.standard_normal((10, 10))
        one, more = (
            RelativeICA(density="extended", n_init=n, random_state=0).fit(X).log_likelihood_
            for n in (1, 6)
        )
        gains.append(more - one)
    assert min(gains) > -1e-9
    assert max(gains) > 1e-3


@pytest.mark.parametrize("kind", ["super", "sub"])
def test_it_ends_where_picard_does(kind):
    """The same density and no location to fit: the same unmixing, up to order and sign."""
    picard = pytest.importorskip("picard", reason="python-picard is not installed").picard
    S, A = laplace(3000, 5)
    S = symmetric(S if kind == "super" else np.sign(S) * np.abs(S) ** 0.3)
    X, fun = S @ A.T, {"super": "tanh", "sub": "cube"}[kind]
    K, W, _ = picard(X.T, ortho=False, extended=False, fun=fun, tol=1e-9, random_state=0)
    ica = RelativeICA(fun=fun, whiten="arbitrary-variance", tol=1e-9).fit(X)
    P = ica.components_ @ np.linalg.inv(W @ K)
    if kind == "super":  # beyond 2 the quartic is a parabola, and Picard's cube is not
        np.testing.assert_allclose(np.sort(np.abs(P), axis=1)[:, -1], 1, atol=1e-5)
    assert amari(P) < (1e-6 if kind == "super" else 1e-2)
    assert amari(ica.whitening_ @ np.linalg.inv(W @ K)) > 0.05


def test_the_distance_sees_what_it_is_for():
    rng = np.random.default_rng(0)
    assert amari(np.eye(4)[[2, 0, 3, 1]] * rng.standard_normal((4, 1))) == 0
    assert amari(rng.standard_normal((4, 4))) > 0.2
