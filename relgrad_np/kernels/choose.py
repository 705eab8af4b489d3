"""Which code takes the steps: a table of names, resolved by `fit` and the command line.

The functions of the core and the rules are always the reference. Every other entry is a function
of the signature of their `train_step`, and is imported when it is asked for. There is no global
switch. All but the reference may change the arrays of the state that they are given, see
`consumes`.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import array_api_compat as compat
import numpy as np

from ..core.arguments import one_of

TABLE = {
    "reference": "relgrad_np.rules.base:train_step",
    "numba": "relgrad_np.kernels.cpu.step:train_step",
    "cupy": "relgrad_np.kernels.cuda.step:train_step",
}
NEEDS = {"numba": ("Numba", "fast"), "cupy": ("CuPy", "gpu")}  # library and extra


def resolve(name: str | Callable[..., Any] | None, like: Any = None) -> Callable[..., Any]:
    """Return the `train_step` of this name, or the function itself if it is one.

    None is the fastest that is available for `like`: "cupy" for CuPy arrays, "numba" for NumPy
    arrays where Numba is installed, else "reference". ModuleNotFoundError if the library of the
    one that is asked for is missing.

    >>> resolve("reference").__name__
    'train_step'
    """
    if name is None:
        fast = "cupy" if compat.is_cupy_array(like) else "reference"
        try:
            return resolve("numba" if isinstance(like, np.ndarray) else fast)
        except ImportError:
            return resolve("reference")
    if callable(name):
        return name
    module, _, function = TABLE[known(name)].partition(":")
    if name in NEEDS and importlib.util.find_spec(name) is None:
        library, extra = NEEDS[name]
        raise ModuleNotFoundError(
            f"implementation {name!r} needs {library}: pip install 'relgrad-np[{extra}]'"
        )
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def known(name: str) -> str:
    """Return the name if it is in the table, else list the choices.

    >>> known("numba")
    'numba'
    """
    return one_of("implementation", name, TABLE)  # type: ignore[no-any-return]


def consumes(step: Callable[..., Any]) -> bool:
    """Say whether this `train_step` may change the arrays of the state that it is given.

    >>> consumes(resolve("reference"))
    False
    """
    return step.__module__ != "relgrad_np.rules.base"
