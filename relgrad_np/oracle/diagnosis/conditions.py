"""Where an error shows: in which cases, layers and entries, and in no others.

A condition is a fact about the arrays that were compared: all that are wrong meet it. It is
reported only if a random choice of as many arrays would hardly ever meet it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..truths.records import Array
from ..truths.stages import STAGES
from .outcome import Outcome


class Condition(NamedTuple):
    """What all wrong arrays, or entries of arrays, have in common.

    `key` and `value` say it to a program, as ("density", "laplace") or ("layer", "last"); `words`
    to a reader. `wrong` of the `met` arrays that meet it are wrong, and none of the `others`.

    >>> Condition("N", "1", "where N = 1", 3, 3, 20).exact
    True
    """

    key: str
    value: str
    words: str
    wrong: int
    met: int
    others: int
    of: str = "arrays"

    @property
    def exact(self) -> bool:
        """Whether all that meet it are wrong."""
        return self.wrong == self.met


class Compared(NamedTuple):
    """An array that was compared: its case, its layer, whether it is wrong."""

    outcome: Outcome
    layer: int | None
    wrong: bool


Test = Callable[[Outcome, int], bool]


def _models(seen: Sequence[Compared]) -> Iterator[tuple[str, str, str, Test]]:
    for key in ("density", "activation"):
        for name in sorted({getattr(s.outcome.problem, key).name for s in seen}):
            yield key, name, f"with the {key} {name}", _is(key, name, True)
            yield key, f"not {name}", f"with another {key} than {name}", _is(key, name, False)


def _is(key: str, name: str, yes: bool) -> Test:
    return lambda o, k: (getattr(o.problem, key).name == name) is yes


def _negative(o: Outcome, k: int) -> bool:
    return bool(np.linalg.slogdet(o.problem.W[k])[0] < 0)


def _any_negative(o: Outcome, k: int) -> bool:
    return any(_negative(o, j) for j in range(o.problem.L))


def _product_negative(o: Outcome, k: int) -> bool:
    return sum(_negative(o, j) for j in range(o.problem.L)) % 2 == 1


OF_LAYER: list[tuple[str, str, str, Test]] = [
    ("layer", "last", "in the last layer", lambda o, k: k == o.problem.L - 1),
    ("layer", "first", "in the first layer", lambda o, k: k == 0),
    ("layer", "not last", "in layers below the last", lambda o, k: k < o.problem.L - 1),
    ("layer", "not first", "in layers above the first", lambda o, k: k > 0),
    ("layer", "below last", "in the layer below the last", lambda o, k: k == o.problem.L - 2),
    (
        "layer", "inner", "in layers that are neither first nor last",
        lambda o, k: 0 < k < o.problem.L - 1,
    ),
    ("layer", "1", "in layer 1", lambda o, k: k == 1),
    ("layer", "2", "in layer 2", lambda o, k: k == 2),
    ("layer", "odd", "in layers of odd number", lambda o, k: k % 2 == 1),
]  # fmt: skip
OF_CASE: list[tuple[str, str, str, Test]] = [
    ("N", "1", "where N = 1", lambda o, k: o.problem.N == 1),
    ("N", "> 1", "where N > 1", lambda o, k: o.problem.N > 1),
    ("N", "> D", "where N > D", lambda o, k: o.problem.N > o.problem.D),
    ("N", "<= D", "where N <= D", lambda o, k: o.problem.N <= o.problem.D),
    ("L", "1", "where L = 1", lambda o, k: o.problem.L == 1),
    ("L", "> 1", "where L > 1", lambda o, k: o.problem.L > 1),
    ("L", "> 2", "where L > 2", lambda o, k: o.problem.L > 2),
    ("b", "nonzero", "where b is not 0", lambda o, k: bool(o.problem.b[0].any())),
    ("c", "1", "where c = 1", lambda o, k: o.problem.c == 1),
    ("c", "> 1", "where c > 1", lambda o, k: o.problem.c > 1),
    ("precision", "float32", "in float32", lambda o, k: o.eps > 2.0**-40),
    ("precision", "float64", "in float64", lambda o, k: o.eps < 2.0**-40),
]
SIGNS: list[tuple[str, str, str, Test]] = [
    ("det W", "< 0", "where det W < 0 of the layer", _negative),
    ("det W", "> 0", "where det W > 0 of the layer", lambda o, k: not _negative(o, k)),
]
SIGNS_OF_NET: list[tuple[str, str, str, Test]] = [
    ("det W", "some < 0", "where some layer has det W < 0", _any_negative),
    ("det W", "product < 0", "where the product of all det W is negative", _product_negative),
]
MEASURES: list[tuple[str, Callable[[Outcome, int], float]]] = [
    ("max |y|", lambda o, k: float(np.max(np.abs(o.case.expected[f"Y_{k}"])))),
    ("max |z| of the latent", lambda o, k: _latent(o)),
    ("N", lambda o, k: float(o.problem.N)),
    ("D", lambda o, k: float(o.problem.D)),
    ("cond(W)", lambda o, k: o.conditions[k]),
]


def _latent(o: Outcome) -> float:
    return float(np.max(np.abs(o.case.expected[f"Z_{o.problem.L}"])))


def condition(seen: Sequence[Compared]) -> Condition | None:
    """Return what the wrong arrays of a stage have in common and no other has, or None.

    >>> condition([]) is None
    True
    """
    wrong = np.array([s.wrong for s in seen], dtype=bool)
    if not wrong.any() or wrong.all():
        return None
    layered = seen[0].layer is not None
    tests = [
        *(OF_LAYER if layered else []),
        *_models(seen),
        *OF_CASE,
        *(SIGNS if layered else SIGNS_OF_NET),
    ]
    at = [(s.outcome, s.layer or 0) for s in seen]
    met = [np.array([test(o, k) for o, k in at], dtype=bool) for *_, test in tests]
    found = [
        (chance, Condition(key, value, words, int(wrong.sum()), int(m.sum()), int((~m).sum())))
        for (key, value, words, _), m in zip(tests, met, strict=True)
        if (chance := luck(wrong, m)) < 0.01
    ]
    if not any(c.exact for _, c in found):
        found += _thresholds(at, wrong)
    if not any(c.exact for _, c in found):
        found += _pairs(tests, met, wrong)
    best = min(found, key=lambda pair: (not pair[1].exact, pair[0]), default=None)
    return best[1] if best else None


def luck(wrong: Array, met: Array) -> float:
    """Return how likely as many arrays, chosen at random, would all meet a condition; 1 if not met.

    Nor is it a condition if most of those that meet it are right, or if all meet it.

    >>> luck(np.array([1, 1, 0, 0], bool), np.array([1, 1, 0, 0], bool))  # one choice in six
    0.16666666666666666
    """
    w, m, n = int(wrong.sum()), int(met.sum()), len(wrong)
    if (wrong & ~met).any() or m == n or 2 * w < m:
        return 1.0
    return math.comb(m, w) / math.comb(n, w)


def _thresholds(at: Any, wrong: Array) -> Iterator[tuple[float, Condition]]:
    """Yield conditions of the form: where a measure of the case is above, or below, a bound."""
    for name, measure in MEASURES:
        x = np.array([measure(o, k) for o, k in at])
        for sign, text in ((1, ">"), (-1, "<")):
            yield from _bound(name, sign * x, wrong, sign, text, "arrays")


def _bound(
    name: str, x: Array, wrong: Array, sign: int, text: str, of: str
) -> Iterator[tuple[float, Condition]]:
    met = x >= np.min(x[wrong])
    chance = luck(wrong, met)
    mostly = 5 * int(wrong.sum()) >= 4 * int(met.sum()) and 10 * int((~met).sum()) >= len(met)
    if chance < 1e-4 and mostly:
        below = x[~met].max()  # a bound between the nearest right and the nearest wrong one
        bound = f"{text} {sign * (below + np.min(x[wrong])) / 2:.3g}"
        counts = int(wrong.sum()), int(met.sum()), int((~met).sum())
        yield chance, Condition(name, bound, f"where {name} {bound}", *counts, of)


def _pairs(tests: Any, met: Any, wrong: Array) -> Iterator[tuple[float, Condition]]:
    """Yield conditions of two that hold together, which must be exact."""
    possible = [i for i, m in enumerate(met) if not (wrong & ~m).any() and not m.all()]
    for i, j in itertools.combinations(possible, 2):
        both = met[i] & met[j]
        one, two = tests[i], tests[j]
        if one[0] == two[0] or not np.array_equal(both, wrong):
            continue
        chance = luck(wrong, both)
        if chance < 1e-3:
            counts = int(wrong.sum()), int(both.sum()), int((~both).sum())
            key, value = f"{one[0]} and {two[0]}", f"{one[1]} and {two[1]}"
            yield chance, Condition(key, value, f"{one[2]} and {two[2]}", *counts)


class Entries(NamedTuple):
    """The entries of a wrong array: which are wrong, and y at each where the formula is of y."""

    stage: str
    off: Array
    y: Array | None = None


def of_entries(arrays: Sequence[Entries]) -> Condition | None:
    """Return which entries of the wrong arrays are wrong: some rows, columns, or beyond a y.

    >>> rows = np.array([[0, 0], [0, 0], [0, 0], [1, 1]], dtype=bool)
    >>> of_entries([Entries("Y", rows)] * 2).words
    'in the last row'
    """
    shaped = [a for a in arrays if a.off.ndim]
    if not shaped or all(a.off.all() for a in shaped):
        return None
    wrong = np.concatenate([a.off.ravel() for a in shaped])
    found = []
    for value, words, mask in SHAPES:
        if all(_fits(value, a) for a in shaped):
            met = np.concatenate([mask(*np.indices(a.off.shape), a.off).ravel() for a in shaped])
            chance = luck(wrong, met)
            if chance < 1e-3:
                counts = int(wrong.sum()), int(met.sum()), int((~met).sum())
                found.append((chance, Condition("entries", value, words, *counts, "entries")))
    if all(a.y is not None and a.y.shape == a.off.shape for a in shaped):
        y = np.concatenate([np.ravel(a.y) for a in shaped if a.y is not None])
        for name, x in (("y", y), ("|y|", np.abs(y))):
            for sign, text in ((1, ">"), (-1, "<")):
                found += _bound(name, sign * x, wrong, sign, text, "entries")
    best = min(found, key=lambda pair: (not pair[1].exact, pair[0]), default=None)
    return best[1] if best else None


def _fits(value: str, a: Entries) -> bool:
    square = STAGES[a.stage].shape == "D D"
    if value in ("diagonal", "off the diagonal", "above", "below"):
        return square
    return a.off.ndim == 2 or "column" not in value


SHAPES: list[tuple[str, str, Any]] = [
    ("last row", "in the last row", lambda *a: a[0] == a[-1].shape[0] - 1),
    ("first row", "in the first row", lambda *a: a[0] == 0),
    ("not last row", "in all rows but the last", lambda *a: a[0] < a[-1].shape[0] - 1),
    ("not first row", "in all rows but the first", lambda *a: a[0] > 0),
    ("last column", "in the last column", lambda *a: a[1] == a[-1].shape[1] - 1),
    ("first column", "in the first column", lambda *a: a[1] == 0),
    ("not first column", "in all columns but the first", lambda *a: a[1] > 0),
    ("not last column", "in all columns but the last", lambda *a: a[1] < a[-1].shape[1] - 1),
    ("diagonal", "on the diagonal", lambda *a: a[0] == a[1]),
    ("off the diagonal", "off the diagonal", lambda *a: a[0] != a[1]),
    ("above", "above the diagonal", lambda *a: a[0] < a[1]),
    ("below", "below the diagonal", lambda *a: a[0] > a[1]),
]
