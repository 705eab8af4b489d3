"""One process for one library: thread pools of different libraries must not fight.

The runner asks, one worker at a time: gate, make, steps. Between its turns a worker sleeps.
"""

import importlib
import os
import resource
import time
import traceback
from typing import Any

ALPHA, ETA = 0.3, 1e-3
LIBRARY = {
    "jax": "jax",
    "torch": "torch",
    "kernels": "kernels",
    "lapack": "kernels",
    "gemm": "kernels",
}


def start(D: int, L: int, seed: int) -> Any:
    """Layers (L, D) float32 near the identity: regular, and cheap to make at any D."""
    import numpy as np

    import relgrad_np as rg

    rng = np.random.default_rng(seed)
    layers = []
    for _ in range(L):
        W = rng.standard_normal((D, D), dtype=np.float32)
        W *= np.float32(0.1 / D**0.5)
        W[np.arange(D), np.arange(D)] += 1
        layers.append(rg.Layer(W, np.zeros(D, np.float32)))
    return tuple(layers)


def gated(name: str, seed: int) -> None:
    """Raise AssertionError unless this contender takes the step it should, at a generic start."""
    import numpy as np

    from relgrad_np.oracle.cases import generic

    from .contenders import gate

    case = generic(seed, N=20, D=6, L=3, density_name="normal", dtype="float32")
    extra = {"bias": "augmented", "clock": 1} if name.endswith("adam") else {}
    options = {"alpha": ALPHA, "learning_rate": ETA, **extra}
    gate(name, case.layers, np.split(case.X, 5), rtol=2e-3, **options)


def serve(pipe: Any, threads: int) -> None:
    """Answer until told to stop."""
    import numpy as np

    if threads and "torch" in os.environ.get("RELGRAD_WORKER", ""):
        import torch

        torch.set_num_threads(threads)
    made: dict[str, Any] = {}
    batches: list[Any] = []
    while True:
        question, *rest = pipe.recv()
        try:
            answer: Any = None
            if question == "stop":
                return
            if question == "gate":
                gated(*rest)
            elif question == "make":
                name, D, N, L, seed = rest
                from . import in_kernels
                from .contenders import make

                rng = np.random.default_rng(seed + 1)
                batches = [rng.standard_normal((N, D), dtype=np.float32) for _ in range(4)]
                options = {"alpha": ALPHA, "learning_rate": ETA}
                own = {"gemm-floor": in_kernels.floor, "kernels-recipe": in_kernels.recipe}
                layers, begin = start(D, L, seed), time.perf_counter()
                if name in own:
                    made[name] = own[name](layers, **options)
                else:
                    made[name] = make(name, layers, **options)
                made[name].step(batches[0])
                answer = time.perf_counter() - begin
            elif question == "steps":
                name, count = rest
                answer = []
                for i in range(count):
                    begin = time.perf_counter()
                    made[name].step(batches[i % 4])
                    answer.append(time.perf_counter() - begin)
            elif question == "call":  # module:function, and its arguments
                module, _, function = rest[0].partition(":")
                answer = getattr(importlib.import_module(module), function)(*rest[1:])
            elif question == "free":
                made.clear()
            elif question == "memory":
                answer = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            pipe.send(("ok", answer))
        except Exception as error:
            pipe.send(("error", f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
