"""D = 20,000: a training step in the memory of its weights.

    python -m benchmarks.large [--D 20000] [--N 100] [--steps 3]

From the identity, L = 2, float32: prints the seconds of each step and the peak memory against the
weights, and keeps them as a JSON line. Exit status 1 above 1.15 times the weights + 0.5 GB.
"""

import argparse
import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

import relgrad_np as rg
from relgrad_np.kernels.cpu.step import train_step

RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Step, measure, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--D", type=int, default=20_000)
    parser.add_argument("--N", type=int, default=100)
    parser.add_argument("--steps", type=int, default=3)
    options = parser.parse_args()
    D, N = options.D, options.N
    model = {"activation": rg.activation("smooth_leaky_relu"), "density": rg.density("normal")}
    rule = rg.Plain(1e-3)
    small = rg.State((rg.Layer(np.eye(8, dtype="f4"), np.zeros(8, "f4")),) * 2, None, None, 0)
    train_step(small, np.ones((3, 8), "f4"), rule=rule, **model)  # compile
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, D), dtype=np.float32)
    layers = tuple(rg.Layer(np.eye(D, dtype="f4"), np.zeros(D, "f4")) for _ in range(2))
    tracked = rg.Tracked(np.zeros(2), np.ones(2), None)  # of the identity
    state, seconds = rg.State(layers, None, tracked, 0), []
    del layers
    for _ in range(options.steps):
        begin = time.perf_counter()
        state, info = train_step(state, X, rule=rule, **model)
        seconds.append(time.perf_counter() - begin)
        assert not info.rejected
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    weights = 2 * 4 * (D * D + D)
    record = {
        "D": D, "N": N, "L": 2, "dtype": "float32", "seconds": seconds, "peak_bytes": peak,
        "weight_bytes": weights, "peak_over_weights": peak / weights,
        "allowed_bytes": 1.15 * weights + 0.5e9, "threads": os.environ.get("OPENBLAS_NUM_THREADS"),
        "openblas_core": os.environ.get("OPENBLAS_CORETYPE"), "load": os.getloadavg(),
        "log_likelihood": float(info.log_likelihood),
    }  # fmt: skip
    with (RESULTS / "large.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    print(json.dumps(record, indent=1))
    return int(peak > record["allowed_bytes"])


if __name__ == "__main__":
    sys.exit(main())
