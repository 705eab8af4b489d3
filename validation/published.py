"""The published code's conventions as a candidate: x @ W, descent, and its bias rule."""

from typing import Any

from relgrad_np.oracle.mistakes import formulas


def published(p: Any) -> dict[str, Any]:
    """Return what such code computes from the W it is given, read as (in, out)."""
    q = p._replace(W=tuple(W.T for W in p.W))
    wrong = {"R_b": lambda m, k: m.Delta[k].T @ (m.Y[k] @ m.b[k] + 1)}
    made = formulas.run(q, wrong)
    found = {}
    for name, x in made.items():
        if name.startswith(("W_exp", "b_exp", "R_W_", "R_b_")) and not name[4:].isdigit():
            continue  # neither the exponential step nor other variants
        x = -x if name.startswith(("Delta", "G_", "xi", "R_")) else x
        found[name] = x.T if name.startswith(("G_W", "xi", "R_W", "W_plus")) else x
    return found
