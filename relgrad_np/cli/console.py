"""What passes between a command and the person at the terminal: notes, a bar, signals."""

import contextlib
import importlib.util
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

PROGRAM = "relgrad-np"
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def note(text: str) -> None:
    """Print a note to stderr."""
    print(f"{PROGRAM}: note: {text}", file=sys.stderr)


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line; what it is called, if it says nothing.

    >>> one_line(OSError(28, "No space")), one_line(MemoryError())
    ('[Errno 28] No space', 'not enough memory')
    """
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"not enough memory: {text}" if text else "not enough memory"
    return text or type(error).__name__


def wants_bar() -> bool:
    """Say whether to show a progress bar: to a person at a terminal who has tqdm.

    >>> wants_bar() in (True, False)
    True
    """
    return sys.stderr.isatty() and importlib.util.find_spec("tqdm") is not None


def end(number: int, frame: Any) -> NoReturn:
    """End on a signal, with the exit status that says so."""
    sys.exit(128 + number)


@contextlib.contextmanager
def asked_to_stop(keeper: Any) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask a keeper to stop while a fit runs; afterwards they end again.

    >>> from ..distributed.keepers import SilentKeeper
    >>> listener = SilentKeeper()
    >>> with asked_to_stop(listener):
    ...     signal.raise_signal(signal.SIGTERM)
    >>> listener.stop == signal.SIGTERM
    True
    """

    def ask(number: int, frame: Any) -> None:
        keeper.stop = number

    for number in SIGNALS:
        signal.signal(number, ask)
    try:
        yield
    finally:
        for number in SIGNALS:
            signal.signal(number, end)
