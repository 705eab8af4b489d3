"""Arrays between ranks: rows are gathered, sums are taken in the order of the ranks.

Every call returns before its message has arrived, so that a rank computes while it waits for the
others. MPI moves the bytes. This module does not import it: it is given a communicator with the
interface of mpi4py. MPI reads NumPy arrays where they lie. It reads CuPy arrays where they lie if
it can read device memory; otherwise they go through the host, as arrays of other libraries do.
"""

import os
import pickle
import time
from typing import Any, NamedTuple

import array_api_compat as compat
import numpy as np

from ..core.arrays import Array, from_numpy, to_numpy
from .waiting import SECONDS, Watchdog, end_job

# an MPI that reads device memory sets one of these variables to this value
CUDA_AWARE = {
    "MPICH_GPU_SUPPORT_ENABLED": "1",  # Cray MPICH
    "MV2_USE_CUDA": "1",  # MVAPICH2-GDR
    "OMPI_MCA_opal_cuda_support": "true",  # Open MPI, set by its mpiexec
}


class Wait(NamedTuple):
    """When a message was posted, when this rank began to wait for it, and when it had arrived.

    All three are in seconds of the machine's clock.
    """

    posted: float
    began: float
    arrived: float


def reads_devices() -> bool:
    """Say whether the environment declares the MPI to be CUDA-aware.

    >>> reads_devices()
    False
    """
    return any(os.environ.get(name) == value for name, value in CUDA_AWARE.items())


class Messages:
    """Sends and receives arrays for one rank, and counts the bytes that it sends.

    `cuda_aware` says whether MPI reads device memory; None asks the environment. `sent` is the
    number of bytes so far. In a gather each rank sends its rows to n - 1 others. In a sum it sends
    each of n - 1 parts twice: as it is, and summed. `waits` is a log if it is set to a list.
    `seconds`: how long a rank may be missing, see `waiting`.
    """

    def __init__(
        self, comm: Any, cuda_aware: bool | None = None, seconds: float | None = SECONDS
    ) -> None:
        self.comm, self.rank, self.n = comm, int(comm.Get_rank()), int(comm.Get_size())
        self.watchdog = Watchdog(comm, seconds)
        self.cuda_aware = reads_devices() if cuda_aware is None else cuda_aware
        self.sent = 0
        self.waits: list[Wait] | None = None
        self.under_way: list[Pending] = []

    def gather(self, x: Array, counts: tuple[int, ...]) -> "Pending":
        """Begin to gather the rows x (counts[rank], ...) of each rank in one array on all ranks."""
        x = self.readable(x)
        everything = _empty_like(x, (sum(counts), *x.shape[1:]))
        width = int(np.prod(x.shape[1:], dtype=int))
        sizes = [count * width for count in counts]
        self.sent += (self.n - 1) * sizes[self.rank] * x.dtype.itemsize
        request = self.comm.Iallgatherv(x, [everything, sizes])
        return Pending(self, request, x, everything)

    def sum(self, x: Array) -> "PendingSum":
        """Begin to sum the x of all ranks: rank r receives part r of n from each, and adds them."""
        x = self.readable(x)
        size = -(-x.size // self.n)  # numbers in a part; zeros fill the last one up
        parts, received = np.zeros((2, self.n, size), x.dtype)
        parts.reshape(-1)[: x.size] = to_numpy(x).reshape(-1)
        self.sent += 2 * (self.n - 1) * size * x.dtype.itemsize
        return PendingSum(self, self.comm.Ialltoall(parts, received), parts, received)

    def objects(self, value: Any) -> list[Any]:
        """Return the value of each rank, any Python object; the ranks are known to each other.

        An error before the ranks meet is raised. After that, it ends the job: the others have gone
        on, and don't come back to hear of it.
        """
        data = np.frombuffer(pickle.dumps(value), np.uint8)
        size, sent = np.array([len(data)]), self.sent
        try:
            sizes = tuple(map(int, self.gather(size, (1,) * self.n).result(size)))
            everything = self.gather(data, sizes).result(data)
            self.sent, ends = sent, np.cumsum(sizes)  # only arrays are counted
            parts = zip(ends - sizes, ends, strict=True)
            return [pickle.loads(everything[begin:end].data) for begin, end in parts]
        except Exception as error:
            end_job(self.comm, f"rank {self.rank}: {type(error).__name__} in a message: {error}")

    def progress(self) -> None:
        """Let MPI make progress: without a thread of its own it moves bytes only when asked."""
        for pending in self.under_way:
            pending.request.Test()

    def readable(self, x: Array) -> Array:
        """Return the contiguous array that MPI reads: on the device if it can, else on the host."""
        if compat.is_cupy_array(x) and self.cuda_aware:
            xp = compat.array_namespace(x)
            x = xp.ascontiguousarray(x)
            xp.cuda.get_current_stream().synchronize()  # MPI knows nothing of streams
            return x
        return np.ascontiguousarray(to_numpy(x))


class Pending:
    """A message under way; `result` waits for it."""

    def __init__(self, messages: Messages, request: Any, sending: Array, buffer: Array) -> None:
        self.messages = messages
        self._begin(request, sending, buffer)

    def result(self, like: Array) -> Array:
        """Wait; return the array in the library and on the device of `like`."""
        self._wait()
        return self.buffer if type(self.buffer) is type(like) else from_numpy(self.buffer, like)

    def _begin(self, request: Any, sending: Array, buffer: Array) -> None:
        self.request, self.buffer = request, buffer
        self.sending = sending  # MPI reads it until the end: it must not be freed
        self.posted = time.perf_counter()
        self.messages.under_way.append(self)

    def _wait(self) -> None:
        began = time.perf_counter()
        self.messages.watchdog.wait(self.request)
        if self.messages.waits is not None:
            self.messages.waits.append(Wait(self.posted, began, time.perf_counter()))
        self.messages.under_way.remove(self)


class PendingSum(Pending):
    """A sum under way: first `reduce` adds the part of this rank, then `result` has all parts."""

    def reduce(self) -> None:
        """Wait for this rank's part of every rank, add them in rank order, send the sum to all."""
        self._wait()
        part = self.buffer[0]
        for addend in self.buffer[1:]:
            part += addend
        everything = np.empty_like(self.buffer)
        self._begin(self.messages.comm.Iallgather(part, everything), part, everything)

    def result(self, like: Array) -> Array:
        """Wait; return the sum, in the shape and library of `like`."""
        self._wait()
        size = int(np.prod(like.shape, dtype=int))
        return from_numpy(self.buffer.reshape(-1)[:size].reshape(like.shape), like)


def _empty_like(x: Array, shape: tuple[int, ...]) -> Array:
    """Return an empty array of the library and dtype of x, on its device."""
    return compat.array_namespace(x).empty(shape, dtype=x.dtype, device=compat.device(x))
