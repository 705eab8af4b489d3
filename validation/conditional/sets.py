"""Rows x given u: five toys, POWER given the time of day, diamonds' price given the rest.

Of the training rows each contender that stops by validation holds the same ones.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .toys import TOYS

Array = Any
TRAINING, TEST = 2_000, 5_000  # rows of a toy
POWER_ROWS = 20_000  # of POWER for training, and as many for the test
REAL = ("power", "diamonds")


@dataclass(frozen=True)
class Given:
    """Rows x (n, D) given u (n, c): to train with, to test with; the truth of these where known.

    `held`: which training rows are for validation, as a flow of this package draws them.
    """

    name: str
    seed: int
    x: Array
    u: Array
    held: Array
    x_test: Array
    u_test: Array
    truth: Array | None = None

    @property
    def seconds(self) -> float:
        """Processor seconds that a fit may take: each of two, where two rates are tried."""
        return 20.0


def held_rows(n: int, seed: int) -> Array:
    """Return a mask of the rows (n,) that `RelativeGradientFlow(random_state=seed)` validates with.

    >>> int(held_rows(1000, 0).sum())
    200
    """
    from relgrad_np.estimator import RelativeGradientFlow
    from relgrad_np.fitting.automatic import validation_share

    rng = RelativeGradientFlow(random_state=seed)._generator()
    share = validation_share(n, 1) or 0.0
    mask = np.zeros(n, dtype=bool)
    mask[rng.permutation(n)[: math.ceil(share * n)]] = True
    return mask


def load(name: str, seed: int) -> Given:
    """Return a set; FileNotFoundError or ModuleNotFoundError where its rows are not at hand."""
    if name in TOYS:
        toy, rng = TOYS[name], np.random.default_rng([seed, 25])
        (x, u), (x_test, u_test) = toy.draw(TRAINING, rng), toy.draw(TEST, rng)
        truth = toy.log_density(x_test, u_test)
        return Given(name, seed, x, u, held_rows(len(x), seed), x_test, u_test, truth)
    if name == "power":
        train, test = _power(seed)
        x, u, x_test, u_test = train[:, :5], train[:, 5:], test[:, :5], test[:, 5:]
    else:
        train, test = _diamonds(seed)
        price = np.arange(train.shape[1]) == 3  # carat, depth, table, price, x, y, z
        x, u, x_test, u_test = train[:, price], train[:, ~price], test[:, price], test[:, ~price]
    return Given(name, seed, x, u, held_rows(len(x), seed), x_test, u_test)


def _power(seed: int) -> tuple[Array, Array]:
    """Return rows of POWER, standardised; the sixth column is the minute of the day."""
    from relgrad_np.datasets import load as dataset

    folder = os.environ.get("RELGRAD_DATA")
    if not folder or not Path(folder).is_dir():
        raise FileNotFoundError("POWER is read from the folder that RELGRAD_DATA names")
    data = dataset("power", np.random.default_rng(0), data_dir=folder)
    rng = np.random.default_rng([seed, 25])
    train = data.train[rng.choice(len(data.train), POWER_ROWS, replace=False)]
    return train, data.test[rng.choice(len(data.test), POWER_ROWS, replace=False)]


def _diamonds(seed: int) -> tuple[Array, Array]:
    """Return rows of plotnine's diamonds, columns standardised by the training rows."""
    from validation.tables.sets import load as table

    data = table("diamonds", seed)
    return np.concatenate([data.train, data.validation]), data.test
