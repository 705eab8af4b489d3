"""What is kept: results as JSON lines, one file an experiment; figures; models, outside of git.

    results/EXPERIMENT.jsonl   {"hash", "key", "result", "took", "machine", "date"}, a run a line
    figures/NAME.png
    models/EXPERIMENT-HASH.npz

A run is known by its key, the settings that make it; the hash is of that. What is kept is not run
again, so that everything resumes; of two lines of one hash the later counts. A line that a killed
process left half written is passed over.
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Line = dict[str, Any]


def hash_of(key: Line) -> str:
    """Return twelve hexadecimal digits that tell this key from others, in whatever order.

    >>> hash_of({"D": 2, "L": 1}) == hash_of({"L": 1, "D": 2}) != hash_of({"L": 1, "D": 3})
    True
    """
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]


def machine() -> str:
    """Return on what this runs: processor, cores, versions, BLAS threads."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    versions = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "scipy")]
    threads = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or "all"
    return ", ".join([cpu, f"{os.cpu_count()} cores", *versions, f"BLAS threads: {threads}"])


class Store:
    """A folder with results, figures and models."""

    def __init__(self, folder: Path = HERE, again: bool = False) -> None:
        self.folder = Path(folder)
        self.fresh = 0  # runs that were done, not found
        self._lines: dict[str, dict[str, Line]] = {}
        self.shown: dict[str, dict[str, float | None]] = {}  # seconds of the runs that were found
        self._again = again
        self._done: set[tuple[str, str]] = set()

    def lines(self, experiment: str) -> dict[str, Line]:
        """Return what is kept of an experiment, by hash."""
        if experiment not in self._lines:
            path = self._path(experiment)
            found = {}
            for text in path.read_text().splitlines() if path.exists() else ():
                try:
                    line = json.loads(text)
                    found[line["hash"]] = line
                except (ValueError, KeyError, TypeError):
                    continue
            self._lines[experiment] = found
        return self._lines[experiment]

    def find(self, experiment: str, key: Line) -> Line | None:
        """Return {**key, **result} of a run with its machine and date, or None."""
        line = self.lines(experiment).get(hash_of(key))
        if line is None:
            return None
        took = line.get("took", line["result"].get("seconds"))  # a list: those of a curve
        seconds = None if isinstance(took, list) else took
        self.shown.setdefault(experiment, {})[line["hash"]] = seconds
        return {**key, **line["result"], **{x: line[x] for x in ("hash", "machine", "date")}}

    def run(self, experiment: str, key: Line, compute: Callable[[], Line]) -> Line:
        """Return the run of this key: as it is kept, else computed, and kept at once."""
        mark = hash_of(key)
        if mark not in self.lines(experiment) or self.renews(experiment, key):
            began = time.perf_counter()
            line = {
                "hash": mark,
                "key": key,
                "result": compute(),
                "took": round(time.perf_counter() - began, 1),
                "machine": machine(),
                "date": time.strftime("%Y-%m-%d"),
            }
            path = self._path(experiment)
            path.parent.mkdir(parents=True, exist_ok=True)
            whole = not path.exists() or path.read_bytes()[-1:] in (b"", b"\n")
            with path.open("a") as file:
                file.write(("" if whole else "\n") + json.dumps(line) + "\n")
            self.lines(experiment)[mark] = json.loads(json.dumps(line))
            self._done.add((experiment, mark))
            self.fresh += 1
        found = self.find(experiment, key)
        assert found is not None
        return found

    def renews(self, experiment: str, key: Line) -> bool:
        """Say whether this run is to be done again although it is kept."""
        return self._again and (experiment, hash_of(key)) not in self._done

    def figure(self, name: str) -> Path:
        """Return where a figure lies."""
        path = self.folder / "figures" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def model(self, experiment: str, key: Line) -> Path:
        """Return where the model of a run lies."""
        path = self.folder / "models" / f"{experiment}-{hash_of(key)}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _path(self, experiment: str) -> Path:
        return self.folder / "results" / f"{experiment}.jsonl"
