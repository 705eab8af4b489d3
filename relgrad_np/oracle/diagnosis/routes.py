"""Other right ways to an array: the relative gradients from the ordinary ones, or from xi.

Who computes R_W from G_W carries an error of G_W on, although Delta and Y, from which the table
`READS` has it, are right.
"""

from __future__ import annotations

from typing import Any

from ..mistakes.formulas import Execution, Line


def _xi(m: Execution, k: int) -> Any:
    """Return G~ W~' without its last columns: G_W W' + G_b b', and + G_C C' with context."""
    made = m.G_W[k] @ m.W[k].T + m.G_b[k].reshape(-1, 1) @ m.b[k].reshape(1, -1)
    return made + m.G_C[k] @ m.C[k].T if m.c else made


ROUTES: dict[str, tuple[tuple[tuple[str, ...], Line], ...]] = {
    "xi": ((("G_W", "G_b"), _xi),),
    "R_W": (
        (("xi",), lambda m, k: m.xi[k] @ m.W[k]),
        (("G_W", "G_b"), lambda m, k: _xi(m, k) @ m.W[k]),
    ),
    "R_b": (
        (("xi", "G_b"), lambda m, k: m.xi[k] @ m.b[k] + m.G_b[k]),
        (("G_W", "G_b"), lambda m, k: _xi(m, k) @ m.b[k] + m.G_b[k]),
    ),
    "R_C": (
        (("xi", "G_C"), lambda m, k: m.xi[k] @ m.C[k] + m.G_C[k]),
        (("G_W", "G_b", "G_C"), lambda m, k: _xi(m, k) @ m.C[k] + m.G_C[k]),
    ),
    "R_W_separate": ((("G_W",), lambda m, k: m.G_W[k] @ m.W[k].T @ m.W[k]),),
    "R_W_input": ((("G_W",), lambda m, k: m.W[k] @ m.W[k].T @ m.G_W[k]),),
    "R_b_input": ((("G_b",), lambda m, k: m.W[k] @ m.W[k].T @ m.G_b[k]),),
    "R_C_input": ((("G_C",), lambda m, k: m.W[k] @ m.W[k].T @ m.G_C[k]),),
    "W_plus": ((("xi",), lambda m, k: m.W[k] + m.eta * (m.xi[k] @ m.W[k])),),
}
"""By stage, one way after the other: the arrays of the same layer that are read, and the line."""
