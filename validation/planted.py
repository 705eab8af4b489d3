"""Mistakes planted in NumPy, torch and JAX candidates: each detected, and called by its name."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from relgrad_np.oracle import Candidate, Conventions, check, mistakes
from relgrad_np.oracle.diagnosis.outcome import EPS, Outcome
from relgrad_np.oracle.mistakes import formulas
from relgrad_np.oracle.truths.records import Case, Problem, Suite
from relgrad_np.oracle.truths.stages import STAGES


def numpy_candidate(lines: Any = None, only: int | None = None) -> Candidate:
    """The algorithm in NumPy, with wrong lines."""
    return Candidate("NumPy", run=lambda p: formulas.run(p, lines, only=only))


def torch_candidate(lines: Any = None, only: int | None = None) -> Candidate:
    """The same in torch."""
    import torch

    def run(p: Problem) -> Any:
        return formulas.run(_moved(p, torch.tensor), lines, only=only, xp=torch)

    return Candidate("torch", run=run)


def jax_candidate(lines: Any = None, only: int | None = None) -> Candidate:
    """The same in JAX; compiled once for each mistake and size."""
    import jax

    def run(p: Problem) -> Any:
        with jax.enable_x64(p.dtype == "float64"):
            made = formulas.run(_moved(p, jax.numpy.asarray), lines, only=only, xp=jax.numpy)
            return {name: np.asarray(x) for name, x in made.items()}

    return Candidate("JAX", run=run)


def _moved(p: Problem, to: Any) -> Problem:
    W, b, C = (tuple(to(x) for x in part) for part in (p.W, p.b, p.C))
    U = to(p.U) if p.c else None
    return p._replace(X=to(p.X), W=W, b=b, Z_back=to(p.Z_back), U=U, C=C)


LIBRARIES = {"NumPy": numpy_candidate, "torch": torch_candidate, "JAX": jax_candidate}


# what is no mistake once it is declared: the convention comes first, the mistake in a note
IS_ALSO = {"L_p_without_constant": {"base": "unnormalised"}}


def named_right(report: Any, name: str) -> bool:
    """Whether a report names this mistake, its stage and its layer, and nothing is left over."""
    mistake = mistakes[name]
    if name in IS_ALSO:
        said = f"it is a mistake: {mistake.stage}: {mistake.title}"
        noted = any(said in note for note in report.notes)
        return report.kind == "convention" and report.undeclared == IS_ALSO[name] and noted
    return bool(
        report.mistake == name
        and report.kind == "mistake"
        and report.stage == mistake.stage == report.first.stage
        and report.layer == mistake.first_layer(report.layers)
        and report.explains_all
        and not report.undeclared
    )


PLAIN = [name for name, mistake in mistakes.items() if not mistake.of_context]
OF_CONTEXT = [name for name, mistake in mistakes.items() if mistake.of_context]


def catalogue_table(
    library: str,
    dtype: str,
    suite: Suite,
    names: Sequence[str] = PLAIN,
    how: Conventions = Conventions(),  # noqa: B008 (immutable)
) -> list[tuple[str, bool, bool]]:
    """For each mistake: its name, whether it was detected, whether it was named right."""
    rows = []
    for name in names:
        mistake = mistakes[name]
        if dtype == "float32" and "moderate" in mistake.hidden_at:
            continue  # below float32's last digit: there it is right
        made = LIBRARIES[library](mistake.lines)
        report = check(made, suite, dtype=dtype, conventions=how, twice=False)
        rows.append((name, not report.passed, named_right(report, name)))
    return rows


def distinguishable(
    suite: Suite, eps: float = 2.0**-23, among: Sequence[str] = PLAIN
) -> list[tuple[str, str]]:
    """Pairs of mistakes that no case tells apart, by 100 times what float32 may err."""
    rows = []
    with np.errstate(all="ignore"):
        for name in among:
            lines = mistakes[name].lines
            made = ((c, formulas.run(c.problem, lines)) for c in suite.cases)
            rows.append(np.concatenate([_in_units(case, found, eps) for case, found in made]))
    table, names = np.array(rows), list(among)  # (mistakes, entries)
    same = []
    for i, row in enumerate(table):
        finite = np.isfinite(table[i + 1 :]) == np.isfinite(row)
        gap = np.abs(table[i + 1 :] - row)
        near = finite & ~(np.isfinite(gap) & (gap > 1))
        same += [(names[i], names[i + 1 + j]) for j in np.flatnonzero(near.all(axis=1))]
    return same


def _in_units(case: Case, found: dict[str, Any], eps: float) -> Any:
    """All entries of a case, in units of 100 times what each array may err."""
    parts = []
    for name, tolerance in case.tolerances.items():
        allowed = 100 * tolerance.allowed(eps)
        parts.append(np.ravel(found[name]) / (allowed or np.finfo(float).tiny))
    return np.concatenate(parts)


def pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Random pairs of mistakes in different lines, each of which shows at moderate |y|."""
    rng, chosen = random.Random(seed), []
    names = [name for name in PLAIN if "moderate" not in mistakes[name].hidden_at]
    while len(chosen) < count:
        one, two = rng.sample(names, 2)
        same_line = set(mistakes[one].lines) & set(mistakes[two].lines)
        if not same_line and (one, two) not in chosen and (two, one) not in chosen:
            chosen.append((one, two))
    return chosen


def _first_place(name: str, suite: Suite, dtype: str) -> Any:
    """Where a mistake alone shows first in the order of propagation."""
    made = numpy_candidate(mistakes[name].lines)
    places = []
    for case in suite.cases:
        if case.problem.last_layer == "affine":
            outcome = Outcome(case, made.call(case, dtype).arrays, EPS[dtype])
            places += [entry.place for entry in outcome.entries if entry.wrong]
    return min(places)


def pair_table(count: int, suite: Suite, dtype: str = "float64") -> list[dict[str, Any]]:
    """What is said of each pair: whether it passed, or its first mistake was named, or neither."""
    chosen, rows = pairs(count), []
    alone = {name: _first_place(name, suite, dtype) for pair in chosen for name in pair}
    for one, two in chosen:
        both = {**mistakes[one].lines, **mistakes[two].lines}
        report = check(numpy_candidate(both), suite, dtype=dtype, twice=False)
        places = {name: alone[name] for name in (one, two)}
        start = min(places.values())
        firsts = [name for name in (one, two) if places[name] == start]
        cancels = report.first is None or report.first.place > start
        rows.append(
            {
                "pair": (one, two), "firsts": firsts, "passed": report.passed, "cancels": cancels,
                "named": report.mistake in firsts, "said": report.mistake or report.kind,
            }
        )  # fmt: skip
    return rows


def easy(problem: Problem) -> dict[str, Problem]:
    """The easy inputs that hide mistakes, made from a generic problem; see `catalogue`."""
    signs = [np.sign(np.linalg.det(W)) for W in problem.W]
    Q = tuple(np.linalg.svd(W)[0] @ np.linalg.svd(W)[2] for W in problem.W)
    zero = tuple(0 * b for b in problem.b)
    flipped = tuple(
        np.concatenate([s * W[:1], W[1:]]) for s, W in zip(signs, problem.W, strict=True)
    )
    U, C = problem.U, problem.C
    one = problem._replace(X=problem.X[:1], Z_back=problem.Z_back[:1])
    found = {
        "orthogonal": problem._replace(W=Q),
        "b = 0": problem._replace(b=zero),
        "N = 1": one._replace(U=U[:1] if C else None),
        "det > 0": problem._replace(W=flipped),
        "L = 1": problem._replace(W=problem.W[:1], b=problem.b[:1], C=C[:1]),
        "L = 2": problem._replace(W=problem.W[:2], b=problem.b[:2], C=C[:2]),
        "start": problem._replace(W=Q, b=zero),
    }
    if C:
        found["c = 1"] = problem._replace(U=U[:, :1], C=tuple(x[:, :1] for x in C))
    return found


Easy = dict[str, tuple[Problem, dict[str, Any]]]


def hidden_at(name: str, problems: list[Easy]) -> tuple[str, ...]:
    """The easy inputs at which a mistake changes nothing, in any of these problems.

    What changes nothing at all in them, whose |y| is moderate, is hidden there.
    """
    # the exponential step and the way back show only what is wrong in their own lines, or before
    needed = set(STAGES) - {*formulas.EXP, "X_back"}
    needed |= set(formulas.EXP) if "exp" in mistakes[name].lines else set()
    needed |= {"X_back"} if {"unline", "X_back"} & set(mistakes[name].lines) else set()

    def same(problem: Problem, right: dict[str, Any]) -> bool:
        wrong = formulas.run(problem, mistakes[name].lines, wanted=needed)
        return all(np.allclose(wrong[k], right[k], 1e-9, 1e-9) for k in wrong)

    with np.errstate(all="ignore"):
        kinds = tuple(kind for kind in problems[0] if all(same(*p[kind]) for p in problems))
    return ("moderate",) if len(kinds) == len(problems[0]) else kinds


def easy_problems(suite: Suite) -> list[Easy]:
    """The easy inputs, made from generic problems of two layers or more, and their right arrays."""
    return [
        {kind: (p, formulas.run(p)) for kind, p in easy(case.problem).items()}
        for case in suite.cases
        if case.problem.L >= 2
        and case.problem.family in ("generic", "depth", "N > D", "context")
        and case.problem.activation.name in ("smooth_leaky_relu", "leaky_tanh")
    ]
