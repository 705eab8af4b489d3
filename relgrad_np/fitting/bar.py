"""The bar that shows how far a fit is; it needs tqdm."""

import math
import shutil
import sys
from typing import Any

FORMAT = "{percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


def progress_bar(total: int, done: int) -> Any:
    """Return a bar of this many steps; ModuleNotFoundError without tqdm."""
    try:
        from tqdm.auto import tqdm  # in a notebook it is a widget
    except ModuleNotFoundError:
        raise ModuleNotFoundError("progress needs tqdm: pip install tqdm") from None
    width: dict[str, Any] = {"dynamic_ncols": True}
    if sys.stderr.isatty():  # there is room for the ^C of a terminal
        width = {"ncols": max(40, shutil.get_terminal_size().columns - 4), "bar_format": FORMAT}
    return tqdm(total=total, initial=done, unit="step", **width)


def show(bar: Any, t: int, log_likelihood: float) -> None:
    """Move the bar on to step t, if there is one; at most every tenth shows log p, if known."""
    if bar is None:
        return
    tenth = bar.n // 10 < t // 10
    bar.update(t - bar.n)
    if tenth and not math.isnan(log_likelihood):
        bar.set_postfix_str(f"log p {log_likelihood:.2f} nats")


def close(bar: Any) -> None:
    """Close the bar, if there is one."""
    if bar is not None:
        bar.close()
