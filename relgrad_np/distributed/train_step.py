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
    one = None if isinstance(tape.one, float) else messages.gather(tape.one, counts)
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
    made = Tape((*Zs, Ys[-1]), Ys, *As)
    return made if one is None else made._replace(one=one.result(tape.one)), Deltas


def _summed(layers: Layers, tape: Tape, deltas: Any, messages: Messages) -> tuple[Tape, Deltas]:
    """Return a few rows whose sums are those of all rows: K = Delta.T @ Y and G_b = Delta.T @ one.

    D + 1 rows Delta = [G_b - 1; I], Y = [0; K], for Delta.T @ [Y, 1] = [K, G_b]; with context
    D + c + 1 rows Delta = [I; G_b.T], Y = [K; 0], U~ = [0; I].
    """
    xp, like, under_way = check(layers), layers[0].W, []
    bare = isinstance(tape.one, float)
    one = xp.ones_like(tape.Ys[0][:, :1]) if bare else tape.one  # (N, 1), or (N, c + 1)
    for Y, Delta in zip(reversed(tape.Ys), deltas, strict=True):
        under_way.append(messages.sum(Delta.T @ xp.concat([Y, one], axis=1)))
        messages.progress()
    for sent in under_way:
        sent.reduce()
    D, c = like.shape[0], one.shape[1] - 1
    unit = xp.eye(D + c + 1, dtype=like.dtype, device=like.device)
    Ys, Deltas = [], []
    for sent in reversed(under_way):
        sums = sent.result(unit[:D, :])  # (D, D + c + 1)
        K, G_b, zero = sums[:, :D], sums[:, D:], xp.zeros_like(sums[:, D:]).T
        if bare:
            Ys.append(xp.concat([zero, K], axis=0))
            Deltas.append(xp.concat([G_b.T - 1, unit[:D, :D]], axis=0))
        else:
            Ys.append(xp.concat([K, zero], axis=0))
            Deltas.append(xp.concat([unit[:D, :D], G_b.T], axis=0))
    made = Tape((*Ys, Ys[-1]), tuple(Ys))
    return made if bare else made._replace(one=unit[:, D:]), tuple(Deltas)
