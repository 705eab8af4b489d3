"""What the relative gradient of each dense square matrix of a flow would be, and would save.

log|det W| costs a factorisation, and its gradient an inverse, both cubic in D. The relative step
of a layer that has its rows Y (N, D) and its deltas is two products of N rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

CUBIC, RELATIVE = "seconds of log|det W| and inverse", "seconds of the relative step"


def relative_rows(dense: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return a row for each matrix: its name and size, the norms of G_W and of R_W = G_W W'W.

    Two measured times say what a step would save, for a batch of 100 rows: see `seconds_saved`.

    `dense`: {name: (W, G_W)}, W (D, D) with outputs as rows.

    >>> relative_rows({"W": (2 * np.eye(2), np.eye(2))})[0]["R_W"]
    5.657
    """
    rows = []
    for name, (W, G) in dense.items():
        W, G = np.asarray(W, dtype=float), np.asarray(G, dtype=float)
        R = G @ W.T @ W
        row = {"name": name, "D": len(W)}
        row |= {key: float(f"{np.linalg.norm(x):.4g}") for key, x in (("G_W", G), ("R_W", R))}
        cubic, quadratic = seconds_saved(len(W))
        row |= {CUBIC: float(f"{cubic:.2g}"), RELATIVE: float(f"{quadratic:.2g}")}
        rows.append(row)
    return tuple(rows)


def dense_words(row: Mapping[str, Any]) -> str:
    """Return a row in words: what log|det W| costs, and what a relative step would.

    >>> dense_words(
    ...     {"name": "W", "D": 2, "G_W": 1.414, "R_W": 5.657, CUBIC: 2e-5, RELATIVE: 4e-6}
    ... )[:71]
    'W (2 x 2): log|det W| and the inverse for its gradient take 2e-05 s; a '
    """
    return (
        f"{row['name']} ({row['D']} x {row['D']}): log|det W| and the inverse for its gradient "
        f"take {row[CUBIC]:g} s; a relative step, which needs neither, {row[RELATIVE]:g} s; the "
        f"norm of its gradient is {row['G_W']:g}, of its relative gradient {row['R_W']:g}"
    )


def seconds_saved(D: int, N: int = 100, rounds: int = 3) -> tuple[float, float]:
    """Return the measured seconds of (log|det W| with its gradient, a relative step's products).

    The first is a slogdet and an inverse of a D x D matrix, the second Y W (N, D) and
    Delta' (Y W) (D, D); what both need, forward and deltas, is in neither. The least of the
    rounds, of one from D = 1,000 on.

    >>> cubic, quadratic = seconds_saved(8, 4, rounds=1)
    >>> cubic > 0 and quadratic > 0
    True
    """
    rng = np.random.default_rng(0)
    W, Y, Delta = rng.normal(size=(D, D)), rng.normal(size=(N, D)), rng.normal(size=(N, D))
    rounds = rounds if D < 1000 else 1
    cubic = [_seconds(lambda: (np.linalg.slogdet(W), np.linalg.inv(W))) for _ in range(rounds)]
    quadratic = [_seconds(lambda: Delta.T @ (Y @ W)) for _ in range(rounds)]
    return min(cubic), min(quadratic)


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
