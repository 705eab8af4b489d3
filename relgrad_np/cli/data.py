"""The data of a command: by name or by file, and found again by a command that comes later."""

import argparse
import os
from pathlib import Path
from typing import Any

from ..datasets import Dataset
from ..fitting.snapshots import fingerprint


def absolute(data: str) -> str:
    """Return a file's absolute path, so that it is found from another folder; else the name.

    >>> absolute("digits"), Path(absolute("my.csv")).is_absolute()
    ('digits', True)
    """
    return str(Path(data).resolve()) if Path(data).suffix in (".npy", ".npz", ".csv") else data


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
    if options.data_dir is None and before is not None and Path(before).is_dir():
        return Path(before)
    found: Path | None = options.data_dir
    return found
