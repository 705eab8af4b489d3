"""The law of the parameters' gradient: it is what log p changes by when they move.

Each parameter is moved along a direction of random signs, in place, and put back. Allowed: the
difference's own error by two extrapolations, its rounding, and `64 eps` times the size of terms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..calls import FlowCalls
from ..differences import GAIN
from ..evidence import Evidence
from ..records import EPS, OK, WRONG, Array, FlowClaim, FlowRaised, LawResult, few, not_judged

LAW = "gradients"
LADDERS = {"float64": (2.0**-10, 2.0**-14, 2.0**-18), "float32": (2.0**-5, 2.0**-7)}
LOOSE = 1e-3  # a parameter whose difference is off by a larger share is set aside
MOST = 200  # parameters


class Moved(NamedTuple):
    """One parameter: log p's slope along a direction, its error, and what the gradient says."""

    name: str
    slope: float
    allowed: float
    claimed: float | None
    size: float
    of_log_det: float = np.nan

    @property
    def usable(self) -> bool:
        """Whether the difference converged."""
        return self.allowed <= LOOSE * (abs(self.slope) + self.size) and np.isfinite(self.slope)

    @property
    def wrong(self) -> bool:
        """Whether the gradient is not the slope."""
        return self.claimed is not None and not abs(self.claimed - self.slope) <= self.allowed

    @property
    def flows(self) -> bool:
        """Whether log p depends on it, as far as can be seen."""
        return abs(self.slope) > 4 * self.allowed


def gradients(evidence: Evidence) -> LawResult:
    """Compare the gradient of mean log p with directional differences, parameter by parameter."""
    calls = evidence.calls
    if not calls.parameters or calls.gradient is None:
        missing = "gradient" if calls.parameters else "parameters"
        return not_judged(LAW, f"{missing} {'is' if missing == 'gradient' else 'are'} not given")
    x = evidence.X
    f = _objective(calls, x)
    try:
        given = dict(calls.gradient(x.astype(calls.dtype)))
    except NotImplementedError:
        return not_judged(LAW, "gradient is not implemented")
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise FlowRaised(f"gradient raises {text}") from error
    names = [n for n, p in calls.parameters.items() if np.asarray(p).dtype.kind == "f" and p.size]
    shapes = [
        n
        for n in names
        if given.get(n) is not None and np.shape(given[n]) != calls.parameters[n].shape
    ]
    if shapes:
        name, right = shapes[0], calls.parameters[shapes[0]].shape
        text = f"the gradient of {name} has shape {np.shape(given[name])}, not {right}"
        raise FlowRaised(text, relation="shape")
    rng = calls.rng(21)
    log_det = (lambda: float(np.mean(calls.z(x)[1]))) if calls.forward and calls.log_prob else None
    moved = [_moved(calls, f, name, given.get(name), rng, log_det) for name in names[:MOST]]
    return _result(calls, moved, given, len(names), len(x))


def _objective(calls: FlowCalls, x: Array) -> Callable[[], float]:
    """Return what the gradient is that of: mean log p, or the mean of log|det J|."""
    if calls.log_prob is not None:
        return lambda: float(np.mean(calls.log_p(x)))
    return lambda: float(np.mean(calls.z(x)[1]))


def _moved(
    calls: FlowCalls,
    f: Callable[[], float],
    name: str,
    given: Any,
    rng: np.random.Generator,
    log_det: Callable[[], float] | None = None,
) -> Moved:
    """Return the slope along a random direction, by the step that has the least error."""
    p = calls.parameters[name]
    kept = p.copy()
    scale = max(float(np.sqrt(np.mean(kept.astype(float) ** 2))), 0.05)
    u = rng.choice([-1.0, 1.0], p.shape)
    claimed = None if given is None else float(np.sum(np.asarray(given, dtype=float) * u))
    size = 0.0 if given is None else float(np.sqrt(np.sum(np.asarray(given, dtype=float) ** 2)))
    dtype = "float32" if p.dtype == np.float32 else calls.dtype
    best = (np.nan, np.inf)
    try:
        for step in LADDERS[dtype]:
            made = _slope(p, kept, u, f, step * scale, EPS[dtype])
            if np.isfinite(made[1]) and made[1] < best[1]:
                best = made
            if best[1] <= 1e-7 * (abs(best[0]) + size):
                break
        allowed = best[1] + 64 * EPS[dtype] * (size + abs(best[0]))
        moved = Moved(name, best[0], allowed, claimed, size)
        if moved.wrong and log_det is not None:
            part, _ = _slope(p, kept, u, log_det, LADDERS[dtype][-1] * scale, EPS[dtype])
            moved = moved._replace(of_log_det=part)
    finally:
        p[...] = kept
    return moved


def _slope(
    p: Array, kept: Array, u: Array, f: Callable[[], float], h: float, eps: float
) -> tuple[float, float]:
    """Return a slope by extrapolated central differences, and its error."""

    def at(t: float) -> float:
        p[...] = kept + t * u
        return f()

    values = np.array([[at(s * h), at(-s * h)] for s in (1.0, 0.5, 0.25)])  # (3, 2)
    centre = at(0.0)
    slopes = (values[:, 0] - values[:, 1]) / (2 * h * np.array([1.0, 0.5, 0.25]))
    first, second = (4 * slopes[1] - slopes[0]) / 3, (4 * slopes[2] - slopes[1]) / 3
    even = values.sum(axis=1) - 2 * centre
    noise = abs(even[0] - 20 * even[1] + 64 * even[2]) / GAIN
    rounding = 16 * max(noise, eps * (1 + abs(centre))) / h
    return float(second), float(4 * max(abs(second - first) - rounding, 0) + rounding)


def _result(
    calls: FlowCalls, moved: list[Moved], given: dict[str, Any], count: int, N: int
) -> LawResult:
    usable = [m for m in moved if m.usable]
    dead = [m for m in usable if m.flows and (m.claimed is None or m.size == 0)]
    bad = [m for m in usable if m.wrong and m not in dead]
    judged = [m for m in usable if m.claimed is not None]
    idle = [m.name for m in moved if m.claimed in (None, 0.0) and not m.flows]
    notes = (f"nothing depends on {few(idle)} at these rows",) if idle else ()
    units = max(
        (abs(m.claimed - m.slope) / m.allowed for m in judged if m.claimed is not None), default=0.0
    )
    what = "mean log p" if calls.log_prob is not None else "mean log|det J|"
    text = f"{len(judged)} of {count} parameters of {what}, by differences"
    text += f"; {len(moved) - len(usable)} set aside" if len(usable) < len(moved) else ""
    claims = []
    if dead:
        names = few(m.name for m in dead)
        claims.append(FlowClaim(LAW, "no gradient", f"no gradient flows to {names}"))
    if bad:
        claims.append(_claim(bad, len(judged), N))
    if claims:
        return LawResult(LAW, WRONG, text, max(units, 2.0), tuple(claims), notes)
    if not judged:
        return not_judged(LAW, "no difference converged, or no gradient is given", *notes)
    return LawResult(LAW, OK, text, units, (), notes)


def _claim(bad: list[Moved], judged: int, N: int) -> FlowClaim:
    """Say what the wrong gradients are."""
    where = "" if len(bad) == judged else f"of {few(m.name for m in bad)} only"
    ratios = np.array([(m.claimed or 0.0) / m.slope for m in bad if m.flows])
    if len(ratios) and np.ptp(ratios) <= 1e-4 * np.abs(ratios).max():
        c = float(ratios[0])
        for relation, value, words in (
            ("sign", -1.0, "has the wrong sign: it is that of -log p"),
            ("batch sum", float(N), "is summed over the rows, not averaged"),
            ("sign and batch sum", -float(N), "is that of the sum of -log p over the rows"),
            ("half", 0.5, "is 1/2 times the right one"),
            ("double", 2.0, "is 2 times the right one"),
            ("one row", 1.0 / N, "is 1/N times the right one"),
        ):
            if abs(c - value) <= 1e-4 * abs(value):
                return FlowClaim(LAW, relation, f"the gradient {words}", where=where)
        if len(ratios) > 1:
            return FlowClaim(
                LAW, "factor", f"the gradient is {c:.6g} times the right one", where=where
            )
    for relation, words, right in (
        ("detached", "lacks that of log|det J|", [m.slope - m.of_log_det for m in bad]),
        ("log det alone", "is that of log|det J| alone", [m.of_log_det for m in bad]),
        ("log det sign", "subtracts that of log|det J|", [m.slope - 2 * m.of_log_det for m in bad]),
    ):
        near = [1e-5 * (abs(m.slope) + abs(m.of_log_det)) + m.allowed for m in bad]
        if all(abs((m.claimed or 0) - r) <= a for m, r, a in zip(bad, right, near, strict=True)):
            return FlowClaim(LAW, relation, f"the gradient {words}", where=where)
    m = max(bad, key=lambda m: abs((m.claimed or 0.0) - m.slope) / m.allowed)
    text = (
        f"the gradient of {few(b.name for b in bad)} is not what log p changes by: along a "
        f"direction of {m.name} {m.claimed:.6g}, by differences {m.slope:.6g} +- {m.allowed:.0e}"
    )
    return FlowClaim(LAW, "unnamed", text)
