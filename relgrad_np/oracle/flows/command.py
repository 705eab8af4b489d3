"""The subcommand `check-flow package.module:factory` of the command line."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from .check import check_flow
from .records import EPS

CHECK_FLOW = "check any flow, or density model, by the laws that it must obey"
FACTORY = "a function that returns the flow, the flow itself, or arguments of check_flow"


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the subcommand; `command(name, run, text)` makes a parser."""
    made = command("check-flow", _check_flow, CHECK_FLOW)
    made.add_argument("factory", metavar="MODULE:NAME", help=FACTORY)
    made.add_argument("--dim", type=int, metavar="D", help="its dimension")
    made.add_argument("--dtype", choices=list(EPS), help="float64 by default")
    made.add_argument("--seed", type=int, metavar="N", help="of every draw")
    made.add_argument("--level", type=float, help="of the tests of samples together, 0.001")
    made.add_argument("--seconds", type=float, help="what the Jacobians may take, 20")
    made.add_argument("--inverse-accuracy", type=float, metavar="A", help="of one that iterates")
    made.add_argument("--onto", action="store_true", default=None, help="it is onto all of R^D")
    made.add_argument("--json", action="store_true", help="the report as one JSON object")


def _check_flow(options: argparse.Namespace) -> int:
    found = arguments(_made(options.factory), options.dim)
    for name in ("dtype", "seed", "level", "seconds", "inverse_accuracy", "onto"):
        if (value := getattr(options, name)) is not None:
            found[name] = value
    found.setdefault("name", options.factory)
    if found["name"] is None:
        found["name"] = options.factory
    report = check_flow(**found)
    print(report.json() if options.json else report.text())
    return 0 if report.passed else 1


def _made(place: str) -> Any:
    """Return what a factory makes; ValueError where there is none."""
    module, colon, name = place.partition(":")
    if not (module and colon and name):
        raise ValueError(f"{place!r} is not MODULE:NAME")
    sys.path.insert(0, "")  # modules of the folder that the command is run in
    try:
        value: Any = importlib.import_module(module)
    finally:
        sys.path.remove("")
    for part in name.split("."):
        if not hasattr(value, part):
            raise ValueError(f"{module} has no {name!r}")
        value = getattr(value, part)
    plain = callable(value) and not hasattr(value, "log_prob") and not hasattr(value, "parameters")
    if isinstance(value, type) or (plain and not hasattr(value, "score_samples")):
        try:
            return value()
        except Exception as error:
            raise ValueError(f"{place} raises {type(error).__name__}: {error}") from error
    return value


def arguments(made: Any, D: int | None = None) -> dict[str, Any]:
    """Return the arguments of check_flow for what a factory made.

    >>> arguments({"forward": abs}, 3)
    {'forward': <built-in function abs>, 'D': 3}
    """
    if isinstance(made, Mapping):
        found = dict(made)
        if D is not None:
            found["D"] = D
        if "D" not in found:
            raise ValueError("the dimension is missing: give --dim")
        return found
    from ... import oracle

    if D is None:
        D = getattr(made, "n_features_in_", None)
    if D is None:
        raise ValueError("the dimension is missing: give --dim")
    kinds = [cls.__module__.split(".")[0] for cls in type(made).__mro__]
    adapt: Any = oracle.from_torch
    if hasattr(made, "score_samples") and "torch" not in kinds:
        adapt = oracle.from_sklearn
    elif "torch" not in kinds and ({"jax", "jaxlib", "equinox", "flowjax", "distrax"} & set(kinds)):
        adapt = oracle.from_jax
    return dict(adapt(made, D=D))
