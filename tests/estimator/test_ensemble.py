"""`FlowEnsemble` and the weights of a mean density."""

import functools
import itertools

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")
from sklearn.utils.estimator_checks import parametrize_with_checks

from relgrad_np.estimator import FlowEnsemble
from relgrad_np.estimator.ensemble import FlowMember, MixtureMember
from relgrad_np.estimator.stacking import log_mixture, stacking_weights

QUICK = {"seconds": 0.1, "random_state": 0}


@functools.cache
def fitted(D):
    """An ensemble of few steps, on rows that no Gaussian is like."""
    rng = np.random.default_rng(D)
    X = rng.standard_normal((150, D)) * 0.2 + rng.choice([-1.0, 1.0], (150, 1))
    return FlowEnsemble(**QUICK).fit(2 * X + 5), 2 * X + 5


@parametrize_with_checks([FlowEnsemble(seconds=1e-3, mixture=False, random_state=0)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


def mass(log_density, D):
    """The integral of a density over [5 - 12, 5 + 12]^D by the trapezoidal rule."""
    t = np.linspace(-7.0, 17.0, 2401 if D == 1 else 401)
    grid = np.stack(np.meshgrid(*[t] * D, indexing="ij"), axis=-1).reshape(-1, D)
    return np.exp(log_density(grid)).sum() * (t[1] - t[0]) ** D


@pytest.mark.parametrize("D", [1, 2])
def test_the_density_has_mass_one(D):
    model, _ = fitted(D)
    assert sum(isinstance(member, FlowMember) for member in model.members_) == 4
    assert abs(mass(model.score_samples, D) - 1) < 2e-3  # the tails of student_t are outside
    scale = float(np.log(model.scale_).sum())  # planted: the units of the columns are forgotten
    assert abs(mass(lambda X: model.score_samples(X) + scale, D) - 1) > 0.1


def objective(weights, log_p, least=None, pseudo=0.0):
    """What the weights maximise, as `stacking_weights` states it."""
    v = np.array(weights, dtype=float)
    if least is not None:
        k, share = least
        v[k] -= share
        v = v / (1 - share)
    p = np.exp(log_p) @ weights
    return np.log(p).sum() + (pseudo * np.log(v).sum() if pseudo else 0.0)


def wins(weights, log_p, **how):
    """Say whether no weights of a grid over the simplex are better."""
    share = how.get("least", (0, 0.0))[1]
    steps = 60
    best = -np.inf
    for i, j in itertools.product(range(steps + 1), repeat=2):
        if i > 0 and j > 0 and i + j < steps:
            v = np.array([i, j, steps - i - j]) / steps
            w = (1 - share) * v + share * np.eye(3)[how.get("least", (0, 0.0))[0]]
            best = max(best, objective(w, log_p, **how))
    return objective(weights, log_p, **how) >= best - 1e-9


@pytest.mark.parametrize("how", [{}, {"pseudo": 2.0}, {"least": (1, 0.1)}])
def test_the_weights_are_the_best_of_all(how):
    log_p = np.random.default_rng(3).standard_normal((12, 3)) * 2
    weights = stacking_weights(log_p, **{"pseudo": 0.0, **how})
    assert weights.sum() == pytest.approx(1)
    assert wins(weights, log_p, **how)
    chosen = np.exp(log_p).mean(axis=0)  # planted: by mean densities, not by EM
    assert not wins(chosen / chosen.sum(), log_p, **how)


def test_a_density_that_no_row_has_gets_its_pseudo_rows_alone():
    log_p = np.array([[-1.0, -np.inf, np.nan]] * 10)
    assert stacking_weights(log_p, pseudo=1.0) == pytest.approx([11 / 13, 1 / 13, 1 / 13])


def creased(member, at):
    """A member whose density is e^-1000 at a row."""

    class Creased:
        settings = member.settings

        def log_density(self, Z):
            return np.where((at == Z).all(axis=1), -1000.0, member.log_density(Z))

    return Creased()


def test_a_crease_in_all_flows_is_bounded_by_the_share_of_the_gaussian():
    model, X = fitted(2)
    gaussian, Z = model.members_[0], (X[:3] - model.mean_) / model.scale_
    shift = float(np.log(model.scale_).sum())
    flows = [creased(m, Z[1]) for m in model.members_ if isinstance(m, FlowMember)]
    other = FlowEnsemble()
    other.__dict__.update(model.__dict__)
    other.members_ = (gaussian, *flows)
    other.weights_ = np.array([0.02, *[0.98 / len(flows)] * len(flows)])
    bound = np.log(0.02) + gaussian.log_density(Z) - shift
    assert model.weights_[0] >= 0.02
    assert (other.score_samples(X[:3]) >= bound - 1e-9).all()
    other.weights_ = np.array([0.0, *[1 / len(flows)] * len(flows)])  # planted: no share
    assert other.score_samples(X[1:2])[0] < -900


def test_samples_come_from_the_members_as_often_as_their_weights_say():
    model, _ = fitted(1)
    other = FlowEnsemble()
    other.__dict__.update(model.__dict__)

    class Point:
        def __init__(self, at):
            self.at = at

        def draw(self, n, rng):
            return np.full((n, 1), self.at)

    other.members_, other.weights_ = (Point(0.0), Point(1.0)), np.array([0.2, 0.8])

    def near(weights):
        X = (other.sample(4000, random_state=1) - other.mean_) / other.scale_
        return abs(X.mean() - weights[1]) < 5 * np.sqrt(0.16 / 4000)

    assert near([0.2, 0.8])
    assert not near([0.5, 0.5])
    X = other.sample(50, random_state=1)
    assert np.diff(X[:10, 0] > X.mean()).sum() > 0  # shuffled, not one member after another


def test_samples_of_a_mixture_are_like_its_density():
    model = fitted(2)[0].members_[1]
    assert isinstance(model, MixtureMember)
    X = model.draw(20_000, np.random.default_rng(0))
    assert np.cov(X.T) == pytest.approx(np.cov(model.model.sample(20_000)[0].T), abs=0.05)


def test_it_is_above_the_gaussian_and_the_same_again_and_uses_what_is_held():
    model, X = fitted(2)
    gaussian = model.members_[0].log_density((X - model.mean_) / model.scale_)
    assert model.score(X) > gaussian.mean() - np.log(model.scale_).sum() + 0.3
    fits = [FlowEnsemble(seconds=0.01, random_state=0).fit(X) for _ in range(2)]
    assert np.array_equal(*[one.score_samples(X) for one in fits])
    held = FlowEnsemble(seconds=0.01, random_state=0).fit(X[:100], X_val=X[100:])
    assert held.mean_ == pytest.approx(X[:100].mean(axis=0))
    alone = FlowEnsemble().fit(X[:30])  # none can be held
    assert alone.weights_ == [1.0]
    assert np.isfinite(alone.score(X))


def test_the_mean_of_logarithms_is_none():
    log_p = np.array([[-1.0, -3.0], [-5000.0, -5001.0], [-np.inf, -np.inf]])
    found = log_mixture(log_p, np.array([0.25, 0.75]))
    assert found[0] == pytest.approx(np.log(0.25 * np.exp(-1) + 0.75 * np.exp(-3)))
    assert found[1] == pytest.approx(-5000 + np.log(0.25 + 0.75 / np.e))
    assert found[2] == -np.inf
    assert found[0] != pytest.approx(log_p[0] @ [0.25, 0.75])  # planted
