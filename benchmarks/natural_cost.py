"""What a step of the natural gradient costs beside the BLAS floor of its dense algebra.

    python -m benchmarks.natural_cost [--N 2000] [--rounds 9] [--steps 10]

The floor is ?syrk of the scores (P, N), P = L (D^2 + D), and ?potrf of F (P, P), float64, through
the same BLAS. Every round times the floor, single steps, and the steps of a `fit` with its
bookkeeping, so that a ratio compares times close to each other; medians and quartiles of the
ratios. Each of these steps renews F. All of it runs on one processor. First the compiled step is
compared with the reference, whose F and g are compared with the definition, on a small problem.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpotrf

import relgrad_np as rg
from relgrad_np.core.network import Layers
from relgrad_np.kernels.choose import resolve
from relgrad_np.rules.natural import Natural, mean_scores, scores

RESULTS = Path(__file__).parent / "results"
CELLS = ((8, 6), (32, 6), (48, 2), (3, 20))  # L, D
MODEL = {"activation": rg.activation("smooth_leaky_relu"), "density": rg.density("normal")}


def problem(L: int, D: int, N: int, batches: int) -> tuple[Layers, np.ndarray]:
    """Return layers and rows that they were begun from."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((batches * N, D)) @ rng.standard_normal((D, D)) + 1.0
    act = MODEL["activation"]
    return rg.init_layers(rng, D, L, kind="principal", X=X[: 10 * N], activation=act), X


def copied(layers: Layers) -> Layers:
    """Return layers that a step may change."""
    return tuple(rg.Layer(W.copy(), b.copy()) for W, b in layers)


def gate() -> None:
    """Compare F and g with their definition, and ten compiled steps with the reference's."""
    rng = np.random.default_rng(0)
    U, Delta = rng.standard_normal((2, 3, 700, 4))
    s = scores(U, Delta)
    g, F = mean_scores(U, Delta)
    off = max(abs(g - s.mean(axis=1)).max(), abs(F - np.tril(s @ s.T / 700)).max())
    layers, X = problem(3, 4, 300, 10)
    rule, states = Natural(), []
    for step in (rg.train_step, resolve("numba")):
        state = rg.init_state(copied(layers), rule)
        for batch in np.split(X, 10):
            state, info = step(state, batch, rule=rule, **MODEL)
            if bool(info.rejected):
                raise SystemExit("gate: a step was rejected")
        states.append(state)
    for (W, b), (W_1, b_1) in zip(*(state.layers for state in states), strict=True):
        off = max(off, abs(W - W_1).max(), abs(b - b_1).max())
    if not off < 1e-9:
        raise SystemExit(f"gate: off by {off}")


def floor(s: np.ndarray, F: np.ndarray, out: np.ndarray) -> float:
    """Return the seconds of ?syrk and ?potrf; s (N, P), F and out (P, P), in Fortran's order."""
    A = F.copy(order="F")
    begin = time.perf_counter()
    dsyrk(0.05 / len(s), s, beta=0.95, c=out, trans=1, overwrite_c=1)
    dpotrf(A, overwrite_a=1)
    return time.perf_counter() - begin


def measured(L: int, D: int, N: int, rounds: int, steps: int) -> dict[str, list[float]]:
    """Return seconds of the floor, and of one step by itself and inside `fit`, for each round."""
    layers, X = problem(L, D, N, steps)
    P, rng = L * D * (D + 1), np.random.default_rng(1)
    s, out = np.asfortranarray(rng.standard_normal((N, P))), np.zeros((P, P), order="F")
    F = s.T @ s / N + 3e-3 * np.eye(P)
    rule, step = Natural(every=1), resolve("numba")
    state = rg.init_state(copied(layers), rule)
    times: dict[str, list[float]] = {"floor": [], "step": [], "fit": []}
    for turn in range(rounds + 1):  # one round to warm up
        found = {"floor": [], "step": []}
        for batch in np.split(X, steps):
            found["floor"].append(floor(s, F, out))
            begin = time.perf_counter()
            state, info = step(state, batch, rule=rule, **MODEL)
            found["step"].append(time.perf_counter() - begin)
            if bool(info.rejected):
                raise SystemExit("a step was rejected")
        result = rg.fit(
            layers, X, *MODEL.values(), rule=rule, rng=rng, batch_size=N, epochs=1, compare=False,
            implementation="numba",
        )  # fmt: skip
        if turn > 0:
            for name, values in found.items():
                times[name].append(float(np.median(values)))
            times["fit"].append(result.seconds / steps)
    return times


def main() -> None:
    """Check, time, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--N", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    gate()
    print(f"N = {options.N}, float64, one processor; {platform.machine()}")
    for L, D in CELLS:
        times = measured(L, D, options.N, options.rounds, options.steps)
        own = np.array(times["floor"])
        record = {"L": L, "D": D, "P": L * D * (D + 1), "N": options.N, "ratios": {}}
        record["floor_ms"] = round(1e3 * float(np.median(own)), 2)
        for name in ("step", "fit"):
            low, middle, high = np.percentile(np.array(times[name]) / own, [25, 50, 75])
            record["ratios"][name] = [round(float(x), 3) for x in (low, middle, high)]
        shown = ", ".join(
            f"{name} x {middle:.2f} ({low:.2f} .. {high:.2f})"
            for name, (low, middle, high) in record["ratios"].items()
        )
        print(f"L = {L:2d}, D = {D:2d}: floor {record['floor_ms']:7.2f} ms, {shown}", flush=True)
        RESULTS.mkdir(exist_ok=True)
        with (RESULTS / "natural.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
