"""Mistakes that are planted in small flows: which are found, named, and in which layer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from relgrad_np import oracle

from . import own


@dataclass(frozen=True)
class Mistake:
    """A planted mistake: what makes the flow, which names are right, which layer it is in."""

    kind: str
    bug: str
    make: Callable[[], Any]
    D: int
    names: tuple[str, ...]
    layer: int | None = None


def composed(kind: str, bug: str, *names: str, at: int = 1) -> Mistake:
    """Return a mistake in layer `at` of a flow of five layers, D = 4 (16 with a convolution)."""

    def make() -> Any:
        torch.manual_seed(7)
        D = 16 if kind == "Conv1x1" else 4
        layers: list[own.Layer] = [own.Coupling(D), own.LU(D), own.ActNorm(D), own.Coupling(D)]
        layers.insert(at, getattr(own, kind)(D, bug))
        return own.Flow(*layers, D=D)

    return Mistake(kind, bug, make, 16 if kind == "Conv1x1" else 4, names, at)


def alone(kind: str, bug: str, *names: str) -> Mistake:
    """Return a mistake in a layer that is judged by itself, D = 4."""

    def make() -> Any:
        torch.manual_seed(7)
        return getattr(own, kind)(4, bug)

    return Mistake(kind, bug, make, 4, names)


def of_flow(bug: str, *names: str) -> Mistake:
    """Return a mistake of the flow around its layers: log p, sampler, the order of the layers."""

    def make() -> Any:
        torch.manual_seed(8)
        D = 3
        return own.Flow(
            own.Coupling(D), own.LU(D), own.Autoregressive(D), own.ActNorm(D), D=D, bug=bug
        )

    kind = "sampler" if bug.startswith("sample") else "flow"
    return Mistake(kind, bug, make, 3, names)


def mistakes() -> list[Mistake]:
    """Return the mistakes."""
    return [
        composed("Coupling", "sign", "sign", at=2),
        composed("Coupling", "half", "half", at=3),
        composed("Coupling", "double", "double"),
        composed("Coupling", "missing", "missing"),
        composed("Coupling", "over D", "averaged over D", at=4),
        composed("Coupling", "batch sum", "batch sum"),
        composed("Coupling", "batch mean", "batch mean", at=0),
        composed("Coupling", "over log 2", "log2", at=2),
        composed("Coupling", "float32", "float32 digits", at=3),
        composed("Coupling", "detached", "no gradient", "detached"),
        composed("Coupling", "constant", "constant"),
        composed("Coupling", "first row", "first row"),
        alone("Coupling", "not summed", "last axis not reduced"),
        composed("Coupling", "det", "no log"),
        composed("Coupling", "tanh missed", at=2),
        composed("Coupling", "shift counted"),
        composed("Coupling", "exp counted", at=4),
        composed("Coupling", "abs"),
        composed("Coupling", "epsilon", "an epsilon"),
        composed("Coupling", "last missed", "misses dimension"),
        composed("Coupling", "a scaled too", "scaled", "constant"),
        composed("Coupling", "mask leaks", "diagonal"),
        composed("Coupling", "normalised by the batch", "batch statistics", "rows mix"),
        composed("Coupling", "s detached", "no gradient", "detached"),
        composed("Coupling", "dropout in eval", "random"),
        composed("Coupling", "in place", "changes its input"),
        composed("Coupling", "inverse: order", "some columns", "shift or factor"),
        composed("Coupling", "inverse: exp(+s)", "some columns", "shift or factor"),
        composed("Coupling", "inverse: sign of log|det|", "inverse: sign", at=3),
        composed("Coupling", "inverse: is forward", "forward again"),
        composed("Coupling", "inverse: identity", "identity"),
        composed("LU", "no log", "no log", "constant", at=3),
        composed("LU", "negative diagonal", "not finite"),
        composed("LU", "mean of logs", "averaged over D"),
        composed("LU", "diagonal of L U", "constant"),
        composed("LU", "first missed", "constant"),
        composed("LU", "sign", "sign"),
        composed("LU", "inverse: bias forgotten", "shift"),
        composed("LU", "inverse: P for P'", "permutation"),
        composed("Conv1x1", "pixels missed", "constant"),
        composed("Conv1x1", "times H only", "half"),
        composed("Conv1x1", "times C", "constant"),
        composed("Conv1x1", "log of det", "not finite"),
        composed("Conv1x1", "missing", "missing"),
        composed("Conv1x1", "inverse: transpose", "transpose"),
        composed("ActNorm", "factor 3", "constant"),
        composed("ActNorm", "scale squared", "half"),
        composed("ActNorm", "abs of logs", "constant"),
        composed("ActNorm", "statistics of the batch", "batch statistics"),
        composed("ActNorm", "sign", "sign", at=4),
        composed("ActNorm", "inverse: bias first", "shift"),
        composed("Autoregressive", "mask with the diagonal", "diagonal"),
        composed("Autoregressive", "mask upside down", "diagonal"),
        composed("Autoregressive", "alpha of z"),
        composed("Autoregressive", "last missed", "misses dimension"),
        composed("Autoregressive", "sign", "sign"),
        composed("Autoregressive", "inverse: one pass", "some columns"),
        composed("Autoregressive", "inverse: a pass too few", "some columns"),
        composed("BatchNorm", "batch statistics in eval", "batch statistics", "rows mix"),
        composed("BatchNorm", "gamma missed", "constant"),
        composed("BatchNorm", "variance for deviation", "constant"),
        composed("BatchNorm", "eps missed", "constant"),
        composed("BatchNorm", "plus for minus", "constant"),
        composed("BatchNorm", "inverse: eps missed", "factor"),
        composed("Spline", "width missed"),
        composed("Spline", "bottom once"),
        composed("Spline", "linear slope"),
        composed("Spline", "that of the inverse", "sign"),
        composed("Spline", "slopes one off", "inverse: log det"),
        composed("Spline", "tails counted"),
        composed("Spline", "inverse: bins of x", "bins"),
        composed("Spline", "inverse: other root", "root"),
        of_flow("forgets layer 1", "misses part"),
        of_flow("keeps the last only", "only part"),
        of_flow("adds the first twice", "part layers.0 (Coupling) twice"),
        of_flow("log|det| at z", "log det at z"),
        of_flow("subtracts layer 2", "sign of part"),
        of_flow("inverse in forward's order", "order"),
        of_flow("inverse skips the last", "misses part"),
        of_flow("base: 1/2 missed", "half"),
        of_flow("base: constant missed", "constant of the base"),
        of_flow("base: constant of one", "constant of the base"),
        of_flow("log p: minus log|det|", "log det subtracted"),
        of_flow("log p: no log|det|", "log det missing"),
        of_flow("log p: mean over the batch", "batch mean"),
        of_flow("log p: sum over the batch", "batch sum"),
        of_flow("log p: base at x", "base at x"),
        of_flow("log p: -log p", "negative"),
        of_flow("log p: over D", "averaged over D"),
        of_flow("log p: clipped", "clipped"),
        of_flow("log p: in bits", "factor", "log2"),
        of_flow("log p: no gradient", "no gradient"),
        of_flow("sample: temperature", "scaled"),
        of_flow("sample: uniform base", "uniform"),
        of_flow("sample: one column repeated", "correlation"),
        of_flow("sample: positive half", "half"),
        of_flow("sample: variance for deviation", "scaled"),
        of_flow("sample: truncated", "truncated"),
        of_flow("sample: a chain", "succession"),
        of_flow("sample: by forward", "forward for inverse"),
        of_flow("sample: is z", "base draws"),
        of_flow("sample: own log p plus log|det|", "own: log det"),
        of_flow("sample: own log p of the base", "own: log det missing"),
    ]  # fmt: skip


def _name(claim: dict[str, Any]) -> str:
    """Return the name of a claim; that of an inverse may be a shift or a factor."""
    if claim["relation"] == "not undone":
        for name in ("shift", "factor"):
            if f"by the same {name}" in claim["text"] or f"by a {name}" in claim["text"]:
                return name
    return str(claim["relation"])


def _says(claims: list[dict[str, Any]], layer: str) -> bool:
    """Return whether claims name this layer and no other, as the part or by its parameters."""
    said = [text for claim in claims for text in ((claim["part"] or ""), claim["text"])]
    found = {word for text in said for word in re.findall(r"layers\.\d+", text)}
    return found == {layer}


def run(only: str = "") -> Iterator[dict[str, Any]]:
    """Yield a record of each mistake, and of the flows without one."""
    for m in mistakes():
        name = f"{m.kind}: {m.bug}"
        if only.lower() not in name.lower():
            continue
        start = time.perf_counter()
        report = oracle.check_flow(**oracle.from_torch(m.make(), D=m.D, born="float64"))
        claims = [(c["law"], c["relation"], c["part"] or "") for c in report.claims]
        relations = {_name(c) for c in report.claims}
        layer = None if m.layer is None else _says(report.claims, f"layers.{m.layer}")
        yield {
            "library": "mistakes", "name": name, "verdict": report.verdict, "claims": claims,
            "detected": not report.passed, "named": any(r.startswith(m.names) for r in relations),
            "layer_found": layer, "as_expected": not report.passed and layer is not False,
            "seconds": round(time.perf_counter() - start, 2),
        }  # fmt: skip
