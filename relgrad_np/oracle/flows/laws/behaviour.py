"""The law of behaviour: a flow in use is a function. It keeps its inputs and their dtype."""

from __future__ import annotations

import numpy as np

from ..evidence import Evidence
from ..records import OK, WRONG, Array, FlowClaim, LawResult

LAW = "behaviour"


def behaviour(evidence: Evidence) -> LawResult:
    """Call twice with the same rows; say what changed, what is random, which dtype comes back."""
    calls, x = evidence.calls, evidence.X
    claims: list[FlowClaim] = []
    made: list[tuple[str, list[Array]]] = []
    if calls.forward is not None:
        runs = [calls.z(x) for _ in range(3)]
        made += [("z", [run[0] for run in runs]), ("log|det J|", [run[1] for run in runs])]
        z = runs[0][0]
        if calls.inverse is not None and np.isfinite(z).all():
            made.append(("x of inverse", [calls.x(z)[0] for _ in range(2)]))
    if calls.log_prob is not None:
        made.append(("log_prob", [calls.log_p(x) for _ in range(3)]))
    for what, values in made:
        if claim := _unsteady(what, values, calls.eps):
            claims.append(claim)
            evidence.random = claim.relation == "random"
            break
    claims += [
        FlowClaim(LAW, "changes its input", f"{name} changes its input in place")
        for name in calls.changed
    ]
    claims += [
        FlowClaim(LAW, "dtype", f"{what} is {dtype} for rows of {calls.dtype}")
        for what, dtype in calls.dtypes.items()
    ]
    if evidence.rows.given:
        for what, values in made:
            finite = np.isfinite(values[0]).reshape(len(values[0]), -1).all(axis=1)
            if what in ("z", "log_prob") and np.isnan(values[0][~finite]).any():
                count = int(np.isnan(values[0]).reshape(len(finite), -1).any(axis=1).sum())
                text = f"{what} is NaN at {count} of {len(finite)} rows of X"
                claims.append(FlowClaim(LAW, "NaN", text))
    text = f"{len(made)} results called again, inputs kept, dtype {calls.dtype} kept"
    if claims:
        text = "; ".join(claim.text for claim in claims)
        return LawResult(LAW, WRONG, text, np.inf, tuple(claims))
    return LawResult(LAW, OK, text)


def _unsteady(what: str, values: list[Array], eps: float) -> FlowClaim | None:
    """Say what differs from call to call, if anything does by more than rounding."""
    first = values[0]
    with np.errstate(all="ignore"):
        off = max(float(np.nanmax(np.abs(v - first), initial=0.0)) for v in values[1:])
        size = float(np.nanmax(np.abs(np.where(np.isfinite(first), first, 0)), initial=0.0))
    if off <= 1024 * eps * (1 + size):
        return None
    later = values[1:]
    if len(later) > 1 and np.array_equal(later[0], later[1], equal_nan=True):
        text = f"{what} of the first call differs from that of the next ones: it initialises itself"
        return FlowClaim(LAW, "initialises itself", text)
    text = f"{what} differs from call to call by up to {off:.3g}: random, or training mode"
    return FlowClaim(LAW, "random", text)
