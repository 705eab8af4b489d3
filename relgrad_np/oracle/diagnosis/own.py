"""Each formula evaluated at the candidate's own arrays: what it should have made of what it had.

An array that agrees with its formula at the candidate's own inputs only follows from an error in
these; one that does not is wrong in itself. Inputs that were not supplied are computed, from what
was. Formulas may be replaced by mistaken ones, to see whether these are what a candidate computes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from ..mistakes.formulas import EXP, Execution, Line
from ..truths.records import Array, Problem, Spec
from ..truths.stages import STAGES, layer_of, names, split
from .bounded import Bounded, bounded, of_part, xp

Change = Callable[["Own", int | None], None]
"""Alters the state of an execution before a formula of layer k is computed."""


class Own(Execution):
    """An execution on Bounded arrays whose every array can be set."""

    def __init__(
        self, problem: Problem, wrong: Mapping[str, Line] | None = None, only: int | None = None
    ) -> None:
        W, b, C = (tuple(map(Bounded, part)) for part in (problem.W, problem.b, problem.C))
        given = problem._replace(
            X=Bounded(problem.X), W=W, b=b, Z_back=None,
            U=Bounded(problem.U) if problem.c else None, C=C,
            activation=_bounded(problem.activation), density=_bounded(problem.density),
        )  # fmt: skip
        super().__init__(xp, given, wrong, only)
        self.problem = problem
        self.Z, self.Y = [Bounded(problem.X), *[None] * self.L], [None] * self.L
        self.L_p: Array = None
        self.L_J1: Array = None
        self.L_J2: Array = None
        self.exp: dict[int | None, Any] = {}  # all parts of a step come at once

    def compute(self, name: str) -> Any:
        """Return an array by its formula, from the state."""
        stage, k = split(name)
        if stage == "Z" and k is not None:
            return self("Z", k - 1)
        if stage == "log_prob":
            return self("log_prob", None, self.L_p, self.L_J1, self.L_J2)
        if stage == "Delta" and k is not None:
            above = self("dZ_last") if k == self.L - 1 else self("dZ", k + 1)
            return self("Delta", k, above)
        if stage in EXP:
            if k not in self.exp:
                self.exp[k] = self("exp", k)
            return self.exp[k][EXP.index(stage)]
        return self(stage, k)

    def set(self, name: str, value: Any) -> None:
        """Put an array into the state."""
        stage, k = split(name)
        kept = getattr(self, stage, None)
        if isinstance(kept, list) and k is not None:
            kept[k] = value
        elif k is None and hasattr(self, stage):
            setattr(self, stage, value)


def _bounded(spec: Spec) -> Spec:
    return spec if spec.part is None else spec._replace(part=of_part(spec.part))


def evaluate(
    problem: Problem,
    own: Mapping[str, Array | Bounded],
    wanted: Collection[str],
    wrong: Mapping[str, Line] | None = None,
    *,
    only: int | None = None,
    change: Change | None = None,
) -> dict[str, Bounded]:
    """Return what the formulas make of these arrays, for each name in `wanted`.

    `wrong`: lines that replace the right ones, in layer `only` or in all. `change` alters the state
    before each wanted array is computed, which is restored afterwards. X_back is no function of
    other arrays, and is left out.

    >>> from relgrad_np.oracle.truths.suite import small
    >>> case = small().cases[0]
    >>> twice = {"Y_0": 2 * case.expected["Y_0"], "Delta_0": case.expected["Delta_0"]}
    >>> Y, R = evaluate(case.problem, twice, ["Y_0", "R_W_0"]).values()
    >>> bool(abs(Y.value - case.expected["Y_0"]).max() < 1e-15)
    True
    >>> bool(abs(R.value - case.expected["R_W_0"]).max() > 0.1)
    True
    """
    m, found = Own(problem, wrong, only), {}
    for name, x in own.items():
        m.set(name, bounded(x))
    last = max((STAGES[split(name)[0]].phase for name in wanted), default=-1)
    for name in _in_order(m.L, problem.last_layer == "activated", m.c > 0):
        stage = split(name)[0]
        if STAGES[stage].phase > last or stage == "X_back":
            continue
        value = None
        if name in wanted:
            value = found[name] = bounded(_changed(m, name, change))
        if name not in own:
            m.set(name, bounded(m.compute(name)) if value is None else value)
    return found


@lru_cache
def _in_order(L: int, activated: bool, context: bool) -> tuple[str, ...]:
    return tuple(names(L, activated, context))


def _changed(m: Own, name: str, change: Change | None) -> Any:
    if change is None:
        return m.compute(name)
    kept = {key: list(x) if isinstance(x, list) else x for key, x in vars(m).items()}
    m.exp = {}
    change(m, layer_of(name))
    value = m.compute(name)
    vars(m).update(kept, exp={})
    return value
