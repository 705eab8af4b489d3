"""The race's bookkeeping: reports, marks, the ratio; no clock is looked at."""

import importlib.util
import json

import numpy as np
import pytest

from benchmarks import race_report, race_runners
from benchmarks.race_report import claim, crossing
from relgrad_np.datasets import load


def lane(seconds, validation):
    return [
        {"epoch": i, "seconds": s, "cpu_seconds": 2 * s, "test": v}
        for i, (s, v) in enumerate(zip(seconds, validation, strict=True))
    ]


class Turns:
    """Takes reports, and ends the race after so many."""

    def __init__(self, limit):
        self.limit, self.reports = limit, []

    def report(self, epoch, layers):
        self.reports.append((epoch, layers))
        if len(self.reports) == self.limit:
            raise race_runners.Stop

    off_the_clock = staticmethod(importlib.import_module("contextlib").nullcontext)


def test_a_mark_is_passed_between_two_reports():
    points = lane([1.0, 2.0, 4.0], [-1400.0, -1370.0, None])
    assert crossing(points, -1375.2)[:2] == (1.0, 2.0)
    assert crossing(points, -1500.0)[:2] == (0.0, 1.0)
    assert crossing(points, -1300.0)[:2] == (4.0, np.inf)


def test_the_ratio_is_the_least_that_the_reports_allow():
    lanes = {
        ("adam-published", 0): lane([1.0, 80.0, 90.0], [-1500.0, -1400.0, -1370.0]),
        ("recipe", 0): lane([1.0, 2.0], [-1310.0, -1290.0]),
        ("plain", 0): lane([3.0], [-1290.0]),
    }
    assert claim(lanes, "mnist", 0).endswith(
        "recipe reached -1300 after 1.0-2.0 seconds: at least a ratio of 40.0"
    )
    lanes["adam-published", 0].pop()
    assert "did not reach -1375.2 within 80.0 seconds" in claim(lanes, "mnist", 0)


@pytest.mark.parametrize("contender", ["recipe", "plain", "exponential", "adam-published"])
def test_reports_come_ten_times_in_the_first_epoch(contender):
    if contender.startswith("adam") and importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed")
    settings = race_runners.settings_of(contender, "digits", 0)
    X = np.ascontiguousarray(load("digits").train[:400], dtype=settings.dtype)
    turns = Turns(13)
    run = race_runners.adam if contender.startswith("adam") else race_runners.ours
    if contender.startswith("adam"):
        with pytest.raises(race_runners.Stop):
            run(X, settings, turns)
        epochs = [epoch for epoch, _ in turns.reports]
        np.testing.assert_allclose(epochs, [*np.arange(0, 11) / 10, 2, 3])
    else:
        X = np.tile(X, (5, 1))  # twenty batches of 100
        with pytest.raises(race_runners.Stop):
            run(X, settings, turns)
        epochs = [epoch for epoch, _ in turns.reports]
        np.testing.assert_allclose(epochs, [*np.arange(0, 11) / 10, 2, 3])
    assert all(layer.W.dtype == np.float32 for layer in turns.reports[-1][1])


def test_report_writes_a_table_and_a_picture(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    head = {"kind": "run", "data": "mnist", "test_rows": 9, "gaussian": -1366.6, "D": 784}
    head |= {"machine": "a machine", "threads": 2}
    lines = [head]
    for name in ("adam-published", "recipe"):
        points = lane([1.0, 2.0], [-1400.0, -1290.0])
        lines += [p | {"kind": "point", "contender": name, "seed": 0} for p in points]
    path = tmp_path / "race.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    text = race_report.report(path)
    assert "| recipe | 0 | -1400.0 (1.0 s) | 1.0-2.0 | 1.0-2.0 | 1.0-2.0 | not in 2 |" in text
    assert path.with_suffix(".md").read_text().strip() == text.strip()
    assert path.with_suffix(".png").stat().st_size > 10_000
