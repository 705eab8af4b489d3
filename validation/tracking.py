"""What is tracked against slogdet and inverse, over long runs, never refreshed and audited.

    python -m validation.tracking [--quick]

Three runs: the digits (D = 64, float64, 10,000 steps), MNIST if at hand, else mixed Laplace
sources (D = 784, float32, 5,000 steps), and 1,000 random steps without a cap, whose plain ones
change the sign of det W at random. Prints a table, writes validation/results/tracking.json.
"""

import argparse
import json
from pathlib import Path

import numpy as np

import relgrad_np as rg
from relgrad_np.datasets import load

RESULTS = Path(__file__).parent / "results"
REFRESH = 250  # steps between audits: an epoch of MNIST in batches of 200


def rows(name: str, D: int, dtype: str) -> tuple[str, np.ndarray]:
    """Return the training rows of a set, or stand-ins of the same width."""
    try:
        return name, load(name).train.astype(dtype)
    except FileNotFoundError:
        rng = np.random.default_rng(0)
        X = rng.laplace(size=(20_000, D)) @ rng.standard_normal((D, D)).T / np.sqrt(D)
        return f"mixed sources instead of {name}", X.astype(dtype)


def long_run(name, D, dtype, kind, steps, batch):
    """Two layers by the recipe from a Gaussianising start; drift now and the worst on the way."""
    name, X = rows(name, D, dtype)
    rng = np.random.default_rng(1)
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("normal")
    layers = rg.init_layers(rng, D, 2, kind="gaussianize", X=X[:20_000], activation=act)
    state = rg.init_state(layers, rg.Recipe(kind=kind), inverse=True)
    audited, refreshed, worst_error, worst_V = state.tracked, 0, 0.0, 0.0
    for t in range(steps):
        batch_rows = X[rng.integers(0, len(X), batch)]
        rule = rg.Recipe(0.4 * (1 - t / steps) + 1e-3, kind=kind)
        state, info = rg.train_step(state, batch_rows, activation=act, density=dens, rule=rule)
        audited = rg.track_step(audited, info.factors, info.eta, kind=kind)
        if (t + 1) % REFRESH == 0:
            worst_V = max(worst_V, inverse_error(audited, state.layers))
            found = rg.audit(audited, state.layers)
            audited, refreshed = found.tracked, refreshed + found.refreshed
            worst_error = max(worst_error, abs(rg.audit(state.tracked, state.layers).drift))
    exact = rg.track(state.layers)
    return {
        "data": name, "D": D, "dtype": dtype, "kind": kind, "steps": steps, "N": batch,
        "drift": float(state.tracked.logdet.sum() - exact.logdet.sum()),
        "worst drift": worst_error,
        "signs right": bool((state.tracked.sign == exact.sign).all()),
        "|V W - I|, never refreshed": inverse_error(state.tracked, state.layers),
        f"|V W - I|, audited every {REFRESH}": worst_V,
        "refreshed": refreshed,
        "condition": max(float(np.linalg.cond(W)) for W, _ in state.layers),
    }  # fmt: skip


def inverse_error(tracked, layers):
    """Return the largest element of |V W - I|, in float64."""
    pairs = zip(tracked.inverse, layers, strict=True)
    return max(
        float(np.abs(V.astype(float) @ W.astype(float) - np.eye(len(W))).max())
        for V, (W, _) in pairs
    )


def random_signs(kind, steps, D=12, N=5):
    """Random factors and sizes without a cap: how often the sign changed, and was right."""
    rng = np.random.default_rng(2)
    right = flips = 0
    for start in range(0, steps, 10):  # afresh every ten steps: W would leave its condition
        layers = (rg.Layer(rng.standard_normal((D, D)), rng.standard_normal(D)),)
        tracked = rg.track(layers)
        for _ in range(start, min(start + 10, steps)):
            f = rg.Factors(rng.standard_normal((N, D)), rng.standard_normal((N, D)), None, None)
            W, b = layers[0]
            f = f._replace(A=f.Y @ W, u=f.Y @ b + 1)
            eta = float(rng.uniform(0.02, 0.3))
            before = tracked.sign[0]
            tracked = rg.track_step(tracked, (f,), eta, kind=kind)
            layers = rg.apply_step(layers, (f,), eta, kind=kind)
            flips += int(before != tracked.sign[0])
            sign, logdet = np.linalg.slogdet(layers[0].W)
            right += int(sign == tracked.sign[0] and abs(logdet - tracked.logdet[0]) < 1e-6)
    return {"kind": kind, "steps": steps, "sign changes": flips, "right": right}


def main() -> None:
    """Run all; exit status 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the steps")
    share = 10 if parser.parse_args().quick else 1
    results, good = [], True
    for kind in ("plain", "exponential"):
        for name, D, dtype, steps, batch, allowed in (
            ("digits", 64, "float64", 10_000, 50, 1e-9),
            ("mnist", 784, "float32", 5_000, 200, 0.05),
        ):
            result = long_run(name, D, dtype, kind, steps // share, batch)
            good &= result["worst drift"] <= allowed and result["signs right"]
            good &= result[f"|V W - I|, audited every {REFRESH}"] <= 1e-3
            results.append(result)
            print(json.dumps(result), flush=True)
    for kind in ("plain", "exponential"):
        results.append(random_signs(kind, 1000))
        good &= results[-1]["right"] == 1000
        print(json.dumps(results[-1]), flush=True)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "tracking.json").write_text(json.dumps(results, indent=1) + "\n")
    print("all within the claims" if good else "NOT within the claims")
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
