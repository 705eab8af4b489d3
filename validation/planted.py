"""Mistakes planted in NumPy, torch and JAX candidates: each detected, and called by its name."""

import itertools
import random
from typing import Any

import numpy as np

from relgrad_np.oracle import Candidate, check, mistakes
from relgrad_np.oracle.diagnosis.outcome import EPS, Outcome
from relgrad_np.oracle.mistakes import formulas
from relgrad_np.oracle.truths.records import Case, Problem, Suite


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
    W, b = (tuple(to(x) for x in part) for part in (p.W, p.b))
    return p._replace(X=to(p.X), W=W, b=b, Z_back=to(p.Z_back))


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


def catalogue_table(library: str, dtype: str, suite: Suite) -> list[tuple[str, bool, bool]]:
    """For each mistake: its name, whether it was detected, whether it was named right."""
    rows = []
    for name, mistake in mistakes.items():
        if dtype == "float32" and "moderate" in mistake.hidden_at:
            continue  # below float32's last digit: there it is right
        report = check(LIBRARIES[library](mistake.lines), suite, dtype=dtype, twice=False)
        rows.append((name, not report.passed, named_right(report, name)))
    return rows


def distinguishable(suite: Suite, eps: float = 2.0**-23) -> list[tuple[str, str]]:
    """Pairs of mistakes that no case tells apart, by 100 times what float32 may err."""
    made: dict[str, list[dict[str, Any]]] = {}
    with np.errstate(all="ignore"):
        for name, mistake in mistakes.items():
            made[name] = [formulas.run(case.problem, mistake.lines) for case in suite.cases]
    return [
        (one, two)
        for one, two in itertools.combinations(mistakes, 2)
        if not any(
            _differ(a, b, case, eps)
            for a, b, case in zip(made[one], made[two], suite.cases, strict=True)
        )
    ]


def _differ(a: dict[str, Any], b: dict[str, Any], case: Case, eps: float) -> bool:
    for name, tolerance in case.tolerances.items():
        finite = np.isfinite(a[name]) == np.isfinite(b[name])
        with np.errstate(all="ignore"):
            apart = np.max(np.abs(np.where(np.isfinite(a[name] - b[name]), a[name] - b[name], 0)))
        if not np.all(finite) or apart > 100 * tolerance.allowed(eps):
            return True
    return False


def pairs(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Random pairs of mistakes in different lines, each of which shows at moderate |y|."""
    rng, chosen = random.Random(seed), []
    names = [name for name, mistake in mistakes.items() if "moderate" not in mistake.hidden_at]
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
    return {
        "orthogonal": problem._replace(W=Q),
        "b = 0": problem._replace(b=zero),
        "N = 1": problem._replace(X=problem.X[:1], Z_back=problem.Z_back[:1]),
        "det > 0": problem._replace(W=flipped),
        "L = 1": problem._replace(W=problem.W[:1], b=problem.b[:1]),
        "L = 2": problem._replace(W=problem.W[:2], b=problem.b[:2]),
        "start": problem._replace(W=Q, b=zero),
    }


Easy = dict[str, tuple[Problem, dict[str, Any]]]


def hidden_at(name: str, problems: list[Easy]) -> tuple[str, ...]:
    """The easy inputs at which a mistake changes nothing, in any of these problems.

    What changes nothing at all in them, whose |y| is moderate, is hidden there.
    """

    def same(problem: Problem, right: dict[str, Any]) -> bool:
        wrong = formulas.run(problem, mistakes[name].lines)
        return all(np.allclose(wrong[k], right[k], 1e-9, 1e-9) for k in right)

    with np.errstate(all="ignore"):
        kinds = tuple(kind for kind in problems[0] if all(same(*p[kind]) for p in problems))
    return ("moderate",) if len(kinds) == len(problems[0]) else kinds


def easy_problems(suite: Suite) -> list[Easy]:
    """The easy inputs, made from generic problems of two layers or more, and their right arrays."""
    return [
        {kind: (p, formulas.run(p)) for kind, p in easy(case.problem).items()}
        for case in suite.cases
        if case.problem.L >= 2
        and case.problem.family in ("generic", "depth", "N > D")
        and case.problem.activation.name in ("smooth_leaky_relu", "leaky_tanh")
    ]
