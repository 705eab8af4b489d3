"""Judge a flow by the laws that every invertible density model obeys.

The flow is a few callables of NumPy arrays. Each law is judged by itself: one that raises does not
end the others, and what was not given is not judged, which the verdict says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from .calls import FlowCalls
from .consequences import mass_by_log_det
from .dense import relative_rows
from .evidence import Evidence
from .flow_report import FlowReport
from .laws.behaviour import behaviour
from .laws.density import density
from .laws.gradients import gradients
from .laws.inverse import inverse
from .laws.jacobian import jacobian, judged
from .laws.mass import mass
from .laws.modes import modes
from .laws.of_samples import samples
from .laws.precision import precision
from .laws.rows import rows
from .laws.tails import tails
from .parts import JudgedPart, judged_law
from .parts import parts as judge_parts
from .progress import RowsBar
from .records import EPS, WRONG, Array, FlowRaised, LawResult

LAWS: dict[str, Callable[[Evidence], LawResult]] = {
    "behaviour": behaviour, "rows": rows, "jacobian": jacobian, "inverse": inverse,
    "density": density, "mass": mass, "samples": samples, "gradients": gradients, "tails": tails,
    "precision": precision,
}  # fmt: skip
NAMES = (*LAWS, "parts", "modes")
OF_PARTS = {name: LAWS[name] for name in ("behaviour", "rows", "jacobian", "inverse")}
BATCH = {"batch sum", "batch mean", "times N"}


def check_flow(
    *,
    D: int,
    forward: Callable[[Array], Any] | None = None,
    inverse: Callable[[Array], Any] | None = None,
    log_prob: Callable[[Array], Any] | None = None,
    sample: Callable[[int], Any] | None = None,
    parameters: Mapping[str, Array] | None = None,
    gradient: Callable[[Array], Mapping[str, Any]] | None = None,
    X: Any = None,
    base: Callable[[Array], Any] | None = None,
    parts: Sequence[tuple[Any, ...]] | None = None,
    in_float32: Mapping[str, Callable[..., Any]] | None = None,
    modes: Callable[[bool], Any] | None = None,
    dense: Mapping[str, Any] | None = None,
    vjp: Callable[[Array, Array], Any] | None = None,
    onto: bool = False,
    inverse_accuracy: float = 0.0,
    name: str | None = None,
    dtype: str = "float64",
    born: str = "float64",
    level: float = 1e-3,
    seed: int = 0,
    laws: Collection[str] | None = None,
    seconds: float = 20.0,
    progress: bool | None = None,
    notes: Sequence[str] = (),
    X_from: str = "",
) -> FlowReport:
    """Judge a flow, an invertible map with a density, by its laws; any part of it will do.

    `forward(x (N, D))` returns z (N, D) and log|det dz/dx| (N,). `inverse(z)` returns x, or x and
    log|det dx/dz|. `log_prob(x)` returns (N,), `sample(n)` x (n, D), or x and their log p.
    `base(z)`: log density of the latent (N,). `X`: rows inside the domain; else rows are drawn.
    `parameters`: arrays by name that log_prob reads, which are moved in place and put back;
    `gradient(x)`: of mean log p, by name. `parts`: (name, forward) or (name, forward, inverse) of
    each layer, from data to latent. `in_float32`: the same callables of a float32 copy, by name.
    `modes(train)`: switches training mode. `dense`: (W, G_W) of square matrices, by name.
    `vjp(x, u)`: J'u, for a D too large for whole Jacobians, which may take `seconds`. `onto`: it
    claims to be a bijection of R^D. `inverse_accuracy`: of an inverse that iterates. `born`: the
    dtype that the model has where it is not judged. `level`: of all tests of samples together.
    `laws`: the names of those to judge. `progress`: a bar; by default where a terminal waits long.
    `X_from`: where X is from, in words, if an adapter has made it.

    Returns a `FlowReport`. ValueError for arguments that can't be used; what the flow raises is
    part of the report.

    >>> scale = lambda x: (2 * x, np.full(len(x), 2 * np.log(2)))
    >>> check_flow(D=2, forward=scale, inverse=lambda z: z / 2).verdict
    'PASS: behaviour, rows, jacobian, inverse, tails; not judged: density, mass, samples, ...'
    >>> half = lambda x: (2 * x, np.full(len(x), np.log(2)))
    >>> print(check_flow(D=2, forward=half).verdict)
    FAIL: log|det J| is 1/2 times the right one: halved, or averaged over D
    """
    if dtype not in EPS:
        raise ValueError(f"unknown dtype {dtype!r}; choose from {', '.join(EPS)}")
    if laws is not None and (unknown := sorted(set(laws) - set(NAMES))):
        raise ValueError(f"unknown law {unknown[0]!r}; choose from {', '.join(NAMES)}")
    if forward is None and log_prob is None:
        raise ValueError("check_flow needs forward or log_prob")
    calls = FlowCalls(
        D=D, forward=forward, inverse=inverse, log_prob=log_prob, sample=sample, base=base,
        gradient=gradient, vjp=vjp, modes=modes, parameters=parameters or {}, parts=parts or (),
        in_float32=in_float32 or {}, dense=dense or {}, dtype=dtype, born=born, level=level,
        seed=seed, onto=onto, inverse_accuracy=inverse_accuracy,
    )  # fmt: skip
    evidence, start = Evidence(calls, _rows(X, D), seconds, X_from), time.perf_counter()
    calls.bar = RowsBar(progress)
    try:
        with np.errstate(all="ignore"):
            results = _all_laws(evidence, NAMES if laws is None else laws)
    finally:
        calls.bar.close()
    return FlowReport(
        name or "flow", D, dtype, results, _word(evidence), tuple(notes),
        relative_rows(calls.dense), time.perf_counter() - start,
    )  # fmt: skip


def _rows(X: Any, D: int) -> Array | None:
    """Return the rows that were given; ValueError where they have another shape."""
    if X is None:
        return None
    X = np.array(X, dtype=float)
    if X.ndim != 2 or X.shape[1] != D or not len(X):
        raise ValueError(f"`X` must have shape (N, {D}), got {X.shape}")
    if not np.isfinite(X).all():
        raise ValueError("`X` must be finite")
    return X


def _all_laws(evidence: Evidence, names: Collection[str]) -> tuple[LawResult, ...]:
    """Return the result of each of these laws: of the whole, of the parts, the modes."""
    found = {name: judged_law(name, LAWS[name], evidence) for name in LAWS if name in names}
    if {"rows", "jacobian"} <= set(found):
        found["jacobian"] = _without(found["jacobian"], found["rows"])
    if {"mass", "jacobian"} <= set(found):
        found["mass"] = mass_by_log_det(evidence, found)
    if evidence.calls.parts and "parts" in names:
        of_part = {name: law for name, law in OF_PARTS.items() if name in names}
        found["parts"], seen = judge_parts(evidence, of_part)
        if "jacobian" in found:
            found["jacobian"] = _whole_by_parts(evidence, found["jacobian"], seen)
    if "modes" in names:
        found["modes"] = judged_law("modes", modes, evidence)
    return tuple(found.values())


def _whole_by_parts(evidence: Evidence, whole: LawResult, seen: list[JudgedPart]) -> LawResult:
    """Say what the wrong log|det J| of the whole has to do with its parts.

    It follows from them where it is the sum of what they return; else it may miss one.
    """
    if whole.verdict != WRONG or not seen or len(seen) != len(evidence.calls.parts):
        return whole
    if any(claim.law != "jacobian" for claim in whole.claims):
        return whole
    if evidence.too_large:
        return whole._replace(claims=()) if any(p.claims for p in seen) else whole
    try:
        n = len(evidence.jacobians.x)
    except FlowRaised:
        return whole
    got = evidence.jacobians.claimed
    total = np.sum([part.log_det[:n] for part in seen], axis=0)
    bad = [p.name for p in seen if any(c.law == "jacobian" for c in p.claims)]
    if bad and np.allclose(got, total, rtol=1e-9, atol=1e-9, equal_nan=True):
        text = f"{whole.text}; it follows from {', '.join(map(repr, bad[:4]))}"
        return whole._replace(claims=(), text=text)
    terms = [(part.name, part.true[:n]) for part in seen if len(part.true) >= n]
    return judged(evidence, evidence.jacobians, terms)


def _without(law: LawResult, other: LawResult) -> LawResult:
    """Return a result without what another law claims, too."""
    said = {claim.relation for claim in other.claims} & BATCH
    kept = tuple(claim for claim in law.claims if claim.relation not in said)
    return law if len(kept) == len(law.claims) else law._replace(claims=kept)


def _word(evidence: Evidence) -> str:
    try:
        return evidence.rows.word
    except FlowRaised as error:
        return str(error)
