"""Where deep narrow nets are stiff: POWER, the toys, and the patches of BSDS300, by the presets.

    python -m validation.low_dimension power | bsds300 | toys

Settings are the package's defaults, chosen on the validation rows; the test rows only report.
Exit status 1 unless POWER reaches 0.065 and BSDS300 151.12 nats, which the paper's authors publish
for this method (on other draws of the patches).
"""

import argparse

from relgrad_np.datasets import TOYS
from relgrad_np.training import settings_for

from .experiments import Wanted, runs

GOALS = {"power": 0.065, "bsds300": 151.12}


def main() -> None:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*GOALS, "toys"], nargs="*", default=[*GOALS, "toys"])
    what = parser.parse_args().what
    names = [name for name in GOALS if name in what]
    names += [f"toy:{name}" for name in TOYS if "toys" in what]
    good = True
    print("| | L | validation | test +- 2 s.e. | Gaussian | published | best epoch | fitting |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        settings = settings_for(name)
        (r,) = runs("low_dimension", [Wanted(name, settings)])
        goal = GOALS.get(name)
        good &= r["finite"] and (goal is None or r["test"] >= goal)
        print(
            f"| {name} | {settings.layers} | {r['validation']:.3f} | {r['test']:.3f} +- "
            f"{r['two standard errors']:.3f} | {r['gaussian']:.3f} | {goal or ''} | "
            f"{r['best epoch']} | {r['fitting seconds']:.0f} s |",
            flush=True,
        )
    raise SystemExit(0 if good else 1)


if __name__ == "__main__":
    main()
