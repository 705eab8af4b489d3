"""What is tracked against slogdet and inverse, over long runs, never refreshed and audited.

Three runs: the digits (D = 64, float64, 10,000 steps), MNIST if at hand, else mixed Laplace
sources (D = 784, float32, 5,000 steps), and 1,000 random steps without a cap, whose plain ones
change the sign of det W at random.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.datasets import load

from .report import Claim, Section, table
from .store import Line, Store

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
        audited = rg.track_step(audited, info.directions, info.eta, kind=kind)
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


KINDS = ("plain", "exponential")
LONG = {"digits": (64, "float64", 10_000, 50, 1e-9), "mnist": (784, "float32", 5_000, 200, 0.05)}


def wanted(quick: bool) -> Iterator[Line]:
    """Yield the runs: long ones, and random signs; the quick ones take a tenth of the steps."""
    for kind in KINDS:
        for name, (_, _, steps, _, _) in LONG.items():
            yield {"run": name, "kind": kind, "steps": steps // (10 if quick else 1)}
    for kind in KINDS:
        yield {"run": "signs", "kind": kind, "steps": 1000}


def follow(run: str, kind: str, steps: int) -> Line:
    """Do one of them."""
    if run == "signs":
        return random_signs(kind, steps)
    D, dtype, _, batch, _ = LONG[run]
    return long_run(run, D, dtype, kind, steps, batch)


def run(store: Store, quick: bool) -> None:
    """Run what has not run."""
    for key in wanted(quick):
        store.run("tracking", key, lambda key=key: follow(**key))


def within(line: Line) -> bool:
    """Say whether a run is within what is claimed."""
    if line["run"] == "signs":
        return bool(line["right"] == line["steps"])
    allowed = LONG[line["run"]][-1]
    audited = line[f"|V W - I|, audited every {REFRESH}"]
    return bool(line["worst drift"] <= allowed and line["signs right"] and audited <= 1e-3)


def section(store: Store, quick: bool) -> Section:
    """Return the drifts."""
    lines = [line for key in wanted(quick) if (line := store.find("tracking", key)) is not None]
    if not lines:
        return Section("", (), ("not run yet",))
    rows: list[list[Any]] = []
    for line in lines:
        if line["run"] == "signs":
            continue
        rows.append([
            line["data"], line["D"], line["dtype"], line["kind"], f"{line['steps']:,}", line["N"],
            f"{line['worst drift']:.1e}", f"{line['|V W - I|, never refreshed']:.1e}",
            line["refreshed"],
        ])  # fmt: skip
    signs = [
        f"{line['kind']}: {line['sign changes']} changes of sign in {line['steps']:,} uncapped "
        f"random steps, {line['right']:,} tracked right"
        for line in lines
        if line["run"] == "signs"
    ]
    titles = ["data", "D", "dtype", "step", "steps", "N", "worst drift, nats", "|V W - I|"]
    text = [
        "Two layers by the recipe; log|det W| and inv(W) only ever updated, never computed afresh, "
        "against slogdet and the inverse in float64.",
        "",
        table([*titles, "audits that refreshed"], rows, keys=4),
        "",
        *(f"- {text}" for text in signs),
    ]
    good = sum(map(within, lines))
    claims = (
        Claim(
            "drift at most 1e-9 nats in float64, 0.05 in float32; every sign right",
            f"{good} of {len(lines)} runs",
            good == len(lines),
        ),
    )
    return Section("\n".join(text), claims)
