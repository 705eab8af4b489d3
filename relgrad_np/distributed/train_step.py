"""`train_step` on several ranks, each of which has some rows of the batch.

See `exchange` for what they send. Every rank gives the rule the same arrays, so that every rank
ends with the same layers, bit for bit. What a rank has of layer k is sent before it computes the
delta of layer k - 1.
"""

from typing import Any

import numpy as np

from ..core.activations import Activation
from ..core.arrays import Array, check, detached, from_numpy
from ..core.backprop import downwards
from ..core.densities import Density
from ..core.network import Deltas, Layers, Tape, forward
from ..core.objective import data_terms
from ..rules.base import Rule, State, StepInfo, make_move
from .exchange import HEADER, needs_Z
from .messages import Messages


def train_step(
    state: State,
    X: Array,
    *,
    activation: Activation,
    density: Density,
    rule: Rule,
    weights: Array = None,
    counts: tuple[int, ...],
    messages: Messages,
    exchange: str,
    stop: float = -1.0,
) -> tuple[State, StepInfo, Any]:
    """Take the step of `rules.train_step` on a batch of which this rank has X (counts[rank], D).

    `weights` are those of these rows; over the whole batch their mean is 1. `stop` is a number that
    all ranks hear; the third thing returned has that of each rank, (n,). Cost: see `exchange`.
    """
    N, layers = sum(counts), state.layers
    tape = forward(layers, detached(X), activation)
    xp = check(layers)
    terms = data_terms(layers, tape, activation, density)
    sums = (float(xp.sum(term if weights is None else weights * term)) for term in terms)
    header = messages.gather(np.array([[*sums, stop]]), (1,) * len(counts))
    share = (1.0 if weights is None else weights[:, None]) / N
    deltas = downwards(layers, tape, activation, density, share)
    if exchange == "sums":
        seen = _summed(layers, tape, deltas, messages)
    else:
        seen = _gathered(rule, activation, layers, tape, deltas, messages, counts, exchange)
    told = header.result(np.empty(HEADER))  # (n, 3), added in the ranks' order
    L_p, L_J1 = (from_numpy(np.asarray(told[:, i].sum() / N), layers[0].W) for i in (0, 1))
    return *make_move(state, rule, rule.propose(state, *seen), L_p, L_J1), told[:, 2]


def _gathered(
    rule: Rule,
    activation: Activation,
    layers: Layers,
    tape: Tape,
    deltas: Any,
    messages: Messages,
    counts: tuple[int, ...],
    exchange: str,
) -> tuple[Tape, Deltas]:
    """Return the tape and deltas of all rows, gathered from the last layer to the first."""
    L, like = len(layers), layers[0].W
    X = messages.gather(tape.Zs[0], counts) if needs_Z(rule) else None
    under_way = []
    for k, Delta in zip(reversed(range(L)), deltas, strict=True):
        sent = [messages.gather(Delta, counts), messages.gather(tape.Ys[k], counts)]
        messages.progress()
        if exchange == "products":
            sent.append(messages.gather(tape.Ys[k] @ layers[k].W, counts))
            messages.progress()
        under_way.append(sent)
    arrived = [[part.result(like) for part in sent] for sent in under_way][::-1]
    Deltas, Ys, *As = (tuple(column) for column in zip(*arrived, strict=True))  # (N, D) each
    # a rule that never looks at Zs gets Ys in their place
    Zs = Ys if X is None else (X.result(like), *map(activation.sigma, Ys[:-1]))
    return Tape((*Zs, Ys[-1]), Ys, *As), Deltas


def _summed(layers: Layers, tape: Tape, deltas: Any, messages: Messages) -> tuple[Tape, Deltas]:
    """Return D + 1 rows whose sums are those of all rows: K = Delta.T @ Y and G_b = sum Delta.

    With Delta = [G_b - 1; I] and Y = [0; K], each (D + 1, D), Delta.T @ [Y, 1] = [K, G_b].
    """
    xp, like = check(layers), layers[0].W
    under_way = []
    for k, Delta in zip(reversed(range(len(layers))), deltas, strict=True):
        ones = xp.ones_like(tape.Ys[k][:, :1])  # (N, 1)
        under_way.append(messages.sum(Delta.T @ xp.concat([tape.Ys[k], ones], axis=1)))
        messages.progress()
    for sent in under_way:
        sent.reduce()
    Ys, Deltas = [], []
    for sent in reversed(under_way):
        sums = sent.result(xp.concat([like, like[:, :1]], axis=1))  # (D, D + 1)
        K, G_b = sums[:, :-1], sums[:, -1]
        one = xp.eye(like.shape[0], dtype=like.dtype, device=like.device)
        Ys.append(xp.concat([xp.zeros_like(K[:1, :]), K], axis=0))  # (D + 1, D)
        Deltas.append(xp.concat([(G_b - 1)[None, :], one], axis=0))  # (D + 1, D)
    return Tape((*Ys, Ys[-1]), tuple(Ys)), tuple(Deltas)
