"""What a model offers, as functions of one library's own arrays, from data to latent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import numpy as np

from ...truths.records import Array

Map = Callable[[Any], Any]
Part = tuple[str, Map, Map | None]  # name, forward, inverse


class OfFlow(TypedDict, total=False):
    """What both adapters may be told of a model besides D; see `oracle.from_torch`."""

    context: Any
    X: Array | None
    base: Any
    name: str | None
    born: str | None
    seed: int


class OfTorchFlow(OfFlow, total=False):
    """And that of torch: the shape of a row."""

    shape: tuple[int, ...] | None


class OfJaxFlow(OfFlow, total=False):
    """And that of JAX: the pytree of parameters that the function takes."""

    parameters: Any


class Face(NamedTuple):
    """A model's functions; None for what it doesn't have.

    `forward`: x -> (z, log|det dz/dx|); `inverse`: z -> x or (x, log|det dx/dz|); `log_prob`:
    x -> (N,); `sample`: n -> x or (x, log p); `base`: z -> (N,), the log density of the latent.
    `parts`: (name, forward, inverse) of a composed model, from data to latent. `X`: rows of its
    domain (N, D), where that isn't all of R^D. `notes`: what is worth saying.
    """

    forward: Map | None = None
    inverse: Map | None = None
    log_prob: Map | None = None
    sample: Callable[[int], Any] | None = None
    base: Map | None = None
    parts: tuple[Part, ...] = ()
    X: Any = None
    notes: tuple[str, ...] = ()


def kinds(made: Any) -> set[str]:
    """Return the names of an object's class and of those that it inherits from.

    >>> sorted(kinds(True))
    ['bool', 'int', 'object']
    """
    return {kind.__name__ for kind in type(made).__mro__}


def halved(run: Callable[[Array], Any], x: Array) -> Any:
    """Return the results of the two halves of rows, run one after the other."""
    halves = [x[len(x) // 2 :], x[: len(x) // 2]]
    last, first = (run(half) for half in halves)
    if isinstance(last, tuple) != isinstance(first, tuple):  # the first that was inside decides
        last, first = (run(half) for half in halves)
    if isinstance(first, tuple):
        return tuple(np.concatenate(both) for both in zip(first, last, strict=True))
    return np.concatenate([first, last])


def outside(returns: int, x: Array) -> Any:
    """Return NaN for a row (1, D): (z, log|det|), z, or as `returns` says log p alone."""
    rows, numbers = np.full(x.shape, np.nan), np.full(len(x), np.nan)
    return {2: (rows, numbers), 1: rows, 0: numbers}[returns]
