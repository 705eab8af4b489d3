"""Arguments of commands: a parser whose errors are one line, and flags made from settings."""

import argparse
from collections.abc import Callable
from typing import Any, NoReturn

from ..fitting.declared import declared
from .console import PROGRAM

Command = Callable[[str, Callable[[argparse.Namespace], int], str], argparse.ArgumentParser]


class Parser(argparse.ArgumentParser):
    """A parser that ends on an error with one line and exit status 2."""

    def error(self, message: str) -> NoReturn:
        """End with the message."""
        self.exit(2, f"{PROGRAM}: error: {message} (see {self.prog} --help)\n")


def positive(text: str) -> int:
    """Read a positive integer.

    >>> positive("3")
    3
    """
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def seed_number(text: str) -> int:
    """Read a seed.

    >>> seed_number("0")
    0
    """
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


METAVARS = {int: "N", float: "X", str: "NAME"}
READERS: dict[str, Callable[[str], Any]] = {"seed": seed_number}  # others are read by their kind


def add_settings(parser: Any, record: Any) -> None:
    """Add a flag for each setting of a record; one that is not given is None.

    >>> from ..fitting.options import Options
    >>> parser = Parser()
    >>> add_settings(parser, Options)
    >>> given = parser.parse_args(["--batch-size", "5", "--no-track-inverse"])
    >>> given.batch_size, given.track_inverse, given.epochs
    (5, False, None)
    """
    for name, setting in declared(record).items():
        flag, words = f"--{name.replace('_', '-')}", setting.text().replace("%", "%%")
        if setting.kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=words)
        else:
            read = READERS.get(name, setting.kind)
            parser.add_argument(flag, metavar=METAVARS[setting.kind], type=read, help=words)
