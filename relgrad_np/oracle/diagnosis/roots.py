"""Which wrong arrays are wrong in themselves, and which only follow from these.

A root is a wrong array that its formula does not give: neither at right inputs, nor at the
candidate's own. Where an input was not supplied, the arrays that it is computed from stand for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from ..truths.stages import split
from .outcome import Outcome
from .own import evaluate
from .reads import supplied_inputs
from .routes import ROUTES
from .wrong import Wrong, hidden_layers, own_arrays, right_value

VALUES = ("Y", "Z", "log_dsigma", "dlog_dsigma", "L_p", "L_J1", "L_J2", "log_prob")


def wrong_arrays(
    outcome: Outcome, isolated: bool = False, autodiff: Collection[str] = ()
) -> list[Wrong]:
    """Return the wrong arrays of a case, in order of propagation, each root or follower.

    `isolated`: each array was computed from true inputs. `autodiff`: stages that are derivatives of
    the candidate's own log_prob; they follow from whatever is wrong in that.
    """
    p, entries = outcome.problem, [entry for entry in outcome.entries if entry.wrong]
    if isolated:
        return [
            Wrong(outcome, e, right_value(outcome, e.name), (), (), True, True) for e in entries
        ]
    bad, supplied = {entry.name for entry in entries}, frozenset(outcome.arrays)
    values = tuple(name for name in bad if split(name)[0] in VALUES)
    made = evaluate(p, own_arrays(outcome), [entry.name for entry in entries])
    found = []
    for entry in entries:
        near, through = supplied_inputs(entry.name, supplied, p.L, hidden_layers(p))
        sources = tuple(name for name in near if name in bad)
        right = right_value(outcome, entry.name)
        own = Wrong(outcome, entry, made.get(entry.name, right), sources, through, False)
        if entry.stage in autodiff and values:
            found.append(replace(own, sources=values))
        elif near and (own.agrees(own.base) or not np.isfinite(own.base.value).all()):
            found.append(own)
        else:
            found.append(replace(own, base=own.base if sources else right, root=True))
    others = _by_other_routes(outcome, [w for w in found if w.root], bad)
    return [
        replace(w, sources=others[w.name], root=False) if w.name in others else w for w in found
    ]


def without_roots(found: Sequence[Wrong]) -> list[Wrong]:
    """Return arrays that follow from nothing that is wrong as roots.

    They are what their formulas give at inputs whose own errors are less than these are allowed.
    Where anything else is wrong in itself, they are its consequences; where nothing is, they are
    the first that can be seen of it.

    >>> without_roots([])
    []
    """
    return [
        w if w.sources else replace(w, base=right_value(w.outcome, w.name), root=True)
        for w in found
    ]


def _by_other_routes(
    outcome: Outcome, roots: Sequence[Wrong], bad: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return arrays that another right formula gives, with the wrong arrays that it reads."""
    found: dict[str, tuple[str, ...]] = {}
    for i in range(max(map(len, ROUTES.values()))):
        lines, sources = {}, {}
        for w in roots:
            if w.name not in found and i < len(ROUTES.get(w.stage, ())):
                stages, lines[w.stage] = ROUTES[w.stage][i]
                names = [f"{stage}_{w.layer}" for stage in stages]
                wrong = tuple(name for name in names if name in bad)
                if wrong and all(name in outcome.arrays for name in names):
                    sources[w.name] = wrong
        made = evaluate(outcome.problem, own_arrays(outcome), sources, lines) if sources else {}
        found |= {
            w.name: sources[w.name] for w in roots if w.name in made and w.agrees(made[w.name])
        }
    return found


def by_stage(found: Sequence[Wrong]) -> dict[str, list[Wrong]]:
    """Return the roots of all cases by stage, stages in order of propagation."""
    stages: dict[str, list[Wrong]] = {}
    for wrong in sorted(found, key=lambda wrong: wrong.entry.place):
        if wrong.root:
            stages.setdefault(wrong.stage, []).append(wrong)
    return stages


def origins(found: Sequence[Wrong]) -> dict[str, frozenset[str]]:
    """Return, for each wrong array of a case, the roots that it follows from, by name.

    >>> origins([])
    {}
    """
    known, made = {wrong.name: wrong for wrong in found}, dict[str, frozenset[str]]()

    def of(name: str) -> frozenset[str]:
        if name not in made:
            made[name], wrong = frozenset(), known.get(name)
            if wrong is not None and wrong.root:
                made[name] = frozenset([name])
            elif wrong is not None:
                made[name] = frozenset().union(*map(of, wrong.sources))
        return made[name]

    return {name: of(name) for name in known}
