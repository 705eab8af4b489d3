"""What the oracle must show about itself: `python -m validation.oracle_report [PART ...]`.

Parts: catalogue, pairs, inventions, both, conventions, advice, right, published, precision, power,
behaviour, overflows, context, right_with_context. Each prints its table and keeps it in
validation/oracle/PART.txt; the exit status is 1 if a figure falls short. About an hour.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from relgrad_np.oracle import Conventions, check, mistakes
from relgrad_np.oracle.diagnosis.compare import outcomes
from relgrad_np.oracle.mistakes.power import share
from relgrad_np.oracle.truths.problems import ACTIVATIONS, DENSITIES
from relgrad_np.oracle.truths.records import Suite
from relgrad_np.oracle.truths.suite import load, small

from . import behaviours, diagnosis, low_precision, planted, random_cases, right, with_context
from .published import published

HERE = Path(__file__).parent
ONE_OF_EACH = [
    "generic-smooth_leaky_relu-logistic", "generic-leaky_tanh-normal", "generic-softplus-laplace",
    "depth-1-3", "depth-3-2", "one-sample", "many-samples", "optimum", "middling-smooth_leaky_relu",
    "no-bias-smooth_leaky_relu",
]  # fmt: skip
Lines = Iterator[str | bool]


def kinds() -> Suite:
    """Return cases of the small suite, of each kind a few: what they show, all of it shows."""
    return small().where(
        id=[
            case.problem.id
            for case in small().cases
            if case.problem.id in ONE_OF_EACH
            or case.problem.family in ("condition", "tiny", "large")
        ]
    )


def catalogue() -> Lines:
    """Every mistake in every library and precision; all pairs told apart."""
    suite = small().where(id=ONE_OF_EACH)
    apart = planted.distinguishable(suite)
    names = planted.PLAIN
    n = len(names)
    yield f"{n} mistakes, {n * (n - 1) // 2} pairs, not told apart by the suite: {len(apart)}"
    yield not apart
    found: dict[str, list[str]] = {name: [] for name in names}
    for library in planted.LIBRARIES:
        for dtype in ("float64", "float32"):
            rows = planted.catalogue_table(library, dtype, suite)
            detected, named = sum(row[1] for row in rows), sum(row[2] for row in rows)
            n = len(rows)
            yield f"{library:<6} {dtype}: detected {detected} of {n}, named right {named} of {n}"
            yield detected == named == n
            for name, one, two in rows:
                found[name].append("named" if two else "DETECTED ONLY" if one else "MISSED")
    yield ""
    yield f"{'mistake':<26} {'stage':<12} {'first in':<11} {'hidden at':<34} in all 6"
    for name in names:
        m = mistakes[name]
        hidden = ", ".join(m.hidden_at) or "-"
        said = "named" if set(found[name]) == {"named"} else ", ".join(found[name])
        yield f"{name:<26} {m.stage:<12} {m.first:<11} {hidden:<34} {said}"


def pairs() -> Lines:
    """Two mistakes at once: the first in propagation order is named, none passes."""
    rows = planted.pair_table(200, small().where(id=ONE_OF_EACH))
    kept = [row for row in rows if not row["cancels"]]
    named = sum(row["named"] for row in kept)
    passed = sum(row["passed"] for row in rows)
    yield f"200 pairs, {len(rows) - len(kept)} cancel in part, {passed} pass as right"
    yield f"the first is found and named in {named} of {len(kept)}: {100 * named / len(kept):.1f} %"
    yield named >= 0.95 * len(kept) and not passed
    for row in rows:
        if row["cancels"] or not row["named"]:
            why = "cancel" if row["cancels"] else "not named"
            yield f"  {why}: {' + '.join(row['pair'])}: {row['said']}"


def right_ones(count: int = 1000) -> Lines:
    """Right candidates on random cases: no false alarm, and nothing is claimed of them."""
    made = tuple(random_cases.cases(count))
    suites = Suite("random", made), load(HERE / "vectors")
    kinds = {f: sum(case.problem.family == f for case in made) for f in ("condition", "optimum")}
    yield f"{count} random cases, of which {kinds}; and the {len(suites[1].cases)} of the suite"
    for name in right.candidates():
        for dtype in ("float64", "float32"):
            for label, suite in zip(("random", "suite"), suites, strict=True):
                cases, arrays, alarms, worst, which = right.alarms(name, suite, dtype)
                yield (
                    f"{name:<29} {dtype} {label:<6} {cases:>4} cases {arrays:>5} arrays: "
                    f"{alarms} false alarms or claims, worst {worst:.3f} of what is allowed"
                )
                yield alarms == 0
                yield from (f"  {line}" for line in which[:5])


def published_code() -> Lines:
    """The published code: first undeclared, then declared."""
    suite = small().where(id=ONE_OF_EACH)
    report = check(published, suite)
    yield f"undeclared: {report.verdict}"
    yield f"            {report.undeclared}"
    yield report.undeclared == {"weights": "transposed", "direction": "descent"}
    how = Conventions(weights="transposed", direction="descent")

    report = check(published, suite, conventions=how)
    yield f"declared:   {report.verdict}"
    yield report.mistake == "R_b_without_b" and not report.undeclared


def precision() -> Lines:
    """Wrong digits are told from wrong formulas, and an inverse is noticed."""
    suite = kinds()
    for what, run, dtype, wanted in low_precision.examples():
        report = check(run, suite, dtype=dtype)
        said = "right" if report.passed else report.mistake
        yield f"{what}, claimed {dtype}: {said}; {report.diagnosis}"
        yield said == wanted
    for function in (low_precision.through_an_inverse, low_precision.without):
        report = check({"R_W": function}, suite)
        yield f"R_W {function.__name__}, true Y and Delta: {report.verdict}"
        yield from (f"  note: {note}" for note in report.notes)
        yield bool(report.notes) == (function is low_precision.through_an_inverse)
    mild = suite.where(id=[c.problem.id for c in suite.cases if "condition-20" not in c.problem.id])
    report = check({"R_W": low_precision.through_an_inverse}, mild)
    yield f"the same up to cond(W) = 7e3: {report.verdict}"
    yield from (f"  note: {note}" for note in report.notes)
    yield report.passed and bool(report.notes)


def power() -> Lines:
    """Which share of the mistakes that exist in each kind of net a pass of it excludes."""
    suite, least = small(), 1.0
    yield "mistakes of the catalogue that a pass of these cases excludes, of those that change an"
    yield "array at all in nets of this kind (for generic inputs, beyond rounding)"
    yield ""
    yield f"{'activation':<18} {'density':<10} {'float64: L = 1, 2, 3':<40} float32: L = 1, 2, 3"
    for act in ACTIVATIONS:
        for dens in DENSITIES:
            cells = {dtype: list[str]() for dtype in ("float64", "float32")}
            for dtype, row in cells.items():
                for L in (1, 2, 3):
                    where = {"activation": act.name, "density": dens.name, "L": L}
                    kept = suite.where(last_layer="affine", **where).cases
                    found = [(case, case.expected, dtype) for case in kept]
                    cell = share(outcomes(found, Conventions()), Conventions())
                    least = min(least, cell.value)
                    row.append(f"{len(cell.shown)} of {cell.possible}")
            rows = (f"{', '.join(row):<40}" for row in cells.values())
            yield f"{act.name:<18} {dens.name:<10} {' '.join(rows)}".rstrip()
    yield f"least share: {100 * least:.1f} %"
    yield least >= 0.95
    candidate = {"R_W": lambda R_W: -1000 * R_W.T}
    for text, chosen in (
        ("one layer with a normal base", suite.where(L=1, density="normal")),
        ("its optimum alone", suite.where(id="optimum")),
    ):
        report = check(candidate, chosen)
        yield f"R_W = -1000 R_W.T, {text}: {report.verdict}"
        yield not report.passed


def behaviour() -> Lines:
    """What a candidate does besides returning arrays is named as what it is."""
    for library in planted.LIBRARIES:
        for dtype in ("float64", "float32"):
            rows = behaviours.table(library, small().where(id=ONE_OF_EACH), dtype)
            yield f"{library} {dtype}: {sum(row[1] for row in rows)} of {len(rows)} named"
            yield all(row[1] for row in rows)
            if dtype == "float64":
                yield from (f"  {name:<12} {said}" for name, _, said in rows)


def overflows() -> Lines:
    """Naive forms that overflow beyond |y| = 710 in float64, 88 in float32."""
    for name, lines in behaviours.OVERFLOWS.items():
        for dtype in ("float64", "float32"):
            made = planted.numpy_candidate(lines)
            report = check(made, small().where(family="large"), dtype=dtype)
            yield f"{name}, {dtype}: {report.verdict}"
            yield not report.passed


PARTS: dict[str, Callable[[], Lines]] = {
    "catalogue": catalogue,
    "pairs": pairs,
    "inventions": diagnosis.inventions,
    "both": diagnosis.both,
    "conventions": diagnosis.with_conventions,
    "advice": diagnosis.advice,
    "right": right_ones,
    "published": published_code,
    "precision": precision,
    "power": power,
    "behaviour": behaviour,
    "overflows": overflows,
    "context": with_context.wrong_ones,
    "right_with_context": with_context.right_ones,
}


def main() -> int:
    """Run the parts; print and keep their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    options = parser.parse_args()
    np.seterr(all="ignore")
    good = True
    for name in options.parts or PARTS:
        lines = [f"== {name}"]
        print(lines[0], flush=True)
        mine = True
        for line in PARTS[name]():
            if isinstance(line, bool):
                mine = mine and line
            else:
                lines.append(line)
                print(line, flush=True)
        lines.append("as it must be" if mine else "FALLS SHORT")
        print(lines[-1], flush=True)
        (HERE / "oracle").mkdir(exist_ok=True)
        (HERE / "oracle" / f"{name}.txt").write_text("\n".join(lines) + "\n")
        good = good and mine
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
