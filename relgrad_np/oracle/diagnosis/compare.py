"""What a candidate returned, as its conventions want it judged, and what was not looked at."""

from collections.abc import Sequence

from ..conventions import Conventions, applies, expected
from ..truths.records import Array, Case
from ..truths.stages import STAGES, split
from .outcome import EPS, Outcome, supplied_stages

Found = Sequence[tuple[Case, dict[str, Array], str]]
"""What a candidate returned: case, arrays in the default conventions, the dtype it claims."""


def outcomes(found: Found, how: Conventions) -> list[Outcome]:
    """Pair results with cases as these conventions want them judged; empty results are left out."""
    return [
        Outcome(expected(case, how), arrays, EPS[dtype])
        for case, arrays, dtype in found
        if arrays and applies(case.problem, how, supplied=True)
    ]


def together(found: Found) -> Found:
    """Return results with the arrays of each case together, at the coarsest of their precisions.

    A case with arrays of two dtypes stands twice in `found`; a formula may read arrays of both.

    >>> together([])
    []
    """
    made: dict[str, tuple[Case, dict[str, Array], str]] = {}
    for case, arrays, dtype in found:
        _, others, other = made.get(case.problem.id, (case, {}, dtype))
        coarsest = max(dtype, other, key=lambda name: EPS[name])
        made[case.problem.id] = case, {**others, **arrays}, coarsest
    return list(made.values())


def not_checked(found: Found, results: Sequence[Outcome], how: Conventions) -> tuple[str, ...]:
    """Return lines on what was not looked at: stages, cases, arrays without enough digits."""
    supplied, lines = supplied_stages(results), []
    given = _given(results)
    possible = {
        split(name)[0]
        for outcome in results
        for name in outcome.case.expected
        if not _is_last_Y(name, outcome, given[outcome.problem.id])
    }
    if missing := [stage for stage in STAGES if stage in possible - supplied]:
        lines.append("not supplied: " + ", ".join(missing))
    lines += _gaps(results, supplied, given)
    judged = {outcome.problem.id for outcome in results}
    left = [case.problem for case, _, _ in found if case.problem.id not in judged]
    if unread := [p.id for p in left if p.c and how.context == "none"]:
        lines.append(
            f'results for {_few(unread)}, which have context: declare {{"context": "yes"}} to have '
            "them judged"
        )
    if absent := [p.id for p in left if p.id not in unread]:
        lines.append(f"no results for {_few(absent)}")
    rows = [entry for outcome in results for entry in outcome.entries]
    if blind := [f"{e.case} {e.name}" for e in rows if not e.checked]:
        lines.append(f"no digits left in this precision: {_few(blind)}")
    return tuple(lines)


def _given(results: Sequence[Outcome]) -> dict[str, set[str]]:
    """Return which arrays were supplied, by case; one with two dtypes has two outcomes."""
    given: dict[str, set[str]] = {}
    for outcome in results:
        given.setdefault(outcome.problem.id, set()).update(outcome.arrays)
    return given


def _is_last_Y(name: str, outcome: Outcome, given: set[str]) -> bool:
    """Whether an array is Z_L of an affine last layer whose Y was supplied: it is the same one."""
    problem = outcome.problem
    same = name == f"Z_{problem.L}" and problem.last_layer == "affine"
    return same and f"Y_{problem.L - 1}" in given


def _gaps(results: Sequence[Outcome], supplied: set[str], given: dict[str, set[str]]) -> list[str]:
    """Return lines on arrays that are missing though others of their stage were supplied."""
    gaps = {
        outcome.problem.id: [
            name
            for name in outcome.case.expected
            if split(name)[0] in supplied
            and name not in given[outcome.problem.id]
            and not _is_last_Y(name, outcome, given[outcome.problem.id])
        ]
        for outcome in results
    }
    ever, lines = set[str]().union(*given.values()), []
    missing = dict.fromkeys(name for names in gaps.values() for name in names)
    if never := [name for name in missing if name not in ever]:
        lines.append(f"not supplied, though those of other layers were: {_few(never)}")
    if some := [name for name in missing if name in ever]:
        cases = [case for case, names in gaps.items() if set(names) & set(some)]
        lines.append(f"not supplied in {_few(cases)}, though in other cases: {_few(some)}")
    return lines


def _few(items: Sequence[str]) -> str:
    shown = ", ".join(items[:3])
    return shown if len(items) <= 3 else f"{shown} and {len(items) - 3} more"
