"""Nonlinear mixing from the model's own class: what comes back, likelihood and sources.

Independent sources are mixed by the inverse of a random net of L layers; a net of the same shape is
fitted by maximum likelihood. Nothing says that its sources are the true ones: with L > 1 nonlinear
ICA without further information is not identifiable in general (Hyvarinen & Pajunen 1999).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.estimator import RelativeICA

from .report import Claim, Section, table
from .separation import correlations
from .store import Line, Store

MODEL = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("sech")


def wanted(quick: bool) -> Iterator[Line]:
    """Yield (D, L, seed): of the mixing and of the fit."""
    for L in (1, 2) if quick else (1, 2, 3):
        for D in (3,) if quick else (2, 5, 10):
            for seed in range(1 if quick else 5):
                yield {
                    "D": D, "L": L, "seed": seed, "N": 4000 if quick else 10_000,
                    "epochs": 30 if quick else 150,
                }  # fmt: skip


def true_net(rng: np.random.Generator, D: int, L: int) -> Any:
    """Return a net with singular values of W in [1/2, 2] and biases of order 1."""
    layers = []
    for _ in range(L):
        U, V = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
        W = U @ np.diag(2.0 ** rng.uniform(-1, 1, D)) @ V
        layers.append(rg.Layer(W, rng.standard_normal(D)))
    return tuple(layers)


def separate(D: int, L: int, seed: int, N: int, epochs: int) -> Line:
    """Mix, fit, and compare with the truth and with linear ICA; on test rows."""
    rng = np.random.default_rng([D, L, seed])
    truth = true_net(rng, D, L)
    S = [MODEL[1].sample(rng, (n, D)) for n in (N, N // 5, N // 5)]
    X, X_val, X_test = (rg.inverse(truth, s, MODEL[0]) for s in S)
    start = rg.init_layers(rng, D, L, kind="gaussianize", X=X, activation=MODEL[0])
    layers = rg.fit(
        start, X, *MODEL, rng=rng, epochs=epochs, batch_size=500, X_val=X_val
    ).best_layers
    linear = RelativeICA(density=MODEL[1], random_state=0).fit(X).components_
    Z = rg.forward(layers, X_test, MODEL[0]).Zs[-1]
    found: Line = {
        "truth": float(rg.log_likelihood(truth, X_test, *MODEL).mean),
        "fit": float(rg.log_likelihood(layers, X_test, *MODEL).mean),
    }
    for name, ranks in (("correlation", False), ("rank correlation", True)):
        found[name] = float(correlations(S[2], Z, ranks).mean())
        found[f"linear, {name}"] = float(correlations(S[2], X_test @ linear.T, ranks).mean())
    return found


def run(store: Store, quick: bool) -> None:
    """Run what has not run."""
    for key in wanted(quick):
        store.run("nonlinear", key, lambda key=key: separate(**key))


def section(store: Store, quick: bool) -> Section:
    """Return the table by D and L."""
    cells: dict[tuple[int, int], list[Line]] = {}
    keys = list(wanted(quick))
    for key in keys:
        line = store.find("nonlinear", key)
        if line is not None:
            cells.setdefault((key["L"], key["D"]), []).append(line)
    if not cells:
        return Section("", (), ("not run yet",))
    rows = []
    for (L, D), lines in cells.items():
        values = {
            k: np.array([x[k] for x in lines])
            for k in ("truth", "fit", "correlation", "rank correlation", "linear, correlation")
        }
        below = values["truth"] - values["fit"]
        rows.append([
            L, D, len(lines), f"{below.mean():.3f} ({below.min():.3f} to {below.max():.3f})",
            f"{values['correlation'].mean():.3f} ({values['correlation'].min():.3f})",
            f"{values['rank correlation'].mean():.3f}",
            f"{values['linear, correlation'].mean():.3f}",
        ])  # fmt: skip
    first = next(iter(cells.values()))[0]
    one = [x["correlation"] for (L, _), lines in cells.items() for x in lines if L == 1]
    text = [
        f"Sources from the sech density, {first['N']:,} samples, mixed by the inverse of a random "
        "net with L layers of the package's own kind; the same net is fitted (Gaussianising start, "
        f"the default rule, {first['epochs']} epochs). Mean |correlation| with the true sources on "
        "test rows after the best matching, the mean over seeds (and the worst).",
        "",
        table(
            [
                "L", "D", "seeds", "nats below the true net", "correlation (worst)",
                "rank correlation", "linear ICA",
            ],
            rows,
        ),
        "",
        "**What this does and does not say.** L = 1 is linear ICA and identifiable: the sources "
        "come back. With L >= 2 maximum likelihood is a density estimate. Where the fit stays "
        "nats below the true net it is in a local optimum, and its sources are mixed still; where "
        "it comes as close as the true net, high correlations are what this class and "
        "these sources give, not a theorem: independent components of a nonlinear mixture are not "
        "unique without further information (Hyvarinen & Pajunen 1999). Do not read the "
        "latents of a deep fit as sources on the strength of its likelihood.",
    ]  # fmt: skip
    claims = (
        Claim(
            "L = 1: the sources come back", f"correlation {min(one):.4f} at least", min(one) > 0.99
        ),
    )
    done = sum(map(len, cells.values()))
    lacking = (f"{len(keys) - done} runs have not run yet",) if done < len(keys) else ()
    return Section("\n".join(text), claims, lacking)
