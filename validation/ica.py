"""Linear ICA by one layer at maximum likelihood: `RelativeICA`, to convergence, and by the clock.

Peers with the same sources: Picard without its orthogonality constraint (`picard(ortho=False)`),
the same likelihood by L-BFGS, and scikit-learn's FastICA, which has the constraint. All in float64,
one BLAS thread, CPU seconds, one after the other on each mixture.
"""

import importlib.util
import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.runs import plots
from relgrad_np.runs.style import in_style, label_ends

from .report import Claim, Section, table
from .separation import amari
from .store import Line, Store

SIZES = (2, 4, 8, 16, 32, 64, 128)
GOOD, BAD = 10.0, 1e6  # condition numbers of the mixing
FEW, MANY = 5000, 100_000  # rows
TOLERANCE = 1e-6  # of the largest element of the relative gradient; FastICA's own is another
STEPS = 5000
SOURCES = {
    "super": lambda rng, shape: rng.laplace(size=shape),
    "sub": lambda rng, shape: rng.uniform(-1, 1, shape),
    "half": lambda rng, shape: np.concatenate(
        [rng.laplace(size=(shape[0], shape[1] // 2)),
         rng.uniform(-1, 1, (shape[0], shape[1] - shape[1] // 2))], axis=1
    ),
}  # fmt: skip
WORDS = {"super": "Laplace", "sub": "uniform", "half": "half of each"}
OURS = {"super": "sech", "sub": "quartic", "half": "auto"}
LOG_P = {  # to compare likelihoods with Picard's: its densities, but for the quartic beyond 2
    "super": lambda z: rg.density("sech").log_prob(z),
    "sub": lambda z: rg.density("quartic").log_prob(z),
}


def mixtures(D: int, N: int) -> int:
    """Return how many mixtures of each cell: 20, fewer where Picard takes minutes for one."""
    cost = D * D * N
    return 20 if cost <= 1e7 else 5 if cost <= 1.2e8 else 2 if cost <= 5e8 else 1


def wanted(quick: bool) -> Iterator[Line]:
    """Yield the cells: D, rows, kind of source, condition, how many mixtures; the largest last."""
    sizes = [(D, N) for N in (FEW, MANY) for D in SIZES]
    sizes.sort(key=lambda size: size[0] ** 2 * size[1])
    for D, N in [(2, 2000), (8, 2000)] if quick else sizes:
        for kind in SOURCES:
            for condition in (GOOD, BAD) if N < MANY else (GOOD,):
                yield {
                    "D": D, "sources": kind, "N": N, "condition": condition,
                    "mixtures": 3 if quick else mixtures(D, N),
                }  # fmt: skip


def equivariance_key(quick: bool) -> Line:
    """Return what is run to see what conditioning costs, by gradient."""
    return {"equivariance": True, "D": 8, "N": 2000, "steps": 100 if quick else 300}


def mixing(rng: np.random.Generator, D: int, condition: float) -> Any:
    """Return A (D, D) with singular values from 1 down to 1 / condition, evenly in logarithm."""
    U, V = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
    return U @ np.diag(np.geomspace(1, 1 / condition, D)) @ V


class Cube:
    """Picard's "cube", psi = y^3, without its slow powers: the product is kinder to Picard."""

    def log_lik(self, Y: Any) -> Any:
        """Return minus log p, but for a constant."""
        square = Y * Y
        return square * square / 4

    def score_and_der(self, Y: Any) -> Any:
        """Return psi and its derivative."""
        square = Y * Y
        return square * Y, 3 * square


def by_relative_ica(X: Any, kind: str) -> Line:
    """Return W, iterations, and the log-likelihood of `RelativeICA`, nats a row."""
    from relgrad_np.estimator import RelativeICA

    model = RelativeICA(density=OURS[kind], tol=TOLERANCE, max_iter=STEPS, random_state=0).fit(X)
    found = {"W": model.components_, "n": model.n_iter_, "converged": bool(model.converged_)}
    return {**found, "value": float(model.log_likelihood_)}


def by_picard(X: Any, kind: str) -> Line:
    """Return W and the iterations of Picard, no constraint; extended where sources are mixed."""
    from picard import picard

    fun = {"super": "tanh", "sub": Cube(), "half": "tanh"}[kind]
    K, W, _, n = picard(
        X.T, fun=fun, ortho=False, extended=kind == "half", tol=TOLERANCE, max_iter=STEPS,
        random_state=0, return_n_iter=True,
    )  # fmt: skip
    return {"W": W @ K, "n": n}


def by_fastica(X: Any, kind: str) -> Line:
    """Return W and the iterations of FastICA with the same nonlinearity."""
    from sklearn.decomposition import FastICA

    fun = "cube" if kind == "sub" else "logcosh"
    model = FastICA(fun=fun, whiten="unit-variance", tol=TOLERANCE, max_iter=STEPS, random_state=0)
    model.fit(X)
    return {"W": model.components_, "n": model.n_iter_}


METHODS = {"relative": by_relative_ica, "picard": by_picard, "fastica": by_fastica}


def value_of(W: Any, X: Any, kind: str) -> float:
    """Return the mean log-likelihood of centred rows of X under Picard's density, nats a row."""
    Y = (X - X.mean(axis=0)) @ W.T
    return float(LOG_P[kind](Y).sum(axis=1).mean() + np.linalg.slogdet(W)[1])


def cell(D: int, sources: str, N: int, condition: float, mixtures: int, **_: Any) -> Line:
    """Return Amari distances, CPU seconds and iterations of each method; and likelihoods."""
    from threadpoolctl import threadpool_limits

    out: Line = {"numexpr": importlib.util.find_spec("numexpr") is not None}
    out |= {name: {"amari": [], "s": [], "n": []} for name in METHODS}
    with threadpool_limits(1):
        for method in METHODS.values():  # whatever is imported or, of so many rows, compiled first
            method(SOURCES[sources](np.random.default_rng(0), (2**19, 2)), sources)
        for seed in range(mixtures):
            rng = np.random.default_rng([D, seed])
            S = SOURCES[sources](rng, (N, D))
            A = mixing(rng, D, condition)
            X, values = S @ A.T, {}
            for name, method in METHODS.items():
                began = time.process_time()
                found = method(X, sources)
                seconds = time.process_time() - began
                out[name]["amari"].append(amari(found["W"] @ A))
                out[name]["s"].append(round(seconds, 6))
                out[name]["n"].append(int(found["n"]))
                if name == "relative":
                    out.setdefault("converged", []).append(found["converged"])
                    values[name] = found["value"]
                elif name == "picard" and sources in LOG_P:
                    values[name] = value_of(found["W"], X, sources)
            if "picard" in values:
                out.setdefault("ahead", []).append(values["relative"] - values["picard"])
    return out


def equivariance(D: int, N: int, steps: int, **_: Any) -> Line:
    """Follow either gradient from the same outputs, under worse and worse mixing.

    The start is W_0 inv(M) for the data X M', so that the first outputs are the same. The ordinary
    gradient takes the best of seven rates for each condition.
    """
    rng = np.random.default_rng(0)
    model = rg.activation("identity"), rg.density("sech")
    X = SOURCES["super"](rng, (N, D)) @ mixing(rng, D, 3.0).T
    W_0 = rg.init_layers(rng, D, 1, kind="orthogonal")[0].W
    best = rg.newton((rg.Layer(W_0, np.zeros(D)),), X, *model).layers
    top = rg.log_likelihood(best, X, *model).mean
    out: Line = {}
    for condition in (1.0, 1e2, 1e4, 1e6):
        M = mixing(rng, D, condition)
        mixed, start = X @ M.T, (rg.Layer(W_0 @ np.linalg.inv(M), np.zeros(D)),)
        shift = float(np.linalg.slogdet(M)[1])  # log-likelihoods of X M' are lower by it

        def follow(
            gradient: Any, eta: float, mixed: Any = mixed, start: Any = start, shift: float = shift
        ) -> float:
            layers = start
            with np.errstate(all="ignore"):
                for _ in range(steps):
                    tape = rg.forward(layers, mixed, model[0])
                    deltas = rg.backprop(layers, tape, *model)
                    try:
                        g = gradient(layers, tape, deltas)[0]
                    except np.linalg.LinAlgError:
                        return -math.inf
                    layers = (rg.Layer(layers[0].W + eta * g.W, layers[0].b + eta * g.b),)
                return float(rg.log_likelihood(layers, mixed, *model).mean) + shift - top

        ordinary = [follow(rg.ordinary_gradient, 10.0**-k) for k in range(7)]
        found = [value for value in ordinary if math.isfinite(value)]
        out[f"{condition:g}"] = {
            "relative": follow(rg.relative_gradient, 0.2),
            "ordinary": max(found) if found else None,
        }
    return out


def run(store: Store, quick: bool) -> None:
    """Run the cells; the largest are the last."""
    store.run("ica", equivariance_key(quick), lambda: equivariance(**equivariance_key(quick)))
    for key in wanted(quick):
        store.run("ica", key, lambda key=key: cell(**key))


def median(values: Any) -> float:
    """Return the median."""
    return float(np.median(values))


def geometric_mean(ratios: Any) -> float:
    """Return the geometric mean."""
    return float(np.exp(np.mean(np.log(ratios))))


def ratio(line: Line, name: str, what: str) -> float:
    """Return the median over mixtures of another method's figure over ours."""
    return median(np.array(line[name][what]) / np.array(line["relative"][what]))


def section(store: Store, quick: bool) -> Section:
    """Return the table, the figure, and the claims."""
    found = [(key, store.find("ica", key)) for key in wanted(quick)]
    lines = [line for _, line in found if line is not None]
    lacking = tuple(
        f"D = {key['D']}, N = {key['N']}, {WORDS[key['sources']]}, condition "
        f"{key['condition']:g}: not run"
        for key, line in found
        if line is None
    )
    if not lines:
        return Section("", (), lacking)
    rows = []
    for line in lines:
        rows.append([
            WORDS[line["sources"]], f"{line['N']:,}", line["D"], f"{line['condition']:g}",
            line["mixtures"],
            *(f"{1e3 * median(line[name]['amari']):.2f}" for name in METHODS),
            *(f"{1e3 * median(line[name]['s']):.3g}" for name in METHODS),
            f"{ratio(line, 'picard', 's'):.2f}", f"{ratio(line, 'fastica', 's'):.2f}",
            *(f"{median(line[name]['n']):.0f}" for name in METHODS),
        ])  # fmt: skip
    text = [
        "`X = S A'`, A random with singular values from 1 down to 1 / condition. `RelativeICA` "
        "with the density sech for Laplace sources, quartic for uniform ones, and auto for half of "
        "each: it chooses, and fits, the density of each source. Picard: `ortho=False`, the same "
        "densities (`tanh`; `cube`, with a faster product put in its place; `tanh` and "
        "`extended=True`), numexpr installed. FastICA: `logcosh` and `cube`, orthogonal. All end "
        "at a tolerance of 1e-6, each of its own: the first two of the relative gradient. CPU "
        "milliseconds of one thread, with all that the call does, whitening and checks included; "
        "medians over the mixtures. Amari distances times 1000 (0 is perfect; what is left is the "
        "statistical error of so many samples).",
        "",
        table(
            [
                "sources", "N", "D", "condition", "mixtures",
                "Amari: ours", "Picard", "FastICA", "ms: ours", "Picard", "FastICA",
                "Picard / ours", "FastICA / ours", "iterations: ours", "Picard", "FastICA",
            ],
            rows,
            keys=4,
        ),
    ]  # fmt: skip
    apart = [
        median(np.array(x["relative"]["amari"]) / np.array(x["picard"]["amari"])) for x in lines
    ]
    ahead = [value for line in lines for value in line.get("ahead", [])]
    done = [value for line in lines for value in line["converged"]]
    claims = [
        Claim(
            "Amari distance within 1 % of Picard's or below, median over mixtures, every cell",
            f"ratio at most {max(apart):.4f}",
            max(apart) <= 1.01,
        ),
        Claim(
            "the log-likelihood is never below Picard's, of the same density",
            f"at least {min(ahead):.1e} nats ahead in {len(ahead)} mixtures",
            min(ahead) >= -1e-9,
        ),
        Claim(
            "the relative gradient ends below 1e-6",
            f"in {sum(done)} of {len(done)} mixtures",
            all(done),
        ),
    ]
    if not quick:
        theirs = {name: [ratio(line, name, "s") for line in lines] for name in METHODS}
        claims += [
            Claim(
                "3 times as fast as Picard in the geometric mean over all cells",
                f"{geometric_mean(theirs['picard']):.1f} times in {len(lines)} cells",
                geometric_mean(theirs["picard"]) >= 3,
            ),
            Claim(
                "1.3 times as fast as Picard in every cell",
                f"{min(theirs['picard']):.2f} to {max(theirs['picard']):.0f} times; below 1.3 in "
                f"{sum(x < 1.3 for x in theirs['picard'])} cells",
                min(theirs["picard"]) >= 1.3,
            ),
            Claim(
                "not slower than FastICA in the geometric mean",
                f"{min(theirs['fastica']):.2f} to {max(theirs['fastica']):.0f} times, "
                f"{geometric_mean(theirs['fastica']):.2f} in the mean",
                geometric_mean(theirs["fastica"]) >= 1,
            ),
        ]
        draw(store, [line for line in lines if line["N"] == FEW])
        text += ["", "![Amari distance and time against D](figures/ica.png)"]
    found = store.find("ica", equivariance_key(quick))
    if found is None:
        lacking = (*lacking, "equivariance: not run yet")
    else:
        values = {k: v for k, v in found.items() if isinstance(v, dict)}
        text += [
            "",
            "**Why conditioning costs nothing.** The same sources under worse and worse mixing, "
            f"D = {found['D']}, started from the same outputs; nats below the maximum after "
            f"{found['steps']} plain steps. The relative gradient takes one rate, 0.2; the "
            "ordinary one the best of 1, 0.1, ..., 1e-6 for each row:",
            "",
            table(
                ["condition", "relative gradient", "ordinary gradient"],
                [
                    [
                        f"{float(k):.0e}",
                        *("diverged" if x is None else f"{-x:.4f}" for x in v.values()),
                    ]
                    for k, v in values.items()
                ],
            ),
        ]
        paths = [v["relative"] for v in values.values()]
        spread = max(paths) - min(paths)
        claims.append(
            Claim(
                "the relative gradient's path does not depend on the mixing",
                f"differs by {spread:.1e} nats",
                spread < 1e-6,
            )
        )
    return Section("\n".join(text), tuple(claims), lacking)


@in_style
def draw(store: Store, lines: list[Line]) -> None:
    """Draw Amari distance and CPU time against D, by source and method."""
    figure = plots.canvas((11.0, 6.5))
    grid = figure.subplots(2, 3, sharex=True, sharey="row")
    styles = {"relative": (plots.BLUE, "o"), "picard": (plots.ORANGE, "s")}
    styles |= {"fastica": (plots.GREY, "^")}
    names = {"relative": "RelativeICA", "picard": "Picard, ortho=False", "fastica": "FastICA"}
    for column, kind in zip(grid.T, SOURCES, strict=True):
        mine = [x for x in lines if x["sources"] == kind and x["condition"] == GOOD]
        sizes = [line["D"] for line in mine]
        for name, (colour, mark) in styles.items():
            for ax, what in zip(column, ("amari", "s"), strict=True):
                values = [median(line[name][what]) for line in mine]
                ax.plot(sizes, values, "-", color=colour, marker=mark, ms=5)
        plots.labelled(column[0], f"sources: {WORDS[kind]}", "", "")
        plots.labelled(column[1], "", "dimension D", "")
        for ax in column:
            ax.set_xscale("log", base=2)
            ax.set_xticks([*SIZES], [str(D) for D in SIZES])
            ax.grid(color="0.92")
    grid[0, 0].set_yscale("log")
    grid[1, 0].set_yscale("log")
    grid[0, 0].set_ylabel("Amari distance")
    grid[1, 0].set_ylabel("CPU seconds, one thread")
    figure.canvas.draw()
    for ax in grid[:, -1]:
        label_ends(ax, [names[name] for name in styles])
    figure.savefig(store.figure("ica"))
