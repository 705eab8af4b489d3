"""Who keeps snapshots on which rank."""

from typing import Any

from ..fitting.snapshots import Snapshot


class _Shared:
    """A keeper on every rank: the one on rank 0 writes, `stop` is what all ranks agreed on."""

    def __init__(self, ranks: Any) -> None:
        self.ranks = ranks

    @property
    def stop(self) -> int | None:
        stop: int | None = self.ranks.stop
        return stop

    @stop.setter
    def stop(self, number: int | None) -> None:
        self.ranks.stop = number

    def due(self, t: int, end: bool) -> bool:
        keeper = self.ranks._keeper if self.ranks.rank == 0 else None
        return keeper is not None and (keeper.due(t, end) or self.stop is not None)

    def write(self, snapshot: Snapshot) -> None:
        if self.ranks._keeper is not None:
            self.ranks._keeper.write(snapshot)


class Listener:
    """Stands for a keeper on ranks that write nothing, for what a signal handler says.

    >>> Listener().stop is None
    True
    """

    def __init__(self) -> None:
        self.stop: int | None = None

    def due(self, t: int, end: bool) -> bool:
        """Never."""
        return False

    def write(self, snapshot: Snapshot) -> None:
        """Write nothing."""
