"""Who sees a fit from outside while it goes on."""

from collections.abc import Callable
from typing import Any, NamedTuple

from ..rules.base import State
from .records import Epoch
from .snapshots import Keeper, Snapshot


class Watched(NamedTuple):
    """Callbacks, whether there is a bar, a keeper of snapshots, and the one to go on from.

    >>> Watched().progress
    False
    """

    callbacks: tuple[Callable[[Epoch, State], Any], ...] = ()
    progress: bool = False
    keeper: Keeper | None = None
    resume: Snapshot | None = None
