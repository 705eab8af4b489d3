"""Is a deep narrow net short of capacity, or of optimisation? The rings, 16 layers, by rule.

    python -m validation.stiffness

The same start and the same 10,000 rows for all: the rules for 300 steps of 2,000 rows, L-BFGS on
all rows for 300 iterations as a yardstick that knows nothing of layers. Validation, in nats.
"""

import json
import time

import numpy as np
from scipy.optimize import minimize

import relgrad_np as rg
from relgrad_np.datasets import load

from .experiments import RESULTS

RULES = {
    "recipe, 0.4": rg.Recipe(),
    "recipe, 0.04": rg.Recipe(0.04),
    "recipe, 0.4, no outlier weights": rg.Recipe(outliers=None),
    "recipe, 0.04, no outlier weights": rg.Recipe(0.04, outliers=None),
    "Adam, 0.01": rg.Adam(0.01),
    "Adam, 0.001": rg.Adam(0.001),
    "natural": rg.Natural(),
}
L, STEPS, BATCH = 16, 300, 2000


def yardstick(layers, X, model):
    """Return the layers that L-BFGS reaches by ordinary gradients on all rows."""
    shapes = [x.shape for layer in layers for x in layer]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def unpack(p):
        arrays = [x.reshape(s) for x, s in zip(np.split(p, cuts), shapes, strict=True)]
        return tuple(rg.Layer(*arrays[i : i + 2]) for i in range(0, len(arrays), 2))

    def descend(p):
        own = unpack(p)
        tape = rg.forward(own, X, model[0])
        G = rg.ordinary_gradient(own, tape, rg.backprop(own, tape, *model))
        value = rg.log_likelihood(own, X, *model).mean
        return -float(value), -np.concatenate([x.ravel() for layer in G for x in layer])

    start = np.concatenate([x.ravel() for layer in layers for x in layer])
    return unpack(
        minimize(descend, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    )


def main() -> None:
    """Run all and print."""
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
    rows = {
        name: {
            "validation": float(rg.log_likelihood(layers, data.validation, *model).mean),
            "train": float(rg.log_likelihood(layers, data.train, *model).mean),
            "seconds": seconds,
        }
        for name, (layers, seconds) in found.items()
    }
    print("| | train | validation | seconds |\n|---|---|---|---|")
    for name, r in rows.items():
        print(f"| {name} | {r['train']:.3f} | {r['validation']:.3f} | {r['seconds']:.0f} |")
    text = json.dumps({"command": "python -m validation.stiffness", "rings": rows}, indent=1)
    (RESULTS / "stiffness.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
