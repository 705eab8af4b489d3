"""Waiting for other ranks, with a watchdog: who waits says so, and who says nothing is missing.

A collective call ends on a rank once every rank has entered it. MPI does not say who has not. So a
rank that has waited for a while tells all others so, again and again, in short messages of their
own. After `seconds` of waiting, the ranks that have told nothing lately are missing: this rank
prints one line that names them, and ends the job. Nothing is sent while nobody waits long.
"""

import os
import sys
import time
from typing import Any, NoReturn

SPINS = 200  # a waiting rank asks MPI so many times before it sleeps
SECONDS = 20.0  # that a rank may be missing, unless another number is given
TELLING = 20  # times that a waiting rank tells so, before its time is up
PRINTING = 0.3  # seconds in which mpiexec may pass on a line, before it ends with the job
TAG = 31_907  # of these messages; MPI has tags up to 32,767 at least


class Watchdog:
    """Waits for collective calls of one rank; ends the job where another rank does not come.

    `seconds` of None: it waits for ever. `place` says in words what this rank is about to enter.
    The clock counts no time in which this process was stopped.

    >>> from unittest.mock import Mock
    >>> Watchdog(Mock(Get_rank=lambda: 0, Get_size=lambda: 2)).wait(Mock(Test=lambda: True))
    """

    def __init__(self, comm: Any, seconds: float | None = SECONDS) -> None:
        self.comm, self.rank, self.n = comm, int(comm.Get_rank()), int(comm.Get_size())
        self.seconds, self.place = seconds, "a comparison"
        self.sending: list[Any] = []  # messages that may not have left yet
        self.heard: dict[int, tuple[float, str]] = {}  # by rank: when it last waited, and where

    def wait(self, request: Any) -> None:
        """Return when the request is done; end the job if a rank is missing for too long."""
        tries, waited, told, now = 0, 0.0, 0, time.monotonic()
        pace = (self.seconds or 0.0) / TELLING
        while not request.Test():
            tries += 1
            if tries < SPINS:
                os.sched_yield()
                continue
            time.sleep(min(0.02, max(2e-5, waited / 100)))  # there may be few processors
            before, now = now, time.monotonic()
            waited += min(now - before, pace or 1.0)  # more than that: this process was stopped
            if self.seconds is None or waited < pace:
                continue
            if told == 0:
                self._hear(waited)
                self.heard = {}  # what was told before this wait says nothing of it
            if waited >= told * pace:
                told += 1
                self._tell()
            self._hear(waited)
            first = sum(rank < self.rank for rank in self.heard)  # ranks that speak before this one
            if waited > self.seconds + pace + 2 * PRINTING * first:
                self._give_up(waited, pace)

    def _tell(self) -> None:
        """Tell all other ranks that this one waits, and where."""
        self.sending = [message for message in self.sending if not message.Test()]
        others = (rank for rank in range(self.n) if rank != self.rank)
        self.sending += [self.comm.isend(self.place, dest=rank, tag=TAG) for rank in others]

    def _hear(self, waited: float) -> None:
        """Take in what other ranks have told."""
        for rank in range(self.n):
            while rank != self.rank and self.comm.Iprobe(source=rank, tag=TAG):
                self.heard[rank] = waited, self.comm.recv(source=rank, tag=TAG)

    def _give_up(self, waited: float, pace: float) -> NoReturn:
        """End the job: name the ranks that have told nothing lately, or say where all of them are.

        All are heard where a rank has entered another call than the others.
        """
        lately = {rank: at for rank, (when, at) in self.heard.items() if waited - when < 5 * pace}
        lately[self.rank] = self.place
        silent = [rank for rank in range(self.n) if rank not in lately]
        if silent:
            which = f"rank{'s' * (len(silent) > 1)} {', '.join(map(str, silent))}"
            what = f"{which} did not come: rank {self.rank} waited for {waited:.0f} s in"
            line = f"{what} {self.place}; `watchdog` is the time allowed"
        else:
            where = ", ".join(f"rank {rank} in {lately[rank]}" for rank in sorted(lately))
            line = f"the ranks wait for one another, for {waited:.0f} s: {where}"
        end_job(self.comm, line)


def end_job(comm: Any, line: str, code: int = 1) -> NoReturn:
    """Print one line and end all ranks of the job, which can't be told in another way."""
    print(f"relgrad-np: {line}", file=sys.__stderr__, flush=True)
    time.sleep(PRINTING)
    comm.Abort(code)
    os._exit(code)  # Abort may return before the job has ended
