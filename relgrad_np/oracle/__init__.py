"""What judges an implementation: truths, the suite, the catalogue of mistakes, and `check`.

>>> from relgrad_np import oracle
>>> oracle.check({"R_W": lambda Delta, Y, W: Delta.T @ (Y @ W) + W}).passed
True
"""

from typing import Any

from . import bounds, brute

__all__ = [
    "Candidate",
    "Conventions",
    "Problem",
    "Report",
    "bounds",
    "brute",
    "check",
    "export",
    "from_core",
    "from_jax",
    "from_torch",
    "load",
    "mistakes",
]
_HOMES = {
    "Candidate": "candidate",
    "Conventions": "conventions",
    "Problem": "truths.problems",
    "Report": "report",
    "check": "verdict",
    "export": "truths.suite",
    "from_core": "of_this_package",
    "from_jax": "of_torch_and_jax",
    "from_torch": "of_torch_and_jax",
    "load": "truths.suite",
    "mistakes": "mistakes.catalogue",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for: `import relgrad_np` stays light."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value
