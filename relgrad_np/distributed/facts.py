"""The facts that ranks compare before they step: versions, shapes, states and hashes, as text."""

import hashlib
import json
import platform
from typing import Any

import numpy as np

from ..core.arrays import to_numpy
from ..core.network import Layers
from ..core.version import __version__
from ..fitting.snapshots import Snapshot


def versions() -> dict[str, str]:
    """Return the versions that have to be the same on all ranks for the same bits to come out.

    >>> versions()["numpy"] == np.__version__
    True
    """
    import scipy  # here, so that `import relgrad_np` stays light

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "relgrad_np": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "BLAS": f"{blas.get('name')} {blas.get('version')}",
    }


def shapes(layers: Layers) -> dict[str, str]:
    """Return the dtype of layers, and how many there are of which shape.

    >>> import relgrad_np as rg
    >>> shapes((rg.Layer(np.eye(2), np.zeros(2)),))
    {'dtype': 'float64', 'layers': '1 of 2 x 2'}
    """
    W = layers[0].W
    return {"dtype": str(W.dtype), "layers": f"{len(layers)} of {W.shape[0]} x {W.shape[1]}"}


def summary(thing: np.random.Generator | Snapshot | None) -> str:
    """Return the state of a generator, or the state a fit resumes from, as a short text to compare.

    >>> summary(None), summary(np.random.default_rng(0)).split()[0]
    ('None', 'PCG64')
    """
    if thing is None:
        return "None"
    if isinstance(thing, np.random.Generator):
        state = json.dumps(thing.bit_generator.state, sort_keys=True, default=str)
        return f"{type(thing.bit_generator).__name__} {_digest(state)}"
    parts = (thing.state.layers, thing.state.rule_state, thing.average, thing.guard, thing.last)
    where = str((hash_of(parts), thing.rng_epoch, thing.rng_now, thing.terms, thing.stop_reason))
    return f"step {thing.state.t}, {_digest(where)}"


def hash_of(tree: Any) -> int:
    """Hash the bytes of every array and number in a tree of tuples, to 64 bits.

    >>> hash_of((np.zeros(2), None)) == hash_of(np.zeros(2)) != hash_of(np.ones(2))
    True
    """
    found = hashlib.blake2b(digest_size=8)

    def add(part: Any) -> None:
        if isinstance(part, tuple):
            for each in part:
                add(each)
        elif part is not None:
            array = np.asarray(part) if isinstance(part, (int, float)) else to_numpy(part)
            found.update(array.tobytes())

    add(tree)
    return int.from_bytes(found.digest(), "little")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
