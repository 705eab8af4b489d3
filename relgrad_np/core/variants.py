"""Other relative gradients of the same layer, by name: what others compute, to compare with.

    side="output", bias="separate"    R_W = Delta.T @ ((Y - b) @ W) + W  R = G W' W, R_b = G_b
    side="input"                      R_W = ((Delta @ W) @ W.T).T @ Z + W     R = W W' G
                   bias="augmented"   R_b = W @ (W.T @ G_b);  bias="separate": G_b
    side="output", bias="published"   as the default, less b in R_b: what the authors' code does

The default, side="output" with bias="augmented", is in `relative`.
"""

from .arguments import one_of
from .arrays import Array
from .context import against, times
from .network import Layer

SIDES = ("output", "input")
BIASES = ("augmented", "separate", "published")


def check_variant(side: str, bias: str) -> None:
    """Refuse, by name, a variant that is none."""
    one_of("side", side, SIDES)
    one_of("bias", bias, BIASES)
    if side == "input" and bias == "published":
        raise ValueError("`bias` 'published' is defined for side='output' only")


def variant(
    layer: Layer, Z: Array, Y: Array, Delta: Array, side: str, bias: str, one: Array = 1.0
) -> Layer:
    """Return R_W and R_b of one layer in another variant than the default; see above.

    Z, Y, Delta (N, D), `one` of a Tape. Cost: two products (N, D) x (D, D), three for the input
    side.

    >>> import numpy as np
    >>> one, layer = np.ones((1, 1)), Layer(np.array([[2.0]]), np.array([1.0]))
    >>> variant(layer, one, 3 * one, -3 * one, "output", "published").b  # the default has -11
    array([-12.])
    """
    (W, b), G_b = layer, against(Delta, one)  # (D,), or (D, c + 1)
    if side == "input":
        R_W = ((Delta @ W) @ W.T).T @ Z + W  # (D, D); Delta @ W first: W @ W.T is cubic
        return Layer(R_W, G_b if bias == "separate" else W @ (W.T @ G_b))
    if bias == "separate":
        return Layer(Delta.T @ ((Y - times(b, one)) @ W) + W, G_b)
    return Layer(Delta.T @ (Y @ W) + W, Delta.T @ (Y @ b + one))
