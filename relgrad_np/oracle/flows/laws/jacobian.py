"""The law of the Jacobian: forward's log|det J| is that of the matrix of its derivatives.

Allowed: what the differences may be off by, carried through J^-1, and `64 eps` times the condition
of the sum. A map of R^D is one-to-one only if the sign of det J is the same everywhere.
"""

from __future__ import annotations

import numpy as np

from ..differences import Jacobians
from ..evidence import Evidence
from ..records import OK, WRONG, Array, FlowClaim, LawResult, not_judged, worst
from ..relations import Parts, of_log_det, off_by, only_where
from .projected import projected

LAW = "jacobian"


def jacobian(evidence: Evidence) -> LawResult:
    """Compare log|det J| of forward with the slogdet of its Jacobian by differences."""
    if evidence.calls.forward is None:
        return not_judged(LAW, "forward is not given")
    if evidence.too_large:
        return projected(evidence)
    return judged(evidence, evidence.jacobians)


def judged(evidence: Evidence, made: Jacobians, parts: Parts = ()) -> LawResult:
    """Judge the log|det J| of a flow, or of a part of it, at the rows of its Jacobians."""
    got, n = made.claimed, len(made.x)
    singular = ~made.usable & ~(np.nan_to_num(got, nan=np.inf) <= made.upper + 1e-6)
    notes = _notes(evidence, made, singular)
    if 2 * singular.sum() > len(singular) and evidence.rows.given:
        return _singular(made, singular, notes)
    if singular.all():
        return _singular(made, singular, notes)
    if not made.usable.any():
        return not_judged(LAW, _why_none(made), *notes)
    kept = made.keep(made.usable)
    error = np.abs(kept.claimed - kept.log_det)
    bad = ~(error <= kept.allowed)
    units = worst(error, kept.allowed)
    if bad.any():
        evidence.wrong_log_det = tuple(np.flatnonzero(made.usable)[bad])
        return LawResult(
            LAW, WRONG, _sizes(kept, error, bad), units, (_claim(kept, bad, parts),), notes
        )
    if set(kept.sign) == {-1.0, 1.0}:
        text = "det J is positive at some rows and negative at others"
        claim = FlowClaim("one-to-one", "sign changes", f"forward is not one-to-one: {text}")
        return LawResult(LAW, WRONG, text, units, (claim,), notes)
    left = f"; {n - len(kept.x)} set aside" if len(kept.x) < n else ""
    near = float(np.median(kept.allowed))
    text = f"{len(kept.x)} Jacobians by differences{left}; log|det J| to {near:.0e}"
    return LawResult(LAW, OK, text, units, (), notes)


def _claim(kept: Jacobians, bad: Array, parts: Parts) -> FlowClaim:
    got, D = kept.claimed, kept.x.shape[1]
    where = only_where(kept.x, kept.z, kept.sign, bad)
    lost = ~np.isfinite(got)
    if (lost & bad).any():
        values = sorted({str(v) for v in got[lost]})
        where = only_where(kept.x, kept.z, kept.sign, lost) or where
        text = f"log|det J| is {' or '.join(values)} where z is finite and J is invertible"
        return FlowClaim(LAW, "not finite", text, where=where)
    told = of_log_det(got, kept.log_det, kept.allowed, np.ones_like(bad), D, kept.J, parts)
    if told.relation == "unnamed" or told.relation in ("float32 digits", "an epsilon"):
        among = of_log_det(got, kept.log_det, kept.allowed, bad, D, kept.J, parts)
        told = among._replace(where=where)
    else:
        told = told._replace(where="")  # it holds on the right rows, too
    if told.relation == "unnamed":
        text = f"log|det J| is not that of forward's Jacobian: {off_by((got - kept.log_det)[bad])}"
        return FlowClaim(LAW, "unnamed", text, where=where)
    return FlowClaim(LAW, told.relation, told.text, where=told.where, size=told.size)


def _sizes(kept: Jacobians, error: Array, bad: Array) -> str:
    i = int(np.argmax(np.where(np.isnan(error), np.inf, error) / kept.allowed))
    return (
        f"wrong at {int(bad.sum())} of {len(bad)} rows; row {i}: {kept.claimed[i]:.10g}, "
        f"by differences {kept.log_det[i]:.10g} +- {kept.allowed[i]:.0e}"
    )


def _singular(made: Jacobians, rows: Array, notes: tuple[str, ...]) -> LawResult:
    i = int(np.flatnonzero(rows)[0])
    text = (
        f"J is singular at {int(rows.sum())} of {len(rows)} rows, where log|det J| is said to be "
        f"{made.claimed[i]:.3g}: it is {made.upper[i]:.3g} or less"
    )
    where = only_where(made.x, made.z, made.sign, rows)
    return LawResult(
        LAW, WRONG, text, np.inf, (FlowClaim(LAW, "singular", text, where=where),), notes
    )


def _notes(evidence: Evidence, made: Jacobians, singular: Array) -> tuple[str, ...]:
    lines, (noise, noise_of_log_det) = [], made.noise
    if singular.any():
        where = ", or they lie outside the domain" if not evidence.rows.given else ""
        lines.append(
            f"J is 0 up to rounding at {int(singular.sum())} of {len(singular)} rows, left "
            f"out: z is flat there{where}"
        )
    floor = 2.0**-28 if evidence.calls.dtype == "float64" else np.inf
    for what, size in (("z", noise), ("log|det J|", noise_of_log_det)):
        if size > floor:
            lines.append(
                f"{what} of forward has noise of {size:.0e}: float32 arithmetic inside, or an "
                "iteration; what is allowed follows from it"
            )
    return tuple(lines)


def _why_none(made: Jacobians) -> str:
    if not np.isfinite(made.J).all():
        return "z is not finite beside any of the rows: give X, rows inside the domain"
    return (
        "the differences do not converge at any row (kinks at all of them, noise, or J close to "
        "singular): give X elsewhere, or a smoother flow"
    )
