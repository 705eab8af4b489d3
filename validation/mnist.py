"""MNIST in logit space, three seeds: two layers, and the best depth found, within 15 epochs.

    python -m validation.mnist [--seeds 0 1 2]

The settings were chosen on the validation rows (short runs of seed 0); the test rows only report.
Exit status 1 unless every seed reaches -1245 with two layers and -1150 with the best.
"""

import argparse
from dataclasses import replace

from relgrad_np.training import settings_for

from .experiments import Wanted, runs

GOALS = {"two layers": -1245.0, "best": -1150.0}


def chosen(seed):
    """Return the two settings of this seed."""
    two = settings_for("mnist", seed=seed, epochs=15)
    deep = {"activation": "leaky_tanh", "alpha": 0.6, "beta": 0.6, "learning_rate": 0.6}
    return {"two layers": two, "best": replace(two, layers=5, **deep)}


def main() -> None:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    good = True
    print("| | seed | L | validation | test +- 2 s.e. | Gaussian | best epoch | undone | fitting |")
    print("|---|---|---|---|---|---|---|---|---|")
    for seed in parser.parse_args().seeds:
        for name, settings in chosen(seed).items():
            (r,) = runs("mnist", [Wanted("mnist", settings)])
            good &= r["finite"] and r["test"] >= GOALS[name]
            print(
                f"| {name} | {seed} | {settings.layers} | {r['validation']:.1f} | {r['test']:.1f} "
                f"+- {r['two standard errors']:.1f} | {r['gaussian']:.1f} | {r['best epoch']} | "
                f"{r['undone']} | {r['fitting seconds']:.0f} s |",
                flush=True,
            )
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
