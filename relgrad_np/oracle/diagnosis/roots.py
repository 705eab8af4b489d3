"""Which wrong arrays are wrong in themselves, and which only follow from these.

A root is a wrong array that its formula does not give: neither at right inputs, nor at the
candidate's own. Where an input was not supplied, the arrays that it is computed from stand for it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..truths.stages import layer_of, split
from .outcome import Outcome
from .own import evaluate
from .reads import supplied_inputs
from .routes import ROUTES
from .wrong import Wrong, hidden_layers, right_value

VALUES = ("Y", "Z", "log_dsigma", "dlog_dsigma", "L_p", "L_J1", "L_J2", "log_prob")


def wrong_arrays(
    outcome: Outcome, isolated: bool = False, autodiff: Collection[str] = ()
) -> list[Wrong]:
    """Return the wrong arrays of a case, in order of propagation, each root or follower.

    `isolated`: each array was computed from true inputs. `autodiff`: stages that are derivatives of
    the candidate's own log_prob; they follow from whatever is wrong in that.
    """
    p, entries = outcome.problem, [entry for entry in outcome.entries if entry.wrong]
    bad, supplied = {entry.name for entry in entries}, frozenset(outcome.arrays)
    values = tuple(name for name in bad if split(name)[0] in VALUES)
    plan = []
    for entry in entries:
        near, through = supplied_inputs(entry.name, supplied, p.L, hidden_layers(p))
        sources = tuple(name for name in near if name in bad)
        if isolated:
            sources, through = (), ()
        plan.append((entry, sources, through))
    needed = [entry.name for entry, sources, _ in plan if sources]
    made = evaluate(p, outcome.arrays, needed) if needed else {}
    found = []
    for entry, sources, through in plan:
        base = made[entry.name] if entry.name in made else right_value(outcome, entry.name)
        if entry.stage in autodiff and values:
            found.append(Wrong(outcome, entry, base, values, through, False))
            continue
        wrong = Wrong(outcome, entry, base, sources, through, True, isolated)
        follows = bool(sources) and (wrong.agrees(base) or not np.isfinite(base.value).all())
        other = () if follows or isolated else _by_another_route(wrong, bad)
        if follows or other:
            wrong = Wrong(outcome, entry, base, other or sources, through, False)
        found.append(wrong)
    return found


def _by_another_route(w: Wrong, bad: Collection[str]) -> tuple[str, ...]:
    """Return the wrong arrays that an array was computed from by another right formula, if any."""
    if w.stage not in ROUTES:
        return ()
    stages, line = ROUTES[w.stage]
    names = tuple(f"{stage}_{w.layer}" for stage in stages)
    wrong = tuple(name for name in names if name in bad)
    if not wrong or any(name not in w.outcome.arrays for name in names):
        return ()
    made = evaluate(w.problem, w.outcome.arrays, [w.name], {w.stage: line})
    return wrong if w.agrees(made[w.name]) else ()


def by_stage(found: Sequence[Wrong]) -> dict[str, list[Wrong]]:
    """Return the roots of all cases by stage, stages in order of propagation."""
    stages: dict[str, list[Wrong]] = {}
    for wrong in sorted(found, key=lambda wrong: wrong.entry.place):
        if wrong.root:
            stages.setdefault(wrong.stage, []).append(wrong)
    return stages


def origin(found: Sequence[Wrong], name: str) -> tuple[str, ...]:
    """Return the roots of one case from which an array follows, by name.

    >>> origin([], "Y_0")
    ()
    """
    known, roots, seen = {wrong.name: wrong for wrong in found}, [], set()
    todo = [name]
    while todo:
        wrong = known.get(todo.pop(0))
        if wrong is None or wrong.name in seen:
            continue
        seen.add(wrong.name)
        if wrong.root and wrong.name != name:
            roots.append(wrong.name)
        else:
            todo += wrong.sources
    return tuple(sorted(roots, key=lambda root: (layer_of(root) is not None, root)))
