"""How a file is read: which columns, which marks, and what becomes of missing values."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ...core.arguments import one_of
from ...core.brief import brief
from ..bounds import intervals

MISSING = ("error", "drop", "median")


@brief
@dataclass(frozen=True)
class Reading:
    """What a reader is asked for; the defaults find out by looking.

    `columns`: those to read, in this order; `drop`: those to leave out. Each is a text with commas
    or a sequence; a column without a name goes by its number, from 0. `sep`, `decimal` and
    `encoding` are those of a text file. `missing`: "error", "drop" (rows) or "median" (fill).
    `missing_marks`: more cells that stand for a missing value, such as -9999. `dequantise`: add
    uniform noise as wide as their step to columns of whole numbers or few values. `support`: the
    intervals that columns are in, {"age": (0, 120)} or "age=0:120,income=0:" (`datasets.bounds`).
    `given`: columns that the others are given, which come last, in this order.

    >>> Reading(columns="age, height").columns, Reading(drop=[0]).drop
    (('age', 'height'), ('0',))
    >>> Reading(missing="ignore")
    Traceback (most recent call last):
    ValueError: unknown missing 'ignore'; choose from error, drop, median
    """

    columns: Any = None
    drop: Any = None
    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    missing: str = "error"
    missing_marks: Any = None
    dequantise: bool = False
    support: Any = None
    given: Any = None

    def __post_init__(self) -> None:
        for name in ("columns", "drop", "missing_marks", "given"):
            object.__setattr__(self, name, listed(getattr(self, name)))
        for name in ("columns", "given"):
            if getattr(self, name) == ():
                raise ValueError(f"`{name}` must name one column or more")
        one_of("missing", self.missing, MISSING)
        object.__setattr__(self, "support", intervals(self.support) or None)
        if self.sep is not None:
            sep = {"tab": "\t", "\\t": "\t", "space": " "}.get(self.sep, self.sep)
            object.__setattr__(self, "sep", sep)
            if len(sep) != 1:
                raise ValueError(f"`sep` must be one character, tab or space, got {self.sep!r}")
        if self.decimal not in (None, ".", ","):
            raise ValueError(f"`decimal` must be . or , and is {self.decimal!r}")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError:
                raise ValueError(f"unknown encoding {self.encoding!r}, such as cp1252") from None

    @property
    def c(self) -> int:
        """How many columns, the last ones of a row, are given."""
        return len(self.given or ())

    @property
    def selects(self) -> bool:
        """Whether anything but all cells as they are is asked for."""
        asked = self.columns or self.drop or self.missing_marks or self.given
        return bool(asked) or self.missing != "error"


def asking(**settings: Any) -> str:
    """Return the words for a `Reading` with these settings, which messages advise.

    The command line shows its flags in their place (`cli.advice.with_flags`).

    >>> asking(drop=["city"]), asking(missing_marks=[-9999.0], missing="drop")
    ("Reading(drop=['city'])", "Reading(missing_marks=[-9999], missing='drop')")
    """

    def shown(value: Any) -> str:
        if isinstance(value, (list, tuple)):
            return f"[{', '.join(map(shown, value))}]"
        return repr(value) if isinstance(value, (str, bool)) else f"{value:g}"

    return f"Reading({', '.join(f'{name}={shown(value)}' for name, value in settings.items())})"


def listed(value: Any) -> tuple[str, ...] | None:
    """Return names as a tuple: of a text with commas, which quotes protect, or of a sequence.

    >>> listed('a, "b,c"'), listed(None)
    (('a', 'b,c'), None)
    """
    if value is None or isinstance(value, tuple):
        return None if value is None else tuple(str(name) for name in value)
    if isinstance(value, str):
        rows = list(csv.reader([value], skipinitialspace=True))
        return tuple(name.strip() for name in rows[0]) if rows else ()
    if isinstance(value, (int, float)):
        return (str(value),)
    if isinstance(value, Iterable):
        return tuple(str(name) for name in value)
    raise TypeError(f"names must be a text with commas or a sequence, got {type(value).__name__}")
