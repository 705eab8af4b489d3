"""An inverse where none is needed: R_W loses digits with cond(W), as only such a formula does."""

from collections.abc import Sequence

import numpy as np

from .outcome import Outcome

ILL = 500.0  # a condition number above which an inverse shows


def inverse_note(results: Sequence[Outcome]) -> str | None:
    """Return a note if R_W loses many digits where cond(W) is large, and few elsewhere."""
    good: list[float] = []  # errors in units of eps S
    bad: list[tuple[float, float]] = []  # those at a large cond(W), and cond(W)
    for outcome in results:
        for entry in outcome.entries:
            if entry.stage in ("R_W", "R_W_separate", "R_W_input") and entry.checked:
                cond = outcome.conditions[entry.layer or 0]
                units = entry.error / (outcome.eps * outcome.case.tolerances[entry.name].S)
                if not np.isfinite(units):
                    return None
                if cond > ILL:
                    bad.append((units, cond))
                else:
                    good.append(units)
    if not good or not bad:
        return None
    low, (high, cond) = max(good), max(bad, key=lambda pair: pair[0])
    if high > 16 * max(low, 1.0) and high <= 8 * cond:
        return (
            f"R_W forms an inverse: at cond(W) = {cond:.0e} its error is {high:.0f} eps S, "
            f"elsewhere {low:.1f}; Delta.T @ (Y @ W) + W needs none"
        )
    return None


def only_ill_conditioned(results: Sequence[Outcome]) -> bool:
    """Whether whatever is wrong is so in cases with an ill-conditioned layer."""
    return all(
        max(outcome.conditions) > ILL
        for outcome in results
        if any(entry.wrong for entry in outcome.entries)
    )
