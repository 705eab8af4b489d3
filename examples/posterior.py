# %% [markdown]
"""
# The posterior of a simulator's parameters

In simulation-based inference a prior draws parameters, a simulator turns them into data, and `ConditionalFlow` learns the density
of the parameters given the data. Two simulators with known posteriors judge it: a linear one with Gaussian noise, and the two
moons of the benchmark of Lueckmann et al. (2021, [arXiv:2101.04653](https://arxiv.org/abs/2101.04653)). The program draws the
posterior of one observation beside the exact one.

    python examples/posterior.py           a few seconds
    python examples/posterior.py --full    100,000 simulations, and fits for as long as they need
"""

# %%
import sys

import numpy as np
from matplotlib import pyplot as plt
from scipy.stats import binom, multivariate_normal

from relgrad_np.estimator import ConditionalFlow, RelativeGradientFlow

FULL = "--full" in sys.argv[1:]
MIXING = np.array([[1.0, 0.5], [-0.3, 1.0], [0.8, -0.6]])  # of the linear simulator
NOISE = 0.5


# %% [markdown]
# Two simulators: a prior, a simulator, and the exact posterior.


# %%


def linear(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two parameters with a standard normal prior; data = MIXING parameters + noise, (n, 3)."""
    parameters = rng.standard_normal((n, 2))
    return parameters, parameters @ MIXING.T + NOISE * rng.standard_normal((n, 3))


def linear_posterior(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means (n, 2) and covariance (2, 2) of the exact posterior, which is Gaussian."""
    covariance = np.linalg.inv(np.eye(2) + MIXING.T @ MIXING / NOISE**2)
    return data @ MIXING @ covariance / NOISE**2, covariance


def crescent(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw from a crescent: where the data of two moons are, if both parameters are 0."""
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), 0.1 + 0.01 * rng.standard_normal(n)
    return np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)


def two_moons(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two parameters with a uniform prior on [-1, 1]^2; data are a crescent, shifted by them."""
    a, b = parameters = rng.uniform(-1, 1, (2, n))
    shift = np.stack([-abs(a + b), b - a], axis=1) / np.sqrt(2)
    return parameters.T, crescent(n, rng) + shift


def two_moons_posterior(data: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw (n, 2) from the exact posterior of one pair of data, by inversion and rejection.

    The map of parameters to shifts keeps areas, and the prior is flat. So the posterior is that of
    the shift, data - crescent, on both branches of the modulus, where the prior is not 0.
    """
    kept = np.empty((0, 2))
    while len(kept) < n:
        first, second = (data - crescent(4 * n, rng)).T * np.sqrt(2)
        sums = -first * rng.choice([-1.0, 1.0], first.size)  # a + b, of either sign
        drawn = np.stack([sums - second, sums + second], axis=1) / 2
        possible = (first <= 0) & (abs(drawn) <= 1).all(axis=1)
        kept = np.concatenate([kept, drawn[possible]])
    return kept[:n]


# %% [markdown]
# Then calibration is tested: the rank of the true parameters among draws of the posterior is uniform if the posterior is
# right (Talts et al., 2018, [arXiv:1804.06788](https://arxiv.org/abs/1804.06788)). The histogram of ranks is drawn with the
# band that contains 99 % of such counts.


# %%
def ranks(
    flow: ConditionalFlow, parameters: np.ndarray, data: np.ndarray, draws: int
) -> np.ndarray:
    """Return how many of the draws given each row of data are below its parameters, (n, 2)."""
    drawn = flow.sample(draws, context=data, random_state=0)  # (n, draws, 2)
    return (drawn < parameters[:, None, :]).sum(axis=1)


def outside(counts: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Return the share of counts outside of the band that has 99 % of them if ranks are uniform."""
    low, high = binom.interval(0.99, counts.sum(), 1 / counts.size)
    return float(np.mean((counts < low) | (counts > high))), (float(low), float(high))


def histogram(ax: plt.Axes, found: np.ndarray, draws: int, title: str) -> float:
    """Draw the histogram of both parameters' ranks with its band; return the share outside."""
    bins = 16 if draws > 100 else 8
    edges = np.linspace(-0.5, draws + 0.5, bins + 1)
    counts = [np.histogram(rank, edges)[0] for rank in found.T]
    shares = []
    for k, one in enumerate(counts):
        share, (low, high) = outside(one)
        shares.append(share)
        ax.stairs(one, edges, label=f"parameter {k + 1}", linewidth=2)
    ax.axhspan(low, high, color="0.85", label="99 %", zorder=0)
    ax.set(title=title, xlabel=f"rank among {draws} draws", ylabel="simulations", ylim=(0, None))
    ax.legend(loc="lower center", ncol=3)
    return float(np.mean(shares))


# %% [markdown]
# Both are fitted, compared and drawn. A flow is continuous, so a thin bridge of draws joins the two moons.


# %%
def main() -> None:
    """Fit both posteriors, compare them with the exact ones, and draw."""
    rng = np.random.default_rng(1)
    simulations, checked, draws = (100_000, 2_000, 159) if FULL else (10_000, 160, 63)
    _, axes = plt.subplots(2, 3, figsize=(13, 8))

    # The linear simulator: one layer with a normal base is the family of its posterior.
    parameters, data = linear(simulations, rng)
    flow = ConditionalFlow(RelativeGradientFlow(random_state=0, seconds=None if FULL else 0.5))
    flow.fit(parameters, context=data)
    parameters, data = linear(10_000, rng)
    means, covariance = linear_posterior(data)
    exact = multivariate_normal(np.zeros(2), covariance).logpdf(parameters - means)
    lack = exact - flow.score_samples(parameters, context=data)
    print(f"linear: E KL(exact || flow) = {lack.mean():.4f} +- {lack.std() / 100:.4f} nats")
    seen, side = data[0], np.linspace(-1.5, 1.5, 120)
    grid = means[0] + np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    for ax, log_p, title in (
        (axes[0, 0], multivariate_normal(means[0], covariance).logpdf(grid), "exact"),
        (axes[0, 1], flow.score_samples(grid, context=np.tile(seen, (len(grid), 1))), "flow"),
    ):
        x, y = means[0, :, None] + side
        ax.contourf(x, y, np.exp(log_p).reshape(120, 120).T, 12)
        ax.set(title=f"linear, posterior of one observation: {title}", aspect="equal")
    found = ranks(flow, parameters[:checked], data[:checked], draws)
    share = histogram(axes[0, 2], found, draws, "linear, calibration")
    print(f"linear: {share:.0%} of the rank histogram's bins are outside of their 99 % band")

    # Two moons: two crescents, a hundredth wide, whose places are curved functions of the data.
    parameters, data = two_moons(simulations, rng)
    flow = ConditionalFlow(RelativeGradientFlow(random_state=0, seconds=None if FULL else 2))
    flow.fit(parameters, context=data)
    seen = np.zeros(2)
    exact, drawn = two_moons_posterior(seen, 2_000, rng), flow.sample(2_000, context=[seen])[0]
    for ax, points, title in ((axes[1, 0], exact, "exact"), (axes[1, 1], drawn, "flow")):
        ax.plot(*points.T, ".", markersize=1)
        ax.set(title=f"two moons, posterior of (0, 0): {title}", xlim=(-0.6, 0.6), ylim=(-0.6, 0.6))
        ax.set_aspect("equal")
    parameters, data = two_moons(checked, rng)
    found = ranks(flow, parameters, data, draws)
    share = histogram(axes[1, 2], found, draws, "two moons, calibration")
    print(f"two moons: {share:.0%} of the rank histogram's bins are outside of their 99 % band")
    assert lack.mean() < 0.1, "the linear posterior was not found"
    plt.show()


if __name__ == "__main__":
    main()
