"""Commands that use a trained model: `evaluate`, `sample`."""

import argparse
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from ..core.sampling import sample
from ..datasets import load as load_data
from ..datasets.files.own import is_own_file
from ..datasets.memory import require_memory
from ..runs.evaluation import Evaluation, evaluate_file, evaluate_own, evaluate_set
from ..runs.folder import read_config, strict_json
from ..runs.model import Model, in_float64, load
from ..runs.writing import atomic
from .arguments import Command, positive, seed_number
from .console import PROGRAM
from .data import absolute, data_dir, fingerprint_of


def register(command: Command) -> None:
    """Add the commands; `command(name, run, text)` makes a parser."""
    use = command("evaluate", run_evaluate, "log-likelihood of data under a trained model")
    use.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    use.add_argument("data", nargs="?", help="default: the run's own test rows")
    use.add_argument("--data-dir", metavar="DIR", type=Path, help="as of train")
    use.add_argument(
        "--scores", metavar="FILE", type=Path, help="write log p of each row to this .npy or .csv"
    )
    use.add_argument("--json", action="store_true")
    use = command("sample", run_sample, "draw from a trained model, in data space")
    use.add_argument("folder", type=Path, metavar="RUN", help="a run folder")
    use.add_argument("-n", metavar="N", type=positive, default=1000, help="how many; default 1000")
    use.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help="a new .npy or .csv file"
    )
    use.add_argument("--seed", metavar="N", type=seed_number, default=0)


def run_evaluate(options: argparse.Namespace) -> int:
    """Judge the model of a run on rows, and write the score of each if asked to."""
    config = read_config(options.folder)
    model = finished(options.folder)
    if options.scores is not None:
        require_new(options.scores)
    result, scores = evaluated(model, config, options)
    if options.scores is not None:
        write_rows(options.scores, scores[:, None])
    print(strict_json(result._asdict()) if options.json else result.text())
    return 0


def evaluated(
    model: Model, config: dict[str, Any], options: argparse.Namespace
) -> tuple[Evaluation, Any]:
    """Return the judgement on the run's own test rows, a file, or another set, and the scores."""
    name = config["data"] if options.data is None else absolute(options.data)
    if name == config["data"]:
        seed = config["settings"]["seed"]
        data = load_data(name, seed, config["rows"], data_dir(options, config))
        if fingerprint_of(data) != config["fingerprint"]:
            raise ValueError(f"the data {name!r} are not those the run was fitted to")
        return evaluate_own(model, data)
    if is_own_file(name):
        return evaluate_file(model, Path(name))
    return evaluate_set(model, load_data(name, 0, None, data_dir(options, config)))


def run_sample(options: argparse.Namespace) -> int:
    """Draw from the model of a run into a new file."""
    read_config(options.folder)
    model = finished(options.folder)
    require_new(options.out)
    layers, rng = in_float64(model.layers), np.random.default_rng(options.seed)
    D, L = layers[0].b.shape[0], len(layers)
    require_memory(  # Zs and Ys of the pass back, and what solves for them
        8.0 * options.n * D * (4 * L + 8), f"`-n` {options.n} rows of {D} columns", "draw fewer"
    )
    Z, _ = sample(layers, rng, options.n, model.activation, model.density)
    write_rows(options.out, model.transforms.inverse(Z))
    print(f"written: {options.out}, {options.n} rows of {Z.shape[1]} columns in data space")
    return 0


def finished(folder: Path) -> Model:
    """Load the model of a run folder, which is there once the run has ended."""
    if not (folder / "model.npz").exists():
        raise FileNotFoundError(
            f"the run in {str(folder)!r} has no model yet: end it with "
            f"{PROGRAM} train --resume --out {shlex.quote(str(folder))}"
        )
    return load(folder / "model.npz")


def require_new(path: Path) -> None:
    """Refuse a file that is there, or of another kind than .npy and .csv.

    >>> require_new(Path("x.txt"))
    Traceback (most recent call last):
    ValueError: `x.txt` must end in .npy or .csv
    """
    if path.suffix not in (".npy", ".csv"):
        raise ValueError(f"`{path}` must end in .npy or .csv")
    if path.exists():
        raise FileExistsError(f"`{path}` exists: name another file")


def write_rows(path: Path, rows: Any) -> None:
    """Write rows (N, D) to a .npy or .csv file, atomically."""
    with atomic(path) as file:
        if path.suffix == ".npy":
            np.save(file, rows)
        else:
            np.savetxt(file, rows, delimiter=",", fmt="%.17g")
