"""The one guard of a fit: rows that no density can be fitted to are refused, with the columns."""

from collections.abc import Sequence
from typing import Any

from ..core.arrays import Array, namespace, to_numpy
from ..datasets.rank import dependences, determined

SHOWN = 10  # columns that a message names
EXPLAINED = 3  # dependent columns of which it names the others


def require_full_rank(X: Array, names: Sequence[Any] | None = None, *, context: int = 0) -> None:
    """Raise ValueError, in one line, unless X (N, D) has a density in D dimensions.

    With `context` its last columns are given to the others, which must have one given those.

    It has none if N <= D, if a column is constant, or if one is an affine combination of others, to
    rounding. Units and offsets of the columns do not matter, nor do rows that are far out. The
    columns are called by `names`, if given, else by index. Rows that are not finite are left to
    who computes with them. Cost: O(D^3) where the rank is clear, else O(N D^2).

    >>> import numpy as np
    >>> a, b = np.random.default_rng(0).normal(size=(2, 50))
    >>> require_full_rank(np.stack([a, 1e9 * b], axis=1))
    >>> require_full_rank(np.stack([a, 0 * a, b, a + b], axis=1), ("a", "zero", "b", "sum"))
    Traceback (most recent call last):
    ValueError: `X` has the constant column 'zero', and column 'sum' is an affine combination of
    the others (columns 'a', 'b'): drop them or add noise
    """
    if context:
        _require_conditional(to_numpy(X), names, context)
        return
    xp, (N, D) = namespace(X, "X"), X.shape
    if N <= D:
        raise ValueError(
            f"`X` has {N} row{'s' * (N != 1)} and {D} column{'s' * (D != 1)}: a density needs more "
            "rows than columns; reduce the columns (PCA) or bring more rows"
        )
    if not bool(xp.all(xp.isfinite(X))):
        return
    constant, dependent = dependences(to_numpy(X))
    many = len(constant) + len(dependent)
    if not many:
        return
    combined = [
        f"{_columns([j], names)} is an affine combination of the others ({_columns(others, names)})"
        for j, others in dependent
    ]
    if len(combined) > EXPLAINED:
        which = _columns([j for j, _ in dependent], names)
        combined = [f"{which} are affine combinations of the others"]
    text = f"the constant {_columns(constant, names)}" if len(constant) == 1 else ""
    text = f"constant {_columns(constant, names)}" if len(constant) > 1 else text
    text = f"`X` has {text or 'no full rank'}{(', and ' if text else ': ') * bool(combined)}"
    text += "; ".join(combined)
    raise ValueError(f"{text}: drop {'it' if many == 1 else 'them'} or add noise")


def _require_conditional(rows: Any, names: Sequence[Any] | None, c: int) -> None:
    """Refuse rows (x, u) whose x has no density given u: constant, or determined."""
    N, D = len(rows), rows.shape[1] - c
    if D + c >= N:
        raise ValueError(
            f"`X` has {N} rows to fit, {D} column{'s' * (D > 1)}, and {c} feature{'s' * (c > 1)}"
            " of its context: bring more rows than columns and features"
        )
    require_full_rank(rows[:, :D], names)
    which = determined(rows, c)
    if which:
        them, are = ("it", "is an") if len(which) == 1 else ("them", "are")
        raise ValueError(
            f"`X` has no density given its context: {_columns(which, names)} {are} affine"
            f" combination{'s' * (len(which) > 1)} of what is given and the other columns: drop"
            f" {them} or add noise"
        )


def _columns(which: Sequence[int], names: Sequence[Any] | None) -> str:
    """Return "column 3" or "columns 3, 4", by name if there are names."""
    called = [str(j) if names is None else repr(str(names[j])) for j in which]
    return f"column{'s' * (len(which) != 1)} {_first(called)}"


def _first(items: Sequence[str]) -> str:
    """Return the first ten items, and how many more there are."""
    more = f" and {len(items) - SHOWN} more" * (len(items) > SHOWN)
    return ", ".join(items[:SHOWN]) + more
