"""What a fit can be asked for: each option is declared once, and checked by its declaration.

`Options` is the one place of an option's name, type, default, help, choices and check. The
signature of `fit`, the settings of a run, the flags of the command line and the table of the
documentation are made from it, or are compared with it by a test.
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import array_api_compat as compat
import numpy as np

from ..core.arguments import nearest, one_of, whole
from ..core.arrays import Array, to_numpy
from ..kernels.choose import TABLE, known
from ..rules.base import Rule
from ..rules.by_name import NAMES, NEWTON
from .declared import among, check_settings, declared, optional, setting, within

Function = TypeVar("Function", bound=Callable[..., Any])

SCHEDULES: dict[str, Callable[[float], float]] = {
    # what the learning rate is multiplied by at s = t / T in [0, 1)
    "linear": lambda s: 1 - s,
    "constant": lambda s: 1.0,
    "cosine": lambda s: 0.5 * (1 + math.cos(math.pi * s)),
    "harmonic": lambda s: 1 / (1 + 9 * s),
}


PASSES = 15  # epochs, where none are asked for
PASSES_OF_NEWTON = 500  # the same: iterations, most of which the gradient's tolerance saves


def _steps(name: str, value: Any) -> int:
    """Check a number of steps, which may be 0."""
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
        raise ValueError(f"`{name}` must be a number of steps, 0 or more, got {value!r}")
    return int(value)


def _rule(name: str, value: Any) -> Any:
    """Check the name of a rule; what is no text is taken for a rule."""
    return one_of(name, value, NAMES) if isinstance(value, str) else value


def _implementation(name: str, value: Any) -> Any:
    """Check the name of an implementation; a function is one."""
    return value if callable(value) else known(value)


@dataclasses.dataclass(frozen=True)
class Options:
    """What `fit` can be asked for, beside the data and the model.

    ValueError or TypeError, by name, for what can't be used. Numbers are kept as Python's own.

    >>> Options(batch_size=np.int32(10)).batch_size, Options().schedule
    (10, 'linear')
    >>> Options(average=2)
    Traceback (most recent call last):
    ValueError: `average` must be in (0, 1), or None, got 2
    """

    rule: str | Rule = setting(
        "recipe", "what makes a step of a gradient", choices=NAMES, check=_rule
    )
    learning_rate: float | None = setting(
        None,
        "step size",
        unset="the rule's own",
        check=optional(within(0, math.inf, "positive")),
    )
    schedule: str = setting(
        "linear",
        "how the learning rate changes over the fit",
        choices=SCHEDULES,
        check=among(SCHEDULES),
    )
    warmup: int = setting(0, "steps over which the learning rate first rises", check=_steps)
    batch_size: int | None = setting(
        100, "most rows of a batch", unset="all rows", check=optional(whole)
    )
    epochs: int | None = setting(
        None,
        "passes over the rows",
        unset=f"{PASSES}, or {PASSES_OF_NEWTON} with the rule {NEWTON}",
        check=optional(whole),
    )
    patience: int | None = setting(
        None,
        "stop after so many epochs without a better validation",
        unset="never",
        check=optional(whole),
    )
    implementation: str | Callable[..., Any] | None = setting(
        None,
        "which code takes the steps",
        unset="the fastest that is installed",
        choices=TABLE,
        check=optional(_implementation),
    )
    tol: float | None = setting(
        None,
        "stop when an epoch gains less than this, in nats, for `n_iter_no_change` epochs",
        unset="all epochs are used",
        check=optional(within(0, math.inf, "positive, or None")),
    )
    n_iter_no_change: int = setting(5, "epochs that `tol` waits", check=whole)
    compare: bool = setting(
        True,
        "return what is best on the rows: the fit, its start, or their Gaussian",
        check=lambda name, value: bool(value),
    )
    average: float | None = setting(
        0.1,
        "average the layers over this last part of the steps",
        check=optional(within(0, 1 - 1e-12, "in (0, 1), or None")),
    )
    undo: float | None = setting(
        30.0,
        "mean deviations by which a batch must fall for the step before it to be undone",
        check=optional(within(0, math.inf, "positive, or None")),
    )
    refresh: int | None = setting(
        None,
        "steps between audits of the tracked log|det W|",
        unset="an epoch",
        check=optional(whole),
    )
    track_inverse: bool = setting(False, "track inv(W), too", check=lambda name, value: bool(value))

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def passes(self) -> int:
        """The most passes over the rows: `epochs`, or as many as the rule usually takes.

        >>> Options().passes, Options(rule="newton").passes, Options(epochs=3).passes
        (15, 500, 3)
        """
        usual = PASSES_OF_NEWTON if isinstance(self.rule, str) and self.rule == NEWTON else PASSES
        return self.epochs or usual


def options_from(given: Mapping[str, Any]) -> Options:
    """Return the options of a call of `fit`; TypeError for a name that is none, with the nearest.

    >>> options_from({"epochs": 3}).epochs
    3
    >>> options_from({"epoch": 3})
    Traceback (most recent call last):
    TypeError: `fit` has no option `epoch`, did you mean `epochs`? It has rule, ...
    """
    names = list(declared(Options))
    for name in given:
        if name not in names:
            near = nearest(name, names)
            meant = f", did you mean `{near}`?" if near else "."
            raise TypeError(f"`fit` has no option `{name}`{meant} It has {', '.join(names)}")
    return Options(**given)


def shows_options(function: Function) -> Function:
    """Let the signature of a function show `Options`, which its `**options` stand for.

    >>> @shows_options
    ... def f(x, **options): ...
    >>> str(inspect.signature(f)).split(",")[-1]
    ' track_inverse: bool = False)'
    """
    signature = inspect.signature(function)
    shown = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    shown += [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=field.type
        )
        for field in dataclasses.fields(Options)
    ]
    function.__signature__ = signature.replace(parameters=shown)  # type: ignore[attr-defined]
    return function


def weighted(sample_weight: Any, N: int, name: str = "sample_weight") -> tuple[Any, Any]:
    """Return the rows in use, (n,), and weights (N,) of mean 1 over them, or None for equal ones.

    >>> weighted([2, 0, 1, 1], 4)[0]
    array([0, 2, 3])
    """
    if sample_weight is None:
        return np.arange(N), None
    weights = np.asarray(sample_weight)
    if weights.shape != (N,) or weights.dtype.kind not in "biuf":
        raise ValueError(
            f"`{name}` must be numbers of shape ({N},), got {weights.dtype} of shape "
            f"{weights.shape}"
        )
    weights = weights.astype(float)
    if not np.isfinite(weights).all() or (weights < 0).any() or not (weights > 0).any():
        raise ValueError(f"`{name}` must be finite, not negative, and not all 0")
    rows = np.flatnonzero(weights > 0)
    return rows, None if np.ptp(weights[rows]) == 0 else weights / weights[rows].mean()


def require_finite(name: str, X: Array) -> None:
    """Refuse samples that are NaN or infinite, naming the first one's row and column.

    Looks at 65,536 rows at a time, so that a memory-mapped file is not copied.
    """
    if isinstance(X, np.ndarray) and X.dtype.kind in "biu":
        return
    for start in range(0, X.shape[0], 2**16):
        part = X[start : min(start + 2**16, X.shape[0]), :]
        xp = compat.array_namespace(part)
        if not bool(xp.all(xp.isfinite(part))):
            row, column = np.argwhere(~np.isfinite(to_numpy(part)))[0]
            value, row = to_numpy(part)[row, column], start + row
            raise ValueError(f"`{name}` must be finite, got {value} in row {row}, column {column}")
