"""Run folders: what a training run leaves behind, and what it is resumed from.

    config.json      the choices, the data's fingerprint, versions, the run's own name
    history.jsonl    one epoch a line
    checkpoints/     the last two checkpoints
    model.npz        the best epoch's model, with the data's transforms
    report.json      the judgement on the test rows
    curve.png, samples.png   the pictures

A folder has one writer: it is locked while a run works in it, and the lock dies with the process.
"""

import contextlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..core.arguments import nearest
from ..datasets.files.opening import read_small
from ..fitting.records import Epoch
from ..fitting.storage.model import save
from ..fitting.storage.writing import atomic, claim, new_folder, open_safely, remove_leftovers
from .settings import Settings
from .training import Run


def create(path: Path, config: dict[str, Any]) -> dict[str, Any]:
    """Make a run folder with its config.json, completely or not at all; return config with `run`.

    FileExistsError if a file or folder of this name exists.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "run"
    >>> create(path, {"data": "digits"})["data"], [p.name for p in path.iterdir()]
    ('digits', ['config.json'])
    """
    require_free(path)
    config = {**config, "run": secrets.token_hex(8)}
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with new_folder(path) as partial:
            write_text(partial / "config.json", json.dumps(config, indent=2) + "\n")
    except OSError as error:
        require_free(path)
        # it is the folder that is named, not a name beside it that nobody knows
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    return config


def require_free(path: Path) -> None:
    """Refuse the name of a run folder that is none, or under which there is something.

    >>> require_free(Path("."))
    Traceback (most recent call last):
    ValueError: `--out` must name a folder
    """
    if not str(path) or path == Path():
        raise ValueError("`--out` must name a folder")
    if path.exists():
        raise FileExistsError(
            f"the run folder {str(path)!r} exists: name another with --out, resume it with "
            "--resume, or remove it"
        ) from None


def create_next(path: Path, config: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Make a run folder of this name, or with -2, -3, ... where it exists; return path and config.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "run"
    >>> [create_next(path, {})[0].name for _ in range(2)]
    ['run', 'run-2']
    """
    number = 1
    while True:
        one = path if number == 1 else path.with_name(f"{path.name}-{number}")
        if not os.path.lexists(one):
            try:
                return one, create(one, config)
            except FileExistsError:  # another process was faster
                pass
        number += 1


def write_config(path: Path, config: dict[str, Any]) -> None:
    """Write the config.json of a run folder anew.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_config(folder, {"data": "digits"})
    >>> (folder / "config.json").read_text().split()
    ['{', '"data":', '"digits"', '}']
    """
    write_text(path / "config.json", json.dumps(config, indent=2) + "\n")


def discard(path: Path) -> None:
    """Remove the folder of a run that has got nowhere: without a checkpoint and without a model.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "run"
    >>> _ = create(path, {"data": "digits"})
    >>> discard(path)
    >>> path.exists()
    False
    """
    if not (path / "model.npz").exists() and not any((path / "checkpoints").glob("step-*.npz")):
        shutil.rmtree(path, ignore_errors=True)


def read_config(path: Path) -> dict[str, Any]:
    """Return the config.json of a run folder; FileNotFoundError, ValueError by name.

    >>> read_config(Path("nowhere"))
    Traceback (most recent call last):
    FileNotFoundError: 'nowhere' is not a run folder: it has no config.json
    """
    try:
        config = json.loads(read_small(path / "config.json"))
        needed = {"run", "data", "rows", "fingerprint", "settings"}
        if not isinstance(config, dict) or not needed <= config.keys():
            raise ValueError(f"it must hold {', '.join(sorted(needed))}")
        known = {field.name for field in fields(Settings)}
        if not isinstance(config["settings"], dict) or config["settings"].keys() != known:
            raise ValueError("its settings are not those of this version")
    except (FileNotFoundError, NotADirectoryError):
        near = like_it(path)
        meant = "" if near is None else f"; did you mean {str(near)!r}?"
        raise FileNotFoundError(
            f"{str(path)!r} is not a run folder: it has no config.json{meant}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{str(path / 'config.json')!r} can't be read: {error}") from None
    return config


def like_it(path: Path) -> Path | None:
    """Return the run folder beside a path, or in runs/, that was probably meant; None if none.

    >>> like_it(Path("nowhere/my")) is None
    True
    """
    for parent in (path.parent, Path("runs")):
        there = [found.parent.name for found in parent.glob("*/config.json")]
        near = path.name if path.name in there else nearest(path.name, there)
        if near is not None:
            return parent / near
    return None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a run folder; BlockingIOError if another process holds it.

    >>> import tempfile
    >>> with locked(Path(tempfile.mkdtemp())):
    ...     pass
    """
    number = open_safely(path / ".lock", os.O_RDWR | os.O_CREAT)
    try:
        claim(number)
        yield
    except BlockingIOError:
        raise BlockingIOError(
            f"the run folder {str(path)!r} is in use by another process"
        ) from None
    finally:
        os.close(number)


def write_text(path: Path, text: str) -> None:
    """Write a small file atomically.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x"
    >>> write_text(path, "hello")
    >>> path.read_text()
    'hello'
    """
    with atomic(path) as file:
        file.write(text.encode())


def write_history(path: Path, history: tuple[Epoch, ...]) -> None:
    """Write the whole history, as JSON lines.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
    >>> write_history(path, (Epoch(1, 10, 0.1, 0.1, None, -3.1, None, 0.2),))
    >>> json.loads(path.read_text())["validation"]
    -3.1
    """
    write_text(path, "".join(map(json_line, history)))


def strict_json(values: dict[str, Any], indent: int | None = None) -> str:
    """Return JSON that any parser reads: what is not finite is null.

    >>> strict_json({"a": math.nan, "b": 1.5})
    '{"a": null, "b": 1.5}'
    """
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
    return json.dumps(finite, indent=indent, allow_nan=False)


def clear_partials(folder: Path) -> None:
    """Remove what killed writers left behind; only under the lock.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / ".x.partial").write_text("half")
    4
    >>> clear_partials(folder)
    >>> list(folder.iterdir())
    []
    """
    for part in (folder, folder / "checkpoints"):
        remove_leftovers(part / "x", ".")


def json_line(entry: Epoch) -> str:
    """Return an epoch as one line of strict JSON: what is not finite is null.

    >>> json_line(Epoch(1, 10, 0.1, 0.1, None, -float("inf"), None, 0.2)).split(", ")[5]
    '"validation": null'
    """
    return strict_json(entry._asdict()) + "\n"


def append_history(path: Path, entry: Epoch) -> None:
    """Append one epoch.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "history.jsonl"
    >>> append_history(path, Epoch(1, 10, 0.1, 0.1, None, -3.1, None, 0.2))
    >>> json.loads(path.read_text())["t"]
    10
    """
    with open(open_safely(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "a") as file:
        file.write(json_line(entry))


def finish(folder: Path, run: Run) -> None:
    """Write model, history and report of a finished run."""
    save(folder / "model.npz", run.model)
    write_history(folder / "history.jsonl", run.result.history)
    write_text(folder / "report.json", strict_json(run.report._asdict(), 2) + "\n")
