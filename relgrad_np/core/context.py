"""Context: y = W z + B u~, where u~ = (u, 1) are c given variables and a one; B is (D, c + 1).

A bias that depends on u makes the model a density of x given u. It stays in the affine group,
W~ = [[W, B], [0, I]], so that the relative gradient G~ W~' W~ is what it was, with u~ in the place
of 1:

    xi = Delta.T @ Y + I      R_W = xi W = Delta.T @ (Y @ W) + W
                              R_B = xi B + G_B = Delta.T @ (Y @ B + U~) + B

log|det W|, its tracking, caps and the N x N matrices do not know of u. The path of the outputs
depends neither on how x is mixed nor on what the context adds to it, x -> M x + C u + a. Derived in
docs/mathematics.md. A row of X is (x, u), D + c columns: W~ maps (z, u, 1) to (y, u, 1). A layer
says by its bias which of the two it is: b (D,) knows no context. In the formulas of the core stands
`b`, and `one`, which is 1 or U~.
"""

from collections.abc import Sequence
from typing import Any

from .arrays import Array, check, check_rows, fits, namespace


def split(layers: Sequence[Any], X: Array, name: str = "X") -> tuple[Array, Array]:
    """Return x (N, D) and `one`, 1.0 or U~ (N, c + 1), of rows X (N, D + c) that are (x, u).

    Raises: see `arrays.check`.

    >>> import numpy as np, relgrad_np as rg
    >>> split((rg.Layer(np.eye(1), np.zeros((1, 2))),), np.array([[0.0, 5.0]]))
    (array([[0.]]), array([[5., 1.]]))
    """
    xp, b = check_rows(layers, **{name: X}), layers[0].b
    if b.ndim == 1:
        return X, 1.0
    D = b.shape[0]
    return X[:, :D], xp.concat([X[:, D:], xp.ones_like(X[:, :1])], axis=1)


def joined(layers: Sequence[Any], x: Array, context: Array | None) -> Array:
    """Return rows (x, u) of x (N, D) and its context (N, c); x where layers know of none.

    ValueError or TypeError, by name, for a context that does not fit.

    >>> import numpy as np, relgrad_np as rg
    >>> joined((rg.Layer(np.eye(1), np.zeros((1, 2))),), np.zeros((1, 1)), np.ones((1, 1)))
    array([[0., 1.]])
    """
    xp, b = check(layers, x=x), layers[0].b
    if b.ndim == 1:
        if context is not None:
            raise ValueError(f"`context` needs layers with b (D, c + 1), got b {tuple(b.shape)}")
        return x
    if context is None:
        raise ValueError(f"`context` (N, {b.shape[1] - 1}) is needed: b is {tuple(b.shape)}")
    fits(context, "context", layers[0].W, (x.shape[0], b.shape[1] - 1))
    return xp.concat([x, context], axis=1)


def context_of(layers: Sequence[Any]) -> int:
    """Return c, of how many variables of context the biases know.

    >>> import numpy as np, relgrad_np as rg
    >>> context_of((rg.Layer(np.eye(1), np.zeros((1, 3))),))
    2
    """
    b = layers[0].b
    return 0 if b.ndim == 1 else int(b.shape[1]) - 1


def require_one(layers: Sequence[Any], one: Array) -> Array:
    """Return what biases are multiplied with; ValueError where it is not what the layers need.

    >>> import numpy as np, relgrad_np as rg
    >>> require_one((rg.Layer(np.eye(1), np.zeros(1)),), 1.0)
    1.0
    """
    shape, b = getattr(one, "shape", ()), layers[0].b
    if tuple(shape[1:]) != tuple(b.shape[1:]):
        raise ValueError(f"`one` must be {'1' if b.ndim == 1 else f'(N, {b.shape[1]})'}, got {one}")
    return one


def times(b: Array, one: Array) -> Array:
    """Return what a bias adds to outputs: b (D,), or each row's B u~, (N, D).

    >>> import numpy as np
    >>> times(np.array([[2.0, 1.0]]), np.array([[5.0, 1.0]]))
    array([[11.]])
    """
    return b if b.ndim == 1 else one @ b.T


def each_row(one: Array, Y: Array) -> Array:
    """Return `one` as an array of N rows, those of Y: ones (N,), or U~ (N, c + 1).

    >>> import numpy as np
    >>> each_row(1.0, np.zeros((2, 5)))
    array([1., 1.])
    """
    return namespace(Y, "Y").ones_like(Y[:, 0]) if isinstance(one, float) else one


def against(Delta: Array, one: Array) -> Array:
    """Return Delta.T @ 1 (D,), or Delta.T @ U~ (D, c + 1): the ordinary gradient by the bias.

    >>> import numpy as np
    >>> against(np.array([[1.0], [2.0]]), 1.0), against(np.array([[1.0], [2.0]]), np.eye(2))
    (array([3.]), array([[1., 2.]]))
    """
    xp = namespace(Delta, "Delta")
    return xp.sum(Delta, axis=0) if isinstance(one, float) else Delta.T @ one


def as_bias(m: Array, b: Array) -> Array:
    """Return a shift m (D,) of outputs as a bias like b: with context, 0 for it and then m.

    What is a bias like b already stays as it is.

    >>> import numpy as np
    >>> as_bias(np.array([7.0]), np.zeros((1, 3)))
    array([[0., 0., 7.]])
    """
    if b.ndim == getattr(m, "ndim", b.ndim):
        return m
    xp = namespace(b, "b")
    return xp.concat([xp.zeros_like(b[:, :-1]), m[:, None]], axis=1)


def scaled(s: Array, b: Array) -> Array:
    """Return diag(s) b of s (D,) and a bias, or anything else of D rows.

    >>> import numpy as np
    >>> scaled(np.array([2.0]), np.array([[1.0, 3.0]]))
    array([[2., 6.]])
    """
    return s * b if b.ndim == 1 else s[:, None] * b


def as_columns(b: Array) -> Array:
    """Return a bias as a matrix (D, 1), or (D, c + 1).

    >>> import numpy as np
    >>> as_columns(np.zeros(2)).shape, as_columns(np.zeros((2, 3))).shape
    ((2, 1), (2, 3))
    """
    return b[:, None] if b.ndim == 1 else b
