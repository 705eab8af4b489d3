"""What is kept from one step to the next: memory, and what has been looked up already."""

import ctypes
import threading
import weakref
from typing import Any, NamedTuple

import numpy as np

from ...core.network import Layer

Array = Any
SHAPES = 4  # shapes of batches for which memory is kept: in an epoch there are two
LOANS = 4  # arrays of factors for which memory is kept: `fit` holds those of two steps


class Lender:
    """Lends memory for the factors of a step, and lends it again once nobody holds them.

    Each array that is lent is a new one, made over memory of the lender. Whatever is cut out of it
    keeps it alive, as NumPy's views keep their base. So when the weak reference to it is dead, no
    factor of that step is left, and its memory may be written to. Callers may keep the factors of
    as many steps as they like: where all memory is out, an array gets memory of its own.

    >>> lender = Lender((2, 3), np.dtype("float64"))
    >>> one = lender.lend()[0]
    >>> two = lender.lend()
    >>> np.shares_memory(one, two)
    False
    >>> address, one = one.ctypes.data, None
    >>> lender.lend().ctypes.data == address
    True
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype
        self.memories: list[Any] = []
        self.borrowers: list[Any] = []  # weak references to the arrays over the memories

    def lend(self) -> Array:
        """Return an array, not initialised, that shares its memory with no other in use."""
        for i, borrower in enumerate(self.borrowers):
            if borrower() is None:
                array = np.ndarray(self.shape, self.dtype, self.memories[i])
                self.borrowers[i] = weakref.ref(array)
                return array
        if len(self.memories) == LOANS:
            return np.empty(self.shape, self.dtype)
        # the base of a view is the array that was lent only if that one's own base is no array
        memory: Any = np.empty(self.shape, self.dtype)
        self.memories.append((ctypes.c_byte * memory.nbytes).from_buffer(memory))
        self.borrowers.append(lambda: None)
        return self.lend()


class Workspace(NamedTuple):
    """Memory for batches of one shape."""

    scratch: Array  # (2 max(L - 1, 1) + 1, N, D): Z, then sigma' of the Ys, then (log sigma')'
    lender: Lender  # of arrays (2, L, 2, N, D): [Y; Delta] and [A; Delta @ W] of each layer
    equal: tuple[Array, bool]  # 1 / N, (1, N), and that they are all equal: no weights
    neutral: tuple[Any, ...]  # no charts, see `whole_step`: zeros, and ones as gain
    rows: tuple[Any, Any]  # lists of L read-only rows of them, for the factors


class PreparedStep(NamedTuple):
    """What a step has looked up, so that the next one on the layers it returned needn't.

    `shape`: that of X, (N, D), or with context (N, D + c). It refers to W weakly, so that it keeps
    no gigabytes alive. b is a row of `layers`' b (L, D), or (L, D, c + 1), and both W and b are
    changed in place.
    """

    activation: Any
    density: Any
    rule: type
    shape: tuple[int, int]
    dtype: Any
    Ws: tuple[Any, ...]
    bs: tuple[Array, ...]
    layers: tuple[Array, Array]  # see `records.LayerArrays`
    formulas: tuple[int, Array, int, Array]
    workspace: Workspace
    use: Any  # a recipe's constants, and these as arrays, see `records.Charts`
    constants: tuple[Array, ...]
    seen: Any  # what it has seen, as it was returned, and as two arrays
    stacked: tuple[Array, Array]

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many layers, dimensions, and numbers of a bias for each: L, D, and 1 or c + 1."""
        L, D, *wide = self.layers[1].shape
        return L, D, wide[0] if wide else 1

    def holds(self, state: Any, X: Array, activation: Any, density: Any, rule: Any) -> bool:
        """Say whether all of it is still so."""
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


class ThreadCache(threading.local):
    """The workspaces of one thread, and what its last step has prepared."""

    def __init__(self) -> None:
        self.workspaces: dict[Any, Workspace] = {}
        self.prepared: PreparedStep | None = None

    def workspace(self, L: int, N: int, D: int, dtype: Any) -> Workspace:
        """Return the workspace of this shape."""
        key = L, N, D, dtype.char
        if (found := self.workspaces.pop(key, None)) is None:
            while len(self.workspaces) >= SHAPES:
                del self.workspaces[next(iter(self.workspaces))]
            rows, ones = np.zeros((3, 5, L, D), dtype), np.ones((L, D), dtype)
            each, few, zeros = np.zeros((4, L), dtype), np.zeros((3, 3, L), dtype), rows[0, 0]
            zero, one = (np.broadcast_to(x, (D,)) for x in (zeros[0], ones[0]))
            found = Workspace(
                scratch=np.empty((2 * max(L - 1, 1) + 1, N, D), dtype),
                lender=Lender((2, L, 2, N, D), dtype),
                equal=(np.full((1, N), 1.0 / N, dtype), True),
                neutral=(zeros, ones, ones, each, ones, rows, few, 0),
                rows=([zero] * L, [one] * L),
            )
        self.workspaces[key] = found
        return found

    def prepare(
        self, layers: Any, X: Array, activation: Any, density: Any, rule: Any, formulas: Any
    ) -> tuple[PreparedStep, Any]:
        """Look everything up; return that, and the layers: W as it is if it may be changed."""
        Ws = [changeable(W) for W, _ in layers]
        if len(set(map(id, Ws))) < len(Ws):  # one array as the W of two layers
            Ws = [W.copy() for W in Ws]
        b = np.array([b for _, b in layers])  # (L, D), or (L, D, c + 1)
        own = tuple(map(Layer, Ws, b))
        prepared = PreparedStep(
            activation, density, type(rule), X.shape, X.dtype,
            Ws=tuple(weakref.ref(W) for W in Ws), bs=tuple(row for _, row in own),
            layers=(np.array([W.ctypes.data for W in Ws]), b), formulas=formulas,
            workspace=self.workspace(len(Ws), X.shape[0], b.shape[1], X.dtype), use=None,
            constants=(), seen=None, stacked=(b, b),
        )  # fmt: skip
        return prepared, own


def changeable(W: Array) -> Array:
    """Return W itself if it may be changed in place, else a copy."""
    return W if W.flags.carray else np.array(W, order="C")
