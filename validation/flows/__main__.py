"""Runs what the package says: `python -m validation.flows zoo`."""

from __future__ import annotations

import argparse
import importlib
import json
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
    options = parser.parse_args()
    if options.what == "report":
        from .report import main as write

        write()
        return 0
    home = {"zoo": ".zoo.run"}.get(options.what, f".{options.what}")
    run = importlib.import_module(home, __package__).run
    bad, kept = 0, []
    for record in run(options.only):
        kept.append(record)
        fine = record.get("as_expected", True)
        bad += not fine
        what = record.get("skipped") or record["verdict"]
        print("ok " if fine else "BAD", record.get("seconds", ""), record["library"],
              record.get("name", "skipped"), "|", what, flush=True)  # fmt: skip
    print(f"{len(kept)} judged, {bad} not as they must be")
    if not options.only:
        RESULTS.mkdir(exist_ok=True)
        with (RESULTS / f"{options.what}.jsonl").open("w") as file:
            file.writelines(json.dumps(record) + "\n" for record in kept)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
