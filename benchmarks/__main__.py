"""`python -m benchmarks`, in a checkout: time a step beside the peers, each gated first.

    python -m benchmarks [--quick] [--cells table|scaling|batch|fit] [--threads 1] [--out FILE]
    python -m benchmarks --device cuda [--quick] [--out FILE]

`--help` lists the other options; with `--device cuda` those of the benchmark on a GPU. Both need
packages that the wheel does not: `pip install -e ".[fast,peers]"`.
"""

import argparse
import importlib
import sys

PROGRAMS = {"cpu": "benchmarks.run", "cuda": "benchmarks.cuda"}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark of a device; returns its exit status."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--device", default="cpu", choices=PROGRAMS)
    options, others = parser.parse_known_args(arguments)
    return int(importlib.import_module(PROGRAMS[options.device]).main(others))


if __name__ == "__main__":
    sys.exit(main())
