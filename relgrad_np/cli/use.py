"""Commands that use a trained model: evaluate, sample."""

import argparse
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from .data import PROGRAM, _data_dir, _fingerprint, _load, _resolved


def _evaluate(options: argparse.Namespace) -> int:
    from ..datasets.files.own import is_own_file
    from ..runs import evaluation
    from ..runs import folder as runs

    config = runs.read_config(options.folder)
    model = _finished(options.folder)
    if options.scores is not None:
        _require_new(options.scores)
    name = config["data"] if options.data is None else _resolved(options.data)
    if name == config["data"]:
        seed, folder = config["settings"]["seed"], _data_dir(options, config)
        data = _load(name, seed, config["rows"], folder)
        if _fingerprint(data) != config["fingerprint"]:
            raise ValueError(f"the data {name!r} are not those the run was fitted to")
        result, scores = evaluation.evaluate_own(model, data)
    elif is_own_file(name):
        result, scores = evaluation.evaluate_file(model, Path(name))
    else:
        data = _load(name, 0, None, _data_dir(options, config))
        result, scores = evaluation.evaluate_set(model, data)
    if options.scores is not None:
        _write_rows(options.scores, scores[:, None])
    print(runs.strict_json(result._asdict()) if options.json else result.text())
    return 0


def _finished(folder: Path) -> Any:
    """Load the model of a run folder, which is there once the run has ended."""
    from ..runs.model import load

    if not (folder / "model.npz").exists():
        raise FileNotFoundError(
            f"the run in {str(folder)!r} has no model yet: end it with "
            f"{PROGRAM} train --resume --out {shlex.quote(str(folder))}"
        )
    return load(folder / "model.npz")


def _sample(options: argparse.Namespace) -> int:
    from ..core.sampling import sample
    from ..runs import folder as runs
    from ..runs.model import in_float64

    runs.read_config(options.folder)
    model = _finished(options.folder)
    _require_new(options.out)
    layers = in_float64(model.layers)
    rng = np.random.default_rng(options.seed)
    Z, _ = sample(layers, rng, options.n, model.activation, model.density)
    _write_rows(options.out, model.transforms.inverse(Z))
    print(f"written: {options.out}, {options.n} rows of {Z.shape[1]} columns in data space")
    return 0


def _require_new(path: Path) -> None:
    if path.suffix not in (".npy", ".csv"):
        raise ValueError(f"`{path}` must end in .npy or .csv")
    if path.exists():
        raise FileExistsError(f"`{path}` exists: name another file")


def _write_rows(path: Path, rows: Any) -> None:
    from ..runs.store import atomic

    with atomic(path) as file:
        if path.suffix == ".npy":
            np.save(file, rows)
        else:
            np.savetxt(file, rows, delimiter=",", fmt="%.17g")
