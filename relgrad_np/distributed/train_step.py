"""`train_step` on several ranks, each with some rows of the batch; see `exchange` for what is sent.

Every rank ends with the same layers, bit for bit: it gives the rule the same arrays. What a rank
has of layer k is on its way while the delta of layer k - 1 is computed.
"""

from typing import Any, NamedTuple

import numpy as np

from ..core.activations import Activation
from ..core.arrays import Array, check, from_numpy
from ..core.backprop import downwards
from ..core.densities import Density
from ..core.network import Layers, Tape, forward
from ..core.objective import data_terms
from ..rules.base import Rule, State, StepInfo, make_move
from .exchange import HEADER, needs_Z
from .messages import Pending, Wire


class Seen(NamedTuple):
    """What a rule is given: a tape and deltas, the same on all ranks.

    >>> Seen("tape", "deltas").tape
    'tape'
    """

    tape: Tape
    deltas: tuple[Array, ...]


def train_step(
    state: State,
    X: Array,
    *,
    activation: Activation,
    density: Density,
    rule: Rule,
    weights: Array = None,
    counts: tuple[int, ...],
    wire: Wire,
    exchange: str,
    say: float = -1.0,
) -> tuple[State, StepInfo, Any]:
    """Take the step of `rules.train_step` on the batch whose rows X (counts[rank], D) are part of.

    `weights`: of these rows, of mean 1 over the whole batch. Returns what each rank `say`s, too.
    Cost: see `exchange`.
    """
    N, layers = sum(counts), state.layers
    tape = forward(layers, X, activation)
    xp = check(layers)
    terms = data_terms(layers, tape, activation, density)
    sums = (float(xp.sum(term if weights is None else weights * term)) for term in terms)
    header = wire.gather(np.array([[*sums, say]]), (1,) * len(counts))
    share = (1.0 if weights is None else weights[:, None]) / N
    deltas = downwards(layers, tape, activation, density, share)
    if exchange == "sums":
        seen = _summed(layers, tape, deltas, wire)
    else:
        seen = _gathered(rule, activation, layers, tape, deltas, wire, counts, exchange)
    told = header.result(np.empty(HEADER))  # (n, 3), added in the ranks' order
    L_p, L_J1 = (from_numpy(np.asarray(told[:, i].sum() / N), layers[0].W) for i in (0, 1))
    return *make_move(state, rule, rule.propose(state, *seen), L_p, L_J1), told[:, 2]


def _gathered(
    rule: Rule,
    activation: Activation,
    layers: Layers,
    tape: Tape,
    deltas: Any,
    wire: Wire,
    counts: tuple[int, ...],
    exchange: str,
) -> Seen:
    """Return the rows of all ranks, gathered from the last layer to the first."""
    L, like = len(layers), layers[0].W
    X = wire.gather(tape.Zs[0], counts) if needs_Z(rule) else None
    under_way: list[list[Pending]] = []
    for k, Delta in zip(reversed(range(L)), deltas, strict=True):
        sent = [wire.gather(Delta, counts), wire.gather(tape.Ys[k], counts)]
        wire.poke()
        if exchange == "products":
            sent.append(wire.gather(tape.Ys[k] @ layers[k].W, counts))
            wire.poke()
        under_way.append(sent)
    arrived = [[part.result(like) for part in sent] for sent in under_way][::-1]
    Deltas, Ys, *As = (tuple(column) for column in zip(*arrived, strict=True))
    Zs = Ys if X is None else (X.result(like), *map(activation.sigma, Ys[:-1]))
    return Seen(Tape((*Zs, Ys[-1]), Ys, *As), Deltas)  # Zs are Ys if the rule looks at none


def _summed(layers: Layers, tape: Tape, deltas: Any, wire: Wire) -> Seen:
    """Return D + 1 rows that have the sums of all: K = Delta.T @ Y and G_b = sum Delta.

    Delta = [G_b - 1; I], Y = [0; K]: then Delta.T @ [Y, 1] = [K, G_b].
    """
    xp, like = check(layers), layers[0].W
    under_way = []
    for k, Delta in zip(reversed(range(len(layers))), deltas, strict=True):
        ones = xp.ones_like(tape.Ys[k][:, :1])
        under_way.append(wire.add(Delta.T @ xp.concat([tape.Ys[k], ones], axis=1)))
        wire.poke()
    for sent in under_way:
        sent.settle()
    Ys, Deltas = [], []
    for sent in reversed(under_way):
        sums = sent.result(xp.concat([like, like[:, :1]], axis=1))  # (D, D + 1)
        K, G_b = sums[:, :-1], sums[:, -1]
        one = xp.eye(like.shape[0], dtype=like.dtype, device=like.device)
        Ys.append(xp.concat([xp.zeros_like(K[:1, :]), K], axis=0))  # (D + 1, D)
        Deltas.append(xp.concat([(G_b - 1)[None, :], one], axis=0))
    return Seen(Tape((*Ys, Ys[-1]), tuple(Ys)), tuple(Deltas))
