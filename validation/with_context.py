"""The oracle with context, y = W z + C u + b: two parts of `validation.oracle_report`.

Mistakes that need context, in every library and precision, the others with context, and
conventions; and right candidates.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from relgrad_np.oracle import Conventions, check, mistakes
from relgrad_np.oracle.truths.records import Suite
from relgrad_np.oracle.truths.suite import load, small

from . import planted, random_cases, right
from .diagnosis import CHANGES, Planted, both_named, with_convention

HERE = Path(__file__).parent
HOW = Conventions(context="yes")
ONE_OF_EACH = [
    "context-smooth_leaky_relu-sech", "context-leaky_tanh-normal", "context-softplus-laplace",
    "context-elu-student_t", "context-one-sample", "context-square", "context-many",
    "context-middling",
]  # fmt: skip
TWO = ["context-smooth_leaky_relu-sech", "context-leaky_tanh-logistic"]  # JAX compiles for each
FLAGGED = ["context-no-bias-2", "context-no-bias-3", "context-last-activated-2",
           "context-last-activated-3"]  # fmt: skip
Lines = Iterator[str | bool]


def wrong_ones() -> Lines:
    """Mistakes and conventions with context."""
    yield from _catalogue()
    yield from _conventions()


def _catalogue() -> Lines:
    suite = small().where(id=ONE_OF_EACH)
    names = list(mistakes)
    apart = planted.distinguishable(suite, among=names)
    count = len(names) * (len(names) - 1) // 2
    yield f"{len(names)} mistakes, {count} pairs, not told apart with context: {len(apart)}"
    yield not apart
    found: dict[str, list[str]] = {name: [] for name in planted.OF_CONTEXT}
    for library in planted.LIBRARIES:
        cases = small().where(id=TWO) if library == "JAX" else suite
        for dtype in ("float64", "float32"):
            rows = planted.catalogue_table(library, dtype, cases, planted.OF_CONTEXT, HOW)
            yield _counts(f"{library:<6} {dtype}, {len(cases.cases)} cases: of context", rows)
            yield all(one and two for _, one, two in rows)
            for name, one, two in rows:
                found[name].append("named" if two else "DETECTED ONLY" if one else "MISSED")
    for dtype in ("float64", "float32"):
        rows = planted.catalogue_table("NumPy", dtype, suite, planted.PLAIN, HOW)
        yield _counts(f"NumPy  {dtype}, {len(suite.cases)} cases: the others, with context", rows)
        yield all(one and two for _, one, two in rows)
    problems = planted.easy_problems(suite)
    wrong = [
        name for name in planted.OF_CONTEXT
        if set(planted.hidden_at(name, problems)) != set(mistakes[name].hidden_at)
    ]  # fmt: skip
    yield f"hidden at other easy inputs than the catalogue says: {', '.join(wrong) or 'none'}"
    yield not wrong
    yield ""
    yield f"{'mistake':<26} {'stage':<12} {'first in':<11} {'hidden at':<34} in all 6"
    for name in planted.OF_CONTEXT:
        m = mistakes[name]
        said = "named" if set(found[name]) == {"named"} else ", ".join(found[name])
        yield f"{name:<26} {m.stage:<12} {m.first:<11} {', '.join(m.hidden_at) or '-':<34} {said}"
    yield ""


def _counts(label: str, rows: list[tuple[str, bool, bool]]) -> str:
    detected, named, n = sum(row[1] for row in rows), sum(row[2] for row in rows), len(rows)
    return f"{label}: detected {detected} of {n}, named right {named} of {n}"


def _conventions(count: int = 20, seed: int = 25) -> Lines:
    """Conventions that are not declared, alone and with a mistake that needs context."""
    suite = small().where(id=ONE_OF_EACH + FLAGGED)
    for key, value in CHANGES:
        made = with_convention(key, value, {})
        report = check(made, suite, conventions=HOW)
        passed = check(made, suite, conventions=HOW._replace(**{key: value})).passed
        good = report.kind == "convention" and report.undeclared == {key: value} and passed
        yield f"{key} = {value}, not declared: {'recognised' if good else report.verdict}"
        yield good
    rng, tried, named, said = random.Random(seed), 0, 0, []
    while tried < count:
        (key, value), name = rng.choice(CHANGES), rng.choice(planted.OF_CONTEXT)
        mistake = Planted(name, mistakes[name].stage, dict(mistakes[name].lines))
        made = with_convention(key, value, mistake.lines)
        declared = check(made, suite, conventions=HOW._replace(**{key: value}))
        if not declared.roots or not both_named(declared, [mistake.stage]):
            continue  # in a stage that is not compared then
        tried += 1
        report = check(made, suite, conventions=HOW)
        good = report.undeclared == {key: value} and both_named(report, [mistake.stage])
        named += good
        if not good:
            said.append(f"  {key} = {value} + {name}: {report.diagnosis[:300]}")
    yield f"{count} conventions not declared, with a mistake of context: both named in {named}"
    yield named >= 0.95 * count
    yield from said


def right_ones(count: int = 60) -> Lines:
    """Right candidates with context: nothing is said of them."""
    full = load(HERE / "vectors")
    made = Suite("random", tuple(random_cases.cases(count, context=True)))
    cases = Suite("", tuple(case for case in full.cases if case.problem.c))
    for name in right.candidates():
        if name == "the kernels":
            continue  # tests/kernels hold them against the core, which is judged here
        for dtype in ("float64", "float32"):
            few = (("suite", Suite("", cases.cases[:2])),)  # of two sizes
            all_of_them = (("random", made), ("suite", cases))
            for label, suite in few if name == "JAX autodiff" else all_of_them:
                n, arrays, alarms, worst, which = right.alarms(name, suite, dtype, how=HOW)
                yield (
                    f"{name:<29} {dtype} {label:<6} {n:>4} cases {arrays:>5} arrays: "
                    f"{alarms} false alarms or claims, worst {worst:.3f} of what is allowed"
                )
                yield alarms == 0
                yield from (f"  {line}" for line in which[:5])
