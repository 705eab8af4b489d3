"""What a step costs inside `fit`, beside its compiled work alone and beside steps taken one by one.

    taskset -c 0 python -m benchmarks.inside_fit [--D 6,16,64] [--rules plain,recipe,adam]

N = 100, L = 2, smooth leaky ReLU, sech base. First the gate: a fit must leave the same bits whether
steps are taken many in a call or one by one. Then, in turns, a time per step of each:

alone    the compiled function, on arrays that are prepared, as many steps as an epoch has
fit      `fit` as it is by default: guard, average, the ends of epochs; between its first epoch's
         end and its last one's
checked  the same with validation rows, a tenth as many as there are rows
bare     `train_step` called from Python, one batch after the other, with no fit around it
single   `fit` with one step in each call

Times are CPU seconds of the one thread that works: others on the machine disturb them less.
Medians over rounds of the ratios to `alone` of the same round, with quartiles. JSON lines in
`benchmarks/results/inside-fit.jsonl`, and a table of the run beside them.
"""

import argparse
import itertools
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import relgrad_np as rg
from relgrad_np.fitting import advance
from relgrad_np.kernels.cpu import adam, whole_step
from relgrad_np.kernels.cpu import step as cpu
from relgrad_np.kernels.plans import Plan

RESULTS = Path(__file__).parent / "results"
N, L = 100, 2
MODEL = {
    "activation": rg.activation("smooth_leaky_relu"),
    "density": rg.density("sech"),
}


def rows(D: int, dtype: str, batches: int) -> Any:
    """Rows of a mixture that is not hard: the steps are those of an ordinary fit."""
    rng = np.random.default_rng(0)
    return (rng.laplace(size=(N * batches, D)) @ rng.standard_normal((D, D))).astype(dtype)


def fitted(X: Any, rule: str, epochs: int, **options: Any) -> rg.FitResult:
    """Fit, by the kernels."""
    rng = np.random.default_rng(1)
    layers = rg.init_layers(
        rng, X.shape[1], L, dtype=str(X.dtype), kind="whiten", X=X, activation=MODEL["activation"]
    )
    return rg.fit(
        layers, X, *MODEL.values(), rule=rule, rng=rng, batch_size=N, epochs=epochs,
        implementation="numba", compare=False, **options,
    )  # fmt: skip


def singly(*args: Any, **options: Any) -> rg.FitResult:
    """Fit, with one step in each call."""
    with mock.patch.object(advance, "several", return_value=None):
        return fitted(*args, **options)


def gate(X: Any, rule: str) -> None:
    """SystemExit unless both ways leave the same bits."""
    many, one = (f(X, rule, 2, X_val=X[:N]) for f in (fitted, singly))
    for a, b in zip(many.layers + many.best_layers, one.layers + one.best_layers, strict=True):
        if not (np.array_equal(a.W, b.W) and np.array_equal(a.b, b.b)):
            raise SystemExit(
                f"gate: {rule}, D = {X.shape[1]}: other layers by many steps in a call"
            )


def settled(X: Any, rule: Any) -> Any:
    """Return a state whose rule has seen all rows, after a pass over them."""
    result = fitted(X, rule, 1)
    layers = tuple(rg.Layer(W.copy(), b.copy()) for W, b in result.layers)
    state = rg.init_state(layers, rule)
    return state._replace(rule_state=result.rule_state, t=1)


def alone(X: Any, rule: Any, state: Any) -> float:
    """Seconds of a step in the compiled function."""
    spent = []
    module = adam if isinstance(rule, rg.Adam) else whole_step
    compiled = module.take_steps

    def timed(*args: Any) -> Any:
        begun = time.thread_time()
        found = compiled(*args)
        spent.append(time.thread_time() - begun)
        return found

    stack = X.reshape(-1, N, X.shape[1])
    plan = Plan(np.full(len(stack), rule.learning_rate / 10))
    with mock.patch.object(module, "take_steps", timed):
        taken = cpu.take_steps(copied(state), stack, plan, rule=rule, **MODEL)
    assert taken is not None
    return spent[0] / taken.n


def bare(X: Any, rule: Any, state: Any) -> float:
    """Seconds of a step by `train_step` from Python."""
    state, rule = copied(state), type(rule)(rule.learning_rate / 10)
    stack = X.reshape(-1, N, X.shape[1])
    begun = time.thread_time()
    for batch in stack:
        state, _ = cpu.train_step(state, batch, rule=rule, **MODEL)
    return (time.thread_time() - begun) / len(stack)


def copied(state: Any) -> Any:
    """Return the state with arrays of its own."""
    layers = tuple(rg.Layer(W.copy(), b.copy()) for W, b in state.layers)
    return state._replace(layers=layers)


def per_step(fit: Any, *args: Any, **options: Any) -> float:
    """Seconds of a step of a fit from its first epoch's end to its last one's."""
    marks = []
    fit(
        *args,
        callbacks=[lambda record, state: marks.append((time.thread_time(), record.t))],
        **options,
    )
    (first, t), (last, T) = marks[0], marks[-1]
    return (last - first) / (T - t)


def measure(D: int, name: str, dtype: str, epochs: int, batches: int, rounds: int) -> Any:
    """Gate, then time each in turns; the times (contender: one for each round)."""
    X = rows(D, dtype, batches)
    gate(X, name)
    rule = {"recipe": rg.Recipe(window=10**9), "plain": rg.Plain(), "adam": rg.Adam()}[name]
    state, held = settled(X, rule), X[: len(X) // 10]
    ways = {
        "alone": lambda: alone(X, rule, state),
        "fit": lambda: per_step(fitted, X, name, epochs),
        "checked": lambda: per_step(fitted, X, name, epochs, X_val=held),
        "bare": lambda: bare(X, rule, state),
        "single": lambda: per_step(singly, X, name, max(2, epochs // 3)),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, took in ways.items():
            times[way].append(took())
    return times


def table(lines: list[dict[str, Any]]) -> str:
    """Return the lines of a run as a table of Markdown."""
    one = lines[0]
    text = [
        f"N = {one['N']}, L = {one['L']}, {one['dtype']}, {one['batches']} batches an epoch, "
        f"{one['machine']}, load {one['load'][0]:.1f}: CPU time of a step alone in microseconds, "
        f"and ratios to it, medians of {one['rounds']} rounds.",
        "",
        "| D | rule | alone | `fit` | `fit` with validation | bare steps from Python | `fit`, one "
        "step a call |",
        "|---:|---|---:|---:|---:|---:|---:|",
    ]
    for x in lines:
        ratios = " | ".join(f"{x[way][1]:.2f}" for way in ("fit", "checked", "bare", "single"))
        text.append(f"| {x['D']} | {x['rule']} | {1e6 * x['alone']:.0f} | {ratios} |")
    return "\n".join(text) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Gate, time, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--D", default="6,16,64")
    parser.add_argument("--rules", default="plain,recipe,adam")
    parser.add_argument("--dtype", default="float64")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batches", type=int, default=400, help="of an epoch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "inside-fit.jsonl")
    options = parser.parse_args(arguments)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lines = []
    print("microseconds of a step alone; the others as a ratio to it, median (quartiles)")
    for D, rule in itertools.product(map(int, options.D.split(",")), options.rules.split(",")):
        times = measure(D, rule, options.dtype, options.epochs, options.batches, options.rounds)
        line: dict[str, Any] = {
            "D": D, "N": N, "L": L, "rule": rule, "dtype": options.dtype, "rounds": options.rounds,
            "batches": options.batches, "epochs": options.epochs, "machine": platform.machine(),
            "load": [round(x, 2) for x in os.getloadavg()],
            "alone": float(np.median(times["alone"])),
        }  # fmt: skip
        text = f"D = {D:3d}  {rule:8s} {1e6 * line['alone']:8.1f} us"
        for way, values in times.items():
            if way != "alone":
                ratios = np.array(values) / np.array(times["alone"])
                line[way] = [round(float(x), 3) for x in np.percentile(ratios, [25, 50, 75])]
                text += f"   {way} {line[way][1]:.2f} ({line[way][0]:.2f}, {line[way][2]:.2f})"
        print(text, flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")
        lines.append(line)
    options.out.with_suffix(".md").write_text(table(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
