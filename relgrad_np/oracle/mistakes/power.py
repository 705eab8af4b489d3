"""What a pass is worth: which mistakes of the catalogue would have shown, found by running them.

A mistake shows in an array of a case if it makes that array wrong by more than twice what a right
result is allowed. It exists, in nets of some kind, if it changes an array for generic inputs: in a
net of one layer there is no `(log sigma')'` to forget. A pass excludes the mistakes that exist in
the nets and arrays that were compared, and showed in one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..conventions import Conventions, sources_of
from ..diagnosis.outcome import EPS, Outcome, worst
from ..truths.drawing import make
from ..truths.records import Array, Case, Power, Powers, Problem, Share
from ..truths.stages import STAGES, split
from .catalogue import mistakes
from .formulas import EXP, run

ENOUGH = 0.9  # the least share of the mistakes that exist that a pass must exclude
ON_THE_SPOT = 12  # cases without known powers whose powers are found while checking


def powers(case: Case) -> Powers:
    """Run every mistake on a case; a third of a second.

    Where R = 0 by construction, a mistake that shows is no evidence of anything: it counts as none.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> (case,) = small().where(id="depth-1-2").cases
    >>> bit = list(mistakes).index("R_b_without_b")
    >>> [powers(case).by_dtype["float64"].shows[name] >> bit & 1 for name in ("R_W_0", "R_b_0")]
    [0, 1]
    """
    p = case.problem
    exists = _exists(p)
    shows = {dtype: dict.fromkeys(case.expected, 0) for dtype in EPS}
    for i, name, made in _changed(p) if p.family != "optimum" else ():
        if name in case.expected:
            error, tolerance = worst(made, case.expected[name]), case.tolerances[name]
            for dtype, eps in EPS.items():
                allowed = tolerance.allowed(eps)
                if allowed <= tolerance.size / 4 and not error <= 2 * allowed:
                    shows[dtype][name] |= 1 << i
    found = {dtype: Power(shows[dtype], exists[dtype]) for dtype in EPS}
    return Powers(tuple(mistakes), found)


def _changed(p: Problem) -> Iterator[tuple[int, str, Array]]:
    """Run every mistake; yield its number, and each array that it changes, with what it is then."""
    with np.errstate(all="ignore"):
        right = run(p)
        for i, mistake in enumerate(mistakes.values()):
            if mistake.of_context and not p.c:
                continue
            back = {"unline", "X_back"} & set(mistake.lines)  # the only lines of the way back
            made = run(p, mistake.lines, wanted=set(STAGES) - (set() if back else {"X_back"}))
            for name, x in made.items():
                if not np.array_equal(x, right[name]):
                    yield i, name, x


_EXISTS: dict[Any, dict[str, dict[str, int]]] = {}  # what was found, by kind of net


def _exists(p: Problem) -> dict[str, dict[str, int]]:
    """Return, by dtype and stage, the mistakes that change it for generic inputs of this kind.

    Half of the samples are 16 times larger: there softplus is cut off, and nothing is in doubt.
    """
    act, dens = p.activation, p.density
    parts = ((part.name, *sorted(part.params.items()), id(part.part)) for part in (act, dens))
    kind = (*parts, p.L, p.last_layer, p.c)
    if kind in _EXISTS:
        return _EXISTS[kind]
    q = make("reference", "", "", 7, 3, p.L, act, dens, sign=-1, last_layer=p.last_layer, c=p.c)
    q = q._replace(X=q.X * np.repeat([1.0, 16.0], (4, 3))[:, None])
    with np.errstate(all="ignore"):
        q = q._replace(Z_back=run(q, wanted=["Z"])[f"Z_{p.L}"])
        right = run(q)
    found = {dtype: {split(name)[0]: 0 for name in right} for dtype in EPS}
    for i, name, x in _changed(q):
        for dtype, eps in EPS.items():
            if _differ(x, right[name], eps):
                found[dtype][split(name)[0]] |= 1 << i
    return _EXISTS.setdefault(kind, found)


def _differ(wrong: Array, right: Array, eps: float) -> bool:
    """Whether an array differs by more than rounding; one that overflows is no evidence."""
    size = float(np.max(np.abs(right), initial=0.0))
    return bool(np.isfinite(size)) and not worst(wrong, right) <= 200 * eps * max(size, 1e-3)


def share(results: Sequence[Outcome], how: Conventions, isolated: bool = False) -> Share:
    """Return which mistakes would have shown, over the cases and arrays that were compared.

    `isolated`: the results are those of parts, which were given true inputs, so that only mistakes
    in their own lines would have.
    """
    shown = possible = 0
    left, sources = ON_THE_SPOT, sources_of(how.variant)
    for outcome in results:
        case = outcome.case
        if case.powers is None or not _known(case):
            if not left:
                continue
            left, case = left - 1, case._replace(powers=powers(case))
        assert case.powers is not None
        power = case.powers.by_dtype["float32" if outcome.eps == EPS["float32"] else "float64"]
        for entry in outcome.entries:
            if entry.checked:
                stage, index = split(entry.name)
                stage = sources.get(stage, stage)
                name = stage if index is None else f"{stage}_{index}"
                counted = _own(stage) if isolated else -1
                shown |= power.shows.get(name, 0) & counted
                possible |= power.exists.get(stage, 0) & counted
    possible = (possible | shown) & ~(_hidden("b = 0") if how.bias == "none" else 0)
    shown &= possible
    return Share(_names(shown), _names(possible & ~shown))


def _known(case: Case) -> bool:
    """Whether a case's powers are of this catalogue; without context its other mistakes will do."""
    names = [name for name in mistakes if case.problem.c or not mistakes[name].of_context]
    return case.powers is not None and list(case.powers.mistakes[: len(names)]) == names


def lacking(results: Sequence[Outcome]) -> str:
    """Return in words which cases would let more mistakes show."""
    problems = [outcome.problem for outcome in results]
    signs = {float(np.sign(np.linalg.det(W))) for p in problems for W in p.W}
    if all(p.family == "optimum" for p in problems):
        return "a case away from the optimum, because R = 0 hides mistakes" + _made(problems)
    lacks = [
        text
        for text, missing in (
            ("N > 1", all(p.N == 1 for p in problems)),
            ("biases other than 0", not any(b.any() for p in problems for b in p.b)),
            ("det W < 0", -1.0 not in signs),
            ("moderate |y|", all(p.family in ("large", "tiny", "condition") for p in problems)),
        )
        if missing
    ]
    cases = f"cases with {', '.join(lacks)}" if lacks else "all arrays of more cases"
    return cases + _made(problems)


def _made(problems: Sequence[Problem]) -> str:
    p = problems[0]
    params = {**p.activation.params, **p.density.params, **({"context": p.c} if p.c else {})}
    more = "".join(f", {key}={value:g}" for key, value in params.items())
    return (
        f", as oracle.suite(activation={p.activation.name!r}, density={p.density.name!r}{more}, "
        f"L={p.L}) makes them"
    )


def _mask(numbers: Iterable[int]) -> int:
    return sum(1 << i for i in numbers)


def _names(mask: int) -> tuple[str, ...]:
    return tuple(name for i, name in enumerate(mistakes) if mask >> i & 1)


def _own(stage: str) -> int:
    """Return the mistakes that a part for this stage can have: in it, or in a line of it."""
    lines = dict.fromkeys(EXP, "exp")
    return _mask(
        i
        for i, mistake in enumerate(mistakes.values())
        if mistake.stage == stage or lines.get(stage, stage) in mistake.lines
    )


def _hidden(at: str) -> int:
    return _mask(i for i, mistake in enumerate(mistakes.values()) if at in mistake.hidden_at)
