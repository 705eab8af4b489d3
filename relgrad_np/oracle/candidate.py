"""A candidate is whatever computes arrays of a case: a function of the problem, or parts of one.

    function   candidate(problem) -> {"Y_0": ..., "R_W_0": ...}, any subset, any array library
    parts      {"R_W": lambda Delta, Y, W: ...}: functions of the inputs that they name

A part is given the true inputs of its stage, so that its verdict does not depend on what comes
before it. The core and each of its implementations are candidates like any other.
"""

from __future__ import annotations

import inspect
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .conventions import Conventions, for_candidate, restored, to_default, valid
from .truths.records import Array, Case, Problem
from .truths.stages import STAGES, shape, split

Arrays = dict[str, Array]
# what a part can ask for: of the whole net, and of one layer
OF_NET = (
    "X", "Zs", "Ys", "Ws", "bs", "Deltas", "N", "D", "L", "eta", "activation", "density", "alpha",
    "beta", "nu", "Z_L", "Z_back", "L_p", "L_J1", "L_J2", "U", "Cs", "c",
)  # fmt: skip
OF_LAYER = (
    "Z", "Y", "W", "b", "Delta", "Delta_next", "W_next", "G_W", "G_b", "xi", "R_W", "R_b", "W_plus",
    "k", "last", "C", "G_C", "R_C",
)  # fmt: skip
CONTEXT = {"U", "Cs", "c", "C"}  # whoever asks for these serves context
PACKAGE = str(Path(__file__).resolve().parents[1])
LIBRARIES = (PACKAGE, sysconfig.get_path("stdlib"), "site-packages", "dist-packages", "<frozen")


class UnusableCandidate(ValueError):
    """What was given is no candidate, whatever the case: this ends a check."""


class NoGradient(Exception):
    """What a candidate returned, where autodiff can't take its gradients; the text says why."""

    def __init__(self, why: str, found: Mapping[str, Array]) -> None:
        super().__init__(why)
        self.found = found


class Call(NamedTuple):
    """What came of one call: results, the exception in words, the inputs that were changed.

    `detached`: why autodiff could not take the gradients.
    """

    arrays: Arrays
    raised: str | None = None
    changed: tuple[str, ...] = ()
    detached: str | None = None


@dataclass(frozen=True)
class Candidate:
    """A named implementation with its conventions; it has `run` or `parts`.

    `notes`: what its maker found worth saying; they are part of the report. `by_autodiff`: stages
    that `run` takes by automatic differentiation of its own log_prob.

    >>> double = Candidate("doubled", run=lambda problem: {"Y_0": 2 * problem.X})
    >>> double.conventions.weights
    'rows'
    """

    name: str
    run: Callable[[Problem], Mapping[str, Array]] | None = None
    parts: Mapping[str, Callable[..., Array]] = field(default_factory=dict)
    conventions: Conventions = field(default_factory=Conventions)
    notes: list[str] = field(default_factory=list, compare=False)
    by_autodiff: set[str] = field(default_factory=set, compare=False)

    def call(self, case: Case, dtype: str) -> Call:
        """Return what the candidate computes for a case, in NumPy and the default conventions.

        Arrays are copied; whatever it raises, and which inputs it changes, is noted. A candidate
        raises NotImplementedError where a case is not for it; that gives no arrays. Results that
        are none, of a wrong name, shape or dtype, are a ValueError or TypeError.
        """
        problem, kept = (
            for_candidate(case.problem.astype(dtype), self.conventions) for _ in range(2)
        )
        detached = None
        try:
            found = self._results(case, dtype, problem)
        except NoGradient as error:
            found, detached = error.found, str(error)
        except NotImplementedError:
            return Call({})
        except UnusableCandidate:
            raise
        except Exception as error:  # a candidate may raise anything
            return Call({}, said(error))
        if not isinstance(found, Mapping):
            got = type(found).__name__
            raise TypeError(f"`candidate` must return a mapping of arrays by name, got {got}")
        made = {name: x.copy() for name, x in checked(dict(found), case, self.conventions).items()}
        return Call(made, None, _changed(problem, kept), detached)

    def _results(self, case: Case, dtype: str, problem: Problem) -> Mapping[str, Array]:
        return self.run(problem) if self.run else self._parts(case, dtype, problem)

    def _parts(self, case: Case, dtype: str, problem: Problem) -> Arrays:
        found = {}
        for stage, function in self.parts.items():
            for name in case.expected:
                if split(name)[0] == stage:
                    given = true_inputs(case, name, dtype, problem, self.conventions)
                    found[name] = function(**{key: given[key] for key in wanted(function, stage)})
        return found


def candidate(
    made: Any, *, name: str | None = None, conventions: Conventions | None = None
) -> Candidate:
    """Return a Candidate of a function, of a mapping of parts, or of a Candidate.

    >>> candidate({"R_b": lambda G_b: G_b}).name
    'parts: R_b'
    """
    if isinstance(made, Candidate):
        how = valid(conventions or made.conventions)
        return replace(made, name=name or made.name, conventions=how)
    how = valid(conventions or Conventions())
    if isinstance(made, Mapping):
        for stage, function in made.items():
            if stage not in STAGES or not callable(function):
                raise ValueError(f"unknown stage {stage!r}; choose from {', '.join(STAGES)}")
            asks = CONTEXT & set(wanted(function, stage))
            if (asks or STAGES[stage].of_context) and conventions is None:
                how = how._replace(context="yes")
        return Candidate(name or f"parts: {', '.join(made)}", None, dict(made), how)
    if not callable(made):
        raise TypeError(f"`candidate` must be a function or a mapping, got {type(made).__name__}")
    return Candidate(name or name_of(made), made, {}, how)


def said(error: Exception) -> str:
    r"""Return an exception in one line, with the place that raised it.

    >>> said(ValueError("no\nlines"))
    'ValueError: no lines'
    """
    text = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    frames = traceback.extract_tb(error.__traceback__)
    place = place_of(reversed(frames)) or "".join(map(_shown, frames[-1:]))
    return f"{text} ({place})" if place else text


def place_of(frames: Iterable[traceback.FrameSummary]) -> str:
    """Return file and line of the first frame that is the candidate's own code, or "".

    `frames` come innermost first. A library is no candidate's own code, nor is this package.

    >>> place_of([traceback.FrameSummary("/lib/site-packages/torch/a.py", 1, "f")])
    ''
    """
    return next((_shown(at) for at in frames if not any(x in at.filename for x in LIBRARIES)), "")


def _shown(at: traceback.FrameSummary) -> str:
    return f"{Path(at.filename).name}, line {at.lineno}"


def _changed(problem: Problem, kept: Problem) -> tuple[str, ...]:
    """Return the names of inputs that are no longer what they were."""
    pairs = {"X": (problem.X, kept.X), "Z_back": (problem.Z_back, kept.Z_back)}
    if kept.c:
        pairs |= {"U": (problem.U, kept.U)}
        pairs |= {f"C_{k}": (problem.C[k], kept.C[k]) for k in range(kept.L)}
    for k in range(kept.L):
        pairs |= {f"W_{k}": (problem.W[k], kept.W[k]), f"b_{k}": (problem.b[k], kept.b[k])}
    return tuple(name for name, (x, y) in pairs.items() if not np.array_equal(x, y))


def name_of(made: Any) -> str:
    """Return the name of a function, or of an object's class.

    >>> name_of(len), name_of(1.5)
    ('len', 'float')
    """
    return str(getattr(made, "__name__", type(made).__name__))


def wanted(function: Callable[..., Any], stage: str) -> list[str]:
    """Return the names of a part's inputs; ValueError for one that there is not.

    >>> wanted(lambda Delta, Y, W: 0, "R_W")
    ['Delta', 'Y', 'W']
    """
    choices = OF_NET if STAGES[stage].layers == "net" else OF_LAYER + OF_NET
    names = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    ]
    for name in names:
        if name not in choices:
            listed = ", ".join(choices)
            raise ValueError(f"part {stage!r} asks for {name!r}; it can ask for {listed}")
    return names


def true_inputs(
    case: Case, name: str, dtype: str, problem: Problem, how: Conventions
) -> dict[str, Any]:
    """Return the true inputs of the stage and layer of `name`, in the candidate's conventions."""
    p, right, (stage, index) = case.problem, case.expected, split(name)

    def true(key: str) -> Array:
        x = to_default(key, right[key].astype(dtype), how._replace(reduction="mean"), p.N)
        return x * (p.N if STAGES[split(key)[0]].summed and how.reduction == "sum" else 1)

    Zs = [problem.X, *(true(f"Z_{k + 1}") for k in range(p.L))]
    given: dict[str, Any] = {
        "X": problem.X, "Zs": Zs, "Ys": [true(f"Y_{k}") for k in range(p.L)],
        "Ws": list(problem.W), "bs": list(problem.b), "N": p.N, "D": p.D, "L": p.L,
        "Deltas": [true(f"Delta_{k}") for k in range(p.L)], "eta": problem.eta,
        "activation": p.activation, "density": p.density, "Z_L": Zs[-1], "Z_back": problem.Z_back,
        **{key: p.activation.params.get(key) for key in ("alpha", "beta")},
        "nu": p.density.params.get("nu"), **{key: true(key) for key in ("L_p", "L_J1", "L_J2")},
        "U": problem.U, "Cs": list(problem.C), "c": p.c,
    }  # fmt: skip
    if index is None:
        return given
    k = index - 1 if stage == "Z" else index
    up, last = min(k + 1, p.L - 1), k == p.L - 1
    given |= {"Z": Zs[k], "Y": given["Ys"][k], "W": problem.W[k], "b": problem.b[k], "k": k}
    given |= {"Delta": given["Deltas"][k], "last": last, "W_next": problem.W[up]}
    given |= {"Delta_next": None if last else given["Deltas"][up]}
    given |= {"C": problem.C[k] if p.c else None}
    for key in ("G_W", "G_b", "G_C", "xi", "R_W", "R_b", "R_C", "W_plus"):
        if f"{key}_{k}" in right:
            given[key] = true(f"{key}_{k}")
    return given


def to_numpy(x: Any, name: str) -> Array:
    """Return an array of any library, or a number, as NumPy float; TypeError, ValueError by name.

    >>> to_numpy(1.5, "L_J2")
    array(1.5)
    """
    for step in ("detach", "cpu", "get"):
        if hasattr(x, step) and not isinstance(x, (np.ndarray, Mapping)):
            x = getattr(x, step)()
    if type(x).__module__.startswith("torch") and "float16" in str(x.dtype):
        x = x.float()
    try:
        found = np.asarray(x)
    except Exception as error:  # each array library raises its own kinds
        raise TypeError(f"`{name}` is no array: {' '.join(str(error).split())[:120]}") from None
    if "float" not in found.dtype.name:
        raise ValueError(f"`{name}` must be float32 or float64, got {found.dtype}")
    return found.astype(np.float32 if found.dtype.itemsize < 4 else found.dtype)


def checked(found: Mapping[str, Any], case: Case, how: Conventions) -> Arrays:
    """Return results in the default conventions; ValueError by name for a wrong name or shape."""
    p, made = case.problem, {}
    for name, value in found.items():
        stage, index = split(name)
        low, high = (1, p.L) if stage == "Z" else (0, p.L - 1)
        if index is not None and not low <= index <= high:
            raise ValueError(f"{p.id}: `{name}`: the case has {p.L} layers, counted from 0")
        if STAGES[stage].of_context and not p.c:
            raise ValueError(f"{p.id}: `{name}`: the case has no context")
        x, right = to_numpy(value, name), shape(name, p.N, p.D, p.c)
        if STAGES[stage].turned and how.weights == "transposed":
            right = right[::-1]
        if x.shape != right:
            raise ValueError(f"{p.id}: `{name}` must have shape {right}, got {x.shape}")
        made[name] = restored(name, to_default(name, x, how, p.N), how, p)
    return made
