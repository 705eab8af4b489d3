"""The running average of the layers: calmer than any of them while the steps are noisy."""

import math
from typing import NamedTuple

from ..core.arrays import copied
from ..core.network import Layers
from ..core.trees import each_array
from ..kernels.plans import Joining, Taken

MANY = 32  # layers that the average is about, where the steps are enough


class Average(NamedTuple):
    """Running average of the layers, and of how many; see `fit`.

    `waiting`: layers that join when the next batch has not found the step before them bad.
    """

    layers: Layers
    taken: int
    waiting: Layers | None = None


def spacing(horizon: float, N: int, D: int) -> int:
    """Return after how many steps on batches of N rows the layers join the average.

    About `MANY` of them in the horizon, but so few that, where D is large, averaging takes at most
    one twentieth of the time. It goes over D^2 numbers a few times; a step computes and goes over
    them, too. Times of one layer in microseconds, as measured on one core: only ratios matter.

    >>> spacing(3200, 200, 64), spacing(50, 10, 784), spacing(50, 200, 784)
    (100, 20, 3)
    """
    averaging = 2e-3 * D**2
    step = 40 + N * D * (1.5e-2 + 1.5e-4 * D) + 2.3e-3 * D**2
    return max(1, round(horizon / MANY), math.ceil(40 * averaging / step))


class RunningAverage:
    """Averages the layers of about the last `horizon` steps; with a horizon below 1 none.

    `layers`: the start, which nobody will change; `N`: rows of a batch.
    """

    def __init__(self, layers: Layers, horizon: float, N: int) -> None:
        self.every = spacing(horizon, N, layers[0].b.shape[0])
        self.many = max(1, round(horizon / self.every))
        self.average = Average(layers, 0, None) if horizon >= 1 else None

    def wants(self, t: int) -> bool:
        """Say whether the layers after step t are to be offered."""
        return self.average is not None and t % self.every == 0

    def offer(self, layers: Layers) -> None:
        """Let a copy of the layers wait until a batch has judged their step."""
        if self.average is not None:
            self.average = self.average._replace(waiting=each_array(copied, layers))

    def forget(self) -> None:
        """Drop the layers that wait: their step is undone."""
        if self.average is not None:
            self.average = self.average._replace(waiting=None)

    def restart(self, layers: Layers) -> None:
        """Begin anew from these layers, as at the start."""
        if self.average is not None:
            self.average = Average(layers, 0, None)

    def confirm(self) -> None:
        """Take the layers that wait into the average: their step was not bad."""
        if self.average is not None and self.average.waiting is not None:
            self.average = averaged(self.average, self.many)

    def joining(self) -> Joining | None:
        """Return what kernels need to let layers join it, or None where there is no average."""
        if self.average is None:
            return None
        layers, taken, waiting = self.average
        return Joining(self.every, self.many, taken, waiting is not None, layers, waiting)

    def note_many(self, taken: Taken) -> None:
        """Take over what many steps have made of it; the last layers may have to wait."""
        if self.average is None:
            return
        new = taken.average if taken.joined > self.average.taken else self.average.layers
        self.average = Average(new or self.average.layers, taken.joined, None)
        if taken.waiting:
            self.offer(taken.state.layers)

    @property
    def layers(self) -> Layers | None:
        """The average, once something is in it."""
        return self.average.layers if self.average is not None and self.average.taken else None


def averaged(average: Average, many: int) -> Average:
    """Return the running average with the waiting layers in it: of about the last `many`.

    It takes the memory of the waiting layers: at this size a new array costs a product.

    >>> import numpy as np
    >>> from relgrad_np import Layer
    >>> one, two = ((Layer(np.full((1, 1), x), np.zeros(1)),) for x in (1.0, 3.0))
    >>> averaged(Average(one, 1, two), 10).layers[0].W
    array([[2.]])
    """
    taken = average.taken + 1
    weight = 1 / min(taken, many)
    moved = []
    for pair in zip(average.layers, average.waiting or (), strict=True):
        for old, new in zip(*pair, strict=True):
            new -= old
            new *= weight
            new += old
        moved.append(pair[1])
    return Average(tuple(moved), taken, None)
