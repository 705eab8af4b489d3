"""The running average of the layers."""

from typing import NamedTuple

from ..core.network import Layer, Layers


class Average(NamedTuple):
    """Running average of the layers, and of how many; see `fit`.

    `waiting`: layers that join when the next batch has not found the step before them bad.

    >>> Average((), 3).taken
    3
    """

    layers: Layers
    taken: int
    waiting: Layers | None = None


MANY = 32  # layers that the average is about


def _averaged(average: Average, many: int) -> Average:
    """Return the running average with the waiting layers in it: of about the last `many`."""
    taken = average.taken + 1
    weight = 1 / min(taken, many)
    moved = (
        Layer(W + weight * (new_W - W), b + weight * (new_b - b))
        for (W, b), (new_W, new_b) in zip(average.layers, average.waiting or (), strict=True)
    )
    return Average(tuple(moved), taken, None)
