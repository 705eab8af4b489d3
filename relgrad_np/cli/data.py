"""The data of a command: by name or by file, and found again by a command that comes later."""

import argparse
import os
from pathlib import Path
from typing import Any

from ..datasets import NAMES, STANDARD, Dataset, load
from ..datasets.files.own import is_own_file
from ..fitting.declared import declared
from ..fitting.snapshots import fingerprint
from ..runs.settings import DataSettings
from .console import PROGRAM


def absolute(data: str) -> str:
    """Return a file's absolute path, so that it is found from another folder; else the name.

    >>> absolute("digits"), Path(absolute("my.CSV")).is_absolute()
    ('digits', True)
    """
    named = data in NAMES or data in STANDARD
    return str(Path(data).resolve()) if not named and is_own_file(data) else data


def fingerprint_of(data: Dataset) -> str:
    """Return what tells these rows from others, split by split."""
    return ", ".join(fingerprint(X) for X in (data.train, data.validation, data.test))


def folder_looked_in(options: argparse.Namespace) -> str | None:
    """Return the folder that the standard files are looked for in, for the run's config."""
    given = options.data_dir or os.environ.get("RELGRAD_DATA")
    return str(Path(given).resolve()) if given else None


def data_dir(options: argparse.Namespace, config: dict[str, Any]) -> Path | None:
    """Return --data-dir; without it the folder that the run began with, if that is still there."""
    before = config.get("data_dir")
    given: Path | None = getattr(options, "data_dir", None)
    if given is None and before is not None and Path(before).is_dir():
        return Path(before)
    return given


def asked_of_data(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of data that were given."""
    given = {name: getattr(options, name, None) for name in declared(DataSettings)}
    return {name: value for name, value in given.items() if value is not None}


def data_of_run(
    config: dict[str, Any], options: argparse.Namespace, file: str | None = None
) -> Dataset:
    """Return the data that a run was fitted to, from `file` if they have moved.

    ValueError if they are not those it began with, FileNotFoundError if they are gone.
    """
    name = config["data"] if file is None else absolute(file)
    seed, rows = config["settings"]["seed"], config["rows"]
    if Path(name).is_absolute():
        if not Path(name).is_file():
            raise FileNotFoundError(
                f"the run's data file {name!r} is not there; if it has moved: {PROGRAM} train FILE"
                " --resume --out RUN finds it again"
            )
        reading = DataSettings(**config.get("reading", {})).reading()
        data = load(name, seed, rows, reading=reading)
    else:
        data = load(name, seed, rows, data_dir(options, config))
    if fingerprint_of(data) != config["fingerprint"]:
        raise ValueError(f"the data {name!r} are not those the run began with")
    return data
