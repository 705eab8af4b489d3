"""What whole fits take, beside their bare steps and beside compiled JAX.

    python -m benchmarks --cells fit [--rounds 5] [--rows digits moons ...] [--steps 500]

Two tables. In one, each part of the fits that the package's own settings ask for: start, compiling,
steps, the ends of epochs, average and undo; see `benchmarks.fit_parts`. In the other the cells of
the table of steps (L = 2, float32, plain step): the published algorithm in compiled JAX and our
step, bare and inside a loop over shuffled rows: JAX's as one `lax.scan` an epoch, ours inside `fit`
without the average and with `fit`'s defaults (average, undo, validation each epoch). One process
for each library, in turns, pinned to one processor; ratios are of CPU seconds.
"""

import json
import warnings
from typing import Any

import numpy as np

from . import fit_report
from .worker import ALPHA, ETA, start

EPOCHS = 5  # that the steps of the second table are; at a large D one of them is enough
CELLS = tuple((D, N) for D in (64, 256, 784, 2048) for N in (10, 100))
LEAN = {"average": None, "compare": False}  # what `fit` can leave out, beside validation
KINDS = ("jax bare", "jax loop", "ours bare", "ours fit", "ours defaults")


def case(D: int, N: int, steps: int, seed: int) -> tuple[Any, Any, Any]:
    """Return layers, the training rows of one epoch of so many steps, and validation rows."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((steps * N, D), dtype=np.float32)
    X_val = rng.standard_normal((max(1, len(X) // 10), D), dtype=np.float32)
    return start(D, 2, seed), X, X_val


def timed_steps(
    kind: str, D: int, N: int, steps: int, epochs: int, seed: int
) -> tuple[float, float]:
    """Return CPU seconds and seconds of so many steps an epoch, after as many that warm up.

    A worker's process calls this: it imports the library of the kind, and keeps what is made for a
    cell until the next one.
    """
    key = kind, D, N, steps, epochs, seed
    if key not in MADE:
        if any(known[1:] != key[1:] for known in MADE):
            MADE.clear()
        MADE[key] = MAKERS[kind](*case(D, N, steps, seed), N, epochs)
        MADE[key]()
    from .fit_parts import timed

    return timed(MADE[key])[0]


MADE: dict[tuple[Any, ...], Any] = {}


def jax_runner(layers: Any) -> Any:
    """Return the published algorithm in compiled JAX."""
    from .contenders import make

    return make("jax-published", layers, alpha=ALPHA, learning_rate=ETA)


def bare(runner: Any, X: Any, N: int, epochs: int) -> Any:
    """Return what takes as many steps as these epochs have, on batches made before."""
    batches = [np.ascontiguousarray(part) for part in np.split(X, len(X) // N)]

    def run() -> None:
        for _ in range(epochs):
            for batch in batches:
                runner.step(batch)

    return run


def jax_loop(layers: Any, X: Any, X_val: Any, N: int, epochs: int) -> Any:
    """Return what takes them in JAX on shuffled rows, an epoch in one `lax.scan`."""
    runner, rng = jax_runner(layers), np.random.default_rng(0)
    on_device = runner.to_device(X)

    def run() -> None:
        for _ in range(epochs):
            runner.sweep(on_device, rng.permutation(len(X)).reshape(-1, N))

    return run


def own_bare(layers: Any, X: Any, X_val: Any, N: int, epochs: int) -> Any:
    """Return what takes our plain steps."""
    from .in_kernels import plain

    return bare(plain(layers, alpha=ALPHA, learning_rate=ETA), X, N, epochs)


def own_fit(layers: Any, X: Any, X_val: Any, N: int, epochs: int, **options: Any) -> Any:
    """Return what fits by our plain steps; with no options: with the defaults of `fit`."""
    import relgrad_np as rg

    act, dens = rg.activation("smooth_leaky_relu", alpha=ALPHA), rg.density("normal")
    given = {"X_val": X_val, "rule": rg.Plain(ETA), "schedule": "constant", "batch_size": N}
    given |= {"epochs": epochs, "implementation": "numba"}

    def run() -> None:
        rng = np.random.default_rng(0)
        with warnings.catch_warnings():  # such a fit is too short to get anywhere
            warnings.simplefilter("ignore", rg.FitWarning)
            warnings.simplefilter("ignore", rg.NotConvergedWarning)
            rg.fit(layers, X, act, dens, rng=rng, **(given | options))

    return run


MAKERS = {
    "jax bare": lambda layers, X, X_val, N, epochs: bare(jax_runner(layers), X, N, epochs),
    "jax loop": jax_loop,
    "ours bare": own_bare,
    "ours fit": lambda layers, X, X_val, *sizes: own_fit(layers, X, None, *sizes, **LEAN),
    "ours defaults": own_fit,
}


def step_lines(processes: Any, rounds: int, steps: int, seed: int, keep: Any) -> None:
    """Time the second table; `keep` takes a line for each cell and kind: seconds of a step."""
    for D, N in CELLS:
        each, epochs = max(1, steps // EPOCHS), EPOCHS if D <= 784 else 1
        taken: dict[str, list[list[float]]] = {}
        for _ in range(rounds):
            for kind in KINDS:
                process = processes.get("jax" if kind.startswith("jax") else "kernels")
                if process is not None:
                    name = "benchmarks.fits:timed_steps"
                    pair = process.ask("call", name, kind, D, N, each, epochs, seed)
                    taken.setdefault(kind, []).append([x / each / epochs for x in pair])
        for kind, pairs in taken.items():
            cpu, wall = np.transpose(pairs).tolist()
            line = {"table": "steps", "D": D, "N": N, "kind": kind, "steps": each * epochs}
            keep(line | {"cpu": cpu, "wall": wall})


def main(options: Any) -> int:
    """Time both tables, keep, report."""
    from .fit_parts import compiling, rows
    from .run import RESULTS, Process, core_of_this_machine, environment

    core = core_of_this_machine() if options.core is None else options.core
    facts = environment(options.threads, core) | {"run": "fit"}
    out = options.out or RESULTS / f"fit-{options.threads or 'all'}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    names = options.rows if options.rows is not None else list(rows())
    wanted = ["kernels", "jax"] if options.steps and fit_report.installed("jax") else ["kernels"]
    processes = {library: Process(library, options.threads) for library in wanted}
    rounds, compiled = options.rounds or 5, {}
    with out.open("w") as file:

        def keep(line: dict[str, Any]) -> None:
            print(json.dumps(facts | line), file=file, flush=True)

        try:
            if options.steps:
                step_lines(processes, rounds, options.steps, options.seed, keep)
            for name in names:
                ask = "benchmarks.fit_parts:parts"
                try:
                    line = processes["kernels"].ask("call", ask, name, rounds, options.seconds)
                except RuntimeError as error:
                    if "FileNotFoundError" not in str(error):
                        raise
                    print(f"{name}: no such data here")
                    continue
                key = line["rule"], line["dtype"], line["L"] > 1
                if key not in compiled:
                    compiled[key] = compiling(name)
                keep({"table": "parts", **line, "compiling": compiled[key]})
        finally:
            for process in processes.values():
                process.process.terminate()
    print(fit_report.report(out))
    return 0
