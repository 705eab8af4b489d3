"""Ranks that share a fit: which rows are whose, how they take a step, how they end together.

Before the first batch the ranks compare what they have, and an error on one is raised on all. From
then on an error on one rank ends the job: the others wait for its arrays, and can't go on without.
"""

import traceback
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from ..core.arguments import number, one_of, whole
from ..core.arrays import Array, to_numpy
from ..fitting.snapshots import Keeper, Snapshot
from ..fitting.team import Counts, Team
from ..rules.base import Rule, State, StepInfo
from .agree import Agreement, RanksDifferError, one_line
from .exchange import EXCHANGES, Machine, choose, possible
from .facts import shapes, summary, versions
from .keepers import SharedKeeper
from .messages import Messages
from .train_step import train_step
from .waiting import SECONDS, end_job


class Ranks(Team):
    """The processes of an MPI communicator, which fit one model to one set of data.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    exchange : "auto", "factors", "products", "sums"
        What the ranks send in a step, see `exchange`; "auto" is the cheapest by its model.
    shards : "shared", "own"
        Shared: X is the same on every rank, such as a memory-mapped file, and each rank reads its
        rows of each batch. The batches are those of a single process, whatever the number of
        ranks. Own: each rank has other rows. They are shuffled within the rank, and each batch
        takes from every rank in proportion to what it has.
    check_every : int
        Steps between comparisons of the layers' hashes.
    machine : Machine
        The constants of the model; None: those of `exchange.Machine`.
    cuda_aware : bool
        Whether MPI reads CuPy's arrays; None: as the environment says.
    watchdog : float
        Seconds for which a rank that does not come is waited for; then the job ends with a line
        that names it. None: for ever. Take more than your slowest callback or keeper needs.

    Raises
    ------
    RanksDifferError
        The same on all ranks.
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
        watchdog: float | None = SECONDS,
    ) -> None:
        if not hasattr(comm, "Iallgatherv"):
            raise TypeError(f"`comm` must be an mpi4py communicator, got {type(comm).__name__}")
        self.exchange = one_of("exchange", exchange, ("auto", *EXCHANGES))
        self.shards = one_of("shards", shards, ("shared", "own"))
        self.check_every, self.machine = whole("check_every", check_every), machine
        if watchdog is not None:
            number("watchdog", watchdog, 0.0, float("inf"), "positive")
        self.messages = Messages(comm, cuda_aware, watchdog)
        self.rank, self.n = self.messages.rank, self.messages.n
        self.agreement = Agreement(self.messages)
        self.sizes: Counts = ()  # rows of each rank, if they have rows of their own
        self.chosen = ""  # the exchange of this fit
        self.shared_keeper = SharedKeeper(None, self.rank)

    # before the first step

    def implementation(self, name: Any) -> str:
        """Return "reference": the only one whose steps can be shared."""
        if name not in (None, "reference"):
            raise ValueError(f"`implementation` {name!r} can't share its steps: leave it out")
        return "reference"

    def total(self, count: int) -> int:
        """Return how many rows all ranks have; keep in mind how many each has."""
        if self.shards == "shared":
            return count
        self.sizes = tuple(self.agreement.gather(count))
        return sum(self.sizes)

    def agree(
        self,
        terms: dict[str, str],
        state: State,
        rng: np.random.Generator,
        rule: Rule,
        N: int,
        batches: int,
        resume: Snapshot | None,
    ) -> None:
        """Compare everything that a fit depends on, and choose the exchange.

        With own shards `terms` gets the fingerprints of every rank's rows.
        """
        if self.exchange != "auto" and self.exchange not in possible(rule):
            raise ValueError(
                f"`exchange` {self.exchange!r} is not for this rule: choose from "
                f"{', '.join(possible(rule))}"
            )
        own = ("X", "X_val") if self.shards == "own" else ()
        facts = {
            **versions(),
            **shapes(state.layers),
            "exchange": self.exchange,
            "shards": self.shards,
            "check_every": str(self.check_every),
            "machine": str(self.machine),
            **{name: term for name, term in terms.items() if name not in own},
            "rng": summary(rng),
            "resume": summary(resume),
        }
        self.agreement.require_same(facts)
        if own:
            self._agree_on_shards(terms, batches)
        smallest = N // batches  # rows in a batch
        if self.n > smallest:
            raise RanksDifferError(
                f"a batch of {smallest} samples can't be shared by {self.n} ranks: take fewer "
                "ranks or a larger `batch_size`"
            )
        self.agreement.require_same_state(state)
        self.chosen = self.exchange
        if self.exchange == "auto":
            W = state.layers[0].W
            itemsize = 4 if "float32" in str(W.dtype) else 8
            size = smallest, W.shape[0], len(state.layers), self.n
            self.chosen = choose(rule, *size, itemsize=itemsize, machine=self.machine)

    def _agree_on_shards(self, terms: dict[str, str], batches: int) -> None:
        """Refuse shards that can't be fitted together; let `terms` name those of all ranks."""
        if terms["sample_weight"] != "None":
            raise ValueError("`sample_weight` needs shards='shared'")
        for name in ("X", "X_val"):
            fingerprints = self.agreement.gather(terms[name])
            if "None" in fingerprints and len(set(fingerprints)) > 1:
                raise RanksDifferError(f"`{name}` must be given on all ranks, or on none")
            terms[name] = "; ".join(fingerprints)
        few = min(self.sizes)
        if few < batches:
            raise RanksDifferError(
                f"rank {self.sizes.index(few)} has {few} rows for {batches} batches: give it more, "
                "or take a larger `batch_size`"
            )

    # which rows are whose

    def cut(self, rows: Any, rng: np.random.Generator | None, batches: int) -> list[Any]:
        """Cut an epoch, shuffled if there is a rng; every rank draws the permutations of all."""
        self.agreement.stop_listening()  # after this come the steps
        if self.shards == "shared":
            order = rows if rng is None else rows[rng.permutation(len(rows))]
            return [(part, even(len(part), self.n)) for part in np.array_split(order, batches)]
        orders = [np.arange(n) if rng is None else rng.permutation(n) for n in self.sizes]
        counts = zip(*(even(size, batches) for size in self.sizes), strict=True)
        mine = np.array_split(rows[orders[self.rank]], batches)
        return list(zip(mine, counts, strict=True))

    def part(self, rows: Any, counts: Counts) -> Any:
        """Return this rank's part of a batch's rows."""
        return rows if self.shards == "own" else self._slice(rows, counts)

    def sees_all(self) -> bool:
        """Return whether each rank can read the rows of all."""
        return bool(self.shards == "shared")

    def validation_part(self, X_val: Array | None) -> Array | None:
        """Return this rank's part of the validation rows."""
        if X_val is None or self.shards == "own":
            return X_val
        if X_val.shape[0] < self.n:  # then every rank judges all of them
            return X_val
        return self._slice(X_val, even(X_val.shape[0], self.n))

    def _slice(self, rows: Any, counts: Counts) -> Any:
        begin = sum(counts[: self.rank])
        return rows[begin : begin + counts[self.rank], ...]

    def generator(self, rng: np.random.Generator) -> np.random.Generator:
        """Return what this rank's transform draws from: its own, if its rows are its own."""
        if self.shards == "shared":
            return rng
        return np.random.default_rng([int(rng.integers(2**63)), self.rank])

    # how they take a step

    def step(
        self,
        step_alone: Callable[..., Any],
        state: State,
        X: Array,
        counts: Counts,
        **options: Any,
    ) -> tuple[State, StepInfo]:
        """Take a step together, hear of signals, and compare hashes of the layers now and then."""
        self.messages.watchdog.place = f"step {state.t + 1}"
        after, info, asked = train_step(
            state,
            X,
            counts=counts,
            messages=self.messages,
            exchange=self.chosen,
            stop=self.shared_keeper.asked,
            **options,
        )
        self.shared_keeper.hear(asked)
        self.messages.watchdog.place = f"a comparison after step {after.t}"
        if after.t % self.check_every == 0:
            self.agreement.require_same_state(after)
        return after, info

    def mean(self, values: Array) -> float:
        """Return the mean of values (N,), some on each rank; added in the ranks' order."""
        values = to_numpy(values)
        part = float(np.sum(values, dtype=np.float64)), float(len(values))
        total, count = self.agreement.numbers(part).sum(axis=0)
        return float(total / count)

    def gather(self, numbers: Any) -> Any:
        """Return these numbers (m,) of every rank, (ranks, m), in their order."""
        return np.asarray(self.agreement.numbers(numbers))

    # how they end together

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return bool(self.agreement.numbers([float(flag)]).any())

    def keeper(self, keeper: Keeper | None) -> Keeper:
        """Return the keeper of this rank: rank 0 writes, and all hear of a signal to one."""
        self.shared_keeper = SharedKeeper(keeper, self.rank)
        return self.shared_keeper

    @property
    def stop(self) -> int | None:
        """The number of the signal that stopped the last fit on all ranks; None if none did."""
        return self.shared_keeper.stop

    def fail(self, error: Exception) -> NoReturn:
        """End on all ranks: raise the error on all while they listen, else end the job."""
        if self.agreement.listening:
            self.agreement.raise_on_all(error)
        self.abort(error)

    def abort(self, error: BaseException) -> NoReturn:
        """Print one line and end the job: the others wait for this rank and can't be told."""
        where = traceback.extract_tb(error.__traceback__)[-1:]
        at = f" ({where[0].filename}:{where[0].lineno})" if where else ""
        line = f"rank {self.rank}: {type(error).__name__}: {one_line(error)}{at}"
        code = getattr(error, "code", 1)  # SystemExit has one
        end_job(self.messages.comm, line, code if isinstance(code, int) and code else 1)


def even(N: int, n: int) -> Counts:
    """Cut N rows into n near equal parts, as `numpy.array_split` does.

    >>> even(10, 4)
    (3, 3, 2, 2)
    """
    return tuple(N // n + (rank < N % n) for rank in range(n))
