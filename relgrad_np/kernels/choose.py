"""Which code takes the steps: a table of names, resolved by `fit` and the command line.

The functions of the core and the rules are always the reference. Every other entry is a function
of the signature of their `train_step`, and is imported when it is asked for. There is no global
switch. All but the reference may change the arrays of the state that they are given, see
`consumes`. Kernels that must be compiled first are chosen where that pays, see `choose`.
"""

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import array_api_compat as compat
import numpy as np

from ..core.arguments import one_of
from ..core.context import context_of
from ..rules.base import State
from ..rules.natural import Natural
from .plans import Taken
from .worth import COMPILING, natural_seconds
from .worth import reference_seconds as reference_seconds

TABLE = {
    "reference": "relgrad_np.rules.base:train_step",
    "numba": "relgrad_np.kernels.cpu.step:train_step",
    "cupy": "relgrad_np.kernels.cuda.step:train_step",
}
NEEDS = {"numba": ("Numba", "numba"), "cupy": ("CuPy", "cupy-cuda13x")}  # library and package


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
        library, package = NEEDS[name]
        raise ModuleNotFoundError(f"implementation {name!r} needs {library}: pip install {package}")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def known(name: str) -> str:
    """Return the name if it is in the table, else list the choices.

    >>> known("numba")
    'numba'
    """
    return one_of("implementation", name, TABLE)  # type: ignore[no-any-return]


class Workload(NamedTuple):
    """What a `train_step` is chosen for: steps, rows of a batch, and the name it began with.

    >>> Workload(75, 100).began
    ''
    """

    steps: int
    N: int
    began: str = ""


def choose(
    step: Callable[..., Any],
    state: State,
    activation: Any,
    density: Any,
    rule: Any,
    work: Workload,
) -> Callable[..., Any]:
    """Return this `train_step`, or the reference where compiling would take longer than the work.

    The reference takes a fit of compiled steps if their code is not stored yet, and all the steps
    take it less time than compiling, as `worth.reference_seconds` estimates. A fit that was begun
    goes on with what it began with.

    >>> import relgrad_np as rg
    >>> state = rg.init_state((rg.Layer(np.eye(2), np.zeros(2)),), rg.Plain())
    >>> model = rg.activation("identity"), rg.density("normal")
    >>> choose(resolve(None, np.eye(2)), state, *model, rg.Plain(), Workload(10, 10, "reference"))
    <function train_step ...>
    """
    if name_of(step) != "numba" or work.began == "numba":
        return step
    if work.began == "reference":
        return resolve("reference")
    shape = work.N, state.layers[0].W.shape[0], len(state.layers)
    seconds = reference_seconds(work.steps, *shape)
    if isinstance(rule, Natural):
        seconds += natural_seconds(work.steps, *shape, context_of(state.layers) + 1)
    if seconds < COMPILING and not _ready().is_ready(state, activation, density, rule):
        return resolve("reference")
    return step


def prepare(
    step: Callable[..., Any], state: State, activation: Any, density: Any, rule: Any
) -> None:
    """Compile or load what this `train_step` needs for steps from this state; it stays as it is.

    Whoever measures time calls this before the clock starts. It does nothing but for "numba".
    """
    if name_of(step) == "numba":
        _ready().prepare(step, state, activation, density, rule)


def several(step: Callable[..., Any]) -> Callable[..., Taken | None] | None:
    """Return what takes many steps of this `train_step` in one call, or None; see `plans`.

    >>> several(resolve("reference")) is None
    True
    """
    if name_of(step) != "numba":
        return None
    module = importlib.import_module(step.__module__)
    return module.take_steps  # type: ignore[no-any-return]


def _ready() -> Any:
    return importlib.import_module("relgrad_np.kernels.cpu.ready")  # which needs Numba


def name_of(step: Callable[..., Any]) -> str:
    """Return the name of this `train_step` in the table, or "" if it is not in it.

    >>> name_of(resolve("reference")), name_of(print)
    ('reference', '')
    """
    where = f"{step.__module__}:{getattr(step, '__name__', '')}"
    return next((name for name, entry in TABLE.items() if entry == where), "")


def consumes(step: Callable[..., Any]) -> bool:
    """Say whether this `train_step` may change the arrays of the state that it is given.

    >>> consumes(resolve("reference"))
    False
    """
    return step.__module__ != "relgrad_np.rules.base"
