"""The published recipe as a contender of `benchmarks.quality`: compiled JAX, whole batches of 10.

Adam on the relative gradient with the products, the bias and the clock of the authors' code, from
orthogonal layers, a normal base, smooth leaky ReLU of slope 0.01, no validation, no schedule.
"""

from typing import Any

import numpy as np

import relgrad_np as rg
from relgrad_np.fitting.storage.model import in_float64
from relgrad_np.rules.presets import PRESETS

from . import in_jax

STEPS = 200  # that are one program


def train(data: Any, asked: dict[str, Any], course: Any, judge: Any) -> None:
    """Train without end; options: `layers`, `rate`."""
    options, preset = asked["options"], PRESETS["published"]
    alpha, rng = preset.activation_params["alpha"], np.random.default_rng(asked["seed"])
    model = rg.activation(preset.activation, alpha=alpha), rg.density("normal")
    X = np.ascontiguousarray(data.train, dtype="float32")
    D, N = X.shape[1], preset.batch_size
    layers = rg.init_layers(rng, D, options["layers"], kind=preset.init, dtype="float32")

    def score(layers: Any, X: Any) -> float:
        with np.errstate(all="ignore"):
            return float(rg.log_likelihood(in_float64(layers), X, *model).mean)

    course.judge = judge(score)
    each = len(X) // N
    chunk = min(STEPS, each)
    runner = in_jax.published_adam(
        layers, alpha=alpha, learning_rate=options["rate"], bias="published", clock=each
    )
    course.report(0.0, [layers])
    on_device, done = runner.to_device(X), 0
    while True:
        order = rng.permutation(len(X))[: each // chunk * chunk * N].reshape(-1, chunk, N)
        for rows in order:
            runner.sweep(on_device, rows)  # type: ignore[misc]
            done += chunk
            if course.due():
                course.report(done / each, [runner.layers()])
