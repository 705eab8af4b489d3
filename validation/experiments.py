"""What the experiments share: runs that are kept as JSON lines, so that none is done twice."""

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from relgrad_np.datasets import Dataset, load
from relgrad_np.history import FitDivergedError
from relgrad_np.training import Settings, train

RESULTS = Path(__file__).parent / "results"


def run(data: Dataset, settings: Settings) -> dict[str, Any]:
    """Fit and judge once; a fit that diverged is a result, too."""
    began = time.perf_counter()
    try:
        done = train(data, settings)
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


def runs(file: str, wanted: Iterable[tuple[str, Settings]]) -> list[dict[str, Any]]:
    """Return the results of all (data, settings), kept in results/FILE.jsonl as they come."""
    path = RESULTS / f"{file}.jsonl"
    RESULTS.mkdir(exist_ok=True)
    kept = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    by_key = {_key(line["data"], line["settings"]): line for line in kept}
    results, sets = [], {}
    for name, settings in tqdm(list(wanted), desc=file, unit="run"):
        key = _key(name, asdict(settings))
        if key not in by_key:
            if (name, settings.seed) not in sets:
                sets = {(name, settings.seed): load(name, settings.seed)}
            line = {
                "data": name,
                "settings": asdict(settings),
                **run(sets[name, settings.seed], settings),
                "machine": f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}",
            }
            with path.open("a") as out:
                out.write(json.dumps(line) + "\n")
            by_key[key] = line
        results.append(by_key[key])
    return results


def _key(name: str, settings: dict[str, Any]) -> str:
    return json.dumps([name, settings], sort_keys=True)
