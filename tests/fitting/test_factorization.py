"""One factorisation at an epoch's end: determinant, sign and condition are those of NumPy."""

import array_api_strict
import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core.arrays import to_numpy
from relgrad_np.fitting import factorization
from relgrad_np.fitting.factorization import factorized

from ..laws.problems import EPS, EVERYWHERE, generic

SIZES = (1, 2, 3, 5, 8, 30)


def layer(W):
    W = np.asarray(W)
    return rg.Layer(W, np.ones(len(W), W.dtype))


def matrices(seeds=range(8), sizes=SIZES):
    """Random W of both signs and of any pivoting, far from symmetric."""
    for D in sizes:
        for seed in seeds:
            rng = np.random.default_rng((D, seed))
            yield rng.standard_normal((D, D)) * 3.0 ** rng.uniform(-1, 1, D)  # columns of any size


def is_numpys(factorized=factorized):
    """log|det W| and sign; the condition in the 1-norm, which LAPACK's estimate is rarely below."""
    signs, exact = set(), []
    for W in matrices():
        found = factorized((layer(W),))
        sign, logdet = np.linalg.slogdet(W)
        condition, D = np.linalg.cond(W, 1), len(W)
        assert found.exact.sign[0] == sign, "sign"
        signs.add((D, sign))
        allowed = 64 * EPS * D * np.linalg.cond(W)
        assert abs(found.exact.logdet[0] - logdet) <= allowed, "log|det W|"
        assert found.total == found.exact.logdet[0]
        assert condition / 3 <= found.condition <= condition * (1 + allowed), "condition"
        exact.append(found.condition >= condition * (1 - 1e-8))
    assert signs == {(D, sign) for D in SIZES for sign in (-1.0, 1.0)}
    assert np.mean(exact) > 0.8, "condition"


def test_determinant_sign_and_condition_are_those_of_numpy():
    is_numpys()


def with_swaps_ignored(W):
    """The sign of the diagonal alone: a permutation has one, too."""
    logdet, _, condition = ONE(W)
    diagonal = np.diagonal(factorization.lapack.dgetrf(W.T)[0])
    return logdet, np.prod(np.sign(diagonal)), condition


def with_no_sign(W):
    logdet, sign, condition = ONE(W)
    return logdet, abs(sign), condition


def of_the_rows(W):
    """|W|_inf |inv(W)|_inf: the factors are those of W.T, so that rows and columns change places."""
    logdet, sign, _ = ONE(W)
    return logdet, sign, ONE(np.ascontiguousarray(W.T))[2]


def of_the_inverse_alone(W):
    logdet, sign, condition = ONE(W)
    return logdet, sign, condition / np.abs(W).sum(axis=0).max()


def reciprocal(W):
    logdet, sign, condition = ONE(W)
    return logdet, sign, 1 / condition


def base_two(W):
    logdet, sign, condition = ONE(W)
    return logdet / np.log(2), sign, condition


ONE = factorization._one
WRONG = {
    with_swaps_ignored: "sign",
    with_no_sign: "sign",
    of_the_rows: "condition",
    of_the_inverse_alone: "condition",
    reciprocal: "condition",
    base_two: "log",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_planted_mistake_is_rejected(wrong, monkeypatch):
    monkeypatch.setattr(factorization, "_one", wrong)
    with pytest.raises(AssertionError, match=WRONG[wrong]):
        is_numpys()


def test_the_worst_layer_is_named():
    layers = [layer(np.diag(np.geomspace(1, c, 4))) for c in (3.0, 1e6, 10.0)]
    found = factorized(tuple(layers))
    assert found.layer == 1
    assert found.condition == pytest.approx(1e6)
    logdets = [np.linalg.slogdet(W)[1] for W, _ in layers]
    np.testing.assert_allclose(found.exact.logdet, logdets, rtol=1e-14)
    assert found.total == pytest.approx(sum(logdets), rel=1e-14)
    assert found.exact.inverse is None


@pytest.mark.parametrize(
    "W", [np.zeros((3, 3)), np.ones((3, 3)), np.diag([1.0, 0.0, 2.0])], ids=["zero", "ones", "row"]
)
def test_a_singular_W_has_no_determinant_and_no_condition(W):
    found = factorized((layer(np.eye(3)), layer(W)))
    assert found.exact.logdet[1] == -np.inf
    assert found.exact.sign[1] == np.linalg.slogdet(W)[0] == 0
    assert (found.total, found.condition, found.layer) == (-np.inf, np.inf, 1)
    assert found.exact.logdet[0] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_the_worst_layer_and_spoils_no_other(bad):
    W = np.random.default_rng(0).standard_normal((4, 4))
    broken = W.copy()
    broken[1, 2] = bad
    found = factorized((layer(np.ones((4, 4))), layer(broken), layer(W)))
    assert found.layer == 1
    assert np.isnan(found.condition)
    assert np.isnan(found.total)
    assert np.isnan([found.exact.logdet[1], found.exact.sign[1]]).all()
    assert found.exact.logdet[2] == factorized((layer(W),)).total


def test_the_layers_stay_as_they_are():
    W = np.random.default_rng(0).standard_normal((5, 5))
    for own in (W.copy(), np.asfortranarray(W)):
        own.setflags(write=False)
        assert factorized((layer(own),)).exact.sign[0] == np.linalg.slogdet(W)[0]
        np.testing.assert_array_equal(own, W)


@pytest.mark.parametrize("library", ["numpy", "device1", "no_x64"])
def test_float32_is_factorised_in_float64_and_the_library_stays(library):
    p = generic(1, 5, 7, 3, dtype="float32")
    to = EVERYWHERE[library]
    found = factorized(tuple(rg.Layer(to(W), to(b)) for W, b in p.layers))
    wide = [W.astype("float64") for W, _ in p.layers]
    logdets = np.array([np.linalg.slogdet(W)[1] for W in wide])
    tolerance = np.finfo("float32").eps if library == "no_x64" else 64 * EPS
    for x, want in ((found.exact.logdet, logdets), (found.exact.sign, np.array([-1.0, 1.0, -1.0]))):
        assert type(x) is type(to(wide[0]) if library != "no_x64" else to(p.X))
        np.testing.assert_allclose(to_numpy(x), want, rtol=2 * tolerance, atol=tolerance)
    assert found.condition == pytest.approx(max(np.linalg.cond(W, 1) for W in wide))


def test_a_large_W_stays_on_its_device(monkeypatch):
    """Its library gives the determinant; of the condition nothing is known. On the host it is."""
    monkeypatch.setattr(factorization, "LARGEST_MOVED", 3)
    p = generic(1, 5, 4, 2)
    there = factorized(tuple(rg.Layer(*map(array_api_strict.asarray, x)) for x in p.layers))
    here = factorized(p.layers)
    assert (there.condition, there.layer) == (None, None)
    assert here.condition > 1
    np.testing.assert_allclose(to_numpy(there.exact.logdet), here.exact.logdet, rtol=1e-13)
    np.testing.assert_array_equal(to_numpy(there.exact.sign), here.exact.sign)
    assert there.total == pytest.approx(here.total, rel=1e-13)
