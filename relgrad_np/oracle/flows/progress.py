"""A bar over the rows that are evaluated, for checks that take long; it needs tqdm."""

from __future__ import annotations

import importlib.util
import sys
import time
from typing import Any

AFTER = 3.0  # seconds: a check that is over before shows nothing


class RowsBar:
    """A bar that begins once a check has taken some seconds.

    >>> bar = RowsBar(False)
    >>> bar.expect(100)
    >>> bar.tick(10)
    >>> bar.close()
    """

    def __init__(self, wanted: bool | None) -> None:
        there = importlib.util.find_spec("tqdm") is not None
        self.wanted = there and (sys.stderr.isatty() if wanted is None else wanted)
        self.start, self.total, self.done = time.perf_counter(), 0, 0
        self.bar: Any = None

    def expect(self, rows: int) -> None:
        """Add to the number of rows that will be evaluated."""
        self.total += rows

    def tick(self, rows: int) -> None:
        """Move on by some rows."""
        self.done += rows
        if self.bar is None and self.wanted and time.perf_counter() - self.start > AFTER:
            from tqdm import tqdm

            self.bar = tqdm(total=self.total, unit="row", dynamic_ncols=True, leave=False)
        if self.bar is not None:
            self.bar.total = max(self.total, self.done)
            self.bar.update(self.done - self.bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
