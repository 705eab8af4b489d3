"""What ranks compare before they step, so that a difference has a name."""

import hashlib
import json
from typing import Any

import numpy as np

from ..core.arrays import to_numpy
from ..fitting.snapshots import Snapshot


class RanksDifferError(ValueError):
    """The ranks can't fit together, or have drifted apart; raised on all of them, the same.

    >>> issubclass(RanksDifferError, ValueError)
    True
    """


def versions() -> dict[str, str]:
    """Return what has to be the same on all ranks for the same bits to come out.

    >>> versions()["numpy"] == np.__version__
    True
    """
    import platform

    import scipy

    from ..core.version import __version__

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "relgrad_np": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "BLAS": f"{blas.get('name')} {blas.get('version')}",
    }


def _hash(tree: Any) -> int:
    """Hash the bytes of every array in a tree of tuples, to 64 bits."""
    found = hashlib.blake2b(digest_size=8)

    def add(part: Any) -> None:
        if isinstance(part, tuple):
            for each in part:
                add(each)
        elif part is not None:
            found.update(_array(part).tobytes())

    add(tree)
    return int.from_bytes(found.digest(), "little")


def _state_of(thing: np.random.Generator | Snapshot | None) -> str:
    """Name the state of a generator, or what a snapshot goes on from, in a few letters."""
    if thing is None:
        return "None"
    if isinstance(thing, np.random.Generator):
        state = json.dumps(thing.bit_generator.state, sort_keys=True, default=str)
        return f"{type(thing.bit_generator).__name__} {_digest(state)}"
    parts = (thing.state.layers, thing.state.rule_state, thing.average, thing.guard, thing.last)
    where = str((_hash(parts), thing.rng_epoch, thing.rng_now, thing.terms, thing.stop_reason))
    return f"step {thing.state.t}, {_digest(where)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _array(x: Any) -> Any:
    """Return an array, or a number of a state, as NumPy."""
    return np.asarray(x) if isinstance(x, (int, float)) else to_numpy(x)
