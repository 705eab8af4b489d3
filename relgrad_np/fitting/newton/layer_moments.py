"""What the rows say of one layer inside a net: sums over parts of them, about a mean or regression.

With context the regression of outputs on it, m u^ in its frame, takes the place of their mean.
"""

from collections.abc import Sequence
from typing import NamedTuple

from ...core.arrays import Array, namespace
from ...core.context import as_columns
from ...core.numerics import eye, widest


class RowPart(NamedTuple):
    """Rows X (n, D), weights (n,) or None, the part's share of all; U~ and u^ (n, c + 1), or 1.

    >>> RowPart("X", None, 1.0).hat
    1.0
    """

    X: Array
    weights: Array | None
    share: float
    one: Array = 1.0
    hat: Array = 1.0


class LayerMoments(NamedTuple):
    """Of one layer: mean m (D,), A = E u u', B = E delta delta', (D, D), and xi~ (D, D + c + 1).

    With context m is (D, c + 1), and m u^ the regression of outputs on it.

    >>> LayerMoments("m", "A", "B", "xi").m
    'm'
    """

    m: Array
    A: Array
    B: Array
    xi: Array


def centres_of(Ys: Sequence[tuple[Array, ...]], parts: Sequence[RowPart]) -> tuple[Array, ...]:
    """Return about where to sum, of each layer: the first part's mean, or the regression of all.

    `Ys`: the outputs (n, D) of each layer, for each part.
    """
    if isinstance(parts[0].hat, float):
        return tuple(namespace(Y, "Y").mean(Y, axis=0) for Y in Ys[0])
    return tuple(
        sum(
            (_weighted(Y, part).T @ part.hat) * (part.share / part.X.shape[0])
            for Y, part in zip(of_layer, parts, strict=True)
        )
        for of_layer in zip(*Ys, strict=True)
    )


def sums_of(U: Array, delta: Array, part: RowPart) -> list[Array]:
    """Return sums of u, u u', delta delta', delta u' and delta over a part: shares of all.

    With context, u u^' and delta u^' for u and delta.
    """
    xp, wide, each = namespace(U, "U"), widest(U), part.share / part.X.shape[0]
    Uw, Dw = _weighted(U, part), _weighted(delta, part)
    products = (Uw.T @ U, Dw.T @ delta, Dw.T @ U)  # each (D, D); the first two: half the work
    if isinstance(part.hat, float):
        means = [xp.sum(x, axis=0, dtype=wide) for x in (Uw, Dw)]
    else:
        means = [xp.astype(x.T @ part.hat, wide) for x in (Uw, Dw)]
    return [each * means[0], *(each * xp.astype(x, wide) for x in products), each * means[1]]


def centred(c: Array, u: Array, A: Array, B: Array, G: Array, g: Array) -> LayerMoments:
    """Return what sums about c say about c + u, the mean or, with context, the regression."""
    xp = namespace(A, "A")
    u_, g_ = as_columns(u), as_columns(g)
    A = A - u_ @ u_.T
    G = G - g_ @ u_.T + eye(xp, A)
    return LayerMoments(xp.astype(c, u.dtype) + u, A, B, xp.concat([G, g_], axis=1))


def _weighted(Y: Array, part: RowPart) -> Array:
    return Y if part.weights is None else Y * part.weights[:, None]
