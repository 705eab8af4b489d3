"""Ordinary against relative gradient: likelihood against steps and against time.

All rules take the reference `train_step` (NumPy), so that what differs is the formula. Each has
the best of a grid of learning rates, judged by where it ends; the clock, CPU seconds
of one thread, runs in steps only.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

import relgrad_np as rg
from relgrad_np.rules.base import State
from relgrad_np.runs import plots
from relgrad_np.runs.style import in_style, label_ends

from .fitting import SETS, missing
from .report import Claim, Section, table
from .store import Line, Store


@dataclass(frozen=True)
class Ordinary:
    """Gradient ascent, W+ = W + eta G_W; with `adam`, Adam on G."""

    learning_rate: float = 0.01
    adam: bool = False
    kind: ClassVar[str] = "additive"
    tracks: ClassVar[bool] = False

    def start(self, layers: Any) -> Any:
        """Return the moments of Adam, which are 0; nothing without it."""
        zeros = tuple(rg.Layer(np.zeros_like(W), np.zeros_like(b)) for W, b in layers)
        return (zeros, zeros) if self.adam else ()

    def propose(self, state: State, tape: Any, deltas: Any) -> rg.Move:
        """Return what a rule proposes; see `relgrad_np.Rule`."""
        G, t = rg.ordinary_gradient(state.layers, tape, deltas), state.t + 1
        eta = (np.asarray(self.learning_rate, G[0].W.dtype),) * len(G)
        if not self.adam:
            return rg.Move(G, eta, eta, ())
        made = [[], [], []]  # directions, and both moments, of each layer
        for g, m, v in zip(G, *state.rule_state, strict=True):
            m = rg.Layer(*(0.9 * old + 0.1 * d for old, d in zip(m, g, strict=True)))
            v = rg.Layer(*(0.999 * old + 0.001 * d * d for old, d in zip(v, g, strict=True)))
            hats = ((x / (1 - 0.9**t), y / (1 - 0.999**t)) for x, y in zip(m, v, strict=True))
            made[0].append(rg.Layer(*(x / (np.sqrt(y) + 1e-8) for x, y in hats)))
            made[1].append(m)
            made[2].append(v)
        directions, *moments = map(tuple, made)
        return rg.Move(directions, eta, eta, tuple(moments))


RULES: dict[str, Any] = {
    "ordinary": Ordinary(),
    "ordinary, Adam": Ordinary(adam=True),
    "relative, plain": rg.Plain(),
    "relative, exponential": rg.Exponential(),
    "relative, scalar-adaptive": rg.Scalar(),
    "relative, Adam": rg.Adam(),
    "relative, recipe": rg.Recipe(),
}
RATES: dict[str, dict[str, tuple[float, ...]]] = {  # by data, which differ in D and start
    "digits": {
        "ordinary": (0.01, 0.03, 0.1, 0.3),
        "ordinary, Adam": (0.003, 0.01, 0.03),
        "relative, plain": (0.01, 0.03, 0.1, 0.3),
        "relative, exponential": (0.01, 0.03, 0.1, 0.3),
        "relative, scalar-adaptive": (0.03, 0.1, 0.3),
        "relative, Adam": (0.003, 0.01, 0.03),
        "relative, recipe": (0.13, 0.4, 1.2),
    },
    "mnist": {
        "ordinary": (1e-6, 1e-5, 1e-4, 1e-3, 1e-2),
        "ordinary, Adam": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        "relative, plain": (0.03, 0.1, 0.3, 1.0),
        "relative, exponential": (0.03, 0.1, 0.3, 1.0),
        "relative, scalar-adaptive": (0.03, 0.1, 0.3, 1.0),
        "relative, Adam": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3),
        "relative, recipe": (0.13, 0.4, 1.2, 3.6),
    },
}
STYLES = {
    "ordinary": (plots.ORANGE, "-"),
    "ordinary, Adam": ("#E69F00", "--"),
    "relative, plain": (plots.BLUE, "-"),
    "relative, exponential": ("#56B4E9", "--"),
    "relative, scalar-adaptive": ("#009E73", "-"),
    "relative, Adam": ("#CC79A7", "--"),
    "relative, recipe": ("black", "-"),
}
RUNS = {  # data: rows, (N, steps) of full batch and minibatch, start
    "digits": (1257, ((None, 300), (100, 1000)), "orthogonal"),
    "mnist": (2000, ((None, 30), (100, 200)), "whiten"),
}
REPORTS = 25


def wanted(quick: bool) -> Iterator[Line]:
    """Yield the runs: data, batch, rule."""
    for name in ("digits",) if quick else RUNS:
        rows, batches, start = RUNS[name]
        for N, steps in batches:
            for rule, made in RULES.items():
                yield {
                    "data": name, "rows": rows, "N": N or rows, "start": start, "rule": rule,
                    "steps": steps // (5 if quick else 1), "rates": list(RATES[name][rule]),
                    "is": repr(made),
                }  # fmt: skip


def follow(
    data: str, rows: int, N: int, start: str, rule: str, steps: int, rates: list[float], **_: Any
) -> Line:
    """Return the curve of the best rate: steps, seconds, log-likelihood of all the rows."""
    X = np.ascontiguousarray(SETS(data, 0).train[:rows])
    model = rg.activation("smooth_leaky_relu", alpha=0.3), rg.density("normal")
    layers = rg.init_layers(
        np.random.default_rng(0), X.shape[1], 2, kind=start, X=X, activation=model[0]
    )
    curves = {}
    with threadpool_limits(1):
        for rate in rates:
            made = replace(RULES[rule], learning_rate=rate)
            curves[rate] = curve(layers, X, model, made, N, steps)
    ends = {rate: c["log p"][-1] for rate, c in curves.items()}
    best = max(ends, key=lambda rate: -math.inf if ends[rate] is None else ends[rate])
    return {"rate": best, "ends": [ends[rate] for rate in rates], **curves[best]}


def curve(layers: Any, X: Any, model: Any, rule: Any, N: int, steps: int) -> Line:
    """Follow one rule, and report about 25 times; None where it is not finite."""
    rng, state = np.random.default_rng(0), rg.init_state(layers, rule)
    marks = {0, *np.geomspace(1, steps, REPORTS).round().astype(int).tolist()}
    at, seconds, values, spent = [], [], [], 0.0
    order = rng.permutation(len(X))
    for t in range(steps + 1):
        if t in marks:
            with np.errstate(all="ignore"):
                value = float(rg.log_likelihood(state.layers, X, *model).mean)
            at.append(t)
            seconds.append(round(spent, 5))
            values.append(value if math.isfinite(value) else None)
            if values[-1] is None:
                break
        if len(order) < N:
            order = rng.permutation(len(X))
        batch, order = X if len(X) == N else X[order[:N]], order if len(X) == N else order[N:]
        began = time.process_time()
        try:
            with np.errstate(all="ignore"):
                state, _ = rg.train_step(
                    state, batch, activation=model[0], density=model[1], rule=rule
                )
        except np.linalg.LinAlgError:
            values[-1] = None
            break
        spent += time.process_time() - began
    return {"t": at, "seconds": seconds, "log p": values}


def run(store: Store, quick: bool) -> None:
    """Run what has not run, of the data at hand."""
    for key in wanted(quick):
        if missing(key["data"]) is None:
            store.run("gradients", key, lambda key=key: follow(**key))


def section(store: Store, quick: bool) -> Section:
    """Return tables and figures, by data."""
    cells: dict[tuple[str, int], list[Line]] = {}
    todo: dict[tuple[str, int], list[str]] = {}
    for key in wanted(quick):
        line = store.find("gradients", key)
        if line is None:
            todo.setdefault((key["data"], key["N"]), []).append(key["rule"])
        else:
            cells.setdefault((key["data"], key["N"]), []).append(line)
    lacking = [
        f"{data}, N = {N}: {missing(data) or 'not run yet: ' + '; '.join(rules)}"
        for (data, N), rules in todo.items()
    ]
    text = [
        "Two layers, smooth leaky ReLU of slope 0.3, normal base, float64. The digits (D = 64) "
        "from orthogonal layers, 2,000 rows of MNIST (D = 784, logit space) from whitening; full "
        "batches and batches of 100. Log-likelihood of all the training rows. Every rule has the "
        "best of its grid of constant rates, so each curve is the best it does in so many steps; "
        "the rates that were tried stand in `results/gradients.jsonl`. *edge*: the smallest or the "
        "largest that was tried.",
        "",
    ]
    claims = []
    for (data, N), lines in cells.items():
        full = RUNS[data][0] == N
        what = f"{data}, {'full batch' if full else f'batches of {N}'}"
        by_rule = {line["rule"]: line for line in lines}
        rows = []
        ordinary = by_rule.get("ordinary")
        for rule, line in by_rule.items():
            end, start = line["log p"][-1], line["log p"][0]
            steps, seconds = line["t"][-1] or 1, line["seconds"][-1]
            rows.append([
                rule, _edge(line), "diverged" if end is None else f"{end:.1f}",
                f"{1e3 * seconds / steps:.1f}", passed(line, ordinary), f"{start:.1f}",
            ])  # fmt: skip
        text += [
            f"**{what}**, {lines[0]['steps']} steps:",
            "",
            table(
                ["rule", "rate", "end", "ms a step", "passes the ordinary one's end", "start"],
                rows,
            ),
            "",
        ]
        plain = by_rule.get("relative, plain")
        if full and plain and ordinary and ordinary["log p"][-1] is not None:
            when = passed(plain, ordinary)
            claims.append(
                Claim(
                    f"{what}: the plain relative step passes where the ordinary one ends",
                    when,
                    when.startswith("step"),
                )
            )
    text += [
        "How to read it. In full batches the plain relative step needs fewer steps, for it does "
        "not see how the data are conditioned. On MNIST that is all the difference: the likelihood "
        "is steep in the elements of W that take inputs of large variance and flat in those that "
        "take inputs of small; a rate that is safe for the first is next to nothing for the rest, "
        "and the ordinary gradient ends near its start, with Adam too. Adam on R, elementwise, "
        "loses part of what R has over it. In minibatches at a constant rate each rule ends in its "
        "own noise, and on the digits, standardised and from orthogonal layers, the ordinary one "
        "is as good: what the relative one has for it there is that it costs no inverse, which "
        "counts as D grows, and that log|det W| stays known. There Adam goes further than either "
        "constant step, on whichever gradient.",
        "",
    ]
    for data in dict.fromkeys(data for data, _ in cells):
        draw(store, data, {N: lines for (name, N), lines in cells.items() if name == data})
        text += [f"![likelihood against steps and time, {data}](figures/gradients-{data}.png)", ""]
    return Section("\n".join(text), tuple(claims), tuple(lacking))


def _edge(line: Line) -> str:
    """Return the best rate, and that it is the first or last of its grid."""
    first, *_, last = line["rates"]
    return f"{line['rate']:g}{', edge' * (line['rate'] in (first, last))}"


def passed(line: Line, other: Line | None) -> str:
    """Say after how many steps, and what share of its time, a rule passes where another ended."""
    if other is None or line is other or other["log p"][-1] is None:
        return ""
    for t, seconds, value in zip(line["t"], line["seconds"], line["log p"], strict=True):
        if value is not None and value >= other["log p"][-1]:
            share = seconds / other["seconds"][-1]
            return f"step {t}, {100 * share:.0f} % of its time"
    return "no"


@in_style
def draw(store: Store, data: str, cells: dict[int, list[Line]]) -> None:
    """Draw log-likelihood against steps, and against seconds; a row for each kind of batch."""
    figure = plots.canvas((11.0, 4.3 * len(cells)))
    grid = figure.subplots(len(cells), 2, squeeze=False)
    for axes, (N, lines) in zip(grid, cells.items(), strict=True):
        kind = "full batch" if RUNS[data][0] == N else f"batches of {N}"
        finite = [v for line in lines for v in line["log p"][1:] if v is not None]
        top, start = max(finite), min(line["log p"][0] for line in lines)
        low = max(np.percentile(finite, 5), start - 0.5 * (top - start))
        for ax, x, label in zip(
            axes, ("t", "seconds"), ("steps", "CPU seconds, one thread"), strict=True
        ):
            plots.labelled(ax, f"{data}, {kind}", label, "log-likelihood (nats)")
            for line in lines:
                colour, dash = STYLES[line["rule"]]
                values = [math.nan if v is None else v for v in line["log p"]]
                ax.plot(line[x][1:], values[1:], dash, color=colour, lw=1.8)
            ax.set_ylim(low, top + 0.05 * (top - low))
            ax.grid(color="0.93")
            ax.set_xscale("log")
    figure.canvas.draw()
    for axes, lines in zip(grid, cells.values(), strict=True):
        label_ends(axes[0], [line["rule"] for line in lines])
    figure.savefig(store.figure(f"gradients-{data}"))
