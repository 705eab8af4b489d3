"""Ranks that are threads of this process, so that what MPI would do wrong is seen in milliseconds.

`World(n)` has a communicator for each. The n-th collective call of a rank meets the n-th of all
others; calls of another kind never end, as in MPI. `Abort` ends all threads: their next call
raises `AbortedError`, and the first line that was printed is `World.lines`.
"""

import pickle
import threading
from collections import defaultdict

import numpy as np


class AbortedError(BaseException):
    """What ends a thread of a job that has been aborted."""


class World:
    def __init__(self, n):
        self.n, self.lock = n, threading.RLock()
        self.calls = defaultdict(dict)  # by number: rank -> (kind, what it sends)
        self.letters = defaultdict(list)  # by (source, dest)
        self.over = threading.Event()

    def run(self, function, limit=20.0):
        """Run function(comm) on each rank; return what each returned or raised, in their order.

        A rank that is still at work after `limit` seconds is "hangs".
        """
        ends = ["hangs"] * self.n

        def one(rank):
            try:
                ends[rank] = function(Comm(self, rank))
            except BaseException as error:
                ends[rank] = error

        threads = [threading.Thread(target=one, args=(r,), daemon=True) for r in range(self.n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(limit)
        return ends


class Comm:
    def __init__(self, world, rank):
        self.world, self.rank, self.number = world, rank, 0

    def Get_size(self):
        return self.world.n

    def Get_rank(self):
        return self.rank

    def Iallgatherv(self, x, received):
        buffer, sizes = received
        assert sum(sizes) == buffer.size
        assert x.size == sizes[self.rank]
        return self._call("gather", x, lambda parts: buffer.reshape(-1).__setitem__(
            slice(None), np.concatenate([part.reshape(-1) for part in parts])
        ))  # fmt: skip

    def Iallgather(self, x, buffer):
        return self._call("all", x, lambda parts: buffer.__setitem__(slice(None), parts))

    def Ialltoall(self, parts, received):
        rank = self.rank
        return self._call(
            "some", parts, lambda all_: received.__setitem__(slice(None), [p[rank] for p in all_])
        )

    def isend(self, value, dest, tag):
        self.world.letters[self.rank, dest].append(pickle.dumps(value))
        return Done()

    def Iprobe(self, source, tag):
        return bool(self.world.letters[source, self.rank])

    def recv(self, source, tag):
        return pickle.loads(self.world.letters[source, self.rank].pop(0))

    def Abort(self, code):
        self.world.over.set()
        raise AbortedError(code)

    def _call(self, kind, sent, take):
        number, self.number = self.number, self.number + 1
        with self.world.lock:
            self.world.calls[number][self.rank] = kind, np.array(sent)
        return Request(self.world, number, take)


class Request:
    def __init__(self, world, number, take):
        self.world, self.number, self.take = world, number, take

    def Test(self):
        if self.world.over.is_set():
            raise AbortedError
        with self.world.lock:
            entered = self.world.calls[self.number]
            if len(entered) < self.world.n or len({kind for kind, _ in entered.values()}) > 1:
                return False
            if self.take is not None:
                self.take([entered[rank][1] for rank in range(self.world.n)])
                self.take = None
        return True


class Done:
    def Test(self):
        return True
