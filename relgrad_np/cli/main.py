"""The command line: `train`, `evaluate`, `sample`, `check`, `check-flow` and what helps with them.

Exit status: 0 success; 1 an honest negative (a check failed, the fit diverged); 2 unusable input,
one line on stderr; 130 and 143 for signals.
"""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..core.version import __version__
from ..datasets.memory import require_reserve
from ..fitting.records import FitDivergedError
from ..oracle.commands import register as register_oracle
from ..oracle.flows.command import register as register_flows
from .arguments import Overview, Parser
from .console import PROGRAM, SIGNALS, complain, end, note, one_line
from .tools import register as register_tools
from .train import register as register_train
from .use import register as register_use

STATUS = """exit status: 0 success; 1 a check failed or the fit diverged; 2 unusable input;
130, 143: stopped by a signal, with a checkpoint to go on from (train --resume)"""

UNUSABLE = (ValueError, TypeError, OSError, ImportError, MemoryError, np.linalg.LinAlgError)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status.

    >>> main(["info", "--json"])  # doctest: +ELLIPSIS
    {"relgrad_np": ...}
    0
    """
    options = parser().parse_args(arguments)
    for number in SIGNALS:
        signal.signal(number, end)
    if options.debug:
        return int(options.run(options))
    warnings.simplefilter("ignore", RuntimeWarning)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_note
            require_reserve()
            return int(options.run(options))
    except FitDivergedError as error:
        complain(f"the fit diverged: {error}")
        return 1
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except UNUSABLE as error:
        complain(one_line(error))
        return 2


def show_note(message: Warning | str, *where: Any, **more: Any) -> None:
    """Print a warning in one line, without the place in the source that it comes from."""
    note(str(message))


def parser() -> Parser:
    """Return the parser of all commands; each kind of command adds its own.

    >>> parser().parse_args(["train", "digits"]).data
    'digits'
    """
    made = Parser(
        prog=PROGRAM,
        description="Maximum likelihood by the relative gradient.",
        epilog=STATUS,
        formatter_class=Overview,
    )
    made.add_argument("--version", action="version", version=__version__)
    commands = made.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    def command(
        name: str,
        run: Callable[[argparse.Namespace], int],
        text: str,
        examples: str = "",
        usage: str = "",
    ) -> argparse.ArgumentParser:
        one = commands.add_parser(
            name,
            help=text,
            description=text,
            epilog=examples or None,
            usage=usage or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")
        one.set_defaults(run=run, parser=one, root=made)
        return one

    for register in (register_train, register_use, register_tools, register_oracle, register_flows):
        register(command)
    return made


if __name__ == "__main__":
    sys.exit(main())
