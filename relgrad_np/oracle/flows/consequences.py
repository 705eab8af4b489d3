"""What follows from a wrong log|det J|: the mass of p, where nothing else can make it wrong."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .evidence import Evidence
from .latent import normal
from .proposal import NU
from .records import OK, WRONG, FlowRaised, LawResult

FOLLOWS = "it follows from log|det J|"
ROWS = 4000
DIGITS = ("float32 digits", "an epsilon")  # too small to change the mass


def mass_by_log_det(evidence: Evidence, found: Mapping[str, LawResult]) -> LawResult:
    """Return the law of the mass without its claim where it follows from the wrong log|det J|.

    With the right one, p integrates to 1 where forward is one-to-one, its inverse has an x for all
    draws of the base, and log p is that of a standard normal z and log|det J|, far out as well.
    """
    mass, cause = found["mass"], found["jacobian"]
    relations = {(claim.law, claim.relation) for claim in cause.claims}
    if (mass.verdict, cause.verdict) != (WRONG, WRONG) or not evidence.wrong_log_det:
        return mass
    if any(law != "jacobian" or relation in DIGITS for law, relation in relations):
        return mass
    others = (found[name].verdict for name in ("inverse", "density") if name in found)
    if list(others) != [OK, OK] or not _is_normal_everywhere(evidence):
        return mass
    return mass._replace(claims=(), text=f"{mass.text}; {FOLLOWS}")


def _is_normal_everywhere(evidence: Evidence) -> bool:
    """Whether log p = log normal(z) + forward's log|det J|, with z of Student's t, and far out."""
    calls = evidence.calls
    z = calls.rng(30).standard_t(NU, (ROWS, calls.D)) * np.resize([1.0, 2.0, 4.0], ROWS)[:, None]
    try:
        x, _ = calls.x(z)
        again, log_det = calls.z(x)
        there = bool(np.allclose(again, z, rtol=1e-4, atol=1e-4))
        return there and bool(np.allclose(calls.log_p(x), normal(again) + log_det, rtol=1e-6))
    except FlowRaised:
        return False
