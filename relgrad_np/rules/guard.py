"""What batches' log-likelihoods usually are, and when one shows that the step before it was bad.

Numbers in, numbers out: `fit` calls these functions, and the kernels compile them.
"""

from typing import Any

EARLY = 20  # batches from which the guard learns what is usual
MEMORY = 50  # batches after which it forgets


def fell(seen: Any, mean: Any, deviation: Any, undo: Any, value: Any) -> Any:
    """Return whether this log-likelihood is `undo` mean deviations below the running mean.

    Never within the first `EARLY` batches that were `seen`.

    >>> fell(19.0, -3.0, 0.1, 30.0, -7.0), fell(20.0, -3.0, 0.1, 30.0, -7.0)
    (False, True)
    """
    return seen >= EARLY and mean - value > undo * deviation


def learned(seen: Any, mean: Any, deviation: Any, caution: Any, value: Any) -> Any:
    """Return the same four numbers when this log-likelihood has been seen, too.

    `caution`, the factor of the step size, grows by 2 % up to 1.

    >>> learned(0.0, 0.0, 0.0, 0.5, -3.0)
    (1.0, -3.0, 0.0, 0.51)
    """
    weight = max(1 / (seen + 1), 1 / MEMORY)
    off = abs(value - mean) if seen > 0 else 0.0
    return (
        seen + 1,
        mean + weight * (value - mean),
        deviation + weight * (off - deviation),
        min(1.0, 1.02 * caution),
    )
