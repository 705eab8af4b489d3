"""A function with a `comm` ends on all ranks if it ends on one; `fit` is such a function."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from ..fitting import loop
from ..fitting.records import FitDivergedError
from .agree import RanksDifferError
from .ranks import Ranks

P = ParamSpec("P")
T = TypeVar("T")


class CallbackError(RuntimeError):
    """A function of the caller's raised on one rank what a fit raises on all of them.

    Such as a callback that fits something itself, by a fit that diverges.

    >>> issubclass(CallbackError, RuntimeError)
    True
    """


def world(**options: Any) -> Ranks:
    """Return the ranks that mpiexec started; ModuleNotFoundError without mpi4py."""
    try:
        from mpi4py import MPI
    except ImportError:
        raise ModuleNotFoundError("several ranks need MPI: pip install mpi4py") from None
    return Ranks(MPI.COMM_WORLD, **options)


def together(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function with a `comm` end on all ranks, if it ends on one by an error.

    The function gets `Ranks`, whether it is called with those or with an MPI communicator. All
    ranks have to call it. Without a `comm` nothing changes.

    >>> together(lambda comm=None: comm)() is None
    True
    """

    @functools.wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> T:
        given: dict[str, Any] = options
        comm = given.get("comm")
        if comm is None:
            return function(*args, **options)
        ranks = comm if isinstance(comm, Ranks) else Ranks(comm)
        given["comm"] = ranks
        if given.get("transform") is not None:
            given["transform"] = _own(given["transform"])
        if given.get("callbacks"):
            given["callbacks"] = tuple(map(_own, given["callbacks"]))
        ranks.agreement.listening = True  # all ranks begin here, whatever has happened before
        try:
            result = function(*args, **options)
        except (RanksDifferError, FitDivergedError):
            ranks.agreement.listening = False  # all ranks have raised it, and all are leaving
            raise
        except Exception as error:
            ranks.fail(error)
        except BaseException as error:  # such as a signal: the other ranks have not heard of it
            ranks.abort(error)
        ranks.agreement.listening = True
        return result

    return run


def _own(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the caller's function, whose errors are never taken for one that all ranks share."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        try:
            return function(*args)
        except (RanksDifferError, FitDivergedError) as error:
            raise CallbackError(f"{type(error).__name__}: {error}") from error

    return call


fit = together(loop.fit)
