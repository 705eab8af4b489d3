"""A small reverse-mode tape: numbers that remember how they came about, for any ordered field.

For derivatives where differencing would take too long; `tests/oracle/test_truths.py` compares it
with differencing. It knows sums of products and functions of one number, nothing of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

Number = Any


class Node:
    """A number and, for each number it was made of, its partial derivative with respect to it.

    >>> x, y = Node(3), Node(4)
    >>> grads = backward(dot([x, x], [x, y]))  # x x + x y
    >>> grads[x], grads[y]
    (10, 3)
    """

    __slots__ = ("parents", "partials", "value")

    def __init__(
        self, value: Number, parents: Sequence[Node] = (), partials: Sequence[Number] = ()
    ) -> None:
        self.value, self.parents, self.partials = value, parents, partials

    def __add__(self, other: Node) -> Node:
        return Node(self.value + other.value, (self, other), (1, 1))

    def __sub__(self, other: Node) -> Node:
        return Node(self.value - other.value, (self, other), (1, -1))

    def __mul__(self, other: Node) -> Node:
        return Node(self.value * other.value, (self, other), (other.value, self.value))

    def __truediv__(self, other: Node) -> Node:
        ratio = self.value / other.value
        return Node(ratio, (self, other), (1 / other.value, -ratio / other.value))


def dot(one: Sequence[Node], two: Sequence[Node]) -> Node:
    """Return sum_i one[i] two[i] as a single node."""
    a, b = [x.value for x in one], [x.value for x in two]
    value = sum(x * y for x, y in zip(a, b, strict=True))
    return Node(value, (*one, *two), (*b, *a))


def total(nodes: Iterable[Node]) -> Node:
    """Return the sum of nodes as a single node."""
    nodes = tuple(nodes)
    return Node(sum(node.value for node in nodes), nodes, (1,) * len(nodes))


def apply(f: Callable[[Number], Number], df: Callable[[Number], Number], x: Node) -> Node:
    """Return f(x), whose derivative is df(x)."""
    return Node(f(x.value), (x,), (df(x.value),))


def backward(end: Node) -> dict[Node, Number]:
    """Return the derivative of `end` with respect to every node it was made of."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(end, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(parent, False) for parent in node.parents if parent not in seen]
    grads: dict[Node, Number] = dict.fromkeys(order, 0)
    grads[end] = 1
    for node in reversed(order):
        grad = grads[node]
        for parent, partial in zip(node.parents, node.partials, strict=True):
            grads[parent] = grads[parent] + grad * partial
    return grads
