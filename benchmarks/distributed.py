"""What a step costs on several ranks: shares of computing, communication and idling; the model.

    python -m benchmarks.distributed [--rounds 9] [--quick]
    python -m benchmarks.distributed --draw      # only the figure and the tables, from the lines

Starts `mpiexec -n 2` with one BLAS thread for each rank. In every round rank 0 takes a step alone
while rank 1 sleeps, then both take the same batch's step together, for each exchange: medians over
rounds, and for the model the fastest. First the gate: the step of both is that of one, to 1e-12,
and the same bits on both.

A rank idles while a message that it waits for has not been posted by all; it communicates while it
posts, and while it waits for what all have posted; the rest is computing. The model of
`relgrad_np.distributed.exchange` is fitted to these seconds, and plans for networks not at hand:
what it says there are projections.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import relgrad_np as rg
from relgrad_np.distributed import train_step as distributed
from relgrad_np.distributed.exchange import EXCHANGES, Machine, choose, cost, work
from relgrad_np.distributed.messages import Messages
from relgrad_np.distributed.ranks import even
from relgrad_np.kernels import choose as implementations
from relgrad_np.runs.plots import canvas
from relgrad_np.runs.style import in_style, label_ends
from tests.programs.kill_ranks import ENVIRONMENT, mpiexec

RESULTS = Path(__file__).parent / "results"
ACT, DENS = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("sech")
HEADLINE = (2048, 256)
CROSSING = (256, (64, 128, 256, 512, 1024, 2048))  # D, and N around the switch-over to sums
GRID = ((64, 16), (64, 1024), (128, 64), (512, 64), (512, 1024), (1024, 128), (1024, 512))
L = 2
PARTS = ("idle", "communication")
HDR = "HDR InfiniBand, 200 Gbit/s (25 GB/s), 1.5 us"
NETWORK = {"bandwidth": 25e9, "latency": 1.5e-6}
CORES = 64  # of a node in the projections


class Timed(Messages):
    """Messages that also know how long it took to post them, and to ask MPI for progress."""

    posting = 0.0

    def _timed(self, function, *args):
        started = time.perf_counter()
        try:
            return function(*args)
        finally:
            self.posting += time.perf_counter() - started

    def gather(self, x, counts):
        """Post, timed."""
        return self._timed(super().gather, x, counts)

    def sum(self, x):
        """Post, timed."""
        return self._timed(super().sum, x)

    def progress(self):
        """Ask, timed."""
        self._timed(super().progress)


def problem(D, N):
    """Return layers near what a fit has, a batch, and the rule."""
    rng = np.random.default_rng(0)
    layers = rg.init_layers(rng, D, L)
    return layers, rng.standard_normal((N, D)), rg.Plain(1e-3)


def sleep_until(comm):
    """Wait for the other rank without keeping a processor busy."""
    request = comm.Ibarrier()
    while not request.Test():
        time.sleep(1e-4)


def one_step(comm, state, X, rule, how):
    """Take a step together; return state, wall seconds, waits and posting seconds of this rank."""
    messages = Timed(comm, False)
    counts = even(len(X), messages.n)
    begin = sum(counts[: messages.rank])
    mine = X[begin : begin + counts[messages.rank]]
    messages.waits = []
    started = time.perf_counter()
    after, _, _ = distributed.train_step(
        state, mine, activation=ACT, density=DENS, rule=rule,
        counts=counts, messages=messages, exchange=how,
    )  # fmt: skip
    ended = time.perf_counter()
    waits = [tuple(wait) for wait in messages.waits]
    return after, (started, ended, messages.posting, waits, messages.sent)


def shares(told):
    """Return seconds of a step, of idling, of communicating: means over ranks, to the end."""
    end = max(t[1] for t in told)
    last = [max(w[0] for w in column) for column in zip(*(t[3] for t in told), strict=True)]
    idle = communication = 0.0
    for _, ended, posting, waits, _ in told:
        idle += end - ended
        communication += posting
        for (_, began, arrived), ready in zip(waits, last, strict=True):
            idle += max(0.0, min(arrived, ready) - began)
            communication += max(0.0, arrived - max(began, ready))
    n = len(told)
    return sum(end - t[0] for t in told) / n, idle / n, communication / n


def rank(rounds, quick):
    """Run on each rank; rank 0 prints JSON lines."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    kernel = implementations.resolve(None, np.zeros(1))
    cases = [(CROSSING[0], N) for N in CROSSING[1]] + list(GRID) + [HEADLINE]
    for D, N in cases[::3] if quick else cases:
        layers, X, rule = problem(D, N)
        state = rg.init_state(layers, rule)
        gate(comm, state, X, rule)
        seconds = {"reference": [], "kernels": [], **{how: [] for how in EXCHANGES}}
        detail = {how: [] for how in EXCHANGES}
        own = state._replace(layers=tuple(rg.Layer(W.copy(), b.copy()) for W, b in layers))
        for i in range(rounds + 1):
            for name, step in (("reference", rg.train_step), ("kernels", kernel)):
                sleep_until(comm)
                if comm.rank == 0:  # the kernels change what they are given, and go on with it
                    given = own if name == "kernels" else state
                    started = time.perf_counter()
                    after, _ = step(given, X, activation=ACT, density=DENS, rule=rule)
                    if i:
                        seconds[name].append(time.perf_counter() - started)
                    own = after if name == "kernels" else own
                sleep_until(comm)
            for how in EXCHANGES:
                comm.Barrier()
                _, mine = one_step(comm, state, X, rule, how)
                told = comm.gather(mine)
                if comm.rank == 0 and i:
                    wall, idle, communication = shares(told)
                    seconds[how].append(wall)
                    detail[how].append((wall, idle, communication, told[0][4]))
        if comm.rank:
            continue
        base = {"D": D, "N": N, "L": L, "dtype": "float64", "rule": "plain", "rounds": rounds}
        for name in ("reference", "kernels"):
            print(json.dumps({**base, "n": 1, "step": name, "seconds": seconds[name]}), flush=True)
        for how in EXCHANGES:
            columns = zip(*detail[how], strict=True)
            wall, idle, communication, sent = (list(column) for column in columns)
            print(
                json.dumps(
                    {**base, "n": comm.size, "step": how, "seconds": wall, "idle": idle,
                     "communication": communication, "sent": sent[-1]}
                ), flush=True,
            )  # fmt: skip
    told = overlap(comm, 10 if quick else 40)
    if comm.rank == 0:
        print(json.dumps({"overlap": told}), flush=True)


def overlap(comm, rounds, N=256, D=1024):
    """Return ms of a gather, of a product, and what is left of the gather after the product.

    Asked: the product is made in four parts, and MPI is asked for progress after each.
    """
    W, rows = np.ones((D, D)), np.ones((N // comm.size, D))
    counts, found = (len(rows),) * comm.size, {}

    def timed(name, function):
        for _ in range(rounds):
            comm.Barrier()
            found.setdefault(name, []).append(1e3 * function())

    def gather(work, questions=0):
        messages = Messages(comm, False)
        pending = messages.gather(rows, counts)
        for part in np.array_split(W, questions or 1, axis=1) if work else ():
            rows @ part
            if questions:
                messages.progress()
        started = time.perf_counter()
        pending.result(rows)
        return time.perf_counter() - started

    def product():
        started = time.perf_counter()
        rows @ W
        return time.perf_counter() - started

    timed("gather alone", lambda: gather(False))
    timed("product alone", product)
    timed("left after the product", lambda: gather(True))
    timed("left after the product, asked", lambda: gather(True, 4))
    return {name: float(np.median(values)) for name, values in found.items()}


def gate(comm, state, X, rule):
    """Stop unless a step together is the step alone, and the same bits on all ranks."""
    truth, _ = rg.train_step(state, X, activation=ACT, density=DENS, rule=rule)
    for how in EXCHANGES:
        after, _ = one_step(comm, state, X, rule, how)
        off = max(
            float(np.max(np.abs(x - y)))
            for a, b in zip(after.layers, truth.layers, strict=True)
            for x, y in zip(a, b, strict=True)
        )
        mine = b"".join(np.asarray(x).tobytes() for layer in after.layers for x in layer)
        if not off < 1e-12 or comm.bcast(mine) != mine:
            sys.__stderr__.write(f"gate: {how} is off by {off}\n")
            comm.Abort(1)


def fit(lines):
    """Return the machine that the model's seconds fit best, in logarithms, outliers held down.

    To the fastest round of each: what else runs on the machine only adds to a time.
    """
    computing, moving = [], []
    for line in lines:
        if line["step"] not in (*EXCHANGES, "reference"):
            continue
        how = "factors" if line["step"] == "reference" else line["step"]
        asked = work(how, rg.Plain(), line["N"], line["D"], L, line["n"])
        best = int(np.argmin(line["seconds"]))
        idle, moved = (line[key][best] if key in line else 0.0 for key in PARTS)
        seconds = line["seconds"][best] - idle - moved
        computing.append((asked.flops, asked.elements, asked.touched, seconds))
        if line["n"] > 1:
            moving.append((asked.sent, asked.transfers, moved))
    flops, elements, memory = 1 / rates(computing, (3e10, 3e7, 3e9))
    bandwidth, transfers = 1 / rates(moving, (1e9, 1e5))
    return Machine(*map(float, (flops, elements, memory, bandwidth)), float(1 / transfers))


def rates(rows, start):
    """Return seconds for each unit of the amounts in the rows, whose last column is seconds."""
    from scipy.optimize import least_squares

    *amounts, seconds = np.array(rows).T
    amounts = np.array(amounts)

    def off(x):
        return np.log((np.exp(x)[:, None] * amounts).sum(axis=0) / seconds)

    return np.exp(least_squares(off, -np.log(start), loss="soft_l1", f_scale=0.2).x)


def switch(machine, D, n, low=2, high=2**24):
    """Return the N from which on the model takes sums."""
    while high - low > 1:
        middle = (low + high) // 2
        if choose(rg.Plain(), middle, D, L, n, machine=machine) == "sums":
            high = middle
        else:
            low = middle
    return high


def measured_switch(lines, D):
    """Return the N at which the measured seconds of sums fall below the others', on a log line."""
    by = {(x["step"], x["N"]): float(np.min(x["seconds"])) for x in lines if x.get("D") == D}
    before = None
    for N in CROSSING[1]:
        if ("sums", N) not in by:
            continue
        gap = np.log(by["sums", N] / min(by["factors", N], by["products", N]))
        if before is not None and before[1] > 0 >= gap:
            share = before[1] / (before[1] - gap)
            return float(np.exp(np.log(before[0]) + share * np.log(N / before[0])))
        before = N, gap
    return None


def report(lines):
    """Return the tables."""
    said, machine = [], fit([line for line in lines if "D" in line])
    info = next((x for x in lines if "machine" in x), {})
    said.append(f"{info.get('machine', '')}; load at the start {info.get('load')}")
    said.append(
        f"fitted: {machine.flops / 1e9:.3g} Gflop/s, {machine.elements / 1e6:.3g} million elements "
        f"a second, {machine.memory / 1e9:.3g} GB/s touched, "
        f"{machine.bandwidth / 1e9:.3g} GB/s sent, {machine.latency * 1e6:.3g} us a transfer"
    )
    said.append(
        "D     N     step       n  ms       fastest  model    compute  communication  idle   "
        "sent / model"
    )
    worst = []
    for line in lines:
        if "D" not in line:
            continue
        wall = np.array(line["seconds"])
        middle, least = float(np.median(wall)), float(np.min(wall))
        head = f"{line['D']:<5} {line['N']:<5} {line['step']:<10} {line['n']}  "
        head += f"{middle * 1e3:<8.3g} {least * 1e3:<8.3g} "
        if line["n"] == 1:
            said.append(head)
            continue
        model = cost(line["step"], rg.Plain(), line["N"], line["D"], L, line["n"], machine=machine)
        idle, moved = (float(np.median(np.array(line[k]) / wall)) for k in PARTS)
        worst.append(abs(np.log(model.seconds / least)))
        said.append(
            f"{head}{model.seconds * 1e3:<8.3g} {1 - idle - moved:<8.1%} {moved:<14.1%} "
            f"{idle:<6.1%} {line['sent'] / model.sent:.4f}"
        )
    said.append(
        f"model against the fastest rounds: a factor {np.exp(np.median(worst)):.2f} (median), "
        f"{np.exp(max(worst)):.2f} (worst)"
    )
    for line in lines:
        for name, value in line.get("overlap", {}).items():
            said.append(f"{name}: {value:.2f} ms")
    D = CROSSING[0]
    said.append(
        f"switch-over to sums at D = {D}, n = 2: measured N = {measured_switch(lines, D) or 0:.0f}"
        f", model N = {switch(machine, D, 2)}"
    )
    return "\n".join(said)


@in_style
def draw(lines, path):
    """Draw: measured and model; where sums win, and where scaling ends: projections."""
    machine = fit(lines)
    node = Machine(
        CORES * machine.flops, CORES * machine.elements, CORES * machine.memory, **NETWORK
    )
    figure = canvas((16.0, 5.0))
    left, middle, right = figure.subplots(1, 3)
    colours = dict(zip(EXCHANGES, ("C0", "C4", "C3"), strict=True))
    D, N = CROSSING[0], CROSSING[1]
    Ns = np.geomspace(min(N), max(N), 60).astype(int)
    for how in EXCHANGES:
        seconds = [cost(how, rg.Plain(), int(n), D, L, 2, machine=machine).seconds for n in Ns]
        left.plot(Ns, 1e3 * np.array(seconds), "-", color=colours[how])
    for how in EXCHANGES:
        points = [(x["N"], 1e3 * np.min(x["seconds"])) for x in lines
                  if x.get("D") == D and x["step"] == how]  # fmt: skip
        left.plot(*zip(*points, strict=True), "o", color=colours[how], ms=6)
    left.axvline(switch(machine, D, 2), color="0.6", ls=":")
    left.set(xscale="log", yscale="log", xlabel="N, samples in the batch", ylabel="ms a step")
    left.set_title(f"Measured (dots) and model: D = {D}, two ranks", loc="left")
    Ds = np.geomspace(64, 16384, 25).astype(int)
    ranks = (1024, 64, 8)
    for n, style, off in zip(ranks, (":", "--", "-"), (1.1, 0.7, 0.75), strict=True):
        where = [switch(node, int(d), n, low=n - 1) for d in Ds]
        middle.plot(Ds, where, style, color=colours["sums"])
        middle.text(Ds[0], where[0] * off, f"{n:,} ranks", color=colours["sums"])
    middle.set(xscale="log", yscale="log", xlabel="D", ylabel="N, samples in the batch")
    middle.set_title("Projection: above the line sums are faster", loc="left")
    counts = [2**i for i in range(11)]
    sizes = ((4096, 16384), (1024, 4096), (4096, 1024), (16384, 16384))
    for d, n in sizes:
        usable = [k for k in counts if k <= n]
        best = {k: choose(rg.Plain(), n, d, L, k, machine=node) for k in usable}
        times = [cost(best[k], rg.Plain(), n, d, L, k, machine=node).seconds for k in usable]
        speed = times[0] / np.array(times)
        (curve,) = right.plot(usable, speed, "-")
        top = int(np.argmax(speed))
        right.plot(usable[top], speed[top], "v", color=curve.get_color(), ms=7)
    right.plot(counts, counts, color="0.85", lw=1, zorder=0)
    right.set(xscale="log", yscale="log", ylim=(0.9, 12), xlim=(0.9, 1e5))
    right.set(xlabel="ranks, one node each", ylabel="times faster than one rank")
    right.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    right.set_title("Projection: where scaling ends (triangles)", loc="left")
    for axes in (left, right):
        axes.minorticks_off()
    left.set_xlim(right=3 * max(N))
    figure.supxlabel(f"Projections: {HDR}; {CORES} cores a node", x=0.99, ha="right", fontsize=10)
    figure.canvas.draw()
    label_ends(left, list(EXCHANGES))
    right_lines = right.get_lines()
    label_curves = [f"D = {d:,}, N = {n:,}" for d, n in sizes]
    for line, name in zip(right_lines[::2], label_curves, strict=False):
        x, y = line.get_xdata()[-1], line.get_ydata()[-1]
        right.text(1.25 * x, y, name, color=line.get_color(), va="center", fontsize=10)
    figure.savefig(path)


def main() -> int:
    """Measure in one job, keep the lines, report, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--rank", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "distributed.jsonl")
    options = parser.parse_args()
    if options.rank:
        rank(options.rounds, options.quick)
        return 0
    if not options.draw:
        if isinstance(command := mpiexec(), str):
            print(f"no MPI: {command}", file=sys.stderr)
            return 2
        info = {
            "machine": f"{platform.machine()}, {os.cpu_count()} processors",
            "load": os.getloadavg()[0],
            "numpy": np.__version__,
            "python": platform.python_version(),
        }
        arguments = ["--rank", "--rounds", str(options.rounds), *["--quick"] * options.quick]
        module = [sys.executable, "-m", "benchmarks.distributed"]
        done = subprocess.run(
            [*command, "-n", "2", *module, *arguments],
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            return 1
        info["load at the end"] = os.getloadavg()[0]
        options.out.write_text(json.dumps(info) + "\n" + done.stdout)
    lines = [json.loads(line) for line in options.out.read_text().splitlines()]
    print(report(lines))
    draw([line for line in lines if "D" in line], options.out.with_suffix(".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
