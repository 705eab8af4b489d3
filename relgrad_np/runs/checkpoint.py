"""Checkpoints, from which a fit goes on as if nothing had happened.

A checkpoint is an .npz file with a JSON header, checksummed and written atomically. A snapshot is a
tree of tuples, records, numbers and arrays: `pack` describes it in the header, its arrays stand
beside. So no pickle is needed.
"""

import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import check, to_numpy
from ..core.full_rank import FullRank
from ..core.network import Layer
from ..core.steps import Factors
from ..core.tracking import Tracked
from ..datasets.files.limits import one_line
from ..fitting.average import Average
from ..fitting.falls import Best
from ..fitting.records import Epoch
from ..fitting.snapshots import Snapshot
from ..fitting.status import Guard, Last
from ..fitting.storage import store
from ..fitting.storage.model import require_kind
from ..fitting.storage.writing import own_subfolder
from ..rules.base import State
from ..rules.natural import Curvature
from ..rules.recipe import Constants, Record, Seen
from ..rules.scalar import RunningSize

FORMAT = 3
KEPT = 2  # checkpoints of a run
SHARE = 0.05  # of the time that checkpoints at the ends of epochs may take
RECORDS = {  # that snapshots are made of, beside plain tuples
    record.__name__: record
    for record in (
        *(Snapshot, State, Layer, Tracked, Factors, Epoch, Average, Guard, Last, Best),
        *(FullRank, Constants, Seen, Record, RunningSize, Curvature),  # of rules
    )
}


def pack(tree: Any, name: str, arrays: dict[str, Any]) -> Any:
    """Return a tree described in JSON; its arrays join `arrays`, named by their place under `name`.

    ValueError for a record that is none of `RECORDS`.

    >>> arrays = {}
    >>> pack((1.5, Layer(np.eye(1), np.ones(1))), "x", arrays)
    {'tuple': [1.5, {'Layer': [{'array': 'x.1.W'}, {'array': 'x.1.b'}]}]}
    >>> sorted(arrays)
    ['x.1.W', 'x.1.b']
    """
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, Mapping):
        return {"dict": {key: pack(part, f"{name}.{key}", arrays) for key, part in tree.items()}}
    if isinstance(tree, tuple):
        places = getattr(tree, "_fields", range(len(tree)))
        kind = type(tree).__name__ if hasattr(tree, "_fields") else "tuple"
        if kind != "tuple" and kind not in RECORDS:
            raise ValueError(f"a checkpoint may hold {', '.join(RECORDS)}, not {kind}")
        named = zip(places, tree, strict=True)
        return {kind: [pack(part, f"{name}.{place}", arrays) for place, part in named]}
    arrays[name] = np.asarray(to_numpy(tree))
    return {"array": name}


def unpack(described: Any, arrays: dict[str, Any]) -> Any:
    """Undo `pack`.

    >>> unpack({"Layer": [{"array": "W"}, {"array": "b"}]}, {"W": np.eye(1), "b": np.ones(1)}).b
    array([1.])
    """
    if not isinstance(described, dict):
        return described
    ((kind, parts),) = described.items()
    if kind == "array":
        return arrays[parts]
    if kind == "dict":
        return {key: unpack(part, arrays) for key, part in parts.items()}
    made = [unpack(part, arrays) for part in parts]
    return tuple(made) if kind == "tuple" else RECORDS[kind](*made)


def write_snapshot(path: str | os.PathLike[str], snapshot: Snapshot, run: str) -> None:
    """Write a checkpoint of the run named `run`; see `Snapshot` for what is in it."""
    arrays: dict[str, Any] = {"seen": np.array(snapshot.seen, dtype=float).reshape(-1, 3)}
    header = {
        "format": FORMAT,
        "kind": "checkpoint",
        "run": run,
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "snapshot": pack(snapshot._replace(seen=()), "snapshot", arrays),
    }
    store.write(Path(path), header, arrays)


def read_snapshot(path: str | os.PathLike[str], run: str) -> Snapshot:
    """Read a checkpoint of the run named `run`; ValueError if damaged, or of another run."""
    header, arrays = store.read(Path(path))
    try:
        require_kind(header, "checkpoint", FORMAT)
        if header["run"] != run:
            raise ValueError("it belongs to another run")
        snapshot: Snapshot = unpack(header["snapshot"], arrays)
        check(snapshot.state.layers)
        seen = tuple((float(a), float(b), float(c)) for a, b, c in arrays["seen"])
        return snapshot._replace(seen=seen)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {one_line(error)}") from None


def newest_snapshot(folder: str | os.PathLike[str], run: str) -> tuple[Snapshot | None, list[str]]:
    """Return the newest checkpoint of this run that can be read, and a line for each that can't.

    ValueError where there are checkpoints and none can be read: a run never starts over silently.

    >>> import tempfile
    >>> newest_snapshot(tempfile.mkdtemp(), "run")
    (None, [])
    """
    notes: list[str] = []
    for path in sorted(Path(folder).glob("step-*.npz"), reverse=True):
        try:
            return read_snapshot(path, run), notes
        except ValueError as error:
            notes.append(f"checkpoint {path.name} can't be used: {error}")
    if notes:
        raise ValueError("no checkpoint of this run can be used: " + "; ".join(notes))
    return None, notes


class CheckpointWriter:
    """Writes checkpoints into a folder and keeps the last two; a `Keeper` for `fit`.

    It writes every so many seconds or steps, at the end of an epoch, and when it is asked to stop.
    Where epochs are so short that it would write for more than a `SHARE` of the time, it leaves out
    the ends of some, but not of the last. `fit` asks it several times a second; a signal handler
    sets `stop`, which ends the fit.

    >>> import tempfile
    >>> CheckpointWriter(tempfile.mkdtemp(), "run").stop is None
    True
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        run: str,
        seconds: float = 60.0,
        steps: int | None = None,
    ) -> None:
        self.folder, self.run = Path(folder), run
        self.seconds, self.steps = seconds, steps
        self.stop: int | None = None
        self.written, self.took = time.monotonic(), 0.0
        own_subfolder(self.folder)

    def due(self, t: int, end: bool) -> bool:
        """Say whether a checkpoint should be written after step t, `end` of an epoch or fit."""
        late = time.monotonic() - self.written >= self.seconds
        counted = self.steps is not None and t % self.steps == 0
        return end or late or counted or self.stop is not None

    def wants_epoch(self) -> bool:
        """Say whether writing one takes little, beside what has gone since the last."""
        return self.took <= SHARE * (time.monotonic() - self.written)

    def next_due(self, t: int) -> int:
        """Return the next step after t that is due whatever the time."""
        return sys.maxsize if self.steps is None else t + self.steps - t % self.steps

    def write(self, snapshot: Snapshot) -> None:
        """Write one, then remove all but the last two: until then the last good one is there."""
        began = time.monotonic()
        write_snapshot(self.folder / f"step-{snapshot.state.t:012d}.npz", snapshot, self.run)
        for old in sorted(self.folder.glob("step-*.npz"))[:-KEPT]:
            old.unlink(missing_ok=True)
        self.written = time.monotonic()
        self.took = self.written - began
