"""Formulas with one input altered: reversed, of another layer, with a sample left out, and so on.

What a wrong array is often is what its formula gives at a wrong input, or with another model or
another number of samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..truths.problems import ACTIVATIONS, DENSITIES
from .bounded import Bounded, inverse
from .own import Change, Own, evaluate
from .precision import rounded
from .wrong import Wrong

# the arrays of layer k that a formula may read, by stage; W, b and eta are not in the table `READS`
FIELDS: dict[str, tuple[tuple[str, int], ...]] = {
    "Y": (("Z", 0), ("W", 0), ("b", 0), ("C", 0), ("U", 0)),
    "Z": (("Y", 0),),
    "log_dsigma": (("Y", 0),),
    "dlog_dsigma": (("Y", 0),),
    "L_p": (("Z", 0),),
    "L_J1": (),
    "L_J2": (("W", 0),),
    "log_prob": (),
    "Delta": (("Delta", 1), ("W", 1), ("Y", 0), ("dlog_dsigma", 0), ("Z", 1)),
    "G_W": (("Delta", 0), ("Z", 0), ("W", 0)),
    "G_b": (("Delta", 0),),
    "W_plus": (("R_W", 0), ("W", 0)),
    "b_plus": (("R_b", 0), ("b", 0)),
    "G_C": (("Delta", 0), ("U", 0)),
    "C_plus": (("R_C", 0), ("C", 0)),
    "logdet_plus": (("W_plus", 0),),
}
OF_RELATIVE = (
    ("Delta", 0), ("Y", 0), ("Z", 0), ("W", 0), ("b", 0), ("C", 0), ("U", 0),
)  # fmt: skip

SHOWN = {
    ("Delta", 1): "Delta_{k+1}", ("W", 1): "W_{k+1}", ("Z", 1): "the latent",
    ("dlog_dsigma", 0): "(log sigma')'",
}  # fmt: skip
# W and b stand twice in some formulas: a place, the formula with another array there, and which
ONCE: dict[str, tuple[tuple[str, Callable[..., Any], str], ...]] = {
    "R_W": (
        ("product", lambda m, k, x: m.Delta[k].T @ (m.Y[k] @ x) + m.W[k], "W"),
        ("last term", lambda m, k, x: m.Delta[k].T @ (m.Y[k] @ m.W[k]) + x, "W"),
    ),
    "R_b": (
        ("product", lambda m, k, x: m.Delta[k].T @ (m.Y[k] @ x + 1) + m.b[k], "b"),
        ("last term", lambda m, k, x: m.Delta[k].T @ (m.Y[k] @ m.b[k] + 1) + x, "b"),
    ),
    "R_C": (
        ("product", lambda m, k, x: m.Delta[k].T @ (m.Y[k] @ x + m.U[k]) + m.C[k], "C"),
        ("last term", lambda m, k, x: m.Delta[k].T @ (m.Y[k] @ m.C[k] + m.U[k]) + x, "C"),
    ),
    "G_W": (("inverse", lambda m, k, x: m.Delta[k].T @ m.Z[k] + inverse(x).T, "W"),),
}

Alter = Callable[[Own, str, int], Any]


def _moved(f: Callable[[Any], Any]) -> Alter:
    """Return a change that moves or drops entries of an array."""

    def alter(m: Own, field: str, k: int) -> Any:
        x = getattr(m, field)[k]
        return Bounded(f(x.value), f(x.size))

    return alter


def _layer(index: Callable[[int, int], int]) -> Alter:
    def alter(m: Own, field: str, k: int) -> Any:
        arrays = getattr(m, field)
        j = index(k, len(arrays))
        if not 0 <= j < len(arrays) or arrays[j] is None:
            raise IndexError(j)
        return arrays[j]

    return alter


def _without(row: int) -> Alter:
    def f(x: Any) -> Any:
        x = x.copy()
        x[row] = 0
        return x

    return _moved(f)


def _square(f: Callable[[Any], Any]) -> Alter:
    """Return a change of a square matrix."""

    def alter(m: Own, field: str, k: int) -> Any:
        if field not in ("W", "R_W", "W_plus"):
            raise IndexError(field)
        return f(getattr(m, field)[k])

    return alter


def _rowwise(alter: Alter) -> Alter:
    """Return a change of arrays whose rows are samples."""

    def checked(m: Own, field: str, k: int) -> Any:
        if field not in ("Delta", "Y", "Z", "dlog_dsigma", "U"):
            raise IndexError(field)
        return alter(m, field, k)

    return checked


def _minus_b(m: Own, field: str, k: int) -> Any:
    if field != "Y":
        raise IndexError(field)
    return m.Y[k] - m.b[k]


def _columns(f: Callable[[Any], Any]) -> Alter:
    """Return a change of the columns of the context's arrays."""

    def alter(m: Own, field: str, k: int) -> Any:
        if field not in ("C", "U"):
            raise IndexError(field)
        return _moved(f)(m, field, k)

    return alter


def _updated(m: Own, field: str, k: int) -> Any:
    if field not in ("W", "b", "C") or getattr(m, f"{field}_plus")[k] is None:
        raise IndexError(field)
    return getattr(m, f"{field}_plus")[k]


def _mean(x: Any) -> Any:
    return np.broadcast_to(x.mean(0, keepdims=True), x.shape)


ALTERATIONS: list[tuple[str, Alter]] = [
    ("transposed", _square(lambda x: x.T)),
    ("replaced by that of the layer below it", _layer(lambda k, n: k - 1)),
    ("replaced by that of the layer above it", _layer(lambda k, n: k + 1)),
    ("replaced by that of the first layer", _layer(lambda k, n: 0)),
    ("replaced by that of the last layer", _layer(lambda k, n: n - 1)),
    ("replaced by that of layer L - 1 - k", _layer(lambda k, n: n - 1 - k)),
    ("with its rows reversed", _rowwise(_moved(lambda x: x[::-1]))),
    ("with its rows moved by one", _rowwise(_moved(lambda x: np.roll(x, 1, 0)))),
    ("with its rows moved up by one", _rowwise(_moved(lambda x: np.roll(x, -1, 0)))),
    ("without the last sample", _rowwise(_without(-1))),
    ("without the first sample", _rowwise(_without(0))),
    ("averaged over samples", _rowwise(_moved(_mean))),
    ("less its mean over samples", _rowwise(
        lambda m, field, k: getattr(m, field)[k] - _moved(_mean)(m, field, k))),
    ("without b", _minus_b),
    ("replaced by 0", lambda m, field, k: 0 * getattr(m, field)[k]),
    ("with the opposite sign", lambda m, field, k: -getattr(m, field)[k]),
    ("replaced by its modulus", lambda m, field, k: m.xp.abs(getattr(m, field)[k])),
    ("replaced by its positive part", _moved(lambda x: np.maximum(x, 0))),
    ("squared", lambda m, field, k: getattr(m, field)[k] * getattr(m, field)[k]),
    ("doubled", lambda m, field, k: 2 * getattr(m, field)[k]),
    ("halved", lambda m, field, k: getattr(m, field)[k] / 2),
    ("after the step", _updated),
    ("replaced by its inverse", _square(inverse)),
    ("replaced by I", _square(lambda x: Bounded(np.eye(len(x))))),
    ("replaced by its upper triangle", _square(
        lambda x: Bounded(np.triu(x.value), np.triu(x.size)))),
    ("replaced by its lower triangle", _square(
        lambda x: Bounded(np.tril(x.value), np.tril(x.size)))),
    ("replaced by its diagonal", _square(lambda x: Bounded(np.diag(np.diag(x.value)), x.size))),
    ("replaced by its symmetric part", _square(lambda x: (x + x.T) / 2)),
    ("with its columns reversed", _columns(lambda x: x[:, ::-1])),
    ("with its columns moved by one", _columns(lambda x: np.roll(x, 1, 1))),
    ("in float16", _moved(lambda x: rounded(x, 11))),
    ("in bfloat16", _moved(lambda x: rounded(x, 8))),
    ("in float32", _moved(lambda x: rounded(x, 24))),
]  # fmt: skip
NUMBERS: list[tuple[str, Callable[[Own], float]]] = [
    ("N - 1", lambda m: max(m.N - 1, 1)), ("N + 1", lambda m: m.N + 1), ("1", lambda m: 1),
    ("D", lambda m: m.D), ("N D", lambda m: m.N * m.D), ("N^2", lambda m: m.N**2),
    ("2 N", lambda m: 2 * m.N), ("sqrt(N)", lambda m: m.N**0.5), ("N L", lambda m: m.N * m.L),
]  # fmt: skip
MODELS = [
    ("density", "dens", DENSITIES),
    ("activation", "act", ACTIVATIONS),
]


def altered(roots: Sequence[Wrong]) -> Iterator[tuple[str, str, str]]:
    """Yield alterations that explain all of these arrays: kind, detail and words.

    >>> next(altered([]), None) is None
    True
    """
    if not roots:
        return
    stage = roots[0].stage
    for field, step in FIELDS.get(stage, OF_RELATIVE):
        shown = SHOWN.get((field, step), field)
        for how, alter in ALTERATIONS:
            if _explains(roots, _of_field(field, step, alter)):
                yield "input", f"{shown} {how}", f"what its formula gives with {shown} {how}"
    for place, line, field in ONCE.get(stage, ()):
        for how, alter in ALTERATIONS:
            if _explains(roots, _in_one_place(stage, line, field, alter)):
                shown = f"{field} in its {place}"
                yield "input", f"{shown} {how}", f"what its formula gives with {shown} {how}"
    if stage == "Delta":
        for text, number in NUMBERS:
            if _explains(roots, _of_number(number)):
                yield "number", f"N: {text}", f"what its formula gives with 1/({text}) for 1/N"
    for key, name, specs in MODELS:
        for spec in specs:
            if _explains(roots, _of_model(name, spec)):
                yield (
                    "model",
                    f"{key} {spec.name}",
                    (f"what its formula gives with the {key} {spec.name}, whichever is asked for"),
                )


def _of_field(field: str, step: int, alter: Alter) -> Change:
    def change(m: Own, k: int | None) -> None:
        arrays = getattr(m, field)
        j = (k if k is not None else len(arrays) - 1) + step
        if not 0 <= j < len(arrays) or arrays[j] is None:
            raise IndexError(j)
        new = alter(m, field, j)
        setattr(m, field, [new if i == j else x for i, x in enumerate(arrays)])

    return change


def _in_one_place(stage: str, line: Callable[..., Any], field: str, alter: Alter) -> Change:
    """Return a change of W or b where it stands in one place of a formula, of two."""

    def change(m: Own, k: int | None) -> None:
        if k is None or getattr(m, field)[k] is None:
            raise IndexError(k)
        new = alter(m, field, k)
        m.wrong = {**m.wrong, stage: lambda m, k: line(m, k, new)}

    return change


def _of_number(number: Callable[[Own], float]) -> Change:
    def change(m: Own, k: int | None) -> None:
        share = 1 / number(m)
        m.wrong = {**m.wrong, "share": lambda m: share}

    return change


def _of_model(name: str, spec: Any) -> Change:
    def change(m: Own, k: int | None) -> None:
        setattr(m, name, spec)

    return change


def _explains(roots: Sequence[Wrong], change: Change) -> bool:
    """Whether the formula, with a change, gives every one of these arrays."""
    for w in roots:
        try:
            with np.errstate(all="ignore"):
                made = evaluate(w.problem, w.bounded_inputs, [w.name], change=change)
        except (IndexError, ValueError, KeyError):
            return False
        if w.name not in made or not w.agrees(made[w.name]):
            return False
    return True
