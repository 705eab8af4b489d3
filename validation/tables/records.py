"""What is kept: a line of JSON for each set, seed and contender, so that runs can go on."""

from __future__ import annotations

import importlib.metadata
import json
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from validation.store import machine

from .contenders import CONTENDERS, Contender, contender, gaussian
from .grid import names as names_of_grid
from .ours import OURS
from .sets import Split, load

RECORDS = Path(__file__).parent / "records.jsonl"
Record = dict[str, Any]
CREASE, USUAL = -100.0, -10.0  # nats a dimension: of the contender, and of the Gaussian


def environment() -> Record:
    """Return the versions of what takes part, and the machine."""
    names = ("numpy", "scipy", "scikit-learn", "torch", "zuko")
    return {"machine": machine(), **{name: importlib.metadata.version(name) for name in names}}


def kept(path: str | Path = RECORDS) -> dict[tuple[str, int, str], Record]:
    """Return {(set, seed, contender): record}; of two the later counts, half a line is none."""
    found = {}
    for line in Path(path).read_text().splitlines() if Path(path).exists() else ():
        try:
            record = json.loads(line)
            found[record["set"], record["seed"], record["contender"]] = record
        except (ValueError, KeyError):
            continue
    return found


def judged(name: str, fit: Contender, data: Split) -> Record:
    """Return what a contender reaches on the test rows, and what it took."""
    n, d = data.train.shape
    record: Record = {"set": data.name, "seed": data.seed, "contender": name, "n": n, "D": d}
    wall, cpu = time.perf_counter(), time.process_time()
    fitted = fit(data)
    took = {"seconds": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    test = np.asarray(fitted.log_density(data.test), dtype=np.float64)
    usual = np.asarray(gaussian(data).log_density(data.test))
    record["creases"] = int(((test < CREASE * d) & (usual > USUAL * d)).sum())
    numbers = {
        "test": test.mean(),
        "se": test.std(ddof=1) / np.sqrt(len(test)),
        "worst": test.min() / d,
        "validation": np.mean(fitted.log_density(data.validation)),
        **took,
    }
    record |= {k: float(f"{v:.6g}") for k, v in numbers.items()}
    return record | {"choice": fitted.choice, "date": time.strftime("%Y-%m-%d")}


def run(names: list[str], tables: list[str], seeds: list[int], path: str, again: bool) -> int:
    """Run what is not kept, a seed of all sets after the other; 1 if something failed."""
    names = [*CONTENDERS, *OURS] if names == ["all"] else names
    where = Path(path).with_name("environment.json")
    where.write_text(json.dumps(environment(), indent=1) + "\n")
    fits = {name: contender(name) for name in names if name != "grid"}
    failed = 0
    for seed in seeds:
        for table in tables:
            tried = names_of_grid(*load(table, seed).train.shape) if "grid" in names else []
            for name, fit in {**fits, **{name: contender(name) for name in tried}}.items():
                there = kept(path).get((table, seed, name))
                if there is None or ("error" in there and again):
                    record = attempted(name, fit, load(table, seed))
                    failed += "error" in record
                    append(record, path)
    return int(failed > 0)


def attempted(name: str, fit: Contender, data: Split) -> Record:
    """Return the record of a contender, or one that says why there is none."""
    try:
        record = judged(name, fit, data)
        said = f"{record['test']:9.3f} +- {record['se']:.3f} {record['seconds']:7.1f} s"
    except Exception as error:
        traceback.print_exc()
        record = {"set": data.name, "seed": data.seed, "contender": name, "error": repr(error)}
        said = repr(error)
    print(f"{data.name:18} {data.seed} {name:16} {said} {record.get('choice', '')}", flush=True)
    return record


def append(record: Record, path: str | Path) -> None:
    """Write a record at the end of the file."""
    path = Path(path)
    whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
    with path.open("a") as file:
        file.write(("" if whole else "\n") + json.dumps(record) + "\n")
