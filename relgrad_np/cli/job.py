"""What a run of the command `train` is asked for: a new one, or one that goes on."""

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..core.version import __version__
from ..datasets import NAMES, STANDARD, Dataset, load
from ..datasets.files.own import ENDINGS
from ..datasets.files.packed import SUFFIXES
from ..distributed.ranks import Ranks
from ..fitting.automatic import AUTO, ChosenSettings
from ..fitting.declared import declared
from ..fitting.snapshots import Snapshot
from ..rules.by_name import NEWTON, rule_of, words_of
from ..runs import folder as run_folder
from ..runs.presets import chosen_for, settings_for
from ..runs.settings import DataSettings, Settings
from .arguments import in_flags
from .data import absolute, asked_of_data, data_of_run, fingerprint_of, folder_looked_in

CHANGEABLE = ("device", "epochs", "patience")  # of a run that goes on


class Job(NamedTuple):
    """A run that is to be made: its settings, its data, and the config.json of its folder.

    `extended`: it goes on beyond the epochs that it was first asked for; `chosen`: what the data
    have chosen, None where a preset or a folder says it.
    """

    settings: Settings
    data: Dataset
    config: dict[str, Any]
    extended: bool = False
    chosen: ChosenSettings | None = None


def new_job(options: argparse.Namespace) -> Job:
    """Return the run that the command line asks for."""
    if options.data is None:
        raise ValueError("`DATA` is required: a name or a file (see relgrad-np train --help)")
    chosen = {name: getattr(options, name) for name in declared(Settings)}
    with in_flags(Settings, DataSettings):
        early = settings_for(options.data, **chosen)  # an error shows before the data are read
        asked = DataSettings(**asked_of_data(options))
        reading = asked.reading()
        if early.rule == NEWTON and options.distributed:
            raise ValueError(f"`--distributed` needs a rule of minibatches, not {NEWTON!r}")
        name = absolute(options.data)
        if name in (*NAMES, *STANDARD) and asked != DataSettings():
            flags = ", ".join(f"`{flag}`" for flag in asked_of_data(options))
            raise ValueError(f"{flags}: for data of your own; {name!r} is read as published")
        data = load(name, early.seed, options.rows, options.data_dir, reading=reading)
        settings, of_table = settings_of(early, data, options.seconds, chosen)
    config = {
        "version": __version__,
        "data": name,
        "rows": options.rows,
        "data_dir": folder_looked_in(options),
        "reading": asdict(asked),
        "fingerprint": fingerprint_of(data),
        "settings": settings.plain(),
    }
    return Job(settings, data, config, chosen=of_table)


def settings_of(
    early: Settings, data: Dataset, seconds: float | None, chosen: dict[str, Any]
) -> tuple[Settings, ChosenSettings | None]:
    """Return the settings of a preset, if one is asked for, or those that the rows choose."""
    if early.preset is None:
        return chosen_for(len(data.train), data.D, c=data.c, seconds=seconds, **chosen)
    if seconds is not None:
        raise ValueError("`--seconds`: for settings that the data choose, not for a `--preset`")
    return early, None


def resumed_job(options: argparse.Namespace, comm: Ranks | None) -> Job:
    """Return the run that is in --out; ValueError if its data are not those it began with."""
    if options.out is None:
        raise ValueError("`--resume` needs --out RUN, the run folder to go on with")
    config: Any = None
    if comm is None or comm.rank == 0:
        config = run_folder.read_config(options.out)
    config = config if comm is None else comm.agreement.share(config)
    settings = unchanged_settings(options, config)
    data = data_of_run(config, options, options.data)
    before = config["settings"]
    extended = any(getattr(settings, name) != before[name] for name in ("epochs", "patience"))
    config = config | {"data": data.name, "settings": settings.plain()}
    return Job(settings, data, config, extended)


def unchanged_settings(options: argparse.Namespace, config: dict[str, Any]) -> Settings:
    """Return the settings of the run; ValueError if the command line asks for others.

    Only where the arrays are may change, the number of epochs, and the patience.
    """
    kept = config["settings"]
    given = {name: getattr(options, name) for name in kept if name not in CHANGEABLE}
    given = {name: value for name, value in given.items() if value != AUTO}
    given |= {"rows": options.rows} | asked_of_data(options)
    before = {**config.get("reading", {}), **kept, "rows": config["rows"]}
    for name, value in given.items():
        if value is not None and (None if value == "none" else value) != before.get(name):
            flag, was = name.replace("_", "-"), before.get(name)
            was = words_of(rule_of(was)) if name == "rule" else was
            raise ValueError(f"`--{flag}` can't change on --resume: it is {was}")
    changed = {name: getattr(options, name) for name in CHANGEABLE}
    changed = {
        name: None if value == "none" else value
        for name, value in changed.items()
        if value not in (None, AUTO)
    }
    with in_flags(Settings):
        return replace(Settings(**kept), **changed)


def longer(snapshot: Snapshot, settings: Settings) -> Snapshot:
    """Return where an extended fit goes on from; ValueError unless it is asked for more epochs."""
    done = len(snapshot.history)
    if settings.epochs is None or settings.epochs <= done:
        raise ValueError(f"`--epochs` must be more than the {done} that are done")
    waited, patience = done - snapshot.best_epoch, settings.patience
    if patience is not None and waited >= patience:
        raise ValueError(
            f"validation has been no better for {waited} epochs, and the patience is {patience}:"
            f" --patience none goes on, or one of more than {waited}"
        )
    asked = {"epochs": str(settings.epochs), "patience": str(patience)}
    terms = snapshot.terms | {name: asked[name] for name in asked if name in snapshot.terms}
    return snapshot._replace(terms=terms, stop_reason="")


def folder_for(data: str) -> Path:
    """Return where the run of a data set goes by default: runs/ and its name without endings.

    >>> folder_for("toy:moons").as_posix(), folder_for("deep/my.v2.csv.gz").as_posix()
    ('runs/toy-moons', 'runs/my.v2')
    """
    name = Path(data.replace(":", "-")).name
    for endings in (SUFFIXES, ENDINGS):
        if name.lower().endswith(endings):
            name = Path(name).stem
    return Path("runs") / name
