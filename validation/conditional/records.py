"""What is kept: a line of JSON for each set, seed and contender, so that runs can go on."""

from __future__ import annotations

import json
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from validation.tables.records import Record, append, environment, kept

from .contenders import CONTENDERS
from .sets import Given, load

RECORDS = Path(__file__).parent / "records.jsonl"


def judged(name: str, data: Given) -> Record:
    """Return what a contender reaches on the test rows, what it lacks to the truth, what it took.

    `lack` is the mean of log p of the truth less that of the contender, and its standard error that
    of the paired differences.
    """
    began = time.process_time()
    log_density, choice = CONTENDERS[name](data)
    seconds = time.process_time() - began
    test = np.asarray(log_density(data.x_test, data.u_test), dtype=np.float64)
    numbers = {"test": test.mean(), "se": error(test), "seconds": seconds}
    if data.truth is not None:
        numbers |= {"lack": np.mean(data.truth - test), "se of lack": error(data.truth - test)}
    shape = {"n": len(data.x), "D": data.x.shape[1], "c": data.u.shape[1]}
    return {
        "set": data.name, "seed": data.seed, "contender": name, **shape,
        **{k: float(f"{v:.6g}") for k, v in numbers.items()},
        "choice": choice, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def error(values: Any) -> float:
    """Return the standard error of a mean.

    >>> error(np.array([1.0, 3.0]))
    1.0
    """
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def run(names: list[str], sets: list[str], seeds: list[int], path: str, again: bool) -> int:
    """Run what is not kept, a seed of all sets after the other; 1 if something failed."""
    where = Path(path).with_name("environment.json")
    where.write_text(json.dumps(environment(), indent=1) + "\n")
    failed = 0
    for seed in seeds:
        for which in sets:
            for name in names:
                there = kept(path).get((which, seed, name))
                if there is None or again:
                    record = attempted(name, which, seed)
                    failed += "error" in record
                    append(record, path)
    return int(failed > 0)


def attempted(name: str, which: str, seed: int) -> Record:
    """Return the record of a contender, or one that says why there is none."""
    try:
        record = judged(name, load(which, seed))
        said = f"{record['test']:9.4f} +- {record['se']:.4f}, lacks {record.get('lack')}"
        said += f" {record['seconds']:7.1f} s {record['choice']}"
    except Exception as failure:
        traceback.print_exc()
        record = {"set": which, "seed": seed, "contender": name, "error": repr(failure)}
        said = repr(failure)
    print(f"{which:16} {seed} {name:18} {said}", flush=True)
    return record
