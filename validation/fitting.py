"""Fits that are kept: data, settings and rule in, the judgement on the test rows out."""

import time
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from relgrad_np.datasets import Dataset
from relgrad_np.datasets import load as load_data
from relgrad_np.datasets.standard.sources import SOURCES
from relgrad_np.fitting.records import FitDivergedError
from relgrad_np.fitting.storage.model import Model, load, save
from relgrad_np.rules.base import Rule
from relgrad_np.runs.rows import baseline
from relgrad_np.runs.settings import Settings
from relgrad_np.runs.training import prepare, train

from .store import Line, Store

DEFAULTS = asdict(Settings())


class Wanted(NamedTuple):
    """A run: data, settings, and a rule in the place of the one that the settings name."""

    data: str
    settings: Settings
    rule: Rule | None = None

    def key(self) -> Line:
        """Return what tells this run from others: the settings that are not the defaults.

        >>> Wanted("digits", Settings(layers=2)).key()
        {'data': 'digits', 'settings': {'layers': 2}}
        """
        chosen = {k: v for k, v in asdict(self.settings).items() if v != DEFAULTS[k]}
        rule = {} if self.rule is None else {"rule": repr(self.rule)}
        return {"data": self.data, "settings": chosen, **rule}


class Sets:
    """Data sets as they are asked for; the last one is kept, for the large ones are large."""

    def __init__(self) -> None:
        self._last: tuple[tuple[str, int], Dataset] | None = None

    def __call__(self, name: str, seed: int) -> Dataset:
        """Return the set with this seed; FileNotFoundError if it is not at hand."""
        if self._last is None or self._last[0] != (name, seed):
            self._last = None
            self._last = (name, seed), load_data(name, seed)
        return self._last[1]


SETS = Sets()


def run(wanted: Wanted, model: Any = None) -> Line:
    """Fit and judge once, and save the model if a path is given; that it diverged is a result."""
    began = time.perf_counter()
    data, settings = SETS(wanted.data, wanted.settings.seed), wanted.settings
    prepared = prepare(settings, data)
    if wanted.rule is not None:
        prepared.options["rule"] = wanted.rule
    try:
        done = train(data, settings, prepared=prepared)
    except FitDivergedError as error:
        return {"finite": False, "why": str(error), "seconds": time.perf_counter() - began}
    if model is not None:
        save(model, done.model)
    history = done.result.history
    validation = [e.validation for e in history if e.validation is not None]
    averaged = [e.averaged for e in history if e.averaged is not None]
    return {
        "finite": bool(np.isfinite([done.report.test, *validation]).all()),
        "test": done.report.test,
        "two standard errors": done.report.test_se2,
        "gaussian": done.report.gaussian,
        "validation": max([*validation, *averaged]),
        "last validation": validation[-1],
        "curve": [round(value, 4) for value in validation],
        "best epoch": done.report.best_epoch,
        "rejected": done.report.n_rejected,
        "undone": done.report.n_undone,
        "worst drift": max((abs(e.drift) for e in history if e.drift), default=None),
        "fitting seconds": done.report.seconds,
        "seconds": time.perf_counter() - began,
    }


def runs(
    store: Store, experiment: str, wanted: Iterable[Wanted], models: bool = False
) -> list[Line]:
    """Return the results of all, kept as they come; and their models."""
    results = []
    for one in tqdm(list(wanted), desc=experiment, unit="run"):
        key = one.key()
        path = store.model(experiment, key) if models else None
        results.append(store.run(experiment, key, lambda one=one, path=path: run(one, path)))
    return results


def fitted(store: Store, experiment: str, wanted: Wanted) -> tuple[Line, Model]:
    """Return a run's result and its model; fitted again if the model was not kept."""
    path = store.model(experiment, wanted.key())
    result = store.run(experiment, wanted.key(), lambda: run(wanted, path))
    if not path.exists():
        run(wanted, path)
    return result, load(path)


def facts(store: Store, name: str, seed: int) -> Line:
    """Return sizes and space of a set, the Gaussian's score, and what leads to pixel space."""

    def compute() -> Line:
        data = SETS(name, seed)
        return {
            "rows": [len(x) for x in (data.train, data.validation, data.test)],
            "D": int(data.test.shape[1]),
            "space": data.transforms.space,
            "image": data.image_shape is not None,
            "gaussian": float(baseline(data, data.test).mean()),
            "log det": float(data.log_det["test"].mean()),
        }

    return store.run("data", {"data": name, "seed": seed}, compute)


def found(store: Store, experiment: str, wanted: Iterable[Wanted]) -> list[Line]:
    """Return those of the wanted runs that are kept."""
    lines = [store.find(experiment, one.key()) for one in wanted]
    return [line for line in lines if line is not None]


def missing(name: str) -> str | None:
    """Return what a data set needs that is missing here, None if nothing is.

    >>> missing("digits")
    """
    if name not in SOURCES:
        return None
    try:
        load_data(name, n=10)
    except FileNotFoundError:
        source = SOURCES[name]
        return f"missing here; it needs {source.files}, available from {source.origin}"
    return None
