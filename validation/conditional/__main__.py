"""Runs contenders on conditional sets, and writes the page: `python -m validation.conditional`."""

from __future__ import annotations

import argparse
import sys

from .contenders import CONTENDERS
from .records import RECORDS, run
from .sets import REAL
from .toys import TOYS


def main(argv: list[str] | None = None) -> int:
    """Run contenders on sets, run the posteriors, or write the page."""
    parser = argparse.ArgumentParser(prog="python -m validation.conditional", description=__doc__)
    parser.add_argument("what", choices=("run", "posteriors", "report"))
    parser.add_argument("--contenders", default="", help="names, parted by ;, usually all")
    parser.add_argument("--sets", default="", help="names, parted by commas; usually all")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--records", default=str(RECORDS), help="another file of records")
    parser.add_argument("--again", action="store_true", help="run again what is kept")
    options = parser.parse_args(argv)
    if options.what == "report":
        from .report import main as write

        write()
        return 0
    names = [name for name in options.contenders.split(";") if name] or list(CONTENDERS)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    if options.what == "posteriors":
        from .posteriors import run as run_posteriors

        return run_posteriors(names, seeds, options.records, options.again)
    sets = [name for name in options.sets.split(",") if name] or [*TOYS, *REAL]
    return run(names, sets, seeds, options.records, options.again)


if __name__ == "__main__":
    sys.exit(main())
