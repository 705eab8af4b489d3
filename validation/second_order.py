"""Full batches of second order (`rule="newton"`) beside the rules of minibatches, by the clock.

digits    which share of the default rule's time until its training log-likelihood is reached
power     20,000 rows of POWER beside the natural gradient, in equal time
planted   rows of a net of the model's own class: nats below the truth, beside every other rule

Rounds of the two take turns, so that what else the machine does slows both. Run it with one BLAS
thread, OPENBLAS_NUM_THREADS=1, and without OPENBLAS_CORETYPE, which would choose other kernels.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.datasets import load
from relgrad_np.rules.by_name import NEWTON, RULES

from .fitting import missing
from .nonlinear import MODEL, true_net
from .report import Claim, Section, table
from .store import Line, Store

SHARE = 1 / 3  # of the default rule's time, at most
POWER_ROWS = 20_000
BUDGETS = ((200, 5), (200, 15), (500, 10), (500, 30), (2000, 15), (2000, 40))  # batch, epochs
STARTS = ("principal", "gaussianize")
PATIENCE, ITERATIONS = 20, 150
RATES = {"adam": (1e-3, 1e-2)}  # the better counts; the others have their own


def wanted(quick: bool) -> Iterator[Line]:
    """Yield the runs."""
    rounds = 1 if quick else 5
    for i in range(rounds):
        yield {"part": "digits", "L": 2, "epochs": 6 if quick else 60, "round": i}
    for start in () if quick else STARTS:
        for batch, epochs in BUDGETS:
            yield {
                "part": "power", "L": 2, "start": start, "batch": batch, "epochs": epochs,
                "rows": POWER_ROWS,
            }  # fmt: skip
    for seed in range(rounds):
        D, N = (4, 2000) if quick else (10, 5000)
        yield {"part": "planted", "D": D, "L": 2, "N": N, "seed": seed}


def mean(layers: Any, X: Any, model: Any) -> float:
    """Return the mean log-likelihood, nats."""
    return float(rg.log_likelihood(layers, X, *model).mean)


def in_time(history: Any, seconds: float) -> float:
    """Return the exact training log-likelihood of the last iteration that ended in this time.

    >>> in_time([rg.Epoch(1, 1, 1.0, 1.0, -3.0, None, None, 0.5)], 1.0)
    -3.0
    """
    return float(max((e.train for e in history if e.seconds <= seconds), default=-math.inf))


def digits(L: int, epochs: int, **_: Any) -> Line:
    """Return what the default rule reaches in training and when, and when newton reaches it."""
    data, model = load("digits"), (rg.activation("smooth_leaky_relu"), rg.density("normal"))
    X, rng = data.train, np.random.default_rng(0)
    start = rg.init_layers(rng, X.shape[1], L, kind="gaussianize", X=X, activation=model[0])
    first = rg.fit(start, X, *model, rng=rng, epochs=epochs)
    goal = mean(first.best_layers, X, model)
    second = rg.fit(
        start, X, *model, rule=NEWTON, rng=rng,
        callbacks=[lambda epoch, state: epoch.train >= goal],
    )  # fmt: skip
    return {
        "goal": goal, "reached": mean(second.layers, X, model), "iterations": len(second.history),
        "rule seconds": first.seconds, "newton seconds": second.seconds,
    }  # fmt: skip


def power(L: int, start: str, batch: int, epochs: int, rows: int) -> Line:
    """Return the training log-likelihood of the natural gradient, and of newton in its time."""
    X = np.ascontiguousarray(load("power", n=rows).train[:rows], dtype=np.float64)
    model, rng = (
        (rg.activation("smooth_leaky_relu"), rg.density("student_t")),
        np.random.default_rng(0),
    )
    layers = rg.init_layers(rng, X.shape[1], L, kind=start, X=X, activation=model[0])
    first = rg.fit(layers, X, *model, rule="natural", rng=rng, epochs=epochs, batch_size=batch)
    second = rg.fit(
        layers, X, *model, rule=NEWTON, rng=rng,
        callbacks=[lambda epoch, state: epoch.seconds > first.seconds],
    )  # fmt: skip
    return {
        "rule": mean(first.best_layers, X, model), "rule seconds": first.seconds,
        "newton": in_time(second.history, first.seconds), "iterations": len(second.history),
    }  # fmt: skip


def planted(D: int, L: int, N: int, seed: int, **_: Any) -> Line:
    """Return the nats below the planted net on test rows, and the seconds, of newton and each rule.

    Each rule gets as many epochs as take at least newton's time, and the same validation rows.
    """
    rng = np.random.default_rng([D, L, seed])
    truth = true_net(rng, D, L)
    X, X_val, X_test = (
        rg.inverse(truth, MODEL[1].sample(rng, (n, D)), MODEL[0]) for n in (N, N // 5, N)
    )
    start = rg.init_layers(rng, D, L, kind="gaussianize", X=X, activation=MODEL[0])
    best = mean(truth, X_test, MODEL)
    found = rg.fit(
        start, X, *MODEL, rule=NEWTON, rng=rng, X_val=X_val, patience=PATIENCE, epochs=ITERATIONS
    )
    line: Line = {
        "start": best - mean(start, X_test, MODEL),
        NEWTON: [best - mean(found.best_layers, X_test, MODEL), found.seconds, len(found.history)],
    }
    for rule in RULES:
        found_by = [
            in_at_least(
                found.seconds, start, X, rule=rule, learning_rate=rate, X_val=X_val,
                batch_size=2000 if rule == "natural" else 100,
            )
            for rate in RATES.get(rule, (None,))
        ]  # fmt: skip
        below = [best - mean(one.best_layers, X_test, MODEL) for one in found_by]
        i = int(np.argmin(below))
        line[rule] = [below[i], found_by[i].seconds, len(found_by[i].history)]
    return line


def in_at_least(seconds: float, start: Any, X: Any, **options: Any) -> Any:
    """Return the fit of the least number of epochs tried that takes so long."""
    epochs, result = 2, None
    while result is None or result.seconds < seconds:
        if result is not None:
            epochs = math.ceil(epochs * max(1.1 * seconds / result.seconds, 1.2))
        rng = np.random.default_rng(0)
        result = rg.fit(start, X, *MODEL, rng=rng, epochs=epochs, **options)
    return result


PARTS = {"digits": digits, "power": power, "planted": planted}


def run(store: Store, quick: bool) -> None:
    """Run what has not run, of the data at hand."""
    import warnings

    for key in wanted(quick):
        if key["part"] == "power" and missing("power") is not None:
            continue

        def compute(key: Line = key) -> Line:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of fits that are cut short
                return PARTS[key["part"]](**{k: v for k, v in key.items() if k != "part"})

        store.run("second_order", key, compute)


def section(store: Store, quick: bool) -> Section:
    """Return the three tables, and what is claimed of them; of the quick ones nothing is."""
    kept: dict[str, list[Line]] = {part: [] for part in PARTS}
    lacking = dict.fromkeys(PARTS, 0)
    for key in wanted(quick):
        line = store.find("second_order", key)
        if line is None:
            lacking[key["part"]] += 1
        else:
            kept[key["part"]].append(line)
    text: list[str] = []
    claims: list[Claim] = []
    for part, show in (("digits", _digits), ("power", _power), ("planted", _planted)):
        if kept[part]:
            words, found = show(kept[part])
            text += [*words, ""]
            claims += [] if quick else found
    absent = [
        f"{part}: {(part == 'power' and missing('power')) or f'{n} runs have not run'}"
        for part, n in lacking.items()
        if n
    ]
    machines = sorted({x["machine"] for lines in kept.values() for x in lines})
    if machines:
        text.append(f"Hardware: {'; '.join(machines)}.")
    return Section("\n".join(text).strip(), tuple(claims), tuple(absent))


def _digits(lines: list[Line]) -> tuple[list[str], list[Claim]]:
    shares = [line["newton seconds"] / line["rule seconds"] for line in lines]
    one = lines[0]
    text = [
        f"The digits, {one['L']} layers, Gaussianising start, training rows. The default rule "
        f"takes {one['epochs']} epochs to {one['goal']:.2f} nats in training; newton is stopped "
        "where it is above that. Rounds of the two take turns. (What is best on these rows is not "
        "best on others: newton needs validation rows and patience.)",
        "",
        table(
            ["round", "default rule, s", "newton, s", "iterations", "share of the time"],
            [
                [
                    x["round"], f"{x['rule seconds']:.2f}", f"{x['newton seconds']:.2f}",
                    x["iterations"], f"{share:.3f}",
                ]
                for x, share in zip(lines, shares, strict=True)
            ],
        ),
    ]  # fmt: skip
    reached = all(line["reached"] >= line["goal"] for line in lines)
    middle = float(np.median(shares))
    what = "digits: newton reaches the default rule's training value in a third of its time"
    return text, [Claim(what, f"in {middle:.2f}, the median", reached and middle <= SHARE)]


def _power(lines: list[Line]) -> tuple[list[str], list[Claim]]:
    rows = [
        [
            line["start"], line["batch"], line["epochs"], f"{line['rule seconds']:.1f}",
            f"{line['rule']:.3f}", f"{line['newton']:.3f}", f"{line['newton'] - line['rule']:+.3f}",
        ]
        for line in lines
    ]  # fmt: skip
    ahead = {
        start: [line["newton"] >= line["rule"] for line in lines if line["start"] == start]
        for start in STARTS
    }
    counts = "; ".join(f"{start}: {sum(x)} of {len(x)}" for start, x in ahead.items())
    text = [
        f"POWER, {lines[0]['rows']:,} training rows, {lines[0]['L']} layers, Student's t, nats in "
        "training. The natural gradient takes so many epochs of batches of this size; newton is "
        f"cut where that has ended. newton is not behind in ({counts}). Which optimum a path falls "
        "into counts for more than how fast it goes: nothing is claimed.",
        "",
        table(["start", "batch", "epochs", "seconds", "natural", "newton", "newton above"], rows),
    ]
    return text, []


def _planted(lines: list[Line]) -> tuple[list[str], list[Claim]]:
    names = [NEWTON, *RULES]
    rows = []
    for line in lines:
        cells = [f"{line[name][0]:.3f} ({line[name][1]:.1f} s)" for name in names]
        rows.append([line["seed"], f"{line['start']:.2f}", *cells])
    best = [min(line[name][0] for name in RULES) for line in lines]
    ahead = sum(line[NEWTON][0] <= other for line, other in zip(lines, best, strict=True))
    one = lines[0]
    text = [
        f"Rows of a random net of the package's own kind (D = {one['D']}, L = {one['L']}, sech "
        f"sources, {one['N']:,} rows), fitted by a net of the same shape from the Gaussianising "
        f"start: nats below the planted net on test rows. newton has patience {PATIENCE}, and "
        f"{ITERATIONS} iterations at the most; every other rule gets as many epochs as take at "
        "least newton's time, with its own rate (Adam: the better of 0.001 "
        "and 0.01).",
        "",
        table(["seed", "start", *names], rows, keys=2),
    ]
    gain = [other - line[NEWTON][0] for line, other in zip(lines, best, strict=True)]
    what = "planted nets: newton nearer the truth than every other rule in equal time, every seed"
    found = f"{ahead} of {len(lines)} seeds; {min(gain):+.3f} to {max(gain):+.3f} nats to the next"
    return text, [Claim(what, found, ahead == len(lines))]
