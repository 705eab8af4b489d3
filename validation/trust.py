"""Can a fit be trusted on anybody's data? `python -m validation.trust [PART ...]`.

    faults       small inputs that spoiled a fit once, with their right values
    dirty        three hundred dirty data sets, L = 1, 2, 3, 5, float32 and float64, settings of fit
    auto         a hundred of them by the estimator as it comes, judged by rows it has not seen
    stream       drifting densities through `partial_fit`, row by row and in batches
    interrupts   KeyboardInterrupt at random instants of `fit` and `partial_fit`
    newton       a thousand dirty problems: no iteration lowers the exact log-likelihood

A fit must end without an exception, but for one clear line about rank or rows; without NaN; and
not below its own start, nor below the closed-form Gaussian of its rows, by more than 0.01 nats,
unless it warns of that (`rg.FitWarning`, or scikit-learn's ConvergenceWarning). In float32, what
evaluating in float32 loses is allowed for, see `judge`. One layer must be within 0.01 nats of the
Gaussian on 99 % of the sets, and warn on the others.

Fits of dirty sets are kept in results/trust.jsonl and trust-auto.jsonl, a set a line, and not done
again without --again; the text goes to results/trust.txt. `--quick` has 20 sets, L = 1 and 3, four
of auto's, shorter streams, fewer interrupts, keeps nothing, and takes about a minute. Exit status 1
if a claim does not hold.
"""

import argparse
import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .checks import Check

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before NumPy: processes share the cores

import numpy as np  # noqa: E402

from . import interrupts, rises, streams  # noqa: E402
from .dirty import COUNT, KINDS, dirty  # noqa: E402
from .faults import FAULTS  # noqa: E402
from .judge import estimator, judged, judged_unseen  # noqa: E402
from .report import hours, table  # noqa: E402
from .store import HERE, Line, Store  # noqa: E402

DEPTHS = (1, 2, 3, 5)
DTYPES = ("float32", "float64")
ENOUGH = 0.99  # of the fits of one layer


def cases(seed: int, quick: bool) -> list[tuple[int, str]]:
    """Return depth and dtype of the fits of one set; the quick ones take dtypes in turn.

    >>> cases(0, True), len(cases(0, False))
    ([(1, 'float32'), (3, 'float64')], 8)
    """
    if quick:
        return [(1, DTYPES[seed % 2]), (3, DTYPES[(seed + 1) % 2])]
    return [(L, dtype) for L in DEPTHS for dtype in DTYPES]


def fits(seed: int, wanted: list[tuple[int, str]]) -> Line:
    """Fit one dirty set in these ways; return the verdicts, as they are kept."""
    name, X = dirty(seed)
    found = []
    with np.errstate(all="ignore"):
        for L, dtype in wanted:
            verdict = judged(X.astype(dtype), estimator(L, seed))
            found.append({"L": L, "dtype": dtype, **verdict._asdict()})
    return {"dirt": name, "N": X.shape[0], "D": X.shape[1], "fits": found}


def unseen(seed: int) -> Line:
    """Fit most of one dirty set by the estimator as it comes; return the verdict, as it is kept."""
    name, X = dirty(seed)
    with np.errstate(all="ignore"):
        verdict = judged_unseen(X, seed)
    return {"dirt": name, "N": X.shape[0], "D": X.shape[1], **verdict._asdict()}


def dirty_lines(options: argparse.Namespace) -> Iterator[Line]:
    """Yield the verdicts of each set: as kept, or found by as many processes as asked for."""
    if options.quick:
        for i, seed in enumerate(range(0, COUNT, 15)):
            yield {"seed": seed, **fits(seed, cases(i, True))}
        return
    store = Store(options.out or HERE, again=options.again)
    wanted = [{"seed": seed} for seed in range(COUNT)]
    open_ = [k for k in wanted if store.find("trust", k) is None or store.renews("trust", k)]
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        coming = {
            key["seed"]: pool.apply_async(fits, (key["seed"], cases(key["seed"], False)))
            for key in open_
        }
        for key in wanted:
            got = coming.get(key["seed"])
            yield store.run("trust", key, got.get if got else dict)


def worst(values: Any) -> str:
    """Return the least of some differences, in nats.

    >>> worst([0.5, None, -2e4]), worst([])
    ('-2e+04', '')
    """
    known = [x for x in values if x is not None]
    return f"{min(known):+.3g}" if known else ""


def by_kind(lines: list[Line]) -> str:
    """Return the table of verdicts by kind of dirt; a set of two kinds counts in both."""
    rows = []
    for kind in (*KINDS, "all"):
        mine = [
            fit for line in lines if kind in (*line["dirt"].split(" + "), "all")
            for fit in line["fits"]
        ]  # fmt: skip
        counts = [sum(bool(fit[x]) for fit in mine) for x in ("refused", "warned", "faults")]
        least = [worst(fit[x] for fit in mine) for x in ("start", "gaussian")]
        rows.append([kind, len(mine), *least, *counts])
    titles = ["dirt", "fits", "less start", "less Gaussian", "refused", "warned", "failures"]
    return table(titles, rows)


def claims_of(lines: list[Line]) -> Iterator[Check]:
    """Yield what is claimed of the fits of dirty sets."""
    every = [fit for line in lines for fit in line["fits"]]

    def none(what: str, *words: str) -> Check:
        found = [f for fit in every for f in fit["faults"] if any(word in f for word in words)]
        return Check(what, "none", f"{len(found)} of {len(every)}", not found)

    yield none("exceptions but clear refusals", "raised")
    yield none("refusals by one layer of what has full rank", "refused")
    yield none("NaN", "NaN", "not finite", "score")
    yield none("below the start, without a warning", "start")
    yield none("below the Gaussian, without a warning", "below the Gaussian")
    yield none("above what a Gaussian can have", "above")
    one = [fit for fit in every if fit["near"] is not None]
    near = sum(fit["near"] for fit in one)
    silent = sum(not (fit["near"] or fit["warned"]) for fit in one)
    came = f"{near} of {len(one)}, {silent} of the others silent"
    ok = bool(one) and near >= ENOUGH * len(one) and not silent
    yield Check("one layer, within 0.01 nats of the Gaussian", "99 %, others warned", came, ok)


def dirty_part(options: argparse.Namespace) -> Iterator[str | Check]:
    """Yield the table of the dirty sets, their claims, and the first failures."""
    lines = list(dirty_lines(options))
    yield by_kind(lines)
    yield from claims_of(lines)
    for line in lines:
        for fit in line["fits"]:
            for fault in fit["faults"]:
                set_ = f"seed {line['seed']}, {line['dirt']}, {line['N']} x {line['D']}"
                yield f"  {set_}, L = {fit['L']}, {fit['dtype']}: {fault}"


def auto_part(options: argparse.Namespace) -> Iterator[str | Check]:
    """Yield what became of dirty sets whose rows choose the settings, and the failures."""
    store = None if options.quick else Store(options.out or HERE, again=options.again)
    lines = []
    for seed in range(0, COUNT, 97 if options.quick else 3):
        get = functools.partial(unseen, seed)
        lines.append(
            {"seed": seed} | (store.run("trust-auto", {"seed": seed}, get) if store else get())
        )
    known = [line for line in lines if line["gaussian"] is not None]
    above = sum(line["gaussian"] > 2 * line["error"] for line in known)
    below = sum(line["gaussian"] < -2 * line["error"] for line in known)
    yield (
        f"{len(lines)} sets: {above} above the Gaussian by two standard errors, {below} below, "
        f"{sum(line['refused'] for line in lines)} refused, "
        f"{sum(line['warned'] for line in lines)} warned"
    )
    wrong = [(line, fault) for line in lines for fault in line["faults"]]
    what = "settings chosen from dirty rows: no exception, NaN, or silent loss on unseen rows"
    yield Check(what, "none", f"{len(wrong)} of {len(lines)}", not wrong)
    for line, fault in wrong:
        yield f"  seed {line['seed']}, {line['dirt']}, {line['N']} x {line['D']}: {fault}"


def faults_part(options: argparse.Namespace) -> Iterator[str | Check]:
    """Yield the checks of each fault, under what it is."""
    for name, function in FAULTS.items():
        yield f"{name}: {function.__doc__}"
        for check in function():
            yield check._replace(what=f"{name} {check.what}")


def stream_part(options: argparse.Namespace) -> Iterator[str | Check]:
    """Yield the checks of drifting streams."""
    yield from streams.checks(2_000 if options.quick else streams.WHOLE)


def interrupts_part(options: argparse.Namespace) -> Iterator[str | Check]:
    """Yield the checks of interrupted calls."""
    yield from interrupts.checks(20 if options.quick else 200)


def newton_part(options: argparse.Namespace) -> Iterator[str | Check]:
    """Yield the checks of full batches of second order."""
    yield from rises.checks(rises.COUNT // 10 if options.quick else rises.COUNT)


PARTS = {
    "faults": faults_part,
    "dirty": dirty_part,
    "auto": auto_part,
    "stream": stream_part,
    "interrupts": interrupts_part,
    "newton": newton_part,
}


def main(argv: list[str] | None = None) -> int:
    """Run the parts, print what is found; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m validation.trust",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="a tenth of it, nothing kept")
    parser.add_argument("--again", action="store_true", help="fit again what is kept")
    parser.add_argument("--processes", type=int, default=2, help="for the dirty sets (2)")
    parser.add_argument("--out", type=Path, help="another folder for what is kept")
    options = parser.parse_args(argv)
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"no part {part!r}; there are {', '.join(PARTS)}")
    text: list[str] = []
    checks: list[Check] = []

    def say(line: str) -> None:
        print(line, flush=True)
        text.append(line)

    for part in options.parts or PARTS:
        began = time.perf_counter()
        say(f"== {part}")
        for found in PARTS[part](options):
            if isinstance(found, Check):
                checks.append(found)
            say(found.line() if isinstance(found, Check) else found)
        print(f"   {hours(time.perf_counter() - began)}", file=sys.stderr, flush=True)
    failed = [check for check in checks if check.ok is False]
    skipped = sum(check.ok is None for check in checks)
    held = len(checks) - len(failed) - skipped
    say("== what fails" if failed else "== nothing fails")
    for check in failed:
        say(check.line())
    say(f"{held} of {len(checks)} claims hold, {skipped} skipped")
    if not options.quick and not options.parts:
        path = (options.out or HERE) / "results" / "trust.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(text) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
