"""Ranks that fit together: what they agree on, which rows are whose, how they end together.

`Alone` is one process, `Ranks` the processes of an MPI communicator; `fit` asks either the same.
Before the first step every rank tells what it has, and an error on one is an error on all, the
same. From then on an error on one rank ends the job: it can't be mended without the others.
"""

import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from ..core.arguments import one_of, whole
from ..core.arrays import Array, to_numpy
from ..fitting.snapshots import Keeper, Snapshot
from ..fitting.team import Alone, Counts
from ..rules.base import Rule, State
from .agree import RanksDifferError, _hash, _state_of, versions
from .exchange import EXCHANGES, Machine, choose, possible
from .keepers import _Shared
from .messages import Wire
from .train_step import train_step


class Ranks(Alone):
    """The processes of an MPI communicator, fitting one model to one set of data.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    exchange : "auto", "factors", "products", "sums"
        What is sent for a step, see `exchange`; "auto" is the cheapest by its model.
    shards : "shared", "own"
        Shared: X is the same on every rank, such as a memory-mapped file, and each rank reads its
        rows of each batch: the batches are those of a single process, whatever the number of
        ranks. Own: each rank has other rows; they are shuffled within the rank, and each batch
        takes from every rank in proportion to what it has.
    check_every : int
        Steps between comparisons of the layers' hashes.
    machine : Machine
        For the model.
    cuda_aware : bool
        Whether MPI reads CuPy's arrays; None: as the environment says.

    Raises
    ------
    RanksDifferError
        On all ranks, the same.
    """

    def __init__(
        self,
        comm: Any,
        *,
        exchange: str = "auto",
        shards: str = "shared",
        check_every: int = 100,
        machine: Machine | None = None,
        cuda_aware: bool | None = None,
    ) -> None:
        if not hasattr(comm, "Iallgatherv"):
            raise TypeError(f"`comm` must be an mpi4py communicator, got {type(comm).__name__}")
        self.exchange = one_of("exchange", exchange, ("auto", *EXCHANGES))
        self.shards = one_of("shards", shards, ("shared", "own"))
        self.check_every, self.machine = whole("check_every", check_every), machine
        self.comm, self.wire = comm, Wire(comm, cuda_aware)
        self.rank, self.n = self.wire.rank, self.wire.n
        self.meeting, self.chosen = True, ""
        self.sizes: Counts = ()
        self.stop: int | None = None
        self._keeper: Keeper | None = None

    # agreeing

    def gather(self, value: Any) -> list[Any]:
        """Return the value of each rank; RanksDifferError if a rank has met an error before."""
        told = self._patiently((None, value))
        self._same_end([error for error, _ in told])
        return [value for _, value in told]

    def share(self, value: Any) -> Any:
        """Return the value of rank 0."""
        return self.gather(value if self.rank == 0 else None)[0]

    def _patiently(self, value: Any) -> list[Any]:
        """Gather, without keeping a processor busy while others are at work."""
        arrived, pause = self.comm.Ibarrier(), 1e-5
        while not arrived.Test():
            time.sleep(pause)
            pause = min(0.02, 1.5 * pause)
        return list(self.comm.allgather(value))

    def _tell(self, values: Any, dtype: Any = np.float64) -> Any:
        """Gather a few numbers (m,) of each rank, (n, m)."""
        mine = np.array([values], dtype=dtype)
        return self.wire.gather(mine, (1,) * self.n).result(mine)

    def fail(self, error: Exception) -> NoReturn:
        """End on all ranks: with this error, told to those in `gather`; or by ending the job."""
        if not self.meeting:
            self.abort(error)
        told = [e for e, _ in self._patiently((_line(error), None))]
        if len(set(told)) > 1:
            self._same_end(told)
        raise error  # all have met it

    def abort(self, error: BaseException) -> NoReturn:
        """End the job from here: the others wait for this rank, and can't be told otherwise."""
        name = type(error).__name__
        where = traceback.extract_tb(error.__traceback__)[-1:]
        at = f" ({where[0].filename}:{where[0].lineno})" if where else ""
        line = f"relgrad-np: rank {self.rank}: {name}: {_line(error)}{at}"
        print(line, file=sys.__stderr__, flush=True)
        code = getattr(error, "code", 1)  # SystemExit has one
        code = code if isinstance(code, int) and code else 1
        self.comm.Abort(code)
        os._exit(code)  # an Abort may return before the job is gone

    def _same_end(self, errors: Sequence[str | None]) -> None:
        for rank, error in enumerate(errors):
            if error is not None:
                raise RanksDifferError(f"rank {rank}: {error}") from None

    def require_same(self, what: dict[str, str]) -> None:
        """Compare what every rank has, by name; RanksDifferError names the first that differs."""
        told = self.gather(what)
        for name in dict.fromkeys(key for facts in told for key in facts):
            for rank, facts in enumerate(told):
                if facts.get(name) != told[0].get(name):
                    raise RanksDifferError(
                        f"`{name}` differs between ranks: {told[0].get(name)} on rank 0, "
                        f"{facts.get(name)} on rank {rank}"
                    )

    def total(self, count: int) -> int:
        """Return how many rows there are; notes how many each rank has."""
        if self.shards == "shared":
            return count
        self.sizes = tuple(self.gather(count))
        return sum(self.sizes)

    def meet(
        self,
        terms: dict[str, str],
        state: State,
        rng: Any,
        rule: Rule,
        N: int,
        batches: int,
        resume: Snapshot | None,
    ) -> None:
        """Agree on everything before the first step; N: the samples of all the batches.

        With own shards `terms` gets the fingerprints of all.
        """
        if self.exchange != "auto" and self.exchange not in possible(rule):
            raise ValueError(
                f"`exchange` {self.exchange!r} is not for this rule: choose from "
                f"{', '.join(possible(rule))}"
            )
        own = ("X", "X_val") if self.shards == "own" else ()
        facts = versions() | {
            "dtype": str(state.layers[0].W.dtype),
            "layers": f"{len(state.layers)} of {state.layers[0].W.shape[0]} x "
            f"{state.layers[0].W.shape[1]}",
            "exchange": self.exchange,
            "shards": self.shards,
            "check_every": str(self.check_every),
            "machine": str(self.machine),
            **{name: term for name, term in terms.items() if name not in own},
            "rng": _state_of(rng),
            "resume": _state_of(resume),
        }
        self.require_same(facts)
        if own and terms["sample_weight"] != "None":
            raise ValueError("`sample_weight` needs shards='shared'")
        for name in own:
            all_of_them = self.gather(terms[name])
            if "None" in all_of_them and len(set(all_of_them)) > 1:
                raise RanksDifferError(f"`{name}` must be given on all ranks, or on none")
            terms[name] = "; ".join(all_of_them)
        few = min(self.sizes, default=N)
        if own and few < batches:
            raise RanksDifferError(
                f"rank {self.sizes.index(few)} has {few} rows for {batches} batches: give it more, "
                "or take a larger `batch_size`"
            )
        N = N // batches  # of the smallest batch
        if self.n > N:
            raise RanksDifferError(
                f"a batch of {N} samples can't be shared by {self.n} ranks: take fewer ranks or "
                "a larger `batch_size`"
            )
        self.same_layers(state)
        D, L = state.layers[0].b.shape[0], len(state.layers)
        itemsize = 4 if "float32" in str(state.layers[0].W.dtype) else 8
        self.chosen = self.exchange
        if self.exchange == "auto":
            self.chosen = choose(rule, N, D, L, self.n, itemsize=itemsize, machine=self.machine)

    def same_layers(self, state: State) -> None:
        """Compare hashes of the layers, and of the rest of the state; names rank and layer."""
        parts = [*state.layers, (state.rule_state, state.tracked)]
        told = self._tell([_hash(part) for part in parts], np.uint64)
        wrong = np.argwhere(told != told[0])
        if len(wrong):
            rank, k = map(int, wrong[0])
            what = f"layer {k}" if k < len(state.layers) else "the rule's state"
            raise RanksDifferError(
                f"{what} of rank {rank} is not that of rank 0 at step {state.t}: the ranks have "
                "drifted apart, or did not start alike"
            )

    # stepping

    def implementation(self, name: Any) -> str:
        """Return "reference": the only one whose steps can be shared."""
        if name not in (None, "reference"):
            raise ValueError(f"`implementation` {name!r} can't share its steps: leave it out")
        return "reference"

    def step(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return the `train_step` that takes this rank's part of a batch."""

        def step_together(state: State, X: Array, **options: Any) -> Any:
            stop = -1 if self._keeper is None or self._keeper.stop is None else self._keeper.stop
            after, info, stops = train_step(
                state, X, wire=self.wire, exchange=self.chosen, say=float(stop), **options
            )
            if self.stop is None and max(stops) >= 0:
                self.stop = int(max(stops))
            if after.t % self.check_every == 0:
                self.same_layers(after)
            return after, info

        return step_together

    def parts(self, rows_in: Any, rng: np.random.Generator, batches: int) -> list[Any]:
        """Shuffle an epoch and cut it; all ranks draw all the permutations."""
        self.meeting = False  # from here on nobody can be told of an error
        if self.shards == "shared":
            order = rows_in[rng.permutation(len(rows_in))]
            cut = np.array_split(order, batches)
            return [(rows, even(len(rows), self.n)) for rows in cut]
        orders = [rng.permutation(size) for size in self.sizes]
        cuts = [np.array_split(order, batches) for order in orders]
        mine = np.array_split(rows_in[orders[self.rank]], batches)
        return [(mine[i], tuple(len(cut[i]) for cut in cuts)) for i in range(batches)]

    def mine(self, rows: Any, counts: Counts) -> Any:
        """Return this rank's part of a batch's rows."""
        if self.shards == "own":
            return rows
        begin = sum(counts[: self.rank])
        return rows[begin : begin + counts[self.rank]]

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        """Return what this rank's transform draws from: its own, if its rows are its own."""
        if self.shards == "shared":
            return rng
        return np.random.default_rng([int(rng.integers(2**63)), self.rank])

    def extra(self, counts: Counts) -> dict[str, Any]:
        """Return what else `train_step` needs to know."""
        return {"counts": counts}

    def mean(self, values: Array) -> float:
        """Return the mean of values (N,), some on each rank; added in the ranks' order."""
        values = to_numpy(values)
        mine = float(np.sum(values, dtype=np.float64)), float(len(values))
        total, count = self._tell(mine).sum(axis=0)
        return float(total / count)

    def own(self, X: Array | None) -> Array | None:
        """Return this rank's part of validation rows."""
        if X is None or self.shards == "own" or X.shape[0] < self.n:  # then all judge all of them
            return X
        counts = even(X.shape[0], self.n)
        begin = sum(counts[: self.rank])
        return X[begin : begin + counts[self.rank], :]

    def any(self, said: bool) -> bool:
        """Say whether a rank said so."""
        return bool(self._tell([float(said)]).any())

    def keeper(self, keeper: Keeper | None) -> Keeper:
        """Return who keeps snapshots on this rank: rank 0 writes, and all hear of a signal."""
        self._keeper, self.stop = keeper, None
        return _Shared(self)


def even(N: int, n: int) -> Counts:
    """Cut N rows into n near equal parts, as `numpy.array_split` does.

    >>> even(10, 4)
    (3, 3, 2, 2)
    """
    return tuple(N // n + (rank < N % n) for rank in range(n))


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
