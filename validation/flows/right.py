"""How often `check_flow` calls one of many random right models wrong.

NumPy flows are those of `validation.right_flows`; torch flows are random stacks of the layers of
`own`, through the adapter. A law of values must never be broken; the tests of samples may reject
in a share `level` of the models, and the rate at which they do is measured.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from relgrad_np import oracle

from ..right_flows import right_flow
from . import own

CHUNK = 50  # models; what is done is kept if a run ends early
KINDS = ("Coupling", "LU", "ActNorm", "Autoregressive", "BatchNorm", "Spline", "Conv1x1")


def torch_flow(seed: int) -> tuple[dict[str, Any], str]:
    """Return the arguments of check_flow for a random stack of layers, and its words."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    D = int(rng.choice([2, 3, 4, 5]))
    kinds = list(rng.choice([k for k in KINDS if k != "Conv1x1" or D == 4], rng.integers(2, 5)))
    made = own.Flow(*(getattr(own, kind)(D) for kind in kinds), D=D)
    if rng.random() < 0.3:
        made = made.double()
    return oracle.from_torch(made, D=D, seed=seed), f"torch D = {D}: {', '.join(kinds)}"


def run(
    only: str = "", first: int = 0, models: int = 2000, every: int = 10, level: float = 1e-3
) -> Iterator[dict[str, Any]]:
    """Yield a record of each model that did not pass, and one of every CHUNK models.

    One in `every` is of torch. What a chunk's record has as `p` are the least p-values of its
    models times the number of tests: the share of them below any level is the rate of false alarms
    at that level.
    """
    for start in range(first, first + models, CHUNK):
        seeds = range(start, min(start + CHUNK, first + models))
        yield from _chunk(only, seeds, every, level)


def _chunk(only: str, seeds: range, every: int, level: float) -> Iterator[dict[str, Any]]:
    """Yield the records of these models."""
    count, rejected, wrong = {"numpy": 0, "torch": 0}, 0, 0
    judged: dict[str, int] = {}
    p: list[float] = []
    start = time.process_time()
    for seed in seeds:
        kind = "torch" if seed % every == 0 else "numpy"
        if only and only != kind:
            continue
        given, words = torch_flow(seed) if kind == "torch" else right_flow(seed)
        report = oracle.check_flow(**given, seed=seed, level=level)
        count[kind] += 1
        for law in report.judged:
            judged[law] = judged.get(law, 0) + 1
        p += [_p(law.text) for law in report.laws if law.law == "samples" and "tests" in law.text]
        laws = [law.law for law in report.laws if law.verdict == "WRONG"]
        rejected += laws == ["samples"]
        wrong += laws not in ([], ["samples"])
        if not report.passed:
            yield {
                "library": kind, "name": f"{seed} {words}", "verdict": report.verdict, "laws": laws,
                "as_expected": laws in ([], ["samples"]),  # []: too little could be judged
            }  # fmt: skip
    expected = level * judged.get("samples", 0)
    yield {
        "library": "all", "name": f"models {seeds[0]} to {seeds[-1]}", "models": count,
        "judged": judged, "wrong": wrong, "samples_rejected": rejected, "p": p,
        "verdict": f"{count}; laws of values broken: {wrong}; samples rejected: {rejected} of "
        f"{judged.get('samples', 0)} (level {level}: {expected:.1f} expected); judged {judged}",
        "as_expected": wrong == 0 and rejected <= expected + 3 * expected**0.5 + 1,
        "seconds": round(time.process_time() - start),
    }  # fmt: skip


def _p(text: str) -> float:
    """Return the least p-value that the law of samples says, times the number of tests."""
    count, least = re.search(r"(\d+) tests .* least p (\S+)", text).groups()  # type: ignore[union-attr]
    return float(f"{min(1.0, int(count) * float(least)):.4g}")
