"""Context in a frame of its own, u^ = J u~, in which E u^ u^' = I over the rows; the last is 1.

In a layer y = W z + B u~ the residuals of the regression of y on u~ take the place of centred
outputs, and u^ that of 1. With M^ = E y u^', M = M^ J, r = y - M u~ and a direction (E, T^):

    y+ = M u~ + e^E r + phi1(E) T^ u^,     G = E delta r' + I,     g = E delta u^'

Without context u^ = 1 and M is the mean. Nothing depends on the units of the context, nor on how
its variables are mixed, for J of other units makes the same u^ up to a rotation.
"""

from typing import Any, NamedTuple

import numpy as np

from ...core.arrays import Array, from_numpy, namespace, to_numpy
from ...core.context import split
from ...core.network import Layers
from ...core.numerics import widest

LOST = 16  # times eps: a smaller share of a variable's size, or of the largest direction, is none


class Frame(NamedTuple):
    """J (c + 1, c + 1), or None where biases know no context.

    >>> Frame(None).bias("m")
    'm'
    """

    J: Array = None

    def bias(self, T: Array) -> Array:
        """Return what T^ (D, c + 1) in the frame is as a bias, T^ J; (D,) stays.

        >>> Frame(np.diag([0.5, 1.0])).bias(np.array([[4.0, 3.0]]))
        array([[2., 3.]])
        """
        return T if self.J is None else T @ self.J

    def layer(self, d: Array) -> Array:
        """Return the direction [E, T^] of one layer, (D, D + c + 1), as [E, T].

        >>> Frame(np.diag([0.5, 1.0])).layer(np.array([[7.0, 4.0, 3.0]]))
        array([[7., 2., 3.]])
        """
        if self.J is None:
            return d
        D = d.shape[0]
        return namespace(d, "d").concat([d[:, :D], self.bias(d[:, D:])], axis=1)


class FramedRows(NamedTuple):
    """Rows x (N, D); `one`, 1.0 or U~ (N, c + 1); `hat`, 1.0 or u^ (N, c + 1); and the frame.

    >>> FramedRows("X", 1.0, 1.0, Frame()).hat
    1.0
    """

    X: Array
    one: Array
    hat: Array
    frame: Frame


BARE = Frame()


def framed(layers: Layers, X: Array, weights: Array | None) -> FramedRows:
    """Return rows X (N, D + c) apart, with their context in its frame; weights (N,) or None.

    A direction of the context that does not vary has no part in u^, whose element is 0 there. Cost:
    a singular value decomposition (N, c), on the host.

    >>> from relgrad_np import Layer
    >>> rows = np.array([[7.0, 3.0], [7.0, 1.0]])
    >>> framed((Layer(np.eye(1), np.zeros((1, 2))),), rows, None).hat
    array([[ 1.,  1.],
           [-1.,  1.]])
    """
    x, one = split(layers, X)
    if isinstance(one, float):
        return FramedRows(x, 1.0, 1.0, BARE)
    U = to_numpy(one)[:, :-1].astype(np.float64)  # (N, c)
    w = np.ones(len(U)) if weights is None else to_numpy(weights).astype(np.float64)
    share, eps = w / w.sum(), float(namespace(X, "X").finfo(X.dtype).eps)
    mean = share @ U
    off = U - mean  # (N, c)
    size = np.sqrt(share @ off**2)
    varies = size > LOST * eps * np.abs(U).max(axis=0, initial=0.0)
    scale = np.where(varies, 1 / np.where(varies, size, 1.0), 0.0)
    K = _whitening(np.sqrt(share)[:, None] * off * scale, LOST * eps) * scale  # (c, c)
    J = np.eye(len(mean) + 1)
    J[:-1, :-1], J[:-1, -1] = K, -K @ mean
    hat = np.concatenate([off @ K.T, np.ones((len(U), 1))], axis=1)
    xp, wide = namespace(X, "X"), widest(X)
    like = xp.zeros(1, dtype=wide, device=X.device)
    return FramedRows(x, one, from_numpy(hat, X), Frame(from_numpy(J, like)))


def _whitening(A: Any, least: float) -> Any:
    """Return K (c, c) with K A'A K' = I for A (N, c), 0 in directions of less than this share."""
    K = np.zeros((A.shape[1], A.shape[1]))
    if A.size:
        S, V = np.linalg.svd(A, full_matrices=False)[1:]
        kept = (S > 0) & (S / max(S[0], np.finfo(float).tiny) > least)
        # of one sign, whatever the library's: a resumed fit remembers moves in this frame
        sign = np.sign(V[range(len(V)), np.abs(V).argmax(axis=1)])
        K[: len(S)] = (sign * kept / np.where(kept, S, 1.0))[:, None] * V
    return K
