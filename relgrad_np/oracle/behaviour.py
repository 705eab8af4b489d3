"""What a candidate does, besides what it returns: it is called twice, the second time backwards.

An implementation can return right arrays and still not be one: it may raise for some inputs, change
them, draw random numbers, or remember the call before. Each of these is told apart by calling it
again, and named as what it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .candidate import Arrays, Call, Candidate
from .diagnosis.outcome import EPS
from .truths.records import Array, Case
from .truths.stages import Place, layer_of, order, split

CALLS = 5  # in a row on one case, to tell kinds of memory apart


class Behaviour(NamedTuple):
    """What a candidate does that a function of its inputs does not, in words.

    `kind`: raises, detached, mutates, random, dropout, accumulates, averages or remembers.
    `fails`: whether it is more than worth a note. `array`: the first that differs from call to
    call, in a net of L layers.
    """

    kind: str
    text: str
    fails: bool = True
    array: str | None = None
    L: int = 1

    @property
    def place(self) -> Place:
        """The place in the order of propagation where it shows."""
        return order(self.array or "", self.L)

    @property
    def stage(self) -> str:
        """The kind of array in which it shows."""
        return split(self.array or "")[0]

    @property
    def layer(self) -> int | None:
        """The layer in which it shows."""
        return layer_of(self.array or "")


class Observed(NamedTuple):
    """The results of the first call of each case, and what was seen besides."""

    found: list[tuple[Case, Arrays, str]]
    behaviours: tuple[Behaviour, ...]

    @property
    def unstable(self) -> Behaviour | None:
        """What makes results differ from call to call, if they do."""
        return next((b for b in self.behaviours if b.array is not None), None)

    @property
    def steady(self) -> list[tuple[Case, Arrays, str]]:
        """The results that come before the first array that differs from call to call."""
        end = self.unstable
        if end is None:
            return self.found
        return [
            (case, {n: x for n, x in arrays.items() if order(n, case.problem.L) < end.place}, dtype)
            for case, arrays, dtype in self.found
        ]


def observe(who: Candidate, cases: Sequence[Case], dtype: str, twice: bool = True) -> Observed:
    """Call a candidate on every case, then on every case again, in reverse order.

    >>> import itertools
    >>> from relgrad_np.oracle.truths.suite import small
    >>> count = itertools.count()
    >>> noisy = Candidate("", run=lambda p: {"Y_0": p.X * next(count) ** 2})
    >>> observe(noisy, small().cases[:2], "float64").unstable.kind
    'random'
    """
    first = [who.call(case, dtype) for case in cases]
    found = [(case, call.arrays, dtype) for case, call in zip(cases, first, strict=True)]
    seen = [*_raised(cases, first), *_detached(first), *_mutated(cases, first)]
    if twice:
        second = [who.call(case, dtype) for case in reversed(cases)][::-1]
        seen += _unstable(who, cases, first, second, dtype)
    return Observed(found, tuple(seen))


def few(cases: Sequence[str]) -> str:
    """Return the names of a few cases.

    >>> few(["a", "b", "c", "d"])
    'a, b and 2 more'
    """
    shown = ", ".join(cases if len(cases) <= 3 else cases[:2])
    return shown if len(cases) <= 3 else f"{shown} and {len(cases) - 2} more"


def _raised(cases: Sequence[Case], calls: Sequence[Call]) -> list[Behaviour]:
    by_text: dict[str, list[str]] = {}
    for case, call in zip(cases, calls, strict=True):
        if call.raised:
            by_text.setdefault(call.raised, []).append(case.problem.id)
    return [
        Behaviour("raises", f"raises {text} in {len(where)} of {len(cases)} cases: {few(where)}")
        for text, where in by_text.items()
    ]


def _detached(calls: Sequence[Call]) -> list[Behaviour]:
    """Return why autodiff could not take gradients, each reason once."""
    texts = dict.fromkeys(call.detached for call in calls if call.detached)
    return [Behaviour("detached", text) for text in texts]


def _mutated(cases: Sequence[Case], calls: Sequence[Call]) -> list[Behaviour]:
    """Return what inputs were changed; a step in place may change W and b, if it is supplied."""
    names, where = dict[str, None](), []
    steps = False
    for case, call in zip(cases, calls, strict=True):
        if call.changed:
            names |= dict.fromkeys(call.changed)
            where.append(case.problem.id)
            steps = steps or any(split(n)[0] in ("W_plus", "W_exp") for n in call.arrays)
    if not where:
        return []
    fails = not steps or any(name[0] not in "WbC" for name in names)
    text = f"changes its inputs {', '.join(sorted(names))} in place, in {few(where)}"
    return [Behaviour("mutates", text, fails)]


def _unstable(
    who: Candidate, cases: Sequence[Case], one: Sequence[Call], two: Sequence[Call], dtype: str
) -> list[Behaviour]:
    """Compare the two calls of each case; explain the first array that differs."""
    places, digits = [], 0
    for case, a, b in zip(cases, one, two, strict=True):
        if bool(a.raised) != bool(b.raised):
            text = f"raises {a.raised or b.raised} in one of two calls of {case.problem.id}"
            return [Behaviour("remembers", text)]
        for name in a.arrays.keys() | b.arrays.keys():
            x, y = a.arrays.get(name), b.arrays.get(name)
            if x is None or y is None or _apart(x, y, _allowed(case, name, dtype)):
                places.append((order(name, case.problem.L), name, case))
            elif not np.array_equal(x, y, equal_nan=True):
                digits += 1
    if places:
        _, name, case = min(places, key=lambda place: place[:2])
        return [_explained(who, case, name, dtype)]
    text = (
        f"returns other last digits in the second call, within what is allowed, in {digits} arrays"
    )
    return [Behaviour("random", text, False)] if digits else []


def _allowed(case: Case, name: str, dtype: str) -> float:
    tolerance = case.tolerances.get(name)
    return 0.0 if tolerance is None else tolerance.allowed(EPS[dtype])


def _apart(x: Array, y: Array, allowed: float) -> bool:
    """Whether two results differ by more than is allowed; NaN beside NaN does not."""
    if x.shape != y.shape or not np.array_equal(np.isfinite(x), np.isfinite(y)):
        return True
    finite = np.isfinite(x)
    return bool(np.max(np.abs(x[finite] - y[finite]), initial=0.0) > allowed)


def _explained(who: Candidate, case: Case, name: str, dtype: str) -> Behaviour:
    """Call a case several times in a row, and say how its results change from call to call."""
    rows = [who.call(case, dtype).arrays.get(name) for _ in range(CALLS)]
    where = f"{name} (case {case.problem.id})"
    values = [np.asarray(x, dtype=float) for x in rows if x is not None]
    kind, text = (
        "remembers",
        (
            f"{where} depends on the call before: with the same inputs, the result is another; "
            "something is left over, as a tape, a cache or a gradient of the batch before"
        ),
    )
    if len(values) == CALLS:
        allowed, later = _allowed(case, name, dtype), values[1:]
        if any(_apart(x, y, allowed) for x in later for y in later):
            kind, text = _drifting(later, case.expected.get(name), allowed, where)
    return Behaviour(kind, text, True, name, case.problem.L)


def _drifting(
    values: Sequence[Array], right: Array | None, allowed: float, where: str
) -> tuple[str, str]:
    """Tell apart what changes with each call: a sum, a running average, dropout, other draws."""
    steps = [b - a for a, b in itertools.pairwise(values)]
    size = max(float(np.max(np.abs(x))) for x in steps)
    square = float(np.sum(steps[0] ** 2))
    ratio = float(np.sum(steps[1] * steps[0])) / square if square else np.nan
    rest = (np.max(np.abs(b - ratio * a)) for a, b in itertools.pairwise(steps))
    if max(rest) <= 1e-3 * size + 4 * allowed and 0 < ratio < 1.001:
        if ratio > 0.999:
            return "accumulates", (
                f"{where} grows by the same amount with each call: a gradient is added to the one "
                "before, and never set to zero"
            )
        return "averages", (
            f"{where} moves on by a factor of {ratio:.3g} with each call: momentum, or a running "
            "average, of the calls before"
        )
    if right is not None and all(_dropped(x, right) for x in values):
        return "dropout", (
            f"{where} is random, with entries set to 0 and the rest scaled: dropout is on; call "
            "eval() first"
        )
    return "random", (
        f"{where} is random: each of {len(values)} calls with the same inputs returned another "
        "result; it draws numbers, or reads memory that nothing was written to"
    )


def _dropped(x: Array, right: Array) -> bool:
    """Whether some entries are 0, and the rest those of `right` times a factor of 1 or more."""
    kept = (x != 0) & (right != 0)
    if kept.all() or not kept.any():
        return False
    factors = x[kept] / right[kept]
    return bool(np.ptp(factors) <= 1e-4 * np.max(np.abs(factors)) and factors[0] > 0.999)
