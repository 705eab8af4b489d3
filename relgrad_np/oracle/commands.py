"""The subcommands `vectors export DIR` and `check DIR RESULTS` of the command line."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECK = "check a foreign implementation's results against exported vectors"
VECTORS = "export the suite of expected values; needs mpmath"
PARAMETERS = ("alpha", "beta", "nu", "rho", "w", "m", "s")
MODEL = {
    "activation": "activation", "density": "density", "layers": "L", "dim": "D",
    "last_layer": "last_layer", "context": "context",
}  # fmt: skip


def register(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add both subcommands; `command(name, run, text)` makes a parser."""
    vectors = command("vectors", _export, VECTORS)
    vectors.add_argument("action", choices=["export"])
    vectors.add_argument("folder", type=Path, metavar="DIR", help="a new or empty folder")
    vectors.add_argument("--activation", metavar="NAME", help="make a suite for your own model")
    vectors.add_argument("--density", metavar="NAME", help="its base density")
    vectors.add_argument("--layers", type=int, nargs="+", metavar="L", help="1 2 by default")
    vectors.add_argument("--dim", type=int, nargs="+", metavar="D", help="3 by default")
    vectors.add_argument("--context", type=int, metavar="C", help="variables of context")
    vectors.add_argument("--no-bias", action="store_true", help="b = 0")
    vectors.add_argument("--last-layer", choices=["affine", "activated"])
    for name in PARAMETERS:
        vectors.add_argument(f"--{name}", type=float, help="a parameter of either")
    check = command("check", _check, CHECK)
    check.add_argument("folder", type=Path, metavar="DIR", help="the exported vectors")
    check.add_argument("results", type=Path, metavar="RESULTS", help="<id>.npz, .json or a folder")
    check.add_argument("--json", action="store_true", help="the report as one JSON object")


def _export(options: argparse.Namespace) -> int:
    from .truths.export import export, suite
    from .truths.suite import load

    def report(name: str) -> None:
        print(name, file=sys.stderr)

    model: dict[str, Any] = {name: getattr(options, name) for name in (*PARAMETERS, *MODEL)}
    given = {MODEL.get(name, name): x for name, x in model.items() if x is not None}
    if not given and not options.no_bias:
        export(options.folder, report=report)
    elif "density" not in given:
        raise ValueError("a suite of your own needs --density, and an --activation unless L = 1")
    else:
        export(options.folder, suite(**given, bias=not options.no_bias, report=report))
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
