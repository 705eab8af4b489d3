"""Whether what a report claims is true: each claim is compared with what was planted.

The planted algorithm is run once more, in plain float64, and each of its formulas is evaluated at
its own arrays: where the two differ the mistake shows. Neither tolerances nor any other code of the
diagnosis are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from relgrad_np.oracle import mistakes
from relgrad_np.oracle.mistakes import formulas
from relgrad_np.oracle.mistakes.formulas import EXP, Execution
from relgrad_np.oracle.truths.records import Problem, Suite
from relgrad_np.oracle.truths.stages import STAGES, layer_of, names, order, split

from .inventions import Invention


class Shown(NamedTuple):
    """An array of a case: its layer, which entries are wrong in themselves, whether it is right.

    `own`: what its formula gives; `at_all`: whether it differs from that by the least bit.
    `made`: all arrays of the case, as the mistaken algorithm makes them.
    """

    problem: Problem
    name: str
    layer: int | None
    off: Any
    at_all: bool
    value: Any
    own: Any
    right: bool
    made: dict[str, Any]

    @property
    def stage(self) -> str:
        """Kind of array."""
        return split(self.name)[0]


def planted(lines: Any, suite: Suite, coarse: float = 1e-7) -> list[Shown]:
    """Every array that a mistaken algorithm makes, and where it is wrong in itself.

    What is wrong by less than `coarse` times the size of the array does not count.
    """
    found = []
    for case in suite.cases:
        p = case.problem
        if p.last_layer != "affine":
            continue
        with np.errstate(all="ignore"):
            made = formulas.run(p, lines)
            m = _filled(p, made)
            for name in names(p.L):
                if name not in case.expected:
                    continue
                x = np.asarray(made[name])
                own = case.expected[name] if name == "X_back" else _formula(m, name)
                found.append(
                    Shown(p, name, layer_of(name), _off(x, own, coarse), _off(x, own, 1e-9).any(),
                          x, own, not _off(x, case.expected[name], 1e-9).any(), made)
                )  # fmt: skip
    return found


def _off(x: Any, y: Any, coarse: float) -> Any:
    size = float(np.max(np.abs(y), initial=0.0)) + 1e-3
    return ~(np.abs(x - y) <= coarse * size)


def _filled(p: Problem, made: dict[str, Any]) -> Execution:
    """An execution whose state is what was made."""
    m = Execution(np, p)
    m.Y, m.Z = (
        [made[f"Y_{k}"] for k in range(p.L)],
        [p.X, *(made[f"Z_{k + 1}"] for k in range(p.L))],
    )
    for name, x in made.items():
        stage, k = split(name)
        kept = getattr(m, stage, None)
        if isinstance(kept, list) and k is not None and stage not in ("Y", "Z"):
            kept[k] = x
    m.terms = [made[name] for name in ("L_p", "L_J1", "L_J2")]  # type: ignore[attr-defined]
    return m


def _formula(m: Any, name: str) -> Any:
    stage, k = split(name)
    if stage == "Z":
        return m("Z", k - 1)  # type: ignore[operator]
    if stage == "Delta":
        return m("Delta", k, m("dZ_last") if k == m.L - 1 else m("dZ", k + 1))  # type: ignore[operator]
    if stage == "log_prob":
        return m("log_prob", None, *m.terms)
    if stage in EXP:
        return m("exp", k)[EXP.index(stage)]
    return m(stage, k)


def false_claims(report: Any, invention: Invention, shown: list[Shown]) -> Iterator[str]:
    """Yield each claim of a report that is not true of what was planted."""
    stages = {s.stage for s in shown if s.off.any()}
    for claim in report.claims:
        kind = claim["claim"]
        mine = [s for s in shown if s.stage == claim.get("stage")]
        if kind == "error":
            right = claim["stage"] == invention.stage and claim["layer"] == place(invention, report)
            right = right and {*claim["with_it"], *claim["perhaps"]} <= stages
        elif kind == "mistake":
            right = claim["mistake"] in invention.mistakes or _made_by(claim["mistake"], mine)
        elif kind == "relation":
            right = any(_says(claim, *pair) for pair in invention.relations)
            right = right and all(_amounts_to(claim, s) for s in mine if s.off.any())
        elif kind == "condition":
            right = _entries(claim, mine) if claim["of"] == "entries" else _arrays(claim, mine)
        elif kind == "right before":
            right = _before(claim["stages"], invention, shown) and _elsewhere(claim, shown)
        elif kind == "follows":
            right = set(claim["from"]) <= stages and any(
                not s.right and not s.off.any() for s in mine
            )
        else:
            right = False  # nothing else is true of an algorithm that supplies all
        if not right:
            yield str(claim)


# what a relation adds to the right array, or multiplies: by the names that it goes by
TERMS: dict[str, Callable[[Any, int, Any], Any]] = {
    "1": lambda m, k, own: np.ones_like(own),
    "I": lambda m, k, own: m.eye(),
    "b": lambda m, k, own: m.b[k],
    "W": lambda m, k, own: m.W[k],
    "Y": lambda m, k, own: m.Y[k],
    "R_W": lambda m, k, own: m.R_W[k],
    "R_b": lambda m, k, own: m.R_b[k],
    "sum(Delta)": lambda m, k, own: m.Delta[k].sum(0),
    "Delta' Z": lambda m, k, own: m.Delta[k].T @ m.Z[k],
    "(log sigma')'": lambda m, k, own: m.dlog_dsigma[k],
    "|latent|^2": lambda m, k, own: (m.Z[-1] ** 2).sum(1),
    "L_J1": lambda m, k, own: m.terms[1],
    "L_J2": lambda m, k, own: m.terms[2],
    "log sigma' of the last hidden layer": lambda m, k, own: m.log_dsigma[m.hidden - 1].sum(1),
}


def _says(claim: dict[str, Any], kind: str, detail: str) -> bool:
    """Whether a relation is of this kind and detail; a number, to the digits that it has."""
    if claim["kind"] != kind:
        return False
    try:
        said, true = float(claim["detail"]), float(detail)
    except ValueError:
        return bool(claim["detail"].startswith(detail))
    return abs(said - true) <= _last_digit(said)


def _last_digit(c: float) -> float:
    """Half a unit in the last digit of a number as reports write it, at most 0.2 %."""
    exponent = Decimal(f"{c:.9g}").as_tuple().exponent
    return 1.001 * min(0.5 * 10.0 ** int(exponent), 2e-3 * abs(c))


def _amounts_to(claim: dict[str, Any], s: Shown) -> bool:
    """Whether the number of a relation is the right one, to the digits that it has."""
    c, kind, k = claim["factor"], claim["kind"], s.layer if s.layer is not None else 0
    if c is None or kind not in ("factor", "plus", "transpose", "clipped"):
        return True
    size = 1e-9 * (float(np.max(np.abs(s.own), initial=0.0)) + 1e-3)
    if kind == "clipped":
        return bool(np.all(np.abs(np.abs(s.value[s.off]) - abs(c)) <= _last_digit(c) + size))
    term, start = (s.own.T if kind == "transpose" else s.own), 0 * s.own
    if kind == "plus":
        if claim["detail"] not in TERMS:
            return False
        m = _filled(s.problem, s.made)
        term, start = TERMS[claim["detail"]](m, k, s.own), s.own
    with np.errstate(all="ignore"):
        gap = np.abs(s.value - start - c * term)
    return bool(np.all(gap <= _last_digit(c) * np.abs(term) + size))


def _made_by(name: str, mine: list[Shown]) -> bool:
    """Whether a mistake of the catalogue makes each array that is wrong in itself."""
    for s in mine:
        if s.off.any():
            with np.errstate(all="ignore"):
                m = _filled(s.problem, s.made)
                m.wrong = mistakes[name].lines
                if _off(_formula(m, s.name), s.value, 1e-9).any():
                    return False
    return mistakes[name].stage == mine[0].stage


def place(invention: Invention, report: Any) -> int | None:
    """The layer in which an invention shows first, in the net that the report names."""
    L = report.layers
    layers = {"net": None, "last": L - 1, "below last": L - 2}
    return int(invention.layer) if invention.layer.isdigit() else layers[invention.layer]


def _before(stages: list[str], invention: Invention, shown: list[Shown]) -> bool:
    """Whether stages are right in each case, up to the first array that is wrong in itself."""
    start: dict[str, Any] = {}
    for s in shown:
        if s.stage == invention.stage and s.off.any():
            where = order(s.name, s.problem.L)
            start[s.problem.id] = min(start.get(s.problem.id, where), where)
    return all(
        s.right
        for s in shown
        if s.stage in stages and order(s.name, s.problem.L) < start.get(s.problem.id, (-1, 0, 0))
    ) and all(STAGES[stage].phase <= STAGES[invention.stage].phase for stage in stages)


def _elsewhere(claim: dict[str, Any], shown: list[Shown]) -> bool:
    """Whether the stage of the error is right in other layers, if it is said to be right before.

    Layers that are said to be right are so in a net in which that of the error is wrong.
    """
    stage, layers = claim["stage"], claim["layers"]
    if stage in claim["stages"] and not layers.get(stage):
        return False
    cases: dict[str, dict[tuple[str, int | None], bool]] = {}
    for s in shown:
        cases.setdefault(s.problem.id, {})[s.stage, s.layer] = s.right
    wrong_there = [
        right for right in cases.values() if not right.get((stage, claim["layer"]), True)
    ]
    listed = [(name, k) for name, found in layers.items() for k in found]
    return not listed or any(all(map(right.get, listed)) for right in wrong_there)


def _arrays(claim: dict[str, Any], mine: list[Shown]) -> bool:
    """Whether all arrays that are clearly wrong meet the condition, and most that do are wrong."""
    keys, values = claim["key"].split(" and "), claim["value"].split(" and ")
    met = [all(_meets(s, k, v) for k, v in zip(keys, values, strict=True)) for s in mine]
    clearly = all(meets for meets, s in zip(met, mine, strict=True) if s.off.any())
    wrong = sum(meets and s.at_all for meets, s in zip(met, mine, strict=True))
    return clearly and 2 * wrong >= claim["met"]


def _meets(s: Shown, key: str, value: str) -> bool:
    p, k = s.problem, s.layer if s.layer is not None else 0
    L, N, D = p.L, p.N, p.D
    if key in ("density", "activation"):
        name = getattr(p, key).name
        return bool(name != value[4:] if value.startswith("not ") else name == value)
    signs = [np.linalg.det(W) < 0 for W in p.W]
    tests: dict[tuple[str, str], bool] = {
        ("layer", "last"): k == L - 1, ("layer", "first"): k == 0, ("layer", "odd"): k % 2 == 1,
        ("layer", "not last"): k < L - 1, ("layer", "not first"): k > 0,
        ("layer", "below last"): k == L - 2, ("layer", "inner"): 0 < k < L - 1,
        ("layer", "1"): k == 1, ("layer", "2"): k == 2,
        ("N", "1"): N == 1, ("N", "> 1"): N > 1, ("N", "> D"): N > D, ("N", "<= D"): N <= D,
        ("L", "1"): L == 1, ("L", "> 1"): L > 1, ("L", "> 2"): L > 2,
        ("b", "nonzero"): bool(p.b[0].any()), ("det W", "< 0"): bool(signs[k]),
        ("det W", "> 0"): not signs[k], ("det W", "some < 0"): any(signs),
        ("det W", "product < 0"): sum(signs) % 2 == 1,
    }  # fmt: skip
    if (key, value) in tests:
        return tests[key, value]
    sign, bound = value.split()
    measures = {"N": N, "D": D, "cond(W)": np.linalg.cond(p.W[k])}
    if key == "max |y|":
        x = np.max(np.abs(formulas.run(p, wanted={"Y"})[f"Y_{k}"]))
    elif key == "max |z| of the latent":
        x = np.max(np.abs(formulas.run(p, wanted={"Z"})[f"Z_{L}"]))
    else:
        x = measures[key]
    return bool(x > float(bound) if sign == ">" else x < float(bound))


def _entries(claim: dict[str, Any], mine: list[Shown]) -> bool:
    """The same for the entries of wrong arrays."""
    met, wrong = 0, 0
    for s in mine:
        if not s.off.any():
            continue
        i, j = np.indices(s.off.shape)[:2] if s.off.ndim > 1 else (np.indices(s.off.shape)[0], 0)
        rows, columns = s.off.shape[0], s.off.shape[-1]
        if claim["key"] == "entries":
            inside = {
                "last row": i == rows - 1, "first row": i == 0, "not last row": i < rows - 1,
                "not first row": i > 0, "last column": j == columns - 1, "first column": j == 0,
                "not first column": j > 0, "not last column": j < columns - 1, "diagonal": i == j,
                "off the diagonal": i != j, "above": i < j, "below": i > j,
            }[claim["value"]]  # fmt: skip
        else:
            y = formulas.run(s.problem, wanted={"Y"})[f"Y_{s.layer}"]
            y = np.abs(y) if claim["key"] == "|y|" else y
            sign, bound = claim["value"].split()
            inside = y > float(bound) if sign == ">" else y < float(bound)
        if (s.off & ~inside).any():
            return False
        met, wrong = met + int(np.sum(inside)), wrong + int(np.sum(s.off))
    return 2 * wrong >= met
