"""The running average of the layers, beside the steps: as `fitting.average`, rounding included.

Layers join it when the batch after their step has not found that step bad. They have not moved
until then, so that no copy of them has to wait.
"""

from typing import Any

from .bias import flat
from .compile import exact, matrix
from .stored import compiled


@exact  # type: ignore[untyped-decorator]
def _made(new: Any, old: Any, now: Any, weight: Any) -> None:
    """Fill `new` with the average that is `weight` of the way from `old` to `now`."""
    for i in range(new.shape[0]):
        new[i] = (now[i] - old[i]) * weight + old[i]


@exact  # type: ignore[untyped-decorator]
def _moved(new: Any, now: Any, weight: Any) -> None:
    """Move `new` by `weight` of the way to `now`."""
    for i in range(new.shape[0]):
        new[i] = (now[i] - new[i]) * weight + new[i]


@compiled
def join(net: Any, like: Any, averaging: Any, taken: Any, first: Any) -> None:
    """Take the layers into the average as number `taken` of it.

    The `first` time in a call the average is made in its new memory: the old one is kept.
    """
    L, D = net.b.shape[0], net.b.shape[1]
    weight = like.dtype.type(1.0 / min(taken, averaging.many))
    for k in range(L):
        W = matrix(net.W[k], like, 1, D * D)[0]
        for part, now in ((0, W), (1, flat(net.b[k]))):
            new = matrix(averaging.new[part, k], like, 1, now.shape[0])[0]
            if first:
                _made(new, matrix(averaging.old[part, k], like, 1, now.shape[0])[0], now, weight)
            else:
                _moved(new, now, weight)
