"""Commands that use a trained model: `evaluate`, `sample`."""

import argparse
import math
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..core.sampling import sample
from ..datasets import NAMES, STANDARD
from ..datasets import load as load_data
from ..datasets.memory import require_memory
from ..fitting.storage.model import Model, in_float64, load
from ..runs.evaluation import Evaluation, evaluate_file, evaluate_own, evaluate_set
from ..runs.folder import read_config, strict_json
from ..runs.rows_out import ENDINGS, write_rows
from ..runs.settings import DataSettings, ScoredSettings
from ..runs.unfinished import model_so_far
from .advice import advising, flags_for, taking, with_flags
from .arguments import Command, add_settings, in_flags, positive, seed_number
from .console import PROGRAM, note, say, show_next
from .data import absolute, asked_of_data, data_dir, data_of_run
from .given import OF_FILE, GivenRows, given_rows, kept_of

PART = 2**20  # numbers that are drawn at a time
OF_RUN = "a run folder, or a file that `save` of Python wrote"
SCORE = """examples:
  relgrad-np evaluate runs/my                      its own test rows
  relgrad-np evaluate runs/my new.csv --scores scores.csv
  relgrad-np evaluate runs/my new.csv --missing drop
  relgrad-np evaluate flow.npz new.csv             a model that was saved from Python"""
DRAW = """examples:
  relgrad-np sample runs/my -n 1000 --out new.csv
  relgrad-np sample runs/my -n 1000000 --out new.parquet --seed 3
  relgrad-np sample runs/my --given hour=7,place=2 --out new.csv
  relgrad-np sample runs/my --given rows.csv -n 100 --out new.csv   100 for each row"""


def register(command: Command) -> None:
    """Add the commands; `command(name, run, text, examples)` makes a parser."""
    text = "log-likelihood of data under a trained model"
    use = command("evaluate", run_evaluate, text, SCORE)
    use.add_argument("folder", type=Path, metavar="RUN", help=OF_RUN)
    use.add_argument(
        "data",
        nargs="?",
        metavar="DATA",
        help="a file, all rows of which are scored in their order, or a name; default: the run's "
        "own test rows",
    )
    use.add_argument("--data-dir", metavar="DIR", type=Path, help="as of train")
    add_settings(use.add_argument_group("file"), ScoredSettings, OF_FILE)
    endings = ", ".join(ENDINGS)
    use.add_argument(
        "--scores", metavar="FILE", type=Path, help=f"write log p of each row: {endings}"
    )
    use.add_argument("--json", action="store_true", help="the result as one JSON object")
    use = command("sample", run_sample, "draw from a trained model, in data space", DRAW)
    use.add_argument("folder", type=Path, metavar="RUN", help=OF_RUN)
    words = "how many; default 1000, and one for each row of a FILE that is given"
    use.add_argument("-n", metavar="N", type=positive, help=words)
    use.add_argument(
        "--given",
        metavar="U",
        help="of a model with given columns: their values by name, as in hour=7,place=2, or by "
        "number, from 0 in their order, or a FILE of rows that has them",
    )
    use.add_argument(
        "--out", metavar="FILE", type=Path, required=True, help=f"a new file: {endings}"
    )
    use.add_argument("--seed", metavar="N", type=seed_number, default=0, help="default 0")


def run_evaluate(options: argparse.Namespace) -> int:
    """Judge the model of a run on rows, and write the score of each if asked to."""
    taken = OF_FILE if options.data is not None else ()
    with taking(taken):
        model, config = opened(options)
    if options.scores is not None:
        require_new(options.scores)
    with taking(taken, unnamed(model)):
        result, scores, log_det = evaluated(model, config, options)
    result = result._replace(notes=tuple(advising(text, taken) for text in result.notes))
    if options.scores is not None:
        columns = ("log_p_model_space", "log_p_data_space")
        both = np.stack([scores, scores + log_det], axis=1)
        write_rows(options.scores, [both], columns)
    for text in result.notes:
        note(text)
    if options.json:
        said = {"notes": tuple(map(with_flags, result.notes))}
        print(strict_json(result._asdict() | said))
        return 0
    say(result.text())
    if options.scores is not None:
        say(f"written: {options.scores}, {len(scores):,} rows of {', '.join(columns)}")
    elif options.data is not None:
        command = f"{PROGRAM} evaluate {_quoted(options.folder)} {_quoted(options.data)}"
        if options.data_dir is not None:
            command += f" --data-dir {_quoted(options.data_dir)}"
        command += flags_for(asked_of_data(options), OF_FILE)
        show_next(("score each row", f"{command} --scores scores.csv"))
    return 0


def evaluated(
    model: Model, config: dict[str, Any], options: argparse.Namespace
) -> tuple[Evaluation, Any, Any]:
    """Return the judgement on the run's own test rows, a file, or another set; scores, log|det|."""
    if options.data is None and config["data"] is None:
        raise ValueError("`DATA` is required: a model's file has no test rows beside it")
    if options.data is None or options.data == config["data"] in (*NAMES, *STANDARD):
        return evaluate_own(model, data_of_run(config, options))
    name = absolute(options.data)
    if Path(name).is_absolute():
        given = asked_of_data(options)
        with in_flags(DataSettings):
            reading = DataSettings(**(kept_of(config) | given)).reading()
        found, scores, log_det = evaluate_file(model, Path(name), reading)
        notes = (*found.notes, *of_the_fit(config, options, name, len(scores)))
        return found._replace(notes=notes), scores, log_det
    return evaluate_set(model, load_data(name, 0, None, data_dir(options, config)))


def of_the_fit(
    config: dict[str, Any], options: argparse.Namespace, file: str, n: int
) -> tuple[str, ...]:
    """Return a note where the n rows of a file are those that the run was made of.

    >>> of_the_fit({"data": None}, argparse.Namespace(), "/my.csv", 3)
    ()
    """
    if config["data"] is None:
        return ()
    try:
        sizes = [int(part.partition("x")[0]) for part in config["fingerprint"].split(", ")]
        if file != config["data"] and n != sum(sizes):
            return ()
        data_of_run(config, options, file)
    except (ValueError, OSError):  # other rows, or none that a fit could be made of
        return ()
    fitted, held, _ = sizes
    return (
        f"{fitted:,} of these {n:,} rows were fitted and {held:,} chose the epoch, so this is no"
        f" test; {PROGRAM} evaluate {_quoted(options.folder)} scores the held-out rows alone",
    )


def unnamed(model: Model) -> str:
    """Return what to do with a column too many where no names say which is one of the model's.

    >>> unnamed(Model((), None, None, None, {"columns": ["a"]}))
    ''
    """
    if model.config.get("columns") is not None:
        return ""
    D = model.layers[0].W.shape[0]
    s = "s" * (D > 1)
    return f"; the model has no column names: the file must have its {D} column{s} alone"


def run_sample(options: argparse.Namespace) -> int:
    """Draw from the model of a run into a new file, part by part."""
    with taking(()):
        model, config = opened(options)
        require_new(options.out)
        given = given_rows(model, config, options.given)
    D, L = model.layers[0].b.shape[0], len(model.layers)
    n = options.n or (1000 if given is None or given.one else 1)
    each, width = (1, D) if given is None else (len(given.rows), D + given.rows.shape[1])
    require_room(options.out, n * each, width)
    require_memory(  # Zs and Ys of the pass back, and what solves for them, of a part
        8.0 * min(n * each, part_of(D)) * D * (4 * L + 8),
        f"`-n` {n * each} rows of {D} columns, of which {part_of(D)} are drawn at a time,",
        "draw fewer",
    )
    columns = tuple(model.config.get("columns") or (f"x{j}" for j in range(D)))
    columns += () if given is None else given.columns
    drawn = draws(model, n, np.random.default_rng(options.seed), given)
    write_rows(options.out, drawn, columns)
    words = "" if given is None else f", with the {len(given.columns)} given behind them"
    say(f"written: {options.out}, {n * each:,} rows of {D} columns in data space{words}")
    return 0


def draws(
    model: Model, n: int, rng: np.random.Generator, given: GivenRows | None = None
) -> Iterator[Any]:
    """Yield n rows of data space, in parts that need little memory; n for each row that is given.

    Behind what is drawn stands what it is given.
    """
    layers, D = in_float64(model.layers), model.layers[0].b.shape[0]
    part, parts = part_of(D), (model.activation, model.density)
    for start in range(0, n if given is None else n * len(given.rows), part):
        if given is None:
            Z, _ = sample(layers, rng, min(part, n - start), *parts)
            yield model.transforms.inverse(Z)
            continue
        stop = min(start + part, n * len(given.rows))
        U = given.rows[np.arange(start, stop) // n]  # (m, c)
        Z, _ = sample(layers, rng, len(U), *parts, context=given.standardise.forward(U))
        yield np.c_[model.transforms.inverse(Z), U]


def part_of(D: int) -> int:
    """Return how many rows of D columns are drawn at a time.

    >>> part_of(1024)
    1024
    """
    return max(1, PART // D)


def require_room(path: Path, n: int, D: int) -> None:
    """Refuse to begin a file that the disk has not the room for.

    >>> require_room(Path("x.npy"), 10**15, 3)
    Traceback (most recent call last):
    OSError: `x.npy` would take 24,000,000 GB or more, and its disk has ... GB free: draw fewer rows
    """
    need, free = 8 * n * D, shutil.disk_usage(path.absolute().parent).free
    if need > free:
        raise OSError(
            f"`{path}` would take {math.ceil(need / 1e9):,} GB or more, and its disk has"
            f" {free // 10**9:,} GB free: draw fewer rows"
        )


def opened(options: argparse.Namespace) -> tuple[Model, dict[str, Any]]:
    """Return the model of a run folder or of a file, and the config; that of a file has no data."""
    if options.folder.is_file():
        return load(options.folder), {"data": None}
    config = read_config(options.folder)
    return model_in(options.folder, config, options), config


def model_in(folder: Path, config: dict[str, Any], options: argparse.Namespace) -> Model:
    """Load the model of a run folder; of a run that has not ended, the best so far."""
    if (folder / "model.npz").exists():
        return load(folder / "model.npz")
    model, epoch = model_so_far(folder, config, lambda: data_of_run(config, options))
    note(
        f"the run has not ended: its best model so far, of epoch {epoch}; go on with"
        f" {PROGRAM} train --resume --out {_quoted(folder)}"
    )
    return model


def require_new(path: Path) -> None:
    """Refuse a file that is there, whose folder is not, or of a kind that can't be written.

    >>> require_new(Path("x.txt"))
    Traceback (most recent call last):
    ValueError: `x.txt` must end in .npy, .csv, .tsv, .parquet or .csv.gz
    """
    if not path.name.lower().endswith(ENDINGS):
        listed = f"{', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}"
        raise ValueError(f"`{path}` must end in {listed}")
    if path.exists():
        raise FileExistsError(f"`{path}` exists: name another file")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {str(path.parent)!r} of {path.name!r} is not there")


def _quoted(value: Any) -> str:
    return shlex.quote(str(value))
