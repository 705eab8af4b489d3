"""Runs contenders on tables, and writes the page: `python -m validation.tables run`."""

from __future__ import annotations

import argparse
import sys

from .records import RECORDS, run
from .sets import TABLES, present


def main(argv: list[str] | None = None) -> int:
    """List, run, or write."""
    parser = argparse.ArgumentParser(prog="python -m validation.tables", description=__doc__)
    parser.add_argument("what", choices=("sets", "run", "report"))
    parser.add_argument("--contenders", default="all", help="names, parted by , or ;")
    parser.add_argument("--sets", default="", help="names, parted by commas; usually all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--records", default=str(RECORDS), help="another file of records")
    parser.add_argument("--most-rows", type=int, default=10**9, help="no sets larger than this")
    parser.add_argument("--again", action="store_true", help="run again what failed")
    options = parser.parse_args(argv)
    if options.what == "report":
        from .report import main as write

        write()
        return 0
    shapes, lacking = present()
    for name, why in lacking.items():
        print(f"skipped: {name}: {why}: pip install -e '.[tables]'", file=sys.stderr)
    if options.what == "sets":
        for name, (n, d) in shapes.items():
            print(f"{name:18} {n:6} x {d:<3} {TABLES[name].package}: {TABLES[name].origin}")
        return 0
    wanted = [name for name in options.sets.split(",") if name] or list(shapes)
    wanted = [name for name in shapes if name in wanted and shapes[name][0] <= options.most_rows]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    names = options.contenders.split(";" if ";" in options.contenders else ",")
    return run(names, wanted, seeds, options.records, options.again)


if __name__ == "__main__":
    sys.exit(main())
