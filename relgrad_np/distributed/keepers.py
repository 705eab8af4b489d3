"""Keepers of snapshots for several ranks: rank 0 writes, and a signal to one rank stops all."""

from collections.abc import Sequence

from ..fitting.snapshots import Keeper, Snapshot


class SilentKeeper:
    """A keeper that writes nothing, for ranks other than 0; a signal handler sets its `stop`.

    >>> SilentKeeper().due(0, end=True)
    False
    """

    stop: int | None = None

    def due(self, t: int, end: bool) -> bool:
        """Return False: this rank writes no snapshot."""
        return False

    def write(self, snapshot: Snapshot) -> None:
        """Write nothing."""


class SharedKeeper:
    """The keeper of each rank's loop: it writes on rank 0, and stops when all have heard it.

    `own` is the keeper that this rank's fit was given. Its `stop` is what this rank was asked for,
    the number of a signal; `stop` here is what all ranks know, and changes on all at the same step.

    >>> keeper = SharedKeeper(None, rank=1)
    >>> keeper.hear([-1.0, 15.0]), keeper.stop
    (None, 15)
    """

    def __init__(self, own: Keeper | None, rank: int) -> None:
        self.own, self.rank = own, rank
        self.stop: int | None = None

    @property
    def asked(self) -> float:
        """The number of the signal that asked this rank to stop, -1 for none."""
        return -1.0 if self.own is None or self.own.stop is None else float(self.own.stop)

    def hear(self, asked: Sequence[float]) -> None:
        """Stop if a rank was asked to; `asked` has the number of each."""
        if self.stop is None and max(asked) >= 0:
            self.stop = int(max(asked))

    def wants_epoch(self) -> bool:
        """Say whether the keeper of this rank wants to be told of an epoch's end."""
        wants = getattr(self.own, "wants_epoch", None)
        return wants is None or bool(wants())

    def due(self, t: int, end: bool) -> bool:
        """Say whether this rank should write a snapshot now."""
        if self.rank > 0 or self.own is None:
            return False
        return self.own.due(t, end) or self.stop is not None

    def write(self, snapshot: Snapshot) -> None:
        """Write it."""
        if self.own is not None:
            self.own.write(snapshot)
