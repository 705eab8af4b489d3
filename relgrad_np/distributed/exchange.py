"""What ranks exchange in a step, and what it costs: the model by which `fit` chooses.

The relative gradient of a batch of N samples is Delta.T @ A + W with A = Y @ W, a sum over samples.
There are three ways to the same step. For n ranks with N / n samples each, they exchange in each
step and layer:

factors    Delta and Y are gathered, 2 N D numbers; each rank computes A and the rank-N update
products   Delta, Y and A are gathered, 3 N D numbers; each rank computes A for its own rows only
sums       [K, G_b] = Delta.T @ [Y, 1] is summed, D (D + 1) numbers; the update needs K @ W, which
           is cubic in D but free of N

Nothing else is sent. Norms, charts, exponentials and determinants of a step follow from Delta and
Y. Rules that need only sums over the rows (plain, exponential, scalar, Adam) can take those from
[K, G_b]. In a gather a rank sends its rows to n - 1 others, in a sum 2 (n - 1) / n of its numbers.

    seconds = flops / machine.flops + elements / machine.elements + touched / machine.memory
            + transfers * machine.latency + sent / machine.bandwidth

Elements are those of a rank's own rows in all layers: activations and densities are computed for
each. Touched and sent are bytes. Transfers are messages to a neighbour that follow one another: for
each gather log2 n, and n - 1 for gathers above 512 KiB and for sums, as in MPICH. The model lets
nothing overlap, which is the worst case.
"""

import math
from typing import NamedTuple

from ..core.arguments import one_of
from ..rules.adam import Adam
from ..rules.base import Rule
from ..rules.plain import Exponential, Plain
from ..rules.recipe import Recipe
from ..rules.scalar import Scalar

EXCHANGES = ("factors", "products", "sums")
LONG = 512 * 1024  # bytes from which MPICH gathers in a ring
HEADER = 3  # float64 numbers of each rank, in each step: L_p, L_J1, and whether to stop


class Machine(NamedTuple):
    """What a rank does in a second: float64 flops, elements, bytes touched and bytes sent.

    `latency` is the time of an empty message to a neighbour, in seconds. The defaults are what
    `python -m benchmarks.distributed` fitted on a busy machine, with one core for each rank.

    >>> Machine().latency < 1e-3
    True
    """

    flops: float = 1.8e10
    elements: float = 2.8e7
    memory: float = 9.1e9
    bandwidth: float = 5.2e8
    latency: float = 1.9e-4


class Cost(NamedTuple):
    """What one step costs one rank: seconds to compute and to communicate, and bytes sent."""

    compute: float
    communication: float
    sent: int

    @property
    def seconds(self) -> float:
        """The time of both, one after the other."""
        return self.compute + self.communication


def possible(rule: Rule) -> tuple[str, ...]:
    """Return the exchanges that a rule can use; a rule of your own can use the factors only.

    Charts and gains need the rows, and so does Adam on the input side. Only the plain and
    the exponential step can use an A that was computed elsewhere.

    >>> possible(Plain()), possible(Recipe())
    (('factors', 'products', 'sums'), ('factors',))
    """
    if type(rule) in (Plain, Exponential):
        return EXCHANGES
    summed = isinstance(rule, Scalar) or (type(rule) is Adam and rule.side == "output")
    return ("factors", "sums") if summed else ("factors",)


def needs_Z(rule: Rule) -> bool:
    """Return whether the rule may look at the layers' inputs: then X (N, D) is gathered, too.

    >>> needs_Z(Plain()), needs_Z(Adam(side="input"))
    (False, True)
    """
    ours = isinstance(rule, (Recipe, Scalar)) or type(rule) in (Plain, Exponential)
    return not ours and not (type(rule) is Adam and rule.side == "output")


class Work(NamedTuple):
    """What a step asks of one rank: flops, elements, bytes touched and sent, and transfers."""

    flops: float
    elements: float
    touched: float
    sent: int
    transfers: int


def work(exchange: str, rule: Rule, N: int, D: int, L: int, n: int, *, itemsize: int = 8) -> Work:
    """Return what a step on N samples asks of each of n ranks.

    >>> work("factors", Plain(), 256, 2048, 2, 2).sent  # 2 N D L / n numbers of 8 bytes, 3 more
    8388632
    """
    one_of("exchange", exchange, EXCHANGES)
    own = math.ceil(N / n)
    rows = D + 1 if exchange == "sums" else N  # which the rule is given
    # L products forward and L - 1 backward; then A, the update, and what the rule does with K
    flops = 2.0 * (2 * L - 1) * own * D**2
    if exchange == "sums":
        flops += L * 2.0 * own * D**2  # K of the own rows
    flops += L * 2.0 * ((own if exchange == "products" else rows) + rows) * D**2
    flops += L * _small(rule, rows, D)
    touched = L * itemsize * (8.0 * rows * D + _passes(rule) * D**2)
    short = math.ceil(math.log2(n)) if n > 1 else 0
    sent, transfers = (n - 1) * HEADER * 8, short
    if exchange == "sums":
        messages, numbers = 2 * L, math.ceil(D * (D + 1) / n)
    else:
        messages, numbers = (2 + (exchange == "products")) * L + needs_Z(rule), own * D
    sent += messages * (n - 1) * numbers * itemsize
    long = exchange == "sums" or n * numbers * itemsize >= LONG
    transfers += messages * (n - 1 if long else short)
    return Work(flops * itemsize / 8, float(L * own * D), touched, sent, transfers)


def cost(
    exchange: str,
    rule: Rule,
    N: int,
    D: int,
    L: int,
    n: int,
    *,
    itemsize: int = 8,
    machine: Machine | None = None,
) -> Cost:
    """Return what a step on N samples costs each of n ranks.

    >>> cost("sums", Plain(), 256, 64, 2, 1).communication
    0.0
    """
    machine = Machine() if machine is None else machine
    asked = work(exchange, rule, N, D, L, n, itemsize=itemsize)
    compute = asked.flops / machine.flops + asked.elements / machine.elements
    compute += asked.touched / machine.memory
    seconds = asked.transfers * machine.latency + asked.sent / machine.bandwidth
    return Cost(compute, seconds, asked.sent)


def choose(
    rule: Rule, N: int, D: int, L: int, n: int, *, itemsize: int = 8, machine: Machine | None = None
) -> str:
    """Return the cheapest of the exchanges that the rule can use.

    >>> choose(Plain(), 256, 2048, 2, 8), choose(Plain(), 65536, 64, 2, 8)
    ('products', 'sums')
    """
    return min(
        possible(rule),
        key=lambda name: cost(name, rule, N, D, L, n, itemsize=itemsize, machine=machine).seconds,
    )


def _small(rule: Rule, rows: int, D: int) -> float:
    """Return the flops of what a rule does with K, of shape (rows, rows) or (D, D)."""
    m = min(rows, D)  # the smaller of the two shapes
    if isinstance(rule, Adam):
        return 0.0
    flops = 2.0 * rows * D * m + 2 / 3 * m**3
    if getattr(rule, "kind", "") == "exponential":
        flops += 16.0 * m**3  # phi1, eight products
    if isinstance(rule, (Recipe, Scalar)):
        flops += 4.0 * m * m * D if rows < D else 2.0 * rows * D**2  # |xi|
    return flops


def _passes(rule: Rule) -> float:
    """Return how often an update reads or writes an array of the size of W."""
    return 30.0 if isinstance(rule, Adam) else 8.0
