"""The law of the density: log p(x) = base(z) + log|det J|.

Allowed: `64 eps` times the size of the terms, and the rounding of z carried through the base. Where
the base is not given, a standard normal is tried. Where the law of the Jacobian fails, its
log|det J| by differences stands in, so that one mistake is named once.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..evidence import Evidence
from ..latent import normal
from ..records import OK, SINGLE, WRONG, Array, FlowClaim, LawResult, not_judged, worst
from ..regressions import Guess, constant, regressions, the_same_everywhere
from ..relations import explains, off_by, only_where
from ..sensitivity import sensitivity

LAW = "density"
WHAT = "log_prob"


def density(evidence: Evidence) -> LawResult:
    """Compare log_prob with base(z) + log|det J|."""
    calls = evidence.calls
    missing = [n for n in ("log_prob", "forward") if getattr(calls, n) is None]
    if missing:
        return not_judged(
            LAW, f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not given"
        )
    z, log_det = evidence.forward
    got = evidence.log_p
    at = evidence.log_base
    base = at(z)
    own = sensitivity(calls, lambda x: calls.log_p(x), evidence.X, 7, 0.0)
    slope = sensitivity(calls, at, z, 8, 0.0) + np.where(np.isfinite(own), own, 0.0)
    with np.errstate(all="ignore"):
        right = base + log_det
    if not np.isfinite(right).any():
        return not_judged(LAW, "base + log|det J| is finite at no row")
    size = np.abs(base) + np.abs(log_det) + calls.D + (z**2).sum(axis=1) / 2
    allowed = 64 * calls.eps * (size + np.where(np.isfinite(slope), slope, size))
    kept = np.isfinite(right) | np.isnan(right)
    same = (got == right) & np.isinf(right)
    error = np.where(same, 0.0, np.where(np.isnan(got - right), np.inf, np.abs(got - right)))
    bad = ~(error <= allowed)
    note = (
        "" if calls.base is not None else "; the base is a standard normal (assumed, and found so)"
    )
    if not bad.any():
        lost = evidence.wrong_log_det
        text = f"log_prob = base + log|det J| at {len(got)} rows{note}"
        if lost and _sensible(evidence):
            return _follows(text, worst(error, allowed))
        return LawResult(LAW, OK, text, worst(error, allowed))
    true = _beside_true(evidence, got, base, allowed)
    if true <= 1:
        return LawResult(
            LAW, OK, "log_prob is right: base + the log|det J| by differences, not that of forward",
            true, (), ("log_prob does not use the log|det J| that forward returns",),
        )  # fmt: skip
    units = worst(error[kept], allowed[kept])
    claim = _claim(evidence, got, base, log_det, right, allowed, bad)
    if claim.relation == "unnamed" and calls.base is None:
        return not_judged(
            LAW, "base is not given, and log_prob - log|det J| is no standard normal: give base"
        )
    return LawResult(LAW, WRONG, f"wrong at {int(bad.sum())} of {len(bad)} rows", units, (claim,))


def _sensible(evidence: Evidence) -> bool:
    return bool(np.isfinite(evidence.true_log_det).any())


def _follows(text: str, units: float) -> LawResult:
    return LawResult(
        LAW, OK, f"{text}, with the log|det J| of forward, which is WRONG", units, (),
        ("log_prob is wrong where log|det J| is: it adds no error of its own",),
    )  # fmt: skip


def _beside_true(evidence: Evidence, got: Array, base: Array, allowed: Array) -> float:
    """Return the error of log p with log|det J| by differences, where forward's is wrong."""
    if not evidence.wrong_log_det:
        return np.inf
    true = evidence.true_log_det
    n, kept = len(true), np.isfinite(true)
    off = np.abs(got[:n] - base[:n] - true)
    return worst(off[kept], (allowed[:n] + evidence.jacobians.allowed)[kept])


def _claim(
    evidence: Evidence, got: Array, base: Array, log_det: Array, right: Array, allowed: Array,
    bad: Array,
) -> FlowClaim:  # fmt: skip
    z, _ = evidence.forward
    sign = np.ones(len(got))
    where = only_where(evidence.X, z, sign, bad)
    lost = ~np.isfinite(got) & np.isfinite(right)
    if lost.any():
        values = " or ".join(sorted({str(v) for v in got[lost]}))
        where = only_where(evidence.X, z, sign, lost) or where
        text = f"{WHAT} is {values} where base + log|det J| is finite"
        return FlowClaim(LAW, "not finite", text, where=where)
    if told := _digits(got, right, bad):
        return told._replace(where=where)
    allowed = allowed * 8
    for chosen, there in ((np.ones_like(bad), ""), (bad, where)):
        rows = np.flatnonzero(chosen)
        for guess in _guesses(evidence, got, base, log_det, z, rows):
            if explains(guess, got, right, allowed, rows):
                return FlowClaim(LAW, guess.relation, guess.text, where=there)
    text = f"{WHAT} is not base(z) + log|det J|: {off_by((got - right)[bad])}"
    return FlowClaim(LAW, "unnamed", text, where=where)


def _digits(got: Array, right: Array, bad: Array) -> FlowClaim | None:
    """Say so if what is wrong is as small as float32 digits are, a constant of float32 included."""
    off = (got - right)[bad]
    relative = float(np.max(np.abs(off) / (1 + np.abs(right[bad]))))
    if not relative < SINGLE[LAW]:
        return None
    shift = float(np.median(off))
    alike = len(off) > 2 and bool((np.abs(off - shift) < 1e-3 * abs(shift)).all())
    by = f", off by the constant {shift:+.3g}" if alike else ""
    text = f"{WHAT} is right to {relative:.0e} only{by}: float32 digits, or an epsilon"
    return FlowClaim(LAW, "float32 digits", text, size=relative)


def _guesses(
    evidence: Evidence, got: Array, base: Array, log_det: Array, z: Array, rows: Array
) -> Iterable[Guess]:
    """Yield hypotheses on log p, the specific ones first."""
    D, zero = z.shape[1], np.zeros_like(base)
    right = base + log_det
    yield Guess("log det missing", f"{WHAT} is the base alone: log|det J| is missing", base)
    yield Guess("log det subtracted", f"{WHAT} subtracts log|det J|", base - log_det)
    uniform = evidence.calls.base is None and bool(((z >= 0) & (z <= 1)).all())
    if not uniform:  # of a uniform base nothing is missing
        yield Guess("base missing", f"{WHAT} is log|det J| alone: the base is missing", log_det)
    yield Guess("negative", f"{WHAT} is -log p", -right)
    yield Guess("probability", f"{WHAT} is p, not log p", np.exp(right), float(np.exp(right).max()))
    yield Guess("half log det", f"{WHAT} adds 1/2 log|det J|", base + log_det / 2)
    yield Guess("double log det", f"{WHAT} adds log|det J| twice", base + 2 * log_det)
    yield Guess("log det averaged over D", f"{WHAT} averages log|det J| over D", base + log_det / D)
    yield Guess("log det summed over the batch", f"{WHAT} adds log|det J| summed over the batch",
                base + log_det.sum(), len(base))  # fmt: skip
    yield Guess("log det averaged over the batch", f"{WHAT} adds the batch's mean of log|det J|",
                base + log_det.mean())  # fmt: skip
    at_x = evidence.log_base(evidence.X)
    yield Guess("base at x", f"{WHAT} takes the base at x, not at z", at_x + log_det)
    yield Guess("log2", f"{WHAT} is in bits, not in nats", right / np.log(2), 2)
    yield Guess("log10", f"{WHAT} is in base 10", right / np.log(10))
    low, high = float(np.nanmin(got)), float(np.nanmax(got))
    if low < high and max((got == low).sum(), (got == high).sum()) > 2:
        text = f"{WHAT} is clipped to [{low:.6g}, {high:.6g}]"
        yield Guess("clipped", text, np.clip(right, low, high))
    yield Guess("base averaged over D", f"{WHAT} averages the base over D", base / D + log_det)
    yield Guess("averaged over D", f"{WHAT} is averaged over the {D} dimensions", right / D)
    yield Guess("batch sum", f"{WHAT} is summed over the batch", zero + right.sum(), len(base))
    yield Guess("batch mean", f"{WHAT} is averaged over the batch", zero + right.mean())
    for k in range(min(D, 64)):
        one = normal(z[:, k : k + 1])
        text = f"{WHAT} misses the base of column {k}"
        yield Guess(f"base misses dimension {k}", text, right - one)
    yield Guess("constant of the base", f"{WHAT} misses D/2 log 2 pi, the constant of the base",
                right + D / 2 * np.log(2 * np.pi))  # fmt: skip
    yield Guess("constant of the base", f"{WHAT} has the constant of the base once, not {D} times",
                right + (D - 1) / 2 * np.log(2 * np.pi))  # fmt: skip
    yield Guess("constant of the base", f"{WHAT} has D log 2 pi in the place of D/2 log 2 pi",
                right - D / 2 * np.log(2 * np.pi))  # fmt: skip
    yield Guess("half missing", f"{WHAT} has z'z in the place of z'z / 2",
                right - 0.5 * (z**2).sum(axis=1), 2)  # fmt: skip
    if len(rows) > 2:
        yield constant(WHAT, got, right, rows, "of the base or of log|det J|")
    if text := the_same_everywhere(got - base, log_det):
        text = f"what {WHAT} adds to the base {text}"
        yield Guess("log det does not depend on x", text, base + (got - base)[0])
    known = ("constant", "does not depend on x", "factor and constant")
    for guess in regressions(WHAT, got, right, rows):
        if guess.relation not in known[:1] and (evidence.calls.base or guess.relation not in known):
            yield guess
