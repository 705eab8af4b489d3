"""The law of the Jacobian for large D, by estimates; the verdict says what they can't see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..evidence import Evidence
from ..projections import STEP, Estimate, of_derivative, of_value
from ..records import OK, WRONG, Array, FlowClaim, FlowRaised, LawResult, not_judged

LAW = "jacobian"
ROWS = 2
LINES = 3


def projected(evidence: Evidence) -> LawResult:
    """Compare log|det J|, and its derivatives along lines, with estimates."""
    calls = evidence.calls
    rng, h = calls.rng(25), STEP[calls.dtype]
    rows: list[tuple[str, float, Estimate]] = []
    X = evidence.X[:ROWS]
    z, log_det = calls.z(X)
    for i, x in enumerate(X):
        if calls.vjp is not None:
            rows.append(
                ("value", float(log_det[i]), of_value(calls.z, _checked(evidence), x, rng, h))
            )
        if calls.inverse is not None and _undone(evidence, z[i : i + 1], x):
            for _ in range(LINES):
                v = rng.standard_normal(calls.D)
                claimed = _slope(evidence, x, v, h)
                made = of_derivative(calls.z, lambda u: calls.x(u)[0], x, v, rng, h)
                rows.append(("derivative", claimed, made))
    if not rows:
        text = f"D = {calls.D} is too large for the whole Jacobian in the time given"
        return not_judged(LAW, f"{text}; give vjp or inverse, or more seconds")
    return _result(rows, calls.D)


def _undone(evidence: Evidence, z: Array, x: Array) -> bool:
    """Say whether the inverse is right here: the estimate rests on it."""
    try:
        return bool(np.abs(evidence.calls.x(z)[0] - x).max() < 1e-5 * (1 + np.abs(x).max()))
    except FlowRaised:
        return False


def _checked(evidence: Evidence) -> Callable[[Array, Array], Array]:
    calls: Any = evidence.calls

    def vjp(x: Array, u: Array) -> Array:
        try:
            made = np.array(calls.vjp(x.astype(calls.dtype), u.astype(calls.dtype)), dtype=float)
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())[:160]
            raise FlowRaised(f"vjp raises {text}") from error
        if made.shape != u.shape:
            text = f"vjp returned shape {made.shape}, it must be {u.shape}"
            raise FlowRaised(text, relation="shape")
        return made

    return vjp


def _slope(evidence: Evidence, x: Array, v: Array, h: float) -> float:
    """Return the derivative of the flow's own log|det J| along v."""
    steps = h * np.array([1.0, -1.0, 0.5, -0.5])
    _, values = evidence.calls.z(x + steps[:, None] * v)
    one, half = (values[0] - values[1]) / (2 * h), (values[2] - values[3]) / h
    return float((4 * half - one) / 3)


def _result(rows: list[tuple[str, float, Estimate]], D: int) -> LawResult:
    floor = 1e-6
    units = [
        abs(got - made.value) / (made.allowed + floor * (1 + abs(got))) for _, got, made in rows
    ]
    kinds = {kind for kind, _, _ in rows}
    by_kind = {
        kind: float(np.median([made.allowed for k, _, made in rows if k == kind])) for kind in kinds
    }
    seen = [f"its {kind} to +- {size:.2g}" for kind, size in sorted(by_kind.items())]
    text = f"D = {D}: by random projections, log|det J| is seen in {' and '.join(seen)}"
    notes = ["log|det J| was estimated, not computed: what is smaller than that is not seen"]
    if "value" not in kinds:
        notes.append("a term of log|det J| that does not depend on x can't be seen without vjp")
    worst = int(np.argmax(units))
    if units[worst] <= 1:
        return LawResult(LAW, OK, text, units[worst], (), tuple(notes))
    kind, got, made = rows[worst]
    words = "log|det J|" if kind == "value" else "the derivative of log|det J| along a line"
    told, relation = _told([r for r in rows if r[0] == kind])
    near = f"{made.value:.6g} +- {made.allowed:.2g}"
    claim = FlowClaim(LAW, relation, f"{words} is {got:.6g}, by projections {near}{told}")
    return LawResult(LAW, WRONG, text, units[worst], (claim,), tuple(notes))


def _told(rows: list[tuple[str, float, Estimate]]) -> tuple[str, str]:
    """Return a relation that explains all estimates of a kind, if one does."""
    for relation, words, factor in (
        ("missing", "it is missing", 0.0), ("sign", "it has the wrong sign", -1.0),
        ("half", "it is 1/2 times the right one", 0.5),
        ("double", "it is 2 times the right one", 2.0),
    ):  # fmt: skip
        if all(abs(got - factor * made.value) <= made.allowed for _, got, made in rows):
            return f": {words}", relation
    return "", "unnamed"
