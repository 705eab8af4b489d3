"""What the relative gradient of each dense square matrix of a flow would be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def relative_rows(dense: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return a row for each matrix: its name and size, the norms of G_W and of R_W = G_W W'W.

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
        rows.append(row)
    return tuple(rows)
