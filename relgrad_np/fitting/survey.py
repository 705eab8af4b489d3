"""All rows that are fitted, passed through a net without a step: what they say of its layers.

`survey` is what a rule that measures needs before its first step, `log_likelihood` what layers are
compared by, `xi_norms` how far from a stationary point they are. On several ranks each has its part
of the rows; the sums of all are combined. What `transform` draws is drawn once, and kept.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from ..core.activations import Activation
from ..core.arrays import Array, check, from_numpy, to_numpy
from ..core.backprop import backprop
from ..core.densities import Density
from ..core.network import Layers, Tape, forward
from ..core.objective import data_terms
from ..rules.base import State, StepInfo
from ..rules.recipe import Recipe, Seen, positive
from .batches import Batches
from .status import read

CHUNK = 2**18  # numbers of a layer's output that are looked at together
MOST = 2**27  # numbers that are kept where `transform` draws them; of more, rows evenly spaced


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

    def all(self) -> tuple[Any, Any]:
        """Return this rank's rows as one NumPy array (N, D), and their weights (N,) or None."""
        X = np.concatenate([to_numpy(part) for part, _ in self.chunks()])
        return X, None if self.batches.weights is None else self.batches.weights[self.index]

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
            stacks = (_stacked(tape.Ys), n * _stacked(deltas))
            combined = _together(combined, _moments(*stacks))
        parts = self.team.gather(combined.reshape(-1)).reshape(-1, *combined.shape)
        combined = parts[0]
        for part in parts[1:]:
            combined = _together(combined, part)
        rows = [from_numpy(row, layers[0].b) for row in combined[1:]]
        none = xp.zeros_like(rows[0][:, 0])
        mean, variance, score, square, product = rows
        return Seen(mean, variance, score, square, product, none, none, xp.sum(none) + 1)

    def xi_norms(self, layers: Layers) -> tuple[float, ...]:
        """Return |xi~| of each layer over all rows, Frobenius, in the standardised chart.

        Of xi~ = [xi, G_b]: 0 at a stationary point. Cost: a pass and L products N D^2.
        """
        survey, D = self.survey(layers), layers[0].b.shape[0]
        mean, std = to_numpy(survey.mean), np.sqrt(to_numpy(positive(survey.variance)))  # (L, D)
        sums: Any = np.zeros((len(layers), D, D + 1))
        rows = 0
        for tape, deltas, n in self._passes(layers):
            rows += n
            for k, (Y, Delta) in enumerate(zip(tape.Ys, deltas, strict=True)):
                delta, u = n * to_numpy(Delta) * std[k], (to_numpy(Y) - mean[k]) / std[k]  # (n, D)
                sums[k, :, :D] += delta.T @ u
                sums[k, :, D] += delta.sum(axis=0)
        parts = self.team.gather(np.append(sums.reshape(-1), rows))  # of each rank
        total = parts.sum(axis=0)
        xi = (total[:-1] / total[-1]).reshape(sums.shape)
        xi[:, range(D), range(D)] += 1
        return tuple(float(x) for x in np.sqrt((xi * xi).sum(axis=(1, 2))))

    def _passes(self, layers: Layers) -> Iterator[tuple[Tape, Any, int]]:
        """Yield tape, deltas and number of rows of each part; the deltas carry 1 / n."""
        for X, weights in self.chunks():
            tape = forward(layers, X, self.activation)
            yield tape, backprop(layers, tape, *self._model(), weights), X.shape[0]

    def _model(self) -> tuple[Activation, Density]:
        return self.activation, self.density


class Measured(NamedTuple):
    """A state whose rule has measured all rows, and their mean log-likelihood, nats.

    `bad`: the batch on which the objective is not finite, if there is one.
    """

    state: State
    value: float
    bad: Array | None = None


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
    for batch in rows.batches.in_order():
        state, info = step(state, batch.X, batch.counts, **model, rule=rule, **batch.extra)
        rows.batches.ahead()
        (status,) = read([info])
        if status.rejected:
            return Measured(state, -math.inf, batch.X)
        values.append(status.value)
        sizes.append(batch.share * sum(batch.counts))
    state = state._replace(t=0)  # a window begins
    state = state._replace(rule_state=rule.in_window(check(state.layers), state))
    return Measured(state, float(np.average(values, weights=sizes)))


def _stacked(arrays: Any) -> Any:
    """Return arrays (N, D) of all layers as one on the host, (L, N, D) in float64."""
    return np.stack([to_numpy(x) for x in arrays]).astype(float)


def _moments(Y: Any, delta: Any) -> Any:
    """Return n, mean and variance of Y, means of delta, delta^2 and delta Y; (6, L, D)."""
    n = np.full(Y[:, 0].shape, float(Y.shape[1]))
    means = [x.mean(axis=1) for x in (delta, delta * delta, delta * Y)]
    return np.stack([n, Y.mean(axis=1), Y.var(axis=1), *means])


def _together(one: Any, other: Any) -> Any:
    """Return the moments of two sets of rows together; see `_moments`."""
    n = one[0] + other[0]
    share = other[0] / n
    both = one + share * (other - one)
    both[0] = n
    both[2] += share * (1 - share) * (other[1] - one[1]) ** 2
    return both
