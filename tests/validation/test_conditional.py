"""The conditional toys: each density integrates to 1, and its sampler draws from it.

Planted mistakes: a ring without its 1/r, moons that are turned the other way, a spread that forgets
u, one branch of two, noise without its correlation, and a mixture that is not divided by p(u).
"""

import runpy
from pathlib import Path

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from validation.conditional import contenders, toys

EXAMPLE = Path(__file__).parents[2] / "examples" / "posterior.py"
REACH = {"linear": 4.5, "rings": 3.6, "moons": 2.4, "heteroscedastic": 5.2, "bimodal": 3.6}
STEP = 0.1  # below every standard deviation: sums then have the digits of integrals


def found(name, log_density, n=2000):
    """The mass of p(x | u) at one u, and how far the sampler is from it, in standard errors.

    Compared are the means of log p and of first and second moments, over draws and over a grid.
    """
    toy, rng = toys.TOYS[name], np.random.default_rng(3)
    u = toy.contexts(1, rng)
    x = toy.given(np.repeat(u, n, axis=0), rng)
    D, centre = x.shape[1], u @ toys.SLOPES.T + 1 if name == "linear" else 0.0
    side = np.arange(-REACH[name], REACH[name], STEP)
    grid = np.stack([a.ravel() for a in np.meshgrid(*[side] * D)], axis=1) + centre
    log_p = log_density(grid, np.repeat(u, len(grid), axis=0))
    weights = np.exp(log_p) * STEP**D  # (points,)
    off = []
    own = log_density(x, np.repeat(u, n, axis=0))
    tests = [(log_p, own), (grid.prod(axis=1), x.prod(axis=1))]
    tests += [(grid[:, j] ** k, x[:, j] ** k) for j in range(D) for k in (1, 2)]
    for on_grid, drawn in tests:
        want = np.sum(weights * np.maximum(on_grid, -99)) / weights.sum()
        off.append(abs(drawn.mean() - want) / (drawn.std() / np.sqrt(n) + 1e-12))
    return weights.sum(), max(off)


@pytest.mark.parametrize("name", toys.TOYS)
def test_a_density_integrates_to_one_and_is_that_of_the_sampler(name):
    mass, off = found(name, toys.TOYS[name].log_density)
    assert abs(mass - 1) < 1e-4
    assert off < 4.5


def bare_ring(x, u):
    return toys.normal(np.hypot(*x.T), u[:, 0], toys.RING)


def one_spread(x, u):
    return toys.normal(x, np.sin(2 * u), 0.3)[:, 0]


def uncorrelated(x, u):
    std = np.sqrt((toys.ROOT**2).sum(axis=1))
    return toys.normal(x - u @ toys.SLOPES.T - 1, 0.0, std).sum(axis=1)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("rings", bare_ring),
        ("moons", lambda x, u: toys.of_moons(x, -u)),
        ("heteroscedastic", one_spread),
        ("bimodal", lambda x, u: toys.normal(x, toys._branch(u), toys.MODE)[:, 0]),
        ("linear", uncorrelated),
    ],
)
def test_a_wrong_density_is_seen(name, wrong):
    mass, off = found(name, wrong)
    assert abs(mass - 1) > 1e-4 or off > 4.5


def test_a_mixture_given_u_is_its_joint_density_normalised():
    from sklearn.mixture import GaussianMixture

    rows = np.random.default_rng(0).standard_normal((300, 2)) @ [[1.0, 0.8], [0.0, 0.5]]
    model = GaussianMixture(3, random_state=0).fit(rows)
    x = np.arange(-8, 8, 0.02)[:, None]
    u = np.full_like(x, 0.7)
    assert abs(np.exp(contenders.conditional(model, x, u)).sum() * 0.02 - 1) < 1e-6
    assert abs(np.exp(model.score_samples(np.hstack([x, u]))).sum() * 0.02 - 1) > 0.1


def test_the_posteriors_of_the_example_are_those_of_its_simulators():
    """Ranks of parameters among exact draws are uniform; and not if data are another row's."""
    example, rng = runpy.run_path(str(EXAMPLE)), np.random.default_rng(0)

    def share(parameters, drawn):
        ranks = (drawn < parameters[:, None, :]).sum(axis=1)
        counts = [np.histogram(r, 8, (-0.5, drawn.shape[1] + 0.5))[0] for r in ranks.T]
        return max(example["outside"](one)[0] for one in counts)

    parameters, data = example["two_moons"](300, rng)
    drawn = np.stack([example["two_moons_posterior"](row, 63, rng) for row in data])
    assert share(parameters, drawn) == 0
    assert share(np.roll(parameters, 1, axis=0), drawn) > 0.2
    parameters, data = example["linear"](300, rng)
    means, covariance = example["linear_posterior"](data)
    noise = rng.multivariate_normal(np.zeros(2), covariance, (300, 63))
    assert share(parameters, means[:, None, :] + noise) == 0
    assert share(parameters, means[:, None, :] + 3 * noise) > 0.2
