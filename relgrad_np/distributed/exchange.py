"""What ranks exchange for a step, and what it costs: the model by which `fit` chooses.

The relative gradient of a batch of N samples is Delta.T @ A + W, A = Y @ W. Three ways to the same
step, for n ranks with N / n samples each, in numbers for each layer and step:

factors    gather Delta and Y, 2 N D; each rank computes A and makes the whole rank-N update
products   gather Delta, Y and A, 3 N D; A is computed where its rows are
sums       sum K~ = Delta.T @ [Y, 1], D (D + 1), over the ranks; A is K @ W: cubic, but free of N

Nothing else is needed: norms, charts, exponentials and determinants of a step follow from Delta and
Y, and those of the rules that ask of the rows no more than their sum (plain, exponential, scalar,
Adam) from K~. A gather sends a rank's own rows to n - 1 others, a sum 2 (n - 1) / n of its numbers.

    seconds = flops / machine.flops + elements / machine.elements + bytes touched / machine.memory
            + messages (hops machine.latency) + bytes sent / machine.bandwidth

elements: of the own rows in all layers, of which activations and densities are computed.

hops is log2 n, for gathers above 512 KiB and for sums n - 1, as in MPICH. Nothing overlaps in the
model, which is the worst case.
"""

import math
from typing import NamedTuple

from ..core.arguments import one_of
from ..rules.adam import Adam
from ..rules.base import Rule
from ..rules.plain import Exponential, Plain
from ..rules.recipe import Recipe

EXCHANGES = ("factors", "products", "sums")
LONG = 512 * 1024  # bytes from which MPICH gathers in a ring
HEADER = 3  # float64 numbers that a rank tells the others at each step: L_p, L_J1, to stop


class Machine(NamedTuple):
    """What a rank does in a second: float64 flops, elements, bytes touched, bytes sent.

    `latency`: seconds for a message to a neighbour. The default is what
    `python -m benchmarks.distributed` fitted to one core each of a busy machine.

    >>> Machine().latency < 1e-3
    True
    """

    flops: float = 1.8e10
    elements: float = 2.8e7
    memory: float = 9.1e9
    bandwidth: float = 5.2e8
    latency: float = 1.9e-4


class Cost(NamedTuple):
    """Of one step, for one rank: seconds of computing and of communication, bytes that it sends.

    >>> Cost(1.0, 0.5, 100).seconds
    1.5
    """

    compute: float
    communication: float
    sent: int

    @property
    def seconds(self) -> float:
        """Both, one after the other."""
        return self.compute + self.communication


def possible(rule: Rule) -> tuple[str, ...]:
    """Return the exchanges that a rule can use; one that nobody knows gets the factors.

    Charts and gains need the rows, and so does Adam on the input side. Only the plain and
    the exponential step take A from elsewhere.

    >>> possible(Plain()), possible(Recipe())
    (('factors', 'products', 'sums'), ('factors',))
    """
    if type(rule) in (Plain, Exponential):
        return EXCHANGES
    if isinstance(rule, Recipe):
        summed = rule.memory is None and rule.information is None
    else:
        summed = type(rule) is Adam and rule.side == "output"
    return ("factors", "sums") if summed else ("factors",)


def needs_Z(rule: Rule) -> bool:
    """Say whether the rule may look at the layers' inputs: then X is gathered, N D, too.

    >>> needs_Z(Plain()), needs_Z(Adam(side="input"))
    (False, True)
    """
    ours = isinstance(rule, Recipe) or type(rule) in (Plain, Exponential)
    return not ours and not (type(rule) is Adam and rule.side == "output")


class Work(NamedTuple):
    """What a step asks of one rank: flops, elements, bytes touched and sent, messages times hops.

    >>> Work(8.0, 2.0, 16.0, 4, 1).sent
    4
    """

    flops: float
    elements: float
    touched: float
    sent: int
    hops: int


def work(exchange: str, rule: Rule, N: int, D: int, L: int, n: int, *, itemsize: int = 8) -> Work:
    """Return what a step on N samples asks of each of n ranks.

    >>> work("factors", Plain(), 256, 2048, 2, 2).sent  # 2 N D L / n numbers of 8 bytes, 3 more
    8388632
    """
    one_of("exchange", exchange, EXCHANGES)
    own = math.ceil(N / n)
    rows = D + 1 if exchange == "sums" else N  # that the rule is given
    # forward L, backpropagation L - 1 products; then A and the update, and what a rule does with K
    flops = 2.0 * (2 * L - 1) * own * D**2
    if exchange == "sums":
        flops += L * 2.0 * own * D**2  # K of the own rows
    flops += L * 2.0 * ((own if exchange == "products" else rows) + rows) * D**2
    flops += L * _small(rule, rows, D)
    touched = L * itemsize * (8.0 * rows * D + _passes(rule) * D**2)
    short = math.ceil(math.log2(n)) if n > 1 else 0
    sent, hops = (n - 1) * HEADER * 8, short
    if exchange == "sums":
        messages, numbers = 2 * L, math.ceil(D * (D + 1) / n)
    else:
        messages, numbers = (2 + (exchange == "products")) * L + needs_Z(rule), own * D
    sent += messages * (n - 1) * numbers * itemsize
    long = exchange == "sums" or n * numbers * itemsize >= LONG
    hops += messages * (n - 1 if long else short)
    return Work(flops * itemsize / 8, float(L * own * D), touched, sent, hops)


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
    seconds = asked.hops * machine.latency + asked.sent / machine.bandwidth
    return Cost(compute, seconds, asked.sent)


def choose(
    rule: Rule, N: int, D: int, L: int, n: int, *, itemsize: int = 8, machine: Machine | None = None
) -> str:
    """Return the exchange that costs the least, of those the rule can use.

    >>> choose(Plain(), 256, 2048, 2, 8), choose(Plain(), 65536, 64, 2, 8)
    ('products', 'sums')
    """
    return min(
        possible(rule),
        key=lambda name: cost(name, rule, N, D, L, n, itemsize=itemsize, machine=machine).seconds,
    )


def _small(rule: Rule, rows: int, D: int) -> float:
    """Return the flops of what a rule does with K, the smaller of (rows, rows) and (D, D)."""
    m = min(rows, D)
    if isinstance(rule, Adam):
        return 0.0
    flops = 2.0 * rows * D * m + 2 / 3 * m**3
    if getattr(rule, "kind", "") == "exponential":
        flops += 16.0 * m**3  # phi1, eight products
    if isinstance(rule, Recipe) and rule.size != "constant":
        flops += 4.0 * m * m * D if rows < D else 2.0 * rows * D**2  # |xi|
    return flops


def _passes(rule: Rule) -> float:
    """Return how often an update goes over W or an array of its size."""
    return 30.0 if isinstance(rule, Adam) else 8.0
