"""Everything there is to show on a GPU, by one command, in under nine minutes.

    python -m benchmarks --device cuda [--quick] [--out benchmarks/results/cuda.jsonl]
    python -m benchmarks --device cuda --rehearse    # no GPU: on the double of the tests, small

Parts, each a process of its own, so that memory and crashes stay apart: the tests marked gpu;
agreement of CPU and GPU after a step; fits of 1,000 steps; the largest D; copies to the device;
the table of times, every contender gated first. Times are of bursts of steps after a warm-up,
batches on the device before: by events for CuPy and torch, by the clock around one compiled scan
for JAX, which spares it the launches. float32, no TF32 anywhere. Each line goes to the file as it
is found. Exit status 1 if what must agree does not.
"""

import argparse
import contextlib
import datetime
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"
ALPHA, ETA = 0.3, 1e-3
BUDGET = 525.0  # seconds in all
PARTS = {  # and the most that each may take
    "facts": 30, "agreement": 60, "fits": 70, "large": 80, "transfers": 25, "table": 215,
    "tests": 180,
}  # fmt: skip
OURS = ("ours-plain", "ours-untracked", "ours-recipe", "ours-adam", "gemm-floor")
CUBIC = ("jax-autodiff", "torch-autograd", "cusolver-inverse")
PEERS = ("jax-published", "jax-plain", "torch-plain", "torch-backprop")
CELLS = ((8192, 128), (4096, 1024), (1024, 128), (8192, 1024), (4096, 128), (256, 100), (784, 10))
SMALL = ((12, 5), (10, 16))  # D, N of a rehearsal
MOVE = {
    "jax-autodiff": "ordinary", "torch-autograd": "ordinary", "cusolver-inverse": "ordinary",
    "torch-backprop": "no determinant", "ours-adam": "adam",
}  # fmt: skip


class Place:
    """Where it runs: on the device, or in a rehearsal."""

    def __init__(self, rehearse: bool, seconds: float, quick: bool) -> None:
        self.rehearse, self.quick = rehearse, quick
        self.end = time.monotonic() + seconds
        self.device = "cpu" if rehearse else "cuda"

    def left(self) -> float:
        """Return the seconds left."""
        return self.end - time.monotonic()


def factory(name: str, place: Place) -> Callable[..., Any] | None:
    """Return what makes this contender; None where its library is missing."""
    from . import in_cuda

    library, _, kind = name.partition("-")
    if library == "torch":
        if util.find_spec("torch") is None:
            return None
        kind = "relative" if kind == "plain" else kind
        return in_cuda.torch_contender(kind, place.device)
    if library == "jax":
        if util.find_spec("jax") is None:
            return None
        from . import in_jax

        return getattr(in_jax, kind)
    own = {
        "ours-plain": in_cuda.plain, "ours-untracked": in_cuda.untracked,
        "ours-recipe": in_cuda.recipe, "ours-adam": in_cuda.adam, "gemm-floor": in_cuda.floor,
        "cusolver-inverse": in_cuda.cusolver_inverse,
    }  # fmt: skip
    return own[name]


def gated(name: str, make: Any) -> str | None:
    """Return what is wrong with this contender's step, None if it is the package's."""
    import relgrad_np as rg
    from relgrad_np.oracle.cases import generic

    from . import contenders

    if name in ("gemm-floor", "ours-recipe"):  # no step; the reference's own, which tests compare
        return None
    case = generic(1, N=20, D=6, L=3, density_name="normal", dtype="float32")
    batches, layers = np.split(case.X, 5), case.layers
    options = {"alpha": ALPHA, "learning_rate": ETA}
    contender = make(layers, **options)
    for X in batches:
        contender.step(contender.to_device(X))
    move = MOVE.get(name, "relative")
    if move == "adam":
        extra = {"bias": "augmented", "clock": 1}
        truth = contenders.expected_adam(layers, batches, **options, **extra)
    else:
        act, dens, truth = rg.activation("smooth_leaky_relu"), rg.density("normal"), layers
        for X in batches:
            tape = rg.forward(truth, X, act)
            R = contenders.MOVES[move](truth, tape, rg.backprop(truth, tape, act, dens))
            truth = tuple(
                rg.Layer(W + ETA * r.W, b + ETA * r.b) for (W, b), r in zip(truth, R, strict=True)
            )
    for k, (got, want, old) in enumerate(zip(contender.layers(), truth, layers, strict=True)):
        for part, a, c, o in zip("Wb", got, want, old, strict=True):
            error, size = float(np.abs(a - c).max()), float(np.abs(c - o).max())
            if not error <= 2e-3 * size:
                return f"{part} of layer {k} is off by {error:.3g} where it moves by {size:.3g}"
    return None


def burst(name: str, contender: Any, batches: Any, count: int, place: Place) -> dict[str, Any]:
    """Take `count` steps; return seconds of one by the clock, and by events where there are any."""
    begin: Any
    if contender.sweep is not None:
        X, rows = batches
        wanted = np.tile(rows, (-(-count // len(rows)), 1))[:count]
        contender.warm(X, wanted)  # compiles, once for each count
        begin = time.perf_counter()
        contender.sweep(X, wanted)
        return {"clock": (time.perf_counter() - begin) / count}
    events = _events(name, place)
    _synchronize(name, place)
    begin = time.perf_counter()
    if events:
        events[0].record()
    for i in range(count):
        contender.step(batches[i % len(batches)])
    if events:
        events[1].record()
    _synchronize(name, place)
    found = {"clock": (time.perf_counter() - begin) / count}
    if events:
        found["events"] = _elapsed(name, events) / 1e3 / count
    return found


def _events(name: str, place: Place) -> Any:
    if name.startswith("torch"):
        if place.rehearse:
            return None
        import torch

        return [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    import cupy

    return [cupy.cuda.Event() for _ in range(2)]


def _elapsed(name: str, events: Any) -> float:
    """Return milliseconds between two events."""
    if name.startswith("torch"):
        return float(events[0].elapsed_time(events[1]))
    import cupy

    return float(cupy.cuda.get_elapsed_time(*events))


def _synchronize(name: str, place: Place) -> None:
    if name.startswith("torch"):
        if not place.rehearse:
            import torch

            torch.cuda.synchronize()
        return
    import cupy

    cupy.cuda.Device().synchronize()


def _free() -> None:
    """Give back what the libraries keep for later."""
    import gc

    gc.collect()
    import cupy

    cupy.get_default_memory_pool().free_all_blocks()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.empty_cache()
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


def start(D: int, L: int = 2, seed: int = 0) -> Any:
    """Layers near the identity, float32: regular, and cheap to make at any D."""
    from .worker import start as near_identity

    return near_identity(D, L, seed)


def table(place: Place) -> Iterator[dict[str, Any]]:
    """Time a step of every contender in every cell, in turns, each gated first."""
    made, failed = {}, []
    for name in (*OURS, *PEERS, *CUBIC):
        make = factory(name, place)
        if make is None:
            continue
        try:
            wrong = gated(name, make)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if wrong is None:
            made[name] = make
        else:
            failed.append(name)
        yield {"part": "gate", "contender": name, "ok": wrong is None, "wrong": wrong}
    cells = SMALL if place.rehearse else CELLS[:3] if place.quick else CELLS
    for i, (D, N) in enumerate(cells):
        share = place.left() / (len(cells) - i)
        if place.left() < 10:
            yield {"part": "time", "D": D, "N": N, "skipped": "no time left"}
            continue
        yield from _cell(place, made, D, N, time.monotonic() + share)


def _cell(place: Place, made: Any, D: int, N: int, end: float) -> Iterator[dict[str, Any]]:
    layers, rng = start(D), np.random.default_rng(1)
    batches = [rng.standard_normal((N, D), dtype=np.float32) for _ in range(4)]
    ready: dict[str, Any] = {}
    for name, make in made.items():
        if place.rehearse and name in CUBIC[1:]:
            continue
        try:
            contender = make(layers, alpha=ALPHA, learning_rate=ETA)
            if contender.sweep is not None:
                X = contender.to_device(np.concatenate(batches))
                there: Any = X, np.arange(4 * N).reshape(4, N)
            else:
                there = [contender.to_device(X) for X in batches]
            count = 2
            if not place.rehearse and contender.sweep is not None:  # one scan to compile, no more
                count = 32 if D <= 1024 else 8
            elif not place.rehearse:
                first = [burst(name, contender, there, 2, place)["clock"] for _ in range(2)]
                count = max(2, min(200, round(0.05 / min(first))))
            burst(name, contender, there, count, place)
            ready[name] = contender, there, count
        except Exception as error:
            line = {"part": "time", "D": D, "N": N, "contender": name}
            yield line | {"error": f"{type(error).__name__}: {str(error)[:300]}"}
    times: dict[str, list[dict[str, Any]]] = {name: [] for name in ready}
    rounds = 0
    while rounds < (2 if place.rehearse else 9) and (rounds < 2 or time.monotonic() < end):
        for name, (contender, there, count) in ready.items():
            times[name].append(burst(name, contender, there, count, place))
        rounds += 1
    for name, found in times.items():
        own = [x.get("events", x["clock"]) for x in found]
        yield {
            "part": "time", "D": D, "N": N, "contender": name, "median": float(np.median(own)),
            "times": own, "clock": [x["clock"] for x in found], "burst": ready[name][2],
            "by": "events" if "events" in found[0] else "clock",
        }  # fmt: skip
    ready.clear()
    _free()


def facts(place: Place) -> Iterator[dict[str, Any]]:
    """Name the device, its driver, and every version."""
    import cupy

    versions: dict[str, str | None] = {}
    for name in ("numpy", "cupy-cuda13x", "torch", "jax", "array-api-compat", "numba"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    runtime = cupy.cuda.runtime
    yield {
        "part": "facts", "device": runtime.getDeviceProperties(0)["name"].decode(),
        "driver": runtime.driverGetVersion(), "runtime": runtime.runtimeGetVersion(),
        "memory": list(cupy.cuda.Device().mem_info), "versions": versions,
        "python": platform.python_version(), "TF32": os.environ.get("CUPY_TF32", "off"),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }  # fmt: skip


def agreement(place: Place) -> Iterator[dict[str, Any]]:
    """Compare a step on the GPU with the reference on the CPU: the error in units of eps S."""
    import cupy

    import relgrad_np as rg
    from relgrad_np.kernels.cuda import step as gpu

    shapes = [(5, 12, 2)] if place.rehearse else [(100, 784, 2), (128, 2048, 2), (300, 200, 3)]
    for rule in (rg.Plain(0.03), rg.Exponential(0.03), rg.Recipe(), rg.Adam(1e-3)):
        for dtype in ("float32", "float64"):
            for N, D, L in shapes:
                rng = np.random.default_rng(0)
                layers = tuple(
                    rg.Layer(W.astype(dtype), 0.1 * rng.standard_normal(D).astype(dtype))
                    for W, _ in start(D, L)
                )
                X = rng.standard_normal((N, D)).astype(dtype)
                model: dict[str, Any] = {
                    "activation": rg.activation("smooth_leaky_relu"),
                    "density": rg.density("logistic"), "rule": rule,
                }  # fmt: skip
                state = rg.init_state(layers, rule)._replace(t=20)
                want, told = rg.train_step(state, X, **model)
                there = tuple(rg.Layer(cupy.array(W), cupy.array(b)) for W, b in layers)
                state = rg.init_state(there, rule)._replace(t=20)
                got, _ = gpu.train_step(state, cupy.asarray(X), **model)
                S, worst = 0.0, 0.0
                for k, (layer, new) in enumerate(zip(got.layers, want.layers, strict=True)):
                    eta = float(told.eta[k])
                    size = (1 + eta) * np.abs(new.W)
                    if rule.kind != "additive":
                        f = told.directions[k]
                        size = size + eta * np.abs(f.Delta).T @ np.abs(f.A)
                    S = max(S, float(size.max()))
                    for a, c in zip(layer, new, strict=True):
                        worst = max(worst, float(np.abs(a.get().astype(float) - c).max()))
                units = worst / (float(np.finfo(dtype).eps) * S)
                yield {
                    "part": "agreement", "rule": type(rule).__name__, "dtype": dtype, "N": N,
                    "D": D, "L": L, "eps_S": units, "ok": units <= 256,
                }  # fmt: skip


def fits(place: Place) -> Iterator[dict[str, Any]]:
    """Fit 1,000 steps in float32 on both: log-likelihoods agree to 1e-4, relative."""
    import cupy

    import relgrad_np as rg

    rng, epochs = np.random.default_rng(0), 2 if place.rehearse else 50
    D = 6 if place.rehearse else 64
    X = (rng.standard_normal((2000, D)) @ rng.standard_normal((D, D)) + 1).astype("float32")
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("logistic")
    layers = rg.init_layers(rng, D, 2, kind="whiten", X=X, activation=act)
    for rule in ("plain", "recipe", "adam"):
        found = []
        for to in (np.array, cupy.array):
            begin, own = time.perf_counter(), np.random.default_rng(1)
            result = rg.fit(
                tuple(rg.Layer(to(W), to(b)) for W, b in layers), to(X), act, dens, rule=rule,
                batch_size=100, epochs=epochs, rng=own, X_val=to(X),
            )  # fmt: skip
            found.append((result.history[-1].validation, time.perf_counter() - begin))
        off = abs(found[1][0] / found[0][0] - 1)
        yield {
            "part": "fit", "rule": rule, "steps": 20 * epochs, "cpu": found[0][0],
            "gpu": found[1][0], "relative": off, "ok": off <= 1e-4,
            "seconds": [x[1] for x in found],
        }  # fmt: skip


def large(place: Place) -> Iterator[dict[str, Any]]:
    """Find the largest D: two layers, float32, plain step from the identity; peak memory."""
    import cupy

    import relgrad_np as rg
    from relgrad_np.kernels.cuda.step import train_step

    device, pool = cupy.cuda.Device(), cupy.get_default_memory_pool()
    sizes = (16, 24) if place.rehearse else (20_000, 50_000, 100_000, 120_000, 130_000)
    N = 5 if place.rehearse else 100
    model: dict[str, Any] = {
        "activation": rg.activation("smooth_leaky_relu"), "density": rg.density("normal"),
        "rule": rg.Plain(1e-3),
    }  # fmt: skip
    for D in sizes:
        weights = 2 * 4 * (D * D + D)
        line: dict[str, Any] = {"part": "large", "D": D, "N": N, "weight_bytes": weights}
        state = X = None
        pool.free_all_blocks()
        try:
            before = device.mem_info[0]
            layers = tuple(
                rg.Layer(cupy.eye(D, dtype="float32"), cupy.zeros(D, "float32")) for _ in range(2)
            )
            tracked = rg.Tracked(cupy.zeros(2), cupy.ones(2), None)  # of the identity
            state = rg.State(layers, None, tracked, 0)
            del layers, tracked
            X = cupy.asarray(np.random.default_rng(0).standard_normal((N, D)).astype("float32"))
            seconds = []
            for _ in range(4):
                device.synchronize()
                begin = time.perf_counter()
                state, info = train_step(state, X, **model)
                device.synchronize()
                seconds.append(time.perf_counter() - begin)
            ok = not bool(info.rejected) and math.isfinite(float(info.log_likelihood))
            used = before - device.mem_info[0]  # all of the device's, libraries and pool
            line |= {
                "seconds": seconds, "pool_bytes": pool.total_bytes(), "used_bytes": used,
                "used_over_weights": used / weights, "ok": ok,
                "log_likelihood": float(info.log_likelihood),
            }  # fmt: skip
        except Exception as error:
            line |= {"error": f"{type(error).__name__}: {str(error)[:200]}"}
        yield line
        del state, X
        if "error" in line or place.left() < 15:
            return


def transfers(place: Place) -> Iterator[dict[str, Any]]:
    """Time copies to the device, pageable and pinned; and a fit on staged rows beside the same."""
    import cupy

    import relgrad_np as rg
    from relgrad_np.fitting.batches import Staged

    N, D = (40, 8) if place.rehearse else (20_000, 2048)
    X = np.random.default_rng(0).standard_normal((N, D), dtype=np.float32)
    like = cupy.zeros(1, "float32")
    staged = Staged(X, like)
    ways = {"pageable": lambda: cupy.asarray(X), "pinned": lambda: staged.rows(slice(None))}
    for name, send in ways.items():
        seconds = []
        for _ in range(3):
            cupy.cuda.Device().synchronize()
            begin = time.perf_counter()
            send()
            cupy.cuda.Device().synchronize()
            seconds.append(time.perf_counter() - begin)
        rate = X.nbytes / min(seconds)
        yield {"part": "copy", "way": name, "bytes": X.nbytes, "seconds": seconds, "rate": rate}
    act, dens = rg.activation("smooth_leaky_relu"), rg.density("normal")
    for name, data in (("there", cupy.asarray(X)), ("staged", Staged(X, like))):
        layers = tuple(rg.Layer(cupy.array(W), cupy.array(b)) for W, b in start(D))
        begin = time.perf_counter()
        rg.fit(
            layers, data, act, dens, rule="plain", learning_rate=1e-3, undo=None, average=None,
            batch_size=max(4, N // 20), epochs=2, rng=np.random.default_rng(0),
        )  # fmt: skip
        yield {"part": "staged fit", "rows": name, "seconds": time.perf_counter() - begin}


def tests(place: Place) -> Iterator[dict[str, Any]]:
    """Run the tests marked gpu, the whole law suite on CuPy and torch CUDA among them."""
    if place.rehearse:
        yield {"part": "tests", "ok": True, "summary": "not in a rehearsal"}
        return
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests", "-W", "ignore"]
    command += ["-p", "no:cacheprovider"]
    options = os.environ | {"RELGRAD_PROFILE": "device"}
    begin = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=options, capture_output=True, text=True,
            timeout=max(20, place.left()),
        )  # fmt: skip
        ok, text = done.returncode == 0, done.stdout + done.stderr
    except subprocess.TimeoutExpired as late:
        ok, text = False, f"{(late.stdout or b'').decode()[-500:]} out of time"
    lines = text.strip().splitlines()
    failed = [line[:200] for line in lines if line.startswith(("FAILED", "ERROR"))]
    yield {
        "part": "tests", "ok": ok, "summary": lines[-1] if lines else "", "failed": failed[:40],
        "seconds": time.perf_counter() - begin,
    }  # fmt: skip


def run_part(name: str, place: Place, write: Callable[[Any], None]) -> None:
    """Run a part here, writing each line as it is found; an error is a line, too."""
    try:
        for line in globals()[name](place):
            write(line)
    except Exception as error:
        write({"part": name, "ok": False, "error": f"{type(error).__name__}: {str(error)[:500]}"})


def verdicts(lines: list[dict[str, Any]]) -> list[tuple[str, str, bool | None]]:
    """Return target, what was reached, and whether that will do; None: nothing to judge."""
    times = {(x["D"], x["N"], x["contender"]): x for x in lines if "median" in x}
    cells = sorted({key[:2] for key in times})

    def ratio(top: str, bottom: str, cell: tuple[int, int]) -> float | None:
        one, two = times.get((*cell, top)), times.get((*cell, bottom))
        if one is None or two is None:
            return None
        n = min(len(one["times"]), len(two["times"]))
        return float(np.median(np.array(one["times"][:n]) / np.array(two["times"][:n])))

    def all_of(part: str) -> bool | None:
        found = [x["ok"] for x in lines if x["part"] == part and "ok" in x]
        return all(found) if found else None

    units = [x["eps_S"] for x in lines if "eps_S" in x]
    offs = [x["relative"] for x in lines if "relative" in x]
    rows: list[tuple[str, str, bool | None]] = [
        ("tests marked gpu", "".join(x.get("summary", "") for x in lines if x["part"] == "tests"),
         all_of("tests")),
        ("gates", ", ".join(x["contender"] for x in lines if x["part"] == "gate" and not x["ok"])
         or "all passed", all_of("gate")),
        ("a step, CPU and GPU: at most 256 eps S", f"{max(units, default=math.nan):.1f}",
         all_of("agreement")),
        ("1,000 steps: at most 1e-4", f"{max(offs, default=math.nan):.2g}", all_of("fit")),
    ]  # fmt: skip
    for cell in [c for c in cells if c[0] >= 4096 and c[1] == 1024]:
        for name in ("ours-plain", "ours-untracked"):
            if (value := ratio(name, "gemm-floor", cell)) is not None:
                target = f"{name} / GEMM floor at {cell}: at most 1.25"
                rows.append((target, f"{value:.2f}", value <= 1.25))
    peers = [
        value
        for cell in cells
        for peer in ("jax-published", "torch-plain")
        if (value := ratio(peer, "ours-plain", cell)) is not None
    ]
    if peers:
        mean = math.exp(float(np.mean(np.log(peers))))
        least = min(peers)
        rows.append(("published algorithm / ours, least: at least 1", f"{least:.2f}", least >= 1))
        rows.append(("the same, geometric mean: at least 1.6", f"{mean:.2f}", mean >= 1.6))
    ours = [v for cell in cells if (v := ratio("jax-plain", "ours-plain", cell)) is not None]
    if ours:  # no target: JAX with our products
        mean = math.exp(float(np.mean(np.log(ours))))
        said = f"{min(ours):.2f}, geometric mean {mean:.2f}"
        rows.append(("with our products, JAX / ours, least", said, None))
    cubic = [
        value
        for peer in ("jax-autodiff", "torch-autograd")
        if (value := ratio(peer, "ours-plain", (8192, 128))) is not None
    ]
    if cubic:
        target, least = "autodiff + slogdet / ours at (8192, 128): at least 20", min(cubic)
        rows.append((target, f"{least:.1f}", least >= 20))
    largest = [x for x in lines if x["part"] == "large" and x.get("ok")]
    if largest:
        top = largest[-1]
        what = f"D = {top['D']}, {min(top['seconds']):.3f} s a step, {top['used_over_weights']:.3f}"
        rows.append(
            ("largest D, of two layers: 100,000 in at most 1.1 x the weights", what,
             top["D"] >= 100_000 and top["used_over_weights"] <= 1.1)
        )  # fmt: skip
    return rows


def report(lines: list[dict[str, Any]]) -> str:
    """Return the run as text: times, then what must be shown."""
    times = [x for x in lines if "median" in x]
    sizes = list(dict.fromkeys((x["D"], x["N"]) for x in times))
    text = ["Milliseconds for one step, float32, L = 2: D, N", ""]
    text.append(" " * 18 + "".join(f"{f'{D}, {N}':>12}" for D, N in sizes))
    for name in dict.fromkeys(x["contender"] for x in times):
        own = {(x["D"], x["N"]): x["median"] for x in times if x["contender"] == name}
        row = (f"{1e3 * own[s]:12.3f}" if s in own else " " * 12 for s in sizes)
        text.append(f"{name:18}" + "".join(row))
    text.append("")
    for target, reached, good in verdicts(lines):
        mark = {True: "yes", False: "NO", None: "-"}[good]
        text.append(f"{mark:>12}  {target}: {reached}")
    return "\n".join(text)


@contextlib.contextmanager
def surroundings(rehearse: bool) -> Iterator[None]:
    """Set what the libraries read as they are loaded; in a rehearsal, the double of CuPy."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")  # no TF32
    if not rehearse:
        yield
        return
    from tests.doubles.fake_cupy import installed

    with installed():
        yield


def main(arguments: list[str] | None = None) -> int:
    """Run every part, keep every line, print the table; 1 if something that must agree does not."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks --device cuda", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three cells, under three minutes")
    parser.add_argument("--rehearse", action="store_true", help="without a GPU; nothing is timed")
    parser.add_argument("--parts", default=",".join(PARTS), help="which, with commas")
    parser.add_argument("--out", type=Path, help="JSON lines, appended")
    parser.add_argument("--seconds", type=float, default=BUDGET, help="in all")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    asked = options.parts.split(",")
    if unknown := [name for name in asked if name not in PARTS]:
        parser.error(f"unknown part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    out = options.out or (None if options.rehearse else RESULTS / "cuda.jsonl")
    lines: list[dict[str, Any]] = []

    def write(line: dict[str, Any]) -> None:
        lines.append(line)
        if out is not None:
            with out.open("a") as file:
                file.write(json.dumps(line) + "\n")
        text = json.dumps(line) if options.inside else _short(line, options.rehearse)
        print(text, flush=True)

    if options.rehearse or options.inside:
        with surroundings(options.rehearse):
            for name in asked:
                run_part(name, Place(options.rehearse, options.seconds, options.quick), write)
    else:
        end = time.monotonic() + options.seconds
        asked = ["facts", *(name for name in asked if name != "facts")]
        for i, name in enumerate(asked):
            later = sum(0.5 * PARTS[x] for x in asked[i + 1 :])
            limit = max(15.0, min(1.3 * PARTS[name], end - time.monotonic() - later))
            for line in _in_process(name, limit, options.quick):
                if name == "facts" and "error" in line:
                    print(f"no CUDA device answers CuPy: {line['error']}", file=sys.stderr)
                    print(
                        "without one: python -m benchmarks --device cuda --rehearse",
                        file=sys.stderr,
                    )
                    return 2
                write(line)
    if options.inside:
        return 0
    if options.rehearse:
        print(f"\nA rehearsal of {len(lines)} lines: no device, so nothing here is a figure.")
        return int(any(x.get("ok") is False for x in lines))
    print("\n" + report(lines))
    if out is not None:
        print(f"\nEvery line: {out}")
    return int(any(x.get("ok") is False for x in lines))


def _in_process(name: str, limit: float, quick: bool) -> Iterator[dict[str, Any]]:
    """Run a part in a process of its own, and pass its lines on as they come."""
    command = [sys.executable, "-m", "benchmarks.cuda", "--inside", "--parts", name]
    command += ["--seconds", str(limit - 10), "--out", os.devnull, *(["--quick"] if quick else [])]
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    options = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    process = subprocess.Popen(
        command, cwd=ROOT, env=options, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    import threading

    clock = threading.Timer(limit, process.kill)
    clock.start()
    other: list[str] = []
    try:
        for text in process.stdout or ():
            if re.match(r'\{"part"', text):
                yield json.loads(text)
            else:
                other.append(text)
        status = process.wait()
    finally:
        clock.cancel()
    if status != 0:
        said = "".join(other)[-500:]
        why = "out of time" if status < 0 else f"status {status}"
        yield {"part": name, "ok": False, "error": f"{why}: {said}"}


TIMED = ("median", "seconds", "rate", "pool_bytes", "used_bytes", "used_over_weights")


def _short(line: dict[str, Any], rehearsal: bool = False) -> str:
    hidden = ("times", "clock", "versions", *(TIMED if rehearsal else ()))
    shown = {k: v for k, v in line.items() if k not in hidden}
    words = (f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in shown.items())
    return "  ".join(words)


if __name__ == "__main__":
    sys.exit(main())
