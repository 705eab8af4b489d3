"""What a failing report says of mistakes that were planted: is it true, and is it enough.

Parts of `validation.oracle_report`: each yields lines of its table, and whether they are as they
must be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from relgrad_np.oracle import Candidate, Conventions, check, mistakes
from relgrad_np.oracle.conventions import ASKED, CHOICES, OF_BIAS, STEP, restored, sources_of
from relgrad_np.oracle.mistakes import formulas
from relgrad_np.oracle.truths.records import Problem, Suite
from relgrad_np.oracle.truths.stages import STAGES, split
from relgrad_np.oracle.truths.suite import small

from .claims import false_claims, place, planted
from .inventions import INVENTIONS, Invention
from .planted import IS_ALSO, LIBRARIES, numpy_candidate

Lines = Iterator[str | bool]
DTYPES = ("float64", "float32")


class Row(NamedTuple):
    """What a report says of an invention."""

    title: str
    detected: bool
    placed: bool
    pinned: bool
    false: list[str]
    said: str


def judged(invention: Invention, suite: Suite, dtype: str, library: str = "torch") -> Row:
    """Plant an invention, and compare the report with it."""
    report = check(LIBRARIES[library](invention.lines), suite, dtype=dtype)
    coarse = 1e-7 if dtype == "float64" else 3e-4
    false = list(false_claims(report, invention, planted(invention.lines, suite, coarse)))
    where = invention.stage, place(invention, report)
    kinds = {claim["claim"] for claim in report.claims}
    return Row(
        invention.title, not report.passed,
        (report.stage, report.layer) == where and len(report.roots) == 1,
        bool(kinds & {"relation", "condition", "mistake"}), false, report.diagnosis,
    )  # fmt: skip


def few() -> Suite:
    """Two dozen cases of the small suite, of every kind."""
    families = ["no bias", "last layer activated", "one sample", "N > D", "depth", "tiny"]
    ids = ["generic-smooth_leaky_relu-logistic", "generic-leaky_tanh-normal", "large-sech",
           "generic-softplus-laplace", "generic-elu-student_t", "middling-softplus",
           "large-leaky_tanh", "generic-leaky_tanh-laplace", "generic-elu-logistic"]  # fmt: skip
    kept = [
        case for case in small().cases
        if (case.problem.family in families or case.problem.id in ids) and not case.problem.c
    ]  # fmt: skip
    return Suite("of every kind", tuple(kept))


def one_of_each() -> Suite:
    """Nine of these cases: what three hundred candidates, run twice and tried, can afford."""
    ids = ["depth-1-3", "depth-3-2", "one-sample", "no-bias-smooth_leaky_relu",
           "generic-leaky_tanh-normal", "generic-softplus-laplace", "tiny-leaky_tanh",
           "generic-smooth_leaky_relu-logistic", "last-activated-leaky_tanh-normal"]  # fmt: skip
    return small().where(id=ids)._replace(name="one of each kind")


def inventions(suite: Suite | None = None, count: int | None = None) -> Lines:
    """Mistakes that are not in the catalogue, in torch: detected, placed, pinpointed, no lies."""
    suite = suite or few()
    for dtype in DTYPES:
        rows = [judged(invention, suite, dtype) for invention in INVENTIONS[:count]]
        n, false = len(rows), sum(len(row.false) for row in rows)
        detected, placed = sum(row.detected for row in rows), sum(row.placed for row in rows)
        pinned = sum(row.pinned for row in rows)
        yield (
            f"{dtype}: detected {detected} of {n}, stage and layer right {placed}, by relation, "
            f"condition or a known mistake {pinned}, false claims {false}"
        )
        yield detected == placed == n and pinned >= 0.6 * n and false == 0
        for row in rows:
            good = row.detected and row.placed and not row.false
            yield f"  {'ok' if good else 'NO':<3} {row.title}: {row.said}"
            yield from (f"      false: {claim}" for claim in row.false)


class Planted(NamedTuple):
    """A mistake, of the catalogue or not: its title, its stage, its lines."""

    title: str
    stage: str
    lines: dict[str, Any]


POOL = [
    *(
        Planted(name, m.stage, dict(m.lines))
        for name, m in mistakes.items()
        if name not in IS_ALSO and "moderate" not in m.hidden_at and not m.of_context
    ),
    *(Planted(i.title, i.stage, i.lines) for i in INVENTIONS if "exp" not in i.lines),
]


def pairs(count: int, seed: int) -> Iterator[tuple[Planted, Planted]]:
    """Random pairs of mistakes in different lines and stages."""
    rng = random.Random(seed)
    while count:
        one, two = rng.sample(POOL, 2)
        if one.stage != two.stage and not set(one.lines) & set(two.lines):
            count -= 1
            yield one, two


def both_named(report: Any, stages: Sequence[str]) -> bool:
    """Whether a report names an error in each of these stages and in no other."""
    return sorted(root.stage for root in report.roots) == sorted(stages)


def both(count: int = 60, seed: int = 21, suite: Suite | None = None) -> Lines:
    """Two independent errors at once, each named."""
    suite, named, said = suite or few(), 0, []
    for i, (one, two) in enumerate(pairs(count, seed)):
        dtype = DTYPES[i % 2]
        report = check(numpy_candidate({**one.lines, **two.lines}), suite, dtype=dtype)
        good = both_named(report, [one.stage, two.stage])
        named += good
        if not good:
            said.append(f"  {dtype}: {one.title} + {two.title}: {report.diagnosis[:300]}")
    yield f"{count} pairs of independent errors, both named in {named}"
    yield named >= 0.95 * count
    yield from said


def with_convention(key: str, value: str, lines: Any) -> Callable[[Problem], dict[str, Any]]:
    """The algorithm with mistaken lines, in a convention that it does not declare."""
    left_out = {"bias": OF_BIAS, "reduction": STEP, "variant": STEP}.get(key, ())

    def run(p: Problem) -> dict[str, Any]:
        if key == "weights":
            p = p._replace(W=tuple(W.T for W in p.W), C=tuple(C.T for C in p.C))
        p = p._replace(last_layer="activated") if key == "last_layer" else p
        p = p._replace(b=tuple(0 * b for b in p.b)) if key == "bias" else p
        made = {k: x for k, x in formulas.run(p, lines).items() if split(k)[0] not in left_out}
        for name, x in list(made.items()):
            stage, k = split(name)
            if key == "weights" and STAGES[stage].turned:
                made[name] = x.T
            elif key == "direction" and STAGES[stage].signed:
                made[name] = -x
            elif key == "reduction" and STAGES[stage].summed:
                made[name] = x * p.N
            elif key == "base" and stage in ("L_p", "log_prob"):
                made[name] = x - (restored(name, x, Conventions(base=value), p) - x)
            elif key == "variant" and stage in ("R_W", "R_b", "R_C"):
                made[name] = made[f"{sources_of(value)[stage]}_{k}"]
        return made

    return run


CHANGES = [
    (key, value) for key, values in CHOICES.items() for value in values[1:] if key not in ASKED
]


def with_conventions(count: int = 60, seed: int = 22, suite: Suite | None = None) -> Lines:
    """A convention that is not declared, and a mistake: both named."""
    suite, named, said, rng = suite or few(), 0, [], random.Random(seed)
    tried = 0
    while tried < count:
        (key, value), mistake = rng.choice(CHANGES), rng.choice(POOL)
        if not _shows_with(key, value, mistake, suite):
            continue
        dtype = DTYPES[tried % 2]
        tried += 1
        report = check(with_convention(key, value, mistake.lines), suite, dtype=dtype)
        good = report.undeclared == {key: value} and both_named(report, [mistake.stage])
        named += good
        if not good:
            said.append(f"  {dtype}: {key} = {value} + {mistake.title}: {report.diagnosis[:300]}")
    yield f"{count} conventions not declared, with a mistake: both named in {named}"
    yield named >= 0.95 * count
    yield from said


def _shows_with(key: str, value: str, mistake: Planted, suite: Suite) -> bool:
    """Whether a mistake is wrong in cases of these conventions, in stages that are compared."""
    how = Conventions(**{key: value})
    report = check(with_convention(key, value, mistake.lines), suite, conventions=how)
    return bool(report.roots) and both_named(report, [mistake.stage])


def advice(count: int = 300, seed: int = 23, suite: Suite | None = None) -> Lines:
    """Each advice of random failing reports is followed: it does what it promised."""
    suite, rng = suite or one_of_each(), random.Random(seed)
    failing = given = kept = 0
    said = []
    while failing < count:
        run, dtype = _random_candidate(rng), DTYPES[failing % 2]
        report = check(run, suite, dtype=dtype)
        if report.passed:  # what is wrong is not in the stages that it supplies
            continue
        failing += 1
        if report.advice is None:
            continue
        given += 1
        how = Conventions(**{**run.conventions._asdict(), **report.advice.declare})
        after = check(run, suite, dtype=dtype, conventions=how)
        checked = [entry for entry in after.entries if entry.checked]
        wrong = sum(entry.wrong for entry in checked)
        right = (wrong, len(checked)) == (report.advice.wrong, report.advice.checked)
        right = right and (wrong > 0 or "everything supplied is right" in report.diagnosis)
        right = right and {root.where for root in after.roots} == {r.where for r in report.roots}
        kept += right
        if not right:
            said.append(
                f"  not kept: {run.name}: {report.diagnosis[:300]} || {after.diagnosis[:200]}"
            )
    yield f"{count} random failing reports, {given} with advice, of which {kept} did as promised"
    yield kept == given and given > 0
    yield from said


def _random_candidate(rng: random.Random) -> Candidate:
    """A convention or none, a mistake or none, some of all stages, a bare transposition or none."""
    key, value = rng.choice([*CHANGES, *CHANGES, ("none", "none")])
    lines: dict[str, Any] = {}
    titles = []
    for mistake in rng.sample(POOL, rng.choice([0, 0, 1, 1, 2]) if key != "none" else 1):
        lines |= mistake.lines
        titles.append(mistake.title)
    bare = rng.random() < 0.15
    known = [name for name, stage in STAGES.items() if not stage.of_context]
    stages = set(rng.sample(known, rng.choice([1, 3, 6, len(known), len(known)])))
    made = with_convention(key, value, lines)

    def run(p: Problem) -> dict[str, Any]:
        with np.errstate(all="ignore"):
            found = {name: x for name, x in made(p).items() if split(name)[0] in stages}
        if bare:
            found = {n: x.T if STAGES[split(n)[0]].square else x for n, x in found.items()}
        return found

    listed = "all" if len(stages) == len(known) else ", ".join(sorted(stages))
    return Candidate(f"{key} = {value}, {titles}, bare {bare}, of {listed}", run=run)
