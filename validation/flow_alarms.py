"""How often `check_flow` calls a right flow wrong, over random right ones.

Run `python -m validation.flow_alarms --models 2000`.

It must never be a law of values; the tests of samples may reject in a share of `level` of the
models. With a level near 1/20 that share can be measured in minutes.
"""

import argparse
import sys
import time
from collections import Counter

from relgrad_np.oracle.flows.check import check_flow

from .right_flows import right_flow


def run(first, models, level, laws=None):
    """Return the reports that are no pass, and how often each law was judged."""
    failed, judged = [], Counter()
    for seed in range(first, first + models):
        made, word = right_flow(seed)
        start = time.perf_counter()
        report = check_flow(**made, level=level, seed=seed, laws=laws)
        judged.update(report.judged)
        took = time.perf_counter() - start
        if not report.passed:
            failed.append((seed, word, report))
            print(f"{seed} {word}: {report.verdict} ({took:.1f} s)", flush=True)
    return failed, judged


def main(arguments=None):
    """Print what was rejected; exit status 1 if a law of values was, or samples too often."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--level", type=float, default=1e-3)
    parser.add_argument("--laws", nargs="+", metavar="LAW", help="judge these alone")
    options = parser.parse_args(arguments)
    start = time.perf_counter()
    failed, judged = run(options.first, options.models, options.level, options.laws)
    laws = Counter(
        law.law for _, _, report in failed for law in report.laws if law.verdict == "WRONG"
    )
    nothing = sum("nothing was judged" in report.verdict for _, _, report in failed)
    values = {law: n for law, n in laws.items() if law != "samples"}
    took = time.perf_counter() - start
    print(f"{options.models} right flows in {took:.0f} s; judged: {dict(judged)}")
    print(f"false alarms of laws of values: {sum(values.values())} {values or ''}")
    share = laws["samples"] / max(1, judged["samples"])
    rejected = f"{laws['samples']} of {judged['samples']} ({share:.4f})"
    print(f"samples rejected: {rejected}, level {options.level}")
    print(f"nothing could be judged: {nothing}")
    expected = options.level * judged["samples"]
    return 1 if values or laws["samples"] > expected + 3 * expected**0.5 + 1 else 0


if __name__ == "__main__":
    sys.exit(main())
