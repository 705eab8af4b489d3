"""What tracking, charts and noise cost beside the bare plain step: ratios from one run.

    python -m benchmarks.step_cost [--D 2048] [--N 100] [--rounds 15]

All contenders take the same batches in turn, interleaved; medians and quartiles of the ratios of
each round to the bare step of that round. L = 2, float32, smooth leaky ReLU, normal base. First
each contender's step is compared with its definition on a small problem.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np

import relgrad_np as rg

RESULTS = Path(__file__).parent / "results"


def contenders(layers):
    """Return the rule and the first state of each: bare means that nothing is tracked."""
    bare = rg.Plain(1e-3)
    recipe = rg.Recipe(kind="plain")
    tracked = rg.track(layers, inverse=True)
    without = tracked._replace(inverse=None)
    return {
        "bare plain step": (bare, rg.State(layers, None, None, 0)),
        "plain, log|det| tracked": (bare, rg.State(layers, None, without, 0)),
        "plain, inverse tracked too": (bare, rg.State(layers, None, tracked, 0)),
        "exponential, untracked": (rg.Exponential(1e-3), rg.State(layers, None, None, 0)),
        "exponential, log|det| tracked": (rg.Exponential(1e-3), rg.State(layers, None, without, 0)),
        "recipe, plain, tracked": (recipe, rg.init_state(layers, recipe, tracked=without)),
        "recipe, exponential, tracked": (
            rg.Recipe(),
            rg.init_state(layers, rg.Recipe(), tracked=without),
        ),
    }


def gate() -> None:
    """Each contender's tracked log|det W| after five steps is that of slogdet."""
    rng = np.random.default_rng(0)
    model = {"activation": rg.activation("smooth_leaky_relu"), "density": rg.density("normal")}
    for name, (rule, state) in contenders(rg.init_layers(rng, 12, 2)).items():
        for _ in range(5):
            state, info = rg.train_step(state, rng.standard_normal((5, 12)), rule=rule, **model)
            if bool(info.rejected):
                raise SystemExit(f"gate: {name} rejected a step")
        if state.tracked is not None:
            off = abs(float(state.tracked.logdet.sum() - rg.track(state.layers).logdet.sum()))
            if not off < 1e-12:
                raise SystemExit(f"gate: {name} is off by {off} nats")


def main() -> None:
    """Time, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--D", type=int, default=2048)
    parser.add_argument("--N", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    gate()
    rng = np.random.default_rng(0)
    model = {"activation": rg.activation("smooth_leaky_relu"), "density": rg.density("normal")}
    layers = rg.init_layers(rng, options.D, 2, dtype="float32")
    rows = contenders(layers)
    times: dict[str, list[float]] = {name: [] for name in rows}
    for turn in range(options.rounds + 2):  # two rounds to warm up
        X = rng.standard_normal((options.N, options.D)).astype("float32")
        for name, (rule, state) in rows.items():
            begin = time.perf_counter()
            state, _ = rg.train_step(state, X, rule=rule, **model)
            took = time.perf_counter() - begin
            rows[name] = (rule, state)
            if turn >= 2:
                times[name].append(took)
    bare = np.array(times["bare plain step"])
    print(f"D = {options.D}, N = {options.N}, L = 2, float32; {platform.machine()}")
    record = {"D": options.D, "N": options.N, "L": 2, "dtype": "float32", "ratios": {}}
    for name, values in times.items():
        low, middle, high = np.percentile(np.array(values) / bare, [25, 50, 75])
        record["ratios"][name] = [round(float(x), 3) for x in (low, middle, high)]
        milliseconds = 1e3 * np.median(values)
        print(f"{name:32s} {milliseconds:8.1f} ms   x {middle:.2f}  ({low:.2f} .. {high:.2f})")
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "step-cost.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main()
