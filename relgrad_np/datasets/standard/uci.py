"""MINIBOONE, GAS and HEPMASS, prepared as Papamakarios et al. (2017) did."""

from pathlib import Path

import numpy as np

from ..files.npy import read_npy
from ..files.npz import read_named
from ..record import Dataset, in_model_space
from ..rows import floats
from ..transforms import Chain, Standardise
from .published import read_numbers, require_rows, split_by_tenths

CORRELATED = 0.98  # a column of GAS that is correlated with another by more is dropped


def miniboone(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read MINIBOONE from one .npy of all rows."""
    return split_by_tenths(name, read_numbers(path, 43), n)


def miniboone_partial(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Return what is left of MINIBOONE without its training rows, for a first try."""
    found = read_named(path, ("val", "test"))
    X, test = (require_rows(path, floats(part), 43) for part in found.values())
    cut = len(X) - len(X) // 10
    note = (
        f"MINIBOONE's training rows are missing: its published validation rows stand in for them"
        f" ({cut} to train, {len(X) - cut} to validate); not comparable with published results"
    )
    return in_model_space(name, (X[:cut][:n], X[cut:], test), Chain(()), notes=(note,))


def gas(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read GAS: the published eight columns, or sixteen, of which those that repeat others go."""
    X = read_npy(path)
    if X.ndim == 2:
        X = floats(X)
    X = require_rows(path, X, 16 if X.ndim == 2 and X.shape[1] == 16 else 8)
    kept = np.arange(X.shape[1])
    C = np.asarray(np.corrcoef(X.T) if len(kept) == 16 else np.eye(8)) > CORRELATED
    while (repeated := C[np.ix_(kept, kept)].sum(axis=0) > 1).any():
        kept = np.delete(kept, int(repeated.argmax()))
    if len(kept) != 8:
        raise ValueError(
            f"`{path}`: {len(kept)} of 16 columns are left once those correlated above"
            f" {CORRELATED} are dropped, not the published 8"
        )
    X = np.ascontiguousarray(X[:, kept])
    note = "standardised by the moments of all rows, test rows too, as published"
    return split_by_tenths(name, X, n, (note,), standardise=Standardise.fit(X, name))


def hepmass(name: str, path: Path, rng: np.random.Generator, n: int | None) -> Dataset:
    """Read HEPMASS from train.npy, whose last tenth validates, and test.npy beside it."""
    beside = path.with_name("test.npy")
    if not beside.exists():
        raise FileNotFoundError(f"test.npy is missing beside {str(path)!r}")
    X, test = read_numbers(path, 21), read_numbers(beside, 21)
    cut = len(X) - int(0.1 * len(X))
    chain = Chain((Standardise.fit(X, name),))
    return in_model_space(name, (X[:cut][:n], X[cut:], test), chain)
