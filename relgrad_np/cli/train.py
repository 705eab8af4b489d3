"""The command `train`: a new run, one that goes on, or one of several ranks."""

import argparse
import os
import shlex
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from ..core.version import __version__
from ..datasets import NAMES, STANDARD, Dataset, load
from ..distributed.keepers import SilentKeeper
from ..distributed.ranks import Ranks
from ..distributed.together import fit, together, world
from ..distributed.waiting import SECONDS
from ..fitting.declared import declared
from ..fitting.records import FitDivergedError
from ..fitting.snapshots import Snapshot
from ..rules.by_name import NEWTON
from ..runs import folder as run_folder
from ..runs.checkpoint import CheckpointWriter, newest_snapshot
from ..runs.model import save
from ..runs.pictures import draw
from ..runs.settings import Settings, settings_for
from ..runs.training import Prepared, Run, model_of, prepare, train, watch_condition
from .arguments import Command, add_settings, positive
from .console import PROGRAM, asked_to_stop, note, one_line, wants_bar
from .data import absolute, data_dir, fingerprint_of, folder_looked_in


class Job(NamedTuple):
    """A run that is to be made: its settings, its data, and the config.json of its folder."""

    settings: Settings
    data: Dataset
    config: dict[str, Any]


def register(command: Command) -> None:
    """Add the command; `command(name, run, text)` makes a parser."""
    parser = command("train", run_train, "fit a model to a data set and write a run folder")
    names = ", ".join((NAMES[0], *STANDARD, *NAMES[1:]))
    parser.add_argument("data", nargs="?", help=f"{names}; or FILE.npy, .npz, .csv")
    text = "the defaults are those for data of your own; a data set known by name may have others"
    add_settings(parser.add_argument_group("settings", text), Settings)
    parser.add_argument("--rows", metavar="N", type=positive, help="use N training rows only")
    parser.add_argument(
        "--data-dir", metavar="DIR", type=Path, help="where the standard files are (RELGRAD_DATA)"
    )
    parser.add_argument(
        "--out", metavar="RUN", type=Path, help="run folder, new; default runs/DATA"
    )
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument(
        "--checkpoint-seconds",
        metavar="S",
        type=positive,
        default=60,
        help="write a checkpoint every S seconds, beside each epoch's; default 60",
    )
    parser.add_argument("--checkpoint-steps", metavar="N", type=positive, help="and every N steps")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object")
    parser.add_argument(
        "--distributed", action="store_true", help="share the batches: mpiexec -n 4 relgrad-np ..."
    )
    parser.add_argument(
        "--exchange", metavar="NAME", help="what the ranks send: auto, factors, products, sums"
    )
    parser.add_argument(
        "--watchdog",
        metavar="S",
        type=int,
        help=f"end the job if a rank is missing for S seconds; default {SECONDS:g}, 0 for never",
    )


def run_train(options: argparse.Namespace) -> int:
    """Train alone, or as one of the ranks that mpiexec started."""
    if not options.distributed:
        for name in ("exchange", "watchdog"):
            if getattr(options, name) is not None:
                raise ValueError(f"`--{name}` is for --distributed")
        return train_on(options)
    seconds = SECONDS if options.watchdog is None else options.watchdog or None
    ranks = world(exchange=options.exchange or "auto", watchdog=seconds)
    if ranks.rank > 0:  # only rank 0 speaks; an error that ends the job is printed all the same
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
    return train_on(options, comm=ranks)


@together
def train_on(options: argparse.Namespace, comm: Ranks | None = None) -> int:
    """Train, alone or as one of several ranks; rank 0 has the run folder."""
    job = resumed_job(options, comm) if options.resume else new_job(options)
    prepared = prepare(job.settings, job.data)  # an error shows before anything is written
    for text in prepared.notes:
        note(text)
    folder: Path = options.out or Path("runs") / Path((options.data or "").replace(":", "-")).stem
    if comm is not None:
        same = ("version", "fingerprint", "settings")
        comm.agreement.require_same({key: str(job.config[key]) for key in same})
        prepared = prepared._replace(start=comm.agreement.share(prepared.start))
        if comm.rank > 0:
            return follow(prepared, comm)
    if not options.resume:
        job = job._replace(config=run_folder.create(folder, job.config))
    with run_folder.locked(folder):
        try:
            status, run = train_in(folder, job, prepared, options, comm)
        except Exception:
            if not options.resume:  # nobody needs a run that has no checkpoint yet
                run_folder.discard(folder)
            raise
    status = status if comm is None else int(comm.agreement.share(status))
    if run is not None:
        pictures(folder, job.data, run)  # which takes seconds: no other rank waits for it
    return status


def pictures(folder: Path, data: Dataset, run: Run) -> None:
    """Draw; a picture that can't be drawn is a note, for the model has been written."""
    try:
        draw(folder, data, run)
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        note(f"not all pictures are drawn: {one_line(error)}")


def new_job(options: argparse.Namespace) -> Job:
    """Return the run that the command line asks for."""
    if options.data is None:
        raise ValueError("`DATA` is required: a name or a file (see relgrad-np train --help)")
    chosen = {name: getattr(options, name) for name in declared(Settings)}
    settings = settings_for(options.data, **chosen)
    if settings.rule == NEWTON and options.distributed:
        raise ValueError(f"`--distributed` needs a rule of minibatches, not {NEWTON!r}")
    name = absolute(options.data)
    data = load(name, settings.seed, options.rows, options.data_dir)
    config = {
        "version": __version__,
        "data": name,
        "rows": options.rows,
        "data_dir": folder_looked_in(options),
        "fingerprint": fingerprint_of(data),
        "settings": asdict(settings),
    }
    return Job(settings, data, config)


def resumed_job(options: argparse.Namespace, comm: Ranks | None) -> Job:
    """Return the run that is in --out; ValueError if its data are not those it began with."""
    if options.out is None:
        raise ValueError("`--resume` needs --out RUN, the run folder to go on with")
    config: Any = None
    if comm is None or comm.rank == 0:
        config = run_folder.read_config(options.out)
    config = config if comm is None else comm.agreement.share(config)
    settings = unchanged_settings(options, config)
    data = load(config["data"], settings.seed, config["rows"], data_dir(options, config))
    if fingerprint_of(data) != config["fingerprint"]:
        raise ValueError(f"the data {config['data']!r} are not those the run began with")
    return Job(settings, data, config)


def unchanged_settings(options: argparse.Namespace, config: dict[str, Any]) -> Settings:
    """Return the settings of the run; ValueError if the command line asks for others."""
    kept = config["settings"]
    device = options.device or kept["device"]  # checkpoints move between devices
    given = {name: getattr(options, name) for name in kept if name != "device"}
    given |= {"data": options.data and absolute(options.data), "rows": options.rows}
    for name, value in given.items():
        before = kept.get(name, config.get(name))
        if value is not None and value != before:
            raise ValueError(
                f"`--{name.replace('_', '-')}` can't change on --resume: it is {before}"
            )
    return Settings(**(kept | {"device": device}))


def follow(prepared: Prepared, comm: Ranks) -> int:
    """Take part in a fit whose run folder is rank 0's; return its exit status."""
    keeper = SilentKeeper()
    with asked_to_stop(keeper):
        resume = comm.agreement.share(None)
        fit(prepared.start, **prepared.options, keeper=keeper, resume=resume, comm=comm)
    return int(comm.agreement.share(None))


def train_in(
    folder: Path, job: Job, prepared: Prepared, options: argparse.Namespace, comm: Ranks | None
) -> tuple[int, Run | None]:
    """Train in a locked run folder, from its newest checkpoint if it has one.

    Returns the exit status, and the run if it has come to its end.
    """
    writer = CheckpointWriter(
        folder / "checkpoints",
        job.config["run"],
        options.checkpoint_seconds,
        options.checkpoint_steps,
    )
    run_folder.clear_partials(folder)
    resume, history = last_checkpoint(folder, writer, options.resume), folder / "history.jsonl"
    run_folder.write_history(history, resume.history if resume else ())
    with asked_to_stop(writer):
        try:
            run = train(
                job.data,
                job.settings,
                prepared=prepared,
                progress=wants_bar() and not options.json,
                callbacks=(
                    lambda epoch, state: run_folder.append_history(history, epoch),
                    watch_condition(note, job.settings.dtype),
                ),
                keeper=writer,
                resume=resume if comm is None else comm.agreement.share(resume),
                comm=comm,
            )
        except FitDivergedError as error:  # the best layers are kept
            layers = error.result.best_layers
            save(folder / "model.npz", model_of(job.data, job.settings, layers, prepared.options))
            raise
    stop = writer.stop if comm is None else comm.stop  # another rank may have got the signal
    if run.result.stop_reason == "signal" and stop is not None:
        print(
            f"{PROGRAM}: stopped by {signal.Signals(stop).name}; go on with: "
            f"{PROGRAM} train --resume --out {shlex.quote(str(folder))}",
            file=sys.stderr,
        )
        return 128 + stop, None
    finish(folder, run, options.json)
    return 0, run


def last_checkpoint(folder: Path, writer: CheckpointWriter, resume: bool) -> Snapshot | None:
    """Return the newest checkpoint that can be used, and note what can't be.

    ValueError where the checkpoints of a run that has got somewhere are gone.
    """
    snapshot, notes = newest_snapshot(writer.folder, writer.run)
    for text in notes:
        note(f"{text}; going on from the one before")
    if resume and snapshot is None:
        history = folder / "history.jsonl"
        if (folder / "model.npz").exists() or (history.exists() and history.stat().st_size):
            raise ValueError(
                f"the checkpoints of {str(folder)!r} are gone, and the run has been further than "
                "its start: begin another one"
            )
        note("there is no checkpoint yet: starting at the beginning")
    return snapshot


def finish(folder: Path, run: Run, as_json: bool) -> None:
    """Write the model and the report, and print the report."""
    run_folder.finish(folder, run)
    if as_json:
        print(run_folder.strict_json({**run.report._asdict(), "folder": str(folder)}))
    else:
        print(run.report.text())
        print(f"written: {folder}")
