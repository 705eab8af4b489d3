"""Which settings our own grid tries on n training rows of D columns."""

from __future__ import annotations

DEPTHS = (2, 4, 8, 16, 32)
MOST_NUMBERS = 2_000  # of a net in the grid of the natural gradient
FEW_ROWS = 2_000
DENSITIES = ("student_t", "normal")


def names(n: int, D: int) -> list[str]:
    """Return the contenders `grid:SETTINGS`: the deepest nets that the rows bear, two or three.

    Each with two base densities, by the natural gradient with two slopes. Where few nets of the
    natural gradient have few enough numbers, the recipe's of two, four and eight layers.

    >>> len(names(100, 4)), names(100, 60)[0]
    (18, 'grid:n_layers=2,rule=recipe,density=student_t,alpha=0.3')
    """
    each = D * D + D
    depths = [L for L in DEPTHS if L * each <= min(2.2 * n, MOST_NUMBERS)]
    found = [
        f"grid:n_layers={L},rule=natural,density={density},alpha={alpha}"
        for L in depths[-3 if n < FEW_ROWS else -2 :]
        for density in DENSITIES
        for alpha in (0.3, 0.5)
    ]
    if 8 * each > min(n, 1_500):
        found += [
            f"grid:n_layers={L},rule=recipe,density={density},alpha=0.3"
            for L in (2, 4, 8)
            for density in DENSITIES
        ]
    return found
