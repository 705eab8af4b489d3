"""Intervals of columns: how they are asked for, and the maps of an interval onto R.

    z = log(x - low)                    low < x
    z = -log(high - x)                  x < high
    z = log(x - low) - log(high - x)    low < x < high, the logit
    z = x                               no bound

`low` and `high` (D,) are -inf and inf where there is no bound. Every map rises. Differences to a
bound are exact beside it, and logarithms are taken of them, so that neither z nor its slope loses
digits there.
"""

import csv
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[Any]
WORDS = {"unit": (0.0, 1.0), "positive": (0.0, None)}
CIRCLES = ("periodic", "circular", "circle", "angle")


class ColumnBounds(NamedTuple):
    """The open interval that a column is in; `column` is a name or a number, None is no bound.

    >>> ColumnBounds("age", 0.0, None).words()
    "'age' above 0"
    """

    column: str | int
    low: float | None
    high: float | None

    def words(self) -> str:
        """Return the column and its interval in words."""
        return f"{self.column!r} {interval_words(self.low, self.high)}"


def interval_words(low: float | None, high: float | None) -> str:
    """Return an interval in words.

    >>> interval_words(0.0, 120.0), interval_words(None, 1.5)
    ('in (0, 120)', 'below 1.5')
    """
    if low is None or low == -np.inf:
        return f"below {high:.15g}"
    return f"above {low:.15g}" if high in (None, np.inf) else f"in ({low:.15g}, {high:.15g})"


def intervals(support: Any) -> tuple[ColumnBounds, ...]:
    """Return what is asked for by a text such as "age=0:120,income=0:", or by a mapping.

    A mapping has for each column, by name or number, a pair (low, high) or a word: "unit" is
    (0, 1), "positive" (0, None). ValueError, in one line, for what is no interval, and for a
    circle.

    >>> [one.words() for one in intervals("age=0:120, income=0:,share=unit")]
    ["'age' in (0, 120)", "'income' above 0", "'share' in (0, 1)"]
    >>> intervals({3: (None, 5)})
    (ColumnBounds(column=3, low=None, high=5.0),)
    >>> intervals({"angle": "periodic"})
    Traceback (most recent call last):
    ValueError: `support`: column 'angle' can't be periodic: a circle is not R, and no ...
    """
    if support is None:
        return ()
    if isinstance(support, tuple) and all(isinstance(one, ColumnBounds) for one in support):
        return support
    if isinstance(support, str):
        pairs = [_read(part) for part in next(csv.reader([support], skipinitialspace=True), [])]
    elif isinstance(support, Mapping):
        pairs = [(column, value) for column, value in support.items()]
    else:
        raise TypeError(
            "`support` must be a mapping such as {'age': (0, 120)}, or a text such as age=0:120,"
            f" got {type(support).__name__}"
        )
    found = tuple(_interval(column, value) for column, value in pairs)
    names = [one.column for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"`support` has column {name!r} twice")
    return found


def _read(part: str) -> tuple[str, Any]:
    """Read column=low:high, or column=word."""
    column, equals, value = part.rpartition("=")
    if not equals or not column.strip():
        raise ValueError(
            f"`support` must be like age=0:120,income=0:,share=unit, and {part.strip()!r} is not"
        )
    low, colon, high = value.strip().partition(":")
    if not colon:
        return column.strip(), low
    return column.strip(), tuple(text.strip() or None for text in (low, high))


def _interval(column: Any, value: Any) -> ColumnBounds:
    """Return the interval of one column, checked."""
    if isinstance(column, np.integer):
        column = int(column)
    if not isinstance(column, (str, int)) or isinstance(column, bool):
        raise TypeError(f"`support` names columns by text or number, got {column!r}")
    if isinstance(value, str):
        if value.lower() in CIRCLES:
            raise ValueError(
                f"`support`: column {column!r} can't be {value}: a circle is not R, and no"
                " invertible map of R^D joins its ends; put the seam where rows are fewest and give"
                f" the interval, such as {column}=0:360 after (angle - seam) % 360"
            )
        if value not in WORDS:
            raise ValueError(
                f"`support`: column {column!r} must have low:high, or {' or '.join(WORDS)}, got"
                f" {value!r}"
            )
        value = WORDS[value]
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(
            f"`support`: column {column!r} must have a pair (low, high), got {value!r}"
        )
    low, high = (_bound(column, one) for one in value)
    if low is None and high is None:
        raise ValueError(f"`support`: column {column!r} has no bound: leave it out")
    if low is not None and high is not None and not (low < high and np.isfinite(high - low)):
        raise ValueError(
            f"`support`: column {column!r} must have low < high, a finite width apart, got"
            f" {low:.15g} and {high:.15g}"
        )
    return ColumnBounds(column, low, high)


def _bound(column: Any, value: Any) -> float | None:
    """Return one bound; None, and infinity, stand for none."""
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = np.nan
    if np.isnan(number):
        raise ValueError(f"`support`: column {column!r} has a bound {value!r} that is no number")
    return number if np.isfinite(number) else None


def onto_line(X: Rows, low: Rows, high: Rows) -> Rows:
    """Return z (N, D) of X (N, D), strictly inside of its bounds; float64.

    >>> onto_line(np.array([[0.75, 2.0]]), np.array([0.0, -np.inf]), np.array([1.0, np.inf]))
    array([[1.09861229, 2.        ]])
    """
    lower, upper = _from_bounds(X, low, high)
    Z = np.array(X, np.float64)
    bounded = np.isfinite(low) | np.isfinite(high)
    Z[:, bounded] = (lower - upper)[:, bounded]
    return Z


def log_slope(X: Rows, low: Rows, high: Rows) -> Rows:
    """Return log dz / dx (N, D): minus the logarithms of the distances, plus that of the width.

    >>> log_slope(np.array([[0.5]]), np.array([0.0]), np.array([1.0]))
    array([[1.38629436]])
    """
    lower, upper = _from_bounds(X, low, high)
    both = np.isfinite(low) & np.isfinite(high)
    width = np.log(np.where(both, high - low, 1.0))  # (D,)
    slope: Rows = width - lower - upper
    return slope


def _from_bounds(X: Rows, low: Rows, high: Rows) -> tuple[Rows, Rows]:
    """Return log(x - low) and log(high - x), (N, D) each; 0 where there is no such bound."""
    below, above = np.isfinite(low), np.isfinite(high)
    lower = np.log(np.where(below, X - np.where(below, low, 0.0), 1.0))
    upper = np.log(np.where(above, np.where(above, high, 0.0) - X, 1.0))
    return lower, upper


def off_line(Z: Rows, low: Rows, high: Rows) -> Rows:
    """Return the X (N, D) of z (N, D), strictly inside of its bounds, and finite there; float64.

    >>> off_line(np.array([[0.0], [-800.0]]), np.array([0.0]), np.array([1.0])).ravel()
    array([5.e-001, 5.e-324])
    """
    below, above = np.isfinite(low), np.isfinite(high)
    both = below & above
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # of maps not in use
        width = np.where(both, high - np.where(below, low, 0.0), 1.0)  # (D,)
        small = np.exp(-np.abs(Z))
        share = small / (1 + small)  # of the width, from the nearer bound
        X = np.where(both & (Z < 0), low + width * share, np.where(both, high - width * share, Z))
        X = np.where(below & ~above, low + np.exp(Z), X)
        X = np.where(above & ~below, high - np.exp(-Z), X)
    return inside(X, low, high)


def inside(X: Rows, low: Rows, high: Rows) -> Rows:
    """Return X, with what rounding has put on a bound or beyond it moved to the next number inside.

    Next in the dtype of X, in which a bound need not be a number: next to the bound rounded there.

    >>> inside(np.array([[1.0]], "f4"), np.array([0.0]), np.array([1.0]))
    array([[0.99999994]], dtype=float32)
    """
    bounded = np.isfinite(low) | np.isfinite(high)
    if not bounded.any():
        return X
    least, most = (np.asarray(bound).astype(X.dtype) for bound in (low, high))  # (D,)
    up, down = X.dtype.type(np.inf), X.dtype.type(-np.inf)
    X = np.array(X)
    X[:, bounded] = np.clip(X, np.nextafter(least, up), np.nextafter(most, down))[:, bounded]
    return X
