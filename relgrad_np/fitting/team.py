"""Who takes part in a fit: `Team` is one process, and says what several have to offer.

The loop asks its team whenever the answer depends on other processes, and so knows nothing of MPI.
`distributed.ranks.Ranks` overrides every method.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.arrays import Array, to_numpy
from ..rules.base import Rule, State, StepInfo
from .snapshots import Keeper, Snapshot

Counts = tuple[int, ...]  # how many rows of a batch each rank has


class Cut(Sequence[tuple[Any, Counts]]):
    """Rows cut into near equal batches, as `np.array_split` cuts: (rows, counts) of each.

    >>> [rows.tolist() for rows, _ in Cut(np.arange(5), 2)]
    [[0, 1, 2], [3, 4]]
    """

    def __init__(self, rows: Any, batches: int) -> None:
        self.rows, self.batches = rows, batches
        self.each, self.more = divmod(len(rows), batches)

    def __len__(self) -> int:
        """Return how many batches there are."""
        return self.batches

    def begins(self, i: int) -> int:
        """Return how many rows come before batch i."""
        return self.each * i + min(i, self.more)

    def __getitem__(self, i: Any) -> Any:
        """Return a batch, or a list of some."""
        if isinstance(i, slice):
            return [self[j] for j in range(*i.indices(self.batches))]
        if not 0 <= i < self.batches:
            raise IndexError(i)
        rows = self.rows[self.begins(i) : self.begins(i + 1)]
        return rows, (len(rows),)

    def alike(self, i: int, most: int) -> int:
        """Return how many batches from i on, at most so many, have the size of that one."""
        end = self.more if i < self.more else self.batches
        return min(most, end - i)


class Team:
    """The processes that share a fit, here a single one; `rank` is the number of this one.

    >>> Team().total(3), Team().rank
    (3, 0)
    """

    rank = 0

    # before the first step

    def implementation(self, name: Any) -> Any:
        """Return which `train_step` the fit uses; ValueError if its steps can't be shared."""
        return name

    def total(self, count: int) -> int:
        """Return how many rows all ranks have, of which this one has `count`."""
        return count

    def agree(
        self,
        terms: dict[str, str],
        state: State,
        rng: np.random.Generator,
        rule: Rule,
        N: int,
        batches: int,
        resume: Snapshot | None,
    ) -> None:
        """Compare what each rank was asked for; ValueError if they can't fit together.

        An epoch has N rows in so many batches. `terms` is completed by what other ranks have.
        """

    def keeper(self, keeper: Keeper | None) -> Keeper | None:
        """Return the keeper of snapshots that the loop asks on this rank."""
        return keeper

    # which rows this rank works on

    def cut(self, rows: Any, rng: np.random.Generator | None, batches: int) -> Sequence[Any]:
        """Cut an epoch's rows into batches, shuffled if there is a rng: (rows, counts) of each."""
        return Cut(rows if rng is None else rows[rng.permutation(len(rows))], batches)

    def part(self, rows: Any, counts: Counts) -> Any:
        """Return this rank's part of a batch's rows."""
        return rows

    def sees_all(self) -> bool:
        """Return whether each rank can read the rows of all."""
        return True

    def validation_part(self, X_val: Array | None) -> Array | None:
        """Return this rank's part of the validation rows."""
        return X_val

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        """Return the generator from which this rank's `transform` draws."""
        return rng

    # while they step

    def step(
        self,
        step_alone: Callable[..., tuple[State, StepInfo]],
        state: State,
        X: Array,
        counts: Counts,
        **options: Any,
    ) -> tuple[State, StepInfo]:
        """Take a step on a batch of which this rank has the rows X.

        `step_alone` is the `train_step` of one process, and `options` are its other arguments.
        """
        return step_alone(state, X, **options)

    def mean(self, values: Array) -> float:
        """Return the mean of values of which this rank has these."""
        return float(np.mean(to_numpy(values)))

    def gather(self, numbers: Any) -> Any:
        """Return these float64 numbers (m,) of every rank, (ranks, m)."""
        return np.asarray([numbers])

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return flag


def team_of(comm: Any) -> Team:
    """Return the team that a fit is given, or one process if it is None; else TypeError.

    >>> team_of(None).rank
    0
    """
    if comm is None:
        return Team()
    if not isinstance(comm, Team):
        raise TypeError(
            f"`comm` must be a team, such as `distributed.ranks.Ranks(comm)`, got "
            f"{type(comm).__name__}; only `relgrad_np.fit` takes a communicator as it is"
        )
    return comm
