"""What a fit of second order is asked for, by `newton` or by `fit`, and what it finds."""

from typing import Any, NamedTuple

from ...rules.by_name import NEWTON
from ..options import PASSES_OF_NEWTON, Options
from ..records import FitResult

TOL = 1e-6  # of the gradient's largest element, dimensionless
MEMORY = 7
OF_STEPS = (  # options of `fit` that mean something of steps of batches alone
    *("learning_rate", "schedule", "warmup", "batch_size", "implementation"),
    *("average", "undo", "refresh", "track_inverse"),
)


class Asked(NamedTuple):
    """When to stop, and what to return.

    `tol` of the gradient; `gain`, nats, and `waits`, iterations: `tol` and `n_iter_no_change` of
    `fit`; `spent`: the stop reason where iterations ran out.

    >>> Asked().max_iter
    500
    """

    tol: float = TOL
    max_iter: int = PASSES_OF_NEWTON
    memory: int = MEMORY
    patience: int | None = None
    gain: float | None = None
    waits: int = 5
    compare: bool = True
    spent: str = "max_iter"

    @classmethod
    def of(cls, options: Options) -> "Asked":
        """Return what the options of `fit` ask for.

        >>> Asked.of(Options(rule="newton", epochs=3)).max_iter
        3
        """
        return cls(
            max_iter=options.passes,
            patience=options.patience,
            gain=options.tol,
            waits=options.n_iter_no_change,
            compare=options.compare,
            spent="epochs",
        )


class Found(NamedTuple):
    """What a fit of all rows at once found; `left`: the largest element of its gradient.

    >>> Found("result", 0.5).left
    0.5
    """

    result: FitResult
    left: float


def require_meaning(options: Options, **others: Any) -> None:
    """Refuse, by name, what means nothing where all rows are fitted at once: ValueError.

    None is as good as the default. `others`: arguments of `fit` that have to be None.

    >>> require_meaning(Options(rule="newton", batch_size=None, average=None))
    >>> require_meaning(Options(rule="newton", warmup=3))
    Traceback (most recent call last):
    ValueError: `warmup` means nothing with the rule 'newton', which fits all rows at once: leave
    it out
    """
    usual = Options()
    given = [
        name for name in OF_STEPS if getattr(options, name) not in (None, getattr(usual, name))
    ]
    given += [name for name, value in others.items() if value is not None]
    if given:
        raise ValueError(
            f"`{given[0]}` means nothing with the rule {NEWTON!r}, which fits all rows at once: "
            "leave it out"
        )
