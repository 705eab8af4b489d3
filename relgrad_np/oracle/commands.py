"""The subcommands `vectors export DIR` and `check DIR RESULTS` of the command line."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECK = "check a foreign implementation's results against exported vectors"
VECTORS = "export the suite of expected values; needs mpmath"


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add both subcommands; `command(name, run, text)` makes a parser."""
    vectors = command("vectors", _export, VECTORS)
    vectors.add_argument("action", choices=["export"])
    vectors.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder")
    check = command("check", _check, CHECK)
    check.add_argument("folder", type=Path, metavar="DIR", help="the exported vectors")
    check.add_argument("results", type=Path, metavar="RESULTS", help="<id>.npz, .json or a folder")
    check.add_argument("--json", action="store_true", help="the report as one JSON object")


def _export(options: argparse.Namespace) -> int:
    from .truths.export import export
    from .truths.suite import load

    export(options.folder, report=lambda name: print(name, file=sys.stderr))
    cases = load(options.folder).cases
    print(f"written: {options.folder}, {len(cases)} cases")
    return 0


def _check(options: argparse.Namespace) -> int:
    report = check_files(options.folder, options.results)
    print(report.json() if options.json else report.text())
    return 0 if report.passed else 1


def check_files(folder: Path, results: Path) -> Any:
    """Return the report on a folder of results; ValueError for unusable input.

    >>> check_files(Path("none"), Path("none"))
    Traceback (most recent call last):
    ValueError: there is no file 'manifest.json' in 'none'
    """
    from .results import read
    from .truths.suite import load
    from .verdict import judge

    found, how = read(results, load(folder))
    return judge(str(results), found, how)
