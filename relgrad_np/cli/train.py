"""The command `train`: alone, resumed, or as one of several ranks."""

import argparse
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NoReturn

from ..core.version import __version__
from ..distributed.keepers import SilentKeeper
from ..distributed.ranks import Ranks
from ..distributed.together import together, world
from ..fitting.records import FitDivergedError
from .data import PROGRAM, _data_dir, _data_folder, _fingerprint, _load, _resolved, _say
from .tools import _progress


def _train(options: argparse.Namespace) -> int:
    if not options.distributed:
        if options.exchange is not None:
            raise ValueError("`--exchange` is for --distributed")
        return _train_on(options)
    ranks = world(exchange=options.exchange or "auto")
    if ranks.rank > 0:  # one of them speaks; an error that ends the job is told all the same
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    return _train_on(options, comm=ranks)


@together
def _train_on(options: argparse.Namespace, comm: Ranks | None = None) -> int:
    """Train, alone or as one of several ranks; rank 0 has the run folder."""
    from ..runs import folder as runs
    from ..runs import settings as run_settings
    from ..runs import training

    folder: Path | None = options.out
    if options.resume:
        if folder is None:
            raise ValueError("`--resume` needs --out RUN, the run folder to go on with")
        config: Any = runs.read_config(folder) if comm is None or comm.rank == 0 else None
        config = config if comm is None else comm.agreement.share(config)
        settings = _unchanged(options, config)
        folder_of_data = _data_dir(options, config)
        data = _load(config["data"], settings.seed, config["rows"], folder_of_data)
        if _fingerprint(data) != config["fingerprint"]:
            raise ValueError(f"the data {config['data']!r} are not those the run began with")
    else:
        if options.data is None:
            raise ValueError("`DATA` is required: a name or a file (see relgrad-np train --help)")
        names = [field.name for field in fields(run_settings.Settings)]
        chosen = {name: getattr(options, name) for name in names}
        settings = run_settings.settings_for(options.data, **chosen)
        name = _resolved(options.data)
        data = _load(name, settings.seed, options.rows, options.data_dir)
        config = {
            "version": __version__,
            "data": name,
            "rows": options.rows,
            "data_dir": _data_folder(options),
            "fingerprint": _fingerprint(data),
            "settings": asdict(settings),
        }
    prepared = training.prepare(settings, data)  # what is wrong shows before anything is written
    for note in prepared.notes:
        _say(note)
    if folder is None:
        folder = Path("runs") / Path(options.data.replace(":", "-")).stem
    if comm is not None:
        facts = {key: str(config[key]) for key in ("version", "fingerprint", "settings")}
        comm.agreement.require_same(facts)
        prepared = prepared._replace(start=comm.agreement.share(prepared.start))
        if comm.rank > 0:
            return _follow(prepared, comm)
    if not options.resume:
        config = runs.create(folder, config)
    with runs.locked(folder):
        status = _run(folder, config, settings, data, prepared, options, comm)
    return status if comm is None else int(comm.agreement.share(status))


def _follow(prepared: Any, comm: Ranks) -> int:
    """Take part in a fit whose run folder is rank 0's; return its exit status."""
    from ..distributed.together import fit

    keeper = SilentKeeper()
    with _asked_to_stop(keeper):
        resume = comm.agreement.share(None)
        fit(prepared.start, **prepared.options, keeper=keeper, resume=resume, comm=comm)
    return int(comm.agreement.share(None))


@contextlib.contextmanager
def _asked_to_stop(keeper: Any) -> Iterator[None]:
    """Let SIGTERM and SIGINT ask a keeper to stop, while a fit runs."""

    def ask_to_stop(number: int, frame: Any) -> None:
        keeper.stop = number

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _die)


def _run(
    folder: Path,
    config: Any,
    settings: Any,
    data: Any,
    prepared: Any,
    options: argparse.Namespace,
    comm: Ranks | None = None,
) -> int:
    """Train in a locked run folder, from its newest checkpoint if it has one."""
    from ..runs import folder as runs
    from ..runs import training
    from ..runs.checkpoint import Keeper, newest_snapshot
    from ..runs.model import save

    keeper = Keeper(
        folder / "checkpoints", config["run"], options.checkpoint_seconds, options.checkpoint_steps
    )
    runs.clear_partials(folder)
    resume, notes = newest_snapshot(keeper.folder, config["run"])
    for note in notes:
        _say(f"{note}; going on from the one before")
    history = folder / "history.jsonl"
    if options.resume and resume is None:
        if (folder / "model.npz").exists() or (history.exists() and history.read_text()):
            raise ValueError(
                f"the checkpoints of {str(folder)!r} are gone, and the run has been further than "
                "its start: begin another one"
            )
        _say("there is no checkpoint yet: starting at the beginning")
    runs.write_history(history, resume.history if resume else ())
    with _asked_to_stop(keeper):
        try:
            run = training.train(
                data,
                settings,
                prepared=prepared,
                progress=_progress() and not options.json,
                callbacks=(
                    lambda epoch, state: runs.append_history(history, epoch),
                    training.watch_condition(_say, settings.dtype),
                ),
                keeper=keeper,
                resume=resume if comm is None else comm.agreement.share(resume),
                comm=comm,
            )
        except FitDivergedError as error:  # nothing is lost
            model = training.model_of(data, settings, error.result.best_layers, prepared.options)
            save(folder / "model.npz", model)
            raise
    stop = keeper.stop if comm is None else comm.stop  # which another rank may have heard
    if run.result.stop_reason == "signal" and stop is not None:
        print(
            f"{PROGRAM}: stopped by {signal.Signals(stop).name}; go on with: "
            f"{PROGRAM} train --resume --out {shlex.quote(str(folder))}",
            file=sys.stderr,
        )
        return 128 + stop
    runs.finish(folder, run)
    if options.json:
        print(runs.strict_json({**run.report._asdict(), "folder": str(folder)}))
    else:
        print(run.report.text())
        print(f"written: {folder}")
    runs.draw(folder, data, run)
    return 0


def _unchanged(options: argparse.Namespace, config: dict[str, Any]) -> Any:
    """Return the settings of the run; ValueError if the command line asks for others."""
    from ..runs import settings as training

    kept = config["settings"]
    device = options.device or kept.get("device", "cpu")  # checkpoints move between devices
    given = {name: getattr(options, name) for name in kept if name != "device"}
    given |= {"data": options.data and _resolved(options.data), "rows": options.rows}
    for name, value in given.items():
        before = kept.get(name, config.get(name))
        if value is not None and value != before:
            raise ValueError(
                f"`--{name.replace('_', '-')}` can't change on --resume: it is {before}"
            )
    return training.Settings(**(kept | {"device": device}))


def _die(number: int, frame: Any) -> NoReturn:
    """End on a signal with the status that says so."""
    sys.exit(128 + number)
