"""What a saved model keeps of the rows that it was fitted to, to tell rows that are unlike them.

A model that knows neither names nor units of columns would score other columns without a sign.
"""

from typing import Any, NamedTuple, Self

import numpy as np

from ..core.brief import brief
from .rows import Columns, column_list
from .transforms import Chain, Standardise

FAR = 10  # standard deviations: half of a column's rows are not so far from those fitted
SHARE = 0.01  # of the rows fitted are less likely than `low`


@brief
class FittedRows(NamedTuple):
    """Moments of each column of model space, (D + c,), and log p of the rows, in nats there.

    `median` of log p, and `low`, its 1 % quantile; None where they are not known.

    >>> rows = FittedRows.of(np.array([[1.0], [3.0]]), np.array([-2.0, -1.0]))
    >>> rows.mean, rows.std, rows.median
    ((2.0,), (1.0,), -1.5)
    >>> FittedRows.from_dict(rows.to_dict()) == rows
    True
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    median: float | None = None
    low: float | None = None

    @classmethod
    def of(cls, Z: Any, log_p: Any) -> Self:
        """Return that of rows Z (N, D + c) of model space with log p (N,)."""
        Z, log_p = np.asarray(Z, np.float64), np.asarray(log_p, np.float64)
        unit = np.maximum(np.abs(Z).max(axis=0), np.finfo(np.float64).tiny)  # no square overflows
        mean, std = ((unit * part).tolist() for part in ((Z / unit).mean(0), (Z / unit).std(0)))
        low, median = np.quantile(log_p, [SHARE, 0.5]).tolist()
        return cls(tuple(mean), tuple(std), median, low)

    @classmethod
    def of_chain(cls, chain: Chain, c: int) -> Self | None:
        """Return that of standardised columns, c of them context; None where they are not."""
        last = chain.transforms[-1] if chain.transforms else None
        if not isinstance(last, Standardise):
            return None
        D = len(last.mean) + c
        return cls((0.0,) * D, (1.0,) * D)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return self._asdict()

    @classmethod
    def from_dict(cls, record: Any) -> Self | None:
        """Return what `to_dict` wrote; None where nothing was, or nothing that can be used."""
        try:
            mean, std = (tuple(map(float, record[key])) for key in cls._fields[:2])
            terms = (None if record[key] is None else float(record[key]) for key in cls._fields[2:])
            return cls(mean, std, *terms)
        except (KeyError, TypeError, ValueError):
            return None

    def far(self, Z: Any) -> Any:
        """Count for each column the rows Z (N, D + c) that are far from those fitted, (D + c,)."""
        with np.errstate(over="ignore"):
            return (np.abs(Z - np.array(self.mean)) > FAR * np.array(self.std)).sum(axis=0)

    def note(self, far: Any, log_p: Any, columns: Columns = None) -> str:
        """Say in a line how rows with log p (N,) are unlike those fitted; "" where they are not.

        `far` is the sum of what the method of this name returned for all of them.

        >>> rows = FittedRows.of(np.array([[1.0], [3.0]]), np.array([-2.0, -1.0]))
        >>> rows.note(np.array([1]), np.array([-99.0]), ("height",))[:60]
        "column 'height' is more than 10 standard deviations from the"
        >>> rows.note(np.array([0]), np.array([-1.7]))
        ''
        """
        N, which = len(log_p), np.flatnonzero(2 * np.asarray(far) > len(log_p))
        asks = "are these other columns, or other units?"
        if len(which):
            s, are = ("", "is") if len(which) == 1 else ("s", "are")
            most = "" if N == 1 else ", in most of these rows"
            return (
                f"column{s} {column_list(which, columns)} {are} more than {FAR} standard deviations"
                f" from the rows that the model was fitted to{most}: {asks}"
            )
        value = float(np.median(log_p))
        if self.low is None or not value < self.low:
            return ""
        return (
            f"log p of these rows, {value:.1f} in the median, is below that of 99 % of the rows"
            f" that the model was fitted to, {self.median:.1f} in the median: {asks}"
        )
