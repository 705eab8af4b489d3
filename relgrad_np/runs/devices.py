"""Where the arrays of a run live, by the command line's name: cpu, cuda, torch:NAME."""

from typing import Any

import array_api_compat as compat
import numpy as np

from ..core.arrays import Array, from_numpy
from ..core.network import Layer, Layers
from ..fitting.batches import Staged

NAMES = "cpu, cuda (CuPy), or torch:NAME such as torch:cuda"
SHARE = 0.25  # of a device's free memory that rows may fill; larger sets stay on the host


def array_on(device: str, dtype: str) -> Array:
    """Return an empty array of this dtype there, to make others like it.

    ModuleNotFoundError where the library is missing, ValueError where there is no such device.

    >>> array_on("cpu", "float32").dtype
    dtype('float32')
    >>> array_on("abacus", "float32")
    Traceback (most recent call last):
    ValueError: unknown device 'abacus'; choose from cpu, cuda (CuPy), or torch:NAME such as ...
    """
    if device == "cpu":
        return np.empty(0, dtype)
    library, _, name = device.partition(":")
    if device != "cuda" and (library != "torch" or not name):
        raise ValueError(f"unknown device {device!r}; choose from {NAMES}")
    try:
        if library == "torch":
            import torch

            return torch.empty(0, dtype=getattr(torch, dtype), device=name)
        import cupy

        return cupy.empty(0, dtype)
    except ModuleNotFoundError:
        extra = "torch" if library == "torch" else "cupy-cuda13x"
        raise ModuleNotFoundError(
            f"device {device!r} needs {'torch' if library == 'torch' else 'CuPy'}: "
            f"pip install {extra}"
        ) from None
    except Exception as error:  # no driver, device or memory: each library raises its own
        line = " ".join(str(error).split())
        raise ValueError(f"`device` {device!r} does not answer: {line}") from None


def moved(layers: Layers, like: Array) -> Layers:
    """Return NumPy layers where `like` is.

    >>> moved((Layer(np.eye(1), np.ones(1)),), np.empty(0, "float32"))[0].W.dtype
    dtype('float32')
    """
    return tuple(Layer(from_numpy(W, like), from_numpy(b, like)) for W, b in layers)


def placed(X: Any, like: Array, transform: Any = None) -> Any:
    """Return rows for `fit`: moved to the device if they fit there, else `Staged` on the host.

    Rows that need a transform stay on the host, where transforms work.

    >>> placed(np.ones((2, 1)), np.empty(0)).shape
    (2, 1)
    """
    if isinstance(like, np.ndarray):
        return X
    needed = X.shape[0] * X.shape[1] * np.dtype(str(like.dtype).split(".")[-1]).itemsize
    if transform is not None or needed > SHARE * free_memory(like):
        return Staged(X, like)
    return from_numpy(np.asarray(X), like)


def free_memory(like: Array) -> float:
    """Return the bytes that are free where `like` is; infinity for arrays in the host's memory.

    >>> free_memory(np.empty(0))
    inf
    """
    if compat.is_cupy_array(like):
        return float(like.device.mem_info[0])
    if compat.is_torch_array(like) and like.device.type == "cuda":
        import torch

        return float(torch.cuda.mem_get_info(like.device)[0])
    return float("inf")
