"""Functions with a `comm` end on all ranks if they end on one; `fit` is such a function."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from ..fitting.loop import fit as alone
from ..fitting.records import FitDivergedError
from .agree import RanksDifferError
from .ranks import Ranks

P = ParamSpec("P")


T = TypeVar("T")


def world(**options: Any) -> Ranks:
    """Return the ranks that mpiexec started; ModuleNotFoundError without mpi4py."""
    try:
        from mpi4py import MPI
    except ImportError:
        raise ModuleNotFoundError(
            "several ranks need MPI: pip install 'relgrad-np[distributed]'"
        ) from None
    return Ranks(MPI.COMM_WORLD, **options)


def join(comm: Any) -> Ranks:
    """Return the ranks of a communicator; those that are made already as they are."""
    return comm if isinstance(comm, Ranks) else Ranks(comm)


def together(function: Callable[P, T]) -> Callable[P, T]:
    """Make a function with a `comm` end on all ranks, if it ends on one by an error.

    >>> together(lambda comm=None: comm)() is None
    True
    """

    @functools.wraps(function)
    def run(*args: P.args, **options: P.kwargs) -> T:
        if options.get("comm") is None:
            return function(*args, **options)
        ranks = join(options["comm"])
        options["comm"] = ranks
        try:
            result = function(*args, **options)
        except (RanksDifferError, FitDivergedError):
            ranks.meeting = False  # they are on all ranks, and all are leaving
            raise
        except Exception as error:
            ranks.fail(error)
        except BaseException as error:  # a signal: nobody waits for a rank that is told to go
            ranks.abort(error)
        ranks.meeting = True
        return result

    return run


fit = together(alone)
