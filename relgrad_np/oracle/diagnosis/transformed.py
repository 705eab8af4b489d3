"""Functions of the right array that a wrong one may be: transposed, reversed, a part of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..truths.records import Array
from .bounded import Bounded

OfArray = Callable[[Array], Array]


class Function(NamedTuple):
    """A function of an array: what it is called, and the least shape that it needs.

    `needs`: "D D" for square matrices, "N D" for two axes, "N" for one.

    >>> FUNCTIONS[0].words
    'the transpose of the right one'
    """

    kind: str
    detail: str
    words: str
    needs: str
    of: Callable[[Bounded], Bounded]

    def suits(self, shape: str) -> bool:
        """Whether arrays of a stage of this shape have what it needs."""
        if self.needs == "D D":
            return shape == "D D"
        return len(shape.split()) >= len(self.needs.split())


def _kept(f: OfArray) -> Callable[[Bounded], Bounded]:
    """Return a function that moves entries, adds them up, or leaves some out."""
    return lambda x: Bounded(f(x.value), f(x.size))


def _each(f: OfArray, slope: OfArray) -> Callable[[Bounded], Bounded]:
    """Return a function of each entry, given its slope."""
    return lambda x: Bounded(f(x.value), np.abs(f(x.value)) + np.abs(slope(x.value)) * x.size)


def mean(axis: int) -> Callable[[Bounded], Bounded]:
    """Return the function that replaces each entry by the mean over an axis.

    >>> mean(0)(Bounded(np.array([1.0, 3.0]))).value
    array([2., 2.])
    """
    return _kept(lambda x: np.broadcast_to(x.mean(axis, keepdims=True), x.shape))


def _one(x: Array) -> Array:
    return np.ones_like(x)


FUNCTIONS = [Function(*row) for row in (
    ("transpose", "", "the transpose of the right one", "D D", lambda x: x.T),
    ("reversed", "rows", "the right one with its rows reversed", "N", _kept(lambda x: x[::-1])),
    ("reversed", "columns", "the right one with its columns reversed", "N D",
     _kept(lambda x: x[:, ::-1])),
    ("moved", "rows up", "the right one with its rows moved up by one", "N",
     _kept(lambda x: np.roll(x, -1, 0))),
    ("moved", "rows down", "the right one with its rows moved down by one", "N",
     _kept(lambda x: np.roll(x, 1, 0))),
    ("moved", "columns left", "the right one with its columns moved left by one", "N D",
     _kept(lambda x: np.roll(x, -1, 1))),
    ("moved", "columns right", "the right one with its columns moved right by one", "N D",
     _kept(lambda x: np.roll(x, 1, 1))),
    ("part", "upper", "the right one on and above the diagonal, 0 below", "D D", _kept(np.triu)),
    ("part", "lower", "the right one on and below the diagonal, 0 above", "D D", _kept(np.tril)),
    ("part", "diagonal", "the right one on the diagonal, 0 elsewhere", "D D",
     _kept(lambda x: np.diag(np.diag(x)))),
    ("part", "off the diagonal", "the right one off the diagonal, 0 on it", "D D",
     _kept(lambda x: x - np.diag(np.diag(x)))),
    ("part", "symmetric", "the symmetric part of the right one", "D D", lambda x: (x + x.T) / 2),
    ("part", "antisymmetric", "the antisymmetric part of the right one", "D D",
     lambda x: (x - x.T) / 2),
    ("sorted", "", "the right one, sorted", "N", _kept(lambda x: np.sort(x, 0))),
    ("centred", "rows", "the right one less the mean of its rows", "N", lambda x: x - mean(0)(x)),
    ("centred", "columns", "the right one less the mean of its columns", "N D",
     lambda x: x - mean(-1)(x)),
    ("summed", "running", "the running sum of the right one", "N", _kept(lambda x: x.cumsum(0))),
    ("function", "modulus", "the modulus of the right one", "", _each(np.abs, _one)),
    ("function", "-modulus", "minus the modulus of the right one", "",
     _each(lambda x: -np.abs(x), _one)),
    ("function", "positive part", "the positive part of the right one", "",
     _each(lambda x: np.maximum(x, 0), _one)),
    ("function", "negative part", "the negative part of the right one", "",
     _each(lambda x: np.minimum(x, 0), _one)),
    ("function", "square", "the square of the right one", "", _each(np.square, lambda x: 2 * x)),
    ("function", "root", "the square root of the right one's modulus", "",
     _each(lambda x: np.sqrt(np.abs(x)), lambda x: 0.5 / np.sqrt(np.abs(x)))),
    ("function", "reciprocal", "the reciprocal of the right one", "",
     _each(lambda x: 1 / x, lambda x: x**-2.0)),
    ("function", "exp", "exp of the right one", "", _each(np.exp, np.exp)),
    ("function", "log", "the logarithm of the right one", "", _each(np.log, lambda x: 1 / x)),
    ("function", "tanh", "tanh of the right one", "",
     _each(np.tanh, lambda x: 1 - np.tanh(x) ** 2)),
    ("function", "sign", "the sign of the right one", "", _each(np.sign, np.zeros_like)),
)]  # fmt: skip
