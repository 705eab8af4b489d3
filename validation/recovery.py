"""Sources of any kind: whether `RelativeICA(density="auto")` finds them as well as the best does.

Each mixture has 4 to 12 sources of kinds drawn at random: heavier and lighter than the Gaussian,
skewed, without a variance, discrete. The best is the smallest Amari distance of Picard (with and
without its constraint), FastICA (three nonlinearities), and of one more that knows the truth: it is
told which sources are lighter than the Gaussian, and begins at them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from relgrad_np.fitting.ica.unmix import unmix
from relgrad_np.fitting.ica.whitening import whitening
from relgrad_np.fitting.newton.bases import Bases

from .report import Claim, Section, table
from .separation import amari, correlations
from .store import Line, Store

SHARE, MOST = 1.1, 0.95  # of the best distance, in so many mixtures
KINDS: dict[str, Callable[[np.random.Generator, int], Any]] = {
    "laplace": lambda rng, N: rng.laplace(size=N),
    "t2": lambda rng, N: rng.standard_t(2, N),
    "exponential": lambda rng, N: rng.exponential(size=N),
    "gamma3": lambda rng, N: rng.gamma(3, size=N),
    "uniform": lambda rng, N: rng.uniform(-1, 1, N),
    "sine": lambda rng, N: np.sin(rng.uniform(0, 2 * np.pi, N)),
    "two levels": lambda rng, N: rng.choice([-1.0, 1.0], N),
    "three levels": lambda rng, N: rng.choice([-1.0, 0.0, 1.0], N),
}
LIGHTER = ("uniform", "sine", "two levels", "three levels")
BEGINS = {True: 0.85, False: 1.5}  # the scale of a standardised source where quartic, sech is best


def wanted(quick: bool) -> Line:
    """Return how many mixtures of how many rows."""
    return {"recovery": True, "mixtures": 6 if quick else 200, "N": 5000}


def problem(seed: int, N: int) -> tuple[list[str], Any, Any]:
    """Return names, sources S (N, D), and a mixing A (D, D)."""
    rng = np.random.default_rng([17, seed])
    D = int(rng.integers(4, 13))
    names = [str(name) for name in rng.choice([*KINDS], D)]
    S = np.stack([KINDS[name](rng, N) for name in names], axis=1)
    return names, S, rng.standard_normal((D, D))


def told(X: Any, names: list[str], S: Any, A: Any) -> Any:
    """Return W that begins at the sources, and is told which are lighter than the Gaussian."""
    white, D = whitening(X), len(names)
    lighter = np.array([name in LIGHTER for name in names])
    scale = np.where(lighter, BEGINS[True], BEGINS[False]) / S.std(axis=0)
    start = scale[:, None] * np.linalg.inv(white.K @ A)
    bases = Bases.alike("sech", D)._replace(quartic=lighter)
    return unmix(X, white, bases, start=start).W @ white.K


def distances(seed: int, N: int) -> Line:
    """Return the Amari distance of each method."""
    from picard import picard
    from sklearn.decomposition import FastICA

    from relgrad_np.estimator import RelativeICA

    names, S, A = problem(seed, N)
    X, scaled = S @ A.T, A * S.std(axis=0)
    found = {"auto": RelativeICA(random_state=0).fit(X).components_, "told": told(X, names, S, A)}
    for name, ortho in (("picard, extended", False), ("picard, orthogonal", True)):
        K, W, _ = picard(X.T, ortho=ortho, extended=True, random_state=0, max_iter=1000)
        found[name] = W @ K
    for fun in ("logcosh", "exp", "cube"):
        model = FastICA(fun=fun, whiten="unit-variance", tol=1e-6, max_iter=1000, random_state=0)
        found[f"fastica, {fun}"] = model.fit(X).components_
    return {"D": len(names), **{name: amari(W @ scaled) for name, W in found.items()}}


def blind_sources() -> list[float]:
    """Return |corr| of sine, square wave and sawtooth with what is found in their noisy mixture.

    The signals and the mixing are those of scikit-learn's example of blind source separation.
    """
    from relgrad_np.estimator import RelativeICA

    t = np.linspace(0, 8, 2000)
    S = np.stack([np.sin(2 * t), np.sign(np.sin(3 * t)), 2 * (t % 1) - 1], axis=1)
    S += 0.2 * np.random.default_rng(0).normal(size=S.shape)
    S /= S.std(axis=0)
    X = S @ np.array([[1.0, 1.0, 1.0], [0.5, 2.0, 1.0], [1.5, 1.0, 2.0]]).T
    return [float(x) for x in correlations(S, RelativeICA(random_state=0).fit_transform(X))]


def run(store: Store, quick: bool) -> None:
    """Run all mixtures, as one kept result."""
    key = wanted(quick)

    def found() -> Line:
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1):
            lines = [distances(seed, key["N"]) for seed in range(key["mixtures"])]
            return {"lines": lines, "blind": blind_sources()}

    store.run("recovery", key, found)


def section(store: Store, quick: bool) -> Section:
    """Return the table of distances, and the claims."""
    found = store.find("recovery", wanted(quick))
    if found is None:
        return Section("", (), ("not run yet",))
    lines = found["lines"]
    names = [name for name in lines[0] if name != "D"]
    values = {name: np.array([line[name] for line in lines]) for name in names}
    best = np.min([values[name] for name in names if name != "auto"], axis=0)
    within = values["auto"] <= SHARE * best
    rows = [
        [
            name,
            f"{1e3 * np.median(x):.1f}",
            f"{np.median(x / values['auto']):.2f}",
            f"{100 * np.mean(x <= SHARE * np.minimum(best, values['auto'])):.0f} %",
        ]
        for name, x in values.items()
    ]
    text = [
        f"{len(lines)} mixtures of 4 to 12 sources, {found['N']:,} rows, kinds drawn at random "
        f'from {", ".join(KINDS)}. "told" knows which sources are lighter than the Gaussian and '
        "begins at the truth: it shows what is lost by choosing and by local optima. auto also "
        "fits the densities, so it can be nearer than that. Amari distances times 1000, and how "
        "often a method is within 10 % of the best of all.",
        "",
        table(["method", "Amari, median", "over auto's, median", "within 10 % of the best"], rows),
        "",
        "scikit-learn's example of blind source separation (sine, square wave, sawtooth, with "
        f"noise): |corr| {', '.join(f'{x:.4f}' for x in found['blind'])}.",
    ]
    claims = (
        Claim(
            f"auto within 10 % of the best of the others, in {100 * MOST:.0f} % of the mixtures",
            f"in {100 * within.mean():.1f} %",
            bool(within.mean() >= MOST),
        ),
        Claim(
            "scikit-learn's blind sources: |corr| at least 0.99",
            f"{min(found['blind']):.4f}",
            min(found["blind"]) >= 0.99,
        ),
    )
    return Section("\n".join(text), claims)
