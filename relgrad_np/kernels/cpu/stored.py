"""Machine code on disk: what was compiled once is loaded, as long as it was made of this source.

Numba tells whether code is stale by the file of its function alone, but the kernels copy each
other's code, across files. So a hash of all their files, and of the versions of what compiles them,
is part of the name of what is stored, and what other sources have left under such names is removed.
Numba itself keeps code apart by the processor's name and features. Where to, is Numba's choice:
NUMBA_CACHE_DIR, the package's folder, or, if that can't be written to, the user's cache folder.
"""

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy as np
from numba import from_dtype, njit

from .compile import INLINE

PACKAGE = Path(__file__).parents[2]
SOURCES = (
    "kernels/*.py",
    "kernels/cpu/*.py",
    "core/numerics.py",
    "rules/guard.py",
    "rules/recipe.py",
    "rules/scalar.py",
)  # what kernels are compiled from
LOG = logging.getLogger("relgrad_np")


def hashed(package: Path, patterns: Iterable[str] = SOURCES) -> str:
    """Return a hash of these source files, or "" where there are none to read.

    >>> hashed(Path("no/such/folder")), len(hashed(PACKAGE))
    ('', 12)
    """
    paths = sorted(path for pattern in patterns for path in package.glob(pattern))
    texts = [f"{path.relative_to(package)}\n".encode() + path.read_bytes() for path in paths]
    return hashlib.sha256(b"\n".join(texts)).hexdigest()[:12] if texts else ""


@functools.cache
def announce() -> None:
    """Say, once in a process, that kernels are being compiled: on stderr, if logging is not set up.

    It is a line of `logging` and no warning, because nothing is wrong.
    """
    LOG.warning("relgrad-np: compiling kernels once, about 20 s")


class Stored:
    """What Numba asks for the machine code of a function before it compiles it.

    It follows `numba.core.caching._Cache`. A folder that can't be read or written to is no reason
    to fail, nor is a Numba that stores code in another way: then it is compiled in each process.
    """

    def __init__(self, function: Callable[..., Any], source: str) -> None:
        self.source, self.files = source, None
        with contextlib.suppress(Exception):  # no folder to write to, or Numba has changed
            from numba.core import caching

            self.cache = caching.FunctionCache(function)
            # the name is module.function-line.version; the place of the line is for the hash
            stem, _, rest = self.cache._impl.filename_base.rpartition("-")
            self.stem, self.version = f"{stem}-", rest.partition(".")[2]
            self.cache._cache_file = caching.IndexDataCacheFile(
                self.cache.cache_path,
                f"{self.stem}{source}.{self.version}",
                self.cache._impl.locator.get_source_stamp(),
            )
            if source:
                self.files = self.cache._cache_file

    @property
    def cache_path(self) -> Any:
        """The folder, or None."""
        return None if self.files is None else self.cache.cache_path

    def load_overload(self, signature: Any, context: Any) -> Any:
        """Return what is stored for these types; if nothing is, say that Numba will compile."""
        found = None
        if self.files is not None:
            with contextlib.suppress(Exception):  # damaged: it will be written anew
                found = self.cache.load_overload(signature, context)
        if found is None:
            announce()
        return found

    def save_overload(self, signature: Any, code: Any) -> None:
        """Store what was compiled for these types, and remove what other sources have left."""
        if self.files is not None:
            with contextlib.suppress(Exception):  # a full disk, say
                try:
                    self.cache.save_overload(signature, code)
                except Exception:  # the index is damaged
                    self.cache.flush()
                    self.cache.save_overload(signature, code)
                self._remove_others()

    def _remove_others(self) -> None:
        for path in Path(self.cache.cache_path).glob(f"{self.stem}*.{self.version}*.nb[ic]"):
            if not path.name.startswith(f"{self.stem}{self.source}."):
                path.unlink(missing_ok=True)

    def signatures(self, context: Any) -> list[Any]:
        """Return the types for which there is code for this processor."""
        with contextlib.suppress(Exception):
            files, cpu = self.cache._cache_file, context.codegen().magic_tuple()
            return [
                key[0]
                for key, name in files._load_index().items()
                if key[1] == cpu and (Path(self.cache.cache_path) / name).exists()
            ]
        return []

    def enable(self) -> None:
        """Do nothing: it is always on."""

    disable = flush = enable


def compiled(function: Callable[..., Any]) -> Any:
    """Compile at the first call for each dtype, and keep the machine code on disk if possible."""
    dispatcher = njit(error_model="numpy", **INLINE)(function)
    dispatcher._cache = Stored(function, SOURCE)
    return dispatcher


def has_code(dispatcher: Any, dtype: Any, ndim: int | None = None) -> bool:
    """Say whether a kernel whose second argument is X need not be compiled for this dtype.

    `ndim`: of a bias, 1, or with context 2, for kernels of blas, X, weights, layers, ...

    >>> from .whole_step import take_steps
    >>> has_code(take_steps, "int8")
    False
    """
    wanted = from_dtype(np.dtype(dtype))

    def fits(signatures: Iterable[Any]) -> bool:
        return any(
            signature[1].dtype == wanted and (ndim is None or signature[3][1].ndim == ndim + 1)
            for signature in signatures
        )

    return fits(dispatcher.overloads) or fits(dispatcher._cache.signatures(dispatcher.targetctx))


def with_versions(source: str) -> str:
    """Return a hash of a hash and the versions of Numba, LLVM's binding and NumPy; "" of "".

    >>> with_versions(""), len(with_versions("0123"))
    ('', 12)
    """
    versions = " ".join((source, numba.__version__, llvmlite.__version__, np.__version__))
    return hashlib.sha256(versions.encode()).hexdigest()[:12] if source else ""


SOURCE = with_versions(hashed(PACKAGE))
