"""The law of the tails: far out log p is finite or -inf, never NaN, and nothing collapses.

It binds flows that claim to be onto all of R^D (`onto=True`); of others it is a note, for they may
have a domain. A map onto R^D is proper: z must leave every ball when x does.
"""

from __future__ import annotations

import numpy as np

from ..evidence import Evidence
from ..records import OK, WRONG, Array, FlowClaim, FlowRaised, LawResult, not_judged

LAW = "tails"
SCALES = 10.0 ** np.arange(1, 9)
TO = 1e6  # what is judged; what lies beyond is a note


def tails(evidence: Evidence) -> LawResult:
    """Look at log p, forward and inverse along axes and random lines, out to 1e8."""
    calls = evidence.calls
    lines = _lines(calls.D, calls.rng(22))
    centre = np.median(evidence.X, axis=0)
    found: list[tuple[float, FlowClaim]] = []
    scales = SCALES if calls.dtype == "float64" else SCALES[:6]
    points = centre + scales[:, None, None] * lines  # (S, K, D)
    shape = points.shape[:2]
    flat = points.reshape(-1, calls.D)
    z: Array | None = None
    if calls.log_prob is not None:
        found += _of(calls.log_p(flat).reshape(shape), scales, "log_prob", (np.nan, np.inf))
    if calls.forward is not None:
        z, log_det = calls.z(flat)
        found += _of(z.sum(axis=1).reshape(shape), scales, "z of forward", (np.nan,))
        found += _of(log_det.reshape(shape), scales, "log|det J| of forward", (np.nan, np.inf))
    if calls.inverse is not None and calls.onto:
        try:
            x, _ = calls.x((scales[:, None, None] * lines).reshape(-1, calls.D))
            found += _of(x.sum(axis=1).reshape(shape), scales, "x of inverse", (np.nan,))
        except FlowRaised as error:
            found.append((10.0, FlowClaim(LAW, "raises", f"far out, {error}")))
    if calls.onto and z is not None:
        found += _proper(np.linalg.norm(z, axis=1).reshape(shape), scales, lines)
    return _result(found, calls.onto)


def _result(found: list[tuple[float, FlowClaim]], onto: bool) -> LawResult:
    near = [claim for scale, claim in found if scale <= TO]
    if near and onto:
        return LawResult(LAW, WRONG, near[0].text, np.inf, tuple(near[:3]))
    notes = tuple(claim.text for _, claim in found[:3])
    if near:
        text = "onto is not claimed, and there are values that are not finite far out"
        return not_judged(LAW, text, *notes)
    return LawResult(LAW, OK, f"no NaN out to {TO:g}, along axes and random lines", notes=notes)


def _lines(D: int, rng: np.random.Generator) -> Array:
    """Return unit directions (K, D): axes, both ways, and random ones."""
    some = rng.choice(D, min(D, 16), replace=False)
    axes = np.eye(D)[some] if D <= 4096 else np.zeros((0, D))
    other = rng.standard_normal((6, D))
    return np.concatenate([axes, -axes, other / np.linalg.norm(other, axis=1, keepdims=True)])


def _of(
    values: Array, scales: Array, what: str, bad: tuple[float, ...]
) -> list[tuple[float, FlowClaim]]:
    """Return a claim, with the scale at which it begins, for each kind of bad value."""
    made = []
    for kind in bad:
        where = np.isnan(values) if np.isnan(kind) else values == kind
        at = np.flatnonzero(where.any(axis=1))
        if len(at):
            scale, lines = float(scales[at[0]]), int(where[at[0]].sum())
            name = "NaN" if np.isnan(kind) else "inf"
            text = f"{what} is {name} at |x| = {scale:g} on {lines} of {values.shape[1]} lines"
            made.append((scale, FlowClaim(LAW, name, text)))
    return made


def _proper(far: Array, scales: Array, lines: Array) -> list[tuple[float, FlowClaim]]:
    """Return a claim if |z| stays where it is on a line on which |x| grows without bound."""
    start, end = (int(np.flatnonzero(scales == s)[0]) for s in (1e3, TO))
    with np.errstate(all="ignore"):
        still = np.isfinite(far[end]) & (far[end] <= far[start] * (1 + 1e-9))
    if not still.any():
        return []
    k = int(np.flatnonzero(still)[0])
    text = (
        f"forward is not onto: |z| is {far[start, k]:.6g} at |x| = 1e3 and {far[end, k]:.6g} at 1e6"
        f" on {int(still.sum())} of {len(lines)} lines"
    )
    return [(TO, FlowClaim(LAW, "not onto", text))]
