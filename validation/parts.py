"""What each part of the recipe does: the same run with that part switched off, on validation rows.

    python -m validation.parts [--data digits]

Three layers; the digits for 60 epochs, MNIST for 2; seed 0. Prints a table in nats per sample.
"""

import argparse
from dataclasses import replace

from relgrad_np import Recipe
from relgrad_np.training import settings_for

from .experiments import Wanted, runs

EPOCHS = {"digits": 60, "mnist": 2}
OFF = {
    "the recipe": {},
    "chart off (`memory=None`)": {"memory": None},
    "gain off (`information=None`)": {"information": None},
    "weights off (`outliers=None`)": {"outliers": None},
    "plain steps (`kind='plain'`)": {"kind": "plain"},
    "size 0.03 (`size='constant'`)": {"size": "constant", "learning_rate": 0.03},
    "size by a running scalar (`size='adaptive'`)": {"size": "adaptive", "learning_rate": 0.03},
    "a third of the rate": {"learning_rate": 0.4 / 3},
    "three times the rate": {"learning_rate": 1.2},
    "whitening start": {"init": "whiten"},
    "orthogonal start": {"init": "orthogonal"},
    "no average": {"average": None},
    "the same noise in every epoch": {"fresh_noise": False},
    "the paper's step, 0.03": {
        "memory": None, "information": None, "outliers": None, "size": "constant", "kind": "plain",
        "learning_rate": 0.03,
    },
}  # fmt: skip
OF_THE_FIT = ("init", "average", "fresh_noise")


def variant(name, off):
    """Return the run of a set with these parts changed."""
    settings = replace(settings_for(name), epochs=EPOCHS[name], layers=3, learning_rate=None)
    settings = replace(settings, **{key: off[key] for key in OF_THE_FIT if key in off})
    return Wanted(name, settings, Recipe(**{k: v for k, v in off.items() if k not in OF_THE_FIT}))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=EPOCHS, help="one of the two sets only")
    only = parser.parse_args().data
    names = [only] if only else list(EPOCHS)
    columns = [runs("parts", [variant(name, off) for off in OFF.values()]) for name in names]
    print("| | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for row, off in enumerate(OFF):
        cells = []
        for column in columns:
            r = column[row]
            whole = column[0]["validation"]
            value = r["validation"] if r["finite"] else float("nan")
            cells.append(f"{value:.1f}" + (f" ({value - whole:+.1f})" if row else ""))
        print(f"| {off} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
