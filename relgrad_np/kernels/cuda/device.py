"""What a step needs of the device: compiled kernels, products by cuBLAS, memory to work on."""

import functools
import threading
from typing import Any, NamedTuple

import cupy
import numpy as np
from cupy import cublas

from . import sources

Array = Any
SHAPES = 4  # shapes of batches for which scratch memory is kept
SMALL = 128  # (n, n) up to here one block of threads eliminates; above, cuSOLVER's Cholesky
THREADS, BLOCKS = 256, 4096


@functools.cache
def _kernel(dtype: str, name: str) -> Any:
    """Return the kernel of this name, compiled by NVRTC for this dtype at its first launch."""
    return _module(dtype).get_function(name)


@functools.cache
def _module(dtype: str) -> Any:
    return cupy.RawModule(code=sources.CODE, options=sources.options(dtype))


def launch(dtype: Any, name: str, count: int, *args: Any, block: Any = None) -> None:
    """Launch with `count` blocks, at most; Python's integers are passed as 64 bits."""
    grid = (max(1, min(count, 2**30)),)
    passed = tuple(np.int64(a) if isinstance(a, int) else a for a in args)
    _kernel(dtype.name, name)(grid, block or (THREADS,), passed)


def sweep_blocks(count: int) -> int:
    """Return how many blocks sweep over so many numbers."""
    return min(BLOCKS, -(-count // THREADS))


def blocks_of_row(D: int) -> int:
    """Return how many blocks share a row: four numbers for each thread."""
    return -(-D // (4 * THREADS))


def gemm(ta: str, tb: str, A: Array, B: Array, C: Array, alpha: Any = 1.0, beta: Any = 0.0) -> None:
    """C <- alpha op(A) @ op(B) + beta C; alpha, beta: both numbers, or both on the device."""
    cublas.gemm(ta, tb, A, B, out=C, alpha=alpha, beta=beta)


class DeviceScratch(NamedTuple):
    """Scratch memory for one shape, and constants on the device."""

    Z: Array  # (N, D), the input of the next layer; free after the forward pass
    S: Array  # (max(L - 1, 1), N, D), sigma'(Y)
    T: Array  # (max(L - 1, 1), N, D), (log sigma')'(Y)
    F: Array  # (N, D), what A becomes in the exponential step
    share: Array  # (N,), 1 / N
    zeros: Array  # (max(N, D, L),)
    ones: Array  # (max(N, D, L),)
    one: Array  # ()
    wide: Array  # (L,), zeros in float64
    terms: Array  # (L, N), float64: sums of log sigma', and of log p in the last row
    marks: Array  # (L, N), float64: 0, or NaN where something is not finite
    sums: Array  # (L, 2 n), float64: sums of |K| along rows, then columns
    most: Array  # (L, n), float64: the largest |K| of each row
    squares: Array  # (L, D), float64
    finite: Array  # (1,), int32: whether the step is taken
    M: Array  # (L, n, n), float64, what is left of I + c K as it is eliminated


class DeviceCache(threading.local):
    """The scratch memory of one thread, for each device, stream and shape."""

    def __init__(self) -> None:
        self.known: dict[Any, DeviceScratch] = {}

    def scratch(self, L: int, N: int, D: int, dtype: Any) -> DeviceScratch:
        """Return the scratch memory for this shape, on the current device and stream."""
        where = cupy.cuda.runtime.getDevice(), cupy.cuda.get_current_stream().ptr
        key = L, N, D, dtype.char, *where
        if (found := self.known.pop(key, None)) is None:
            while len(self.known) >= SHAPES:
                del self.known[next(iter(self.known))]
            found = _made(L, N, D, dtype)
        self.known[key] = found
        return found


def _made(L: int, N: int, D: int, dtype: Any) -> DeviceScratch:
    n, wide = min(N, D), np.float64
    S, T = (cupy.empty((max(L - 1, 1), N, D), dtype) for _ in range(2))
    ones = cupy.ones(max(N, D, L), dtype)
    return DeviceScratch(
        Z=cupy.empty((N, D), dtype), S=S, T=T, F=cupy.empty((N, D), dtype),
        share=cupy.full(N, 1.0 / N, dtype), zeros=cupy.zeros(max(N, D, L), dtype), ones=ones,
        one=ones[0], wide=cupy.zeros(L, wide),
        terms=cupy.empty((L, N), wide), marks=cupy.empty((L, N), wide),
        sums=cupy.empty((L, 2 * n), wide), most=cupy.empty((L, n), wide),
        squares=cupy.empty((L, D), wide), finite=cupy.zeros(1, np.int32),
        M=cupy.empty((L, n, n) if n <= SMALL else 1, wide),
    )  # fmt: skip


CACHE = DeviceCache()


class Pass(NamedTuple):
    """What a step works on; YD, P, K and u become its factors."""

    scratch: DeviceScratch
    dtype: Any
    share: Array  # (N,), the samples' weights / N
    arena: Array  # the memory of YD, P, K and u, side by side
    YD: Array  # (L, 2, N, D), Y above Delta
    P: Array  # (L, 2, N, D), A = Y @ W above Delta @ W
    K: Array  # (L, n, n), Y @ Delta.T, or Delta.T @ Y if that is smaller
    u: Array  # (L, N), Y @ b + 1
