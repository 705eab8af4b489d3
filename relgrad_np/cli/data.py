"""Data by name or by file, as the command line is given them."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from ..fitting.snapshots import fingerprint

PROGRAM = "relgrad-np"


def _say(note: str) -> None:
    print(f"{PROGRAM}: note: {note}", file=sys.stderr)


def _resolved(data: str) -> str:
    """Return a file's absolute path, so that a run can be resumed from elsewhere; else the name."""
    return str(Path(data).resolve()) if Path(data).suffix in (".npy", ".npz", ".csv") else data


def _load(name: str, seed: int, rows: int | None, data_dir: Path | None) -> Any:
    from ..datasets import load

    return load(name, seed, rows, data_dir)


def _data_folder(options: argparse.Namespace) -> str | None:
    """Return where the standard files were looked for, to be found again."""
    given = options.data_dir or os.environ.get("RELGRAD_DATA")
    return str(Path(given).resolve()) if given else None


def _fingerprint(data: Any) -> str:
    """Return what tells these rows from others, split by split."""
    return ", ".join(fingerprint(X) for X in (data.train, data.validation, data.test))


def _data_dir(options: argparse.Namespace, config: dict[str, Any]) -> Path | None:
    """Return --data-dir, or the folder that the run began with, if it is still there."""
    before = config.get("data_dir")
    if options.data_dir is None and before is not None and Path(before).is_dir():
        return Path(before)
    return options.data_dir  # type: ignore[no-any-return]
