"""Runs what the package says: `python -m validation.flows zoo`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
CHOICES = ("zoo", "mistakes", "right", "cost", "report")


def main() -> int:
    """Run one of the four; 1 if something isn't as it must be."""
    parser = argparse.ArgumentParser(prog="python -m validation.flows", description=__doc__)
    parser.add_argument("what", choices=CHOICES)
    parser.add_argument("--only", default="", help="those whose name has this in it; keeps nothing")
    parser.add_argument("--level", type=float, help="of the tests of samples; keeps nothing")
    parser.add_argument("--models", type=int, help="right ones; keeps nothing without --first")
    parser.add_argument("--first", type=int, help="right one: what is kept goes on from there")
    options = parser.parse_args()
    if options.what == "report":
        from .report import main as write

        write()
        return 0
    home = {"zoo": ".zoo.run"}.get(options.what, f".{options.what}")
    run = importlib.import_module(home, __package__).run
    given = {k: v for k in ("level", "models", "first") if (v := getattr(options, k)) is not None}
    if given and options.what != "right":
        parser.error("--level, --models and --first are for right")
    bad, count = 0, 0
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{options.what}.jsonl"
    more = options.first is not None and options.level is None
    keeps = not options.only and (more or not given)
    with path.open("a" if more else "w") if keeps else open(os.devnull, "w") as file:
        for record in run(options.only, **given):
            file.write(json.dumps(record) + "\n")
            file.flush()
            fine = record.get("as_expected", True)
            count, bad = count + 1, bad + (not fine)
            what = record.get("skipped") or record["verdict"]
            print("ok " if fine else "BAD", record.get("seconds", ""), record["library"],
                  record.get("name", "skipped"), "|", what, flush=True)  # fmt: skip
    print(f"{count} judged, {bad} not as they must be")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
