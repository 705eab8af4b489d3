"""What passes between a command and the person at the terminal: notes, tables, a bar, signals.

At a terminal, and where rich is installed, tables have colour and fit its width; elsewhere they
are plain text.
"""

import contextlib
import importlib.util
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

from .advice import with_flags

PROGRAM = "relgrad-np"
SIGNALS = (signal.SIGTERM, signal.SIGINT)


def note(text: str) -> None:
    """Print a note to stderr."""
    say_aside("note", text, "bold magenta")


def complain(text: str) -> None:
    """Print what is wrong to stderr, in one line."""
    say_aside("error", text, "bold red")


def say_aside(kind: str, text: str, style: str) -> None:
    """Print a line to stderr; at a terminal it is broken between words.

    >>> say_aside("note", "so it is", "bold")
    """
    console, text = rich_console(sys.stderr), with_flags(without_folder(text))
    if console is None:
        print(f"{PROGRAM}: {kind}: {text}", file=sys.stderr)
        return
    from rich.text import Text

    console.print(Text(f"{PROGRAM}: ").append(f"{kind}: ", style=style).append(text))


def say(text: str) -> None:
    """Print lines to stdout; at a terminal they are broken between words.

    >>> say("two words")
    two words
    """
    console = rich_console(sys.stdout)
    if console is None:
        print(text)
        return
    from rich.text import Text

    console.print(Text(text))


def one_line(error: BaseException) -> str:
    """Return what an error says, in one line; what it is called, if it says nothing.

    Of a file: its name, and what is wrong with it.

    >>> one_line(OSError(28, "No space", "runs/my")), one_line(MemoryError())
    ('runs/my: No space', 'not enough memory')
    """
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"not enough memory: {text}" if text else "not enough memory"
    return text or type(error).__name__


def rich_console(stream: Any) -> Any:
    """Return rich's console for a stream that is a terminal; None elsewhere, or without rich.

    >>> import io
    >>> rich_console(io.StringIO()) is None
    True
    """
    if not stream.isatty() or importlib.util.find_spec("rich") is None:
        return None
    from rich.console import Console

    return Console(file=stream, highlight=False)


def show_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns.

    >>> show_pairs([("rows", "80"), ("columns", "3")])
    rows     80
    columns  3
    """
    stream = sys.stdout
    console = rich_console(stream)
    width = max(len(name) for name, _ in pairs)
    if console is None:
        print("\n".join(f"{name:<{width}}  {value}" for name, value in pairs))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(value))
    console.print(table)


def show_command(words: str, command: str) -> None:
    """Print words and a command to stderr; the command can be copied as a whole."""
    console = rich_console(sys.stderr)
    if console is None:
        print(f"{PROGRAM}: {words} {command}", file=sys.stderr)
        return
    from rich.text import Text

    console.print(Text(f"{PROGRAM}: {words}"))
    console.print(Text(f"  {command}", style="bold"), soft_wrap=True)


def without_folder(text: str) -> str:
    """Return a text in which files of the working folder are called as they were given.

    >>> without_folder(f"`{os.getcwd()}/my.csv` is empty")
    '`my.csv` is empty'
    """
    return text.replace(f"{os.getcwd().rstrip(os.sep)}{os.sep}", "")


def show_next(*commands: tuple[str, str]) -> None:
    """Print the commands that may follow, each with what it is for; they can be copied as a whole.

    >>> show_next(("draw rows", "relgrad-np sample r --out s.csv"))
    next:
      draw rows  relgrad-np sample r --out s.csv
    """
    console = rich_console(sys.stdout)
    width = max(len(purpose) for purpose, _ in commands)
    print("next:")
    for purpose, command in commands:
        if console is None:
            print(f"  {purpose:<{width}}  {command}")
        else:
            from rich.text import Text

            line = Text(f"  {purpose:<{width}}  ")
            console.print(line.append(command, style="bold"), soft_wrap=True)


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
