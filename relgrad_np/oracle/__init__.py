"""Judge an implementation: is it right, and if not, what is wrong and where.

`check` runs a candidate on a suite of cases whose right arrays are known, compares stage by stage,
and names every mistake. To read it: `verdict` (what happens), `candidate` and `conventions` (what
is judged), `behaviour` (what else it does), `report`; then `truths` (what is right), `mistakes`
(known wrong lines, and what a pass excludes) and `diagnosis` (what is wrong, and why). `suite`
makes cases for a model of your own. `brute` (definitions by loops), `bounds` (tolerances) and
`cases` (generic
inputs) serve the tests and users' own checks.

>>> from relgrad_np import oracle
>>> oracle.check({"R_W": lambda Delta, Y, W: Delta.T @ (Y @ W) + W}).passed
True
"""

from typing import Any

from . import bounds, brute

# Not imported on demand: the first import of the sub-package would take over the name.
from .mistakes.catalogue import mistakes

__all__ = [
    "Candidate",
    "Conventions",
    "FlowReport",
    "Problem",
    "Report",
    "bounds",
    "brute",
    "check",
    "check_flow",
    "export",
    "from_core",
    "from_jax",
    "from_sklearn",
    "from_torch",
    "load",
    "mistakes",
    "suite",
]
_HOMES = {
    "Candidate": "candidate",
    "Conventions": "conventions",
    "FlowReport": "flows.flow_report",
    "Problem": "truths.records",
    "Report": "report",
    "check": "verdict",
    "check_flow": "flows.check",
    "export": "truths.export",
    "from_core": "of_this_package",
    "from_jax": "of_torch_and_jax",
    "from_sklearn": "flows.adapters.sklearn_flow",
    "from_torch": "of_torch_and_jax",
    "load": "truths.suite",
    "suite": "truths.export",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: `import relgrad_np` stays light."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
