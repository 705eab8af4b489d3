"""Linear ICA by one layer: Infomax with the relative gradient, full batches, to convergence.

Peers with the same sources and the same density: Picard without its orthogonality constraint
(`picard(ortho=False)`), the same likelihood by L-BFGS, and scikit-learn's FastICA, which has the
constraint. All in float64, one BLAS thread, CPU seconds.
"""

import math
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.runs import plots

from .report import Claim, Section, table
from .separation import amari
from .store import Line, Store

SIZES = (2, 4, 8, 16, 32, 64)
GOOD, BAD = 10.0, 1e6  # condition numbers of the mixing
RATES = {"super": 0.7, "sub": 0.4}  # about 2 over the largest curvature, safely less
TOLERANCE = 1e-6  # of the largest element of xi = Delta'Y + I and of G_b: zero at the optimum
STEPS = 5000
QUARTIC = math.log(math.sqrt(2) * math.gamma(0.25) / 2)  # log of the integral of exp(-z^4 / 4)
DENSITIES = {
    "super": rg.density("sech"),  # score -tanh(z)
    "sub": rg.Density(  # score -z^3
        "quartic",
        lambda z: -0.25 * (z * z) * (z * z) - QUARTIC,
        lambda z: -z * z * z,
        lambda rng, shape: rng.choice([-1, 1], shape) * (4 * rng.gamma(0.25, size=shape)) ** 0.25,
    ),
}
SOURCES = {
    "super": lambda rng, shape: rng.laplace(size=shape),
    "sub": lambda rng, shape: rng.uniform(-1, 1, shape),
}
WORDS = {"super": "Laplace", "sub": "uniform"}


def wanted(quick: bool) -> Iterator[Line]:
    """Yield the cells: D, kind of source, how many mixtures of how many samples."""
    for D in (2, 8, 16) if quick else SIZES:
        for kind in SOURCES:
            yield {
                "D": D, "sources": kind, "N": 2000 if quick else 5000,
                "mixtures": 5 if quick else 20, "rate": RATES[kind],
            }  # fmt: skip


def equivariance_key(quick: bool) -> Line:
    """Return what is run to see what conditioning costs, by gradient."""
    return {"equivariance": True, "D": 8, "N": 2000, "steps": 100 if quick else 300}


def mixing(rng: np.random.Generator, D: int, condition: float) -> Any:
    """Return A (D, D) with singular values from 1 down to 1 / condition, evenly in logarithm."""
    U, V = (np.linalg.qr(rng.standard_normal((D, D)))[0] for _ in range(2))
    return U @ np.diag(np.geomspace(1, 1 / condition, D)) @ V


def unmix(X: Any, kind: str) -> tuple[rg.Layer, int]:
    """Return one layer (W, b) at maximum likelihood, and the steps it took; X (N, D) mixtures."""
    identity, density = rg.activation("identity"), DENSITIES[kind]
    rule = rg.Exponential(RATES[kind])
    start = rg.init_layers(
        np.random.default_rng(0), X.shape[1], 1, kind="whiten", X=X, activation=identity
    )
    state, one = rg.init_state(start, rule), np.eye(X.shape[1])
    for t in range(STEPS):
        before = state.layers
        state, info = rg.train_step(state, X, activation=identity, density=density, rule=rule)
        f = info.directions[0]
        if max(np.abs(f.Delta.T @ f.Y + one).max(), np.abs(f.Delta.sum(axis=0)).max()) < TOLERANCE:
            return before[0], t
    return state.layers[0], STEPS


def by_picard(X: Any, kind: str) -> tuple[Any, int]:
    """Return W and the iterations of Picard with the same density, no constraint."""
    from picard import picard

    fun = {"super": "tanh", "sub": "cube"}[kind]
    K, W, _, n = picard(
        X.T, fun=fun, ortho=False, extended=False, tol=TOLERANCE, max_iter=STEPS,
        random_state=0, return_n_iter=True,
    )  # fmt: skip
    return W @ K, n


def by_fastica(X: Any, kind: str) -> tuple[Any, int]:
    """Return W and the iterations of FastICA with the same nonlinearity."""
    from sklearn.decomposition import FastICA

    fun = {"super": "logcosh", "sub": "cube"}[kind]
    model = FastICA(fun=fun, whiten="unit-variance", tol=TOLERANCE, max_iter=STEPS, random_state=0)
    model.fit(X)
    return model.components_, model.n_iter_


def by_relative_gradient(X: Any, kind: str) -> tuple[Any, int]:
    """Return W and the steps of `unmix`."""
    layer, n = unmix(X, kind)
    return layer.W, n


METHODS = {
    "relative": by_relative_gradient,
    "picard": by_picard,
    "fastica": by_fastica,
}


def cell(D: int, sources: str, N: int, mixtures: int, **_: Any) -> Line:
    """Return Amari distances, CPU seconds and iterations, by method and conditioning."""
    from threadpoolctl import threadpool_limits

    out: dict[str, Any] = {}
    with threadpool_limits(1):
        for seed in range(mixtures):
            rng = np.random.default_rng([D, seed])
            S = SOURCES[sources](rng, (N, D))
            for condition in (GOOD, BAD):
                A = mixing(rng, D, condition)
                X = S @ A.T
                for name, method in METHODS.items():
                    began = time.process_time()
                    W, n = method(X, sources)
                    seconds = time.process_time() - began
                    kept = out.setdefault(f"{name} {condition:g}", {"amari": [], "s": [], "n": []})
                    kept["amari"].append(amari(W @ A))
                    kept["s"].append(round(seconds, 5))
                    kept["n"].append(int(n))
    return out


def equivariance(D: int, N: int, steps: int, **_: Any) -> Line:
    """Follow either gradient from the same outputs, under worse and worse mixing.

    The start is W_0 inv(M) for the data X M', so that the first outputs are the same. The ordinary
    gradient takes the best of seven rates for each condition.
    """
    rng = np.random.default_rng(0)
    model = rg.activation("identity"), DENSITIES["super"]
    X = SOURCES["super"](rng, (N, D)) @ mixing(rng, D, 3.0).T
    W_0 = rg.init_layers(rng, D, 1, kind="orthogonal")[0].W
    best, _ = unmix(X, "super")
    top = rg.log_likelihood((best,), X, *model).mean
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


def section(store: Store, quick: bool) -> Section:
    """Return the table, the figure, and the claims."""
    lines = [line for key in wanted(quick) if (line := store.find("ica", key)) is not None]
    lacking = tuple(
        f"D = {key['D']}, {WORDS[key['sources']]}: not run yet"
        for key in wanted(quick)
        if store.find("ica", key) is None
    )
    if not lines:
        return Section("", (), lacking)
    rows, ratios, costs, steps = [], [], [], []
    for line in lines:
        a = {k: np.array(line[k]["amari"]) for k in line if " " in k}
        s = {k: median(line[k]["s"]) for k in a}
        n = {k: median(line[k]["n"]) for k in a}
        ours, theirs, bad = a[f"relative {GOOD:g}"], a[f"picard {GOOD:g}"], a[f"relative {BAD:g}"]
        ratio, worse = median(ours / theirs), median(bad / a[f"picard {BAD:g}"])
        ratios += [ratio, worse]
        costs.append(median(bad) / median(ours))
        steps.append(n[f"relative {BAD:g}"] / n[f"relative {GOOD:g}"])
        rows.append([
            WORDS[line["sources"]], line["D"],
            *(f"{1e3 * median(a[f'{m} {GOOD:g}']):.2f}" for m in METHODS),
            f"{1e3 * median(bad):.2f}", f"{ratio:.4f}", f"{worse:.4f}",
            *(f"{1e3 * s[f'{m} {GOOD:g}']:.1f}" for m in METHODS),
            f"{n[f'relative {GOOD:g}']:.0f}, {n[f'relative {BAD:g}']:.0f}",
        ])  # fmt: skip
    first = lines[0]
    text = [
        f"`X = S A'`, {first['N']:,} samples, {first['mixtures']} random mixtures of each size, "
        "A of condition 10, and 1e6. One layer is Infomax ICA with the natural gradient; the base "
        "density is sech for Laplace sources (score -tanh), `exp(-z^4/4)` for uniform ones (score "
        "-z^3). Full batches, exponential step (0.7 and 0.4), from whitening until no element of "
        "xi is above 1e-6. Picard: the same density, `ortho=False`, `tanh` and `cube`. FastICA: "
        "`logcosh` and `cube`, orthogonal. Medians over the mixtures; Amari distances times 1000 "
        "(0 is perfect; what is left is the statistical error of so many samples).",
        "",
        table(
            [
                "sources", "D", "ours", "Picard", "FastICA", "ours, cond 1e6",
                "ours / Picard", "the same, 1e6", "ms ours", "ms Picard", "ms FastICA",
                "steps, 10 and 1e6",
            ],
            rows,
        ),
        "",
        "We stop where Picard does, for it is the same likelihood (we fit the bias, Picard "
        "subtracts the mean: that is the difference). Picard's L-BFGS with a Hessian approximation "
        "needs fewer passes than a first-order step, and FastICA fewer still, at some "
        "accuracy for its constraint. Milliseconds are of one mixture of condition 10.",
    ]  # fmt: skip
    claims = [
        Claim(
            "Amari distance within 2 % of Picard's, median over mixtures, every cell",
            f"ratio at most {max(ratios):.4f}",
            max(ratios) <= 1.02,
        ),
        Claim(
            "condition 1e6 costs nothing: Amari distance and steps as for 10 (medians)",
            f"distance {min(costs):.3f} to {max(costs):.3f}, steps {min(steps):.2f} to "
            f"{max(steps):.2f} times",
            max(costs) < 1.1 and max(steps) < 1.25,
        ),
    ]
    if not quick:
        draw(store, lines)
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


def draw(store: Store, lines: list[Line]) -> None:
    """Draw Amari distance and CPU time against D, by source and method."""
    figure = plots.canvas((10.0, 7.0))
    grid = figure.subplots(2, 2, sharex=True, sharey="row")
    styles = {"relative": (plots.BLUE, "o"), "picard": (plots.ORANGE, "s")}
    styles |= {"fastica": (plots.GREY, "^")}
    names = {"relative": "relative gradient", "picard": "Picard, ortho=False"}
    names |= {"fastica": "FastICA"}
    for column, kind in zip(grid.T, SOURCES, strict=True):
        mine = [line for line in lines if line["sources"] == kind]
        for name, (colour, mark) in styles.items():
            for condition, dash in ((GOOD, "-"), (BAD, ":")):
                for ax, what in zip(column, ("amari", "s"), strict=True):
                    values = [[*line[f"{name} {condition:g}"][what]] for line in mine]
                    x = [line["D"] for line in mine]
                    if what == "s" and condition == BAD:
                        continue
                    label = f"{names[name]}, condition {'10' if condition == GOOD else '1e6'}"
                    face = colour if condition == GOOD else "none"
                    ax.plot(
                        x, np.median(values, axis=1), dash, color=colour, marker=mark, label=label,
                        mfc=face, ms=5 if condition == GOOD else 10,
                    )  # fmt: skip
        plots.labelled(column[0], f"{WORDS[kind]} sources", "", "")
        plots.labelled(column[1], "", "dimension D", "")
        for ax in column:
            ax.set_xscale("log", base=2)
            ax.set_xticks([*SIZES], [str(D) for D in SIZES])
            ax.grid(color="0.92")
    grid[0, 0].set_ylim(bottom=0)
    grid[1, 0].set_yscale("log")
    grid[0, 0].set_ylabel("Amari distance")
    grid[1, 0].set_ylabel("CPU seconds, one thread")
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    figure.savefig(store.figure("ica"))
