"""Batches on their way to a step: rows picked, brought to model space, moved to a device.

Nothing is moved unasked: rows that stay on the host while the layers are elsewhere are `Staged`.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import array_api_compat as compat
import numpy as np

from ..core.arrays import Array, from_numpy, namespace
from ..datasets.file_rows import FileRows
from .options import weighted
from .team import Counts, Cut, Team


class Staged:
    """Rows (N, D) on the host, NumPy's or left in their file, whose batches go where `like` is.

    For data larger than a device's memory. With CuPy a batch is gathered in pinned memory and
    copied on a stream of its own, while the step before it is still at work; two buffers take
    turns. torch: pinned, too, on the step's own stream. The dtype becomes that of `like`.
    ValueError unless `rows` are a matrix of numbers on the host.

    >>> X = Staged(np.arange(6).reshape(3, 2), like=np.zeros(1, "float32"))
    >>> X.shape, X.rows([2, 0])
    ((3, 2), array([[4., 5.],
           [0., 1.]], dtype=float32))
    """

    def __init__(self, rows: Any, like: Array) -> None:
        on_host = isinstance(rows, (np.ndarray, FileRows))
        if not on_host or rows.ndim != 2 or rows.dtype.kind not in "biuf":
            what = getattr(rows, "shape", type(rows).__name__)
            raise ValueError(f"`rows` must be a NumPy array (N, D) of numbers, got {what}")
        namespace(like, "like")
        self.host, self.like, self.shape = rows, like, rows.shape
        self.dtype = np.dtype(str(like.dtype).split(".")[-1])
        self._pinned: Any = None

    def __getitem__(self, index: Any) -> Any:
        """Return rows as they are on the host."""
        return self.host[index]

    def rows(self, index: Any) -> Array:
        """Return these rows where `like` is."""
        batch = self.send(self.host[index])
        self.arrive()
        return batch

    def arrive(self) -> None:
        """Let the current stream wait for what was sent last; the host waits for nothing."""
        if self._pinned is not None:
            self._pinned.arrive()

    def send(self, batch: Any) -> Array:
        """Begin to move a batch (n, D) of the host to where `like` is; see `arrive`."""
        batch = np.ascontiguousarray(batch, self.dtype)
        if compat.is_cupy_array(self.like):
            if self._pinned is None or len(batch) > self._pinned.rows:
                self._pinned = _Pinned(len(batch), self.shape[1], self.dtype)
            return self._pinned.send(batch)
        if compat.is_torch_array(self.like) and self.like.device.type == "cuda":
            import torch

            pinned = torch.from_numpy(batch).pin_memory()
            return pinned.to(self.like.device, non_blocking=True)
        return from_numpy(batch, self.like)


class _Pinned:
    """Two page-locked buffers of the host, two of the device, and a stream between them."""

    def __init__(self, rows: int, D: int, dtype: Any) -> None:
        import cupy
        import cupyx

        self.rows, self.turn, self.cuda = rows, 0, cupy.cuda
        self.host = [cupyx.empty_pinned((rows, D), dtype) for _ in range(2)]
        self.device = [cupy.empty((rows, D), dtype) for _ in range(2)]
        self.stream = cupy.cuda.Stream(non_blocking=True)
        self.copied: list[Any] = [None, None]
        self.mark = self.cuda.get_current_stream().record()

    def send(self, batch: Any) -> Array:
        """Copy behind the step before last: it was the last to read this buffer."""
        i, n = self.turn, len(batch)
        self.turn = 1 - i
        if self.copied[i] is not None:
            self.copied[i].synchronize()  # the copy before last: the host's buffer is free again
        self.host[i][:n] = batch
        self.stream.wait_event(self.mark)
        self.mark = self.cuda.get_current_stream().record()  # of the step now at work
        self.device[i][:n].set(self.host[i][:n], stream=self.stream)
        self.copied[i] = self.stream.record()
        return self.device[i][:n]

    def arrive(self) -> None:
        """Let the current stream wait for the last copy."""
        self.cuda.get_current_stream().wait_event(self.copied[1 - self.turn])


class Feed:
    """The batches of an epoch in turn; `ahead` fetches the next one early where that can be.

    `draw()` returns the generator that `transform` draws a batch's noise from.

    >>> feed = Feed(np.arange(4.0).reshape(4, 1), [[1], [3]], None, None)
    >>> feed.take(), feed.take()
    (array([[1.]]), array([[3.]]))
    """

    def __init__(
        self, X: Any, parts: Any, transform: Callable[[Any, Any], Any] | None, draw: Any
    ) -> None:
        self.X, self.parts, self.transform, self.draw = X, iter(parts), transform, draw
        self.next: Any = None

    def take(self) -> Array:
        """Return the next batch (n, D)."""
        batch, self.next = self.next, None
        batch = self._fetch(next(self.parts)) if batch is None else batch
        if isinstance(self.X, Staged):
            self.X.arrive()
        return batch

    def ahead(self) -> None:
        """Fetch the next batch of staged rows; not if it is drawn from the generator."""
        if self.next is None and isinstance(self.X, Staged) and self.transform is None:
            rows = next(self.parts, None)
            self.next = None if rows is None else self._fetch(rows)

    def _fetch(self, rows: Any) -> Array:
        X = self.X.host if isinstance(self.X, Staged) else self.X
        if isinstance(X, np.ndarray):  # a memory-mapped file is read no further
            whole = X.flags.c_contiguous and X.flags.aligned  # else all of it would be copied
            batch = np.asarray(X).take(rows, axis=0) if whole else np.asarray(X[rows])
        elif isinstance(X, FileRows):
            batch = X[rows]
        else:
            xp = compat.array_namespace(X)
            index = xp.asarray(np.asarray(rows, np.int32), device=compat.device(X))
            batch = xp.take(X, index, axis=0)
        if self.transform is not None:
            batch = self.transform(batch, self.draw())
        return self.X.send(batch) if isinstance(self.X, Staged) else batch


class Batch(NamedTuple):
    """One batch, or this rank's part of it; `share`: its mean weight, over that of all rows.

    `counts`: rows on each rank; `extra`: what else `train_step` is told, its weights if any.
    """

    X: Array
    counts: Counts
    share: float = 1.0
    extra: Mapping[str, Any] = {}


class Stack(NamedTuple):
    """Batches of one size: X (k, n, D), the share of each, weights (k, n) or None."""

    X: Array
    shares: list[float]
    weights: Array


class Batches:
    """Cuts each epoch into batches: `each` of them an epoch, N rows in all, `weights` or None.

    `lasting`: the memory of a batch is not used for another one.
    """

    def __init__(
        self,
        X: Any,
        sample_weight: Any,
        batch_size: int | None,
        transform: Callable[[Any, Any], Any] | None,
        rng: np.random.Generator,
        team: Team,
    ) -> None:
        self.X, self.transform, self.rng, self.team = X, transform, rng, team
        self.rows, self.weights = weighted(sample_weight, X.shape[0])
        self.N = team.total(len(self.rows))
        self.each = math.ceil(self.N / (batch_size or self.N))
        self.lasting = not isinstance(X, Staged)

    def epoch(self, done: int, now: Any = None) -> "Upcoming":
        """Shuffle, and return the batches after those that are `done` already.

        `now`: the state of the generator after those, which may have drawn, too.
        """
        parts = self.team.cut(self.rows, self.rng, self.each)
        if now is not None:
            self.rng.bit_generator.state = now
        return Upcoming(self, parts, self.rng, done)

    def in_order(self) -> "Upcoming":
        """Return the batches of all rows in their order; the fit's own generator draws nothing."""
        parts = self.team.cut(self.rows, None, self.each)
        return Upcoming(self, parts, np.random.default_rng([0, 0]))

    def fetch(self, rows: Any, rng: np.random.Generator | None = None) -> Array:
        """Return these rows in model space, where the layers are."""
        return Feed(self.X, [rows], self.transform, lambda: rng).take()

    def weigh(self, rows: Any, counts: Counts, like: Array) -> tuple[float, Mapping[str, Any]]:
        """Return the share of a batch of these rows, and its weights as `train_step` is told."""
        if self.weights is None:
            return 1.0, {}
        share = float(self.weights[rows].mean())
        mine = self.team.part(self.weights[rows], counts)
        return share, {"weights": from_numpy(mine / share, like)}


class Upcoming:
    """The batches of an epoch that are still to come: `parts`, rows and counts of each.

    `next` takes one. `stack` looks at many, and `skip` leaves them behind.
    """

    def __init__(
        self, batches: Batches, parts: Any, rng: np.random.Generator, done: int = 0
    ) -> None:
        self.batches, self.parts, self.rng = batches, parts, rng
        self.at = done  # batches that are taken
        self.feed: Feed | None = None

    def __iter__(self) -> "Upcoming":
        """Return itself: what is taken is gone."""
        return self

    def __next__(self) -> Batch:
        """Take the next batch."""
        if self.at == len(self.parts):
            raise StopIteration
        team, transform = self.batches.team, self.batches.transform
        if self.feed is None:
            # a transform gets all rows: its draws are those of one process
            rest = self.parts[self.at :]
            fetched = [rows if transform else team.part(rows, counts) for rows, counts in rest]
            self.feed = Feed(self.batches.X, fetched, transform, lambda: team.generator(self.rng))
        rows, counts = self.parts[self.at]
        self.at += 1
        X = self.feed.take()
        X = team.part(X, counts) if transform else X
        return Batch(X, counts, *self.batches.weigh(rows, counts, X))

    def ahead(self) -> None:
        """Fetch the next batch early, where that can be."""
        if self.feed is not None:
            self.feed.ahead()

    @property
    def stacks(self) -> bool:
        """Whether batches can be stacked: rows on the host that are used as they are."""
        alone = isinstance(self.parts, Cut) and self.batches.transform is None
        return alone and isinstance(self.batches.X, np.ndarray)

    @property
    def numbers(self) -> int:
        """How many numbers the next batch has."""
        return len(self.parts[self.at][0]) * int(self.batches.X.shape[1])

    def stack(self, most: int) -> Stack:
        """Return the next batches, at most so many and all of one size, without taking them."""
        k = self.parts.alike(self.at, most)
        rows = self.parts.rows[self.parts.begins(self.at) : self.parts.begins(self.at + k)]
        X = self.batches.fetch(rows).reshape(k, len(rows) // k, -1)
        if self.batches.weights is None:
            return Stack(X, [1.0] * k, None)
        weighed = [self.batches.weigh(part, (), X) for part in rows.reshape(k, -1)]
        shares, weights = [share for share, _ in weighed], [x["weights"] for _, x in weighed]
        return Stack(X, shares, np.stack(weights))

    def skip(self, n: int) -> None:
        """Leave n batches behind."""
        self.at, self.feed = self.at + n, None
