"""What lasts from one step to the next: scratch memory, and what has been looked up already."""

import sys
import threading
import weakref
from typing import Any, NamedTuple

import numpy as np

from ...core.network import Layer

Array = Any
_LENT = [np.empty(0)]
FREE = sys.getrefcount(_LENT[0])  # of an array that only a list holds
ROOMS = 4  # shapes for which scratch memory is kept: batches come in two sizes


class Room(NamedTuple):
    """Scratch memory for one shape, and buffers that are handed out while nobody holds them."""

    scratch: Array  # (2 max(L - 1, 1) + 1, N, D): Z, then sigma' of the Ys, then (log sigma')'
    share: Array  # (N,), 1 / N
    zeros: Array  # (L, D)
    ones: Array
    same: tuple[list[Array], list[Array]]  # read-only rows of them, to be handed out
    lent: list[Array]

    def buffer(self, parts: int, L: int) -> Array:
        """Return an array (parts, L, 2, N, D) that nobody else holds, old if there is one."""
        shape = parts, L, 2, *self.scratch.shape[1:]
        for i in range(len(self.lent)):
            if sys.getrefcount(self.lent[i]) == FREE and self.lent[i].shape == shape:
                return self.lent[i]
        made = np.empty(shape, self.scratch.dtype)
        if len(self.lent) < 4:
            self.lent.append(made)
        return made


class Plan(NamedTuple):
    """What a step has found out, for the next one on the layers that it returned.

    W is referred to weakly: a plan must not keep gigabytes alive. b is B's row, in place as W.
    """

    activation: Any
    density: Any
    rule: type
    shape: tuple[int, int]
    dtype: Any
    Ws: tuple[Any, ...]
    bs: tuple[Array, ...]
    B: Array  # (L, D)
    places: Array  # (L,), the addresses of the Ws
    constants: tuple[int, Array, int, Array]
    room: Room
    running: Any  # what the rule carries, as it was returned, and as one array
    moments: Array

    def holds(self, state: Any, X: Array, activation: Any, density: Any, rule: Any) -> bool:
        """Say whether all this still is so: then nothing needs to be looked at again."""
        if (
            type(X) is not np.ndarray
            or X.shape != self.shape
            or X.dtype is not self.dtype
            or activation is not self.activation
            or density is not self.density
            or type(rule) is not self.rule
            or len(state.layers) != len(self.bs)
            or (state.tracked is not None and state.tracked.inverse is not None)
        ):
            return False
        for (W, b), known, row in zip(state.layers, self.Ws, self.bs, strict=True):
            if W is not known() or b is not row or not W.flags.writeable:
                return False
        return True


class Rooms(threading.local):
    """The rooms, and the plan of the last step, of one thread."""

    def __init__(self) -> None:
        self.known: dict[Any, Room] = {}
        self.plan: Plan | None = None

    def room(self, L: int, N: int, D: int, dtype: Any) -> Room:
        """Return the room for this shape."""
        key = L, N, D, dtype.char
        if (found := self.known.pop(key, None)) is None:
            while len(self.known) >= ROOMS:
                del self.known[next(iter(self.known))]
            scratch = np.empty((2 * max(L - 1, 1) + 1, N, D), dtype)
            zeros, ones = np.zeros((L, D), dtype), np.ones((L, D), dtype)
            zero, one = (np.broadcast_to(x[0], (D,)) for x in (zeros, ones))
            same = ([zero] * L, [one] * L)
            found = Room(scratch, np.full(N, 1.0 / N, dtype), zeros, ones, same, [])
        self.known[key] = found
        return found

    def planned(
        self, layers: Any, X: Array, activation: Any, density: Any, rule: Any, constants: Any
    ) -> tuple[Plan, Any]:
        """Return a plan, and the layers that it is about: W as it is if it may be changed."""
        Ws = [changeable(W) for W, _ in layers]
        if len(set(map(id, Ws))) < len(Ws):  # one array as the W of two layers
            Ws = [W.copy() for W in Ws]
        B = np.array([b for _, b in layers])  # (L, D)
        own = tuple(map(Layer, Ws, B))
        return Plan(
            activation, density, type(rule), X.shape, X.dtype,
            tuple(weakref.ref(W) for W in Ws), tuple(b for _, b in own), B,
            np.array([W.ctypes.data for W in Ws]), constants,
            self.room(len(Ws), len(X), len(B[0]), X.dtype), None, B,
        ), own  # fmt: skip


def changeable(W: Array) -> Array:
    """Return W itself if it may be changed in place, else a copy."""
    return W if W.flags.carray else np.array(W, order="C")
