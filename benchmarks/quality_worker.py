"""One run of one contender for `benchmarks.quality`: a process that trains until its time is over.

    python -m benchmarks.quality_worker '{"data": "digits", "contender": "ours", "seed": 0, ...}'

Its clock counts the CPU seconds of the process from its very start on: the interpreter, imports,
compiling, the start of the layers, steps, and what the contender itself does at an epoch's end.
Reading the data is off the clock, and so is judging, which takes at most half as long as training.
A line of JSON on stdout for each judgement. Only what the contender needs is imported on the clock.
"""

import importlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

RUNNERS = {
    "ours": "benchmarks.quality_ours",
    "published": "benchmarks.quality_published",
    "zuko-nsf": "benchmarks.quality_flows",
    "nflows-maf": "benchmarks.quality_flows",
}
VALIDATION_ROWS, TEST_ROWS = 2_000, 10_000  # most that are judged; at D above 100 2,000 of each
SPACING = 1.15  # a judgement comes when the clock shows so many times that of the one before


class Stop(Exception):
    """The run is over; its text says why."""


class Course:
    """The clock of a run, and what is written at each judgement.

    `judge(candidates)` returns the best candidate's mean log-likelihood of validation rows and of
    test rows; `write` takes a record. The run ends at `limit` CPU seconds, or when the clock shows
    `beyond` times what it did when the test rows reached `mark`.
    """

    def __init__(
        self,
        write: Callable[[dict[str, Any]], None],
        *,
        limit: float,
        mark: float | None,
        beyond: float,
        began: float,
        cpu: Callable[[], float] = time.process_time,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.write, self.limit, self.mark, self.beyond = write, limit, mark, beyond
        self._cpu, self._wall = cpu, wall
        self.off_cpu, self.off_wall, self.next = 0.0, began, 0.0
        self.judge: Callable[[Sequence[Any]], tuple[float, float]] = lambda candidates: (0.0, 0.0)

    @property
    def cpu(self) -> float:
        """CPU seconds on the clock."""
        return self._cpu() - self.off_cpu

    @property
    def wall(self) -> float:
        """Seconds on the clock."""
        return self._wall() - self.off_wall

    @contextmanager
    def off_the_clock(self) -> Iterator[None]:
        """Do what is in here on nobody's clock."""
        cpu, wall = self._cpu(), self._wall()
        try:
            yield
        finally:
            self.off_cpu += self._cpu() - cpu
            self.off_wall += self._wall() - wall

    def due(self) -> bool:
        """Say whether it is time for a judgement."""
        return self.cpu >= min(self.next, self.limit)

    def report(self, epoch: float, candidates: Sequence[Any]) -> None:
        """Judge off the clock, and write; Stop when the time is over."""
        cpu, wall = self.cpu, self.wall
        before = self._cpu()
        with self.off_the_clock():
            validation, test = self.judge(candidates)
            finite = math.isfinite(validation) and math.isfinite(test)
            point = {"epoch": round(epoch, 4), "cpu": round(cpu, 3), "wall": round(wall, 3)}
            point |= {"validation": validation, "test": test} if finite else {}
            self.write({"kind": "point", **point})
        judging = self._cpu() - before
        self.next = max(SPACING * cpu, cpu + 2 * judging, cpu + 0.05)
        if self.mark is not None and finite and test >= self.mark:
            self.limit, self.mark = min(self.limit, self.beyond * cpu), None
        if not finite:
            raise Stop("not finite")
        if cpu >= self.limit:
            raise Stop("time")


def best_of(
    score: Callable[[Any, Any], float], validation: Any, test: Any
) -> Callable[[Sequence[Any]], tuple[float, float]]:
    """Return what judges candidates: the one that is best on validation rows, on both.

    `score(candidate, X)` is the mean log-likelihood of X (N, D).

    >>> best_of(lambda candidate, X: candidate * X, 2.0, 3.0)([1.0, -5.0])
    (2.0, 3.0)
    """

    def judge(candidates: Sequence[Any]) -> tuple[float, float]:
        values = [score(candidate, validation) for candidate in candidates]
        known = [-math.inf if math.isnan(value) else value for value in values]
        best = known.index(max(known))
        return known[best], score(candidates[best], test)

    return judge


def rows_to_judge(data: Any, seed: int) -> tuple[Any, Any]:
    """Return validation and test rows (N, D) in model space, the same ones for every contender.

    Some of each split, drawn once, for rows may come in an order. Of a toy's test rows, which are
    few, there are 20,000 new ones.
    """
    import numpy as np

    most = (VALIDATION_ROWS, TEST_ROWS) if data.test.shape[1] <= 100 else (2_000, 2_000)
    validation, test = (
        rows[np.sort(np.random.default_rng(0).permutation(len(rows))[:n])]
        for rows, n in zip((data.validation, data.test), most, strict=True)
    )
    if data.name.startswith("toy:"):
        from relgrad_np.datasets import toy

        drawn = toy(data.name.removeprefix("toy:"), 20_000, np.random.default_rng([seed, 1]))
        test = data.transforms.forward(drawn)
    return validation, test


def run(asked: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
    """Train as asked, and write a record for each judgement; the last one says why it ended."""
    names = ("limit", "mark", "beyond", "began")
    course = Course(write, **{name: asked[name] for name in names})
    runner = importlib.import_module(RUNNERS[asked["contender"]])
    write({"kind": "imported", "cpu": round(course.cpu, 3), "wall": round(course.wall, 3)})
    with course.off_the_clock():
        from relgrad_np.datasets import load

        data = load(asked["data"], asked["seed"], asked.get("n"))
        rows = rows_to_judge(data, asked["seed"])
    try:
        runner.train(data, asked, course, lambda score: best_of(score, *rows))
        reason = "epochs"
    except Stop as stop:
        reason = str(stop)
    except FloatingPointError as error:
        reason = str(error).partition(":")[0]
    write({"kind": "end", "reason": reason, "cpu": round(course.cpu, 3)})


def main() -> None:
    """Run what the argument asks for."""
    asked = json.loads(sys.argv[1])
    asked.setdefault("began", time.time())
    run(asked, lambda record: print(json.dumps(record), flush=True))


if __name__ == "__main__":
    main()
