"""How a wrong array relates to the right one, where no mistake of the catalogue says it.

A relation predicts the wrong array from the right one. It is reported only if it explains every
entry of every wrong array of its kind, each within the tolerance that its own formula derives, and
if more entries are clearly wrong than it has unknowns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..truths.stages import STAGES
from .altered import altered
from .bounded import Bounded
from .claims import Relation
from .fits import Interval, all_fitted, common, fitted, number
from .outcome import Outcome
from .precision import rounded
from .small import LARGEST, float32_constants, small
from .terms import terms
from .transformed import FUNCTIONS, mean
from .wrong import Wrong, clearly_wrong, right_value


def relation(roots: Sequence[Wrong], results: Sequence[Outcome]) -> Relation | None:
    """Return the first relation, simple ones first, that explains all of these arrays, or None.

    >>> relation([], []) is None
    True
    """
    if not roots or clearly_wrong(roots) < 2:
        return None
    roots = sorted(roots, key=lambda w: w.value.size)  # what does not fit is seen early
    tiny = small(roots) is not None
    with np.errstate(all="ignore"):
        found = _relations(roots, results)
        return next((one for one in found if not (tiny and _is_rounding(one))), None)


def _is_rounding(found: Relation) -> bool:
    """Whether a relation is a fit to float32 digits: by a factor of their size, no round number.

    >>> kept = Relation("plus", "1", "", 1e-8), Relation("factor", "", "", 1 - 1e-8)
    >>> lost = Relation("plus", "L_J1", "", 1.38868e-8), Relation("factor", "", "", 1.0000000139)
    >>> [_is_rounding(one) for one in (*kept, *lost)]
    [False, False, True, True]
    """
    if found.factor is None or found.kind not in ("plus", "factor"):
        return False
    away = found.factor - (found.kind == "factor")
    plain = abs(float(f"{away:.2g}") - away) < 1e-5 * abs(away)  # of two digits
    return 0 < abs(away) <= LARGEST and not plain


def _relations(roots: Sequence[Wrong], results: Sequence[Outcome]) -> Iterator[Relation]:
    yield from _not_finite(roots)
    yield from (Relation(*found) for found in float32_constants(roots))
    yield from _scaled(roots)
    yield from _functions(roots)
    yield from _other_arrays(roots, results)
    yield from _plus_a_term(roots)
    yield from _clipped(roots)
    yield from _coarse(roots)
    yield from (Relation(*found) for found in altered(roots))
    if small(roots) is None:  # two numbers fit digits that are lost too easily
        yield from _plus_two_terms(roots)
        yield from _multiples(roots)


def _not_finite(roots: Sequence[Wrong]) -> Iterator[Relation]:
    if all(not np.isfinite(w.value[w.off]).any() for w in roots):
        yield Relation("not finite", "", "NaN or infinite where the right one is not")


def _scaled(roots: Sequence[Wrong]) -> Iterator[Relation]:
    """Try a constant, or a number of the case, times the right one or a mean of it."""
    shape = STAGES[roots[0].stage].shape
    tries = [("factor", "", "the right one", [w.base for w in roots])]
    if len(shape.split()) > 0:
        rows = [mean(0)(w.base) for w in roots]
        tries.append(("averaged", " rows", "the mean of the right one over its rows", rows))
    if len(shape.split()) > 1:
        columns = [mean(-1)(w.base) for w in roots]
        tries.append(
            ("averaged", " columns", "the mean of the right one over its columns", columns)
        )
    if STAGES[roots[0].stage].square:
        turned = [w.base.T for w in roots]
        tries.append(("transpose", "", "the transpose of the right one", turned))
    for kind, what, words, terms_ in tries:
        fits = all_fitted(roots, terms_, alone=True)
        found = number(roots, fits) if fits else None
        if found is None:
            continue
        text, c = found
        if c == 0:
            yield Relation("zero", "", "zero", c)
        elif c == -1:
            yield Relation(kind, text + what, f"minus {words}", c)
        elif c == 1:
            yield Relation(kind, text + what, words, c)
        else:
            yield Relation(kind, text + what, f"{text} times {words}", c)


def _functions(roots: Sequence[Wrong]) -> Iterator[Relation]:
    shape = STAGES[roots[0].stage].shape
    for f in FUNCTIONS:
        if f.suits(shape) and all(w.agrees(f.of(w.base)) for w in roots):
            yield Relation(f.kind, f.detail, f.words)


def _other_arrays(roots: Sequence[Wrong], results: Sequence[Outcome]) -> Iterator[Relation]:
    """Try the array of another layer, and that of a case that came before."""
    if roots[0].layer is not None:
        for detail, words in (
            ("below", "of the layer below"), ("above", "of the layer above"),
            ("first", "of the first layer"), ("last", "of the last layer"),
            ("reversed", "of layer L - 1 - k, for layer k"),
        ):  # fmt: skip
            if all(_is_of_layer(w, detail) for w in roots):
                yield Relation("layer", detail, f"the right one {words}")
    places = {id(outcome): i for i, outcome in enumerate(results)}
    if all(_is_of_case_before(w, results[: places[id(w.outcome)]]) for w in roots):
        yield Relation("batch before", "", "that of a batch before, of the same shape")


def _is_of_layer(w: Wrong, which: str) -> bool:
    k, L = w.layer or 0, w.problem.L
    j = {"below": k - 1, "above": k + 1, "first": 0, "last": L - 1, "reversed": L - 1 - k}[which]
    name = f"{w.stage}_{j + (w.stage == 'Z')}"
    if name not in w.outcome.case.expected or j == k:
        return False
    return w.agrees(right_value(w.outcome, name))


def _is_of_case_before(w: Wrong, before: Sequence[Outcome]) -> bool:
    for outcome in reversed(before):
        right = outcome.case.expected.get(w.name)
        if right is not None and np.shape(right) == np.shape(w.value):
            return w.agrees(right_value(outcome, w.name))
    return False


def _plus_a_term(roots: Sequence[Wrong]) -> Iterator[Relation]:
    """Try the right one plus a number times another array of the case."""
    possible = [name for name, term in terms(roots[0]) if fitted(roots[0], term, roots[0].base)]
    tables = [dict(terms(w)) for w in roots] if possible else []
    for name in possible:
        fits = all_fitted(roots, [table.get(name) for table in tables])
        found = number(roots, fits) if fits else None
        if found is not None:
            text, c = found
            yield Relation("plus", name, "the right one " + _plus(text, c, name), c)


def _plus(text: str, c: float | None, name: str) -> str:
    if c is None:
        alone = text.removeprefix("-")
        number = f"({alone})" if " " in alone else alone
        return f"{'minus' if text != alone else 'plus'} {number} times {name}"
    sign = "plus" if c > 0 else "minus"
    if name == "1":
        return f"{sign} {abs(c):.9g} in every entry"
    return f"{sign} {name}" if abs(c) == 1 else f"{sign} {abs(c):.9g} times {name}"


def _plus_two_terms(roots: Sequence[Wrong]) -> Iterator[Relation]:
    """Try two arrays of the case at once, each with a factor that all cases share."""
    few = list(roots[:40])
    tables = [dict(terms(w)) for w in few]
    shared = [name for name in tables[0] if all(name in table for table in tables)]
    if clearly_wrong(roots) < 8 or len(few) < 3:
        return
    gap = np.concatenate([np.ravel(w.value - w.base.value) / w.allowed for w in few])
    pairs = list(zip(tables, few, strict=True))
    columns = {
        name: np.concatenate([np.ravel(table[name].value) / w.allowed for table, w in pairs])
        for name in shared
    }  # fmt: skip
    shared = [name for name in shared if np.isfinite(columns[name]).all()]
    if not np.isfinite(gap).all():
        return
    for i, one in enumerate(shared):
        for two in shared[i + 1 :]:
            A = np.stack([columns[one], columns[two]], 1)
            c, _, rank, _ = np.linalg.lstsq(A, gap, rcond=1e-12)
            scale = np.max(np.abs(gap))
            if rank < 2 or not np.max(np.abs(A @ c - gap)) <= max(10.0, 1e-4 * scale):
                continue
            x, y = (float(f"{value:.6g}") for value in c)
            if x and y and all(_is_sum(w, one, x, two, y) for w in roots):
                words = f"the right one {_plus('', x, one)} {_plus('', y, two)}"
                yield Relation("plus", f"{one}, {two}", words)


def _is_sum(w: Wrong, one: str, x: float, two: str, y: float) -> bool:
    table = dict(terms(w))
    if one not in table or two not in table:
        return False
    return w.agrees(w.base + x * table[one] + y * table[two])


def _clipped(roots: Sequence[Wrong]) -> Iterator[Relation]:
    """Try the right one, clipped at a bound from both sides or from one, or its norm clipped."""
    wrong = np.concatenate([np.ravel(w.value[w.off]) for w in roots])
    slack = max(w.allowed for w in roots)
    for detail, words, f in (
        ("above", "the right one, clipped at {c} from above", np.minimum),
        ("below", "the right one, clipped at {c} from below", np.maximum),
        ("both", "the right one, clipped at -{c} and {c}", lambda x, c: np.clip(x, -c, c)),
    ):
        values = np.abs(wrong) if detail == "both" else wrong
        c = float(values[0])
        if np.max(np.abs(values - c)) <= 2 * slack and all(
            w.agrees(Bounded(f(w.base.value, c), w.base.size)) for w in roots
        ):
            c = common([Interval(c - slack, c, c + slack)]) or c
            yield Relation("clipped", detail, words.format(c=f"{c:.9g}"), c)
    fits = all_fitted(roots, [w.base for w in roots], alone=True)
    norms = [float(np.linalg.norm(w.value)) for w in roots]
    slack = max(w.allowed * w.value.size**0.5 for w in roots)
    if fits and len(norms) > 2 and max(norms) - min(norms) <= 4 * slack:
        c = common([Interval(norms[0] - slack, norms[0], norms[0] + slack)]) or norms[0]
        if roots[0].value.ndim:
            yield Relation("norm", f"{c:.6g}", f"the right one, scaled to a norm of {c:.6g}", c)


def _coarse(roots: Sequence[Wrong]) -> Iterator[Relation]:
    """Try the right one in a coarser format: values that have few bits, near the right ones."""
    for bits, name in ((24, "float32"), (11, "float16"), (8, "bfloat16")):
        eps = 2.0 ** (1 - bits)
        near = eps > 2 * roots[0].outcome.eps and all(
            np.all(np.abs(w.value - w.base.value) <= eps * (np.abs(w.base.value) + w.allowed))
            for w in roots
        )
        if near and all(np.array_equal(rounded(w.value, bits), w.value) for w in roots):
            yield Relation("rounded", name, f"the right one, rounded to {name}")


def _multiples(roots: Sequence[Wrong]) -> Iterator[Relation]:
    """Try a multiple of the right one, by a factor that differs from array to array."""
    if len(roots) < 2 or any(w.off.sum() < 2 for w in roots):
        return
    fits = all_fitted(roots, [w.base for w in roots], alone=True)
    if fits:
        text = f"{min(f.mid for f in fits):.3g} to {max(f.mid for f in fits):.3g}"
        yield Relation("multiple", text, f"a multiple of the right one, by factors from {text}")
