"""The law of the rows: each is judged by itself, whatever stands beside it in the batch.

The rows in another order, a part of them, and each alone must give the same results, within
`1024 eps` of their size and of what rounding of x moves them by.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..evidence import Evidence
from ..records import OK, SINGLE, WRONG, Array, FlowClaim, FlowRaised, LawResult, not_judged, worst
from ..sensitivity import sensitivity

LAW = "rows"
ALONE = 6


def rows(evidence: Evidence) -> LawResult:
    """Compare a batch with its rows in another order, with a part of them, and with each alone."""
    x = evidence.X
    if len(x) < 2:
        return not_judged(LAW, "there is one row only")
    if evidence.random:
        return not_judged(LAW, "results differ from call to call")
    claims: list[FlowClaim] = []
    units = 0.0
    for f, what in _results(evidence):
        size, claim = _judge(evidence, f, x, what)
        units = max(units, size)
        claims += [claim] if claim else []
    text = f"{len(x)} rows in another order, a part of them, and {min(ALONE, len(x))} rows alone"
    if claims:
        return LawResult(LAW, WRONG, text, units, tuple(claims))
    return LawResult(LAW, OK, text, units)


def _results(evidence: Evidence) -> list[tuple[Callable[[Array], Array], str]]:
    calls, made = evidence.calls, []
    if calls.forward is not None:
        made += [(lambda x: calls.z(x)[0], "z"), (lambda x: calls.z(x)[1], "log|det J|")]
    if calls.log_prob is not None:
        made.append((calls.log_p, "log_prob"))
    return made


def _judge(
    evidence: Evidence, f: Callable[[Array], Array], x: Array, what: str
) -> tuple[float, FlowClaim | None]:
    calls = evidence.calls
    whole, n = f(x), len(x)
    slope = sensitivity(calls, f, x, 9, 0.0)
    slope = np.where(np.isfinite(slope), slope, 0.0)
    allowed = 1024 * calls.eps * (np.abs(np.nan_to_num(whole)) + slope + 1)
    order = calls.rng(10).permutation(n)
    units = 0.0
    for picked in (order, np.arange(n)[: n // 2 + 1]):
        units = max(units, _apart(f(x[picked]), whole[picked], allowed[picked]))
    try:
        alone = np.concatenate([f(x[i : i + 1]) for i in range(min(ALONE, n))])
    except FlowRaised as error:
        text = f"a batch of one row fails: {error}"
        return np.inf, FlowClaim(LAW, "batch of one", text)
    units = max(units, _apart(alone, whole[: len(alone)], allowed[: len(alone)]))
    if units <= 1:
        return units, None
    alone = np.concatenate([f(x[i : i + 1]) for i in range(n)])
    with np.errstate(all="ignore"):
        relative = float(np.nanmax(np.abs(alone - whole) / (1 + np.abs(whole))))
    if relative < SINGLE[LAW] and calls.dtype == "float64":
        text = (
            f"{what} is the same in every batch to {relative:.0e} only: float32 arithmetic inside"
        )
        return units, FlowClaim(LAW, "float32 digits", text, size=relative)
    return units, _claim(alone, whole, what)


def _apart(a: Array, b: Array, allowed: Array) -> float:
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(all="ignore"):
        return worst(np.where(same, 0.0, np.abs(a - b)), allowed)


def _claim(alone: Array, whole: Array, what: str) -> FlowClaim:
    """Say what a batch does to its rows."""
    if alone.ndim == 1 and np.isfinite(alone).all():
        for relation, words, value in (
            ("batch sum", "is summed over the batch", alone.sum()),
            ("batch mean", "is averaged over the batch", alone.mean()),
        ):
            if np.allclose(whole, value, rtol=1e-6, atol=1e-8):
                return FlowClaim(LAW, relation, f"{what} {words}")
        if np.allclose(whole, len(alone) * alone, rtol=1e-6):
            return FlowClaim(LAW, "times N", f"{what} is multiplied by the size of the batch")
    if not np.isfinite(alone).all():
        text = f"{what} of a batch of one row is not finite: statistics of the batch are used"
        return FlowClaim(LAW, "batch statistics", text)
    columns = ""
    if alone.ndim == 2 and len(whole) > 2:
        mean, std = whole.mean(axis=0), whole.std(axis=0)
        if np.all(np.abs(mean) < 1e-3 * (1 + std)):
            text = f"{what} has mean 0 over the batch: it is normalised by statistics of the batch"
            return FlowClaim(LAW, "batch statistics", text)
        bad = np.flatnonzero(~np.isclose(alone, whole, rtol=1e-6, atol=1e-8).all(axis=0))
        columns = f" (columns {', '.join(map(str, bad[:6]))})" if len(bad) < alone.shape[1] else ""
    text = f"{what} of a row depends on the other rows of the batch{columns}"
    return FlowClaim(LAW, "rows mix", text)
