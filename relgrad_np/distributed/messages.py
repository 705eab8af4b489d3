"""Arrays between ranks: rows gathered, sums taken in the order of the ranks; all of it counted.

Nothing here waits before the result is asked for, so that the ranks compute meanwhile. MPI moves
the bytes; this module imports none of it, it is handed a communicator (mpi4py's interface).
NumPy arrays go as they lie. CuPy arrays go as they lie where the MPI reads device memory, else
through the host, as those of every other library do.
"""

import os
import time
from typing import Any, NamedTuple

import array_api_compat as compat
import numpy as np

from ..core.arrays import Array, from_numpy, to_numpy

AWARE = {  # what tells that an MPI reads device memory: a variable and its value
    "MPICH_GPU_SUPPORT_ENABLED": "1",  # Cray MPICH
    "MV2_USE_CUDA": "1",  # MVAPICH2-GDR
    "OMPI_MCA_opal_cuda_support": "true",  # Open MPI, set by its mpiexec
}


SPINS = 200  # questions that a rank asks before it leaves the processor to others


class Waited(NamedTuple):
    """One wait, in seconds of the machine's clock: sent off, first waited for, there.

    >>> Waited(0.0, 1.0, 3.0).there
    3.0
    """

    posted: float
    entered: float
    there: float


def reads_devices() -> bool:
    """Say whether the environment declares the MPI to be CUDA-aware.

    >>> reads_devices()
    False
    """
    return any(os.environ.get(name) == value for name, value in AWARE.items())


class Wire:
    """What a rank sends and receives; `sent` counts the bytes that leave it, `waits` is a log.

    `cuda_aware`: None asks the environment, see `AWARE`. In a gather each rank's rows leave it
    n - 1 times, as in a ring; in a sum each of n - 1 parts twice, once as it is, once summed.
    """

    def __init__(self, comm: Any, cuda_aware: bool | None = None) -> None:
        self.comm, self.rank, self.n = comm, int(comm.Get_rank()), int(comm.Get_size())
        self.cuda_aware = reads_devices() if cuda_aware is None else cuda_aware
        self.sent = 0
        self.waits: list[Waited] | None = None  # a list: log into it
        self._open: list[Pending] = []

    def gather(self, x: Array, counts: tuple[int, ...]) -> "Pending":
        """Start to gather rows: x (counts[rank], ...) of each rank, to all in one array."""
        x = self._leaving(x)
        whole = _empty_like(x, (sum(counts), *x.shape[1:]))
        width = int(np.prod(x.shape[1:], dtype=int))
        sizes = [count * width for count in counts]
        self.sent += (self.n - 1) * sizes[self.rank] * x.dtype.itemsize
        request = self.comm.Iallgatherv(x, [whole, sizes])
        return self._opened(Pending(self, request, x, whole))

    def add(self, x: Array) -> "Pending":
        """Start to sum x of all ranks: part r of n on rank r, for all parts in the ranks' order."""
        x = self._leaving(x)
        m = -(-x.size // self.n)  # numbers in a part; the last may be filled up
        parts, theirs = np.zeros((2, self.n, m), x.dtype)
        parts.reshape(-1)[: x.size] = to_numpy(x).reshape(-1)
        self.sent += 2 * (self.n - 1) * m * x.dtype.itemsize
        return self._opened(PendingSum(self, self.comm.Ialltoall(parts, theirs), parts, theirs))

    def poke(self) -> None:
        """Let MPI move what is under way: without a thread of its own it needs to be asked."""
        for pending in self._open:
            pending.request.Test()

    def _opened(self, pending: "Pending") -> "Pending":
        self._open.append(pending)
        return pending

    def _leaving(self, x: Array) -> Array:
        """Return the contiguous array that MPI reads: on the device if it can, else on the host."""
        if compat.is_cupy_array(x) and self.cuda_aware:
            xp = compat.array_namespace(x)
            x = xp.ascontiguousarray(x)
            xp.cuda.get_current_stream().synchronize()  # MPI knows nothing of streams
            return x
        return np.ascontiguousarray(to_numpy(x))


class Pending:
    """Something under way; `result` waits for it."""

    def __init__(self, wire: Wire, request: Any, sending: Array, buffer: Array) -> None:
        self.wire, self.request, self.buffer = wire, request, buffer
        self.sending = sending  # MPI reads it until the end: it must not be freed
        self.posted = time.perf_counter()

    def settle(self) -> None:
        """Wait for the part of the work after which other messages may be posted."""

    def result(self, like: Array) -> Array:
        """Wait; return the array in the library and on the device of `like`."""
        self._wait()
        return self.buffer if type(self.buffer) is type(like) else from_numpy(self.buffer, like)

    def _wait(self) -> None:
        entered, tries = time.perf_counter(), 0
        while not self.request.Test():
            tries += 1
            if tries < SPINS:
                os.sched_yield()
            else:  # there may be more ranks than processors
                time.sleep(2e-5)
        if self.wire.waits is not None:
            there = time.perf_counter()
            self.wire.waits.append(Waited(self.posted, entered, there))
        self.wire._open.remove(self)


class PendingSum(Pending):
    """A sum under way, in two parts: to whom it belongs, and to all."""

    def settle(self) -> None:
        """Wait for the parts of this rank, sum them in the order of ranks, send the sum to all."""
        self._wait()
        mine = self.buffer[0]
        for theirs in self.buffer[1:]:
            mine += theirs
        whole = np.empty_like(self.buffer)
        self.request = self.wire.comm.Iallgather(mine, whole)
        self.sending, self.buffer, self.posted = mine, whole, time.perf_counter()
        self.wire._opened(self)

    def result(self, like: Array) -> Array:
        """Wait; return the sum, in the shape and library of `like`."""
        self._wait()
        size = int(np.prod(like.shape, dtype=int))
        return from_numpy(self.buffer.reshape(-1)[:size].reshape(like.shape), like)


def _empty_like(x: Array, shape: tuple[int, ...]) -> Array:
    """Return an empty array of the library and dtype of x, on its device."""
    return compat.array_namespace(x).empty(shape, dtype=x.dtype, device=compat.device(x))
