"""Is a deep narrow net short of capacity, or of optimisation? The rings, 16 layers, by rule.

The same start and the same 10,000 rows for all: the rules for 300 steps of 2,000 rows, L-BFGS on
all rows for 300 iterations as a yardstick that knows nothing of layers. Validation, in nats.
"""

import time
from typing import Any

import numpy as np
from scipy.optimize import minimize

import relgrad_np as rg
from relgrad_np.datasets import load

from .report import Section, table
from .store import Line, Store

RULES = {
    "recipe, 0.4": rg.Recipe(),
    "recipe, 0.04": rg.Recipe(0.04),
    "Adam, 0.01": rg.Adam(0.01),
    "Adam, 0.001": rg.Adam(0.001),
    "natural": rg.Natural(),
}
L, STEPS, BATCH = 16, 300, 2000
KEY: Line = {
    "data": "toy:rings", "L": L, "steps": STEPS, "N": BATCH,
    "rules": {name: repr(rule) for name, rule in RULES.items()},
}  # fmt: skip


def yardstick(layers: Any, X: Any, model: Any) -> Any:
    """Return the layers that L-BFGS reaches by ordinary gradients on all rows."""
    shapes = [x.shape for layer in layers for x in layer]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def unpack(p: Any) -> Any:
        arrays = [x.reshape(s) for x, s in zip(np.split(p, cuts), shapes, strict=True)]
        return tuple(rg.Layer(*arrays[i : i + 2]) for i in range(0, len(arrays), 2))

    def descend(p: Any) -> Any:
        own = unpack(p)
        tape = rg.forward(own, X, model[0])
        G = rg.ordinary_gradient(own, tape, rg.backprop(own, tape, *model))
        value = rg.log_likelihood(own, X, *model).mean
        return -float(value), -np.concatenate([x.ravel() for layer in G for x in layer])

    start = np.concatenate([x.ravel() for layer in layers for x in layer])
    return unpack(
        minimize(descend, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    )


def compare() -> Line:
    """Return train, validation and seconds of all."""
    data, model = load("toy:rings"), (rg.activation("smooth_leaky_relu"), rg.density("normal"))
    start = rg.init_layers(
        np.random.default_rng(0), 2, L, kind="principal", X=data.train, activation=model[0]
    )
    found = {"the start": (start, 0.0)}
    for name, rule in RULES.items():
        began, rng = time.perf_counter(), np.random.default_rng(0)
        result = rg.fit(
            start, data.train, *model, rule=rule, rng=rng, batch_size=BATCH,
            epochs=STEPS * BATCH // len(data.train), average=None,
        )  # fmt: skip
        found[name] = result.layers, time.perf_counter() - began
    began = time.perf_counter()
    found["L-BFGS, all rows"] = yardstick(start, data.train, model), time.perf_counter() - began
    return {
        name: {
            "train": float(rg.log_likelihood(layers, data.train, *model).mean),
            "validation": float(rg.log_likelihood(layers, data.validation, *model).mean),
            "seconds": seconds,
        }
        for name, (layers, seconds) in found.items()
    }


def run(store: Store, quick: bool) -> None:
    """Run all of it."""
    store.run("stiffness", KEY, compare)


def section(store: Store, quick: bool) -> Section:
    """Return the table."""
    line = store.find("stiffness", KEY)
    if line is None:
        return Section("", (), ("not run yet",))
    rows = [
        [name, f"{r['train']:.3f}", f"{r['validation']:.3f}", f"{r['seconds']:.0f}"]
        for name, r in line.items()
        if isinstance(r, dict) and "train" in r
    ]
    text = [
        f"The rings, {L} layers, principal start, {STEPS} steps of {BATCH:,} rows. If L-BFGS "
        "on all layers at once goes further than layer-wise rules, the net is not short "
        "of capacity.",
        "",
        table(["", "train", "validation", "seconds"], rows),
    ]
    return Section("\n".join(text))
