"""What the paper and its code claim, reproduced; and past them, in one report.

    python -m validation                 everything, with the data that are at hand
    python -m validation --quick         the small ones: minutes, no data needed
    python -m validation ica erratum     these
    python -m validation --report        run nothing; write the report from the kept results

Results are kept in results/ as they come, a run a line: what was stopped goes on where it was.
The report, REPORT.md, is written from them, figures lie in figures/; of the small ones, in quick/.
Exit status 1 if a claim does not hold. Some experiments run by name only: they take hours, or
answer a narrower question.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from .report import Section, hours, table, write
from .store import HERE, Store

TITLES = {
    "erratum": "The errata: the bias rule, and the inverse with biases",
    "witnesses": "Independent witnesses",
    "ica": "Linear ICA: one layer, beside Picard and FastICA",
    "recovery": "Sources of any kind: densities chosen and fitted",
    "nonlinear": "Nonlinear ICA: sources from the model's own class",
    "toys": "Eight toys in the plane",
    "gradients": "Ordinary against relative gradient",
    "density": "Density estimation",
    "deviations": "The published recipe, and what each deviation costs",
    "samples": "Samples",
    "second_order": "Second order: all rows at once, beside the rules of minibatches",
    "scaling": "Time of a step against D",
    "robustness": "The default rule at every depth, and at three times its rate",
    "parts": "What each part of the recipe does",
    "patches": "BSDS300: what each choice is worth",
    "starts": "The start alone: along which axes layers Gaussianise",
    "stiffness": "Deep narrow nets: capacity or optimisation?",
    "tracking": "log|det W| and inv(W), tracked through long runs",
}
BY_NAME_ONLY = ("robustness", "parts", "patches", "starts", "stiffness", "tracking")
QUICK = ("erratum", "witnesses", "ica", "recovery", "nonlinear", "toys", "density", "second_order")


def module(name: str) -> ModuleType:
    """Return the module of an experiment."""
    return importlib.import_module(f".{name}", __package__)


def main(argv: list[str] | None = None) -> int:
    """Run, write the report, print the claims; 1 if one does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m validation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TITLES))
    parser.add_argument("--quick", action="store_true", help="small sizes, one seed")
    parser.add_argument("--report", action="store_true", help="run nothing, write the report")
    parser.add_argument("--again", action="store_true", help="run again what is kept")
    parser.add_argument("--out", type=Path, help="another folder for all of it")
    options = parser.parse_args(argv)
    for name in options.names:
        if name not in TITLES:
            parser.error(f"no experiment {name!r}; there are {', '.join(TITLES)}")
    folder = HERE / "quick" if options.quick else HERE
    store = Store(options.out or folder, again=options.again)
    usual = QUICK if options.quick else [n for n in TITLES if n not in BY_NAME_ONLY]
    names = [name for name in TITLES if name in (options.names or usual)]
    if not options.report:
        for name in names:
            began, before = time.perf_counter(), store.fresh
            print(f"== {name}", file=sys.stderr, flush=True)
            try:
                module(name).run(store, options.quick)
            except ModuleNotFoundError as error:
                print(f"   {error}: pip install -e '.[test,peers]'", file=sys.stderr, flush=True)
            took = hours(time.perf_counter() - began)
            print(f"   {store.fresh - before} runs, {took}", file=sys.stderr, flush=True)
    shown = usual if options.quick else TITLES
    sections: dict[str, tuple[str, Section]] = {
        name: (TITLES[name], module(name).section(store, options.quick)) for name in shown
    }
    report = store.folder / "REPORT.md"
    store.folder.mkdir(parents=True, exist_ok=True)
    report.write_text(write(sections, head(options), times(store, usual)))
    claims = [
        (name, claim) for name in names if name in sections for claim in sections[name][1].claims
    ]
    for name, claim in claims:
        print(f"{'holds' if claim.holds else 'FAILS':6} {name}: {claim.what}: {claim.found}")
    failed = sum(not claim.holds for _, claim in claims)
    print(f"{len(claims) - failed} of {len(claims)} claims hold; {report}")
    return 1 if failed else 0


def times(store: Store, usual: Sequence[str]) -> str:
    """Return what the runs in this report took, those of a usual round and the others."""
    rows, total = [], 0.0
    for name in TITLES:
        took = list(store.shown.get(name, {}).values())
        known = [seconds for seconds in took if seconds is not None]
        if took:
            note = "" if len(known) == len(took) else f", without {len(took) - len(known)} untimed"
            rows.append([
                name, len(took), hours(sum(known)) + note, "" if name in usual else "by name only",
            ])  # fmt: skip
            total += sum(known) * (name in usual)
    return "\n".join([
        "What the runs of this page took, one after another, figures and data not counted:",
        "",
        table(["experiment", "runs", "time", ""], rows),
        "",
        f"Those that `python -m validation` runs by itself: {hours(total)}.",
    ])  # fmt: skip


def head(options: Any) -> str:
    """Return the report's first lines."""
    what = " --quick" if options.quick else ""
    lines = [
        "# Validation",
        "",
        "This page reproduces what the paper and its published code claim, and shows what the "
        "method reaches with good settings. Each section names the command that makes its figures, "
        f"`python -m validation NAME`; `python -m validation{what}` runs all of them. Results are "
        "in [results](results), one run a line, with settings, machine and date; this page is "
        "written from them and from nothing else (`python -m validation --report`).",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
