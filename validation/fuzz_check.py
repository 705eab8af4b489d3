"""Damaged files for `check`: no traceback, no hang, and no pass of changed cases.

`python -m validation.fuzz_check --count 10000`: random changes of a suite's files (manifest, npz)
and of a candidate's results (npz, npy, json, conventions). Each must end in a report or in one
line of ValueError, in under ten seconds, and a changed case of the suite must be refused.
"""

import argparse
import collections
import json
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from relgrad_np.oracle.commands import check_files
from relgrad_np.oracle.mistakes import formulas
from relgrad_np.oracle.truths import storage
from relgrad_np.oracle.truths.export import write
from relgrad_np.oracle.truths.suite import small

KINDS = ("npz", "npy", "json")


def prepare(folder: Path, wrong: Any = None) -> None:
    """Write a suite of three small cases, and results in every format."""
    ids = ["depth-1-2", "generic-smooth_leaky_relu-logistic", "no-bias-softplus"]
    kept = small().where(id=ids).cases
    write(folder / "suite", kept)
    for kind, case in zip(KINDS, kept, strict=True):
        made, name = formulas.run(case.problem, wrong), case.problem.id
        results = folder / "results"
        results.mkdir(exist_ok=True)
        if kind == "npz":
            (results / f"{name}.npz").write_bytes(storage.npz_bytes(made))
        elif kind == "json":
            arrays = {key: storage.hexadecimal(x) for key, x in made.items()}
            text = json.dumps({"dtype": "float64", "arrays": arrays})
            (results / f"{name}.json").write_text(text)
        else:
            (results / name).mkdir(exist_ok=True)
            for key, x in made.items():
                (results / name / f"{key}.npy").write_bytes(storage.npy_bytes(x))
    (results / "conventions.json").write_text(json.dumps({"weights": "rows"}))


def mutate(raw: bytes, rng: random.Random) -> bytes:
    """One to four random changes of bytes."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1) if data else 0
        kind = rng.randrange(6)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
        elif kind == 3:
            del data[at : at + rng.randint(1, 99)]
        elif kind == 4:
            words = [b"NaN", b"1e999", b"-1", b"[", b'{"', b"null", b"0x", b"9" * 30, b"\x00" * 8]
            data[at : at + 3] = rng.choice(words)
        else:
            data[at:at] = data[at : at + rng.randint(1, 200)]
    return bytes(data)


def attempt(folder: Path, path: Path, raw: bytes) -> str:
    """Put these bytes in place of a file, check, put the file back; return what happened."""
    kept = path.read_bytes()
    start = time.monotonic()
    try:
        path.write_bytes(raw)
        report = check_files(folder / "suite", folder / "results")
        report.text(), report.json()
        said = "passed" if report.passed else "failed"
    except ValueError as error:
        said = "refused" if str(error) and "\n" not in str(error) else f"CRASH {error!r}"
    except Exception as error:  # this is what the program looks for
        said = f"CRASH {type(error).__name__}: {error}"
    finally:
        path.write_bytes(kept)
    if time.monotonic() - start > 10:
        said = f"HANG {path.name}"
    # a changed manifest may pass: checksums bind the cases, not its texts and tolerances
    if said == "passed" and path.parent.name == "cases" and raw != kept:
        said = "PASS of a changed file"
    return said


def main() -> int:
    """Mutate, and count what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, said = random.Random(options.seed), collections.Counter[tuple[str, str]]()
    np.seterr(all="ignore")
    bad: list[Any] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(folder)
        if not check_files(folder / "suite", folder / "results").passed:
            raise SystemExit("the unchanged results must pass")
        groups = {
            "manifest": [folder / "suite" / "manifest.json"],
            "power": [folder / "suite" / "power.json"],
            "case": sorted((folder / "suite" / "cases").glob("*.npz")),
            "npz": sorted((folder / "results").glob("*.npz")),
            "npy": sorted((folder / "results").glob("*/*.npy")),
            "json": [p for p in (folder / "results").glob("*.json") if p.stem != "conventions"],
            "conventions": [folder / "results" / "conventions.json"],
        }
        for i in range(options.count):
            group = list(groups)[i % len(groups)]
            path = rng.choice(groups[group])
            what = attempt(folder, path, mutate(path.read_bytes(), rng))
            said[group, what if what.islower() else "BAD"] += 1
            if not what.islower():
                bad.append((i, group, what))
        shutil.rmtree(folder, ignore_errors=True)
    lines = [f"{options.count} mutated files, seed {options.seed}"]
    for group in groups:
        counts = {what: n for (g, what), n in sorted(said.items()) if g == group}
        lines.append(f"{group:<12} " + ", ".join(f"{what} {n}" for what, n in counts.items()))
    lines += [f"  {item}" for item in bad[:20]]
    lines.append("no crash, no hang" if not bad else f"{len(bad)} BAD")
    print("\n".join(lines))
    if options.count >= 10_000:
        out = Path(__file__).parent / "oracle" / "fuzz.txt"
        out.parent.mkdir(exist_ok=True)
        out.write_text("\n".join(lines) + "\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
