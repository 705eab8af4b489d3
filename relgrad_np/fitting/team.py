"""One process that fits alone; `distributed.Ranks` has the same methods for several."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.arrays import Array, to_numpy
from ..rules.base import Rule, State
from .snapshots import Keeper, Snapshot

Counts = tuple[int, ...]  # rows of a batch on each rank


class Alone:
    """One process: nobody to agree with.

    >>> Alone().total(3), Alone().rank
    (3, 0)
    """

    rank = 0

    def total(self, count: int) -> int:
        """Return the sum over ranks."""
        return count

    def meet(
        self,
        terms: dict[str, str],
        state: State,
        rng: Any,
        rule: Rule,
        N: int,
        batches: int,
        resume: Snapshot | None,
    ) -> None:
        """Agree on everything before the first step."""

    def implementation(self, name: Any) -> Any:
        """Return which `train_step` to use."""
        return name

    def step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return the `train_step` that takes this rank's part of a batch."""
        return step

    def parts(self, rows_in: Any, rng: np.random.Generator, batches: int) -> list[Any]:
        """Shuffle an epoch and cut it; of each batch the rows, and how many each rank has."""
        order = rows_in[rng.permutation(len(rows_in))]
        return [(rows, (len(rows),)) for rows in np.array_split(order, batches)]

    def mine(self, rows: Any, counts: Counts) -> Any:
        """Return this rank's part of a batch's rows."""
        return rows

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        """Return what this rank's transform draws from."""
        return rng

    def extra(self, counts: Counts) -> dict[str, Any]:
        """Return what else `train_step` needs to know."""
        return {}

    def mean(self, values: Array) -> float:
        """Return the mean of values (N,), some on each rank."""
        return float(np.mean(to_numpy(values)))

    def own(self, X: Array | None) -> Array | None:
        """Return this rank's part of validation rows."""
        return X

    def any(self, said: bool) -> bool:
        """Say whether a rank said so."""
        return said

    def keeper(self, keeper: Keeper | None) -> Keeper | None:
        """Return who keeps snapshots on this rank."""
        return keeper
