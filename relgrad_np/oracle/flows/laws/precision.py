"""The law of precision: in float32 the same values come out, to the digits that float32 has.

Allowed: `128 eps` of float32 times the size of the values and what rounding of x moves them by,
and eight times what rounding of the parameters does. Without `parameters` it is 4096 eps. An
inverse that iterates may stop at another x: it is enough that forward makes z of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..evidence import Evidence
from ..records import EPS, OK, WRONG, Array, FlowClaim, FlowRaised, LawResult, not_judged, worst
from ..sensitivity import sensitivity

LAW = "precision"
FORMULAS = {"forward": ("z", "log|det J|"), "log_prob": ("log_prob",), "inverse": ("x of inverse",)}


def precision(evidence: Evidence) -> LawResult:
    """Compare what a float32 copy of the flow returns with what the flow does."""
    calls = evidence.calls
    if not calls.in_float32:
        return not_judged(LAW, "in_float32 is not given")
    if calls.dtype != "float64":
        return not_judged(LAW, "the flow itself is one of float32")
    units, claims, names = 0.0, list[FlowClaim](), list[str]()
    for key in FORMULAS:
        if key not in calls.in_float32 or getattr(calls, key) is None:
            continue
        x = evidence.X if key != "inverse" else evidence.forward[0]
        for what, right, got in _both(evidence, key, x):
            names.append(what)
            size, claim = _judge(evidence, x, what, right, got)
            units = max(units, size)
            claims += [claim] if claim else []
    if not names:
        return not_judged(LAW, "in_float32 holds none of the flow's callables")
    text = f"{', '.join(names)} in float32 beside float64"
    if claims:
        return LawResult(LAW, WRONG, text, units, tuple(claims))
    return LawResult(LAW, OK, text, units)


def _both(
    evidence: Evidence, key: str, x: Array
) -> list[tuple[str, Callable[[Array], Array], Array]]:
    """Return (what, the right function, the float32 values) of each result of a callable."""
    calls, f = evidence.calls, evidence.calls.in_float32[key]
    try:
        made = f(x.astype(np.float32))
    except NotImplementedError:
        return []
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise FlowRaised(f"{key} raises in float32: {text}") from error
    arrays = made if isinstance(made, tuple | list) else (made,)
    if key == "forward":
        rights: list[Callable[[Array], Array]] = [lambda v: calls.z(v)[0], lambda v: calls.z(v)[1]]
    elif key == "inverse":
        rights = [lambda v: calls.x(v)[0]]
    else:
        rights = [calls.log_p]
    found = []
    for what, right, array in zip(FORMULAS[key], rights, arrays, strict=False):
        got, shape = np.array(array, dtype=float), right(x).shape
        if got.shape == (*shape, 1):
            got = got.reshape(shape)
        if got.shape not in (shape, ()):
            raise FlowRaised(
                f"{what} in float32 has shape {got.shape}, not {shape}", relation="shape"
            )
        found.append((what, right, np.broadcast_to(got, shape)))
    return found


def _judge(
    evidence: Evidence, x: Array, what: str, f: Callable[[Array], Array], got: Array
) -> tuple[float, FlowClaim | None]:
    calls, eps = evidence.calls, EPS["float32"]
    right = f(x.astype(np.float32).astype(float))
    slope = sensitivity(calls, f, x, 23, 0.1)
    factor = 128 if calls.parameters else 4096
    with np.errstate(all="ignore"):
        allowed = factor * eps * (np.abs(right) + 1 + slope) + 8 * _by_rounding(
            evidence, f, x, right
        )
    kept = np.isfinite(right) & np.isfinite(allowed)
    if what == "x of inverse" and evidence.inexact > eps / 8:
        kept &= ~_solves(evidence, got, x)
    lost = np.isfinite(right) & ~np.isfinite(got)
    if lost.any():
        count = int(lost.reshape(len(lost), -1).any(axis=1).sum())
        name = "NaN" if np.isnan(got[lost]).any() else "infinite"
        text = f"{what} is {name} in float32 at {count} of {len(right)} rows, and finite in float64"
        return np.inf, FlowClaim(LAW, f"{name} in float32", text)
    error = np.abs(got - right)
    units = worst(error[kept], allowed[kept])
    if units <= 1:
        return units, None
    text = (
        f"{what} loses digits in float32: off by up to {float(error[kept].max()):.2g}, where "
        f"{float(np.median(allowed[kept])):.1g} is what rounding does"
    )
    return units, FlowClaim(LAW, "float32 loses digits", text)


def _solves(evidence: Evidence, got: Array, z: Array) -> Array:
    """Say at which rows (N, 1) forward makes z of an x in float32 as well as inverse declares to.

    Two x that an inverse which iterates may stop at are apart by more where forward is flat.
    """
    near = (2 * evidence.inexact + 128 * EPS["float32"]) * (1 + np.abs(z))
    with np.errstate(all="ignore"):
        off = np.abs(evidence.calls.z(got)[0] - z)
    return np.asarray((off <= near).all(axis=1, keepdims=True))


def _by_rounding(evidence: Evidence, f: Callable[[Array], Array], x: Array, right: Array) -> Array:
    """Return what rounding of the parameters to float32 may do, by random signs."""
    calls = evidence.calls
    kept = {name: p.copy() for name, p in calls.parameters.items() if p.dtype.kind == "f"}
    most, rng = np.zeros_like(right), calls.rng(24)
    try:
        for _ in range(3 if kept else 0):
            for name, p in kept.items():
                calls.parameters[name][...] = p * (1 + 2.0**-20 * rng.choice([-1.0, 1.0], p.shape))
            most = np.fmax(most, np.abs(f(x) - right) * 2.0**-4)
    finally:
        for name, p in kept.items():
            calls.parameters[name][...] = p
    return most
