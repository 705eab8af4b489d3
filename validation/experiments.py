"""What the experiments share: runs that are kept as JSON lines, so that none is done twice."""

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from relgrad_np.datasets import Dataset, load
from relgrad_np.history import FitDivergedError
from relgrad_np.rules import Rule
from relgrad_np.training import Settings, prepare, train

RESULTS = Path(__file__).parent / "results"


class Wanted(NamedTuple):
    """A run: data, settings, and a rule in the place of the one that the settings name."""

    data: str
    settings: Settings
    rule: Rule | None = None

    def key(self) -> dict[str, Any]:
        """Return what tells this run from others."""
        rule = {} if self.rule is None else {"rule": repr(self.rule)}
        return {"data": self.data, "settings": asdict(self.settings), **rule}


def run(data: Dataset, settings: Settings, rule: Rule | None = None) -> dict[str, Any]:
    """Fit and judge once; a fit that diverged is a result, too."""
    began = time.perf_counter()
    prepared = prepare(settings, data)
    if rule is not None:
        prepared.options["rule"] = rule
    try:
        done = train(data, settings, prepared=prepared)
    except FitDivergedError as error:
        return {"finite": False, "why": str(error)}
    validation = [e.validation for e in done.result.history if e.validation is not None]
    averaged = [e.averaged for e in done.result.history if e.averaged is not None]
    return {
        "finite": bool(np.isfinite([done.report.test, *validation]).all()),
        "test": done.report.test,
        "two standard errors": done.report.test_se2,
        "gaussian": done.report.gaussian,
        "validation": max([*validation, *averaged]),
        "last validation": validation[-1],
        "best epoch": done.report.best_epoch,
        "rejected": done.report.n_rejected,
        "undone": done.report.n_undone,
        "worst drift": max((abs(e.drift) for e in done.result.history if e.drift), default=None),
        "fitting seconds": done.report.seconds,
        "seconds": time.perf_counter() - began,
    }


def runs(file: str, wanted: Iterable[Wanted]) -> list[dict[str, Any]]:
    """Return the results of all, kept in results/FILE.jsonl as they come."""
    path = RESULTS / f"{file}.jsonl"
    RESULTS.mkdir(exist_ok=True)
    kept = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    by_key = {_text(line): line for line in kept}
    results, sets = [], {}
    for name, settings, rule in tqdm(list(wanted), desc=file, unit="run"):
        described = Wanted(name, settings, rule).key()
        key = _text(described)
        if key not in by_key:
            if (name, settings.seed) not in sets:
                sets = {(name, settings.seed): load(name, settings.seed)}
            line = {
                **described,
                **run(sets[name, settings.seed], settings, rule),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}",
            }
            with path.open("a") as out:
                out.write(json.dumps(line) + "\n")
            by_key[key] = line
        results.append(by_key[key])
    return results


def _text(line: dict[str, Any]) -> str:
    return json.dumps([line["data"], line["settings"], line.get("rule")], sort_keys=True)
