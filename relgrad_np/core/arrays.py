"""The one core file that knows array libraries: whose arrays are these, and do they fit together.

The rest of the core is written against the array API standard: what goes in (library, dtype,
device) decides what comes out. Bad input fails here, once, by name; no array's values are read.
"""

from collections.abc import Callable, Sequence
from typing import Any

import array_api_compat as compat
import numpy as np

Array = Any  # NumPy, CuPy, torch, or whatever follows the array API standard
Namespace = Any  # the module whose functions work on such an array
Formula = Callable[[Namespace, Array], Any]
NUMPY, NUMPY_FLOATS = compat.array_namespace(np.empty(0)), (np.dtype("f4"), np.dtype("f8"))


def namespace(x: Array, name: str) -> Namespace:
    """Return the array namespace of a float array; TypeError, ValueError (dtype) by its name."""
    if type(x) is np.ndarray and x.dtype in NUMPY_FLOATS:  # what is asked most, at once
        return NUMPY
    plain = not isinstance(x, np.ndarray) or type(x) in (np.ndarray, np.memmap)
    if not (plain and compat.is_array_api_obj(x)):  # np.matrix, masked arrays: other semantics
        raise TypeError(f"`{name}` must be an array, got {type(x).__name__}")
    xp = compat.array_namespace(x)
    if x.dtype not in (xp.float32, xp.float64):
        raise ValueError(f"`{name}` must be float32 or float64, got {x.dtype}")
    return xp


def check(layers: Sequence[Any], **batches: Array) -> Namespace:
    """Check `layers` and (N, D) `batches`; return their array namespace.

    TypeError: no arrays, or of several libraries or devices. ValueError: no layers, a shape that
    does not fit, a dtype other than float32 or float64, mixed dtypes.
    """
    if not isinstance(layers, (tuple, list)) or not all(hasattr(layer, "W") for layer in layers):
        raise TypeError(f"`layers` must be a tuple of Layer(W, b), got {type(layers).__name__}")
    if not layers:
        raise ValueError("`layers` must hold at least one Layer(W, b), got none")
    first = layers[0].W
    xp = namespace(first, "W of layer 0")
    D = first.shape[0] if first.ndim == 2 else 0
    wide = getattr(layers[0].b, "ndim", 1) == 2 and layers[0].b.shape[1]
    bias = (D, wide) if wide else (D,)  # of a context of wide - 1 variables, or of none
    for k, layer in enumerate(layers):
        fits(layer.W, f"W of layer {k}", first, (D, D) if D else "(D, D) with D >= 1")
        fits(layer.b, f"b of layer {k}", first, bias)
    N = next((x.shape[0] for x in batches.values() if getattr(x, "ndim", 0) == 2), 0)
    for name, x in batches.items():
        fits(x, name, first, (N, D) if N and x.ndim == 2 else f"(N, {D}) with N >= 1")
    return xp


def check_rows(layers: Sequence[Any], **rows: Array) -> Namespace:
    """Check `layers` and rows (x, u) of data, (N, D + c) for biases (D, c + 1); see `context`."""
    xp, (W, b) = check(layers), layers[0]
    D, c = W.shape[0], 0 if b.ndim == 1 else b.shape[1] - 1
    for name, x in rows.items():
        N = x.shape[0] if getattr(x, "ndim", 0) == 2 else 0
        whole = (N, D + c) if N else f"(N, {D + c}) with N >= 1"
        words = f"{whole}: {D} columns and {c} of context"
        fits(x, name, W, whole if c == 0 or (N, D + c) == x.shape else words)
    return xp


def check_parts(layers: Sequence[Any], **parts: Sequence[Array]) -> Namespace:
    """Check `layers` and parts of a tape, deltas or factors: an array (N, D) for each layer."""
    for part, arrays in parts.items():
        if len(arrays) != len(layers):
            raise ValueError(f"`{part}` must be of {len(layers)} layers, got {len(arrays)}")
    named = ((f"{part}[{k}]", x) for part, arrays in parts.items() for k, x in enumerate(arrays))
    return check(layers, **dict(named))


def fits(x: Array, name: str, first: Array, shape: tuple[int, ...] | str) -> None:
    """Fail by name unless `x` has this shape and the library, device and dtype of `first`."""
    if type(x) is not type(first) or x.device != first.device or x.dtype != first.dtype:
        mine, theirs = namespace(x, name), namespace(first, "W of layer 0")
        if mine is not theirs:
            one, two = (xp.__name__.removeprefix("array_api_compat.") for xp in (mine, theirs))
            raise TypeError(f"`{name}` is a {one} array, `W of layer 0` a {two} array")
        if x.device != first.device:
            raise TypeError(f"`{name}` is on {x.device}, `W of layer 0` on {first.device}")
        if x.dtype != first.dtype:
            raise ValueError(f"`{name}` is {x.dtype}, `W of layer 0` is {first.dtype}")
    if x.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}, got {tuple(x.shape)}")


class lift:
    """Make an elementwise formula of (namespace, y) a function of the array alone.

    It can be pickled if the formula can, which must then be a function of a module.
    """

    def __init__(self, formula: Formula, name: str = "y") -> None:
        self.formula, self.name = formula, name

    def __call__(self, y: Array) -> Array:
        """Return the formula's value."""
        return self.formula(namespace(y, self.name), y)


def from_numpy(x: Any, like: Array) -> Array:
    """Move a NumPy array to the library, device and dtype of `like`."""
    return compat.array_namespace(like).asarray(x, dtype=like.dtype, device=compat.device(like))


def to_numpy(x: Array) -> Any:
    """Return an array of any library as NumPy: the only way back, and always asked for."""
    if compat.is_cupy_array(x):
        return x.get()
    x = x.detach().cpu() if compat.is_torch_array(x) else x
    return np.asarray(x) if compat.is_numpy_array(x) else np.array(np.from_dlpack(x))


def is_array(x: Any) -> bool:
    """Say whether x is an array of some library; NumPy's scalars are numbers.

    >>> is_array(np.zeros(2)), is_array(np.float64(0)), is_array(None)
    (True, False, False)
    """
    return compat.is_array_api_obj(x) and not isinstance(x, np.generic)


def on_device(x: Any) -> bool:
    """Say whether reading a number of this array is a transfer.

    >>> on_device(np.zeros(3))
    False
    """
    return is_array(x) and not isinstance(x, np.ndarray)


def copied(x: Array) -> Array:
    """Return a copy with memory of its own; a torch tensor leaves its autograd graph behind.

    >>> copied(np.ones(2))
    array([1., 1.])
    """
    return compat.array_namespace(x).asarray(detached(x), copy=True)


def detached(x: Array) -> Array:
    """Return a torch tensor without its autograd graph, on the same memory; others as they are.

    >>> detached(np.ones(2))
    array([1., 1.])
    """
    return x.detach() if compat.is_torch_array(x) else x
