"""All rows that are fitted, passed through a net without a step: what they say of its layers.

`survey` is what a rule that measures needs before its first step, `log_likelihood` what layers are
compared by, `xi_norms` how far from a stationary point they are. On several ranks each has its part
of the rows; the sums of all are combined. What `transform` draws is drawn once, and kept.
"""

import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..core.activations import Activation
from ..core.arrays import Array, check, from_numpy, to_numpy
from ..core.backprop import backprop
from ..core.context import context_of
from ..core.densities import Density
from ..core.network import Layers, Tape, forward
from ..core.objective import data_terms
from ..rules.base import State, StepInfo
from ..rules.recipe import Recipe, Seen
from .batches import Batches
from .records import Measured
from .status import read

CHUNK = 2**18  # numbers of a layer's output that are looked at together
SOME = 2**24  # numbers that say what Gaussian rows have
MOST = 2**26  # numbers that are kept where `transform` draws them; of more, rows evenly spaced


class Rows:
    """The rows of a fit in model space, with their weights of mean 1 or None."""

    def __init__(self, batches: Batches, activation: Activation, density: Density, D: int) -> None:
        self.batches, self.team = batches, batches.team
        self.activation, self.density = activation, density
        self.size = max(1, CHUNK // D)
        self.index = batches.rows
        self.kept: list[Array] = []
        if batches.transform is None:
            self.index = self.team.validation_part(self.index)
        else:
            self.index = self.index[:: max(1, math.ceil(len(self.index) * D / MOST))]

    def _parts(self) -> Any:
        return np.array_split(self.index, math.ceil(len(self.index) / self.size))

    def chunks(self) -> Iterator[tuple[Array, Array]]:
        """Yield the rows in parts (n, D), with weights (n,) or None."""
        weights, drawn = self.batches.weights, self.batches.transform is not None
        if drawn and not self.kept:
            rng = np.random.default_rng([0, self.team.rank])
            self.kept = [self.batches.fetch(part, rng) for part in self._parts()]
        for i, part in enumerate(self._parts()):
            X = self.kept[i] if drawn else self.batches.fetch(part)
            yield X, None if weights is None else from_numpy(weights[part], X)

    def all(self) -> tuple[Any, Any] | None:
        """Return the rows of all ranks as one NumPy array (N, D), and their weights (N,) or None.

        None where a rank can't read the rows of others: then all ranks have None.
        """
        if not self.team.sees_all():
            return None
        if self.batches.transform is not None:
            index, X = self.index, np.concatenate([to_numpy(part) for part, _ in self.chunks()])
        else:
            index = self.batches.rows
            X = to_numpy(self.batches.fetch(index))
        return X, None if self.batches.weights is None else self.batches.weights[index]

    def some(self) -> Any:
        """Return rows (n, D) in model space as a NumPy array, a row as often as its weight says.

        Evenly spaced ones where all are many. None where a rank can't read the rows of others.
        """
        if not self.team.sees_all():
            return None
        index, weights = self.batches.rows, self.batches.weights
        n = min(len(index), math.ceil(SOME / self.batches.X.shape[1]))
        places = (np.arange(n) + 0.5) / n
        if weights is None:
            index = index[np.ceil(places * len(index)).astype(np.int64) - 1]
        else:
            sums = np.cumsum(weights[index])
            index = index[np.searchsorted(sums, places * sums[-1])]
        rng = np.random.default_rng([0, 0])
        parts = np.array_split(index, math.ceil(n / self.size))
        return np.concatenate([to_numpy(self.batches.fetch(part, rng)) for part in parts])

    def log_likelihood(self, layers: Layers, total: float) -> float:
        """Return the mean log-likelihood in nats, weighted; `total`: sum of log|det W|."""
        values: list[Any] = []
        for X, weights in self.chunks():
            L_p, L_J1 = data_terms(layers, forward(layers, X, self.activation), *self._model())
            values.append(to_numpy(L_p + L_J1 if weights is None else weights * (L_p + L_J1)))
        return self.team.mean(np.concatenate(values).astype(np.float64)) + total

    def survey(self, layers: Layers) -> Seen:
        """Return the moments of all rows, in the chart of the layers' own outputs; see `Recipe`."""
        xp, L = check(layers), len(layers)
        combined: Any = np.zeros((6, L, layers[0].b.shape[0]))
        for tape, deltas, n in self._passes(layers):
            combined = _together(combined, _moments(tape, deltas, n))
        combined = self._of_all_ranks(combined)
        mean, variance, score, square, product = (
            from_numpy(row, layers[0].b) for row in combined[1:]
        )
        none = xp.zeros_like(mean[:, 0])
        return Seen(mean, variance, score, square, product, none, none, none, xp.sum(none) + 1)

    def xi_norms(self, layers: Layers) -> tuple[float, ...]:
        """Return |xi~| of each layer over all rows, Frobenius, in the standardised chart.

        Of xi~ = [xi, G_b]: 0 at a stationary point. Cost: a pass and L products N D^2.
        """
        L, D = len(layers), layers[0].b.shape[0]
        combined: Any = np.zeros((6, L, D))
        sums: Any = np.zeros((L, D, D))  # of delta y', about the mean of the first part
        of_context: Any = np.zeros((L, D, context_of(layers)))  # of delta u'
        middle: Any = None
        for tape, deltas, n in self._passes(layers):
            moments = _moments(tape, deltas, n)
            middle = moments[1] if middle is None else middle
            combined = _together(combined, moments)
            for k, (Y, Delta) in enumerate(zip(tape.Ys, deltas, strict=True)):
                Y, Delta = to_numpy(Y), to_numpy(Delta)
                sums[k] += n * (Delta.T @ (Y - middle[k].astype(Y.dtype)))
                if of_context.size:
                    of_context[k] += n * (Delta.T @ to_numpy(tape.one)[:, :-1])
        # about 0 again, as the parts of all ranks are, then about the mean of all rows
        sums += combined[0, :, :, None] * combined[3][:, :, None] * middle[:, None, :]
        combined = self._of_all_ranks(combined)
        sums, of_context = (self.team.gather(x.reshape(-1)).sum(axis=0) for x in (sums, of_context))
        n, mean, variance, score = combined[:4]
        std = np.sqrt(variance + np.finfo(float).tiny)  # (L, D)
        xi = sums.reshape(L, D, D) / n[:, :, None] - score[:, :, None] * mean[:, None, :]
        xi *= std[:, :, None] / std[:, None, :]
        xi[:, range(D), range(D)] += 1
        G = of_context.reshape(L, D, -1) / n[:, :, None] * std[:, :, None]
        squares = (xi * xi).sum(axis=(1, 2)) + ((score * std) ** 2).sum(axis=1)
        squares += (G * G).sum(axis=(1, 2))
        return tuple(float(x) for x in np.sqrt(squares))

    def _of_all_ranks(self, combined: Any) -> Any:
        """Return the moments of the rows of all ranks; see `_moments`."""
        parts = self.team.gather(combined.reshape(-1)).reshape(-1, *combined.shape)
        return functools.reduce(_together, parts)

    def _passes(self, layers: Layers) -> Iterator[tuple[Tape, Any, int]]:
        """Yield tape, deltas and number of rows of each part; the deltas carry 1 / n."""
        for X, weights in self.chunks():
            tape = forward(layers, X, self.activation)
            yield tape, backprop(layers, tape, *self._model(), weights), X.shape[0]

    def _model(self) -> tuple[Activation, Density]:
        return self.activation, self.density


def measured(
    state: State,
    rule: Recipe,
    rows: Rows,
    step: Callable[..., tuple[State, StepInfo]],
    model: dict[str, Any],
) -> Measured:
    """Let the rule measure all rows: their moments, then a pass of steps of size 0 over them.

    `step(state, X, counts, **options)` is what takes a step of the team.
    """
    survey, values, sizes = rows.survey(state.layers), [], []
    state = state._replace(rule_state=rule.measuring(state.layers, survey), t=0)
    upcoming = rows.batches.in_order()
    for batch in upcoming:
        state, info = step(state, batch.X, batch.counts, **model, rule=rule, **batch.extra)
        upcoming.ahead()
        (status,) = read([info])
        if status.rejected:
            return Measured(state, -math.inf, batch.X)
        values.append(status.value)
        sizes.append(batch.share * sum(batch.counts))
    state = state._replace(t=0)  # a window begins
    state = state._replace(rule_state=rule.in_window(check(state.layers), state))
    return Measured(state, float(np.average(values, weights=sizes)))


def _moments(tape: Tape, deltas: Any, n: int) -> Any:
    """Return n, mean and variance of Y, means of delta, delta^2 and delta Y; (6, L, D), float64."""
    rows = []
    for Y, Delta in zip(tape.Ys, deltas, strict=True):
        Y, delta = to_numpy(Y).astype(float), n * to_numpy(Delta).astype(float)  # (n, D) each
        means = (x.mean(axis=0) for x in (delta, delta * delta, delta * Y))
        rows.append([np.full(Y.shape[1], float(n)), Y.mean(axis=0), Y.var(axis=0), *means])
    return np.swapaxes(np.array(rows), 0, 1)


def _together(one: Any, other: Any) -> Any:
    """Return the moments of two sets of rows together; see `_moments`."""
    n = one[0] + other[0]
    share = other[0] / n
    both = one + share * (other - one)
    both[0] = n
    both[2] += share * (1 - share) * (other[1] - one[1]) ** 2
    return both
