"""Arguments of commands: a parser whose errors are one line, and flags made from settings."""

import argparse
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from ..core.arguments import nearest
from ..fitting.declared import Setting, declared
from .console import complain

Command = Callable[..., argparse.ArgumentParser]
SYNONYMS = {  # what other programs call an option
    "lr": "learning-rate",
    "step-size": "learning-rate",
    "depth": "layers",
    "n-layers": "layers",
    "n-epochs": "epochs",
    "max-iter": "epochs",
    "iterations": "epochs",
    "optimizer": "rule",
    "base": "density",
    "output": "out",
    "delimiter": "sep",
    "separator": "sep",
    "na-values": "missing-marks",
    "random-state": "seed",
    "features": "columns",
    "bounds": "support",
    "context": "given",
    "condition": "given",
    "conditional": "given",
}


class Overview(argparse.RawTextHelpFormatter):
    """The help of a program, in which each command has one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 14  # "check-flow" and its indent, which argparse forgets


class Parser(argparse.ArgumentParser):
    """A parser that ends on an error with one line and exit status 2.

    Of an unknown command or option it says which one was probably meant.
    """

    def error(self, message: str) -> NoReturn:
        """End with the message."""
        complain(f"{message} (see {self.prog} --help)")
        self.exit(2)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options; an unknown one ends with the nearest that the command has."""
        options, rest = self.parse_known_args(args, namespace)
        if rest:
            parser = getattr(options, "parser", self)
            parser.error(
                unknown(rest, [flag for a in parser._actions for flag in a.option_strings])
            )
        return options

    def _check_value(self, action: Any, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            near = nearest(value, action.choices)
            meant = "" if near is None else f"; did you mean {near!r}?"
            listed = ", ".join(action.choices)
            raise argparse.ArgumentError(
                None, f"unknown command {value!r}; choose from {listed}{meant}"
            )
        super()._check_value(action, value)


def unknown(rest: list[str], flags: Iterable[str]) -> str:
    """Return what is wrong with arguments that were left over, and which flag was meant.

    >>> unknown(["--lr", "3"], ["--learning-rate", "--rule"])
    'unknown option --lr; did you mean --learning-rate?'
    >>> unknown(["more"], [])
    "unexpected argument 'more'"
    """
    first = next((one for one in rest if one.startswith("-")), None)
    if first is None:
        return f"unexpected argument {rest[0]!r}"
    name = first.split("=")[0]
    words = {flag.lstrip("-"): flag for flag in flags if flag.startswith("--")}
    key = name.lstrip("-").replace("_", "-")
    near = SYNONYMS.get(key) if SYNONYMS.get(key) in words else nearest(key, words)
    return f"unknown option {name}" + (f"; did you mean {words[near]}?" if near else "")


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
SHOWN_AS = {  # what stands for the value of these flags in help
    "columns": "A,B",
    "drop": "A,B",
    "given": "A,B",
    "sep": "MARK",
    "decimal": "MARK",
    "missing": "WHAT",
    "missing_marks": "X,Y",
}
READERS: dict[str, Callable[[str], Any]] = {"seed": seed_number}  # others are read by their kind


def add_settings(parser: Any, record: Any, names: Iterable[str] | None = None) -> None:
    """Add a flag for each setting of a record, or those of these names; not given, it is None.

    "none" is read as it stands, where a setting may be None, and "auto" where the data may choose.

    >>> from ..fitting.options import Options
    >>> parser = Parser()
    >>> add_settings(parser, Options)
    >>> given = parser.parse_args(["--batch-size", "5", "--no-track-inverse", "--average", "none"])
    >>> given.batch_size, given.track_inverse, given.average, given.epochs
    (5, False, 'none', None)
    """
    for name, setting in declared(record).items():
        if names is not None and name not in names:
            continue
        flag, words = f"--{name.replace('_', '-')}", setting.text().replace("%", "%%")
        if setting.kind is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=words)
        else:
            metavar = SHOWN_AS.get(name, METAVARS[setting.kind])
            parser.add_argument(flag, metavar=metavar, type=reader(setting), help=words)


def reader(setting: Setting) -> Callable[[str], Any]:
    """Return what reads the text of a flag; its name is that of what it reads, for messages.

    >>> reader(Setting("average", float, 0.1, "", (), "", optional=True))("none")
    'none'
    >>> reader(Setting("layers", int, 3, "", (), "", auto=True))("auto")
    'auto'
    """
    read = READERS.get(setting.name, setting.kind)
    words = ["none"] * setting.optional + ["auto"] * setting.auto
    if not words or setting.kind is str:
        return read

    def read_or_none(text: str) -> Any:
        return text if text in words else read(text)

    read_or_none.__name__ = read.__name__
    return read_or_none


@contextlib.contextmanager
def in_flags(*records: Any) -> Iterator[None]:
    """Let an error name the flags of these records, not the settings behind them.

    >>> from ..fitting.options import Options
    >>> with in_flags(Options):
    ...     Options(batch_size=0)
    Traceback (most recent call last):
    ValueError: `--batch-size` must be a positive integer, got 0
    """
    names = {name for record in records for name in declared(record)}

    def flag(match: re.Match[str]) -> str:
        return f"`--{match[1].replace('_', '-')}`" if match[1] in names else match[0]

    try:
        yield
    except (ValueError, TypeError) as error:
        text = re.sub(r"`(\w+)`", flag, str(error)).replace(", or None", ", or none")
        raise type(error)(text) from None
