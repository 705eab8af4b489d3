"""Models on disk, and checkpoints from which a fit goes on as if nothing had happened.

Both are .npz files with a JSON header, checksummed and written atomically; no pickle anywhere.
"""

import platform
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..core.arrays import check, to_numpy
from ..core.full_rank import FullRank
from ..core.network import Layer
from ..core.steps import Factors
from ..core.tracking import Tracked
from ..fitting.average import Average
from ..fitting.bad_steps import Guard, Last
from ..fitting.records import Epoch
from ..fitting.snapshots import Snapshot
from ..rules.base import State
from ..rules.natural import Curvature
from ..rules.recipe import Running
from . import store as _store
from .model import FORMAT, _flat, _layers, _require

KEPT = 2  # checkpoints of a run


def write_snapshot(path: Path, snapshot: Snapshot, run: str) -> None:
    """Write a checkpoint of the run named `run`; see `Snapshot` for what is in it."""
    state, L = snapshot.state, len(snapshot.state.layers)
    arrays = _flat("layer", state.layers) | _flat("best", snapshot.best_layers)
    rule_state = _pack(state.rule_state, arrays)
    packed = {name: _pack(getattr(snapshot, name), arrays) for name in PACKED}
    if state.tracked is not None:
        arrays |= {"logdet": to_numpy(state.tracked.logdet), "sign": to_numpy(state.tracked.sign)}
        for k, V in enumerate(state.tracked.inverse or ()):
            arrays[f"inverse_{k}"] = to_numpy(V)
    arrays |= {"seen": np.array(snapshot.seen, dtype=float).reshape(-1, 3)}
    header = {
        "format": FORMAT,
        "kind": "checkpoint",
        "run": run,
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "layers": L,
        "t": state.t,
        "rule_state": rule_state,
        "tracked": state.tracked is not None,
        **packed,
        **{name: getattr(snapshot, name) for name in PLAIN},
        "history": [list(entry) for entry in snapshot.history],
    }
    _store.write(path, header, arrays)


PLAIN = (  # the fields of a Snapshot that are JSON as they are
    *("epoch", "batch", "rng_epoch", "rng_now", "best_epoch", "best", "seconds", "n_rejected"),
    *("n_undone", "terms", "stop_reason"),
)


PACKED = ("average", "guard", "last", "drifts", "good_layers")  # and those that are trees of arrays


def read_snapshot(path: Path, run: str) -> Snapshot:
    """Read a checkpoint of the run named `run`; ValueError if damaged, or of another run."""
    header, arrays = _store.read(path)
    try:
        _require(header, "checkpoint")
        if header["run"] != run:
            raise ValueError("it belongs to another run")
        L = header["layers"]
        layers = _layers("layer", L, arrays)
        check(layers)
        rule_state, tracked = _unpack(header["rule_state"], arrays), None
        if header["tracked"]:
            Vs = tuple(arrays[f"inverse_{k}"] for k in range(L) if "inverse_0" in arrays)
            tracked = Tracked(arrays["logdet"], arrays["sign"], Vs or None)
        return Snapshot(
            state=State(layers, rule_state, tracked, header["t"]),
            best_layers=_layers("best", L, arrays),
            seen=tuple((float(a), float(b), float(c)) for a, b, c in arrays["seen"]),
            history=tuple(Epoch(*entry) for entry in header["history"]),
            **{name: _unpack(header[name], arrays) for name in PACKED},
            **{name: header[name] for name in PLAIN},
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def newest_snapshot(folder: Path, run: str) -> tuple[Snapshot | None, list[str]]:
    """Return the newest checkpoint of this run that is whole, and a line for each that is not.

    ValueError where there are checkpoints and none can be used: nothing is started anew silently.

    >>> import tempfile
    >>> newest_snapshot(Path(tempfile.mkdtemp()), "run")
    (None, [])
    """
    notes: list[str] = []
    for path in sorted(folder.glob("step-*.npz"), reverse=True):
        try:
            return read_snapshot(path, run), notes
        except ValueError as error:
            notes.append(f"checkpoint {path.name} can't be used: {error}")
    if notes:
        raise ValueError("no checkpoint of this run can be used: " + "; ".join(notes))
    return None, notes


class Keeper:
    """Writes checkpoints into a folder and keeps the last two.

    Every so many seconds or steps, at each epoch's end, and when asked to stop. `fit` calls it
    after each step; `stop` is set by a signal handler, and ends the fit.

    >>> import tempfile
    >>> Keeper(Path(tempfile.mkdtemp()), "run").stop is None
    True
    """

    def __init__(
        self, folder: Path, run: str, seconds: float = 60.0, steps: int | None = None
    ) -> None:
        self.folder, self.run = folder, run
        self.seconds, self.steps = seconds, steps
        self.stop: int | None = None
        self.written = time.monotonic()
        folder.mkdir(exist_ok=True)

    def due(self, t: int, end: bool) -> bool:
        """Say whether a checkpoint should be written after step t, `end` of an epoch or fit."""
        late = time.monotonic() - self.written >= self.seconds
        return end or late or self.stop is not None or (bool(self.steps) and t % self.steps == 0)  # type: ignore[operator]

    def write(self, snapshot: Snapshot) -> None:
        """Write, then remove all but the last two: the last good one is never touched before."""
        write_snapshot(self.folder / f"step-{snapshot.state.t:012d}.npz", snapshot, self.run)
        for old in sorted(self.folder.glob("step-*.npz"))[:-KEPT]:
            old.unlink(missing_ok=True)
        self.written = time.monotonic()


RECORDS = {  # that states are made of, beside plain tuples
    record.__name__: record
    for record in (Layer, Running, Curvature, Factors, FullRank, Tracked, Average, Guard, Last)
}


def _pack(tree: Any, arrays: dict[str, Any]) -> Any:
    """Describe a tree of tuples, records and arrays in JSON; its arrays join `arrays`."""
    if tree is None:
        return None
    if isinstance(tree, (int, float)):
        return {"kind": "number", "value": tree}
    if isinstance(tree, tuple):
        kind = type(tree).__name__ if hasattr(tree, "_fields") else "tuple"
        if kind != "tuple" and kind not in RECORDS:
            raise ValueError(f"a rule's state may hold {', '.join(RECORDS)}, not {kind}")
        return {"kind": kind, "parts": [_pack(part, arrays) for part in tree]}
    name = f"rule_{sum(key.startswith('rule_') for key in arrays)}"
    arrays[name] = np.asarray(to_numpy(tree))
    return name


def _unpack(described: Any, arrays: dict[str, Any]) -> Any:
    """Undo `_pack`."""
    if described is None:
        return None
    if isinstance(described, str):
        return arrays[described]
    if described["kind"] == "number":
        return described["value"]
    parts = [_unpack(part, arrays) for part in described["parts"]]
    return tuple(parts) if described["kind"] == "tuple" else RECORDS[described["kind"]](*parts)
