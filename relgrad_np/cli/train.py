"""The command `train`: a new run, one that goes on, or one of several ranks."""

import argparse
import os
import shlex
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

from ..datasets import NAMES, STANDARD
from ..distributed.keepers import SilentKeeper
from ..distributed.ranks import Ranks
from ..distributed.together import fit, together, world
from ..distributed.waiting import SECONDS
from ..fitting.outcome import NO_BETTER
from ..fitting.records import Epoch, FitDivergedError, FitWarning, NotConvergedWarning
from ..fitting.snapshots import Snapshot
from ..fitting.storage.model import save
from ..rules.base import State
from ..runs import folder as run_folder
from ..runs.checkpoint import CheckpointWriter, newest_snapshot
from ..runs.others import require_scikit_learn, with_others
from ..runs.pictures import draw
from ..runs.settings import GROUPS, DataSettings, Settings
from ..runs.training import Prepared, Run, model_of, outline, prepare, train, watch_condition
from .advice import flags_for
from .arguments import Command, add_settings, in_flags, positive
from .console import (
    PROGRAM,
    asked_to_stop,
    note,
    say,
    show_command,
    show_next,
    show_pairs,
    wants_bar,
)
from .given import OF_FILE, asked_again, example_of
from .job import Job, folder_for, longer, new_job, resumed_job

LONG = 10.0  # seconds, beside which those that a fit needs to begin are few
SMALL = 64  # columns, up to which several threads of BLAS may cost more than they save
USAGE = f"""{PROGRAM} train DATA [options]
       {PROGRAM} train --resume --out RUN [options]"""
EXAMPLES = """examples:
  relgrad-np train my.csv                          every column, a run folder runs/my
  relgrad-np train my.csv --drop id,date --missing drop --epochs 100 --patience 10
  relgrad-np train my.csv --seconds 30 --compare  half a minute, beside a mixture and others
  relgrad-np train my.csv --given hour,place      the other columns' density given these two
  relgrad-np train toy:moons --layers 16          the rest is chosen from the data
  relgrad-np train --resume --out runs/my          go on where it stopped
  relgrad-np train --resume --out runs/my --epochs 200   go on beyond its end"""


def register(command: Command) -> None:
    """Add the command; `command(name, run, text, examples, usage)` makes a parser."""
    text = "fit a model to a data set and write a run folder"
    parser = command("train", run_train, text, EXAMPLES, USAGE)
    names = ", ".join((NAMES[0], *STANDARD, *NAMES[1:]))
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help=f"a file (.csv and other text, .parquet, .npy, .h5, .mat, ...), or {names}",
    )
    group = parser.add_argument_group("data")
    group.add_argument("--rows", metavar="N", type=positive, help="use N training rows only")
    group.add_argument(
        "--data-dir", metavar="DIR", type=Path, help="where the standard files are (RELGRAD_DATA)"
    )
    add_settings(group, DataSettings)
    words = "auto: chosen by the number of rows and columns, and printed before the fit"
    for title, settings in GROUPS.items():
        add_settings(parser.add_argument_group(title, words), Settings, settings)
    group = parser.add_argument_group("run")
    group.add_argument(
        "--seconds",
        metavar="S",
        type=positive,
        help="how long the fit may take, about, by a count of its work on one free core and not by "
        "a clock: fewer epochs, then fewer layers; default no limit",
    )
    group.add_argument(
        "--compare",
        action="store_true",
        help="fit a Gaussian mixture and a kernel density to the same rows, and report them, too",
    )
    group.add_argument(
        "--out",
        metavar="RUN",
        type=Path,
        help="run folder, new; default runs/DATA, or runs/DATA-2, ... if that exists",
    )
    group.add_argument(
        "--resume", action="store_true", help="go on with the run in --out; DATA if it has moved"
    )
    group.add_argument(
        "--checkpoint-seconds",
        metavar="S",
        type=positive,
        default=60,
        help="write a checkpoint every S seconds, beside those after epochs; default 60",
    )
    group.add_argument("--checkpoint-steps", metavar="N", type=positive, help="and every N steps")
    group.add_argument(
        "--pictures",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="draw the curve, samples and others; default yes, where matplotlib is installed",
    )
    group.add_argument("--json", action="store_true", help="the report as one JSON object")
    group = parser.add_argument_group("several processes")
    group.add_argument(
        "--distributed", action="store_true", help="share the batches: mpiexec -n 4 relgrad-np ..."
    )
    group.add_argument(
        "--exchange", metavar="NAME", help="what the ranks send: auto, factors, products, sums"
    )
    group.add_argument(
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
    if options.compare:
        require_scikit_learn()
    if not options.resume and options.out is not None and (comm is None or comm.rank == 0):
        run_folder.require_free(options.out)  # before the data are read and a start is made
    job = resumed_job(options, comm) if options.resume else new_job(options)
    if options.compare and job.data.c:
        raise ValueError("`--compare` knows of no conditional densities: leave it out")
    with in_flags(Settings):
        prepared = prepare(job.settings, job.data)  # an error shows before anything is written
    for text in prepared.notes:
        note(text)
    if comm is not None:
        same = ("version", "fingerprint", "settings")
        comm.agreement.require_same({key: str(job.config[key]) for key in same})
        prepared = prepared._replace(start=comm.agreement.share(prepared.start))
        if comm.rank > 0:
            return follow(prepared, comm)
    folder: Path = options.out or Path()
    if not options.resume and options.out is not None:
        job = job._replace(config=run_folder.create(folder, job.config))
    elif not options.resume:
        folder, config = run_folder.create_next(folder_for(options.data), job.config)
        job = job._replace(config=config)
    if not options.json:
        pairs = outline(job.data, job.settings, prepared)
        pairs += [] if job.chosen is None else [("chosen", job.chosen.words)]
        show_pairs([*pairs, ("folder", str(folder))])
    with run_folder.locked(folder):
        try:
            status, run = train_in(folder, job, prepared, options, comm)
        except Exception:
            if not options.resume:  # nobody needs a run that has no checkpoint yet
                run_folder.discard(folder)
            raise
    status = status if comm is None else int(comm.agreement.share(status))
    if run is not None:
        show(folder, job, run, options)  # which takes seconds: no other rank waits for it
    return status


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
    if options.resume:
        if resume is not None and job.extended:
            resume = longer(resume, job.settings)
        run_folder.write_config(folder, job.config)
    run_folder.write_history(history, resume.history if resume else ())
    bar = wants_bar() and not options.json
    of_time = say, job.settings.epochs, options.seconds, of_threads(job.data.D)
    with asked_to_stop(writer), warnings.catch_warnings():
        warnings.filterwarnings("ignore", NO_BETTER, FitWarning)  # the report says so
        if job.chosen is not None and job.chosen.cut:  # no more epochs are wanted
            warnings.filterwarnings("ignore", "after .* epochs the fit", NotConvergedWarning)
        try:
            run = train(
                job.data,
                job.settings,
                prepared=prepared,
                progress=bar,
                callbacks=(
                    lambda epoch, state: run_folder.append_history(history, epoch),
                    watch_condition(note, job.settings.dtype),
                    *(() if bar or options.json else (say_time(*of_time),)),
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
        name = "Ctrl-C" if stop == signal.SIGINT else signal.Signals(stop).name
        show_command(
            f"stopped by {name}; go on with:",
            f"{PROGRAM} train --resume --out {shlex.quote(str(folder))}",
        )
        return 128 + stop, None
    if options.compare:
        report = with_others(run.report, run.model, job.data, job.settings.seed)
        run = run._replace(report=report)
    finish(folder, run, options.json)
    return 0, run


def say_time(
    say: Callable[[str], None], epochs: int | None, asked: float | None = None, hint: str = ""
) -> Callable[[Epoch, State], None]:
    """Return a callback that says once how long the rest of the epochs takes, if that is long.

    What begins with a fit is in its first epoch: unless that took `LONG`, the next ones are timed,
    as many as take a second. `asked`: the seconds that were asked for; `hint`: what may make it
    shorter.

    >>> one = Epoch(1, 9, 0.1, 0.1, None, None, None, 3.0)
    >>> tell, hurry = say_time(print, 61), say_time(print, 61, 60, "; wait")
    >>> for epoch in (one, one._replace(epoch=2, seconds=5.0), one._replace(epoch=3, seconds=7.0)):
    ...     tell(epoch, None)
    ...     hurry(epoch, None)
    an epoch takes 2 s: at most 2 minutes for the other 59
    an epoch takes 2 s: at most 2 minutes for the other 59, more than the 60 s of --seconds, which
    count the work on one free core; wait
    """
    seen: list[tuple[int, float]] = []  # the epoch and second from which on time is taken
    done: list[bool] = []

    def tell(epoch: Epoch, state: State) -> None:
        if not seen:
            alone = epoch.epoch == 1 and epoch.seconds >= LONG
            seen.append((0, 0.0) if alone else (epoch.epoch, epoch.seconds))
        n, seconds = epoch.epoch - seen[0][0], epoch.seconds - seen[0][1]
        if done or epochs is None or not n or seconds < 1:
            return
        done.append(True)
        each = seconds / n
        rest = (epochs - epoch.epoch) * each
        if rest > 20:
            words = f"{rest:.0f} s" if rest < 100 else f"{rest / 60:.0f} minutes"
            longer = asked is not None and rest > asked
            more = f", more than the {asked} s of --seconds, which count the work on one free core"
            say(
                f"an epoch takes {each:.2g} s: at most {words} for the other"
                f" {epochs - epoch.epoch}{more * longer}{hint}"
            )

    return tell


def of_threads(D: int) -> str:
    """Return a hint where several threads of BLAS share matrix products of D columns, if few.

    >>> of_threads(SMALL + 1)
    ''
    """
    given = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS")
    one = given == "1" or (given is None and os.cpu_count() == 1)
    return "" if one or D > SMALL else "; OPENBLAS_NUM_THREADS=1 may be faster for so few columns"


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
        say(run.report.text())


def show(folder: Path, job: Job, run: Run, options: argparse.Namespace) -> None:
    """Draw the pictures of a run that has been written, and say what may be next."""
    data = job.data
    pictures = draw(folder, data, run, say=note) if options.pictures else []
    if options.json:
        return
    say(f"written: {folder}")
    if pictures:
        say("pictures: " + ", ".join(path.name for path in pictures))
    quoted = shlex.quote(str(folder))
    given = "" if data.given is None else f" --given {shlex.quote(example_of(data))}"
    flags = flags_for(asked_again(job.config.get("reading") or {}), OF_FILE)
    show_next(
        ("score other rows", f"{PROGRAM} evaluate {quoted} FILE{flags} --scores scores.csv"),
        ("draw new rows", f"{PROGRAM} sample {quoted}{given} -n 1000 --out new.csv"),
    )
