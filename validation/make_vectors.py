"""Regenerate both suites, to the byte: `python -m validation.make_vectors`; about five minutes.

The full one goes to validation/vectors, the small one into the package. `--check` writes nothing
and fails unless the files are already what would be written. `--powers` takes the truths as they
are, and runs the catalogue of mistakes on them again: after a change to it, a minute.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from relgrad_np import oracle
from relgrad_np.oracle.truths.export import export, write
from relgrad_np.oracle.truths.problems import is_small
from relgrad_np.oracle.truths.suite import load

HERE = Path(__file__).parent
SMALL = Path(oracle.__file__).parent / "suite"


def make(full: Path, small: Path, powers_only: bool = False) -> None:
    """Write the full suite and the small one, whose cases are some of it."""
    if powers_only:
        write(full, [case._replace(powers=None) for case in load(HERE / "vectors").cases])
    else:
        export(full, report=lambda name: print(name, file=sys.stderr))
    kept = [case for case in load(full).cases if is_small(case.problem)]
    write(small, kept, json_up_to=0, packed=True)
    for name in ("README.md", "schema.json"):  # the package has its own
        (small / name).unlink()


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its relative path."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def main() -> int:
    """Regenerate; 1 if `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--powers", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "vectors"), Path(folder, "suite")
        make(*made, options.powers)
        kept = HERE / "vectors", SMALL
        differ = [str(b) for a, b in zip(made, kept, strict=True) if files(a) != files(b)]
        if not options.check:
            for a, b in zip(made, kept, strict=True):
                shutil.rmtree(b, ignore_errors=True)
                shutil.copytree(a, b)
    print("changed: " + ", ".join(differ) if differ else "identical to the byte")
    return 1 if options.check and differ else 0


if __name__ == "__main__":
    sys.exit(main())
