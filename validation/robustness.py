"""One default setting, every depth, three seeds, the learning rate as it is and three times it.

    python -m validation.robustness [--data digits] [--quick]

The digits (60 epochs) and MNIST (4 epochs), L in 1, 2, 3, 5, 8: every run must be finite; L >= 2
above the Gaussian of the same rows, L = 1 within two standard errors of it. Else exit status 1.
"""

import argparse
from dataclasses import replace

from relgrad_np.training import settings_for

from .experiments import Wanted, runs

EPOCHS = {"digits": 60, "mnist": 4}
DEPTHS = (1, 2, 3, 5, 8)
SEEDS = (0, 1, 2)


def grid(names, depths, seeds):
    """Yield what to run: the defaults of the set but for L, the seed and the rate."""
    for name in names:
        base = replace(settings_for(name), epochs=EPOCHS[name])
        for seed in seeds:
            for factor in (1.0, 3.0):
                for L in depths:
                    yield Wanted(
                        name, replace(base, layers=L, seed=seed, learning_rate=0.4 * factor)
                    )


def main() -> None:
    """Run, print a table, and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=EPOCHS, help="one of the two sets only")
    parser.add_argument("--quick", action="store_true", help="digits, one seed, L = 1, 2, 5")
    options = parser.parse_args()
    names = [options.data] if options.data else list(EPOCHS)
    wanted = grid(["digits"], (1, 2, 5), (0,)) if options.quick else grid(names, DEPTHS, SEEDS)
    results = runs("robustness", wanted)
    bad = 0
    print("| data | L | rate | seed | test | above the Gaussian | 2 s.e. | undone | |")
    print("|---|---|---|---|---|---|---|---|---|")
    for r in results:
        s = r["settings"]
        if r["finite"]:
            gain, two = r["test"] - r["gaussian"], r["two standard errors"]
            good = abs(gain) <= two if s["layers"] == 1 else gain > 0
            line = f"{r['test']:.2f} | {gain:+.2f} | {two:.2f} | {r['undone']}"
        else:
            good, line = False, f"{r['why']} | | |"
        bad += not good
        rate = s["learning_rate"]
        print(
            f"| {r['data']} | {s['layers']} | {rate:.1f} | {s['seed']} | {line} | "
            f"{'' if good else 'NOT'} |"
        )
    print(f"{len(results) - bad} of {len(results)} runs as claimed")
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
