"""KeyboardInterrupt at a random instant of `fit` and `partial_fit`: the model stays of one piece.

The rows lie fifty standard deviations from 0, so that a W beside the b of another step shows at
once in the score. After each interrupt: `layers_` are finite; their exact log|det| is the tracked
one, where the estimator keeps a state; the score is near the Gaussian's; and the next call goes on.
"""

import importlib.util
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .checks import Check
from .judge import estimator, gaussian

Array = Any
DRIFT = 1e-9  # nats: the tracker's rounding over some hundred steps is far under it
NEAR = 0.5  # nats: noise of a constant rate costs hundredths, one foreign b whole nats


def implementations() -> list[str]:
    """Return the implementations that can run here."""
    return ["reference", *(["numba"] if importlib.util.find_spec("numba") else [])]


def checks(count: int) -> Iterator[Check]:
    """Yield the checks of `count` interrupts, by method and implementation."""
    names = implementations()
    for method in ("fit", "partial_fit"):
        for name in names:
            yield interrupted_often(method, name, max(1, count // (2 * len(names))))


def interrupted(call: Callable[[], Any], after: float) -> bool:
    """Call, with a KeyboardInterrupt after so many seconds; return whether it came in time."""

    def strike(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, strike)
    try:
        signal.setitimer(signal.ITIMER_REAL, after)
        call()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return False


def tracked(kept: Any, depth: int = 4) -> float | None:
    """Return how far a tracked sum of log|det W|, somewhere in what is kept, is off; None without.

    The tracker stands beside the layers that it is of, which may have made an average.
    """
    logdet = getattr(getattr(kept, "tracked", None), "logdet", None)
    if logdet is not None:
        return float(np.sum(logdet) - sum(np.linalg.slogdet(W)[1] for W, _ in kept.layers))
    if isinstance(kept, (tuple, list)):
        parts = kept
    elif isinstance(kept, dict):
        parts = kept.values()
    elif type(kept).__module__.startswith("relgrad_np"):
        parts = getattr(kept, "__dict__", {}).values()
    else:
        return None
    inner = (tracked(part, depth - 1) for part in parts if depth)
    return next((value for value in inner if value is not None), None)


def fault(model: Any, X: Array, right: float) -> str:
    """Return what is wrong with an interrupted model, "" if nothing is."""
    if not all(np.isfinite(x).all() for layer in model.layers_ for x in layer):
        return "layers_ not finite"
    drift = tracked(model)
    if drift is not None and not abs(drift) <= DRIFT:
        return f"tracked log|det| {drift:+.2g} nats off"
    off = model.score(X) - right
    if not abs(off) <= NEAR:
        return f"score {off:+.3g} nats from the Gaussian's"
    return ""


def fault_after(model: Any, X: Array, right: float) -> str:
    """Go on with another call of `partial_fit`; return what is wrong with that."""
    try:
        model.partial_fit(X)
    except Exception as error:  # which one is the finding
        return f"next call: {type(error).__name__}: {error}"
    wrong = fault(model, X, right)
    return wrong and f"after the next call: {wrong}"


def interrupted_often(method: str, name: str, count: int) -> Check:
    """Interrupt `count` calls of "fit" or "partial_fit"."""
    rng = np.random.default_rng(0)
    X = 50 + rng.normal(size=(2000, 5)) @ (np.eye(5) + 0.3 * rng.normal(size=(5, 5)))
    right, faults, struck, seen = gaussian(X).mean, [], 0, 0
    model = estimator(2, 0, implementation=name, epochs=3)

    def call() -> None:
        getattr(model, method)(X)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.partial_fit(X)
        call()  # compiles
        began = time.perf_counter()
        call()
        took = time.perf_counter() - began
        for _ in range(20 * count):  # some strike too late
            if struck == count:
                break
            if not interrupted(call, rng.uniform(0.02, 1) * took + 1e-5):
                continue
            struck += 1
            seen += tracked(model) is not None
            if wrong := fault(model, X, right) or fault_after(model, X, right):
                faults.append(wrong)
                model = estimator(2, 0, implementation=name, epochs=3).partial_fit(X)
    worst = f"; {faults[0]}" if faults else ""
    ok = not faults and struck == count
    came = f"{struck} interrupts, log|det| tracked after {seen}, {len(faults)} faults{worst}"
    return Check(f"{method}, {name}", "of one piece, goes on", came, ok)
