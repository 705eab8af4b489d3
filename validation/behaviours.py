"""Behaviours planted in NumPy, torch and JAX candidates, and naive forms that overflow."""

from collections.abc import Callable
from typing import Any

import numpy as np

from relgrad_np.oracle import Candidate, check
from relgrad_np.oracle.mistakes import elementwise as e
from relgrad_np.oracle.truths.records import Problem, Suite

from .planted import LIBRARIES

Results = dict[str, Any]
Run = Callable[[Problem], Results]
KINDS = ("raises", "mutates", "random", "dropout", "accumulates", "averages", "remembers")


def planted(kind: str, run: Run) -> Run:
    """Return a candidate with a behaviour, made of one that is right."""
    rng, kept = np.random.default_rng(0), dict[Any, Any]()

    def behaving(p: Problem) -> Results:
        found = run(p)
        sizes = (p.N, p.D, p.L)
        if kind == "raises" and p.N == 1:
            raise RuntimeError("the variance of one sample is not defined")
        if kind == "mutates":
            p.X[...] = p.X * 2
        if kind == "random":
            found["L_p"] = found["L_p"] + float(rng.normal())
        if kind == "dropout":
            mask = rng.integers(0, 2, (p.N, p.D)) * 2.0
            found["Z_1"] = np.asarray(found["Z_1"]) * mask.astype(p.dtype)
        if kind == "accumulates":  # a gradient that is not set to zero
            kept[sizes] = np.asarray(found["G_W_0"]) + kept.get(sizes, 0)
            found["G_W_0"] = kept[sizes].copy()
        if kind == "averages":  # momentum
            kept[sizes] = np.asarray(found["R_W_0"]) + p.X.dtype.type(0.9) * kept.get(sizes, 0)
            found["R_W_0"] = kept[sizes].copy()
        if kind == "remembers":  # the tape of the batch before, if there was one of this size
            Deltas = {name: x for name, x in found.items() if name.startswith("Delta")}
            found |= kept.get(sizes, Deltas)
            kept[sizes] = Deltas
        return found

    return behaving


def candidate(library: str, kind: str) -> Candidate:
    """Return a candidate of a library with this behaviour."""
    right = LIBRARIES[library]()
    assert right.run is not None
    return Candidate(f"{library}, {kind}", run=planted(kind, right.run))


def table(library: str, suite: Suite, dtype: str) -> list[tuple[str, bool, str]]:
    """For each behaviour: whether it was named, and the last line of the report."""
    rows = []
    for kind in KINDS:
        report = check(candidate(library, kind), suite, dtype=dtype)
        named = (report.kind, report.mistake) == ("behaviour", kind) and not report.passed
        rows.append((kind, named, report.verdict))
    return rows


def _softplus_like(m: Any, k: int) -> Any:
    if k >= m.hidden or m.act.name not in ("smooth_leaky_relu", "softplus"):
        return e.sigma(m.xp, m.act, m.Y[k]) if k < m.hidden else m.Y[k]
    a = m.act.params.get("alpha", 0.0)
    return a * m.Y[k] + (1 - a) * m.xp.log(1 + m.xp.exp(m.Y[k]))


def _logistic_like(m: Any, k: int) -> Any:
    if m.act.name not in ("smooth_leaky_relu", "softplus"):
        return e.dsigma(m.xp, m.act, m.Y[k])
    a, t = m.act.params.get("alpha", 0.0), m.xp.exp(m.Y[k])
    return a + (1 - a) * t / (1 + t)


def _log_density(m: Any) -> Any:
    if m.dens.name != "logistic":
        return m.xp.sum(e.log_density(m.xp, m.dens, m.Z[-1]), 1)
    return m.xp.sum(-m.Z[-1] - 2 * m.xp.log(1 + m.xp.exp(-m.Z[-1])), 1)


OVERFLOWS: dict[str, dict[str, Any]] = {
    "log(1 + exp(y)) in sigma": {"Z": _softplus_like},
    "exp(y) / (1 + exp(y)) in sigma'": {"dsigma": _logistic_like},
    "-z - 2 log(1 + exp(-z)) in log p": {"L_p": _log_density},
}
