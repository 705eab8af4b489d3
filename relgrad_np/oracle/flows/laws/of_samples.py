"""The law of the samples: what `sample` draws follows `log_prob`, at a stated level.

All tests together reject right samples with a probability of `level` at most: it is divided among
them. With forward and a base whose columns are independent, samples are sent to the latent, where
each column must follow the base, none may depend on another, nor a row on the row before. Without
forward they are compared with log_prob itself: the distribution function (D = 1), a kernel Stein
test, and rows that were weighted by importance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from ..evidence import Evidence
from ..latent import normal, to_normal
from ..records import OK, WRONG, Array, FlowClaim, LawResult, not_judged, worst
from ..sensitivity import sensitivity
from ..stein import moments, stein
from .mass import POINTS, Space

LAW = "samples"
FEWEST = 200  # effective weighted rows in a cell


class SampleTest(NamedTuple):
    """One test: its name, its p-value, what it says of samples that it rejects."""

    name: str
    p: float
    text: str


def samples(evidence: Evidence) -> LawResult:
    """Test samples against the density."""
    calls = evidence.calls
    if calls.sample is None:
        return not_judged(LAW, "sample is not given")
    if calls.log_prob is None and calls.forward is None:
        return not_judged(LAW, "there is no density to compare with")
    x, own = evidence.samples
    n = len(x)
    if not np.isfinite(x).all():
        lost = int((~np.isfinite(x).all(axis=1)).sum())
        claim = FlowClaim(
            LAW, "not finite", f"sample returns {lost} of {n} rows that are not finite"
        )
        return LawResult(LAW, WRONG, claim.text, np.inf, (claim,))
    others = len(np.unique(x[:1000], axis=0)) if n >= 1000 else n
    if n >= 1000 and 5 * others < 1000:
        text = f"sample repeats itself: {others} of its first 1000 rows are different"
        claim = FlowClaim(LAW, "all the same", text)
        return LawResult(LAW, WRONG, claim.text, np.inf, (claim,))
    claims, own_units, words = _own_log_p(evidence, x, own)
    tests, how = _tests(evidence, x)
    if not tests and not claims and not words:
        return not_judged(LAW, how)
    level = calls.level / max(1, len(tests))
    bad = [test for test in tests if not test.p >= level]
    if bad:
        first = {test.name: test for test in reversed(bad)}
        special = [first[name] for name in ("succession", "truncated", "half") if name in first]
        certain = next((test for test in special if test.p < 1e-12), None)
        if certain is not None and certain.name == "succession":
            text = f"samples do not follow the density: {certain.text} (p = {certain.p:.1g})"
            claims.append(FlowClaim(LAW, certain.name, text))
        else:
            claims.append(_claim(evidence, x, certain or min(bad, key=lambda t: t.p)))
    p = min((test.p for test in tests), default=1.0)
    units = max(own_units, np.log(max(p, 1e-300)) / np.log(level) if tests else 0.0)
    text = f"{n} samples {how}{words}"
    if tests:
        names = ", ".join(dict.fromkeys(test.name for test in tests))
        text += f"; {len(tests)} tests ({names}) at level {calls.level:g} together, least p {p:.2g}"
    verdict = WRONG if claims else OK
    return LawResult(LAW, verdict, text, units, tuple(claims))


def _own_log_p(
    evidence: Evidence, x: Array, own: Array | None
) -> tuple[list[FlowClaim], float, str]:
    """Compare the log p that `sample` returns with log_prob there."""
    calls = evidence.calls
    if own is None or calls.log_prob is None:
        return [], 0.0, ""
    x, own = x[:200], own[:200]
    right = calls.log_p(x)
    slope = sensitivity(calls, calls.log_p, x, 13, 0.1)
    allowed = 256 * calls.eps * (np.abs(right) + calls.D + np.where(np.isfinite(slope), slope, 0))
    allowed += calls.inverse_accuracy * np.where(np.isfinite(slope), slope, 0)
    allowed += _by_the_inverse(evidence, x)
    error = np.where(np.isnan(own - right), np.inf, np.abs(own - right))
    units = worst(error, allowed)
    if units <= 1:
        more = " as far as inverse is right" if evidence.inexact > 1e-9 else ""
        return [], units, f", whose log p is log_prob's{more}"
    told, relation = f"off by up to {float(np.max(error)):.3g}", "log p of the samples"
    near = 8 * allowed + 1e-9 * (1 + np.abs(right))
    for name, words, value in _of_own(evidence, x, right):
        if (np.abs(own - value) <= near).all():
            relation, told = name, words
            break
    text = f"the log p that sample returns is not log_prob: {told}"
    return [FlowClaim(LAW, relation, text)], units, ""


def _by_the_inverse(evidence: Evidence, x: Array) -> Array:
    """Return how far log p (N,) is off at samples whose z the inverse misses by a little."""
    calls = evidence.calls
    if calls.forward is None:
        return np.zeros(len(x))
    slope = sensitivity(calls, evidence.log_base, calls.z(x)[0], 29)
    return np.asarray(evidence.inexact * np.where(np.isfinite(slope), slope, 0.0))


def _of_own(evidence: Evidence, x: Array, right: Array) -> Iterator[tuple[str, str, Array]]:
    yield "own: negative", "it is -log_prob", -right
    if evidence.calls.forward is not None:
        _, log_det = evidence.calls.z(x)
        yield "own: log det missing", "log|det J| is missing", right - log_det
        yield "own: log det subtracted", "log|det J| is subtracted", right - 2 * log_det
    yield "own: batch mean", "it is averaged over the batch", np.full_like(right, right.mean())


def _tests(evidence: Evidence, x: Array) -> tuple[list[SampleTest], str]:
    """Return the tests that can be made, and how."""
    calls = evidence.calls
    if calls.forward is not None:
        z, _ = calls.z(x)
        if calls.base is None and calls.log_prob is not None and not evidence.has_normal_base:
            return _of_density(evidence, x)
        if np.isfinite(z).all():
            u = to_normal(z, calls.log_base, calls.rng(14)) if calls.base is not None else z
            if u is not None:
                seen = 4 / np.sqrt(2 * u.size)
                how = f"sent to the latent, where a scale off by {100 * seen:.2g} % shows"
                return list(_of_latent(u, calls.rng(15))), how
    if calls.log_prob is None:
        return [], "the base's columns are not independent, and log_prob is not given"
    return _of_density(evidence, x)


def _of_latent(u: Array, rng: np.random.Generator) -> Iterator[SampleTest]:
    """Yield tests of u (n, D), which should be independent standard normal."""
    n, D = u.shape
    p = np.array([stats.kstest(u[:, i], "norm").pvalue for i in range(D)])
    i = int(p.argmin())
    text = f"column {i} of z has mean {u[:, i].mean():.3g} and deviation {u[:, i].std():.3g}"
    yield SampleTest("columns", min(1.0, D * float(p.min())), text)
    for relation, values in (("truncated", np.abs(u).max(axis=0)), ("half", u.max(axis=0)),
                             ("half", (-u).max(axis=0))):  # fmt: skip
        i = int(values.argmin())
        below = stats.norm.cdf(values[i]) - (
            stats.norm.cdf(-values[i]) if relation != "half" else 0
        )
        text = f"column {i} of z has no value beyond {values[i]:.3g}" + (
            ", on one side" if relation == "half" else ""
        )
        yield SampleTest(relation, min(1.0, D * float(below) ** n), text)
    far = (u**2).sum(axis=1)
    text = f"z'z has mean {far.mean():.4g}, not D = {D}"
    yield SampleTest("radius", float(stats.kstest(far, "chi2", args=(D,)).pvalue), text)
    total, freedom = float(far.sum()), n * D
    p_scale = 2 * min(stats.chi2.cdf(total, freedom), stats.chi2.sf(total, freedom))
    wide = np.sqrt(total / freedom)
    yield SampleTest("scale", float(min(1.0, p_scale)), f"z has deviation {wide:.4g}, not 1")
    white = _ranks(u)
    if D > 1:
        r = np.corrcoef(white.T)[np.triu_indices(D, 1)]
        k = int(np.abs(r).argmax())
        i, j = (int(index[k]) for index in np.triu_indices(D, 1))
        least = 2 * stats.norm.sf(np.abs(r[k]) * np.sqrt(n - 1))
        text = f"columns {i} and {j} of z have correlation {r[k]:.3g}"
        yield SampleTest("correlation", min(1.0, len(r) * float(least)), text)
        along = rng.standard_normal((D, 8))
        v = u @ (along / np.linalg.norm(along, axis=0))
        p = np.array([stats.kstest(v[:, i], "norm").pvalue for i in range(8)])
        yield SampleTest(
            "directions", min(1.0, 8 * float(p.min())), "a direction of z is not normal"
        )
    serial = float((white[1:] * white[:-1]).sum() / np.sqrt((n - 1) * D))
    text = f"each row depends on the row before (correlation {serial / np.sqrt((n - 1) * D):.3g})"
    yield SampleTest("succession", float(2 * stats.norm.sf(abs(serial))), text)


def _ranks(u: Array) -> Array:
    """Return normal scores of each column: what is said of them does not depend on its law."""
    ranks = stats.rankdata(u, axis=0)
    scores = special.ndtri((ranks - 0.5) / len(u))
    return np.asarray(scores / scores.std(axis=0))


def _of_density(evidence: Evidence, x: Array) -> tuple[list[SampleTest], str]:
    """Return tests of samples against log_prob alone."""
    calls = evidence.calls
    tests: list[SampleTest] = []
    reasons = []
    if calls.D == 1:
        tests += _by_distribution(evidence, x)
    else:
        made = stein(calls.log_p, x, calls.rng(16), int(np.clip(6 / calls.level, 1000, 60000)))
        if made is None:
            reasons.append("log_prob has bounds, jumps, or changes too fast")
        else:
            tests.append(SampleTest("Stein", made, "the kernel Stein test rejects them"))
            least = moments(calls.log_p, x)
            if least is not None:
                text = "Stein's identity fails for a linear function: another scale or place"
                tests.append(SampleTest("moments", least, text))
        if calls.D <= 8 and evidence.weighted.says_something:
            tests += _by_weights(evidence, x)
        else:
            reasons.append("importance sampling says too little")
    return tests, "beside log_prob" if tests else f"could not be compared: {'; '.join(reasons)}"


def _by_distribution(evidence: Evidence, x: Array) -> list[SampleTest]:
    """Return the Kolmogorov-Smirnov test against the integral of p, in one dimension."""
    at, weight, _ = Space.around(evidence.around).grid(POINTS[1][0])
    order = np.argsort(at[:, 0])
    with np.errstate(all="ignore"):
        p = np.nan_to_num(np.exp(evidence.calls.log_p(at))) * weight
    steps = p[order]
    total = steps.sum()
    if not total > 0:
        return []
    below = (np.cumsum(steps) - steps / 2) / total
    found = stats.kstest(x[:, 0], lambda v: np.interp(v, at[order, 0], below))
    text = f"the distribution function is off by {found.statistic:.3g}"
    return [SampleTest("distribution function", float(found.pvalue), text)]


def _by_weights(evidence: Evidence, x: Array) -> Iterator[SampleTest]:
    """Yield z tests of means: of log p (the entropy) and of cells, beside weighted rows."""
    calls, made = evidence.calls, evidence.weighted
    w = made.weights
    log_p, theirs = calls.log_p(x), calls.log_p(made.x)
    if not np.isfinite(log_p).all():
        lost = int((~np.isfinite(log_p)).sum())
        yield SampleTest("support", 0.0, f"log_prob is not finite at {lost} of {len(x)} samples")
        return
    low = float(np.min(log_p)) - 50.0
    theirs = np.maximum(np.where(np.isnan(theirs), low, theirs), low)
    p, there = _same_mean(log_p, theirs, w), -float(w @ theirs)
    text = f"the entropy is {-log_p.mean():.4g} by the samples, {there:.4g} by log_prob"
    yield SampleTest("entropy", p, text)
    half = len(x) // 2
    centres = x[calls.rng(17).choice(half, 6, replace=False)]
    scale = x[:half].std(axis=0) + 1e-300
    mine, other = _cells(x[half:], centres, scale), _cells(made.x, centres, scale)
    least, words = 1.0, ""
    for k in range(len(centres)):
        if w[other == k].sum() ** 2 < FEWEST * (w[other == k] ** 2).sum():
            continue  # too few weighted rows there
        p = 3 * _same_mean((mine == k).astype(float), (other == k).astype(float), w)
        if p < least:
            share = float(w @ (other == k))
            least, words = p, f"{(mine == k).mean():.3g} of them lie in a cell of mass {share:.3g}"
    yield SampleTest("cells", min(1.0, len(centres) * least), words)


def _cells(x: Array, centres: Array, scale: Array) -> Array:
    far = ((x[:, None] / scale - centres / scale) ** 2).sum(axis=2)
    return np.asarray(far.argmin(axis=1))


def _same_mean(mine: Array, theirs: Array, w: Array) -> float:
    """Return the p-value of a z test of a mean against a weighted one."""
    there = float(w @ theirs)
    error = np.sqrt(mine.var() / len(mine) + float((w**2) @ (theirs - there) ** 2))
    error += 64 * np.finfo(float).eps * max(abs(there), 1e-300)  # log p may be constant
    return float(2 * stats.norm.sf(abs(mine.mean() - there) / error))


def _claim(evidence: Evidence, x: Array, test: SampleTest) -> FlowClaim:
    """Say what the samples are instead, where it can be told."""
    calls = evidence.calls
    text = f"samples do not follow the density: {test.text} (p = {test.p:.1g})"
    tried: list[tuple[str, str, Callable[[], Array]]] = []
    if calls.forward is not None and (calls.base is None or _is_normal_base(evidence)):
        tried.append(
            ("base draws", "they are draws of the base, which were not inverted", lambda: x)
        )
        if calls.inverse is not None:
            words = "they went through forward in the place of inverse"
            tried.append(("forward for inverse", words, lambda: calls.x(x)[0]))
        tried.append(("scaled", "", lambda: calls.z(x)[0]))
    for relation, words, make in tried:
        u = make()
        if not np.isfinite(u).all():
            continue
        if relation == "scaled":
            words = _scaled(u)
            if not words:
                continue
        elif min(t.p for t in _of_latent(u, calls.rng(18))) < 1e-3:
            continue
        return FlowClaim(LAW, relation, f"samples do not follow the density: {words}")
    return FlowClaim(LAW, test.name, text)


def _is_normal_base(evidence: Evidence) -> bool:
    z = evidence.calls.rng(19).standard_normal((50, evidence.calls.D))
    return bool(np.allclose(evidence.calls.log_base(z), normal(z), rtol=1e-6, atol=1e-6))


def _scaled(z: Array) -> str:
    """Say so if z is normal but for the mean and deviation of its columns."""
    n, D = z.shape
    deviation, mean = z.std(axis=0), z.mean(axis=0)
    u = (z - mean) / deviation
    if min(D * float(stats.kstest(u[:, i], "norm").pvalue) for i in range(D)) < 1e-3:
        return ""
    wide = np.abs(deviation - 1) * np.sqrt(2 * n) > 5
    off = np.abs(mean) / deviation * np.sqrt(n) > 5
    words = []
    if wide.any():
        common = float(np.sqrt((deviation**2).mean()))
        same = np.ptp(deviation) < 8 / np.sqrt(2 * n) * common
        if same:
            words.append(f"z has deviation {common:.3g} in the place of 1")
        else:
            shown = ", ".join(f"{i}: {deviation[i]:.3g}" for i in np.flatnonzero(wide)[:4])
            words.append(f"z has deviations other than 1 in columns {shown}")
    if off.any():
        shown = ", ".join(f"{i}: {mean[i]:.3g}" for i in np.flatnonzero(off)[:4])
        words.append(f"z has means other than 0 in columns {shown}")
    return " and ".join(words)
