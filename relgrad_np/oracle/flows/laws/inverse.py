"""The law of the inverse: it undoes forward, both ways, and its log|det| is the negative.

Allowed: `1024 eps` of what rounding of x does to z, carried through the inverse by its own measured
slope, and the same the other way round. Where forward saturates, x can't be had back: such rows are
left out. An inverse that iterates is right to its tolerance only, which is declared by
`inverse_accuracy`: in what it returns, or in what forward makes of that. Where log_prob has a
standard normal base, the inverse must have an x for draws of it, too: samples are made of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from ..calls import FlowCalls
from ..evidence import Evidence
from ..records import OK, SINGLE, WRONG, Array, FlowClaim, FlowRaised, LawResult, not_judged, worst
from ..relations import only_where
from ..sensitivity import sensitivity

LAW = "inverse"
LOST = {"float64": 1e-4, "float32": 1e-1}  # a row that inherits a larger relative error is left out
NEAR = 0.1  # relative; an x that is farther off is another one, whatever forward makes of it
DRAWS = 256  # of the base
THERE, BACK, AT_DRAWS = 3, 4, 28  # salts


def inverse(evidence: Evidence) -> LawResult:
    """Compare inverse(forward(x)) with x, forward(inverse(z)) with z, and the two log|det|.

    z is drawn where the flow claims to be onto all of R^D; else it is what forward reached.
    """
    calls = evidence.calls
    if calls.inverse is None or calls.forward is None:
        missing = "inverse" if calls.inverse is None else "forward"
        return not_judged(LAW, f"{missing} is not given")
    z, _ = evidence.forward
    x = evidence.X
    drawn = calls.rng(2).standard_normal((len(x), calls.D)) if calls.onto else z
    lost = ~_keeps_digits(evidence, x, z)
    there = _round(evidence, x, z, _forward(calls), _backward(calls), lost, THERE)
    made = _backward(calls)(drawn)
    raised = np.zeros(len(x), dtype=bool) if calls.onto else lost
    back = _round(evidence, drawn, made, _backward(calls), _forward(calls), raised, BACK)
    kept_there, kept_back = there[2], back[2]
    if not (kept_there.any() or kept_back.any()):
        return not_judged(LAW, "no row keeps enough digits on the way there and back")
    claims: list[FlowClaim] = []
    units = 0.0
    for (error, allowed, kept), a, b, f, words in (
        (there, x, z, "x", "inverse(forward(x)) is not x"),
        (back, drawn, made, "z", "forward(inverse(z)) is not z"),
    ):
        bad = kept & ~(error <= allowed).all(axis=1)
        units = max(units, worst(error[kept], allowed[kept]))
        if bad.any() and not claims:
            claims.append(_claim(evidence, a, b, error, bad, kept, f, words))
    evidence.inverse_error = _relative(back[0][kept_back], drawn[kept_back])
    with contextlib.suppress(FlowRaised):  # the law of what raises says it
        claims += [] if claims else _at_draws(evidence)
        units = np.inf if evidence.unreached[0] else units
    log_det = _log_det(evidence, z[kept_there], claims)
    units = max(units, log_det[0])
    notes = ()
    left = int((~kept_there).sum() + (~kept_back).sum())
    text = f"{int(kept_there.sum())} rows there and back, {int(kept_back.sum())} back and there"
    text += f"; {left} keep too few digits" if left else ""
    text += f"; {log_det[1]}"
    if claims:
        return LawResult(LAW, WRONG, text, units, tuple(claims), notes)
    return LawResult(LAW, OK, text, units, (), notes)


def _forward(calls: FlowCalls) -> Callable[[Array], Array]:
    return lambda v: row_by_row(lambda u: calls.z(u)[0], v)


def _backward(calls: FlowCalls) -> Callable[[Array], Array]:
    return lambda v: row_by_row(lambda u: calls.x(u)[0], v)


def row_by_row(f: Callable[[Array], Array], v: Array) -> Array:
    """Return f(v); where it raises, NaN for the rows that make it raise, unless all of them do.

    >>> def f(v):
    ...     if (v < 0).any():
    ...         raise FlowRaised("negative")
    ...     return v
    >>> row_by_row(f, np.array([[1.0], [-1.0]])).tolist()
    [[1.0], [nan]]
    """
    try:
        return f(v)
    except FlowRaised as error:
        if error.missing or error.relation != "raises" or len(v) < 2:
            raise
        made = np.full(v.shape, np.nan)
        for i in range(len(v)):
            with contextlib.suppress(FlowRaised):
                made[i : i + 1] = f(v[i : i + 1])
        if np.isnan(made).all():
            raise
        return made


def _keeps_digits(evidence: Evidence, x: Array, z: Array) -> Array:
    """Say at which rows z changes at all when a column of x moves by 1e-4 of its size.

    Where it does not, as where a sigmoid is 1, x can't be had back. For D > 64 all rows count.
    """
    calls = evidence.calls
    keeps = np.isfinite(z).all(axis=1)
    floor = 1024 * calls.eps * (np.abs(z).max(axis=1) + np.finfo(float).tiny)
    for j in range(calls.D if calls.D <= 64 else 0):
        moved = x.copy()
        moved[:, j] += LOST[calls.dtype] * (1 + np.abs(x[:, j]))
        with np.errstate(all="ignore"):
            apart = np.abs(_forward(calls)(moved) - z).max(axis=1)
        keeps &= ~(apart <= floor)
    return keeps


def _round(
    evidence: Evidence,
    a: Array,
    b: Array,
    there: Callable[[Array], Array],
    back: Callable[[Array], Array],
    lost: Array,
    salt: int,
) -> tuple[Array, Array, Array]:
    """Return the error of back(there(a)) = a, what is allowed, and which rows can be judged."""
    calls = evidence.calls
    again, rounding = back(b), 1024 * calls.eps
    on_the_way = sensitivity(calls, there, a, salt + 100)
    on_the_way = np.where(np.isfinite(on_the_way), on_the_way, 0.0)
    slope = sensitivity(calls, back, b, salt, 1.0 + on_the_way)
    inexact = calls.inverse_accuracy * (1 + np.abs(a))
    if calls.inverse_accuracy and salt == THERE:
        inexact = np.where(_solved(calls, a, b, again), NEAR * (1 + np.abs(a)), inexact)
    allowed = rounding * (np.abs(a) + 1 + slope) + inexact
    with np.errstate(all="ignore"):
        error = np.abs(again - a)
    error = np.where(np.isnan(error), np.inf, error)
    limit = LOST[calls.dtype] * (1 + np.abs(a)) + inexact
    beyond = ~np.isfinite(slope).all(axis=1) & np.isfinite(again).all(axis=1)
    kept = np.isfinite(b).all(axis=1) & np.isfinite(a).all(axis=1) & ~lost & ~beyond
    kept &= ((allowed <= limit) | ~np.isfinite(slope)).all(axis=1)
    allowed = np.where(np.isfinite(allowed), allowed, rounding * (np.abs(a) + 1))
    return error, allowed, kept


def _solved(calls: FlowCalls, x: Array, z: Array, again: Array) -> Array:
    """Say at which rows (N, 1) forward makes z of an inverted x, to what the inverse declares."""
    with np.errstate(all="ignore"):
        off = np.abs(_forward(calls)(again) - z)
    return np.asarray((off <= calls.inverse_accuracy * (1 + np.abs(z))).all(axis=1, keepdims=True))


def _relative(error: Array, size: Array) -> float:
    """Return the largest error of rows in units of their size plus 1; 0 without rows."""
    return float(np.max(error / (1 + np.abs(size)), initial=0.0))


def _at_draws(evidence: Evidence) -> list[FlowClaim]:
    """Say so if the inverse has no x for draws of the base, though it has for what forward reached.

    Where p integrates to 1 forward reaches them all, and the inverse is wrong; else it may not.
    """
    calls = evidence.calls
    if calls.log_prob is None or calls.onto or not evidence.has_normal_base:
        return []
    z = calls.rng(AT_DRAWS).standard_normal((DRAWS if calls.D <= 64 else DRAWS // 16, calls.D))
    x = _backward(calls)(z)
    with np.errstate(all="ignore"):
        far = ~(np.abs(_forward(calls)(x) - z).max(axis=1) < 1e-3)
    if not far.any():
        return []
    made = _round(evidence, z[far], x[far], _backward(calls), _forward(calls), far[far] & False,
                  AT_DRAWS)  # fmt: skip
    error, allowed, kept = made
    bad = kept & ~(error <= allowed).all(axis=1)
    if not bad.any():
        return []
    evidence.unreached = int(bad.sum()), len(z)
    text = (
        f"inverse has no x for {100 * float(bad.sum()) / len(z):.2g} % of the base's draws: "
        f"forward(inverse(z)) is not z there, off by up to {float(np.max(error[bad])):.3g}"
    )
    return [FlowClaim(LAW, "no x for draws", text)]


def _claim(
    evidence: Evidence,
    a: Array,
    b: Array,
    error: Array,
    bad: Array,
    kept: Array,
    f: str,
    words: str,
) -> FlowClaim:
    """Say what the inverse does instead."""
    calls = evidence.calls
    z, _ = evidence.forward
    with np.errstate(all="ignore"):
        relative = float(np.max(error[bad] / (1 + np.abs(a[bad]))))
    where = only_where(a[kept], a[kept], np.ones(int(kept.sum())), bad[kept]).replace("x_", f"{f}_")
    columns = np.flatnonzero((error[bad] > 1e-6 * (1 + np.abs(a[bad]))).any(axis=0))
    if not np.isfinite(relative):
        text = f"inverse is not finite at {int(bad.sum())} of {int(kept.sum())} rows"
        return FlowClaim(LAW, "not finite", text, where=where)
    if relative < SINGLE[LAW] and calls.born == "float32":
        text = f"{words.replace('is not', 'is')} to {relative:.0e} only: float32 digits"
        return FlowClaim(LAW, "float32 digits", text, where=where, size=relative)
    if relative < 1e-4:
        text = (
            f"{words}: it is right to {relative:.0e} only; if inverse iterates, declare "
            f"inverse_accuracy={10 ** np.ceil(np.log10(relative)):.0e}"
        )
        return FlowClaim(LAW, "accuracy", text, where=where)
    made = _backward(calls)(z) if f == "x" else b
    source = z if f == "x" else a
    if np.allclose(made[bad], source[bad], rtol=1e-9, atol=1e-12):
        return FlowClaim(LAW, "identity", "inverse returns what it is given", where=where)
    if np.allclose(made[bad], _forward(calls)(source)[bad], rtol=1e-9, atol=1e-12):
        return FlowClaim(LAW, "forward again", "inverse is forward once more", where=where)
    if f == "x" and (told := _by_parts(evidence, z, made)):
        return FlowClaim(LAW, *told, where=where)
    text = f"{words}: off by up to {float(np.max(error[bad])):.3g}"
    if f == "x":
        text += _constant(_backward(calls)(z), a, bad)
    if len(columns) and len(columns) < a.shape[1]:
        shown = ", ".join(map(str, columns[:6])) + (", ..." if len(columns) > 6 else "")
        text += f"; only in column{'s' if len(columns) > 1 else ''} {shown}"
        return FlowClaim(LAW, "some columns", text, where=where)
    return FlowClaim(LAW, "not undone", text, where=where)


def _by_parts(evidence: Evidence, z: Array, made: Array) -> tuple[str, str] | None:
    """Return what the inverse makes of the inverses of the parts, where that explains it."""
    given = [part for part in evidence.calls.parts if len(part) > 2 and part[2] is not None]
    if len(given) < 2 or len(given) != len(evidence.calls.parts):
        return None

    def through(some: list[tuple[Any, ...]]) -> Array:
        x = z
        for _, _, undo, *_ in some:
            x, _ = evidence.calls.maybe_pair(undo, x, "inverse")
        return x

    back = given[::-1]
    tries = [("order", "inverse undoes the parts in the order of forward", given)]
    tries += [
        (
            f"misses part {p[0]}",
            f"inverse does not undo part {p[0]!r}",
            [q for q in back if q is not p],
        )
        for p in back
    ]
    for relation, text, some in tries:
        with contextlib.suppress(FlowRaised):
            if np.allclose(through(some), made, rtol=1e-7, atol=1e-9):
                return relation, text
    return None


def _constant(made: Array, right: Array, bad: Array) -> str:
    """Say so if it is off by the same shift, or the same factor, in all rows."""
    shift = made[bad] - right[bad]
    if len(shift) > 2 and np.max(np.ptp(shift, axis=0)) < 1e-8 * (1 + np.max(np.abs(shift))):
        return "; by the same shift in all rows"
    centred = right[bad] - right[bad].mean(axis=0)
    if len(shift) < 4:
        return ""
    factor = (centred * (made[bad] - made[bad].mean(axis=0))).sum(axis=0) / (centred**2).sum(axis=0)
    rest = made[bad] - made[bad].mean(axis=0) - factor * centred
    if np.max(np.abs(rest)) < 1e-8 * (1 + np.max(np.abs(made[bad]))):
        shown = ", ".join(f"{v:.4g}" for v in factor[:4]) + (", ..." if len(factor) > 4 else "")
        return f"; by a factor in each column: {shown}"
    return ""


def _log_det(evidence: Evidence, z: Array, claims: list[FlowClaim]) -> tuple[float, str]:
    """Compare the inverse's log|det| with forward's at the x that the inverse returns."""
    calls = evidence.calls
    x, got = calls.x(z) if len(z) else (z, None)
    if got is None:
        return 0.0, "it returns no log|det|"
    _, right = calls.z(x)
    moves = np.abs(z - calls.z(x)[0]).max(axis=1)
    slope = sensitivity(calls, lambda v: calls.z(v)[1], x, 5)
    back = sensitivity(calls, lambda v: np.nan_to_num(_second(calls.x(v))), z, 6)
    relative = 64 * calls.eps + calls.inverse_accuracy
    allowed = relative * (np.abs(right) + calls.D + slope + back) + moves * back
    kept = np.isfinite(allowed) & np.isfinite(right) & (allowed < 1e-2 * (1 + np.abs(right)))
    error = np.where(np.isnan(got), np.inf, np.abs(got + right))
    bad = kept & ~(error <= allowed)
    if not bad.any():
        return worst(
            error[kept], allowed[kept]
        ), f"log|det| of the inverse at {int(kept.sum())} rows"
    with np.errstate(all="ignore"):
        relative = float(np.max((error / (1 + np.abs(right)))[kept]))
    if relative < SINGLE["jacobian"] and calls.born == "float32":
        text = f"log|det| of the inverse is that of forward to {relative:.0e} only: float32 digits"
        claims.append(FlowClaim(LAW, "float32 digits", text, size=relative))
        return worst(error[kept], allowed[kept]), text
    if _follows(evidence, allowed):
        return 0.0, "log|det| of the inverse is right, that of forward is not"
    claims.append(FlowClaim(LAW, *_told(got[kept], right[kept], allowed[kept], calls.D)))
    return worst(
        error[kept], allowed[kept]
    ), f"log|det| of the inverse is wrong at {int(bad.sum())} rows"


def _follows(evidence: Evidence, allowed: Array) -> bool:
    """Say whether the inverse's log|det| is minus that of J by differences, unlike forward's."""
    if not evidence.wrong_log_det:
        return False
    true, n = evidence.true_log_det, len(evidence.true_log_det)
    got = _second(evidence.calls.x(evidence.forward[0][:n]))
    kept = np.isfinite(true)
    near = evidence.jacobians.allowed + float(np.median(allowed)) + 1e-9
    return bool((np.abs(got + true) <= 4 * near)[kept].all())


def _second(pair: tuple[Array, Array | None]) -> Array:
    return pair[1] if pair[1] is not None else np.zeros(len(pair[0]))


def _told(got: Array, right: Array, allowed: Array, D: int) -> tuple[str, str]:
    """Return the relation of the inverse's log|det| to minus forward's, and its words."""
    what = "log|det| of the inverse"
    near = 8 * allowed + 1e-9 * (1 + np.abs(right))
    for relation, words, value in (
        ("inverse: sign", "has the sign of forward's", right),
        ("inverse: missing", "is missing: it is 0", np.zeros_like(right)),
        ("inverse: half", "is 1/2 times the right one", -right / 2),
        ("inverse: double", "is 2 times the right one", -2 * right),
        ("inverse: averaged over D", "is averaged over the dimensions", -right / D),
        ("inverse: batch sum", "is summed over the batch", np.full_like(right, -right.sum())),
        ("inverse: batch mean", "is averaged over the batch", np.full_like(right, -right.mean())),
    ):
        if (np.abs(got - value) <= near).all():
            return relation, f"{what} {words}"
    with np.errstate(all="ignore"):
        off = float(np.max(np.abs(got + right)))
    return "inverse: log det", f"{what} is not the negative of forward's: off by up to {off:.3g}"
